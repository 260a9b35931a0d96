/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/act.h"
#include "libescrow/probe.h"
#include "libescrow/reason.h"
#include "policy/policy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Whether a release may happen: one pure function of rules, request, facts and ledger (the rules:
 * escrow-policy(5)). It starts denied, does no I/O, reads no clock, allocates nothing and keeps
 * nothing, so the same arguments give the same verdict for ever. It never believes the requester:
 * only what the probers answered, what the watch saw and what the ledger holds count.
 *
 * The keeper asks all probers of the group at once and calls policy_decide; while the verdict is
 * POLICY_WAIT it calls again at each new answer and at wait_until_ms, and denies with
 * REASON_DEADLINE when its own patience ends.
 */

/* No deadline: only a further answer, or the keeper giving a question up, changes anything. */
#define POLICY_NO_DEADLINE INT64_MAX
/* Not seen, not known: for the ages below. Fails every comparison towards "long enough". */
#define POLICY_NEVER (-1)
/* For so long the watch must have seen refused connections for a silent replica to be dead. */
#define POLICY_DEAD_MS 1000

/*
 * What admins have approved: a release to exactly this requester, who had asked for it before. How
 * that is established is the keeper's affair.
 */
struct policy_approval {
    int64_t count;  /* different admins whose approval counts now; 0: the rest counts for nothing */
    uint64_t epoch; /* that the release had when it was asked for */
    unsigned rules; /* that asked for an approval then: a bit 1U << enum policy_rule for each */
};

struct policy_request {
    enum act_purpose purpose; /* PROMOTE, ROTATE, DRILL or REBASELINE; anything else is refused */
    const char *database;
    const char *replica; /* the requester's instance: the candidate */
    bool is_order_valid; /* ROTATE and DRILL: a live single-use order covers this request */
    struct policy_approval approval;
};

/* Whether this replica has read the nonce that the candidate committed in its database. */
enum policy_echo {
    POLICY_ECHO_UNASKED, /* first, so that a zeroed fact counts for nothing */
    POLICY_ECHO_PENDING, /* it is asked, and asked again: its redo may be late */
    POLICY_ECHO_FOUND,
    POLICY_ECHO_MISSING, /* not in time, or it could not be asked */
};

enum policy_status {
    POLICY_PENDING = 1, /* asked, no answer yet */
    POLICY_ANSWERED,    /* the prober reported; state holds what, failures to connect included */
    POLICY_SILENT,      /* the question was given up: its deadline passed or the prober died */
};

/* What the watch knew of a replica before this question; ages are of now. After a start of the
 * keeper nothing is known, which only makes the decision stricter. */
struct policy_history {
    bool is_known;          /* false: the rest counts for nothing */
    int32_t last_role;      /* role in its last answer; -1 if it has given none */
    bool was_synchronised;  /* in the last round in which another replica said PRIMARY, this
                               one said SECONDARY, HEALTHY and SYNCHRONIZED */
    int64_t primary_ago_ms; /* since it last said PRIMARY; POLICY_NEVER */
    int64_t silent_for_ms;  /* since its last answer, 0 while it answers; POLICY_NEVER */
    int64_t dead_for_ms;    /* every connection refused for so long; 0 if it is not so */
};

struct policy_replica_facts {
    char instance[POLICY_NAME_MAX + 1];
    enum policy_status status;
    int64_t answered_ms;      /* ANSWERED: since the question, on the clock of elapsed_ms */
    struct probe_state state; /* counts only if ANSWERED */
    enum policy_echo echo;    /* counts only if it says SECONDARY, and is not the candidate */
    /* MISSING: why, as it said last; counts for nothing. outcome 0: it had only not read it. */
    struct {
        enum probe_outcome outcome;
        int32_t sql_error;
    } echo_failure;
    struct policy_history history;
};

enum policy_session {
    POLICY_SESSION_PENDING = 1,
    POLICY_SESSION_FOUND,   /* the candidate has a session with the request's nonce */
    POLICY_SESSION_MISSING, /* it has none, or could not be asked */
};

/* What the replicas said, to one question. In any order; a replica of the rules that is missing
 * here counts as silent, one that is not of the rules counts for nothing. */
struct policy_facts {
    int64_t elapsed_ms; /* since the question was asked */
    enum policy_session session;
    size_t replica_count;
    struct policy_replica_facts replicas[POLICY_REPLICAS_MAX];
};

enum policy_origin {
    POLICY_ORIGIN_BASELINE = 1, /* the first primary ever seen, or a rebaseline */
    POLICY_ORIGIN_OBSERVED,     /* the watch saw a promotion and minted the epoch */
    POLICY_ORIGIN_GRANTED,      /* a release of a promotion minted the epoch */
    /* A release minted it for the primary that was known already, or where none was: what let that
     * pass (admins, on_restart) was about its database, and no other. */
    POLICY_ORIGIN_UNPROVEN,
};

enum policy_grant_state { POLICY_GRANT_NONE = 1, POLICY_GRANT_UNSETTLED, POLICY_GRANT_SETTLED };

/* Fingerprints of the candidate's database when the epoch began: hints, never an identity. */
struct policy_hints {
    char recovery_lsn[48]; /* empty if unknown */
    bool has_sequence_number;
    int64_t sequence_number;
};

/* What the keeper holds durably: of the group, and of (database, epoch, promotion). */
struct policy_ledger {
    bool has_record; /* false: the primary has never been known; the record is empty */
    char primary[POLICY_NAME_MAX + 1]; /* its instance */
    uint64_t epoch;
    enum policy_origin origin;
    int64_t epoch_age_ms; /* since the epoch was minted or observed; POLICY_NEVER: unknown */
    struct {
        enum policy_grant_state state;
        char replica[POLICY_NAME_MAX + 1];
        int64_t requests; /* granted so far */
        int64_t age_ms;   /* since the first of them; POLICY_NEVER: unknown */
    } grant;
    struct policy_hints hints;  /* of this database; empty if unknown */
    int64_t releases_last_hour; /* of this database, for any purpose */
};

enum policy_outcome {
    POLICY_DENY, /* first, so that a zeroed verdict denies */
    POLICY_WAIT,
    POLICY_NEEDS_APPROVAL,
    POLICY_ALLOW,
};

/* What a release is, or would be with an approval. */
enum policy_kind {
    POLICY_KIND_NONE,
    POLICY_KIND_PROMOTION,  /* first release of a promotion for this database */
    POLICY_KIND_REPEAT,     /* again for the grant that the ledger holds */
    POLICY_KIND_RESTART,    /* the same primary without a promotion */
    POLICY_KIND_ORDER,      /* rotate, drill */
    POLICY_KIND_REBASELINE, /* no release: the candidate becomes the primary that is known */
};

enum policy_rule {
    POLICY_RULE_CANDIDATE,
    POLICY_RULE_SESSION,
    POLICY_RULE_RIVAL,
    POLICY_RULE_WITNESSES,
    POLICY_RULE_PROMOTION,
    POLICY_RULE_BRAKE,
    POLICY_RULE_ECHO,
    POLICY_RULE_COUNT,
};

enum policy_result {
    POLICY_NOT_REACHED, /* an earlier rule failed, or the candidate has not answered yet */
    POLICY_FAILED,
    POLICY_WAITING,
    POLICY_APPROVAL, /* holds only with an approval */
    POLICY_PASSED,
};

struct policy_step {
    enum policy_result result;
    enum reason reason; /* REASON_NONE unless result is FAILED, WAITING or APPROVAL */
};

struct policy_verdict {
    enum policy_outcome outcome;
    enum reason reason;    /* of the outcome; while waiting, what a denial would say */
    enum policy_kind kind; /* of ALLOW and NEEDS_APPROVAL */
    /*
     * ALLOW and NEEDS_APPROVAL: the release, once it happens, begins epoch ledger.epoch + 1 with
     * the candidate as primary: origin GRANTED if another one was known before, else UNPROVEN
     * (BASELINE for a rebaseline). Otherwise it belongs to ledger.epoch.
     */
    bool mints_epoch;
    int64_t wait_until_ms; /* WAIT: call again when elapsed_ms has reached it, at the latest */
    size_t witnesses;      /* replicas that name the candidate as primary, itself counted */
    size_t witnesses_needed;
    bool is_by_silence; /* rule 4 held by candidate+silence: raise an alert */
    bool has_echo;      /* the group has rule 7; else it passes, and is not told of */
    struct policy_step rules[POLICY_RULE_COUNT];
};

/*
 * Decides. Rules are evaluated candidate, session, witnesses, rival, promotion, brake, echo, and
 * not further after one that FAILED or while the candidate has not answered. DENY if one failed;
 * else WAIT if one waits; else NEEDS_APPROVAL if one needs it (with the first such reason) and the
 * request's approval does not cover it: as many admins as the rules ask for, the same epoch, and
 * every rule that needs it now (then ALLOW with REASON_APPROVED); else ALLOW.
 * A rebaseline, which no agent asks for and which releases nothing, passes session, promotion,
 * brake and echo; where another request would need an approval it is denied with
 * REASON_BASELINE_UNPROVEN. So it says of a replica only what the replicas prove. A request for a
 * purpose, replica or database that is not of the rules is denied with no rule reached.
 */
void policy_decide(const struct policy_group *rules, const struct policy_request *request,
                   const struct policy_facts *facts, const struct policy_ledger *ledger,
                   struct policy_verdict *ret_verdict);

/*
 * Whether an echo that this replica finds counts for the rule: it says SECONDARY, under the name
 * that it has in the rules. The candidate's own never counts: it says PRIMARY where there is
 * anything to decide.
 */
bool policy_echo_counts(const struct policy_replica *replica,
                        const struct policy_replica_facts *known);

/* The rules of a verdict that hold only with an approval: a bit 1U << enum policy_rule for each. */
unsigned policy_rules_to_approve(const struct policy_verdict *verdict);

/* "allow", "deny", "needs_approval", "wait"; "candidate" ...; "passed" ...; "promotion" ... */
const char *policy_outcome_name(enum policy_outcome outcome);
const char *policy_rule_name(enum policy_rule rule);
const char *policy_result_name(enum policy_result result);
const char *policy_kind_name(enum policy_kind kind);

enum policy_observation {
    POLICY_NOTHING,
    POLICY_BASELINE,  /* there is no record: *ret_primary is the first primary that is known */
    POLICY_PROMOTION, /* the primary differs from the record's: begin the next epoch, OBSERVED */
};

/*
 * For the watch: whether a round of questions (no status PENDING, as policy_facts of a request,
 * full states) shows a primary that the record does not know. Nothing unless exactly one replica
 * says PRIMARY, is ONLINE, bears its name, has normal quorum, is named by the witnesses that rule 4
 * asks for, and rule 3 holds (elapsed_ms counts). Session and database do not matter. *ret_primary
 * is a member of rules, NULL for POLICY_NOTHING.
 */
enum policy_observation policy_observe(const struct policy_group *rules,
                                       const struct policy_facts *facts,
                                       const struct policy_ledger *ledger,
                                       const struct policy_replica **ret_primary);
