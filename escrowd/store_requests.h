/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/store.h"
#include "libescrow/act.h"
#include "libescrow/identity.h"
#include "libescrow/reason.h"

/*
 * The ledger's tables of requests that wait for admins, and of who has approved them. Rows are
 * written only by the fold (ledger.h); whether an approval counts is the keeper's to say
 * (keeper_approve.h).
 */

/* What an approval is asked for: a release to this key and of these objects, and nothing else. */
struct store_request {
    uint64_t sequence; /* the number that admins name */
    struct act_subject subject;
    char replica[NAME_MAX_BYTES + 1];
    enum act_purpose purpose;
    struct ec_point recipient;
    size_t object_count;
    struct tpm_name objects[ACT_OBJECTS_MAX];
    char actor[IDENTITY_MAX + 1]; /* who asks */
    uint64_t epoch;               /* that the release would have */
    unsigned rules;               /* that need the approval: policy_rules_to_approve */
    enum reason reason;           /* the first of theirs */
    int64_t time_ms;
    int64_t expires_ms;
    bool is_open;
    bool
        is_expired; /* that its time is over is on record: it stays over, whatever the clock says */
};

/*
 * Opens a request. One for the very same that has not expired at time_ms goes on in its place;
 * whatever else the replica waited for with this secret and purpose is closed: its requester asks
 * for something else now. act: the signed act, compact, kept while the request is open.
 */
MUST_CHECK enum escrow_err store_open_request(struct store *store,
                                              const struct store_request *request, const char *act);
/*
 * The open request of the same actor, for the same subject, replica, purpose, recipient and
 * objects, if it has not expired. ESCROW_ERR_NOT_FOUND.
 */
MUST_CHECK enum escrow_err store_find_request(struct store *store,
                                              const struct store_request *wanted, int64_t now_ms,
                                              struct store_request *ret_request);
/*
 * The request with this number, open or not, and the act, owned by the caller (NULL: it is not kept
 * any more). ESCROW_ERR_NOT_FOUND.
 */
MUST_CHECK enum escrow_err store_request(struct store *store, uint64_t sequence,
                                         struct store_request *ret_request, char **ret_act);
/*
 * How many requests of this actor, subject, replica and purpose were opened after since_ms; counts
 * to most and no further. Those after until_ms are of a wall clock that was set back since, and
 * count for nothing.
 */
MUST_CHECK enum escrow_err store_count_requests(struct store *store,
                                                const struct store_request *like, int64_t since_ms,
                                                int64_t until_ms, uint64_t most,
                                                uint64_t *ret_count);
/* A grant for the secret answers all requests for it. */
MUST_CHECK enum escrow_err store_close_requests(struct store *store,
                                                const struct act_subject *subject);
/*
 * The group has a new epoch, this: whatever was asked for in one before it can be approved by
 * nobody any more.
 */
struct store_group;
MUST_CHECK enum escrow_err store_close_old_requests(struct store *store, const char *group,
                                                    const struct store_group *now);
/* Its time is over, and that is on record: its act is not kept any more. */
MUST_CHECK enum escrow_err store_expire_request(struct store *store, uint64_t sequence);
/* Nobody needs it any more, and that is on record. */
MUST_CHECK enum escrow_err store_close_request(struct store *store, uint64_t sequence);
/* The oldest open one after this sequence that has not expired. ESCROW_ERR_NOT_FOUND. */
MUST_CHECK enum escrow_err store_next_open(struct store *store, int64_t now_ms, uint64_t after,
                                           struct store_request *ret_request);
/*
 * The oldest open one after this sequence whose time is over, and whose end is not on record yet.
 * ESCROW_ERR_NOT_FOUND.
 */
MUST_CHECK enum escrow_err store_next_expired(struct store *store, int64_t now_ms, uint64_t after,
                                              struct store_request *ret_request);
typedef enum escrow_err (*store_request_fn)(const struct store_request *request, void *argument);
/* The open ones that have not expired, oldest first, at most 100. */
MUST_CHECK enum escrow_err store_list_requests(struct store *store, int64_t now_ms,
                                               store_request_fn on_request, void *argument);

/* An admin has approved; a later approval of the same identity takes the place of the earlier. */
MUST_CHECK enum escrow_err store_approve_request(struct store *store, uint64_t request,
                                                 const char *identity, const struct tpm_name *key);
typedef enum escrow_err (*store_approver_fn)(const char *identity, const struct tpm_name *key,
                                             void *argument);
MUST_CHECK enum escrow_err store_list_approvers(struct store *store, uint64_t request,
                                                store_approver_fn on_approver, void *argument);
