/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_config.h"

#include "libescrow/act.h"

#include <stdlib.h>
#include <string.h>

#define INSTANCES_MAX 32
#define DATABASES_MAX 32
#define HOOKS_MAX 8
#define TEXT_MAX 512

#define SECOND_MS 1000

static const struct config_field instance_fields[] = {
    {"name", CONFIG_NAME(struct agent_instance, name, NAME_MAX_BYTES), .is_required = true},
    {"group", CONFIG_NAME(struct agent_instance, group, NAME_MAX_BYTES), .is_required = true},
    {"certificate_file", CONFIG_PATH(struct agent_instance, certificate_file), .is_required = true},
    {"key_file", CONFIG_PATH(struct agent_instance, key_file), .is_required = true},
    {"act_key_file", CONFIG_PATH(struct agent_instance, act_key_file), .is_required = true},
    {"address", CONFIG_STRING(struct agent_instance, address, 253), .is_required = true},
    {"port", CONFIG_INTEGER(struct agent_instance, port, 1, 65535), .fallback = "1433"},
    {"tls_name", CONFIG_STRING(struct agent_instance, tls_name, 253), .is_required = true},
    {"ca_file", CONFIG_PATH(struct agent_instance, ca_file), .is_required = true},
    {"login", CONFIG_STRING(struct agent_instance, login, TEXT_MAX)},
    {"password_file", CONFIG_PATH(struct agent_instance, password_file)},
    {"keytab", CONFIG_PATH(struct agent_instance, keytab)},
    {"krb5_conf", CONFIG_PATH(struct agent_instance, krb5_conf), .fallback = "/etc/krb5.conf"},
    {"kdc_port", CONFIG_INTEGER(struct agent_instance, kdc_port, 1, 65535), .fallback = "88"},
    {"login_timeout",
     CONFIG_DURATION(struct agent_instance, login_timeout_ms, SECOND_MS, 30 * SECOND_MS),
     .fallback = "5s"},
    {"query_timeout",
     CONFIG_DURATION(struct agent_instance, query_timeout_ms, SECOND_MS, 30 * SECOND_MS),
     .fallback = "5s"},
    {"availability_group", CONFIG_STRING(struct agent_instance, availability_group, TEXT_MAX),
     .is_required = true},
    {"databases",
     CONFIG_STRING_LIST(struct agent_instance, databases, database_count, TEXT_MAX, 1,
                        DATABASES_MAX),
     .is_required = true},
    {"catalog_startup", CONFIG_BOOLEAN(struct agent_instance, is_catalog)},
};
static const struct config_schema instance_schema =
    CONFIG_SCHEMA(struct agent_instance, instance_fields);

static const struct config_field hook_fields[] = {
    {"path", CONFIG_PATH(struct agent_hook, path), .is_required = true},
    {"timeout", CONFIG_DURATION(struct agent_hook, timeout_ms, SECOND_MS, 600 * SECOND_MS),
     .fallback = "30s"},
};
static const struct config_schema hook_schema = CONFIG_SCHEMA(struct agent_hook, hook_fields);

static const struct config_field agent_fields[] = {
    {"escrowds",
     CONFIG_MAPPING_LIST(struct agent_config, escrowds, escrowd_count, &rpc_server_schema, 1,
                         AGENT_ESCROWDS_MAX),
     .is_required = true},
    {"authority_file", CONFIG_PATH(struct agent_config, authority_file), .is_required = true},
    {"state_file", CONFIG_PATH(struct agent_config, state_file),
     .fallback = "/var/lib/escrow-agent/roster-version"},
    {"notify_socket", CONFIG_PATH(struct agent_config, notify_socket),
     .fallback = "/run/escrow-agent/notify.sock"},
    {"poll", CONFIG_DURATION(struct agent_config, poll_ms, 100, 60 * SECOND_MS), .fallback = "1s"},
    {"recheck", CONFIG_DURATION(struct agent_config, recheck_ms, SECOND_MS, 3600 * SECOND_MS),
     .fallback = "60s"},
    {"worker_deadline",
     CONFIG_DURATION(struct agent_config, worker_deadline_ms, 5 * SECOND_MS, 300 * SECOND_MS),
     .fallback = "30s"},
    {"instances",
     CONFIG_MAPPING_LIST(struct agent_config, instances, instance_count, &instance_schema, 1,
                         INSTANCES_MAX),
     .is_required = true},
    {"hooks",
     CONFIG_MAPPING_LIST(struct agent_config, hooks, hook_count, &hook_schema, 0, HOOKS_MAX)},
};
static const struct config_schema agent_schema = CONFIG_SCHEMA(struct agent_config, agent_fields);

static bool is_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* One prober asks about all groups of an instance, over one session, with one login. */
static void check_way(const struct config *config, const struct agent_instance *first,
                      const struct agent_instance *instance, struct config_report *report)
{
    const struct {
        const char *key;
        bool is_same;
    } keys[] = {
        {"address", is_same(instance->address, first->address)},
        {"port", instance->port == first->port},
        {"tls_name", is_same(instance->tls_name, first->tls_name)},
        {"ca_file", is_same(instance->ca_file, first->ca_file)},
        {"login", is_same(instance->login, first->login)},
        {"password_file", is_same(instance->password_file, first->password_file)},
        {"keytab", is_same(instance->keytab, first->keytab)},
        {"krb5_conf", is_same(instance->krb5_conf, first->krb5_conf)},
        {"kdc_port", instance->kdc_port == first->kdc_port},
        {"login_timeout", instance->login_timeout_ms == first->login_timeout_ms},
        {"query_timeout", instance->query_timeout_ms == first->query_timeout_ms},
    };

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (!keys[i].is_same)
            config_complain(config, report, instance,
                            "%s is another one than in the first entry of %s: all groups of an "
                            "instance are asked about over one session",
                            keys[i].key, instance->name);
}

/* Of a group that is in two entries that is said, and not of each of its databases. */
static void check_pair(const struct config *config, const struct agent_instance *before,
                       const struct agent_instance *instance, struct config_report *report)
{
    if (strcmp(before->group, instance->group) == 0) {
        config_complain(config, report, &instance->group,
                        "the group %s of %s has two entries: name all its databases in one",
                        instance->group, instance->name);
        return;
    }
    for (size_t i = 0; i < instance->database_count; i++)
        for (size_t j = 0; j < before->database_count; j++)
            if (strcmp(instance->databases[i], before->databases[j]) == 0)
                config_complain(config, report, &instance->databases[i],
                                "the database %s of %s is in the group %s, too",
                                instance->databases[i], instance->name, before->group);
}

/* Against the entries before it that are of the same instance. */
static void check_others(const struct config *config, const struct agent_config *root,
                         const struct agent_instance *instance, struct config_report *report)
{
    const struct agent_instance *first = agent_config_instance(root, instance->name);

    check_way(config, first, instance, report);
    for (const struct agent_instance *before = first; before < instance; before++)
        if (strcmp(before->name, instance->name) == 0)
            check_pair(config, before, instance, report);
}

static void check_instance(const struct config *config, const struct agent_instance *instance,
                           struct config_report *report)
{
    bool is_kerberos = instance->keytab && !instance->login && !instance->password_file;
    bool is_sql_login = instance->login && instance->password_file && !instance->keytab;

    if (!is_kerberos && !is_sql_login)
        config_complain(config, report, instance,
                        "an instance needs either login and password_file, or keytab alone");
    if (instance->login_timeout_ms % SECOND_MS != 0 || instance->query_timeout_ms % SECOND_MS != 0)
        config_complain(config, report, instance,
                        "login_timeout and query_timeout are whole seconds: FreeTDS has no finer "
                        "ones");
}

/* Takes file. */
static enum escrow_err from_file(struct config *file, struct config **ret_config,
                                 const struct agent_config **ret_root)
{
    CLEANUP(config_report_deinit) struct config_report report = {0};
    CLEANUP(config_free_p) struct config *config = file;
    const struct agent_config *root = config_root(config);

    for (size_t i = 0; i < root->instance_count; i++) {
        check_instance(config, &root->instances[i], &report);
        check_others(config, root, &root->instances[i], &report);
    }
    if (report.total > 0) {
        config_report_log(&report);
        return ESCROW_ERR_CONFIG;
    }
    *ret_config = TAKE(config);
    *ret_root = root;
    return ESCROW_OK;
}

enum escrow_err agent_config_load(const char *path, struct config **ret_config,
                                  const struct agent_config **ret_root)
{
    CLEANUP(config_report_deinit) struct config_report report = {0};
    struct config *file = NULL;
    enum escrow_err err = config_load(path, &agent_schema, &report, &file);

    config_report_log(&report);
    return err ? err : from_file(file, ret_config, ret_root);
}

enum escrow_err agent_config_load_fd(int fd, const char *path, struct config **ret_config,
                                     const struct agent_config **ret_root)
{
    CLEANUP(config_report_deinit) struct config_report report = {0};
    struct config *file = NULL;
    enum escrow_err err = config_load_fd(fd, path, &agent_schema, &report, &file);

    config_report_log(&report);
    return err ? err : from_file(file, ret_config, ret_root);
}

const struct agent_instance *agent_config_instance(const struct agent_config *config,
                                                   const char *name)
{
    for (size_t i = 0; i < config->instance_count; i++)
        if (strcmp(config->instances[i].name, name) == 0)
            return &config->instances[i];
    return NULL;
}

const struct agent_instance *agent_config_group(const struct agent_config *config, const char *name,
                                                const char *group)
{
    for (size_t i = 0; i < config->instance_count; i++)
        if (strcmp(config->instances[i].name, name) == 0 &&
            strcmp(config->instances[i].group, group) == 0)
            return &config->instances[i];
    return NULL;
}

enum escrow_err agent_config_targets(const struct agent_config *config, const char *name,
                                     struct agent_target **ret_targets, size_t *ret_count)
{
    struct agent_target *targets = calloc(INSTANCES_MAX * DATABASES_MAX, sizeof(*targets));
    size_t count = 0;

    if (!targets)
        return ESCROW_ERR_NO_MEMORY;
    for (size_t i = 0; i < config->instance_count; i++) {
        const struct agent_instance *instance = &config->instances[i];

        for (size_t j = 0; j < instance->database_count; j++)
            if (strcmp(instance->name, name) == 0)
                targets[count++] = (struct agent_target){instance, instance->databases[j]};
    }
    *ret_targets = targets;
    *ret_count = count;
    return ESCROW_OK;
}

struct sql_instance agent_config_sql(const struct agent_instance *instance)
{
    return (struct sql_instance){
        .name = instance->name,
        .address = instance->address,
        .port = (uint16_t)instance->port,
        .tls_name = instance->tls_name,
        .ca_file = instance->ca_file,
        .login = instance->login,
        .password_file = instance->password_file,
        .keytab = instance->keytab,
        .krb5_conf = instance->krb5_conf,
        .kdc_port = (uint16_t)instance->kdc_port,
        .login_timeout_s = (unsigned)(instance->login_timeout_ms / SECOND_MS),
        .query_timeout_s = (unsigned)(instance->query_timeout_ms / SECOND_MS),
    };
}
