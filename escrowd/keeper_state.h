/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/audit.h"
#include "escrowd/check.h"
#include "escrowd/denials.h"
#include "escrowd/heard.h"
#include "escrowd/keeper.h"
#include "escrowd/keeper_admission.h"
#include "escrowd/keeper_alerts.h"
#include "escrowd/keeper_member.h"
#include "escrowd/keeper_metrics.h"
#include "escrowd/keeper_moot.h"
#include "escrowd/keeper_probers.h"
#include "escrowd/keeper_request.h"
#include "escrowd/keeper_settle.h"
#include "escrowd/keeper_survey.h"
#include "escrowd/keeper_tpm.h"
#include "escrowd/keeper_warm.h"
#include "escrowd/keeper_watch.h"
#include "escrowd/ledger.h"
#include "escrowd/nonce.h"
#include "escrowd/refusals.h"
#include "escrowd/role.h"
#include "escrowd/served.h"
#include "escrowd/usage.h"
#include "libescrow/ipc_channel.h"
#include "libescrow/reason.h"

/*
 * What the keeper's files share: one struct for the life of the role, made by keeper_open, and what
 * they do with log and readiness. Nothing outside keeper_*.c includes this.
 */

/* What a request needs to be served at all. */
enum keeper_need {
    KEEPER_NEEDS_LOG = 1,    /* log, store and clock */
    KEEPER_NEEDS_ROSTER = 2, /* a roster that names this member */
    KEEPER_NEEDS_TPM = 4,
    KEEPER_NEEDS_ALL = 7,
};

struct keeper {
    const struct escrowd_config *config;
    struct event_base *base;
    struct role *role;
    struct event *tick;
    struct event *flush;
    int64_t began_ms; /* CLOCK_BOOTTIME, as is the next */
    int64_t stop_by_ms;

    struct policy *policy;
    char rules[2 * POLICY_DIGEST_BYTES + 1];
    EVP_PKEY *authority;
    struct ec_point authority_point;
    struct tpm_name authority_name;

    struct keeper_member *member;
    struct jws_signer answer_signer;
    struct tpm *tpm; /* from keeper_tpm_start on the thread's */
    struct keeper_tpm tpm_use;
    struct approval_cache *approvals;
    struct admission *admission;
    struct warm *warm;

    struct store *store;
    struct ledger *ledger;
    struct audit *audit; /* NULL: the log is not to be trusted, and not written */
    int64_t queued_ms;   /* when the oldest record was queued that is not committed yet */

    struct nonces *nonces;
    struct refusals *refusals;
    struct denials *denials;
    struct heard *heard;
    struct served *served;
    struct probers *probers;
    struct watch *watch;
    struct settle *settle;
    struct moot *moot;
    struct keeper_alerts *alerts;
    uint64_t told; /* as the store has it: up to which record alerts are with the alerter */
    struct survey *survey;
    struct ipc_channel *front;
    int64_t front_lost_ms;   /* since when there is none; CLOCK_BOOTTIME */
    struct ipc_writer sorry; /* the reply where none can be made: ready, for want of memory */
    struct request_list requests;
    struct request_table request_table;
    char status[IPC_STATUS_MAX]; /* as last told to the supervisor */

    struct usage usage;
    struct keeper_counts counts;
    uint64_t log_free_bytes; /* as of the last tick */

    bool is_stopping;
    bool is_tpm_well;       /* it answered when last asked */
    bool is_store_behind;   /* a fold failed: the log is read again until it succeeds */
    bool is_import_pending; /* a version may wait for its import */
};

/* Opens everything that the configuration names; front and probers come later. */
MUST_CHECK enum escrow_err keeper_open(struct keeper *keeper, const struct escrowd_config *config,
                                       int policy_fd);
void keeper_close(struct keeper *keeper);

/* Every check that is the keeper's: whatever says whether it can serve comes from here. */
void keeper_checks(const struct keeper *keeper, struct check ret_checks[static CHECK_OF_KEEPER]);
/* REASON_NONE, or the first reason why a request with these needs cannot be served now. */
enum reason keeper_lacks(const struct keeper *keeper, unsigned needs);
/* All of them; returns how many (at most KEEPER_LACKS_MAX). */
#define KEEPER_LACKS_MAX CHECK_OF_KEEPER
size_t keeper_lacks_all(const struct keeper *keeper, enum reason ret_reasons[KEEPER_LACKS_MAX]);
/* Tells the supervisor when the answer to that has changed, and the alerter of new trouble. */
void keeper_tell_status(struct keeper *keeper);

/* Of the audit log: folds durable records into the ledger, tells and counts each. */
MUST_CHECK enum escrow_err keeper_fold(const struct audit_line *lines, size_t count,
                                       void *argument);
/* Answers IPC_OBSERVE. */
void keeper_observed(struct keeper *keeper);

/*
 * A record of this event with what every record of the keeper has: rules and roster in force. The
 * texts in it are the keeper's.
 */
void keeper_record(const struct keeper *keeper, enum audit_event event,
                   struct audit_record *ret_record);
/*
 * Queues a record; it is committed when the events at hand are handled, or by keeper_flush.
 * ESCROW_ERR_STORE as audit_append.
 */
MUST_CHECK enum escrow_err keeper_append(struct keeper *keeper, const struct audit_record *record,
                                         audit_durable_fn on_durable, void *argument);
/* Commits what is queued now; never from a callback of audit_commit. */
void keeper_flush(struct keeper *keeper);
/* The same if the commit has been put off for long: a peer that never pauses does not delay it. */
void keeper_flush_late(struct keeper *keeper);
/* Once a second: brings log and store back. */
void keeper_mend(struct keeper *keeper);
