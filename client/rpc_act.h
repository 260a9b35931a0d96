/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/rpc.h"
#include "libescrow/answer.h"

/*
 * Acts (libescrow/act.h) over rpc.h: the challenge, which names member, nonce and objects, and the
 * act signed for exactly that. An answer counts only if a member of the roster signed it for this
 * asker and this nonce, and if it is about what was asked.
 */

/* One client and one escrowd. Everything but problem is borrowed. */
struct rpc_session {
    struct rpc *rpc;
    EVP_PKEY *act_key;     /* NULL: only rpc_session_get */
    struct roster *roster; /* NULL: only rpc_session_get */
    int64_t timeout_ms;    /* of each request */
    struct rpc_reply problem;
};

/*
 * Every call returns ESCROW_OK only for status 200 and an answer that counts. A refusal is
 * ESCROW_ERR_DENIED (also needs_approval, status 202), ESCROW_ERR_NOT_FOUND (404) or
 * ESCROW_ERR_UNAVAILABLE (429, 502 to 504); an answer that does not count is ESCROW_ERR_CRYPTO; the
 * rest is as in rpc_request. After a failure session->problem says why: status and reason of a
 * refusal, and always detail, one line for a person; body is NULL.
 */

/* GET. The body of the reply, owned by the caller; nobody has signed it. */
MUST_CHECK enum escrow_err rpc_session_get(struct rpc_session *session, const char *path,
                                           char **ret_body, size_t *ret_len);

/* POST /v1/challenge for an act of this kind, purpose and subject. Owned by the caller. */
MUST_CHECK enum escrow_err rpc_act_challenge(struct rpc_session *session, const struct act *act,
                                             struct answer **ret_challenge);

/*
 * Sets aud and nonce of the act from its challenge, signs and posts it. *ret_answer is the caller's
 * and was signed by the member of the challenge: durable (deposit), grant (release), noted
 * (receipt, order, approve, publish, rebaseline); it is about the act's own secret, version,
 * replica and objects. ESCROW_ERR_USAGE for an act that has no path.
 */
MUST_CHECK enum escrow_err rpc_act_send(struct rpc_session *session, const struct answer *challenge,
                                        struct act *act, struct answer **ret_answer);
