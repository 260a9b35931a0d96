/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/applock.h"
#include "tests/sqlsim/credential.h"
#include "tests/sqlsim/key_file.h"
#include "tests/sqlsim/master_key.h"
#include "tests/sqlsim/principal.h"
#include "tests/sqlsim/property.h"
#include "tests/sqlsim/ssisdb.h"
#include "tests/sqlsim/switches.h"
#include "tests/sqlsim/version.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/*
 * Instances of SQL Server, the availability groups whose replicas they hold, and the databases in
 * those groups or beside them. Pure: it knows no socket and no clock; the caller hands in the time
 * (milliseconds, never backwards) and asks when to come again. What an instance would answer about
 * itself and a group is in model_view.h.
 *
 * One number, the index of the instance, names an instance, its replica in any group and its copy
 * of any database. Instances, groups and databases are never moved in memory or taken away.
 */
#define MODEL_INSTANCES_MAX 16
#define MODEL_GROUPS_MAX 512
#define MODEL_DATABASES_MAX 512
#define MODEL_DISTRIBUTED_MAX 4
#define MODEL_NONE SIZE_MAX
#define MODEL_CLUSTER ((size_t)MODEL_INSTANCES_MAX) /* a party of the network, like an instance */

enum model_cluster { MODEL_CLUSTER_WSFC, MODEL_CLUSTER_EXTERNAL, MODEL_CLUSTER_NONE };
enum model_quorum { MODEL_QUORUM_LOST, MODEL_QUORUM_NORMAL, MODEL_QUORUM_FORCED }; /* 4.1 codes */
enum model_readable { MODEL_READABLE_NO, MODEL_READABLE_INTENT, MODEL_READABLE_ALL };

/* The states that a replica passes through (4.1, XE states of 4.2). */
enum model_phase {
    MODEL_SECONDARY,
    MODEL_RESOLVING,
    MODEL_PRIMARY_PENDING,    /* PRIMARY, operational state PENDING, databases RECOVERING */
    MODEL_PRIMARY_RECOVERING, /* PRIMARY, ONLINE, its databases not yet */
    MODEL_PRIMARY,            /* PRIMARY, ONLINE, databases ONLINE and READ_WRITE */
};

struct session;

/* What is not replicated: it stays on its machine whatever the groups do. */
struct model_instance {
    char *name;        /* what the test calls it; also @@SERVERNAME unless it was renamed */
    char *server_name; /* @@SERVERNAME; sys.availability_replicas keeps the old one */
    char *service_key; /* id of its service master key */
    char *version;     /* "16.0.4165.4" */
    enum version_platform platform;
    bool has_lost_service_key; /* the SMK cannot be decrypted: a service account (LCRIS) */
    struct logins logins;
    struct credentials credentials; /* stored passwords of DMKs */
    bool is_upgrading;              /* script upgrade mode */
    bool is_single_user;
    struct applocks applocks;
    enum model_quorum quorum;
    int64_t clock_ms; /* what its clock is off by */
    bool is_alive, is_hung;
    uint32_t cut; /* bit n: no network to instance n, or to MODEL_CLUSTER */
    LIST_HEAD(model_sessions, session) sessions;
};

struct model_view;

/* What a test makes a replica say although it is not so; MODEL_NONE and NULL: the truth. */
struct model_lies {
    size_t role;           /* 0, 1, 2 */
    char *primary_replica; /* any name, or "NULL" */
    char *sequence_number; /* decimal, or "NULL" */
    /* model_view_freeze: what its views said then; NULL: they are not frozen */
    struct model_view *frozen;
    char *frozen_primary; /* the text in it */
};

/* The part of one instance in one group. */
struct model_replica {
    bool is_member;
    uint32_t id; /* stands for replica_id: another one after a removal */
    char *name;  /* replica_server_name */
    bool is_asynchronous;
    bool is_configuration_only; /* it has no databases and is never primary */
    enum model_readable readable;
    bool refuses_intent; /* as primary: PRIMARY_ROLE (ALLOW_CONNECTIONS = READ_WRITE) */
    enum model_phase phase;
    bool is_promoting;        /* the next phases lead to PRIMARY, else to SECONDARY */
    int64_t due_ms;           /* when the next phase begins; 0: none is due */
    int64_t primary_since_ms; /* start of MODEL_PRIMARY */
    int64_t sequence_number;  /* the group's, as this replica last learnt it */
    char recovery_lsn[48];    /* of its last promotion */
    struct model_lies lies;
};

struct model_database;

struct model_group {
    char *name;
    enum model_cluster cluster;
    /* CAG: its own master, NAME_master, with logins; NULL: the group is not contained. */
    struct model_database *contained_master;
    struct model_replica replicas[MODEL_INSTANCES_MAX]; /* by instance */
    size_t primary;                                     /* as the cluster knows it, or MODEL_NONE */
    int64_t sequence_number;
    uint64_t lsn_counter;
    int64_t auto_failover_ms; /* when the cluster promotes by itself, 0: not */
    size_t promotions;
};

/* What lies in the database files, so goes wherever the database goes. */
struct model_content {
    struct master_key key;
    struct users users;
    struct properties properties;
    struct logins logins;         /* of the master of a contained group */
    uint64_t log_file, log_block; /* where its log ends: with each promotion in another file */
};

/* What one instance knows of a database and does not replicate. */
struct model_copy {
    struct model_content *behind; /* what it has if data do not arrive; NULL: what all have */
    struct model_content *redone; /* what of that its redo has done; NULL: all */
    bool is_ready;                /* synchronised when the primary was last heard */
    bool is_suspended;            /* ALTER DATABASE SET HADR SUSPEND, or after a forced failover */
    bool is_lagging;              /* no log is sent to it */
    bool is_redo_lagging;         /* the log arrives and is hardened, and not redone */
    bool is_restoring;            /* left over after a removal from the group */
    uint32_t master_copy;         /* generation of the DMK that its own master holds, or 0 */
    bool flag;                    /* is_master_key_encrypted_by_server */
    int64_t opened_ms;            /* the last ADD ENCRYPTION BY SERVICE MASTER KEY here, or 0 */
    char *opened_by;              /* its login */
};

struct model_database {
    char *name;
    uint32_t id;               /* stands for group_database_id: another one when it comes back */
    struct model_group *group; /* NULL: of one instance only */
    size_t instance;           /* that one, else MODEL_NONE */
    size_t owner;              /* whose writes are in content: the last primary, or MODEL_NONE */
    uint32_t family;           /* family_guid: a restored copy has that of its backup */
    struct session *writer;    /* whose transaction has changed its keys, or NULL */
    struct model_content content;
    struct ssisdb catalog;
    struct model_content *backup;                  /* as it was then; NULL: there is none */
    struct model_copy copies[MODEL_INSTANCES_MAX]; /* by instance */
};

/* A group of two groups: one has the global primary, the primary of the other forwards. */
struct model_distributed {
    char *name;
    struct model_group *groups[2];
    size_t primary; /* 0, 1 */
};

struct model {
    struct switches switches;
    size_t instance_count, group_count, database_count, distributed_count;
    struct model_instance instances[MODEL_INSTANCES_MAX];
    struct model_group groups[MODEL_GROUPS_MAX];
    struct model_database databases[MODEL_DATABASES_MAX];
    struct model_distributed distributed[MODEL_DISTRIBUTED_MAX];
    uint32_t next_id;
    int32_t next_session_id;
    uint32_t key_generations; /* handed out to DMKs */
    struct key_files key_files;
    int64_t now_ms;
    /* Databases of the group on this instance are taken from their sessions; may be NULL. */
    void (*on_role_change)(struct model *model, const struct model_group *group, size_t instance,
                           void *argument);
    void *argument;
};

void model_init(struct model *model);
void model_deinit(struct model *model);

/* Each at most its _MAX times; more end the process. Names ignore case. */
/* With its own SMK; its index. */
size_t model_add_instance(struct model *model, const char *name);
size_t model_find_instance(const struct model *model, const char *name); /* or MODEL_NONE */
bool model_answers(const struct model *model, size_t instance);          /* alive, not hung */
/* Without replicas. */
struct model_group *model_add_group(struct model *model, const char *name);
struct model_group *model_find_group(struct model *model, const char *name); /* or NULL */
/* The instance becomes a secondary of the group. */
struct model_replica *model_add_replica(struct model *model, struct model_group *group,
                                        size_t instance);
/* With a DMK without passwords. group NULL: of that instance only; else instance is MODEL_NONE. */
struct model_database *model_add_database(struct model *model, const char *name,
                                          struct model_group *group, size_t instance);
/* The database of that name on the instance, or NULL. */
struct model_database *model_find_database(struct model *model, size_t instance, const char *name);
/* Whether the instance writes what others get. */
bool model_is_owner(const struct model_database *database, size_t instance);
/* The log of this instance's content grows by a record. */
void model_log(struct model *model, struct model_database *database, size_t instance);
bool model_is_name(const char *one, const char *other); /* names ignore case */
size_t model_database_index(const struct model *model, const struct model_database *database);
bool model_has_database(const struct model_database *database, size_t instance);
/* The primary of the start: everything on-line, its SMK wraps the DMKs of the group. */
void model_set_initial_primary(struct model *model, struct model_group *group, size_t instance);
/* The DMK was made on this instance: its SMK wraps both copies, in the database and in master. */
void model_set_initial_owner(struct model *model, struct model_database *database, size_t instance);

/* The content as this instance has it, as far as it is redone; writes to it are the caller's to
 * allow. */
struct model_content *model_content(struct model *model, struct model_database *database,
                                    size_t instance);
/* Whether the DMK opens by itself with what this instance has (1.9), stored passwords included. */
bool model_opens(const struct model *model, const struct model_database *database, size_t instance);
/* The same when something uses the DMK: what a stored password opens is wrapped by the SMK again.
 */
bool model_use_key(struct model *model, struct model_database *database, size_t instance,
                   bool is_writable);
/* Records ADD ENCRYPTION BY SERVICE MASTER KEY by a login on this instance. */
void model_add_service_key(struct model *model, struct model_database *database, size_t instance,
                           const char *login);

/* model_backup.c. Restored, no SMK wraps the DMK, on no instance. false: there is no backup. */
void model_backup(struct model_database *database);
bool model_restore(struct model_database *database);

/* model_role.c: changes of role */

/* Carries out what is due at now_ms. */
void model_advance(struct model *model, int64_t now_ms);
/* When the next phase of any replica is due, 0 for never. */
int64_t model_next_due(const struct model *model);

/*
 * ALTER AVAILABILITY GROUP FAILOVER (forced: FORCE_FAILOVER_ALLOW_DATA_LOSS) on a replica of the
 * group, which must be alive and answer. Returns before the role change ends (4.3). 0, or SQL
 * Server's error: 41122 already primary, 41113 one is on its way, 41142 not synchronised (planned
 * only).
 */
int32_t model_failover(struct model *model, struct model_group *group, size_t instance,
                       bool is_forced);
/*
 * The instance dies. is_automatic: the cluster promotes the first healthy synchronous secondary
 * of each group that it was primary of, after the switch auto_failover_ms.
 */
void model_kill(struct model *model, size_t instance, bool is_automatic);
/* The instance starts again: primary of groups that have not chosen another, else secondary. */
void model_start(struct model *model, size_t instance);
void model_hang(struct model *model, size_t instance);
void model_resume(struct model *model, size_t instance);

/* SET HADR SUSPEND and RESUME on a secondary; one that gets its log late, or redoes it late, and
 * again. What was hardened and not redone is redone when it takes over, whatever way. */
void model_suspend(struct model *model, struct model_database *database, size_t instance,
                   bool is_suspended);
void model_lag(struct model *model, struct model_database *database, size_t instance,
               bool is_lagging);
void model_lag_redo(struct model *model, struct model_database *database, size_t instance,
                    bool is_lagging);

/*
 * Cuts or heals the network between two instances, or one and MODEL_CLUSTER. A primary that does
 * not reach the cluster goes on until its lease is over (switch lease_ms), then resolves.
 * is_automatic: the cluster promotes another after auto_failover_ms, as in model_kill.
 */
void model_cut(struct model *model, size_t one, size_t other, bool is_automatic);
void model_heal(struct model *model, size_t one, size_t other);
/* Quorum lost: the replicas of WSFC groups here resolve and their sessions end; come back: they
 * start. */
void model_set_quorum(struct model *model, size_t instance, enum model_quorum quorum);

/* The databases of the group's primary go through recovery again, its role stays. */
void model_recover(struct model *model, struct model_group *group);

/* model_member.c: what belongs to what, while it runs */

/* What is left on the instance is RESTORING (927); not the primary: false. */
bool model_remove_replica(struct model *model, struct model_group *group, size_t instance);
/* ADD REPLICA after that: another id, databases seeded anew. */
struct model_replica *model_return_replica(struct model *model, struct model_group *group,
                                           size_t instance);
/* The database stays on the primary, beside the groups; what is elsewhere is RESTORING. Without a
 * primary: false. */
bool model_remove_database(struct model *model, struct model_database *database);
/* ADD DATABASE of one that is beside the groups, on the primary of the group, else false; seeded
 * anew everywhere, with another id. */
bool model_return_database(struct model *model, struct model_database *database,
                           struct model_group *group);
/* A distributed group of two; the first has the global primary. */
struct model_distributed *model_add_distributed(struct model *model, const char *name,
                                                struct model_group *first,
                                                struct model_group *second);
struct model_distributed *model_find_distributed(struct model *model, const char *name);
/* The forwarder becomes the global primary: roles stay, what can be written changes. Without a
 * primary in both groups: false. */
bool model_failover_distributed(struct model *model, struct model_distributed *distributed);
