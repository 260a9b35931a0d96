/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"
#include "libescrow/secret.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Every T-SQL text that this project can send, and nothing else builds one. Each is one SQLBatch.
 * Names and values (UTF-8) enter only as quoted literals. All functions return a text owned by the
 * caller, or NULL without memory, and for a value that no T-SQL literal can hold: one with a NUL,
 * or with a backslash before a line end. Where the facts come from stands in tsql.c.
 */

#define TSQL_NONCE_BYTES 32
#define TSQL_PROBE_CERTIFICATE "escrowd_probe"
#define TSQL_ECHO_PROPERTY "escrowd_echo"

/* Text as N'...' with quotes doubled; a name as [...] with ] doubled. */
char *tsql_quote_text(const char *text);
char *tsql_quote_name(const char *name);

/*
 * One row about the local replica of an availability group and one of its databases:
 * the columns of enum tsql_state_column, in that order. No row: no such group here, or no right to
 * see it.
 */
char *tsql_state(const char *availability_group, const char *database);

struct tsql_target {
    const char *availability_group;
    const char *database;
};
/*
 * The same of many at once: a row for each that is here, its index in front of those columns. NULL
 * also for none at all.
 */
char *tsql_states(const struct tsql_target *targets, size_t count);
enum tsql_state_column {
    TSQL_STATE_SERVER_NAME,            /* sys.availability_replicas.replica_server_name, local */
    TSQL_STATE_CLUSTER_TYPE,           /* 0 WSFC, 1 EXTERNAL, 2 NONE */
    TSQL_STATE_IS_DISTRIBUTED,         /* the database is also in a distributed group: see tsql.c */
    TSQL_STATE_SEQUENCE_NUMBER,        /* bigint as text, or NULL */
    TSQL_STATE_ROLE,                   /* 0 RESOLVING, 1 PRIMARY, 2 SECONDARY */
    TSQL_STATE_OPERATIONAL_STATE,      /* 2 ONLINE */
    TSQL_STATE_RECOVERY_HEALTH,        /* 1 ONLINE */
    TSQL_STATE_SYNCHRONIZATION_HEALTH, /* 2 HEALTHY */
    TSQL_STATE_PRIMARY_REPLICA,        /* as this replica sees it, or NULL */
    TSQL_STATE_DATABASE_STATE,         /* sys.databases.state, 0 ONLINE; NULL: not in the group */
    TSQL_STATE_UPDATEABILITY,          /* READ_WRITE | READ_ONLY, or NULL */
    TSQL_STATE_SYNCHRONIZATION_STATE,  /* local row of dm_hadr_database_replica_states, or NULL */
    TSQL_STATE_RECOVERY_LSN,           /* numeric(25,0) as text, or NULL */
    TSQL_STATE_COLUMNS,
};

/* quorum_state of sys.dm_hadr_cluster: 1 NORMAL_QUORUM, 2 FORCED_QUORUM; no row: no quorum. */
char *tsql_quorum(void);

/* A row for each replica of an availability group: replica_server_name, in the order of names. */
char *tsql_members(const char *availability_group);

/*
 * The agent's poll: one row, the role and updateability of the local replica, from memory.
 */
char *tsql_local(const char *availability_group, const char *database);

/* Binds a nonce to the agent's own session: SET CONTEXT_INFO 0x... */
char *tsql_set_context(const uint8_t nonce[static TSQL_NONCE_BYTES]);
/* A row per session with that nonce that was made by that login (VIEW SERVER [PERFORMANCE] STATE).
 */
char *tsql_find_session(const uint8_t nonce[static TSQL_NONCE_BYTES], const char *login);

/* Commits a nonce in the database that the session is in, as an extended property of it. */
char *tsql_commit_echo(const uint8_t nonce[static TSQL_NONCE_BYTES]);
/* A row if a database of this instance has that nonce, as far as this login may see. */
char *tsql_find_echo(const uint8_t nonce[static TSQL_NONCE_BYTES], const char *database);

/*
 * One row: secondary_role_allow_connections of the local replica, 0 where nobody may read it, not
 * even who says that he only reads.
 */
char *tsql_readers(const char *availability_group);

/* USE [database] */
char *tsql_use(const char *database);
/*
 * In the database: one row, one column signature_bytes. Any result but a positive number means
 * that the database master key does not open by itself.
 */
char *tsql_opens(void);
/* A row, one column, 1 if the database holds the certificate escrowd_probe and this login may sign
 * with it. */
char *tsql_probe_certificate(void);

/* The three batches of the agent's worker, in the database, each sent alone:
 * from such a batch SQL Server's traces leave the password out, from what EXEC runs they do not.
 */
struct secret *tsql_open_master_key(const struct secret *password_utf8);
char *tsql_add_service_master_key(void);
char *tsql_close_master_key(void);

/* EXEC [database].[catalog].[startup] */
char *tsql_catalog_startup(const char *database);
