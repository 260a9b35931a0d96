/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/store_requests.h"
#include "policy/decide.h"

#include <jansson.h>

/*
 * What approvals count for. Whether k admins approve is decided here, each time anew by the roster
 * in force; the policy decides what follows (policy_decide), and later the TPM checks the same
 * signatures.
 */
struct keeper;
struct request;

/*
 * How many approvals of a request count: one for each identity that is an admin of its group, with
 * the key that it approved with, and is not who asks. ESCROW_ERR_STORE.
 */
MUST_CHECK enum escrow_err approve_count(const struct keeper *keeper,
                                         const struct store_request *pending, int64_t *ret_count);

/* The request that a release act makes of admins; open or not is the store's to say. */
void approve_wanted(const struct request *request, struct store_request *ret_wanted);

/* What admins have approved of a release; all zero: nothing. ESCROW_ERR_STORE. */
MUST_CHECK enum escrow_err approve_find(const struct request *request,
                                        struct policy_approval *ret_approval);

/*
 * Whether this requester has had so many requests recorded within a minute, for the same replica,
 * database and purpose, that another one has to wait: nobody fills the log, or keeps what another
 * asks for from being recorded. True also where that cannot be told.
 */
bool approve_is_flood(const struct request *request);

/* The end of each request whose time is over goes into the log, once. */
void approve_expire(struct keeper *keeper);
/* Queues the record that a request has ended without an answer, and why. */
MUST_CHECK enum escrow_err approve_end(struct keeper *keeper, const struct store_request *pending,
                                       enum reason reason);

/* A request as GET /v1/status lists it, owned by the caller; NULL without memory or store. */
json_t *approve_json(const struct keeper *keeper, const struct store_request *pending);
