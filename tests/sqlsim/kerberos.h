/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <event2/buffer.h>

#include <stddef.h>
#include <stdint.h>

/*
 * The server's side of integrated authentication (MS-TDS 2.2.6.4, 2.2.6.8): Kerberos, bare or in
 * SPNEGO, by GSSAPI with the keytab of the instance's service account. Realm and clock are those of
 * libkrb5 (KRB5_CONFIG); tickets are not remembered, so a replay is not noticed.
 */
struct kerberos; /* one login */

enum kerberos_result { KERBEROS_MORE, KERBEROS_DONE, KERBEROS_FAILED };

/* keytab NULL: the instance has none and takes nobody. */
struct kerberos *kerberos_new(const char *keytab);
void kerberos_free(struct kerberos *kerberos); /* NULL is allowed */

/* The client's next token; what is to be sent back is added to answer, also when DONE. Why it
 * FAILED goes to standard error, as it goes to the error log of a server (17806). */
enum kerberos_result kerberos_accept(struct kerberos *kerberos, const uint8_t *token, size_t len,
                                     struct evbuffer *answer);

/* After DONE, the Windows account: user@ESCROW.TEST is ESCROW\user. Owned by kerberos. */
const char *kerberos_account(const struct kerberos *kerberos);
