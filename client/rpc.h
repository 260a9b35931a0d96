/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/rpc_http.h"
#include "libescrow/answer.h"

#include <jansson.h>

#include <stddef.h>
#include <stdint.h>

/*
 * What a client asks of one escrowd (design section 4), typed. An act goes in two requests: the
 * challenge, which names member, nonce and objects, and the act signed for exactly that. Answers
 * count only if a member of the roster signed them for this asker and this nonce; what a GET brings
 * is only as good as the TLS channel, and says so below.
 */

struct rpc;

/* ESCROW_ERR_CONFIG, ESCROW_ERR_NO_MEMORY. Nothing is sent yet. config is copied. */
MUST_CHECK enum escrow_err rpc_new(const struct rpc_http_config *config, struct rpc **ret_rpc);
void rpc_free(struct rpc *rpc);
CLEANUP_FUNCTION(rpc_free_p, struct rpc, rpc_free)

/* For every request from now on: the whole of it, connecting included. */
void rpc_set_timeout(struct rpc *rpc, int64_t timeout_ms);

/*
 * Why the last call failed. Every call returns ESCROW_ERR_DENIED for a refusal with a reason (also
 * for needs_approval: http_status 202, request set), ESCROW_ERR_NOT_FOUND for one with 404,
 * ESCROW_ERR_UNAVAILABLE for a 503 or without a connection, ESCROW_ERR_TIMEOUT, ESCROW_ERR_CRYPTO
 * where server or signature are not the right ones, ESCROW_ERR_MALFORMED.
 */
struct rpc_problem {
    long http_status; /* 0: there was no answer, or one that is not believed */
    enum reason reason;
    uint64_t request; /* of a request that waits for approval; 0: none */
    uint32_t retry_after_s;
    char text[RPC_HTTP_TEXT_MAX]; /* one line for a person */
};
const struct rpc_problem *rpc_problem(const struct rpc *rpc);

/*
 * GET /v1/roster. The compact text as it came, owned by the caller: not verified, and perhaps an
 * old one; see worker_roster.h.
 */
MUST_CHECK enum escrow_err rpc_fetch_roster(struct rpc *rpc, char **ret_compact);

/* Who acts, and whose answers count. Borrowed by every call. */
struct rpc_actor {
    EVP_PKEY *act_key;
    struct roster *roster;
};

/* What the next act will be about. group and database are NULL for ACT_PUBLISH. */
struct rpc_question {
    enum act_kind act;
    enum act_purpose purpose;
    const char *group;
    const char *database;
};

/* POST /v1/challenge. The answer is the caller's, and is about exactly that question. */
MUST_CHECK enum escrow_err rpc_challenge(struct rpc *rpc, const struct rpc_actor *actor,
                                         const struct rpc_question *question,
                                         struct answer **ret_challenge);

/*
 * Sets aud, nonce and subject of the act from its challenge, signs and posts it. *ret_answer is the
 * caller's and was signed by the member of the challenge: durable (deposit), grant (release), noted
 * (receipt, order, publish); it is about the act's own secret, version, replica and objects.
 * ESCROW_ERR_USAGE for an act that has no path.
 */
MUST_CHECK enum escrow_err rpc_act(struct rpc *rpc, const struct rpc_actor *actor,
                                   const struct answer *challenge, struct act *act,
                                   struct answer **ret_answer);

/*
 * GETs: JSON objects owned by the caller, not signed. orders waits up to wait_s seconds for one
 * (the timeout is lengthened by that).
 */
MUST_CHECK enum escrow_err rpc_orders(struct rpc *rpc, unsigned wait_s, json_t **ret_orders);
MUST_CHECK enum escrow_err rpc_secrets(struct rpc *rpc, json_t **ret_secrets);
MUST_CHECK enum escrow_err rpc_status(struct rpc *rpc, json_t **ret_status);
/* GET /v1/audit: up to limit lines of the log from a sequence number on, owned by the caller. */
MUST_CHECK enum escrow_err rpc_audit(struct rpc *rpc, uint64_t from, unsigned limit,
                                     char **ret_lines, size_t *ret_len);
