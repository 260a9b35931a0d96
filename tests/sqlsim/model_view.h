/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/model.h"

/*
 * What one instance answers when it is asked about a group, its replica there and a database: the
 * system views of sqlserver-facts 4.1, lies included. Only model_view_freeze
 * changes the model.
 */
struct model_view {
    int cluster_type;
    bool is_distributed;         /* a distributed group is seen that the group is a member of */
    int role;                    /* 0 RESOLVING, 1 PRIMARY, 2 SECONDARY */
    int operational_state;       /* 0 PENDING_FAILOVER, 1 PENDING, 2 ONLINE, 5 FAILED_NO_QUORUM */
    int recovery_health;         /* 0 ONLINE_IN_PROGRESS, 1 ONLINE */
    int synchronization_health;  /* 0 NOT_HEALTHY, 1 PARTIALLY_, 2 HEALTHY */
    int synchronization_state;   /* 0 NOT SYNCHRONIZING, 1 SYNCHRONIZING, 2 SYNCHRONIZED */
    int connected_state;         /* 0 DISCONNECTED, 1 CONNECTED */
    int database_state;          /* 0 ONLINE, 1 RESTORING, 2 RECOVERING, 3 RECOVERY_PENDING */
    const char *updateability;   /* READ_WRITE, READ_ONLY or NULL */
    const char *primary_replica; /* as this replica sees it, or NULL; owned by the model */
    char sequence_number[24];    /* empty for NULL */
    char recovery_lsn[48];       /* empty for NULL */
};

/* Of an instance that is a member of the group; its databases as they are if all is well. */
struct model_view model_view(const struct model *model, const struct model_group *group,
                             size_t instance);
/* The same with what is true of this database of the group. */
struct model_view model_view_database(const struct model *model,
                                      const struct model_database *database, size_t instance);

/* 9: whether this instance shows the rows of a distributed group that the group is in. */
bool model_view_is_distributed(const struct model *model, const struct model_group *group,
                               size_t instance);

/* Where the log of a copy ends (LSNs), what is still on its way to a secondary, and what waits
 * there to be redone. */
struct model_log {
    char end[48];    /* end_of_log_lsn, last_hardened_lsn */
    char redone[48]; /* last_redone_lsn: a record, so before the block that is hardened next */
    int64_t send_kb; /* log_send_queue_size */
    int64_t redo_kb; /* redo_queue_size */
};
struct model_log model_view_log(const struct model *model, const struct model_database *database,
                                size_t instance);

/* The uniqueidentifier that stands for a number of the model, of groups their index. */
enum model_guid {
    MODEL_GUID_GROUP = 0xa,
    MODEL_GUID_REPLICA,
    MODEL_GUID_DATABASE,
    MODEL_GUID_DISTRIBUTED,
    MODEL_GUID_DISTRIBUTED_REPLICA,
};
#define MODEL_GUID_SIZE 37
void model_guid(enum model_guid kind, uint64_t number, char ret_text[static MODEL_GUID_SIZE]);

/* connected_state in the row that the primary has of a replica (is_local = 0, 4.1). */
bool model_view_is_connected(const struct model *model, const struct model_group *group,
                             size_t instance);

/*
 * From now on the views of this instance say of the group what they say now, whatever happens; or
 * the truth again. Rights, and what can be done in the database, are not views.
 */
void model_view_freeze(const struct model *model, struct model_group *group, size_t instance,
                       bool is_frozen);

/* quorum_state of sys.dm_hadr_cluster, or 0 for no row (no quorum, or no WSFC). */
int model_view_quorum(const struct model *model, size_t instance);

/* 0, or why the database cannot be entered here: 976, 978, 979, 983, 922, 927, 988 (2.3). */
int32_t model_view_access(const struct model *model, const struct model_database *database,
                          size_t instance, bool has_read_intent);
bool model_view_is_writable(const struct model *model, const struct model_database *database,
                            size_t instance);
