/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/reason.h"
#include "libescrow/tls.h"

#include <stddef.h>
#include <stdint.h>

/*
 * HTTPS to one escrowd by libcurl: the only module that knows it. One connection, kept open between
 * requests. Never speaks anything but TLS 1.3 to the server with the identity of its tls; never
 * follows a redirect, uses a proxy or reads ~/.netrc. Every request has a deadline, every reply a
 * bound. Bodies are built and read by libescrow/rpc.h, signed acts by rpc_act.h.
 */

#define RPC_BODY_MAX (4 * 1024 * 1024) /* bytes of a reply */
#define RPC_DETAIL_MAX 256             /* bytes with NUL */

struct rpc;

/*
 * A client of the escrowd at this address (host name or IP address). tls is borrowed and must
 * outlive it. Nothing is sent yet. ESCROW_ERR_CONFIG (address), ESCROW_ERR_NO_MEMORY.
 */
MUST_CHECK enum escrow_err rpc_new(const char *address, uint16_t port, struct tls *tls,
                                   struct rpc **ret_rpc);
void rpc_free(struct rpc *rpc);
CLEANUP_FUNCTION(rpc_free_p, struct rpc, rpc_free)

/*
 * Whoever has something to say by this descriptor ends a request that waits for its reply, within a
 * second and with ESCROW_ERR_TIMEOUT; -1, as at first: nobody does. Borrowed, not read.
 */
void rpc_interrupt_by(struct rpc *rpc, int fd);

/* An HTTP reply. reason, request and detail are those of a problem document (status not 200). */
struct rpc_reply {
    unsigned status;
    char *body; /* NUL-terminated */
    size_t len;
    unsigned retry_after_s; /* 0: not said */
    enum reason reason;     /* REASON_NONE: no word that we know */
    uint64_t request;       /* with status 202: what an admin must approve; else 0 */
    char detail[RPC_DETAIL_MAX];
};
void rpc_reply_deinit(struct rpc_reply *reply);

/*
 * GET of path, or POST of a JSON text where body is not NULL. ESCROW_OK for any HTTP reply.
 * ESCROW_ERR_UNAVAILABLE (no connection), ESCROW_ERR_TIMEOUT, ESCROW_ERR_CRYPTO (the server is not
 * the one it should be, or no TLS), ESCROW_ERR_MALFORMED (too large, not HTTP): then only detail is
 * filled, with one line that says what happened. timeout_ms is for the whole request, connecting
 * included.
 */
MUST_CHECK enum escrow_err rpc_request(struct rpc *rpc, const char *path, const char *body,
                                       int64_t timeout_ms, struct rpc_reply *ret_reply);
