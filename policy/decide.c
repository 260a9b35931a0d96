/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/decide.h"

#include "policy/rules.h"

#include <string.h>

/* What SQL Server shows as recovery_lsn of a healthy primary at times: it says nothing. */
#define MAX_LSN "4294967295429496729500001"

/* One call of policy_decide. */
struct decision {
    struct policy_proof proof;
    const struct policy_request *request;
    const struct policy_ledger *ledger;
    enum policy_kind kind;
    bool mints_epoch;
};

static struct policy_step rule_candidate(struct decision *decision)
{
    struct policy_step step = policy_rule_instance(&decision->proof);

    if (step.result == POLICY_PASSED)
        step = policy_rule_database(&decision->proof);
    if (step.result == POLICY_PASSED)
        step = policy_rule_cluster(&decision->proof);
    return step;
}

static bool is_rebaseline(const struct decision *decision)
{
    return decision->request->purpose == PURPOSE_REBASELINE;
}

static struct policy_step rule_session(struct decision *decision)
{
    if (is_rebaseline(decision))
        return policy_step_passed();
    switch (decision->proof.facts->session) {
    case POLICY_SESSION_PENDING:
        return policy_step_waiting(REASON_SESSION_NOT_FOUND);
    case POLICY_SESSION_FOUND:
        return policy_step_passed();
    case POLICY_SESSION_MISSING:
        break;
    }
    return policy_step_failed(REASON_SESSION_NOT_FOUND);
}

static struct policy_step rule_witnesses(struct decision *decision)
{
    return policy_rule_witnesses(&decision->proof);
}

static struct policy_step rule_rival(struct decision *decision)
{
    return policy_rule_rival(&decision->proof);
}

/* An age that is not known is never within the window. */
static bool is_within_window(const struct decision *decision, int64_t age_ms)
{
    return age_ms >= 0 && age_ms <= decision->proof.rules->window_ms;
}

static bool has_changed(const struct policy_hints *hints, const struct probe_state *state)
{
    bool has_lsns = hints->recovery_lsn[0] && state->recovery_lsn[0] &&
                    strcmp(hints->recovery_lsn, MAX_LSN) != 0 &&
                    strcmp(state->recovery_lsn, MAX_LSN) != 0;

    if (has_lsns && strcmp(hints->recovery_lsn, state->recovery_lsn) != 0)
        return true;
    return hints->has_sequence_number && state->has_sequence_number &&
           state->sequence_number > hints->sequence_number;
}

/* The same primary, and nothing promoted it since this database's last release or the baseline. */
static struct policy_step rule_restart(struct decision *decision)
{
    const struct policy_proof *proof = &decision->proof;
    const struct probe_state *state = &policy_facts_of(proof->facts, proof->candidate)->state;

    decision->kind = POLICY_KIND_RESTART;
    if (proof->rules->on_restart == POLICY_RESTART_ALLOW &&
        has_changed(&decision->ledger->hints, state))
        return policy_step_passed();
    return policy_step_approval(REASON_RESTART);
}

static struct policy_step rule_first_of_epoch(struct decision *decision)
{
    const enum policy_origin origin = decision->ledger->origin;

    if (origin != POLICY_ORIGIN_OBSERVED && origin != POLICY_ORIGIN_GRANTED) {
        /* One that another database's restart has begun is this one's, too. */
        decision->mints_epoch = origin != POLICY_ORIGIN_UNPROVEN;
        return rule_restart(decision);
    }
    decision->kind = POLICY_KIND_PROMOTION;
    if (!is_within_window(decision, decision->ledger->epoch_age_ms))
        return policy_step_approval(REASON_WINDOW_PASSED);
    return policy_step_passed();
}

static struct policy_step rule_repeat(struct decision *decision)
{
    decision->kind = POLICY_KIND_REPEAT;
    if (!is_within_window(decision, decision->ledger->grant.age_ms))
        return policy_step_approval(REASON_WINDOW_PASSED);
    if (decision->ledger->grant.requests > decision->proof.rules->retries)
        return policy_step_approval(REASON_RETRIES_EXHAUSTED);
    return policy_step_passed();
}

static struct policy_step rule_new_primary(struct decision *decision)
{
    decision->kind = POLICY_KIND_PROMOTION;
    decision->mints_epoch = true;
    return decision->ledger->has_record ? policy_step_passed()
                                        : policy_step_approval(REASON_NO_BASELINE);
}

/* For the primary on record it begins no epoch. */
static struct policy_step rule_order(struct decision *decision, bool is_recorded)
{
    decision->kind = POLICY_KIND_ORDER;
    decision->mints_epoch = !is_recorded;
    return decision->request->is_order_valid ? policy_step_passed()
                                             : policy_step_failed(REASON_ORDER_UNKNOWN);
}

static struct policy_step rule_promotion(struct decision *decision)
{
    const struct policy_ledger *ledger = decision->ledger;
    const char *candidate = decision->proof.candidate->instance;
    bool is_recorded = ledger->has_record && strcmp(ledger->primary, candidate) == 0;

    if (is_rebaseline(decision)) {
        decision->kind = POLICY_KIND_REBASELINE;
        decision->mints_epoch = true;
        return policy_step_passed();
    }
    if (decision->request->purpose != PURPOSE_PROMOTE)
        return rule_order(decision, is_recorded);
    if (!is_recorded)
        return rule_new_primary(decision);
    if (ledger->grant.state == POLICY_GRANT_NONE)
        return rule_first_of_epoch(decision);
    if (strcmp(ledger->grant.replica, candidate) != 0)
        return policy_step_failed(REASON_GRANTED_TO_OTHER);
    if (ledger->grant.state == POLICY_GRANT_UNSETTLED)
        return rule_repeat(decision);
    decision->mints_epoch = true;
    return rule_restart(decision);
}

static struct policy_step rule_brake(struct decision *decision)
{
    if (!is_rebaseline(decision) &&
        decision->ledger->releases_last_hour >= decision->proof.rules->brake)
        return policy_step_approval(REASON_BRAKE);
    return policy_step_passed();
}

static struct policy_step rule_echo(struct decision *decision)
{
    return is_rebaseline(decision) ? policy_step_passed() : policy_rule_echo(&decision->proof);
}

/* Rule 3 counts from when the witnesses sufficed, so rule 4 comes first. */
static const struct {
    enum policy_rule rule;
    struct policy_step (*check)(struct decision *decision);
} checks[] = {
    {POLICY_RULE_CANDIDATE, rule_candidate}, {POLICY_RULE_SESSION, rule_session},
    {POLICY_RULE_WITNESSES, rule_witnesses}, {POLICY_RULE_RIVAL, rule_rival},
    {POLICY_RULE_PROMOTION, rule_promotion}, {POLICY_RULE_BRAKE, rule_brake},
    {POLICY_RULE_ECHO, rule_echo},
};

static enum reason reason_of_grant(const struct decision *decision)
{
    switch (decision->kind) {
    case POLICY_KIND_PROMOTION:
        return decision->proof.is_by_silence ? REASON_CANDIDATE_SILENCE : REASON_PROMOTION;
    case POLICY_KIND_REPEAT:
        return REASON_PROMOTION_REPEAT;
    case POLICY_KIND_RESTART:
        return REASON_RESTART_ALLOWED;
    case POLICY_KIND_ORDER:
        return REASON_ORDERED;
    case POLICY_KIND_REBASELINE:
        return REASON_REBASELINED;
    case POLICY_KIND_NONE:
        break;
    }
    return REASON_INTERNAL;
}

/* The first rule with this result; POLICY_RULE_COUNT if there is none. */
static size_t find_result(const struct policy_verdict *verdict, enum policy_result result)
{
    size_t i = 0;

    while (i < POLICY_RULE_COUNT && verdict->rules[i].result != result)
        i++;
    return i;
}

unsigned policy_rules_to_approve(const struct policy_verdict *verdict)
{
    unsigned rules = 0;

    for (size_t i = 0; i < POLICY_RULE_COUNT; i++) {
        if (verdict->rules[i].result == POLICY_APPROVAL)
            rules |= 1U << i;
    }
    return rules;
}

/* The admins saw this very release, and every rule that needs them now. */
static bool is_approved(const struct decision *decision, const struct policy_verdict *verdict)
{
    const struct policy_approval *approval = &decision->request->approval;

    return approval->count > 0 && approval->count >= decision->proof.rules->approvals &&
           approval->epoch == decision->ledger->epoch + (decision->mints_epoch ? 1 : 0) &&
           (policy_rules_to_approve(verdict) & ~approval->rules) == 0;
}

static void settle(const struct decision *decision, struct policy_verdict *verdict)
{
    static const struct {
        enum policy_result result;
        enum policy_outcome outcome;
    } order[] = {
        {POLICY_FAILED, POLICY_DENY},
        {POLICY_WAITING, POLICY_WAIT},
        {POLICY_APPROVAL, POLICY_NEEDS_APPROVAL},
    };

    verdict->outcome = POLICY_ALLOW;
    verdict->reason = reason_of_grant(decision);
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        size_t rule = find_result(verdict, order[i].result);

        if (rule < POLICY_RULE_COUNT) {
            verdict->outcome = order[i].outcome;
            verdict->reason = verdict->rules[rule].reason;
            break;
        }
    }
    if (verdict->outcome == POLICY_NEEDS_APPROVAL && is_rebaseline(decision)) {
        verdict->outcome = POLICY_DENY;
        verdict->reason = REASON_BASELINE_UNPROVEN;
    }
    if (verdict->outcome == POLICY_NEEDS_APPROVAL && is_approved(decision, verdict)) {
        verdict->outcome = POLICY_ALLOW;
        verdict->reason = REASON_APPROVED;
    }
    if (verdict->outcome == POLICY_ALLOW || verdict->outcome == POLICY_NEEDS_APPROVAL) {
        verdict->kind = decision->kind;
        verdict->mints_epoch = decision->mints_epoch;
    }
}

/* REASON_NONE: the request is one that these rules are about. */
static enum reason refuse_request(const struct policy_group *rules,
                                  const struct policy_request *request)
{
    if (request->purpose != PURPOSE_PROMOTE && request->purpose != PURPOSE_ROTATE &&
        request->purpose != PURPOSE_DRILL && request->purpose != PURPOSE_REBASELINE)
        return REASON_ACT_MISMATCH;
    if (!policy_has_database(rules, request->database))
        return REASON_DATABASE_UNKNOWN;
    return policy_find_replica(rules, request->replica) ? REASON_NONE : REASON_REPLICA_UNKNOWN;
}

void policy_decide(const struct policy_group *rules, const struct policy_request *request,
                   const struct policy_facts *facts, const struct policy_ledger *ledger,
                   struct policy_verdict *ret_verdict)
{
    struct policy_verdict verdict = {
        .outcome = POLICY_DENY,
        .reason = refuse_request(rules, request),
        .wait_until_ms = POLICY_NO_DEADLINE,
        .witnesses_needed = rules->witness_count,
        .has_echo = rules->wants_echo,
    };
    struct decision decision = {
        .proof = {.rules = rules, .facts = facts, .wait_until_ms = POLICY_NO_DEADLINE},
        .request = request,
        .ledger = ledger,
    };

    if (verdict.reason == REASON_NONE) {
        decision.proof.candidate = policy_find_replica(rules, request->replica);
        for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
            struct policy_step step = checks[i].check(&decision);

            verdict.rules[checks[i].rule] = step;
            if (step.result == POLICY_FAILED ||
                (step.result == POLICY_WAITING && checks[i].rule == POLICY_RULE_CANDIDATE))
                break;
        }
        settle(&decision, &verdict);
        verdict.wait_until_ms = decision.proof.wait_until_ms;
        verdict.witnesses = decision.proof.witnesses;
        verdict.is_by_silence = decision.proof.is_by_silence;
    }
    *ret_verdict = verdict;
}
