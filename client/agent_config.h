/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/rpc_server.h"
#include "libescrow/sql.h"

/*
 * The configuration of escrow-agent: agent.yaml, explained in escrow-agent(8). Parent, probers and
 * workers each read it for themselves, so it never travels between them. Holds paths of secrets,
 * never a secret.
 */

#define AGENT_ESCROWDS_MAX 8

/*
 * An availability group of an instance of SQL Server, and the identity that acts for it. Entries
 * with one name are of one instance: they agree in how it is reached (agent_config_sql), and each
 * has a group and databases that the others do not have.
 */
struct agent_instance {
    const char *name; /* as the escrow's policy and roster call it */
    const char *group;
    const char *certificate_file, *key_file, *act_key_file;
    const char *address;
    int64_t port;
    const char *tls_name, *ca_file;
    const char *login, *password_file, *keytab;
    const char *krb5_conf;                      /* with a keytab */
    int64_t kdc_port;                           /* with a keytab */
    int64_t login_timeout_ms, query_timeout_ms; /* whole seconds */
    const char *availability_group;
    const char *const *databases;
    size_t database_count;
    bool is_catalog; /* runs catalog.startup after a promotion */
};

/* An executable that is told of each promotion. */
struct agent_hook {
    const char *path;
    int64_t timeout_ms;
};

struct agent_config {
    const struct rpc_server *escrowds;
    size_t escrowd_count;
    const char *authority_file; /* public key of the policy authority */
    const char *state_file;     /* the highest roster version that was seen */
    const char *notify_socket;
    int64_t poll_ms, recheck_ms, worker_deadline_ms;
    const struct agent_instance *instances;
    size_t instance_count;
    const struct agent_hook *hooks;
    size_t hook_count;
};

/*
 * Reads agent.yaml. ESCROW_ERR_CONFIG after a log line for everything that is wrong. *ret_root
 * points into *ret_config, which owns it.
 */
MUST_CHECK enum escrow_err agent_config_load(const char *path, struct config **ret_config,
                                             const struct agent_config **ret_root);

/* The same from a descriptor, which stays the caller's; path is only a name for messages. */
MUST_CHECK enum escrow_err agent_config_load_fd(int fd, const char *path,
                                                struct config **ret_config,
                                                const struct agent_config **ret_root);

/* The first entry of the instance with this name; NULL if there is none. */
const struct agent_instance *agent_config_instance(const struct agent_config *config,
                                                   const char *name);

/* The instance's entry for this group; NULL if there is none. */
const struct agent_instance *agent_config_group(const struct agent_config *config, const char *name,
                                                const char *group);

/* A database that the prober of an instance is asked about. */
struct agent_target {
    const struct agent_instance *instance; /* its entry */
    const char *database;
};

/*
 * The databases of all entries of an instance, in the order of the file: its prober and whoever
 * asks it know each by its index in this list. *ret_targets is the caller's to free and points into
 * config; *ret_count is 0 if there is no such instance. ESCROW_ERR_NO_MEMORY.
 */
MUST_CHECK enum escrow_err agent_config_targets(const struct agent_config *config, const char *name,
                                                struct agent_target **ret_targets,
                                                size_t *ret_count);

/* Where and how to connect, for sql.h; borrows every text. */
struct sql_instance agent_config_sql(const struct agent_instance *instance);
