/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/config.h"

#include "libescrow/identity.h"
#include "libescrow/log.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define TEXT_MAX 512
#define HOST_MAX 253
#define PCRS 24
#define SECOND_MS 1000

static const char *const crl_stale_words[] = {
    [TLS_CRL_STALE_WARN] = "warn",
    [TLS_CRL_STALE_REFUSE] = "refuse",
};

static const struct config_field listen_fields[] = {
    {"address", CONFIG_STRING(struct escrowd_listen, address, HOST_MAX), .is_required = true},
    {"port", CONFIG_INTEGER(struct escrowd_listen, port, 0, 65535), .fallback = "8443"},
};
static const struct config_schema listen_schema =
    CONFIG_SCHEMA(struct escrowd_listen, listen_fields);

static const struct config_field monitor_fields[] = {
    {"address", CONFIG_STRING(struct escrowd_monitor, address, HOST_MAX)},
    {"port", CONFIG_INTEGER(struct escrowd_monitor, port, 0, 65535), .fallback = "8444"},
    {"socket", CONFIG_PATH(struct escrowd_monitor, socket)},
    {"group", CONFIG_NAME(struct escrowd_monitor, group, 32)},
};
static const struct config_schema monitor_schema =
    CONFIG_SCHEMA(struct escrowd_monitor, monitor_fields);

static const struct config_field tls_fields[] = {
    {"ca_file", CONFIG_PATH(struct escrowd_tls, ca_file), .is_required = true},
    {"crl_file", CONFIG_PATH(struct escrowd_tls, crl_file)},
    {"crl_stale", CONFIG_ENUM(struct escrowd_tls, crl_stale, crl_stale_words), .fallback = "warn"},
    {"certificate_file", CONFIG_PATH(struct escrowd_tls, certificate_file), .is_required = true},
    {"key_file", CONFIG_PATH(struct escrowd_tls, key_file), .is_required = true},
};
static const struct config_schema tls_schema = CONFIG_SCHEMA(struct escrowd_tls, tls_fields);

static const struct config_field tpm_fields[] = {
    {"tcti", CONFIG_STRING(struct escrowd_tpm, tcti, TEXT_MAX), .is_required = true},
    {"pcrs", CONFIG_NAME_LIST(struct escrowd_tpm, pcr_names, pcr_count, 2, 1, PCRS),
     .is_required = true},
};
static const struct config_schema tpm_schema = CONFIG_SCHEMA(struct escrowd_tpm, tpm_fields);

static const struct config_field users_fields[] = {
    {"keeper", CONFIG_NAME(struct escrowd_users, keeper, 32)},
    {"front", CONFIG_NAME(struct escrowd_users, front, 32)},
    {"prober", CONFIG_NAME(struct escrowd_users, prober, 32)},
    {"alerter", CONFIG_NAME(struct escrowd_users, alerter, 32)},
};
static const struct config_schema users_schema = CONFIG_SCHEMA(struct escrowd_users, users_fields);

static const struct config_field alert_fields[] = {
    {"command", CONFIG_PATH(struct escrowd_alert, command), .is_required = true},
    {"timeout", CONFIG_DURATION(struct escrowd_alert, timeout_ms, 100, 300 * SECOND_MS),
     .fallback = "10s"},
};
static const struct config_schema alert_schema = CONFIG_SCHEMA(struct escrowd_alert, alert_fields);

static const struct config_field limits_fields[] = {
    {"connections", CONFIG_INTEGER(struct escrowd_limits, connections, 1, 10000),
     .fallback = "512"},
    {"connections_per_identity",
     CONFIG_INTEGER(struct escrowd_limits, connections_per_identity, 1, 64), .fallback = "16"},
    {"requests", CONFIG_INTEGER(struct escrowd_limits, requests, 1, 4000), .fallback = "512"},
    {"request", CONFIG_DURATION(struct escrowd_limits, request_ms, 50, 300 * SECOND_MS),
     .fallback = "10s"},
    {"shutdown", CONFIG_DURATION(struct escrowd_limits, shutdown_ms, 100, 60 * SECOND_MS),
     .fallback = "5s"},
    {"ping", CONFIG_DURATION(struct escrowd_limits, ping_ms, 200, 600 * SECOND_MS),
     .fallback = "60s"},
};
static const struct config_schema limits_schema =
    CONFIG_SCHEMA(struct escrowd_limits, limits_fields);

static const struct config_field instance_fields[] = {
    {"name", CONFIG_NAME(struct escrowd_instance, name, NAME_MAX_BYTES), .is_required = true},
    {"address", CONFIG_STRING(struct escrowd_instance, address, HOST_MAX), .is_required = true},
    {"port", CONFIG_INTEGER(struct escrowd_instance, port, 1, 65535), .fallback = "1433"},
    {"tls_name", CONFIG_STRING(struct escrowd_instance, tls_name, HOST_MAX), .is_required = true},
    {"ca_file", CONFIG_PATH(struct escrowd_instance, ca_file), .is_required = true},
    {"login", CONFIG_STRING(struct escrowd_instance, login, TEXT_MAX)},
    {"password_file", CONFIG_PATH(struct escrowd_instance, password_file)},
    {"keytab", CONFIG_PATH(struct escrowd_instance, keytab)},
    {"krb5_conf", CONFIG_PATH(struct escrowd_instance, krb5_conf), .fallback = "/etc/krb5.conf"},
    {"kdc_port", CONFIG_INTEGER(struct escrowd_instance, kdc_port, 1, 65535), .fallback = "88"},
    {"agent_login", CONFIG_STRING(struct escrowd_instance, agent_login, TEXT_MAX),
     .fallback = "escrow_agent"},
    {"login_timeout",
     CONFIG_DURATION(struct escrowd_instance, login_timeout_ms, SECOND_MS, 30 * SECOND_MS),
     .fallback = "2s"},
    {"query_timeout",
     CONFIG_DURATION(struct escrowd_instance, query_timeout_ms, SECOND_MS, 30 * SECOND_MS),
     .fallback = "2s"},
};
static const struct config_schema instance_schema =
    CONFIG_SCHEMA(struct escrowd_instance, instance_fields);

static const struct config_field escrowd_fields[] = {
    {"member", CONFIG_NAME(struct escrowd_config, member, NAME_MAX_BYTES), .is_required = true},
    {"listen", CONFIG_MAPPING(struct escrowd_config, listen, &listen_schema), .is_required = true},
    {"monitor", CONFIG_MAPPING(struct escrowd_config, monitor, &monitor_schema)},
    {"tls", CONFIG_MAPPING(struct escrowd_config, tls, &tls_schema), .is_required = true},
    {"tpm", CONFIG_MAPPING(struct escrowd_config, tpm, &tpm_schema), .is_required = true},
    {"state_folder", CONFIG_PATH(struct escrowd_config, state_folder),
     .fallback = "/var/lib/escrowd"},
    {"audit_folder", CONFIG_PATH(struct escrowd_config, audit_folder),
     .fallback = "/var/log/escrowd"},
    {"policy_file", CONFIG_PATH(struct escrowd_config, policy_file), .is_required = true},
    {"authority_file", CONFIG_PATH(struct escrowd_config, authority_file), .is_required = true},
    {"recovery_file", CONFIG_PATH(struct escrowd_config, recovery_file)},
    {"users", CONFIG_MAPPING(struct escrowd_config, users, &users_schema)},
    {"alert", CONFIG_MAPPING(struct escrowd_config, alert, &alert_schema)},
    {"limits", CONFIG_MAPPING(struct escrowd_config, limits, &limits_schema)},
    {"instances", CONFIG_MAPPING_LIST(struct escrowd_config, instances, instance_count,
                                      &instance_schema, 0, ESCROWD_INSTANCES_MAX)},
};
static const struct config_schema escrowd_schema =
    CONFIG_SCHEMA(struct escrowd_config, escrowd_fields);

static bool pcr_number(const char *name, uint32_t *ret_pcr)
{
    char *end;
    unsigned long number = strtoul(name, &end, 10);

    if (name[0] < '0' || name[0] > '9' || *end || number >= PCRS)
        return false;
    *ret_pcr = (uint32_t)number;
    return true;
}

static void check_instance(const struct escrowd_config *config,
                           const struct escrowd_instance *instance, struct config_report *report)
{
    bool is_kerberos = instance->keytab && !instance->login && !instance->password_file;
    bool is_sql_login = instance->login && instance->password_file && !instance->keytab;

    if (!is_kerberos && !is_sql_login)
        config_complain(config->file, report, instance,
                        "an instance needs either login and password_file, or keytab alone");
    if (instance->login_timeout_ms % SECOND_MS != 0 || instance->query_timeout_ms % SECOND_MS != 0)
        config_complain(config->file, report, instance,
                        "timeouts of an instance are whole seconds (FreeTDS has no finer ones)");
    if (escrowd_config_find(config, instance->name) != instance)
        config_complain(config->file, report, &instance->name, "the name %s is used twice",
                        instance->name);
}

static bool is_loopback(const char *address)
{
    struct in6_addr ipv6;
    struct in_addr ipv4;

    if (inet_pton(AF_INET, address, &ipv4) == 1)
        return ntohl(ipv4.s_addr) >> 24 == IN_LOOPBACKNET;
    return inet_pton(AF_INET6, address, &ipv6) == 1 && IN6_IS_ADDR_LOOPBACK(&ipv6);
}

static void check_monitor(const struct escrowd_config *config, struct config_report *report)
{
    const struct escrowd_monitor *monitor =
        &((const struct escrowd_config *)config_root(config->file))->monitor;

    if (monitor->address && monitor->socket)
        config_complain(config->file, report, monitor, "monitor is an address or a socket");
    if (monitor->address && !is_loopback(monitor->address))
        config_complain(config->file, report, &monitor->address,
                        "%s is not a loopback address: what monitor serves has no TLS",
                        monitor->address);
    if (monitor->socket && strlen(monitor->socket) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        config_complain(config->file, report, &monitor->socket,
                        "the path is too long for a socket");
    if (monitor->group && !monitor->socket)
        config_complain(config->file, report, &monitor->group, "only a socket has a group");
}

static void check_users(const struct escrowd_config *config, struct config_report *report)
{
    const struct escrowd_users *users =
        &((const struct escrowd_config *)config_root(config->file))->users;
    const char *const names[] = {users->keeper, users->front, users->prober, users->alerter};
    bool has_all = users->keeper && users->front && users->prober;

    if (!has_all && (users->keeper || users->front || users->prober || users->alerter))
        config_complain(config->file, report, users,
                        "name all of keeper, front and prober, or none");
    if (has_all && config->alert.command && !users->alerter)
        config_complain(config->file, report, users, "an alert needs a user: name alerter too");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        for (size_t j = 0; j < i && names[i]; j++) {
            if (names[j] && strcmp(names[i], names[j]) == 0)
                config_complain(config->file, report, users, "each role needs a user of its own");
        }
    }
}

/* What the schema cannot say. */
static void check(struct escrowd_config *config, struct config_report *report)
{
    uint32_t pcr;

    for (size_t i = 0; i < config->tpm.pcr_count; i++) {
        if (pcr_number(config->tpm.pcr_names[i], &pcr))
            config->tpm.pcrs |= 1u << pcr;
        else
            config_complain(config->file, report, &config->tpm.pcr_names[i],
                            "\"%s\" is not the number of a PCR (0 to %d)", config->tpm.pcr_names[i],
                            PCRS - 1);
    }
    check_users(config, report);
    check_monitor(config, report);
    for (size_t i = 0; i < config->instance_count; i++)
        check_instance(config, &config->instances[i], report);
}

/* Takes file. */
static enum escrow_err from_file(struct config *file, struct escrowd_config **ret_config)
{
    CLEANUP(config_report_deinit) struct config_report report = {0};
    CLEANUP(escrowd_config_free_p) struct escrowd_config *config = malloc(sizeof(*config));

    if (!config) {
        config_free(file);
        return ESCROW_ERR_NO_MEMORY;
    }
    *config = *(const struct escrowd_config *)config_root(file);
    config->file = file;
    check(config, &report);
    if (report.total > 0) {
        config_report_log(&report);
        return ESCROW_ERR_CONFIG;
    }
    *ret_config = TAKE(config);
    return ESCROW_OK;
}

enum escrow_err escrowd_config_load(const char *path, struct escrowd_config **ret_config)
{
    CLEANUP(config_report_deinit) struct config_report report = {0};
    struct config *file = NULL;
    enum escrow_err err = config_load(path, &escrowd_schema, &report, &file);

    config_report_log(&report);
    return err ? err : from_file(file, ret_config);
}

enum escrow_err escrowd_config_load_fd(int fd, const char *path, struct escrowd_config **ret_config)
{
    CLEANUP(config_report_deinit) struct config_report report = {0};
    struct config *file = NULL;
    enum escrow_err err = config_load_fd(fd, path, &escrowd_schema, &report, &file);

    config_report_log(&report);
    return err ? err : from_file(file, ret_config);
}

void escrowd_config_free(struct escrowd_config *config)
{
    if (!config)
        return;
    config_free(config->file);
    free(config);
}

const struct escrowd_instance *escrowd_config_find(const struct escrowd_config *config,
                                                   const char *instance)
{
    for (size_t i = 0; i < config->instance_count; i++) {
        if (strcmp(config->instances[i].name, instance) == 0)
            return &config->instances[i];
    }
    return NULL;
}

struct sql_instance escrowd_instance_sql(const struct escrowd_instance *instance)
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
