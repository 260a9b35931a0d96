/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/model_flow.h"

#include "tests/sqlsim/memory.h"

#include <stdlib.h>

struct model_content *model_content_copy(const struct model_content *from)
{
    struct model_content *content = memory_new(sizeof(*content));

    content->log_file = from->log_file;
    content->log_block = from->log_block;
    master_key_copy(&from->key, &content->key);
    users_copy(&from->users, &content->users);
    properties_copy(&from->properties, &content->properties);
    logins_copy(&from->logins, &content->logins);
    return content;
}

void model_content_deinit(struct model_content *content)
{
    master_key_deinit(&content->key);
    users_deinit(&content->users);
    properties_deinit(&content->properties);
    logins_deinit(&content->logins);
}

void model_content_free(struct model_content *content)
{
    if (!content)
        return;
    model_content_deinit(content);
    free(content);
}

bool model_is_cut(const struct model *model, size_t one, size_t other)
{
    if (one == MODEL_CLUSTER)
        return model_is_cut(model, other, one);
    return model->instances[one].cut >> other & 1;
}

bool model_reaches_cluster(const struct model *model, const struct model_group *group,
                           size_t instance)
{
    return group->cluster == MODEL_CLUSTER_NONE || !model_is_cut(model, instance, MODEL_CLUSTER);
}

bool model_hears_primary(const struct model *model, const struct model_group *group,
                         size_t instance)
{
    return group->primary != MODEL_NONE && model_answers(model, group->primary) &&
           !model_is_cut(model, instance, group->primary);
}

/* Whether what the owner of the content writes arrives here. */
static bool arrives(const struct model *model, const struct model_database *database,
                    size_t instance)
{
    const struct model_copy *copy = &database->copies[instance];
    size_t owner = database->owner;

    if (instance == owner)
        return true;
    return model_answers(model, instance) && model_answers(model, owner) &&
           !model_is_cut(model, instance, owner) && !copy->is_suspended && !copy->is_lagging;
}

static void flow_to(const struct model *model, struct model_database *database, size_t instance)
{
    struct model_copy *copy = &database->copies[instance];

    if (arrives(model, database, instance)) {
        model_content_free(copy->behind);
        copy->behind = NULL;
        copy->is_ready = true;
        return;
    }
    if (!copy->behind)
        copy->behind = model_content_copy(&database->content);
    /* A primary that commits without a secondary says so to the cluster; one that died cannot. */
    if (model_answers(model, database->owner) &&
        model_reaches_cluster(model, database->group, database->owner))
        copy->is_ready = false;
}

void model_flow(struct model *model)
{
    for (size_t i = 0; i < model->database_count; i++) {
        struct model_database *database = &model->databases[i];

        for (size_t n = 0; n < model->instance_count; n++) {
            if (database->group && database->owner != MODEL_NONE &&
                model_has_database(database, n) && !database->copies[n].is_restoring)
                flow_to(model, database, n);
        }
    }
}

const struct model_content *model_hardened(const struct model *model,
                                           const struct model_database *database, size_t instance)
{
    const struct model_content *behind = database->copies[instance].behind;

    return behind ? behind : &model_source(model, database)->content;
}

static void finish_redo(struct model_copy *copy)
{
    model_content_free(copy->redone);
    copy->redone = NULL;
    copy->is_redo_lagging = false;
}

void model_take_over(struct model *model, struct model_database *database, size_t instance)
{
    struct model_copy *copy = &database->copies[instance];
    struct model_content *own = copy->behind;

    database->owner = instance;
    finish_redo(copy);
    if (!own)
        return;
    /* Who had more keeps it until data flow again, and loses it then. */
    for (size_t i = 0; i < model->instance_count; i++) {
        struct model_copy *other = &database->copies[i];

        if (i != instance && model_has_database(database, i) && !other->behind)
            other->behind = model_content_copy(&database->content);
    }
    model_content_deinit(&database->content);
    database->content = *own;
    free(own);
    copy->behind = NULL;
}

void model_suspend(struct model *model, struct model_database *database, size_t instance,
                   bool is_suspended)
{
    database->copies[instance].is_suspended = is_suspended;
    model_flow(model);
}

void model_lag(struct model *model, struct model_database *database, size_t instance,
               bool is_lagging)
{
    database->copies[instance].is_lagging = is_lagging;
    model_flow(model);
}

void model_lag_redo(struct model *model, struct model_database *database, size_t instance,
                    bool is_lagging)
{
    struct model_copy *copy = &database->copies[instance];

    if (!is_lagging) {
        finish_redo(copy);
        return;
    }
    copy->is_redo_lagging = true;
    if (!copy->redone)
        copy->redone = model_content_copy(model_hardened(model, database, instance));
}

const struct model_database *model_source(const struct model *model,
                                          const struct model_database *database)
{
    const struct model_group *global =
        database->group ? model_global_group(model, database->group) : NULL;

    for (size_t i = 0; i < model->database_count; i++) {
        if (global && global != database->group && model->databases[i].group == global &&
            model_is_name(model->databases[i].name, database->name))
            return &model->databases[i];
    }
    return database;
}

const struct model_group *model_global_group(const struct model *model,
                                             const struct model_group *group)
{
    for (size_t i = 0; i < model->distributed_count; i++) {
        const struct model_distributed *distributed = &model->distributed[i];

        if (distributed->groups[0] == group || distributed->groups[1] == group)
            return distributed->groups[distributed->primary];
    }
    return NULL;
}

bool model_is_forwarder(const struct model *model, const struct model_group *group)
{
    const struct model_group *global = model_global_group(model, group);

    return global && global != group;
}

void model_replace_content(struct model_database *database, const struct model_content *content)
{
    struct model_content *copy = model_content_copy(content);

    model_content_deinit(&database->content);
    database->content = *copy;
    free(copy);
}
