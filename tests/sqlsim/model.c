/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/model.h"

#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/model_flow.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FIRST_SESSION 51 /* lower numbers are the system's */

void model_init(struct model *model)
{
    memset(model, 0, sizeof(*model));
    switches_init(&model->switches);
    model->next_session_id = FIRST_SESSION;
}

static void instance_deinit(struct model_instance *instance)
{
    free(instance->name);
    free(instance->server_name);
    free(instance->service_key);
    free(instance->version);
    logins_deinit(&instance->logins);
    credentials_deinit(&instance->credentials);
    applocks_deinit(&instance->applocks);
}

static void group_deinit(struct model_group *group)
{
    for (size_t i = 0; i < MODEL_INSTANCES_MAX; i++) {
        free(group->replicas[i].name);
        free(group->replicas[i].lies.primary_replica);
        free(group->replicas[i].lies.sequence_number);
        free(group->replicas[i].lies.frozen);
        free(group->replicas[i].lies.frozen_primary);
    }
    free(group->name);
}

static void database_deinit(struct model_database *database)
{
    for (size_t i = 0; i < MODEL_INSTANCES_MAX; i++) {
        free(database->copies[i].opened_by);
        model_content_free(database->copies[i].behind);
        model_content_free(database->copies[i].redone);
    }
    model_content_deinit(&database->content);
    model_content_free(database->backup);
    ssisdb_deinit(&database->catalog);
    free(database->name);
}

void model_deinit(struct model *model)
{
    for (size_t i = 0; i < model->instance_count; i++)
        instance_deinit(&model->instances[i]);
    for (size_t i = 0; i < model->group_count; i++)
        group_deinit(&model->groups[i]);
    for (size_t i = 0; i < model->database_count; i++)
        database_deinit(&model->databases[i]);
    for (size_t i = 0; i < model->distributed_count; i++)
        free(model->distributed[i].name);
    key_files_deinit(&model->key_files);
    memset(model, 0, sizeof(*model));
}

bool model_is_owner(const struct model_database *database, size_t instance)
{
    return database->owner == instance;
}

void model_log(struct model *model, struct model_database *database, size_t instance)
{
    struct model_content *content = model_content(model, database, instance);

    content->log_file = database->group ? database->group->lsn_counter : 0;
    content->log_block += 8;
}

bool model_is_name(const char *one, const char *other)
{
    return strcasecmp(one, other) == 0;
}

size_t model_add_instance(struct model *model, const char *name)
{
    struct model_instance *instance = &model->instances[model->instance_count];

    if (model->instance_count == MODEL_INSTANCES_MAX)
        abort();
    *instance = (struct model_instance){
        .name = memory_copy(name),
        .server_name = memory_copy(name),
        .service_key = memory_copy(name),
        .version = memory_copy("16.0.4165.4"),
        .quorum = MODEL_QUORUM_NORMAL,
        .is_alive = true,
    };
    LIST_INIT(&instance->sessions);
    return model->instance_count++;
}

size_t model_find_instance(const struct model *model, const char *name)
{
    for (size_t i = 0; i < model->instance_count; i++) {
        if (model_is_name(model->instances[i].name, name))
            return i;
    }
    return MODEL_NONE;
}

bool model_answers(const struct model *model, size_t instance)
{
    return model->instances[instance].is_alive && !model->instances[instance].is_hung;
}

struct model_group *model_add_group(struct model *model, const char *name)
{
    struct model_group *group = &model->groups[model->group_count];

    if (model->group_count++ == MODEL_GROUPS_MAX)
        abort();
    *group = (struct model_group){.name = memory_copy(name), .primary = MODEL_NONE};
    return group;
}

struct model_group *model_find_group(struct model *model, const char *name)
{
    for (size_t i = 0; i < model->group_count; i++) {
        if (model_is_name(model->groups[i].name, name))
            return &model->groups[i];
    }
    return NULL;
}

struct model_replica *model_add_replica(struct model *model, struct model_group *group,
                                        size_t instance)
{
    struct model_replica *replica = &group->replicas[instance];

    free(replica->name);
    *replica = (struct model_replica){
        .is_member = true,
        .id = ++model->next_id,
        .name = memory_copy(model->instances[instance].name),
        .phase = MODEL_SECONDARY,
        .sequence_number = group->sequence_number,
        .lies = {.role = MODEL_NONE},
    };
    model_flow(model);
    return replica;
}

struct model_database *model_add_database(struct model *model, const char *name,
                                          struct model_group *group, size_t instance)
{
    struct model_database *database = &model->databases[model->database_count];

    if (model->database_count++ == MODEL_DATABASES_MAX)
        abort();
    *database = (struct model_database){
        .name = memory_copy(name),
        .id = ++model->next_id,
        .group = group,
        .instance = instance,
        .owner = group ? group->primary : instance,
        .family = (uint32_t)model->database_count,
        .content.key = {.exists = true, .generation = ++model->key_generations},
    };
    master_key_set_probe(&database->content.key, true);
    return database;
}

bool model_has_database(const struct model_database *database, size_t instance)
{
    const struct model_replica *replica =
        database->group ? &database->group->replicas[instance] : NULL;

    if (database->copies[instance].is_restoring)
        return true;
    return replica ? replica->is_member && !replica->is_configuration_only
                   : database->instance == instance;
}

struct model_database *model_find_database(struct model *model, size_t instance, const char *name)
{
    for (size_t i = 0; i < model->database_count; i++) {
        struct model_database *database = &model->databases[i];

        if (model_has_database(database, instance) && model_is_name(database->name, name))
            return database;
    }
    return NULL;
}

size_t model_database_index(const struct model *model, const struct model_database *database)
{
    return (size_t)(database - model->databases);
}

void model_set_initial_owner(struct model *model, struct model_database *database, size_t instance)
{
    struct model_copy *copy = &database->copies[instance];
    struct master_key *key = &model_content(model, database, instance)->key;

    master_key_add_service_key(key, model->instances[instance].service_key);
    copy->master_copy = key->generation;
    copy->flag = true;
}

static const struct model_content *
content_of(const struct model *model, const struct model_database *database, size_t instance)
{
    const struct model_copy *copy = &database->copies[instance];

    return copy->redone ? copy->redone : model_hardened(model, database, instance);
}

struct model_content *model_content(struct model *model, struct model_database *database,
                                    size_t instance)
{
    struct model_copy *copy = &database->copies[instance];
    size_t source = model_database_index(model, model_source(model, database));

    if (copy->redone)
        return copy->redone;
    return copy->behind ? copy->behind : &model->databases[source].content;
}

static bool service_key_opens(const struct model *model, const struct model_database *database,
                              size_t instance)
{
    const struct master_key *key = &content_of(model, database, instance)->key;

    return master_key_wrapped_by(key, model->instances[instance].service_key) ||
           (model->switches.master_copy_opens &&
            database->copies[instance].master_copy == key->generation);
}

bool model_opens(const struct model *model, const struct model_database *database, size_t instance)
{
    const struct master_key *key = &content_of(model, database, instance)->key;

    if (!key->exists || model->instances[instance].has_lost_service_key)
        return false;
    return service_key_opens(model, database, instance) ||
           master_key_credential_opens(key, &model->instances[instance].credentials,
                                       database->family);
}

bool model_use_key(struct model *model, struct model_database *database, size_t instance,
                   bool is_writable)
{
    if (!model_opens(model, database, instance))
        return false;
    if (service_key_opens(model, database, instance))
        return true;
    /* 5.1: a stored password opened it. */
    if (!is_writable)
        return model->switches.readonly_credential == SWITCH_CREDENTIAL_OPENS;
    model_set_initial_owner(model, database, instance);
    return true;
}

void model_add_service_key(struct model *model, struct model_database *database, size_t instance,
                           const char *login)
{
    struct model_copy *copy = &database->copies[instance];

    model_set_initial_owner(model, database, instance);
    copy->opened_ms = model->now_ms;
    free(copy->opened_by);
    copy->opened_by = memory_copy(login);
}
