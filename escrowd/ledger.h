/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/audit.h"
#include "escrowd/store.h"
#include "libescrow/act.h"
#include "policy/decide.h"

/*
 * The ledger is a fold of the audit log: what a record means for roster,
 * approvals, secrets, groups, grants, requests and orders is said here and nowhere else, and is the
 * same whether the record was just written or is read again from the beginning. Acts in the log are
 * verified again with the roster that was in force. It decides nothing.
 */
struct ledger;

/*
 * Over an open store; the pinned authority key verifies rosters and approvals. Both are borrowed.
 * ESCROW_ERR_STORE with a log line: it cannot be read, or its roster is not this authority's.
 */
MUST_CHECK enum escrow_err ledger_open(struct store *store, EVP_PKEY *authority,
                                       struct ledger **ret_ledger);
void ledger_close(struct ledger *ledger);
CLEANUP_FUNCTION(ledger_close_p, struct ledger, ledger_close)

/*
 * Reads the log from where the store is and folds the rest; *ret_reading is what audit_open wants.
 * ESCROW_ERR_STORE (cannot be read or written), ESCROW_ERR_MALFORMED with a log line: the log's
 * chain is broken, or the store knows a record that the log does not have (or has otherwise).
 */
MUST_CHECK enum escrow_err ledger_replay(struct ledger *ledger, const char *directory,
                                         struct audit_reading *ret_reading);

/*
 * audit_batch_fn with argument struct ledger: folds records that follow the last folded one, in one
 * transaction: all or none. ESCROW_ERR_STORE.
 */
MUST_CHECK enum escrow_err ledger_fold(const struct audit_line *lines, size_t count, void *ledger);

/* The roster in force; NULL before the first. Borrowed until the next fold. */
struct roster *ledger_roster(const struct ledger *ledger);

/* What policy_decide wants to know; now_ms is the wall clock. */
MUST_CHECK enum escrow_err ledger_policy(const struct ledger *ledger,
                                         const struct act_subject *subject, int64_t now_ms,
                                         struct policy_ledger *ret_ledger);

/*
 * Verifies an act with the roster in force. Before the first one only a publish act can be right:
 * it is verified by the roster that it brings, *ret_first, owned by the caller (else unchanged).
 * Results as of act_verify and act_verify_first.
 */
MUST_CHECK enum escrow_err ledger_verify_act(const struct ledger *ledger, const char *compact,
                                             size_t len, struct act **ret_act,
                                             struct roster **ret_first);

/*
 * Whether what an act publishes may come into force: the authority signed all of it and the roster
 * is newer. *ret_roster is that roster, owned by the caller, NULL if there is none in the act.
 * REASON_NONE, REASON_APPROVAL_INVALID, REASON_ROSTER_INVALID, REASON_ROSTER_OLD.
 */
MUST_CHECK enum reason ledger_check_publish(const struct ledger *ledger,
                                            const struct act_publish *publish,
                                            struct roster **ret_roster);
