/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <event2/buffer.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* PRELOGIN (MS-TDS 2.2.6.5) and LOGIN7 (2.2.6.4): what a client says before it is logged in. */

enum tds_encryption {
    TDS_ENCRYPT_OFF,     /* the login only */
    TDS_ENCRYPT_ON,      /* everything */
    TDS_ENCRYPT_NOT_SUP, /* nothing */
    TDS_ENCRYPT_REQ,     /* everything, demanded by the server */
};

/* What the instance is set to; LIE answers ENCRYPT_OFF whatever the client demands. */
enum tds_encryption_mode { TDS_MODE_ON, TDS_MODE_REQUIRE, TDS_MODE_LIE_OFF, TDS_MODE_NOT_SUP };

/* The encryption option of a client's PRELOGIN; ESCROW_ERR_MALFORMED. */
MUST_CHECK enum escrow_err tds_prelogin_parse(const uint8_t *payload, size_t len,
                                              enum tds_encryption *ret_encryption);

/* The server's side of the table in MS-TDS 2.2.6.5. */
enum tds_encryption tds_prelogin_negotiate(enum tds_encryption_mode mode,
                                           enum tds_encryption client);

/* The server's PRELOGIN payload. */
void tds_prelogin_put(struct evbuffer *out, const char *version, enum tds_encryption encryption);

struct tds_login {
    uint32_t tds_version;
    uint32_t packet_size;
    bool has_read_intent;
    bool has_sspi;
    uint8_t *token; /* with has_sspi: the first of the client's security library */
    size_t token_len;
    char *user, *password, *database, *application;
};

void tds_login_deinit(struct tds_login *login); /* wipes the password; a zeroed one is valid */
MUST_CHECK enum escrow_err tds_login_parse(const uint8_t *payload, size_t len,
                                           struct tds_login *ret_login);
