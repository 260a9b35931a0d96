/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/reply.h"

#include <event2/buffer.h>

/* Token streams of the server (MS-TDS 2.2.7), for TDS 7.2 to 7.4. */

#define TDS_VERSION_74 0x74000004U
#define TDS_VERSION_72 0x72090002U

struct tds_login_ack {
    uint32_t tds_version;    /* the lower of both sides */
    const char *server_name; /* of the instance, in messages */
    const char *version;     /* "16.0.4165.4" */
    size_t packet_size;
};

/* The answer to a batch: messages, the change of database, the result set, DONE. */
void tds_token_reply(struct evbuffer *out, const struct reply *reply, const char *server_name);
/* What may stand in front of an answer: an INFO and a result set of rows of more than 8,000 bytes,
 * one of them NULL. */
void tds_token_extra(struct evbuffer *out, size_t rows, const char *server_name);
/* The answer to a login that succeeded: reply has the change of database. */
void tds_token_login(struct evbuffer *out, const struct reply *reply,
                     const struct tds_login_ack *ack);
/* What the client's security library is to get; empties token (MS-TDS 2.2.7.21). */
void tds_token_sspi(struct evbuffer *out, struct evbuffer *token);
/* DONE that acknowledges an attention. */
void tds_token_attention(struct evbuffer *out);
