/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_watch.h"

#include "escrowd/clock.h"
#include "escrowd/keeper_poll.h"
#include "escrowd/keeper_state.h"
#include "escrowd/ledger_detail.h"
#include "escrowd/store_ledger.h"
#include "escrowd/watch_memory.h"
#include "libescrow/json.h"
#include "libescrow/log.h"
#include "libescrow/probe_hold.h"
#include "policy/evidence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A round that is not complete by then goes without those that are missing. */
#define ROUND_MS 2000

/* SQL Server's numbers (sys.dm_hadr_availability_replica_states, _database_replica_states). */
enum { HEALTH_HEALTHY = 2, SYNCHRONIZED = 2 };

/* What a replica says in one round: struct policy_replica_facts. */
struct said {
    enum policy_status status;
    int64_t answered_ms;
    struct probe_state state;
};

struct seen {
    struct memory memory;
    int64_t learnt_ms;     /* CLOCK_BOOTTIME: watch_learn last found it not to be synchronised */
    struct said now, last; /* in the round that is open, and in the last whole one */
};

/* A database of a group. Rounds are its own; the questions are not (keeper_poll.h). */
struct watched {
    struct watch *watch;
    struct target target;
    bool is_asking;     /* a round is open */
    bool is_told;       /* one is over, and was not compared with the ledger yet */
    int64_t started_ms; /* CLOCK_BOOTTIME, as is the next: the last round that began */
    int64_t last_ms;    /* when the last whole round began; 0: none has been yet */
    uint64_t epoch;     /* of the group, when the last round began; if it speaks for it */
    struct seen *seen;  /* of each replica of the group */
};

struct watch {
    struct keeper *keeper;
    struct poll *poll;
    int64_t ticked_ms; /* CLOCK_BOOTTIME: the last tick */
    size_t count;
    size_t told;           /* of them; see is_told */
    struct watched *items; /* in the order of the policy, those of a group side by side */
    struct seen *seen;     /* of all items */
    const struct policy_group *groups;
    size_t *first;             /* item of each group */
    struct policy_facts facts; /* of the round that ends */
};

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
 * Only changes are said: one line an answer at most, from a replica that flaps. A DBA learns of it
 * here before the failover in which this replica's word would have been needed. NULL: silence.
 */
static void tell(struct watched *watched, size_t replica, const struct probe_state *state)
{
    const struct target *target = &watched->target;
    const char *name = target->group->replicas[replica].instance;

    if (!memory_tell(&watched->seen[replica].memory, state))
        return;
    if (!state)
        log_warning("watch: %s does not answer the question for its role (%s/%s) in %d ms; asked "
                    "again every second, and for each release",
                    name, target->group->name, target->database, ROUND_MS);
    else if (state->outcome == PROBE_ANSWERED)
        log_notice("watch: %s answers again (%s/%s)", name, target->group->name, target->database);
    else
        tell_failed(target, name, state);
}

static bool says_role(const struct policy_replica_facts *known, int32_t role)
{
    return known->status == POLICY_ANSWERED && known->state.outcome == PROBE_ANSWERED &&
           known->state.role == role;
}

static bool is_synchronised(const struct policy_replica_facts *known)
{
    return says_role(known, PROBE_ROLE_SECONDARY) &&
           known->state.synchronization_health == HEALTH_HEALTHY &&
           known->state.synchronization_state == SYNCHRONIZED;
}

static bool has_other_primary(const struct policy_facts *facts, size_t replica)
{
    for (size_t i = 0; i < facts->replica_count; i++) {
        if (i != replica && says_role(&facts->replicas[i], PROBE_ROLE_PRIMARY))
            return true;
    }
    return false;
}

/*
 * Judged only in rounds in which another replica said PRIMARY: see struct policy_history. What a
 * round heard may be older than what was learnt while it waited, and takes nothing of that back.
 */
static void judge_synchronised(struct watched *watched, const struct policy_facts *facts)
{
    for (size_t i = 0; i < facts->replica_count; i++) {
        struct seen *seen = &watched->seen[i];

        if (has_other_primary(facts, i))
            seen->memory.was_synchronised =
                is_synchronised(&facts->replicas[i]) && seen->learnt_ms < watched->started_ms;
    }
}

/* For so long nobody has been asked, beyond what a tick may be late: this host slept, or the keeper
 * was held up. */
static int64_t slept_for_ms(const struct watch *watch)
{
    int64_t slept_ms = clock_boot_ms() - watch->ticked_ms - ROUND_MS;

    return slept_ms > 0 ? slept_ms : 0;
}

static void fill_histories(const struct watched *watched, struct policy_facts *facts)
{
    const struct policy_group *group = watched->target.group;
    int64_t slept_ms = slept_for_ms(watched->watch);

    for (size_t i = 0; i < facts->replica_count; i++) {
        for (size_t j = 0; j < group->replica_count; j++) {
            if (strcmp(group->replicas[j].instance, facts->replicas[i].instance) == 0)
                memory_history(&watched->seen[j].memory, slept_ms, &facts->replicas[i].history);
        }
    }
}

/* The items of a group of the policy: as many as it has databases. */
static struct watched *items_of(const struct watch *watch, const struct policy_group *group)
{
    return &watch->items[watch->first[group - watch->groups]];
}

/* The primary belongs to the group: its first database speaks for all. */
static bool speaks_for_group(const struct watched *watched)
{
    return watched->target.database == watched->target.group->databases[0];
}

static const struct watched *find_watched(const struct watch *watch, const char *group_name,
                                          const char *database)
{
    const struct policy_group *group = policy_find_group(watch->keeper->policy, group_name);

    for (size_t i = 0; group && i < group->database_count; i++) {
        if (strcmp(group->databases[i], database) == 0)
            return &items_of(watch, group)[i];
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

    for (size_t i = 0; i < group->database_count; i++) {
        struct seen *seen = items_of(watch, group)[i].seen;

        for (size_t j = 0; j < facts->replica_count; j++) {
            if (says_role(&facts->replicas[j], PROBE_ROLE_PRIMARY))
                seen[j].memory.primary_ms = now_ms;
            if (!has_other_primary(facts, j) || is_synchronised(&facts->replicas[j]))
                continue;
            seen[j].memory.was_synchronised = false;
            seen[j].learnt_ms = now_ms;
        }
    }
}

/* What is remembered of an instance with a database; NULL if the policy has no such. */
static const struct memory *find_memory(const struct watch *watch,
                                        const struct act_subject *subject, const char *instance)
{
    const struct watched *watched = find_watched(watch, subject->group, subject->database);
    const struct policy_replica *replica =
        watched ? policy_find_replica(watched->target.group, instance) : NULL;

    return replica ? &watched->seen[replica - watched->target.group->replicas].memory : NULL;
}

const struct probe_state *watch_said(const struct watch *watch, const struct act_subject *subject,
                                     const char *instance, int64_t since_ms)
{
    const struct memory *memory = find_memory(watch, subject, instance);

    return memory && memory->is_answering && memory->answered_ms > since_ms ? &memory->last : NULL;
}

int64_t watch_primary_ms(const struct watch *watch, const struct act_subject *subject,
                         const char *instance)
{
    const struct memory *memory = find_memory(watch, subject, instance);

    return memory ? memory->primary_ms : 0;
}

void watch_hints(const struct watch *watch, const struct policy_group *group, size_t primary,
                 struct ledger_epoch *epoch)
{
    for (size_t i = 0; i < group->database_count; i++) {
        const struct memory *memory = &items_of(watch, group)[i].seen[primary].memory;

        if (!memory->is_answering)
            continue;
        memcpy(epoch->hints[epoch->hint_count].database, group->databases[i],
               strlen(group->databases[i]) + 1);
        ledger_hints_from(&memory->last, &epoch->hints[epoch->hint_count].hints);
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
    if (!detail || keeper_append(watch->keeper, &record, NULL, NULL))
        log_warning("the new primary of %s cannot be recorded", group->name);
}

/* What the replicas said in the last whole round, without what is remembered of them. */
static void gather(const struct watched *watched, struct policy_facts *ret_facts)
{
    const struct policy_group *group = watched->target.group;

    *ret_facts = (struct policy_facts){
        .elapsed_ms = clock_boot_ms() - watched->last_ms,
        .session = POLICY_SESSION_MISSING,
        .replica_count = group->replica_count,
    };
    for (size_t i = 0; i < group->replica_count; i++) {
        const struct said *said = &watched->seen[i].last;
        struct policy_replica_facts *known = &ret_facts->replicas[i];

        memcpy(known->instance, group->replicas[i].instance,
               strlen(group->replicas[i].instance) + 1);
        known->status = said->status;
        known->answered_ms = said->answered_ms;
        known->state = said->state;
    }
}

static void end_round(struct watched *watched)
{
    struct policy_facts *facts = &watched->watch->facts;

    for (size_t i = 0; i < watched->target.group->replica_count; i++) {
        struct seen *seen = &watched->seen[i];

        if (seen->now.status == POLICY_SILENT && seen->memory.heard_ms < watched->started_ms) {
            memory_silence(&seen->memory);
            tell(watched, i, NULL);
        }
        seen->last = seen->now;
    }
    watched->last_ms = watched->started_ms;
    watched->is_asking = false;
    watched->is_told = speaks_for_group(watched);
    watched->watch->told += watched->is_told;
    gather(watched, facts);
    judge_synchronised(watched, facts);
}

static void observe(const struct watched *watched)
{
    struct watch *watch = watched->watch;
    const struct policy_group *group = watched->target.group;
    const struct policy_replica *primary;
    struct act_subject subject = {0};
    struct policy_ledger ledger;

    memcpy(subject.group, group->name, strlen(group->name) + 1);
    memcpy(subject.database, watched->target.database, strlen(watched->target.database) + 1);
    if (ledger_policy(watch->keeper->ledger, &subject, clock_wall_ms(), &ledger))
        return;
    /* What was said before a release began an epoch is no promotion that came after it. */
    if (ledger.epoch != watched->epoch)
        return;
    gather(watched, &watch->facts);
    fill_histories(watched, &watch->facts);
    if (policy_observe(group, &watch->facts, &ledger, &primary) == POLICY_NOTHING)
        return;
    record_primary(watch, group, (size_t)(primary - group->replicas), &ledger);
}

/*
 * Every group whose round is over, with one commit for all: after a host has died hundreds have a
 * new primary within a second.
 */
static void observe_all(struct watch *watch)
{
    bool may_record;

    if (watch->told == 0)
        return;
    watch->told = 0;
    /* A grant on its way to the log may hold the new epoch. */
    keeper_flush(watch->keeper);
    may_record = !keeper_lacks(watch->keeper, KEEPER_NEEDS_LOG);
    for (size_t i = 0; i < watch->count; i++) {
        struct watched *watched = &watch->items[i];

        if (watched->is_told && may_record)
            observe(watched);
        watched->is_told = false;
    }
    /* Whoever decides next, and the next round, must find them in the ledger. */
    keeper_flush(watch->keeper);
}

/*
 * No rival can come any more (rule 3): every replica has told its state or is dead, or the time for
 * rivals is over since the last that answered.
 */
static bool is_over(const struct watched *watched)
{
    const struct policy_group *group = watched->target.group;
    int64_t elapsed_ms = clock_boot_ms() - watched->started_ms, last_ms = 0;
    bool have_all_spoken = true;

    for (size_t i = 0; i < group->replica_count; i++) {
        const struct said *said = &watched->seen[i].now;
        bool has_answered = said->status == POLICY_ANSWERED;

        if (said->status == POLICY_PENDING)
            return false;
        have_all_spoken &= has_answered && (said->state.outcome == PROBE_ANSWERED ||
                                            said->state.outcome == PROBE_REFUSED);
        if (has_answered && said->answered_ms > last_ms)
            last_ms = said->answered_ms;
    }
    return have_all_spoken || elapsed_ms - last_ms >= group->rival_wait_ms;
}

/*
 * An answer that comes while a round waits for others is remembered, and changes nothing of what
 * was said in the round.
 */
static void on_answer(const struct poll_answer *answer, void *argument)
{
    const struct watch *watch = argument;
    struct watched *watched = &watch->items[answer->target];
    struct seen *seen = &watched->seen[answer->replica];

    /* Of a round that was given up. */
    if (answer->asked_ms < watched->started_ms)
        return;
    if (answer->state) {
        memory_hear(&seen->memory, answer->state);
        tell(watched, answer->replica, answer->state);
    }
    if (!watched->is_asking || seen->now.status != POLICY_PENDING)
        return;
    seen->now.status = answer->state ? POLICY_ANSWERED : POLICY_SILENT;
    seen->now.answered_ms = clock_boot_ms() - watched->started_ms;
    if (answer->state)
        seen->now.state = *answer->state;
    if (is_over(watched))
        end_round(watched);
}

static void on_answers_end(void *argument)
{
    observe_all(argument);
}

static void begin_round(struct watched *watched)
{
    watched->is_asking = true;
    if (speaks_for_group(watched))
        watched->epoch = store_epoch(watched->watch->keeper->store, watched->target.group->name);
    watched->started_ms = clock_boot_ms();
    for (size_t i = 0; i < watched->target.group->replica_count; i++)
        watched->seen[i].now = (struct said){.status = POLICY_PENDING};
}

static void give_up(struct watched *watched)
{
    for (size_t i = 0; i < watched->target.group->replica_count; i++) {
        if (watched->seen[i].now.status == POLICY_PENDING)
            watched->seen[i].now.status = POLICY_SILENT;
    }
}

/* What nobody was asked about has not been seen: silence counts from when it is. */
static void wake(struct watch *watch)
{
    int64_t slept_ms = slept_for_ms(watch);

    watch->ticked_ms = clock_boot_ms();
    for (size_t i = 0; slept_ms > 0 && i < watch->count; i++) {
        const struct watched *watched = &watch->items[i];

        for (size_t j = 0; j < watched->target.group->replica_count; j++)
            memory_sleep(&watched->seen[j].memory, slept_ms);
    }
}

void watch_tick(struct watch *watch)
{
    int64_t now_ms = clock_boot_ms();

    wake(watch);
    for (size_t i = 0; i < watch->count; i++) {
        struct watched *watched = &watch->items[i];

        if (watched->is_asking && now_ms - watched->started_ms >= ROUND_MS)
            give_up(watched);
        if (watched->is_asking && is_over(watched))
            end_round(watched);
    }
    observe_all(watch);
    for (size_t i = 0; i < watch->count; i++) {
        if (!watch->items[i].is_asking)
            begin_round(&watch->items[i]);
    }
    poll_ask(watch->poll);
}

enum reason watch_last(const struct watch *watch, uint64_t number, struct target *ret_target,
                       struct policy_facts *ret_facts)
{
    const struct watched *watched;

    if (number == 0 || number > watch->count)
        return REASON_DATABASE_UNKNOWN;
    watched = &watch->items[number - 1];
    if (watched->last_ms == 0)
        return REASON_STARTING;
    *ret_target = watched->target;
    gather(watched, ret_facts);
    fill_histories(watched, ret_facts);
    return REASON_NONE;
}

static json_t *watched_json(const struct watched *watched)
{
    const struct policy_group *group = watched->target.group;
    struct store_group known = {0};
    json_t *replicas = json_array();
    bool is_known = store_group(watched->watch->keeper->store, group->name, &known) == ESCROW_OK;

    for (size_t i = 0; i < group->replica_count; i++) {
        if (json_array_append_new(
                replicas, memory_json(&watched->seen[i].memory, group->replicas[i].instance))) {
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

/* Items and what is seen, of every database of every group. */
static enum escrow_err add_items(struct watch *watch, const struct policy *policy)
{
    size_t group_count = policy_groups(policy, &watch->groups), items = 0, all = 0;
    struct seen *seen;

    for (size_t i = 0; i < group_count; i++) {
        items += watch->groups[i].database_count;
        all += watch->groups[i].database_count * watch->groups[i].replica_count;
    }
    watch->first = calloc(group_count + 1, sizeof(*watch->first));
    watch->items = calloc(items + 1, sizeof(*watch->items));
    watch->seen = seen = calloc(all + 1, sizeof(*watch->seen));
    if (!watch->first || !watch->items || !watch->seen)
        return ESCROW_ERR_NO_MEMORY;
    for (size_t i = 0; i < group_count; i++) {
        const struct policy_group *group = &watch->groups[i];

        watch->first[i] = watch->count;
        for (size_t j = 0; j < group->database_count; j++, seen += group->replica_count)
            watch->items[watch->count++] = (struct watched){
                .watch = watch, .target = {group, group->databases[j]}, .seen = seen};
    }
    return ESCROW_OK;
}

enum escrow_err watch_new(struct keeper *keeper, struct watch **ret_watch)
{
    CLEANUP(watch_free_p) struct watch *watch = calloc(1, sizeof(*watch));
    struct poll_config config = {
        .probers = keeper->probers,
        .policy = keeper->policy,
        .on_answer = on_answer,
        .on_end = on_answers_end,
    };
    enum escrow_err err;

    if (!watch)
        return ESCROW_ERR_NO_MEMORY;
    watch->keeper = keeper;
    watch->ticked_ms = clock_boot_ms();
    config.argument = watch;
    err = add_items(watch, keeper->policy);
    if (!err)
        err = poll_new(&config, &watch->poll);
    if (!err)
        *ret_watch = TAKE(watch);
    return err;
}

void watch_free(struct watch *watch)
{
    if (watch->poll)
        poll_free(watch->poll);
    free(watch->first);
    free(watch->items);
    free(watch->seen);
    free(watch);
}
