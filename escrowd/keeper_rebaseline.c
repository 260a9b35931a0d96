/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/rebaseline: an admin has the primary of now taken as known, so that nothing that
 * happened until now is a promotion. The admin's word is no evidence either: the replicas are
 * asked, as for a release, and prove who is primary. One admin will do, because it only takes away.
 */
#include "escrowd/clock.h"
#include "escrowd/keeper_denials.h"
#include "escrowd/keeper_release.h"
#include "escrowd/ledger_detail.h"
#include "libescrow/json.h"

#include <stdlib.h>

static void on_change(struct round *round, size_t replica, void *argument)
{
    (void)round;
    (void)replica;
    request_advance(argument, REQUEST_FACTS);
}

static enum reason find_place(const struct request *request, struct release *release)
{
    const struct act *act = request->act;
    enum reason reason = target_find(request->keeper->policy, &act->subject, &release->target);

    if (reason)
        return reason;
    release->replica = policy_find_replica(release->target.group, act->rebaseline.replica);
    return release->replica ? REASON_NONE : REASON_REPLICA_UNKNOWN;
}

/* Asks all replicas of the group at once; again, in the place of what they said before. */
static void ask(struct request *request)
{
    struct release *release = request->release;
    const struct round_config config = {.probers = request->keeper->probers,
                                        .policy = request->keeper->policy,
                                        .target = release->target,
                                        .asker = request->identity,
                                        .on_change = on_change,
                                        .argument = request};
    enum escrow_err err;

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

void rebaseline_start(struct request *request)
{
    struct release *release;
    enum reason reason;

    if (!request_accept(request, ACT_REBASELINE, ROSTER_ADMIN))
        return;
    request->release = release = calloc(1, sizeof(*release));
    reason = release ? find_place(request, release) : REASON_INTERNAL;
    if (reason) {
        request_refuse(request, reason);
        return;
    }
    release->deadline_ms =
        clock_boot_ms() + RELEASE_DEADLINE_MS + release->target.group->rival_wait_ms;
    ask(request);
}

static enum escrow_err decide(const struct request *request)
{
    struct keeper *keeper = request->keeper;
    struct release *release = request->release;
    struct policy_facts *facts = round_facts(release->round);
    enum escrow_err err;

    watch_fill_history(keeper->watch, release->target.group->name, release->target.database, facts);
    watch_learn(keeper->watch, release->target.group, facts);
    /* A grant on its way to the log may hold a new epoch. */
    keeper_flush(keeper);
    release->asked = (struct policy_request){.purpose = request->act->purpose,
                                             .database = release->target.database,
                                             .replica = release->replica->instance};
    err = ledger_policy(keeper->ledger, &request->act->subject, clock_wall_ms(), &release->ledger);
    if (!err)
        policy_decide(release->target.group, &release->asked, facts, &release->ledger,
                      &release->verdict);
    return err;
}

/* Where it is denied there is no epoch, and no detail. */
static json_t *epoch_detail(const struct request *request)
{
    const struct release *release = request->release;
    const struct policy_group *group = release->target.group;
    CLEANUP(cleanup_free) struct ledger_epoch *epoch = calloc(1, sizeof(*epoch));

    if (!epoch)
        return NULL;
    epoch->origin = POLICY_ORIGIN_BASELINE;
    watch_hints(request->keeper->watch, group, (size_t)(release->replica - group->replicas), epoch);
    return ledger_epoch_detail(epoch);
}

static void record_decision(struct request *request)
{
    struct release *release = request->release;
    bool is_allowed = release->verdict.outcome == POLICY_ALLOW;
    CLEANUP(json_free_p) json_t *facts = release_decision_json(release);
    CLEANUP(json_free_p) json_t *detail = is_allowed ? epoch_detail(request) : NULL;
    char kid[TPM_NAME_HEX + 1];
    struct audit_record record;

    if (!facts || (is_allowed && !detail)) {
        request_fail(request, REASON_INTERNAL);
        return;
    }
    request_describe(request, AUDIT_REBASELINE, &record, kid);
    record.replica = release->replica->instance;
    record.epoch = release->ledger.epoch + (is_allowed ? 1 : 0);
    record.decision = policy_outcome_name(release->verdict.outcome);
    record.reason = reason_code(release->verdict.reason);
    record.facts = facts;
    record.detail = detail;
    request_record(request, &record);
}

void rebaseline_facts(struct request *request)
{
    const struct release *release = request->release;
    int64_t elapsed_ms = round_facts(release->round)->elapsed_ms;
    enum reason reason = request_recheck(request, ROSTER_ADMIN);

    if (request->keeper->is_stopping)
        reason = REASON_SHUTTING_DOWN;
    if (reason) {
        request_refuse(request, reason);
        return;
    }
    if (elapsed_ms >= RELEASE_ASK_MS)
        round_give_up(release->round);
    if (decide(request))
        request_fail(request, REASON_STORE_UNAVAILABLE);
    else if (release->verdict.outcome == POLICY_WAIT)
        release_wait_on(request, elapsed_ms);
    else if (release_is_of_before(request) && clock_boot_ms() < release->deadline_ms)
        ask(request);
    else if (release_is_of_before(request))
        request_refuse(request, REASON_DEADLINE);
    else if (release->verdict.outcome == POLICY_DENY && denial_is_counted(request))
        request_fail(request, release->verdict.reason);
    else
        record_decision(request);
}

void rebaseline_finish(struct request *request)
{
    if (request->release->verdict.outcome == POLICY_ALLOW) {
        request_note(request);
        return;
    }
    denial_is_recorded(request);
    request_fail(request, request->release->verdict.reason);
}
