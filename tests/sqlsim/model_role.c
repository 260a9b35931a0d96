/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/model_flow.h"
#include "tests/sqlsim/model_view.h"

#include <inttypes.h>
#include <stdio.h>

static int64_t duration_of(const struct model *model, enum model_phase phase, bool is_promoting)
{
    switch (phase) {
    case MODEL_RESOLVING:
        return is_promoting ? model->switches.resolving_ms : model->switches.demote_ms;
    case MODEL_PRIMARY_PENDING:
        return model->switches.pending_ms;
    case MODEL_PRIMARY_RECOVERING:
        return model->switches.recovering_ms;
    case MODEL_SECONDARY:
    case MODEL_PRIMARY:
        break;
    }
    return 0;
}

/* The group's configuration grows with each promotion; who is reachable learns it (4.4). */
static void publish_primary(struct model *model, struct model_group *group, size_t instance)
{
    group->primary = instance;
    group->sequence_number++;
    for (size_t i = 0; i < model->instance_count; i++) {
        if (model_answers(model, i) && model_reaches_cluster(model, group, i))
            group->replicas[i].sequence_number = group->sequence_number;
    }
    for (size_t i = 0; i < model->database_count; i++) {
        if (model->databases[i].group == group)
            model_take_over(model, &model->databases[i], instance);
    }
    model_flow(model);
}

/* 4.4: the log's end when the new primary began; grows with every promotion. */
static void set_recovery_lsn(struct model_group *group, struct model_replica *replica)
{
    group->lsn_counter++;
    snprintf(replica->recovery_lsn, sizeof(replica->recovery_lsn), "%" PRIu64 "00000%05d00001",
             40 + group->lsn_counter, 168);
}

static void log_recovery(struct model *model, const struct model_group *group, size_t instance)
{
    for (size_t i = 0; i < model->database_count; i++) {
        if (model->databases[i].group == group)
            model_log(model, &model->databases[i], instance);
    }
}

/* Nobody tells a replica what it is while it does not reach the cluster, or that has no quorum. */
static bool is_stranded(const struct model *model, const struct model_group *group, size_t instance)
{
    return !model_reaches_cluster(model, group, instance) ||
           (group->cluster == MODEL_CLUSTER_WSFC &&
            model->instances[instance].quorum == MODEL_QUORUM_LOST);
}

static void enter_phase(struct model *model, struct model_group *group, size_t instance,
                        enum model_phase phase)
{
    struct model_replica *replica = &group->replicas[instance];
    bool is_stable = phase == MODEL_SECONDARY || phase == MODEL_PRIMARY;

    replica->phase = phase;
    replica->due_ms =
        is_stable ? 0 : model->now_ms + duration_of(model, phase, replica->is_promoting);
    if (phase == MODEL_PRIMARY_PENDING)
        publish_primary(model, group, instance);
    if (phase == MODEL_PRIMARY_RECOVERING) {
        set_recovery_lsn(group, replica);
        log_recovery(model, group, instance);
    }
    if (phase == MODEL_PRIMARY) {
        replica->primary_since_ms = model->now_ms;
        group->promotions++;
    }
    if (phase == MODEL_SECONDARY)
        replica->sequence_number = group->sequence_number;
    if (phase == MODEL_RESOLVING && is_stranded(model, group, instance))
        replica->due_ms = 0;
    if (phase == MODEL_RESOLVING && model->on_role_change)
        model->on_role_change(model, group, instance, model->argument);
}

static void begin_change(struct model *model, struct model_group *group, size_t instance,
                         bool is_promoting)
{
    group->replicas[instance].is_promoting = is_promoting;
    enter_phase(model, group, instance, MODEL_RESOLVING);
}

void model_set_initial_primary(struct model *model, struct model_group *group, size_t instance)
{
    enter_phase(model, group, instance, MODEL_PRIMARY_PENDING);
    enter_phase(model, group, instance, MODEL_PRIMARY_RECOVERING);
    enter_phase(model, group, instance, MODEL_PRIMARY);
    group->promotions = 0;
    for (size_t i = 0; i < model->database_count; i++) {
        if (model->databases[i].group == group)
            model_set_initial_owner(model, &model->databases[i], instance);
    }
}

void model_recover(struct model *model, struct model_group *group)
{
    group->replicas[group->primary].is_promoting = true;
    enter_phase(model, group, group->primary, MODEL_PRIMARY_RECOVERING);
}

static enum model_phase next_phase(const struct model_replica *replica)
{
    if (!replica->is_promoting)
        return replica->phase == MODEL_RESOLVING ? MODEL_SECONDARY : MODEL_RESOLVING;
    switch (replica->phase) {
    case MODEL_RESOLVING:
        return MODEL_PRIMARY_PENDING;
    case MODEL_PRIMARY_PENDING:
        return MODEL_PRIMARY_RECOVERING;
    case MODEL_PRIMARY_RECOVERING:
        return MODEL_PRIMARY;
    case MODEL_PRIMARY:
    case MODEL_SECONDARY:
        break;
    }
    return replica->phase;
}

static bool is_synchronised(const struct model *model, const struct model_group *group,
                            size_t instance)
{
    const struct model_replica *replica = &group->replicas[instance];

    if (!replica->is_member || !model_answers(model, instance) ||
        replica->phase != MODEL_SECONDARY || replica->is_asynchronous ||
        replica->is_configuration_only || is_stranded(model, group, instance))
        return false;
    for (size_t i = 0; i < model->database_count; i++) {
        if (model->databases[i].group == group && !model->databases[i].copies[instance].is_ready)
            return false;
    }
    return true;
}

/* What Pacemaker's agent reads from a replica: the truth or a lie; nothing counts as 0 (4.3). */
static int64_t told_sequence_number(const struct model *model, const struct model_group *group,
                                    size_t instance)
{
    return strtoll(model_view(model, group, instance).sequence_number, NULL, 10);
}

/*
 * 4.3: of the synchronous and configuration-only replicas, the dead ones counted, more than half
 * must answer, and the one to be promoted must have the highest sequence number of these.
 */
static bool pacemaker_agrees(const struct model *model, const struct model_group *group,
                             size_t instance)
{
    size_t voters = 0, answers = 0;

    for (size_t i = 0; i < model->instance_count; i++) {
        if (!group->replicas[i].is_member || group->replicas[i].is_asynchronous)
            continue;
        voters++;
        if (!model_answers(model, i) || is_stranded(model, group, i))
            continue;
        answers++;
        if (told_sequence_number(model, group, i) > told_sequence_number(model, group, instance))
            return false;
    }
    return answers >= voters / 2 + 1;
}

static void fail_over_automatically(struct model *model, struct model_group *group)
{
    group->auto_failover_ms = 0;
    if (group->primary != MODEL_NONE && model->instances[group->primary].is_alive &&
        !is_stranded(model, group, group->primary))
        return;
    for (size_t i = 0; i < model->instance_count; i++) {
        if (is_synchronised(model, group, i) &&
            (group->cluster != MODEL_CLUSTER_EXTERNAL || pacemaker_agrees(model, group, i))) {
            group->primary = MODEL_NONE;
            begin_change(model, group, i, true);
            return;
        }
    }
}

/* Whose next phase is due first in the group, or MODEL_NONE. */
static size_t first_replica_due(const struct model *model, const struct model_group *group)
{
    size_t first = MODEL_NONE;

    for (size_t i = 0; i < model->instance_count; i++) {
        int64_t due_ms = group->replicas[i].due_ms;

        if (due_ms && model_answers(model, i) &&
            (first == MODEL_NONE || due_ms < group->replicas[first].due_ms))
            first = i;
    }
    return first;
}

static int64_t group_next_due(const struct model *model, const struct model_group *group)
{
    size_t first = first_replica_due(model, group);
    int64_t due_ms = first == MODEL_NONE ? 0 : group->replicas[first].due_ms;

    if (group->auto_failover_ms && (!due_ms || group->auto_failover_ms < due_ms))
        due_ms = group->auto_failover_ms;
    return due_ms;
}

/* The group where something is due first, or NULL. */
static const struct model_group *first_group_due(const struct model *model)
{
    const struct model_group *first = NULL;
    int64_t first_ms = 0;

    for (size_t i = 0; i < model->group_count; i++) {
        int64_t due_ms = group_next_due(model, &model->groups[i]);

        if (due_ms && (!first || due_ms < first_ms)) {
            first = &model->groups[i];
            first_ms = due_ms;
        }
    }
    return first;
}

int64_t model_next_due(const struct model *model)
{
    const struct model_group *first = first_group_due(model);

    return first ? group_next_due(model, first) : 0;
}

void model_advance(struct model *model, int64_t now_ms)
{
    const struct model_group *due;

    while ((due = first_group_due(model))) {
        struct model_group *group = &model->groups[due - model->groups];
        int64_t due_ms = group_next_due(model, group);
        size_t first = first_replica_due(model, group);

        if (due_ms > now_ms)
            break;
        /* Phases follow each other exactly, however late the caller is. */
        if (due_ms > model->now_ms)
            model->now_ms = due_ms;
        if (due_ms == group->auto_failover_ms)
            fail_over_automatically(model, group);
        else
            enter_phase(model, group, first, next_phase(&group->replicas[first]));
    }
    if (now_ms > model->now_ms)
        model->now_ms = now_ms;
}

static bool is_change_pending(const struct model *model, const struct model_group *group)
{
    for (size_t i = 0; i < model->instance_count; i++) {
        if (group->replicas[i].due_ms && group->replicas[i].is_promoting && model_answers(model, i))
            return true;
    }
    return false;
}

/* 4.1: after a forced failover the other replicas wait for ALTER DATABASE SET HADR RESUME. */
static void suspend_others(struct model *model, const struct model_group *group, size_t instance)
{
    for (size_t i = 0; i < model->database_count; i++) {
        struct model_database *database = &model->databases[i];

        for (size_t n = 0; n < model->instance_count; n++) {
            if (database->group == group && model_has_database(database, n))
                database->copies[n].is_suspended = n != instance;
        }
    }
}

/* Whether the old primary learns now that it is none any more; else see model_resume, model_start
 * and model_heal. Without a cluster the new one tells it. */
static bool hears_of_failover(const struct model *model, const struct model_group *group,
                              size_t instance)
{
    size_t old = group->primary;

    return old != MODEL_NONE && model_answers(model, old) && !is_stranded(model, group, old) &&
           (group->cluster != MODEL_CLUSTER_NONE || !model_is_cut(model, old, instance));
}

int32_t model_failover(struct model *model, struct model_group *group, size_t instance,
                       bool is_forced)
{
    size_t old = group->primary;
    bool is_heard = hears_of_failover(model, group, instance);

    if (is_change_pending(model, group))
        return 41113;
    if (old == instance)
        return 41122;
    if (group->replicas[instance].is_configuration_only || is_stranded(model, group, instance) ||
        (!is_forced && (!is_heard || !is_synchronised(model, group, instance))))
        return 41142;
    group->primary = MODEL_NONE;
    group->auto_failover_ms = 0;
    for (size_t i = 0; i < model->instance_count; i++)
        group->replicas[i].is_promoting = false;
    if (is_forced)
        suspend_others(model, group, instance);
    if (is_heard)
        begin_change(model, group, old, false);
    begin_change(model, group, instance, true);
    return 0;
}

/* Whether somebody can tell a primary that another one is: the cluster, or without one the other.
 */
static bool is_deposed(const struct model *model, const struct model_group *group, size_t instance)
{
    return group->primary != instance &&
           (group->cluster != MODEL_CLUSTER_NONE || model_hears_primary(model, group, instance));
}

/* What a replica does that has just lost the cluster, or found it again. */
static void reconsider(struct model *model, struct model_group *group, size_t instance)
{
    struct model_replica *replica = &group->replicas[instance];

    if (!replica->is_member || !model_answers(model, instance))
        return;
    if (is_stranded(model, group, instance)) {
        replica->is_promoting = false;
        /* 4.3: a lease that cannot be renewed ends. */
        if (replica->phase == MODEL_PRIMARY && !replica->due_ms)
            replica->due_ms = model->now_ms + model->switches.lease_ms;
    } else if (replica->phase == MODEL_PRIMARY) {
        /* 4.3: a stale primary goes on saying PRIMARY until it is told. */
        replica->is_promoting = false;
        replica->due_ms = is_deposed(model, group, instance)
                              ? model->now_ms + model->switches.stale_primary_ms
                              : 0;
    } else if (replica->phase == MODEL_RESOLVING && !replica->due_ms) {
        begin_change(model, group, instance, group->primary == instance);
    } else if (replica->phase == MODEL_SECONDARY) {
        replica->sequence_number = group->sequence_number;
    }
}

static void reconsider_all(struct model *model)
{
    for (size_t i = 0; i < model->group_count; i++) {
        for (size_t n = 0; n < model->instance_count; n++)
            reconsider(model, &model->groups[i], n);
    }
    model_flow(model);
}

/* A bit in the row of each that is an instance. */
static void set_cut(struct model *model, size_t one, size_t other, bool is_cut)
{
    uint32_t bit = UINT32_C(1) << other;

    if (one == MODEL_CLUSTER)
        return;
    model->instances[one].cut =
        is_cut ? model->instances[one].cut | bit : model->instances[one].cut & ~bit;
}

void model_cut(struct model *model, size_t one, size_t other, bool is_automatic)
{
    set_cut(model, one, other, true);
    set_cut(model, other, one, true);
    for (size_t i = 0; i < model->group_count; i++) {
        struct model_group *group = &model->groups[i];

        if (is_automatic && group->primary != MODEL_NONE &&
            is_stranded(model, group, group->primary))
            group->auto_failover_ms = model->now_ms + model->switches.auto_failover_ms;
    }
    reconsider_all(model);
}

void model_heal(struct model *model, size_t one, size_t other)
{
    set_cut(model, one, other, false);
    set_cut(model, other, one, false);
    reconsider_all(model);
}

void model_set_quorum(struct model *model, size_t instance, enum model_quorum quorum)
{
    model->instances[instance].quorum = quorum;
    for (size_t i = 0; i < model->group_count; i++) {
        struct model_group *group = &model->groups[i];

        if (group->replicas[instance].is_member && group->cluster == MODEL_CLUSTER_WSFC &&
            quorum == MODEL_QUORUM_LOST)
            begin_change(model, group, instance, false);
    }
    reconsider_all(model);
}

void model_kill(struct model *model, size_t instance, bool is_automatic)
{
    model->instances[instance].is_alive = false;
    model->instances[instance].is_hung = false;
    for (size_t i = 0; i < model->group_count; i++) {
        struct model_group *group = &model->groups[i];

        group->replicas[instance].due_ms = 0;
        if (is_automatic && group->primary == instance)
            group->auto_failover_ms = model->now_ms + model->switches.auto_failover_ms;
    }
    model_flow(model);
}

void model_start(struct model *model, size_t instance)
{
    if (model->instances[instance].is_alive)
        return;
    model->instances[instance].is_alive = true;
    for (size_t i = 0; i < model->group_count; i++) {
        struct model_group *group = &model->groups[i];

        if (!group->replicas[instance].is_member)
            continue;
        begin_change(model, group, instance, group->primary == instance);
        if (!is_stranded(model, group, instance))
            group->replicas[instance].due_ms = model->now_ms + model->switches.startup_ms;
    }
    model_flow(model);
}

void model_hang(struct model *model, size_t instance)
{
    model->instances[instance].is_hung = model->instances[instance].is_alive;
    model_flow(model);
}

void model_resume(struct model *model, size_t instance)
{
    if (!model->instances[instance].is_hung)
        return;
    model->instances[instance].is_hung = false;
    for (size_t i = 0; i < model->group_count; i++)
        reconsider(model, &model->groups[i], instance);
    model_flow(model);
    model_advance(model, model->now_ms);
}
