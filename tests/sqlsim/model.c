/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/model.h"

#include "tests/sqlsim/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FIRST_SESSION 51 /* lower numbers are the system's */

void model_init(struct model *model, const char *group_name, const char *database)
{
    memset(model, 0, sizeof(*model));
    switches_init(&model->switches);
    model->group_name = memory_copy(group_name);
    model->database = memory_copy(database);
    model->primary = MODEL_NONE;
    model->key.exists = true;
    model->key.has_probe_certificate = true;
    model->key.generation = 1;
    model->next_session_id = FIRST_SESSION;
}

void model_deinit(struct model *model)
{
    for (size_t i = 0; i < model->count; i++) {
        struct model_replica *replica = &model->replicas[i];

        free(replica->name);
        free(replica->service_key);
        free(replica->version);
        free(replica->opened_by);
        free(replica->lies.primary_replica);
        free(replica->lies.sequence_number);
    }
    master_key_deinit(&model->key);
    principals_deinit(&model->principals);
    free(model->group_name);
    free(model->database);
    memset(model, 0, sizeof(*model));
}

size_t model_add_replica(struct model *model, const char *name)
{
    struct model_replica *replica = &model->replicas[model->count];

    if (model->count == MODEL_REPLICAS_MAX)
        abort();
    *replica = (struct model_replica){
        .name = memory_copy(name),
        .service_key = memory_copy(name),
        .version = memory_copy("16.0.4165.4"),
        .quorum = MODEL_QUORUM_NORMAL,
        .is_alive = true,
        .phase = MODEL_SECONDARY,
        .lies = {.role = MODEL_NONE},
    };
    LIST_INIT(&replica->sessions);
    return model->count++;
}

size_t model_find(const struct model *model, const char *name)
{
    for (size_t i = 0; i < model->count; i++) {
        if (strcasecmp(model->replicas[i].name, name) == 0)
            return i;
    }
    return MODEL_NONE;
}

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
static void publish_primary(struct model *model, size_t index)
{
    model->primary = index;
    model->sequence_number++;
    for (size_t i = 0; i < model->count; i++) {
        if (model->replicas[i].is_alive && !model->replicas[i].is_hung)
            model->replicas[i].sequence_number = model->sequence_number;
    }
}

/* 4.4: the log's end when the new primary began; grows with every promotion. */
static void set_recovery_lsn(struct model *model, struct model_replica *replica)
{
    model->lsn_counter++;
    snprintf(replica->recovery_lsn, sizeof(replica->recovery_lsn), "%" PRIu64 "00000%05d00001",
             40 + model->lsn_counter, 168);
}

static void enter_phase(struct model *model, size_t index, enum model_phase phase)
{
    struct model_replica *replica = &model->replicas[index];
    bool is_stable = phase == MODEL_SECONDARY || phase == MODEL_PRIMARY;

    replica->phase = phase;
    replica->due_ms =
        is_stable ? 0 : model->now_ms + duration_of(model, phase, replica->is_promoting);
    if (phase == MODEL_PRIMARY_PENDING)
        publish_primary(model, index);
    if (phase == MODEL_PRIMARY_RECOVERING)
        set_recovery_lsn(model, replica);
    if (phase == MODEL_PRIMARY) {
        replica->primary_since_ms = model->now_ms;
        model->promotions++;
    }
    if (phase == MODEL_SECONDARY)
        replica->sequence_number = model->sequence_number;
    if (phase == MODEL_RESOLVING && model->on_role_change)
        model->on_role_change(model, index, model->argument);
}

static void begin_change(struct model *model, size_t index, bool is_promoting)
{
    model->replicas[index].is_promoting = is_promoting;
    enter_phase(model, index, MODEL_RESOLVING);
}

void model_set_initial_primary(struct model *model, size_t replica)
{
    enter_phase(model, replica, MODEL_PRIMARY_PENDING);
    enter_phase(model, replica, MODEL_PRIMARY_RECOVERING);
    enter_phase(model, replica, MODEL_PRIMARY);
    master_key_add_service_key(&model->key, model->replicas[replica].service_key);
    model->replicas[replica].master_copy = model->key.generation;
    model->replicas[replica].flag = true;
    model->promotions = 0;
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

static bool is_synchronised(const struct model *model, size_t index)
{
    const struct model_replica *replica = &model->replicas[index];

    return replica->is_alive && !replica->is_hung && replica->phase == MODEL_SECONDARY &&
           !replica->is_asynchronous;
}

static void fail_over_automatically(struct model *model)
{
    model->auto_failover_ms = 0;
    if (model->primary != MODEL_NONE && model->replicas[model->primary].is_alive)
        return;
    for (size_t i = 0; i < model->count; i++) {
        if (is_synchronised(model, i)) {
            model->primary = MODEL_NONE;
            begin_change(model, i, true);
            return;
        }
    }
}

/* The index of the replica whose next phase is due first, or MODEL_NONE. */
static size_t first_due(const struct model *model)
{
    size_t first = MODEL_NONE;

    for (size_t i = 0; i < model->count; i++) {
        const struct model_replica *replica = &model->replicas[i];

        if (replica->due_ms && replica->is_alive && !replica->is_hung &&
            (first == MODEL_NONE || replica->due_ms < model->replicas[first].due_ms))
            first = i;
    }
    return first;
}

int64_t model_next_due(const struct model *model)
{
    size_t first = first_due(model);
    int64_t due_ms = first == MODEL_NONE ? 0 : model->replicas[first].due_ms;

    if (model->auto_failover_ms && (!due_ms || model->auto_failover_ms < due_ms))
        due_ms = model->auto_failover_ms;
    return due_ms;
}

void model_advance(struct model *model, int64_t now_ms)
{
    for (;;) {
        size_t first = first_due(model);
        int64_t due_ms = model_next_due(model);

        if (!due_ms || due_ms > now_ms)
            break;
        /* Phases follow each other exactly, however late the caller is. */
        if (due_ms > model->now_ms)
            model->now_ms = due_ms;
        if (due_ms == model->auto_failover_ms)
            fail_over_automatically(model);
        else
            enter_phase(model, first, next_phase(&model->replicas[first]));
    }
    if (now_ms > model->now_ms)
        model->now_ms = now_ms;
}

static bool is_change_pending(const struct model *model)
{
    for (size_t i = 0; i < model->count; i++) {
        const struct model_replica *replica = &model->replicas[i];

        if (replica->due_ms && replica->is_promoting && replica->is_alive && !replica->is_hung)
            return true;
    }
    return false;
}

int32_t model_failover(struct model *model, size_t replica, bool is_forced)
{
    size_t old = model->primary;
    bool old_answers =
        old != MODEL_NONE && model->replicas[old].is_alive && !model->replicas[old].is_hung;

    if (is_change_pending(model))
        return 41113;
    if (old == replica)
        return 41122;
    if (!is_forced && (!old_answers || !is_synchronised(model, replica)))
        return 41142;
    model->primary = MODEL_NONE;
    model->auto_failover_ms = 0;
    for (size_t i = 0; i < model->count; i++)
        model->replicas[i].is_promoting = false;
    /* One that does not answer cannot learn it: see model_resume and model_start. */
    if (old_answers)
        begin_change(model, old, false);
    begin_change(model, replica, true);
    return 0;
}

void model_kill(struct model *model, size_t replica, bool is_automatic)
{
    struct model_replica *dead = &model->replicas[replica];
    bool was_primary = model->primary == replica;

    dead->is_alive = false;
    dead->is_hung = false;
    dead->due_ms = 0;
    if (is_automatic && was_primary)
        model->auto_failover_ms = model->now_ms + model->switches.auto_failover_ms;
}

void model_start(struct model *model, size_t replica)
{
    struct model_replica *started = &model->replicas[replica];

    if (started->is_alive)
        return;
    started->is_alive = true;
    begin_change(model, replica, model->primary == replica);
    started->due_ms = model->now_ms + model->switches.startup_ms;
}

void model_hang(struct model *model, size_t replica)
{
    model->replicas[replica].is_hung = model->replicas[replica].is_alive;
}

void model_resume(struct model *model, size_t replica)
{
    struct model_replica *resumed = &model->replicas[replica];

    if (!resumed->is_hung)
        return;
    resumed->is_hung = false;
    if (resumed->phase == MODEL_PRIMARY && model->primary != replica) {
        /* 4.3: a stale primary goes on saying PRIMARY until the cluster tells it. */
        resumed->is_promoting = false;
        resumed->due_ms = model->now_ms + model->switches.stale_primary_ms;
    } else {
        resumed->sequence_number = model->sequence_number;
    }
    model_advance(model, model->now_ms);
}

bool model_opens(const struct model *model, size_t replica)
{
    const struct model_replica *instance = &model->replicas[replica];

    if (!model->key.exists)
        return false;
    if (master_key_wrapped_by(&model->key, instance->service_key))
        return true;
    return model->switches.master_copy_opens && instance->master_copy == model->key.generation;
}

void model_add_service_key(struct model *model, size_t replica, const char *login)
{
    struct model_replica *instance = &model->replicas[replica];

    master_key_add_service_key(&model->key, instance->service_key);
    instance->master_copy = model->key.generation;
    instance->flag = true;
    instance->opened_ms = model->now_ms;
    free(instance->opened_by);
    instance->opened_by = memory_copy(login);
}
