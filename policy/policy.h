/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/act.h"
#include "libescrow/config.h"
#include "libescrow/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The rules of an escrow: which availability groups it serves, which replicas each has, and how
 * much proof a promotion needs (escrow-policy(5)). A policy is read whole or not at all, never
 * changes afterwards, and holds no secret. Durations are milliseconds.
 */

#define POLICY_NAME_MAX NAME_MAX_BYTES       /* bytes of a group's or instance's name */
#define POLICY_DATABASE_MAX ACT_DATABASE_MAX /* bytes of a database's name */
#define POLICY_SERVER_NAME_MAX 255           /* bytes, without NUL, of a server name */
#define POLICY_GROUPS_MAX 1000
#define POLICY_DATABASES_MAX 100
#define POLICY_REPLICAS_MAX 9 /* SQL Server: a primary and eight secondaries */
#define POLICY_DIGEST_BYTES CONFIG_DIGEST_BYTES

enum policy_cluster_type {
    POLICY_CLUSTER_ANY, /* no expectation; NONE still needs an approval */
    POLICY_CLUSTER_WSFC,
    POLICY_CLUSTER_EXTERNAL,
    POLICY_CLUSTER_NONE,
};

enum policy_witnesses {
    POLICY_WITNESSES_COUNT,   /* witness_count replicas name the candidate (majority or a number) */
    POLICY_WITNESSES_SILENCE, /* two replicas: a majority, or the candidate alone by rule 4b */
};

enum policy_on_restart {
    POLICY_RESTART_APPROVAL,
    POLICY_RESTART_ALLOW, /* where the recorded hints have changed */
};

/* The words of the file for both, by value. */
extern const char *const policy_cluster_types[POLICY_CLUSTER_NONE + 1];
extern const char *const policy_on_restarts[POLICY_RESTART_ALLOW + 1];

struct policy_replica {
    const char *instance;    /* what roster, prober and ledger call it: its identity */
    const char *server_name; /* replica_server_name in SQL Server; compared without case */
};

struct policy_group {
    const char *name;
    const char *availability_group;
    enum policy_cluster_type cluster_type;
    size_t database_count;
    const char *const *databases;
    size_t replica_count;
    const struct policy_replica *replicas;
    enum policy_witnesses witnesses;
    size_t witness_count; /* how many must name the candidate, itself counted */
    int64_t rival_wait_ms;
    int64_t dead_for_ms; /* of POLICY_WITNESSES_SILENCE */
    int64_t window_ms;
    int64_t retries; /* repeats of a grant beyond the first */
    int64_t brake;   /* releases within an hour */
    enum policy_on_restart on_restart;
    bool wants_echo;            /* rule 7 */
    int64_t approvals;          /* how many different admins must approve what asks for it */
    int64_t approval_expiry_ms; /* of such a request */
};

struct policy;

/*
 * Reads a policy file. ESCROW_ERR_CONFIG: *report has a line for everything that is wrong, with
 * file, line and column. Owned by the caller.
 */
MUST_CHECK enum escrow_err policy_load(const char *path, struct config_report *report,
                                       struct policy **ret_policy);
/* The same from a descriptor, which stays the caller's; path is a name for the report. */
MUST_CHECK enum escrow_err policy_load_fd(int fd, const char *path, struct config_report *report,
                                          struct policy **ret_policy);
/* The same from memory. */
MUST_CHECK enum escrow_err policy_load_bytes(const void *bytes, size_t len, const char *path,
                                             struct config_report *report,
                                             struct policy **ret_policy);
void policy_free(struct policy *policy);
CLEANUP_FUNCTION(policy_free_p, struct policy, policy_free)

/* The rules digest of the audit log: SHA-256 of the file's bytes. */
const uint8_t *policy_digest(const struct policy *policy);
size_t policy_groups(const struct policy *policy, const struct policy_group **ret_groups);
/* NULL if there is none. Names are compared byte for byte; server names without case. */
const struct policy_group *policy_find_group(const struct policy *policy, const char *name);
const struct policy_replica *policy_find_replica(const struct policy_group *group,
                                                 const char *instance);
const struct policy_replica *policy_find_server(const struct policy_group *group,
                                                const char *server_name);
/* Database names are compared byte for byte. */
bool policy_has_database(const struct policy_group *group, const char *database);

/* Adds a line for each setting that trusts more than the default does, saying what it trusts. */
void policy_warnings(const struct policy *policy, struct config_report *report);
