/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/model_flow.h"

#include <stdlib.h>

/* 4.4: the sequence number grows with every change of the configuration, failover or not. */
static void configure(struct model *model, struct model_group *group)
{
    group->sequence_number++;
    for (size_t i = 0; i < model->instance_count; i++) {
        if (model_answers(model, i) && model_reaches_cluster(model, group, i))
            group->replicas[i].sequence_number = group->sequence_number;
    }
}

static void kill_sessions(struct model *model, const struct model_group *group, size_t instance)
{
    if (model->on_role_change)
        model->on_role_change(model, group, instance, model->argument);
}

bool model_remove_replica(struct model *model, struct model_group *group, size_t instance)
{
    if (!group->replicas[instance].is_member || group->primary == instance)
        return false;
    kill_sessions(model, group, instance);
    for (size_t i = 0; i < model->database_count; i++) {
        struct model_database *database = &model->databases[i];

        if (database->group == group && model_has_database(database, instance))
            database->copies[instance].is_restoring = true;
    }
    group->replicas[instance].is_member = false;
    group->replicas[instance].due_ms = 0;
    configure(model, group);
    return true;
}

/* A copy that was seeded anew: its row in sys.databases is new too (LCRIS 2007, 1.4). */
static void seed(struct model_copy *copy)
{
    model_content_free(copy->behind);
    model_content_free(copy->redone);
    copy->behind = copy->redone = NULL;
    copy->is_redo_lagging = false;
    copy->is_suspended = copy->is_lagging = copy->is_restoring = copy->flag = false;
}

struct model_replica *model_return_replica(struct model *model, struct model_group *group,
                                           size_t instance)
{
    struct model_replica *replica = model_add_replica(model, group, instance);

    for (size_t i = 0; i < model->database_count; i++) {
        if (model->databases[i].group == group)
            seed(&model->databases[i].copies[instance]);
    }
    configure(model, group);
    model_flow(model);
    return replica;
}

bool model_remove_database(struct model *model, struct model_database *database)
{
    struct model_group *group = database->group;

    if (!group || group->primary == MODEL_NONE)
        return false;
    for (size_t i = 0; i < model->instance_count; i++) {
        if (i == group->primary || !model_has_database(database, i))
            continue;
        kill_sessions(model, group, i);
        database->copies[i].is_restoring = true;
    }
    database->group = NULL;
    database->instance = group->primary;
    configure(model, group);
    return true;
}

bool model_return_database(struct model *model, struct model_database *database,
                           struct model_group *group)
{
    if (database->group || group->primary == MODEL_NONE || database->instance != group->primary)
        return false;
    for (size_t i = 0; i < model->instance_count; i++) {
        if (i != group->primary)
            seed(&database->copies[i]);
    }
    database->group = group;
    database->owner = group->primary;
    database->instance = MODEL_NONE;
    database->id = ++model->next_id;
    configure(model, group);
    model_flow(model);
    return true;
}

struct model_distributed *model_add_distributed(struct model *model, const char *name,
                                                struct model_group *first,
                                                struct model_group *second)
{
    struct model_distributed *distributed = &model->distributed[model->distributed_count];

    if (model->distributed_count++ == MODEL_DISTRIBUTED_MAX)
        abort();
    *distributed = (struct model_distributed){.name = memory_copy(name), .groups = {first, second}};
    return distributed;
}

struct model_distributed *model_find_distributed(struct model *model, const char *name)
{
    for (size_t i = 0; i < model->distributed_count; i++) {
        if (model_is_name(model->distributed[i].name, name))
            return &model->distributed[i];
    }
    return NULL;
}

/* The databases of the new global group become what the old one's were. */
static void take_content(struct model *model, const struct model_group *group)
{
    for (size_t i = 0; i < model->database_count; i++) {
        struct model_database *database = &model->databases[i];
        const struct model_database *source = model_source(model, database);

        if (database->group == group && source != database)
            model_replace_content(database, &source->content);
    }
}

bool model_failover_distributed(struct model *model, struct model_distributed *distributed)
{
    const struct model_group *old = distributed->groups[distributed->primary];
    struct model_group *next = distributed->groups[!distributed->primary];

    if (old->primary == MODEL_NONE || next->primary == MODEL_NONE)
        return false;
    take_content(model, next);
    distributed->primary = !distributed->primary;
    kill_sessions(model, old, old->primary);
    kill_sessions(model, next, next->primary);
    model_recover(model, next);
    return true;
}
