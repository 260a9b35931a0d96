/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/store.h"
#include "libescrow/act.h"
#include "libescrow/reason.h"

/*
 * The ledger's tables of what waits for somebody: requests for an admin's approval, orders for an
 * agent. Rows are written only by the fold (ledger.h).
 */

/* What an approval is asked for. */
struct store_request {
    uint64_t sequence; /* the number that admins name */
    struct act_subject subject;
    char replica[NAME_MAX_BYTES + 1];
    enum act_purpose purpose;
    uint64_t epoch;
    enum reason reason;
    int64_t time_ms;
};

/* Opens a request unless one for the same is open; then that one goes on. */
MUST_CHECK enum escrow_err store_open_request(struct store *store,
                                              const struct store_request *request);
/* The number of the open request for the same; ESCROW_ERR_NOT_FOUND. */
MUST_CHECK enum escrow_err store_request_number(struct store *store,
                                                const struct store_request *request,
                                                uint64_t *ret_sequence);
/* A grant for the secret answers all requests for it. */
MUST_CHECK enum escrow_err store_close_requests(struct store *store,
                                                const struct act_subject *subject);
typedef enum escrow_err (*store_request_fn)(const struct store_request *request, void *argument);
/* The open ones, oldest first, at most 100. */
MUST_CHECK enum escrow_err store_list_requests(struct store *store, store_request_fn on_request,
                                               void *argument);

struct store_order {
    char id[NAME_MAX_BYTES + 1];
    enum act_purpose purpose;
    struct act_subject subject;
    uint64_t sequence;
    int64_t expires_ms;
    uint64_t used_by; /* sequence of the grant; 0: none yet */
};

/* used_by is not looked at: a new order is unused. */
MUST_CHECK enum escrow_err store_add_order(struct store *store, const struct store_order *order);
/* ESCROW_ERR_NOT_FOUND. */
MUST_CHECK enum escrow_err store_order(struct store *store, const char *id,
                                       struct store_order *ret_order);
/* Takes the order for a grant; a repeat of the grant keeps the first. */
MUST_CHECK enum escrow_err store_use_order(struct store *store, const char *id, uint64_t grant);
/* The oldest live order for a group after the one with this sequence; ESCROW_ERR_NOT_FOUND. */
MUST_CHECK enum escrow_err store_next_order(struct store *store, const char *group, int64_t now_ms,
                                            uint64_t after, struct store_order *ret_order);
