/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/store.h"
#include "libescrow/act.h"

/*
 * The ledger's table of orders, which wait for an agent. Rows are written only by the fold
 * (ledger.h).
 */

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
