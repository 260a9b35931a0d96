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
/* Its epoch; 0 before the first, and where that cannot be told. */
uint64_t store_epoch(struct store *store, const char *name);
/* In the place of what was known. */
MUST_CHECK enum escrow_err store_set_group(struct store *store, const char *name,
                                           const struct store_group *group);

/* The hints of a database as recorded in this epoch; empty if there are none. */
MUST_CHECK enum escrow_err store_hints(struct store *store, const struct act_subject *subject,
                                       uint64_t epoch, struct policy_hints *ret_hints);
/* What was recorded in one epoch, for each database of the group, stands for the next one. */
MUST_CHECK enum escrow_err store_keep_hints(struct store *store, const char *group, uint64_t from,
                                            uint64_t to);
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
    uint64_t receipt; /* the record of a good one that waits for its proof; 0: none */
    bool is_judged;   /* it has been said why the grant is not settled */
    bool has_outcome; /* a receipt has come, good or not */
};

/* actor: who got it, a SAN URI. */
MUST_CHECK enum escrow_err store_add_grant(struct store *store, const struct store_grant *grant,
                                           const char *actor, int64_t time_ms);
/* ESCROW_ERR_NOT_FOUND. */
MUST_CHECK enum escrow_err store_grant(struct store *store, uint64_t sequence,
                                       struct store_grant *ret_grant);
/* Nothing was let out for it: it stays unsettled, but counts neither as request nor as release. */
MUST_CHECK enum escrow_err store_void_grant(struct store *store, uint64_t sequence);
/* Notes what a receipt says, and if that is good, that it waits for its proof. */
MUST_CHECK enum escrow_err store_note_receipt(struct store *store, uint64_t grant,
                                              enum act_outcome outcome, uint64_t receipt);
/* The grant is settled by this record, and so are the earlier ones that it repeats. */
MUST_CHECK enum escrow_err store_settle_grant(struct store *store, const struct store_grant *grant,
                                              uint64_t record);
/* This record says why it is not, unless another receipt (0: any) has come than it is about. */
MUST_CHECK enum escrow_err store_judge_grant(struct store *store, uint64_t grant, uint64_t receipt,
                                             uint64_t record);

typedef enum escrow_err (*store_grant_fn)(const struct store_grant *grant, void *argument);
/* Grants whose receipt waits for its proof: those that are not judged, and of the others those of
 * the group's present epoch. At most limit, the first kind first. */
MUST_CHECK enum escrow_err store_list_receipted(struct store *store, size_t limit,
                                                store_grant_fn on_grant, void *argument);
/* Grants of before that time (ms) without any receipt, that are not judged. */
MUST_CHECK enum escrow_err store_list_unreceipted(struct store *store, int64_t before_ms,
                                                  size_t limit, store_grant_fn on_grant,
                                                  void *argument);

/* Fills ledger->grant from the promotion grants of (subject, epoch). */
MUST_CHECK enum escrow_err store_promotion_grant(struct store *store,
                                                 const struct act_subject *subject, uint64_t epoch,
                                                 int64_t now_ms, struct policy_ledger *ledger);
/* Releases of the secret since that time (ms) that let something out. */
MUST_CHECK enum escrow_err store_count_releases(struct store *store,
                                                const struct act_subject *subject, int64_t since_ms,
                                                int64_t *ret_count);
/*
 * Grants of this actor for the secret after since_ms that let nothing out; counts to most and no
 * further. Those after until_ms are of a wall clock that was set back since, and count for nothing.
 */
MUST_CHECK enum escrow_err
store_count_unfinished(struct store *store, const struct act_subject *subject, const char *actor,
                       int64_t since_ms, int64_t until_ms, uint64_t most, uint64_t *ret_count);
/* Grants that let something out and are not settled, of the groups' present epochs. */
MUST_CHECK enum escrow_err store_count_unsettled(struct store *store, uint64_t *ret_count);
