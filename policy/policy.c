/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy.h"

#include "policy/policy_file.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define DAY (24 * 60 * MINUTE)

const char *const policy_cluster_types[] = {
    [POLICY_CLUSTER_ANY] = "any",
    [POLICY_CLUSTER_WSFC] = "wsfc",
    [POLICY_CLUSTER_EXTERNAL] = "external",
    [POLICY_CLUSTER_NONE] = "none",
};
const char *const policy_on_restarts[] = {
    [POLICY_RESTART_APPROVAL] = "approval",
    [POLICY_RESTART_ALLOW] = "allow",
};

static const struct config_field replica_fields[] = {
    {"instance", CONFIG_NAME(struct policy_replica, instance, POLICY_NAME_MAX),
     .is_required = true},
    {"server_name", CONFIG_STRING(struct policy_replica, server_name, POLICY_SERVER_NAME_MAX),
     .is_required = true},
};
static const struct config_schema replica_schema =
    CONFIG_SCHEMA(struct policy_replica, replica_fields);

#define GROUP struct policy_file_group
static const struct config_field group_fields[] = {
    {"name", CONFIG_NAME(GROUP, group.name, POLICY_NAME_MAX), .is_required = true},
    {"availability_group", CONFIG_STRING(GROUP, group.availability_group, 512),
     .is_required = true},
    {"cluster_type", CONFIG_ENUM(GROUP, group.cluster_type, policy_cluster_types),
     .fallback = "any"},
    {"databases",
     CONFIG_STRING_LIST(GROUP, group.databases, group.database_count, POLICY_DATABASE_MAX, 1,
                        POLICY_DATABASES_MAX),
     .is_required = true},
    {"replicas",
     CONFIG_MAPPING_LIST(GROUP, group.replicas, group.replica_count, &replica_schema, 2,
                         POLICY_REPLICAS_MAX),
     .is_required = true},
    {"witnesses", CONFIG_STRING(GROUP, witnesses, 20), .fallback = "majority"},
    {"rival_wait", CONFIG_DURATION(GROUP, group.rival_wait_ms, 0, 10 * SECOND),
     .fallback = "300ms"},
    {"dead_for", CONFIG_DURATION(GROUP, group.dead_for_ms, SECOND, 10 * MINUTE), .fallback = "5s"},
    {"window", CONFIG_DURATION(GROUP, group.window_ms, MINUTE, 30 * DAY), .fallback = "24h"},
    {"retries", CONFIG_INTEGER(GROUP, group.retries, 0, 100), .fallback = "5"},
    {"brake", CONFIG_INTEGER(GROUP, group.brake, 1, 1000), .fallback = "6"},
    {"on_restart", CONFIG_ENUM(GROUP, group.on_restart, policy_on_restarts),
     .fallback = "approval"},
    {"echo", CONFIG_BOOLEAN(GROUP, group.wants_echo), .fallback = "false"},
    {"approvals", CONFIG_INTEGER(GROUP, group.approvals, 1, 9), .fallback = "2"},
    {"approval_expiry", CONFIG_DURATION(GROUP, group.approval_expiry_ms, SECOND, DAY),
     .fallback = "1h"},
};
#undef GROUP
static const struct config_schema group_schema =
    CONFIG_SCHEMA(struct policy_file_group, group_fields);

static const struct config_field file_fields[] = {
    {"groups",
     CONFIG_MAPPING_LIST(struct policy_file, groups, group_count, &group_schema, 1,
                         POLICY_GROUPS_MAX),
     .is_required = true},
};
static const struct config_schema file_schema = CONFIG_SCHEMA(struct policy_file, file_fields);

/* Takes config over; NULL without memory. */
static struct policy *policy_new(struct config *config)
{
    const struct policy_file *file = config_root(config);
    struct policy *policy = calloc(1, sizeof(*policy));
    struct policy_group *groups = calloc(file->group_count, sizeof(*groups));

    if (!policy || !groups) {
        free(policy);
        free(groups);
        config_free(config);
        return NULL;
    }
    for (size_t i = 0; i < file->group_count; i++)
        groups[i] = file->groups[i].group;
    *policy = (struct policy){.config = config, .file = file, .groups = groups};
    return policy;
}

/* Takes config over. */
static enum escrow_err build(struct config *config, struct config_report *report,
                             struct policy **ret_policy)
{
    struct policy *policy = policy_new(config);

    if (!policy)
        return ESCROW_ERR_NO_MEMORY;
    if (!policy_check(policy, report)) {
        policy_free(policy);
        return ESCROW_ERR_CONFIG;
    }
    *ret_policy = policy;
    return ESCROW_OK;
}

enum escrow_err policy_load(const char *path, struct config_report *report,
                            struct policy **ret_policy)
{
    struct config *config;
    enum escrow_err err = config_load(path, &file_schema, report, &config);

    return err ? err : build(config, report, ret_policy);
}

enum escrow_err policy_load_fd(int fd, const char *path, struct config_report *report,
                               struct policy **ret_policy)
{
    struct config *config;
    enum escrow_err err = config_load_fd(fd, path, &file_schema, report, &config);

    return err ? err : build(config, report, ret_policy);
}

enum escrow_err policy_load_bytes(const void *bytes, size_t len, const char *path,
                                  struct config_report *report, struct policy **ret_policy)
{
    struct config *config;
    enum escrow_err err = config_load_bytes(bytes, len, path, &file_schema, report, &config);

    return err ? err : build(config, report, ret_policy);
}

void policy_free(struct policy *policy)
{
    if (!policy)
        return;
    free(policy->groups);
    config_free(policy->config);
    free(policy);
}

const uint8_t *policy_digest(const struct policy *policy)
{
    return config_digest(policy->config);
}

size_t policy_groups(const struct policy *policy, const struct policy_group **ret_groups)
{
    *ret_groups = policy->groups;
    return policy->file->group_count;
}

const struct policy_group *policy_find_group(const struct policy *policy, const char *name)
{
    for (size_t i = 0; i < policy->file->group_count; i++) {
        if (strcmp(policy->groups[i].name, name) == 0)
            return &policy->groups[i];
    }
    return NULL;
}

const struct policy_replica *policy_find_replica(const struct policy_group *group,
                                                 const char *instance)
{
    for (size_t i = 0; i < group->replica_count; i++) {
        if (strcmp(group->replicas[i].instance, instance) == 0)
            return &group->replicas[i];
    }
    return NULL;
}

const struct policy_replica *policy_find_server(const struct policy_group *group,
                                                const char *server_name)
{
    for (size_t i = 0; i < group->replica_count; i++) {
        if (strcasecmp(group->replicas[i].server_name, server_name) == 0)
            return &group->replicas[i];
    }
    return NULL;
}

bool policy_has_database(const struct policy_group *group, const char *database)
{
    for (size_t i = 0; i < group->database_count; i++) {
        if (strcmp(group->databases[i], database) == 0)
            return true;
    }
    return false;
}
