/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/config.h"
#include "libescrow/sql.h"
#include "libescrow/tls.h"

/*
 * escrowd.yaml, read by each role for itself before its sandbox closes (escrowd(8)). What is
 * trusted (groups, replicas, rules) stands in the policy; here is where things are found and who
 * runs them. It names secrets' files and never holds a secret.
 */

#define ESCROWD_INSTANCES_MAX 256
#define ESCROWD_PCRS_MAX 24

/* How to reach one SQL Server instance of the policy. */
struct escrowd_instance {
    const char *name; /* as the policy calls it */
    const char *address;
    int64_t port;
    const char *tls_name;
    const char *ca_file;
    const char *login;         /* NULL with a keytab */
    const char *password_file; /* NULL with a keytab */
    const char *keytab;
    const char *krb5_conf;    /* with a keytab */
    int64_t kdc_port;         /* with a keytab */
    const char *agent_login;  /* under which the agent's sessions are looked for */
    int64_t login_timeout_ms; /* whole seconds */
    int64_t query_timeout_ms;
};

struct escrowd_listen {
    const char *address; /* IPv4 or IPv6 */
    int64_t port;        /* 0: any free one, said in the readiness line */
};

struct escrowd_tls {
    const char *ca_file;  /* who may issue client certificates */
    const char *crl_file; /* NULL: none is checked */
    enum tls_crl_stale crl_stale;
    const char *certificate_file; /* PEM, the leaf */
    const char *key_file;
};

struct escrowd_tpm {
    const char *tcti; /* as tpm_open takes it */
    size_t pcr_count;
    const char *const *pcr_names;
    uint32_t pcrs; /* made from pcr_names: bit n is PCR n of the SHA-256 bank */
};

/* Where health and metrics are served; neither address nor socket: nowhere. */
struct escrowd_monitor {
    const char *address; /* loopback: the port speaks plain HTTP */
    int64_t port;        /* 0: any free one, said in the readiness line */
    const char *socket;  /* the path of a Unix socket, instead of an address */
    const char *group;   /* who may connect to it besides root, by name or number; NULL: nobody */
};

/* Names or numbers of users, one each; needed, and used, only where escrowd is started as root. */
struct escrowd_users {
    const char *keeper;
    const char *front;
    const char *prober;
    const char *alerter; /* with an alert alone */
};

/* What is run when a person must know; no command: nothing. */
struct escrowd_alert {
    const char *command;
    int64_t timeout_ms;
};

struct escrowd_limits {
    int64_t connections;
    int64_t connections_per_identity;
    int64_t requests; /* waiting for the keeper at once */
    /*
     * The absolute deadline of a connection: from its start, or the last reply, to the whole of the
     * next request, and again from there to the reply (an order may wait longer: as asked for).
     */
    int64_t request_ms;
    int64_t shutdown_ms; /* for what is in flight */
    int64_t ping_ms;     /* a keeper or front that is silent for so long is killed */
};

struct escrowd_config {
    const char *member; /* this escrowd's label in the roster */
    struct escrowd_listen listen;
    struct escrowd_monitor monitor;
    struct escrowd_tls tls;
    struct escrowd_tpm tpm;
    const char *state_folder; /* the keeper's store */
    const char *audit_folder; /* the audit log */
    const char *policy_file;
    const char *authority_file; /* the policy authority's public key */
    const char *recovery_file;  /* the recovery key's public half, for init alone; may be NULL */
    struct escrowd_users users;
    struct escrowd_alert alert;
    struct escrowd_limits limits;
    size_t instance_count;
    const struct escrowd_instance *instances;
    struct config *file; /* owns every text above */
};

/* ESCROW_ERR_CONFIG: everything that is wrong was logged, with file, line and column. */
MUST_CHECK enum escrow_err escrowd_config_load(const char *path,
                                               struct escrowd_config **ret_config);
/* The same from a descriptor, which stays the caller's; path is only a name for the messages. */
MUST_CHECK enum escrow_err escrowd_config_load_fd(int fd, const char *path,
                                                  struct escrowd_config **ret_config);
void escrowd_config_free(struct escrowd_config *config);
CLEANUP_FUNCTION(escrowd_config_free_p, struct escrowd_config, escrowd_config_free)

/* NULL if there is none. */
const struct escrowd_instance *escrowd_config_find(const struct escrowd_config *config,
                                                   const char *instance);
/* What sql.h wants; borrows from config. */
struct sql_instance escrowd_instance_sql(const struct escrowd_instance *instance);
