/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/release: the one place where a release is decided. An act is accepted, the replicas are
 * asked, the policy decides on what they say, the decision is recorded, and only when the record is
 * durable and still true the TPM duplicates (keeper_grant.c).
 */
#include "escrowd/keeper_release.h"

#include "escrowd/clock.h"
#include "escrowd/keeper_approve.h"
#include "escrowd/keeper_denials.h"
#include "escrowd/ledger_detail.h"
#include "libescrow/json.h"
#include "policy/evidence.h"

#include <stdlib.h>
#include <string.h>

/* Of one identity for one database within a minute; a TPM that is out of order makes some, too. */
#define UNFINISHED_MOST 10
#define UNFINISHED_MS 60000

void release_free(struct release *release)
{
    round_free(release->round);
    json_decref(release->versions);
    answer_free(release->answer);
    free(release);
}

/* Group, database and replica are of the policy, and the replica is this agent's: by the roster of
 * now, which may not be the one of the act's arrival. */
static enum reason check_place(const struct request *request, struct release *release)
{
    const struct keeper *keeper = request->keeper;
    const struct act *act = request->act;
    const struct roster_key *key = roster_find_key(ledger_roster(keeper->ledger), &request->kid);
    enum reason reason = target_find(keeper->policy, &act->subject, &release->target);

    if (!reason)
        reason = request_recheck(request, ROSTER_AGENT);
    if (reason)
        return reason;
    release->replica = policy_find_replica(release->target.group, act->release.replica);
    if (!release->replica || !roster_key_has_instance(key, act->release.replica))
        return REASON_REPLICA_UNKNOWN;
    release->key_point = key->point;
    return REASON_NONE;
}

/* The TPM would refuse the same; here the reason is known, and nothing was recorded as granted. */
static enum reason check_objects(const struct request *request)
{
    const struct act_release *wanted = &request->act->release;
    EVP_PKEY *key = roster_act_key(&request->kid, ledger_roster(request->keeper->ledger));

    if (key_check_point(&wanted->recipient))
        return REASON_RECIPIENT_INVALID;
    if (!key || act_verify_objects(key, &wanted->recipient, wanted->objects, wanted->object_count))
        return REASON_SIGNATURE_INVALID;
    return REASON_NONE;
}

/* An order is good for the request it was made for, once; a repeat of its own grant is the same. */
static enum escrow_err check_order(const struct request *request, bool *ret_is_valid)
{
    const struct act *act = request->act;
    struct store_order order = {0};
    struct store_grant grant = {0};
    enum escrow_err err;

    *ret_is_valid = false;
    if (!act->release.order[0])
        return ESCROW_OK;
    err = store_order(request->keeper->store, act->release.order, &order);
    if (err)
        return err == ESCROW_ERR_NOT_FOUND ? ESCROW_OK : err;
    if (order.purpose != act->purpose || order.expires_ms <= clock_wall_ms() ||
        strcmp(order.subject.group, act->subject.group) != 0 ||
        strcmp(order.subject.database, act->subject.database) != 0)
        return ESCROW_OK;
    if (order.used_by) {
        err = store_grant(request->keeper->store, order.used_by, &grant);
        if (err)
            return err;
        if (grant.is_settled || strcmp(grant.replica, act->release.replica) != 0)
            return ESCROW_OK;
    }
    *ret_is_valid = true;
    return ESCROW_OK;
}

static const char *agent_login(const struct keeper *keeper, const char *instance)
{
    const struct escrowd_instance *found = escrowd_config_find(keeper->config, instance);

    return found ? found->agent_login : "";
}

static void on_change(struct round *round, size_t replica, void *argument)
{
    (void)round;
    (void)replica;
    request_advance(argument, REQUEST_FACTS);
}

bool release_is_by_roster(const struct request *request)
{
    const struct roster *roster = ledger_roster(request->keeper->ledger);

    return roster && roster_version(roster) == request->release->roster_version;
}

bool release_is_of_before(const struct request *request)
{
    const struct release *release = request->release;

    return release->verdict.mints_epoch && release->ledger.epoch != release->asked_epoch;
}

/* Asks all replicas of the group at once. The decision follows from the event loop. */
static void ask(struct request *request)
{
    struct release *release = request->release;
    const struct round_config config = {
        .probers = request->keeper->probers,
        .base = request->keeper->base,
        .policy = request->keeper->policy,
        .target = release->target,
        .candidate = release->replica->instance,
        .nonce = request->act->nonce,
        .login = agent_login(request->keeper, release->replica->instance),
        .asker = request->identity,
        .on_change = on_change,
        .argument = request,
    };
    enum escrow_err err;

    admission_asks(request);
    release->asked_epoch = store_epoch(request->keeper->store, release->target.group->name);
    round_free(release->round);
    release->round = NULL;
    err = round_new(&config, &release->round);
    if (err) {
        request_fail(request, err == ESCROW_ERR_DENIED ? REASON_OVERLOADED : REASON_INTERNAL);
        return;
    }
    request->state = REQUEST_ASKING;
    request_set_timer(request, 0);
}

/* Everything that can be said before the replicas are asked, by the roster of now. */
static enum reason check(struct request *request)
{
    enum reason reason = check_place(request, request->release);

    request->release->roster_version = roster_version(ledger_roster(request->keeper->ledger));
    if (!reason)
        reason = check_objects(request);
    if (!reason)
        reason = release_check_grantable(request);
    return reason;
}

void release_start(struct request *request)
{
    if (!request_accept(request, ACT_RELEASE, ROSTER_AGENT))
        return;
    request->release = calloc(1, sizeof(*request->release));
    if (request->release)
        admission_wait(request);
    else
        request_fail(request, REASON_INTERNAL);
}

void release_admit(struct request *request)
{
    enum reason reason = admission_refuses(request);

    if (reason) {
        request_fail(request, reason);
        return;
    }
    reason = check(request);
    if (reason) {
        request_refuse(request, reason);
        return;
    }
    admission_begin(request);
    request->release->deadline_ms =
        clock_boot_ms() + RELEASE_DEADLINE_MS + request->release->target.group->rival_wait_ms;
    ask(request);
}

void release_ask_again(struct request *request)
{
    enum reason reason = keeper_lacks(request->keeper, KEEPER_NEEDS_ALL);

    if (!reason && clock_boot_ms() >= request->release->deadline_ms)
        reason = REASON_DEADLINE;
    if (reason) {
        request_fail(request, reason);
        return;
    }
    reason = check(request);
    if (reason)
        request_refuse(request, reason);
    else
        ask(request);
}

/* A decision about the group is between queue and disk: the ledger does not hold it yet. */
static bool is_undecided(const struct keeper *keeper, const struct policy_group *group)
{
    const struct request *other;

    for (other = LIST_FIRST(&keeper->request_table.recording); other;
         other = LIST_NEXT(other, of_recording)) {
        if (other->release && other->release->target.group == group)
            return true;
    }
    return false;
}

/* Decides on what is known now; the ledger holds every decision about the group made before. */
static enum escrow_err decide(struct request *request)
{
    struct release *release = request->release;
    struct keeper *keeper = request->keeper;
    struct policy_facts *facts = round_facts(release->round);
    enum escrow_err err;

    watch_fill_history(keeper->watch, release->target.group->name, release->target.database, facts);
    watch_learn(keeper->watch, release->target.group, facts);
    if (is_undecided(keeper, release->target.group))
        keeper_flush(keeper);
    release->asked = (struct policy_request){
        .purpose = request->act->purpose,
        .database = release->target.database,
        .replica = release->replica->instance,
    };
    err = check_order(request, &release->asked.is_order_valid);
    if (!err)
        err = approve_find(request, &release->asked.approval);
    if (!err)
        err = ledger_policy(keeper->ledger, &request->act->subject, clock_wall_ms(),
                            &release->ledger);
    if (!err)
        policy_decide(release->target.group, &release->asked, facts, &release->ledger,
                      &release->verdict);
    return err;
}

static json_t *object_names(const struct act_release *wanted)
{
    CLEANUP(json_free_p) json_t *names = json_array();

    for (size_t i = 0; i < wanted->object_count; i++) {
        if (json_array_append_new(names, json_tpm_name(&wanted->objects[i].object)))
            return NULL;
    }
    return TAKE(names);
}

static json_t *release_detail(const struct request *request)
{
    const struct release *release = request->release;
    struct ledger_release detail = {.kind = release->verdict.kind,
                                    .mints_epoch = release->verdict.mints_epoch};
    const struct policy_facts *facts = round_facts(release->round);

    for (size_t i = 0; i < facts->replica_count; i++) {
        const struct policy_replica_facts *known = &facts->replicas[i];

        if (strcmp(known->instance, release->replica->instance) == 0 &&
            known->status == POLICY_ANSWERED && known->state.outcome == PROBE_ANSWERED) {
            detail.has_hints = true;
            ledger_hints_from(&known->state, &detail.hints);
        }
    }
    if (release->verdict.outcome == POLICY_NEEDS_APPROVAL) {
        detail.is_wanted = true;
        detail.wanted.recipient = request->act->release.recipient;
        detail.wanted.rules = policy_rules_to_approve(&release->verdict);
        detail.wanted.expires_ms = clock_wall_ms() + release->target.group->approval_expiry_ms;
    }
    return ledger_release_detail(&detail);
}

json_t *release_decision_json(const struct release *release)
{
    json_t *evidence = policy_evidence_to_json(release->target.group, &release->asked,
                                               round_facts(release->round), &release->ledger);

    return json_pack("{s:o, s:o}", "evidence", evidence, "verdict",
                     policy_verdict_to_json(&release->verdict));
}

/*
 * A grant that lets nothing out is two large records, counts for neither brake nor retries, and can
 * be had again at once: by who goes away before the TPM is done.
 */
static bool is_abandoned_again(const struct request *request)
{
    int64_t now_ms = clock_wall_ms();
    uint64_t count = 0;

    return store_count_unfinished(request->keeper->store, &request->act->subject, request->identity,
                                  now_ms - UNFINISHED_MS, now_ms, UNFINISHED_MOST,
                                  &count) != ESCROW_OK ||
           count >= UNFINISHED_MOST;
}

/* A record of this decision would be one too many. */
static bool is_flood(const struct request *request)
{
    switch (request->release->verdict.outcome) {
    case POLICY_ALLOW:
        return is_abandoned_again(request);
    case POLICY_NEEDS_APPROVAL:
        return approve_is_flood(request);
    case POLICY_DENY:
    case POLICY_WAIT:
        break;
    }
    return false;
}

/* Whatever the decision is. */
static void record_decision(struct request *request)
{
    struct release *release = request->release;
    CLEANUP(json_free_p) json_t *facts = release_decision_json(release);
    CLEANUP(json_free_p) json_t *objects = object_names(&request->act->release);
    CLEANUP(json_free_p) json_t *detail = release_detail(request);
    char kid[TPM_NAME_HEX + 1];
    struct audit_record record;

    if (!facts || !objects || !detail) {
        request_fail(request, REASON_INTERNAL);
        return;
    }
    /* A request that this one takes the place of ends first. */
    approve_expire(request->keeper);
    request_describe(request, AUDIT_RELEASE, &record, kid);
    record.replica = release->replica->instance;
    record.objects = objects;
    record.versions = release->versions;
    record.epoch = release->epoch = release->ledger.epoch + (release->verdict.mints_epoch ? 1 : 0);
    record.decision = policy_outcome_name(release->verdict.outcome);
    record.reason = reason_code(release->verdict.reason);
    record.facts = facts;
    record.order = request->act->release.order[0] ? request->act->release.order : NULL;
    record.detail = detail;
    request_record(request, &record);
}

/*
 * Admins are asked for exactly this already, and the log says so: who waits for them asks again and
 * again, and a record each time would say nothing. What they approve is rules; which of a rule's
 * reasons it was when they were asked changes nothing.
 */
static bool is_asked_already(const struct request *request)
{
    const struct release *release = request->release;
    const struct policy_verdict *verdict = &release->verdict;
    struct store_request wanted, pending = {0};

    approve_wanted(request, &wanted);
    return store_find_request(request->keeper->store, &wanted, clock_wall_ms(), &pending) ==
               ESCROW_OK &&
           pending.epoch == release->ledger.epoch + (verdict->mints_epoch ? 1 : 0) &&
           pending.rules == policy_rules_to_approve(verdict);
}

/* What is waited for, to who is told to ask again: nothing that sounds as if admins were asked. */
static enum reason waits_for(const struct policy_verdict *verdict)
{
    for (size_t i = 0; i < POLICY_RULE_COUNT; i++) {
        const struct policy_step *step = &verdict->rules[i];

        if (step->result == POLICY_WAITING && reason_http_status(step->reason) != HTTP_ACCEPTED)
            return step->reason;
    }
    return REASON_DEADLINE;
}

void release_wait_on(struct request *request, int64_t elapsed_ms)
{
    const struct release *release = request->release;
    int64_t next_ms = release->verdict.wait_until_ms;

    if (elapsed_ms < RELEASE_ASK_MS && next_ms > RELEASE_ASK_MS)
        next_ms = RELEASE_ASK_MS;
    /* Too long for this request: the agent asks again. */
    if (next_ms - elapsed_ms > release->deadline_ms - clock_boot_ms())
        request_refuse(request, waits_for(&release->verdict));
    else
        request_set_timer(request, next_ms - elapsed_ms);
}

/*
 * The TPM has more to do than these facts live: they are asked for again when it has done most of
 * it, or the deadline ends the waiting.
 */
static void wait_for_tpm(struct request *request)
{
    int64_t after_ms = admission_tpm_ms(request->keeper->admission) - ADMISSION_TPM_MS;
    int64_t left_ms = request->release->deadline_ms - clock_boot_ms();

    if (after_ms < ADMISSION_QUICK_MS)
        after_ms = ADMISSION_QUICK_MS;
    if (left_ms <= 0)
        release_ask_again(request);
    else
        request_set_timer(request, after_ms < left_ms ? after_ms : left_ms);
}

int64_t release_fresh_for_ms(const struct request *request)
{
    const struct release *release = request->release;

    return RELEASE_FACTS_MAX_MS + release->target.group->rival_wait_ms -
           round_facts(release->round)->elapsed_ms;
}

void release_facts(struct request *request)
{
    const struct release *release = request->release;
    int64_t elapsed_ms = round_facts(release->round)->elapsed_ms;

    /* It would not reach the TPM any more: nothing is decided that the next keeper would not. */
    if (request->keeper->is_stopping) {
        request_fail(request, REASON_SHUTTING_DOWN);
        return;
    }
    if (!release_is_by_roster(request)) {
        release_ask_again(request);
        return;
    }
    if (elapsed_ms >= RELEASE_ASK_MS)
        round_give_up(release->round);
    if (decide(request))
        request_fail(request, REASON_STORE_UNAVAILABLE);
    else if (release->verdict.outcome == POLICY_WAIT)
        release_wait_on(request, elapsed_ms);
    else if (release_is_of_before(request) ||
             (release->verdict.outcome == POLICY_ALLOW && release_fresh_for_ms(request) < 0))
        release_ask_again(request);
    else if (release->verdict.outcome == POLICY_ALLOW &&
             release_fresh_for_ms(request) < admission_tpm_ms(request->keeper->admission))
        wait_for_tpm(request);
    else if (release->verdict.outcome == POLICY_DENY && denial_is_counted(request))
        request_fail(request, release->verdict.reason);
    else if (release->verdict.outcome == POLICY_NEEDS_APPROVAL && is_asked_already(request))
        release_finish(request);
    else if (is_flood(request))
        request_refuse(request, REASON_OVERLOADED);
    else
        record_decision(request);
}
