/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/config_read.h"
#include "tests/sqlsim/memory.h"

#include <string.h>

#define DEFAULT_GROUP "AG1"
#define DEFAULT_DATABASE "SSISDB"

static enum escrow_err load_key(const json_t *entry, struct master_key *key)
{
    json_t *password;
    size_t i;

    key->exists = !json_is_false(json_object_get(entry, "master_key"));
    master_key_set_probe(key, !json_is_false(json_object_get(entry, "probe_certificate")));
    json_array_foreach(json_object_get(entry, "master_key_passwords"), i, password)
    {
        if (!json_is_string(password))
            return config_wrong("master_key_passwords", "must be texts");
        (void)master_key_add_password(key, json_string_value(password), 0);
    }
    return ESCROW_OK;
}

/* Of the group, or of one instance. */
static enum escrow_err load_database(const json_t *entry, struct model *model,
                                     struct model_group *group)
{
    static const char *const keys[] = {
        "name", "master_key_passwords", "probe_certificate", "master_key", "instance", NULL};
    const char *name = config_text(entry, "name", DEFAULT_DATABASE);
    const char *instance_name = config_text(entry, "instance", NULL);
    size_t instance = instance_name ? model_find_instance(model, instance_name) : MODEL_NONE;
    struct model_database *database;

    if (config_check_keys(entry, "database", keys))
        return ESCROW_ERR_CONFIG;
    if (!name || model->database_count == MODEL_DATABASES_MAX)
        return config_wrong("name", "must be a text, of not too many databases");
    if (group ? instance_name != NULL : instance == MODEL_NONE)
        return config_wrong("instance", "an instance, only for a database in no group");
    for (size_t i = 0; i < model->instance_count; i++) {
        if ((group ? group->replicas[i].is_member : i == instance) &&
            model_find_database(model, i, name))
            return config_wrong("databases", "two of one name on one instance");
    }
    database = model_add_database(model, name, group, instance);
    if (!group)
        model_set_initial_owner(model, database, instance);
    return load_key(entry, &database->content.key);
}

/* The entry's settings, or else those of its instance. */
static enum escrow_err load_settings(const json_t *entry, const json_t *instance,
                                     struct model_replica *replica)
{
    static const char *const readable[] = {"no", "read_only", "all", NULL};
    static const char *const modes[] = {"synchronous", "asynchronous", "configuration_only", NULL};
    static const char *const primary[] = {"all", "read_write", NULL};
    size_t readable_index, mode_index, primary_index;

    if (config_word(json_object_get(entry, "readable") ? entry : instance, "readable", readable,
                    &readable_index) ||
        config_word(json_object_get(entry, "availability_mode") ? entry : instance,
                    "availability_mode", modes, &mode_index) ||
        config_word(entry, "primary_connections", primary, &primary_index))
        return ESCROW_ERR_CONFIG;
    replica->readable = (enum model_readable)readable_index;
    replica->is_asynchronous = mode_index == 1;
    replica->is_configuration_only = mode_index == 2;
    replica->refuses_intent = primary_index == 1;
    return ESCROW_OK;
}

/* The name of an instance, or an object with its settings in this group. */
static enum escrow_err load_replica(const json_t *entry, const json_t *instances,
                                    struct model *model, struct model_group *group)
{
    static const char *const keys[] = {
        "instance", "name", "readable", "availability_mode", "primary_connections", NULL};
    const char *instance_name =
        json_is_string(entry) ? json_string_value(entry) : config_text(entry, "instance", NULL);
    size_t instance = instance_name ? model_find_instance(model, instance_name) : MODEL_NONE;
    struct model_replica *replica;
    const char *name;

    if (!json_is_string(entry) && config_check_keys(entry, "replicas", keys))
        return ESCROW_ERR_CONFIG;
    if (instance == MODEL_NONE || group->replicas[instance].is_member)
        return config_wrong("replicas", "no such instance, or named twice");
    replica = model_add_replica(model, group, instance);
    name = config_text(entry, "name", replica->name);
    if (!name)
        return config_wrong("name", "must be a text");
    if (name != replica->name)
        config_replace(&replica->name, name);
    return load_settings(entry, json_array_get(instances, instance), replica);
}

static enum escrow_err load_members(const json_t *entry, const json_t *instances,
                                    struct model *model, struct model_group *group)
{
    enum escrow_err err = ESCROW_OK;
    json_t *part;
    size_t i;

    json_array_foreach(json_object_get(entry, "replicas"), i, part)
    {
        if (!err)
            err = load_replica(part, instances, model, group);
    }
    json_array_foreach(json_object_get(entry, "databases"), i, part)
    {
        if (!err)
            err = load_database(part, model, group);
    }
    return err;
}

static bool can_be_primary(const struct model_group *group, size_t instance)
{
    return group->replicas[instance].is_member && !group->replicas[instance].is_configuration_only;
}

/* The instance named, or the first that is a member. */
static size_t find_primary(const json_t *entry, const struct model *model,
                           const struct model_group *group)
{
    const char *primary = config_text(entry, "primary", NULL);
    size_t i = 0;

    if (primary) {
        i = model_find_instance(model, primary);
        return i != MODEL_NONE && can_be_primary(group, i) ? i : MODEL_NONE;
    }
    while (i < model->instance_count && !can_be_primary(group, i))
        i++;
    return i < model->instance_count ? i : MODEL_NONE;
}

/* CAG: the group brings its own system databases, without a DMK. false: no room for them. */
static bool add_contained(struct model *model, struct model_group *group)
{
    static const char *const suffixes[] = {"master", "msdb"};

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        CLEANUP(cleanup_free) char *name = memory_format("%s_%s", group->name, suffixes[i]);

        struct model_database *database;

        if (model->database_count == MODEL_DATABASES_MAX)
            return false;
        database = model_add_database(model, name, group, MODEL_NONE);
        master_key_deinit(&database->content.key);
        if (i == 0)
            group->contained_master = database;
    }
    return true;
}

static enum escrow_err load_group(const json_t *entry, const json_t *instances, struct model *model)
{
    static const char *const keys[] = {"name",      "cluster_type", "primary",  "replicas",
                                       "databases", "contained",    "listener", NULL};
    static const char *const clusters[] = {"WSFC", "EXTERNAL", "NONE", NULL};
    const char *name = config_text(entry, "name", DEFAULT_GROUP);
    struct model_group *group;
    size_t cluster, primary;

    if (config_check_keys(entry, "group", keys) ||
        config_word(entry, "cluster_type", clusters, &cluster))
        return ESCROW_ERR_CONFIG;
    if (!name || model->group_count == MODEL_GROUPS_MAX || model_find_group(model, name))
        return config_wrong("name", "each group needs one of its own, and they must not be many");
    group = model_add_group(model, name);
    group->cluster = (enum model_cluster)cluster;
    if (load_members(entry, instances, model, group))
        return ESCROW_ERR_CONFIG;
    if (json_is_true(json_object_get(entry, "contained")) && !add_contained(model, group))
        return config_wrong("contained", "too many databases");
    primary = find_primary(entry, model, group);
    if (primary == MODEL_NONE)
        return config_wrong("primary", "no such instance in the group");
    model_set_initial_primary(model, group, primary);
    return ESCROW_OK;
}

/* One group with one database on all instances, as an entry of "groups". Owned by the caller. */
static json_t *simple_form(const json_t *root)
{
    json_t *group = json_deep_copy(json_object_get(root, "group"));
    json_t *database = json_incref(json_object_get(root, "database"));
    json_t *replicas = json_array(), *entry;
    size_t i;

    json_array_foreach(json_object_get(root, "instances"), i, entry)
        json_array_append(replicas, json_object_get(entry, "name"));
    group = group ? group : json_object();
    json_object_set_new(group, "databases", json_pack("[o]", database ? database : json_object()));
    json_object_set_new(group, "replicas", replicas);
    if (json_object_get(root, "primary"))
        json_object_set(group, "primary", json_object_get(root, "primary"));
    return group;
}

static enum escrow_err load_distributed(const json_t *entry, struct model *model)
{
    static const char *const keys[] = {"name", "groups", NULL};
    const char *name = config_text(entry, "name", NULL);
    const json_t *names = json_object_get(entry, "groups");
    struct model_group *groups[2] = {NULL, NULL};

    if (config_check_keys(entry, "distributed_groups", keys))
        return ESCROW_ERR_CONFIG;
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        const char *group = json_string_value(json_array_get(names, i));

        groups[i] = group ? model_find_group(model, group) : NULL;
    }
    if (!name || json_array_size(names) != 2 || !groups[0] || !groups[1] ||
        groups[0] == groups[1] || model->distributed_count == MODEL_DISTRIBUTED_MAX)
        return config_wrong("distributed_groups", "a name and two groups are needed");
    (void)model_add_distributed(model, name, groups[0], groups[1]);
    return ESCROW_OK;
}

enum escrow_err config_load_groups(const json_t *root, struct model *model)
{
    CLEANUP(json_decref_p) json_t *simple = NULL;
    const json_t *instances = json_object_get(root, "instances");
    const json_t *groups = json_object_get(root, "groups");
    enum escrow_err err = ESCROW_OK;
    json_t *entry;
    size_t i;

    if (!groups) {
        simple = simple_form(root);
        err = load_group(simple, instances, model);
    } else if (json_object_get(root, "group") || json_object_get(root, "database") ||
               json_object_get(root, "primary")) {
        return config_wrong("groups", "not together with group, database or primary");
    } else if (!json_array_size(groups)) {
        return config_wrong("groups", "at least one is needed");
    }
    json_array_foreach(groups, i, entry)
    {
        if (!err)
            err = load_group(entry, instances, model);
    }
    json_array_foreach(json_object_get(root, "databases"), i, entry)
    {
        if (!err)
            err = load_database(entry, model, NULL);
    }
    json_array_foreach(json_object_get(root, "distributed_groups"), i, entry)
    {
        if (!err)
            err = load_distributed(entry, model);
    }
    return err;
}
