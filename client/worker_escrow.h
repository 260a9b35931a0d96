/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/rpc_act.h"
#include "client/worker_choice.h"
#include "client/worker_run.h"

/*
 * The worker at one escrowd: whom it believes (the roster), what it signs, and what it makes of the
 * replies. Nothing in a reply counts that a member of the roster has not signed for this act key
 * and this nonce; a refusal, which nobody signs, only decides when to ask again.
 */

/* Who acts: the instance's own keys. */
struct worker_identity {
    EVP_PKEY *authority; /* public */
    EVP_PKEY *act_key;
};

/* ESCROW_ERR_CONFIG after the run's result says which files. */
MUST_CHECK enum escrow_err worker_identity_init(struct worker_identity *identity,
                                                struct worker_run *run);
void worker_identity_deinit(struct worker_identity *identity);

struct worker_escrow {
    struct worker_run *run;
    const struct rpc_server *config;        /* NULL: not connected */
    const struct worker_identity *identity; /* borrowed */
    struct tls *tls;
    struct roster *roster;
    struct rpc_session session;
    size_t left;           /* how many share what is left of the time, this one counted; 0: alone */
    uint64_t request;      /* that waits for admins there; 0: none */
    uint64_t told_request; /* the last that was told of */
};

/*
 * Connects and fetches the roster; the last three members stay. identity must outlive it. What went
 * wrong is in the run's result, for this function and all below. Deinit also after a failure.
 */
MUST_CHECK enum escrow_err worker_escrow_init(struct worker_escrow *escrow, struct worker_run *run,
                                              const struct worker_identity *identity,
                                              const struct rpc_server *config);
void worker_escrow_deinit(struct worker_escrow *escrow);

/*
 * A challenge for a release of the task's database; owned by the caller. Where a newer roster than
 * the one that was fetched before is in force by now, that is fetched first.
 */
MUST_CHECK enum escrow_err worker_escrow_challenge(struct worker_escrow *escrow,
                                                   struct answer **ret_challenge);

/*
 * Asks for these objects, wrapped to the recipient. The grant, owned by the caller, holds no
 * others.
 */
MUST_CHECK enum escrow_err worker_escrow_release(struct worker_escrow *escrow,
                                                 const struct answer *challenge,
                                                 const struct worker_choice *choice,
                                                 EVP_PKEY *recipient, struct answer **ret_grant);

/*
 * Waits so long for the admins to approve the request. ESCROW_OK: they have. ESCROW_ERR_TIMEOUT:
 * not yet, or the parent has something to say. ESCROW_ERR_NOT_FOUND: they cannot any more: there is
 * no request now, and the result says why. Everything else: this escrowd does not say.
 */
MUST_CHECK enum escrow_err worker_escrow_await(struct worker_escrow *escrow, unsigned wait_s);

/* How a grant ended. */
struct worker_receipt {
    const struct answer *grant;
    const struct answer_object *object; /* that opened; NULL: none did */
    int32_t sql_error;
    const char *detail;
};

/* One attempt to have it noted. */
MUST_CHECK enum escrow_err worker_escrow_receipt(struct worker_escrow *escrow,
                                                 const struct worker_receipt *receipt);
