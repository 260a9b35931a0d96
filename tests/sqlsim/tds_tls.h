/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <event2/buffer.h>
#include <openssl/ssl.h>

/*
 * TLS inside TDS 7.4 by OpenSSL with memory BIOs: this module sees records, never a socket or a
 * packet. At most TLS 1.2, as SQL Server before TDS 8.0 (sqlserver-facts 8).
 */

/*
 * A server context. certificate_file: PEM, leaf first; NULL: SQL Server's self-made fallback
 * certificate (self-signed, CN=SSL_Self_Signed_Fallback), made now. max_version: TLS1_VERSION ..
 * TLS1_2_VERSION. ESCROW_ERR_CONFIG for files that cannot be used, ESCROW_ERR_CRYPTO.
 */
MUST_CHECK enum escrow_err tds_tls_context(const char *certificate_file, const char *key_file,
                                           int max_version, SSL_CTX **ret_context);

struct tds_tls;

struct tds_tls *tds_tls_new(SSL_CTX *context);
void tds_tls_free(struct tds_tls *tls); /* NULL is allowed */

enum tds_tls_result { TDS_TLS_MORE, TDS_TLS_DONE, TDS_TLS_FAILED };

/* One step of the handshake: takes the client's records, appends ours. DONE when it is over. */
enum tds_tls_result tds_tls_handshake(struct tds_tls *tls, struct evbuffer *records,
                                      struct evbuffer *ret_records);
/* Takes records, appends what was in them. MORE while the stream is open, DONE at its end. */
enum tds_tls_result tds_tls_read(struct tds_tls *tls, struct evbuffer *records,
                                 struct evbuffer *ret_plain);
/* Takes plain bytes, appends records. */
enum tds_tls_result tds_tls_write(struct tds_tls *tls, struct evbuffer *plain,
                                  struct evbuffer *ret_records);
