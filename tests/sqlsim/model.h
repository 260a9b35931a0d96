/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/master_key.h"
#include "tests/sqlsim/principal.h"
#include "tests/sqlsim/switches.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/*
 * One availability group with one database on N replicas. Pure: it knows no socket and no clock;
 * the caller hands in the time (milliseconds, never backwards) and asks when to come again.
 * What a replica would answer about itself and the group is in model_view.h.
 */
#define MODEL_REPLICAS_MAX 16
#define MODEL_NONE SIZE_MAX

enum model_cluster { MODEL_CLUSTER_WSFC, MODEL_CLUSTER_EXTERNAL, MODEL_CLUSTER_NONE };
enum model_quorum { MODEL_QUORUM_LOST, MODEL_QUORUM_NORMAL, MODEL_QUORUM_FORCED }; /* 4.1 codes */
enum model_readable { MODEL_READABLE_NO, MODEL_READABLE_INTENT, MODEL_READABLE_ALL };

/* The states that a replica passes through (4.1, XE states of 4.2). */
enum model_phase {
    MODEL_SECONDARY,
    MODEL_RESOLVING,
    MODEL_PRIMARY_PENDING,    /* PRIMARY, operational state PENDING, database RECOVERING */
    MODEL_PRIMARY_RECOVERING, /* PRIMARY, ONLINE, its databases not yet */
    MODEL_PRIMARY,            /* PRIMARY, ONLINE, database ONLINE and READ_WRITE */
};

struct session;

/* What a test makes a replica say although it is not so; MODEL_NONE and NULL: the truth. */
struct model_lies {
    size_t role;           /* 0, 1, 2 */
    char *primary_replica; /* any name, or "NULL" */
    char *sequence_number; /* decimal, or "NULL" */
};

struct model_replica {
    char *name;
    char *service_key; /* id of its service master key */
    char *version;     /* "16.0.4165.4" */
    bool is_asynchronous;
    enum model_readable readable;
    enum model_quorum quorum;
    bool is_alive, is_hung;
    enum model_phase phase;
    bool is_promoting;        /* the next phases lead to PRIMARY, else to SECONDARY */
    int64_t due_ms;           /* when the next phase begins; 0: none is due */
    int64_t primary_since_ms; /* start of MODEL_PRIMARY */
    int64_t sequence_number;  /* the group's, as this replica last learnt it */
    char recovery_lsn[48];    /* of its last promotion */
    uint32_t master_copy;     /* generation of the DMK that its own master holds, or 0 */
    bool flag;                /* is_master_key_encrypted_by_server: instance-local */
    int64_t opened_ms;        /* the last ADD ENCRYPTION BY SERVICE MASTER KEY here, or 0 */
    char *opened_by;          /* its login */
    struct model_lies lies;
    LIST_HEAD(model_sessions, session) sessions;
};

struct model {
    struct switches switches;
    char *group_name;
    char *database;
    enum model_cluster cluster;
    struct master_key key;
    struct principals principals;
    size_t count;
    struct model_replica replicas[MODEL_REPLICAS_MAX];
    size_t primary; /* as the cluster knows it, or MODEL_NONE */
    int64_t sequence_number;
    uint64_t lsn_counter;
    int32_t next_session_id;
    int64_t now_ms;
    int64_t auto_failover_ms; /* when the cluster promotes by itself, 0: not */
    size_t promotions;
    /* The database of this replica is taken from its sessions; may be NULL. */
    void (*on_role_change)(struct model *model, size_t replica, void *argument);
    void *argument;
};

void model_init(struct model *model, const char *group_name, const char *database);
void model_deinit(struct model *model);
/* A secondary with its own SMK; its index. At most MODEL_REPLICAS_MAX. */
size_t model_add_replica(struct model *model, const char *name);
size_t model_find(const struct model *model, const char *name); /* or MODEL_NONE */
/* The primary of the start: everything on-line, its SMK wraps the DMK. */
void model_set_initial_primary(struct model *model, size_t replica);

/* Carries out what is due at now_ms. */
void model_advance(struct model *model, int64_t now_ms);
/* When the next phase of any replica is due, 0 for never. */
int64_t model_next_due(const struct model *model);

/*
 * ALTER AVAILABILITY GROUP FAILOVER (forced: FORCE_FAILOVER_ALLOW_DATA_LOSS) on this replica, which
 * must be alive and answer. Returns before the role change ends (4.3). 0, or SQL Server's error:
 * 41122 already primary, 41113 one is on its way, 41142 not synchronised (planned only).
 */
int32_t model_failover(struct model *model, size_t replica, bool is_forced);
/*
 * The instance dies. is_automatic: the cluster promotes the first healthy synchronous secondary
 * after the switch auto_failover_ms.
 */
void model_kill(struct model *model, size_t replica, bool is_automatic);
/* The instance starts again: primary if the group has not chosen another, else secondary. */
void model_start(struct model *model, size_t replica);
void model_hang(struct model *model, size_t replica);
void model_resume(struct model *model, size_t replica);

/* Whether the DMK opens by itself with what this instance has (1.9). */
bool model_opens(const struct model *model, size_t replica);
/* Records ADD ENCRYPTION BY SERVICE MASTER KEY by a login on this replica. */
void model_add_service_key(struct model *model, size_t replica, const char *login);
