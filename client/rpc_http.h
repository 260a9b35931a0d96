/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/tls.h"

#include <stddef.h>
#include <stdint.h>

/*
 * HTTPS to one escrowd by libcurl: the only module that knows it. One connection, kept open between
 * requests. Never speaks anything but TLS 1.3 to the server with the identity of its
 * configuration; never follows a redirect, uses a proxy or reads ~/.netrc. Every request has a
 * deadline, every answer a bound.
 */

#define RPC_HTTP_BODY_MAX (4 * 1024 * 1024)
#define RPC_HTTP_TEXT_MAX 512 /* bytes with NUL */

struct rpc_http;

struct rpc_http_config {
    const char *address; /* host name or IP address */
    uint16_t port;
    struct tls_config tls; /* with server_identity */
    int64_t timeout_ms;    /* of a whole request, connecting included */
};

/* ESCROW_ERR_CONFIG (a file of tls), ESCROW_ERR_NO_MEMORY. config is copied. */
MUST_CHECK enum escrow_err rpc_http_new(const struct rpc_http_config *config,
                                        struct rpc_http **ret_http);
void rpc_http_free(struct rpc_http *http);
CLEANUP_FUNCTION(rpc_http_free_p, struct rpc_http, rpc_http_free)

void rpc_http_set_timeout(struct rpc_http *http, int64_t timeout_ms);

struct rpc_http_answer {
    long status;
    uint32_t retry_after_s; /* 0: not said */
    char *body;             /* NUL-terminated; owned by the caller */
    size_t body_len;
};

/*
 * GET of path, or POST of a JSON text where body is not NULL. ESCROW_OK for any HTTP answer.
 * ESCROW_ERR_UNAVAILABLE (no connection), ESCROW_ERR_TIMEOUT, ESCROW_ERR_CRYPTO (the server is not
 * the one it should be), ESCROW_ERR_MALFORMED (answer too large or not HTTP); ret_text then says in
 * one line what happened.
 */
MUST_CHECK enum escrow_err rpc_http_request(struct rpc_http *http, const char *path,
                                            const char *body, struct rpc_http_answer *ret_answer,
                                            char ret_text[static RPC_HTTP_TEXT_MAX]);
