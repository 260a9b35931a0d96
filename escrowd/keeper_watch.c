/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_watch.h"

#include "escrowd/clock.h"
#include "escrowd/keeper_round.h"
#include "escrowd/keeper_state.h"
#include "escrowd/ledger_detail.h"
#include "escrowd/store_ledger.h"
#include "libescrow/json.h"
#include "libescrow/log.h"
#include "libescrow/probe_hold.h"
#include "policy/evidence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A round that is not complete by then goes without those that are missing. */
#define ROUND_MS 2000

/* SQL Server's numbers, as in policy/rules.c. */
enum { ROLE_PRIMARY = 1, ROLE_SECONDARY = 2, HEALTH_HEALTHY = 2, SYNCHRONIZED = 2 };

/* What is remembered of a replica; times by CLOCK_BOOTTIME, 0 for never. */
struct memory {
    bool is_known;
    struct probe_state last; /* outcome and diagnosis of the last question */
    struct probe_state said; /* its last answer */
    bool was_synchronised;
    int64_t heard_ms;    /* last outcome of any kind */
    int64_t answered_ms; /* last answer */
    int64_t primary_ms;  /* last answer PRIMARY */
    int64_t refusing_ms; /* since when every connection is refused */
    bool is_answering;   /* the last question was answered */
    /* What the log has said of it: that it answers, that it is silent, or an outcome. */
    enum { TOLD_ANSWERS, TOLD_SILENT, TOLD_FAILED } told;
    enum probe_outcome told_outcome;
    int32_t told_error;
};

struct watched {
    struct watch *watch;
    struct target target;
    struct round *round; /* NULL: none is open */
    struct round *last;  /* whole; NULL: none has been yet */
    struct memory memories[POLICY_REPLICAS_MAX];
};

struct watch {
    struct keeper *keeper;
    size_t count;
    struct watched *items;
};

/* An answer of the prober, if only that it cannot connect. */
static void remember(struct memory *memory, const struct probe_state *state)
{
    int64_t now_ms = clock_boot_ms();
    bool is_refusing = state->outcome == PROBE_REFUSED;

    memory->is_known = true;
    memory->last = *state;
    memory->heard_ms = now_ms;
    memory->is_answering = state->outcome == PROBE_ANSWERED;
    if (!is_refusing)
        memory->refusing_ms = 0;
    else if (memory->refusing_ms == 0)
        memory->refusing_ms = now_ms;
    if (!memory->is_answering)
        return;
    memory->said = *state;
    memory->answered_ms = now_ms;
    if (state->role == ROLE_PRIMARY)
        memory->primary_ms = now_ms;
}

static void remember_silence(struct memory *memory)
{
    memory->is_answering = false;
    memory->refusing_ms = 0;
}

static bool is_told(const struct memory *memory, const struct probe_state *state)
{
    if (!state)
        return memory->told == TOLD_SILENT;
    if (state->outcome == PROBE_ANSWERED)
        return memory->told == TOLD_ANSWERS;
    return memory->told == TOLD_FAILED && memory->told_outcome == state->outcome &&
           memory->told_error == state->sql_error;
}

static void tell_failed(const struct target *target, const char *name,
                        const struct probe_state *state)
{
    char next[128] = "asked again every second, and for each release";

    if (state->outcome == PROBE_LOGIN_REFUSED)
        snprintf(next, sizeof(next),
                 "a login is tried again every %d s, and as soon as its password, keytab or CA "
                 "file changes",
                 PROBE_HOLD_MS / 1000);
    log_warning("watch: %s cannot be asked for its role (%s/%s): %s: %s; %s", name,
                target->group->name, target->database, policy_outcome_word(state->outcome),
                state->diagnosis, next);
}

/*
 * Only changes are said: one line a round at most, from a replica that flaps. A DBA learns of it
 * here before the failover in which this replica's word would have been needed. NULL: silence.
 */
static void tell(struct watched *watched, size_t replica, const struct probe_state *state)
{
    struct memory *memory = &watched->memories[replica];
    const struct target *target = &watched->target;
    const char *name = target->group->replicas[replica].instance;

    if (is_told(memory, state))
        return;
    if (!state) {
        memory->told = TOLD_SILENT;
        log_warning("watch: %s does not answer the question for its role (%s/%s) in %d ms; asked "
                    "again every second, and for each release",
                    name, target->group->name, target->database, ROUND_MS);
    } else if (state->outcome == PROBE_ANSWERED) {
        memory->told = TOLD_ANSWERS;
        log_notice("watch: %s answers again (%s/%s)", name, target->group->name, target->database);
    } else {
        memory->told = TOLD_FAILED;
        memory->told_outcome = state->outcome;
        memory->told_error = state->sql_error;
        tell_failed(target, name, state);
    }
}

static bool says_role(const struct policy_replica_facts *known, int32_t role)
{
    return known->status == POLICY_ANSWERED && known->state.outcome == PROBE_ANSWERED &&
           known->state.role == role;
}

static bool is_synchronised(const struct policy_replica_facts *known)
{
    return says_role(known, ROLE_SECONDARY) &&
           known->state.synchronization_health == HEALTH_HEALTHY &&
           known->state.synchronization_state == SYNCHRONIZED;
}

static bool has_other_primary(const struct policy_facts *facts, size_t replica)
{
    for (size_t i = 0; i < facts->replica_count; i++) {
        if (i != replica && says_role(&facts->replicas[i], ROLE_PRIMARY))
            return true;
    }
    return false;
}

/* Judged only in rounds in which another replica said PRIMARY: see struct policy_history. */
static void judge_synchronised(struct watched *watched, const struct policy_facts *facts)
{
    for (size_t i = 0; i < facts->replica_count; i++) {
        if (has_other_primary(facts, i))
            watched->memories[i].was_synchronised = is_synchronised(&facts->replicas[i]);
    }
}

static void fill_history(const struct memory *memory, struct policy_history *history)
{
    int64_t now_ms = clock_boot_ms();

    *history = (struct policy_history){
        .is_known = memory->is_known,
        .last_role = memory->answered_ms ? memory->said.role : -1,
        .was_synchronised = memory->was_synchronised,
        .primary_ago_ms = memory->primary_ms ? now_ms - memory->primary_ms : POLICY_NEVER,
        .silent_for_ms = POLICY_NEVER,
        .dead_for_ms = memory->refusing_ms ? now_ms - memory->refusing_ms : 0,
    };
    if (memory->is_answering)
        history->silent_for_ms = 0;
    else if (memory->answered_ms)
        history->silent_for_ms = now_ms - memory->answered_ms;
}

static void fill_histories(const struct watched *watched, struct policy_facts *facts)
{
    const struct policy_group *group = watched->target.group;

    for (size_t i = 0; i < facts->replica_count; i++) {
        for (size_t j = 0; j < group->replica_count; j++) {
            if (strcmp(group->replicas[j].instance, facts->replicas[i].instance) == 0)
                fill_history(&watched->memories[j], &facts->replicas[i].history);
        }
    }
}

static const struct watched *find_watched(const struct watch *watch, const char *group,
                                          const char *database)
{
    for (size_t i = 0; i < watch->count; i++) {
        const struct target *target = &watch->items[i].target;

        if (strcmp(target->group->name, group) == 0 && strcmp(target->database, database) == 0)
            return &watch->items[i];
    }
    return NULL;
}

void watch_fill_history(const struct watch *watch, const char *group, const char *database,
                        struct policy_facts *facts)
{
    const struct watched *watched = find_watched(watch, group, database);

    if (watched)
        fill_histories(watched, facts);
}

void watch_learn(struct watch *watch, const struct policy_group *group,
                 const struct policy_facts *facts)
{
    int64_t now_ms = clock_boot_ms();

    for (size_t i = 0; i < watch->count; i++) {
        struct watched *watched = &watch->items[i];

        if (watched->target.group != group)
            continue;
        for (size_t j = 0; j < facts->replica_count; j++) {
            if (says_role(&facts->replicas[j], ROLE_PRIMARY))
                watched->memories[j].primary_ms = now_ms;
            if (has_other_primary(facts, j) && !is_synchronised(&facts->replicas[j]))
                watched->memories[j].was_synchronised = false;
        }
    }
}

const struct probe_state *watch_said(const struct watch *watch, const struct act_subject *subject,
                                     const char *instance, int64_t since_ms)
{
    const struct watched *watched = find_watched(watch, subject->group, subject->database);
    const struct policy_replica *replica =
        watched ? policy_find_replica(watched->target.group, instance) : NULL;
    const struct memory *memory =
        replica ? &watched->memories[replica - watched->target.group->replicas] : NULL;

    return memory && memory->is_answering && memory->answered_ms > since_ms ? &memory->said : NULL;
}

void watch_hints(const struct watch *watch, const struct policy_group *group, size_t primary,
                 struct ledger_epoch *epoch)
{
    for (size_t i = 0; i < watch->count; i++) {
        const struct watched *watched = &watch->items[i];
        const struct memory *memory = &watched->memories[primary];

        if (watched->target.group != group || !memory->is_answering)
            continue;
        memcpy(epoch->hints[epoch->hint_count].database, watched->target.database,
               strlen(watched->target.database) + 1);
        ledger_hints_from(&memory->said, &epoch->hints[epoch->hint_count].hints);
        epoch->hint_count++;
    }
}

static void record_primary(struct watch *watch, const struct policy_group *group, size_t primary,
                           const struct policy_ledger *ledger)
{
    CLEANUP(cleanup_free) struct ledger_epoch *epoch = calloc(1, sizeof(*epoch));
    CLEANUP(json_free_p) json_t *detail = NULL;
    struct audit_record record;

    if (!epoch)
        return;
    epoch->origin = ledger->has_record ? POLICY_ORIGIN_OBSERVED : POLICY_ORIGIN_BASELINE;
    watch_hints(watch, group, primary, epoch);
    detail = ledger_epoch_detail(epoch);
    keeper_record(watch->keeper, AUDIT_EPOCH, &record);
    record.group = group->name;
    record.replica = group->replicas[primary].instance;
    record.epoch = ledger->epoch + 1;
    record.detail = detail;
    if (!detail || keeper_append(watch->keeper, &record, NULL, NULL)) {
        log_warning("the new primary of %s cannot be recorded", group->name);
        return;
    }
    /* The next round must find it in the ledger. */
    keeper_flush(watch->keeper);
}

static void observe(struct watched *watched, const struct policy_facts *facts)
{
    struct watch *watch = watched->watch;
    const struct policy_group *group = watched->target.group;
    const struct policy_replica *primary;
    struct act_subject subject = {0};
    struct policy_ledger ledger;

    if (keeper_lacks(watch->keeper, KEEPER_NEEDS_LOG))
        return;
    memcpy(subject.group, group->name, strlen(group->name) + 1);
    memcpy(subject.database, watched->target.database, strlen(watched->target.database) + 1);
    /* A grant on its way to the log may hold the new epoch. */
    keeper_flush(watch->keeper);
    if (ledger_policy(watch->keeper->ledger, &subject, clock_wall_ms(), &ledger))
        return;
    if (policy_observe(group, facts, &ledger, &primary) == POLICY_NOTHING)
        return;
    record_primary(watch, group, (size_t)(primary - group->replicas), &ledger);
}

static void end_round(struct watched *watched)
{
    struct policy_facts *facts = round_facts(watched->round);

    for (size_t i = 0; i < facts->replica_count; i++) {
        if (facts->replicas[i].status != POLICY_SILENT)
            continue;
        remember_silence(&watched->memories[i]);
        tell(watched, i, NULL);
    }
    judge_synchronised(watched, facts);
    fill_histories(watched, facts);
    /* The primary belongs to the group: its first database speaks for all. */
    if (watched->target.database == watched->target.group->databases[0])
        observe(watched, facts);
    round_free(watched->last);
    watched->last = TAKE(watched->round);
}

/*
 * No rival can come any more (rule 3): every replica has told its state or is dead, or the time for
 * rivals is over since the last that answered.
 */
static bool is_over(const struct watched *watched)
{
    const struct policy_facts *facts = round_facts(watched->round);
    bool have_all_spoken = true;
    int64_t last_ms = 0;

    for (size_t i = 0; i < facts->replica_count; i++) {
        const struct policy_replica_facts *known = &facts->replicas[i];
        bool has_answered = known->status == POLICY_ANSWERED;

        have_all_spoken &= has_answered && (known->state.outcome == PROBE_ANSWERED ||
                                            known->state.outcome == PROBE_REFUSED);
        if (has_answered && known->answered_ms > last_ms)
            last_ms = known->answered_ms;
    }
    return round_is_complete(watched->round) &&
           (have_all_spoken || facts->elapsed_ms - last_ms >= watched->target.group->rival_wait_ms);
}

static void on_change(struct round *round, size_t replica, void *argument)
{
    struct watched *watched = argument;

    const struct policy_replica_facts *known = &round_facts(round)->replicas[replica];

    if (known->status == POLICY_ANSWERED) {
        remember(&watched->memories[replica], &known->state);
        tell(watched, replica, &known->state);
    }
    if (is_over(watched))
        end_round(watched);
}

static void begin_round(struct watched *watched)
{
    const struct round_config config = {
        .probers = watched->watch->keeper->probers,
        .policy = watched->watch->keeper->policy,
        .target = watched->target,
        .asker = "",
        .on_change = on_change,
        .argument = watched,
    };

    /* Where there is no prober to call back, the next tick ends it. */
    if (round_new(&config, &watched->round))
        watched->round = NULL;
}

void watch_tick(struct watch *watch)
{
    for (size_t i = 0; i < watch->count; i++) {
        struct watched *watched = &watch->items[i];

        if (watched->round && round_facts(watched->round)->elapsed_ms >= ROUND_MS)
            round_give_up(watched->round);
        if (watched->round && is_over(watched))
            end_round(watched);
        if (!watched->round)
            begin_round(watched);
    }
}

enum reason watch_last(const struct watch *watch, uint64_t number, struct target *ret_target,
                       struct policy_facts *ret_facts)
{
    const struct watched *watched;

    if (number == 0 || number > watch->count)
        return REASON_DATABASE_UNKNOWN;
    watched = &watch->items[number - 1];
    if (!watched->last)
        return REASON_STARTING;
    *ret_target = watched->target;
    *ret_facts = *round_facts(watched->last);
    fill_histories(watched, ret_facts);
    return REASON_NONE;
}

static const char *role_word(int32_t role)
{
    static const char *const words[] = {"resolving", "primary", "secondary"};

    return role >= 0 && role < (int32_t)ARRAY_LEN(words) ? words[role] : "unknown";
}

static json_t *memory_json(const struct memory *memory, const struct policy_replica *replica)
{
    json_t *diagnosis;

    if (!memory->is_known)
        return json_pack("{s:s, s:n, s:n, s:s, s:n}", "instance", replica->instance, "outcome",
                         "role", "diagnosis", "", "ago_ms");
    diagnosis = json_string(memory->last.diagnosis);
    return json_pack("{s:s, s:s, s:s?, s:o, s:I}", "instance", replica->instance, "outcome",
                     policy_outcome_word(memory->last.outcome), "role",
                     memory->is_answering ? role_word(memory->said.role) : NULL, "diagnosis",
                     diagnosis ? diagnosis : json_string("(not UTF-8)"), "ago_ms",
                     (json_int_t)(clock_boot_ms() - memory->heard_ms));
}

static json_t *watched_json(const struct watched *watched)
{
    const struct policy_group *group = watched->target.group;
    struct store_group known = {0};
    json_t *replicas = json_array();
    bool is_known = store_group(watched->watch->keeper->store, group->name, &known) == ESCROW_OK;

    for (size_t i = 0; i < group->replica_count; i++) {
        if (json_array_append_new(replicas,
                                  memory_json(&watched->memories[i], &group->replicas[i]))) {
            json_decref(replicas);
            return NULL;
        }
    }
    return json_pack("{s:s, s:s, s:s?, s:I, s:o}", "group", group->name, "database",
                     watched->target.database, "primary", is_known ? known.replica : NULL, "epoch",
                     (json_int_t)known.epoch, "replicas", replicas);
}

json_t *watch_json(const struct watch *watch)
{
    CLEANUP(json_free_p) json_t *groups = json_array();

    for (size_t i = 0; i < watch->count; i++) {
        if (json_array_append_new(groups, watched_json(&watch->items[i])))
            return NULL;
    }
    return TAKE(groups);
}

enum escrow_err watch_new(struct keeper *keeper, struct watch **ret_watch)
{
    CLEANUP(watch_free_p) struct watch *watch = calloc(1, sizeof(*watch));
    const struct policy_group *groups;
    size_t group_count = policy_groups(keeper->policy, &groups), most = 0;

    if (!watch)
        return ESCROW_ERR_NO_MEMORY;
    watch->keeper = keeper;
    for (size_t i = 0; i < group_count; i++)
        most += groups[i].database_count;
    watch->items = calloc(most ? most : 1, sizeof(*watch->items));
    if (!watch->items)
        return ESCROW_ERR_NO_MEMORY;
    for (size_t i = 0; i < group_count; i++) {
        for (size_t j = 0; j < groups[i].database_count; j++)
            watch->items[watch->count++] =
                (struct watched){.watch = watch, .target = {&groups[i], groups[i].databases[j]}};
    }
    *ret_watch = TAKE(watch);
    return ESCROW_OK;
}

void watch_free(struct watch *watch)
{
    for (size_t i = 0; i < watch->count; i++) {
        round_free(watch->items[i].round);
        round_free(watch->items[i].last);
    }
    free(watch->items);
    free(watch);
}
