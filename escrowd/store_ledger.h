/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/store.h"
#include "libescrow/act.h"
#include "policy/decide.h"

/*
 * The ledger's tables of groups and grants: who is primary, and what became of each release. Rows
 * are written only by the fold (ledger.h); a time is that of the record.
 */

struct store_group {
    char replica[NAME_MAX_BYTES + 1]; /* the primary's instance */
    uint64_t epoch;
    enum policy_origin origin;
    int64_t time_ms; /* when the epoch began */
};

/* ESCROW_ERR_NOT_FOUND before the first primary of the group is known. */
MUST_CHECK enum escrow_err store_group(struct store *store, const char *name,
                                       struct store_group *ret_group);
/* In the place of what was known. */
MUST_CHECK enum escrow_err store_set_group(struct store *store, const char *name,
                                           const struct store_group *group);

/* The hints of a database as recorded in this epoch; empty if there are none. */
MUST_CHECK enum escrow_err store_hints(struct store *store, const struct act_subject *subject,
                                       uint64_t epoch, struct policy_hints *ret_hints);
MUST_CHECK enum escrow_err store_set_hints(struct store *store, const struct act_subject *subject,
                                           uint64_t epoch, const struct policy_hints *hints);

struct store_grant {
    uint64_t sequence;
    struct act_subject subject;
    char replica[NAME_MAX_BYTES + 1];
    enum act_purpose purpose;
    uint64_t epoch;
    char order[NAME_MAX_BYTES + 1]; /* empty: none */
    bool is_settled;
};

/* actor: who got it, a SAN URI. */
MUST_CHECK enum escrow_err store_add_grant(struct store *store, const struct store_grant *grant,
                                           const char *actor, int64_t time_ms);
/* ESCROW_ERR_NOT_FOUND. */
MUST_CHECK enum escrow_err store_grant(struct store *store, uint64_t sequence,
                                       struct store_grant *ret_grant);
/* Nothing was let out for it: it stays unsettled, but counts neither as request nor as release. */
MUST_CHECK enum escrow_err store_void_grant(struct store *store, uint64_t sequence);
/* Notes what a receipt says; a good one settles the grant and the earlier ones that it repeats. */
MUST_CHECK enum escrow_err store_settle_grant(struct store *store, const struct store_grant *grant,
                                              enum act_outcome outcome, uint64_t receipt);

/* Fills ledger->grant from the promotion grants of (subject, epoch). */
MUST_CHECK enum escrow_err store_promotion_grant(struct store *store,
                                                 const struct act_subject *subject, uint64_t epoch,
                                                 int64_t now_ms, struct policy_ledger *ledger);
/* Releases of the group since that time (ms) that let something out. */
MUST_CHECK enum escrow_err store_count_releases(struct store *store, const char *group,
                                                int64_t since_ms, int64_t *ret_count);
/* Grants without a good receipt, of all groups and times. */
MUST_CHECK enum escrow_err store_count_unsettled(struct store *store, uint64_t *ret_count);
