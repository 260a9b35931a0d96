/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/lexer.h"
#include "tests/sqlsim/session.h"

/*
 * The T-SQL that the model understands: one row per statement. What this project sends is in
 * statements.c, in the order of libescrow/tsql.h; what a DBA does beside it in statements_dba.c;
 * what he asks, in select.h. A batch is one statement.
 */
typedef void (*statement_fn)(struct session *session, const struct lexer_parameters *parameters,
                             struct reply *reply);

struct statement {
    const char *pattern; /* of the lexer */
    statement_fn run;
    const char *source; /* section of sqlserver-facts, or who sends it */
};

/* Runs one statement. false: unknown, and nothing is replied. */
bool statements_run_one(struct session *session, const char *text, struct reply *reply);

/* Runs a batch: one statement, or a script. false: unknown, and the reply holds 102. */
bool statements_run(struct session *session, const char *text, struct reply *reply);

/* statements_catalog.c: what an instance says of itself; false: unknown, nothing is replied. */
bool statements_run_catalog(struct session *session, const char *text, struct reply *reply);

/* statements_grant.c: rights given and taken; false: unknown, nothing is replied. */
bool statements_run_grant(struct session *session, const char *text, struct reply *reply);

/* statements_principal.c: logins and users made, changed, dropped; the same. */
bool statements_run_principal(struct session *session, const char *text, struct reply *reply);

/* 2.2: whether a login may read a dynamic management view; else the reply has 300 and 297. */
bool statement_check_server_state(const struct session *session, struct reply *reply);

/*
 * statements_hadr.c: views of the group and of sessions. The probers' columns of a database and its
 * local replica, and where they come from; the second ends at the database's name.
 */
#define STATEMENTS_STATE_COLUMNS                                                                   \
    "ar.replica_server_name, ag.cluster_type,"                                                     \
    " CASE WHEN EXISTS (SELECT 1 FROM sys.availability_groups AS dag"                              \
    " INNER JOIN sys.availability_replicas AS dar ON dar.group_id = dag.group_id"                  \
    " WHERE dag.is_distributed = 1 AND dar.replica_server_name = ag.name)"                         \
    " THEN 1 ELSE 0 END AS is_distributed,"                                                        \
    " CONVERT(nvarchar(20), ag.sequence_number) AS sequence_number,"                               \
    " ars.role, ars.operational_state, ars.recovery_health, ars.synchronization_health,"           \
    " ags.primary_replica, d.state,"                                                               \
    " CONVERT(nvarchar(20), DATABASEPROPERTYEX(d.name, N'Updateability')) AS updateability,"       \
    " drs.synchronization_state, CONVERT(nvarchar(40), drs.recovery_lsn) AS recovery_lsn"
#define STATEMENTS_STATE_REPLICA                                                                   \
    " INNER JOIN sys.dm_hadr_availability_replica_states AS ars"                                   \
    " ON ars.group_id = ag.group_id AND ars.is_local = 1"                                          \
    " INNER JOIN sys.availability_replicas AS ar ON ar.replica_id = ars.replica_id"                \
    " LEFT JOIN sys.dm_hadr_availability_group_states AS ags ON ags.group_id = ag.group_id"        \
    " LEFT JOIN (sys.databases AS d INNER JOIN sys.dm_hadr_database_replica_states AS drs"         \
    " ON drs.database_id = d.database_id AND drs.is_local = 1)"                                    \
    " ON drs.group_id = ag.group_id AND d.name = "

/* The same of a list of databases; false: another statement, and nothing is replied. */
bool statements_run_states(struct session *session, const char *text, struct reply *reply);
void statement_state(struct session *session, const struct lexer_parameters *parameters,
                     struct reply *reply);
void statement_local(struct session *session, const struct lexer_parameters *parameters,
                     struct reply *reply);
void statement_readers(struct session *session, const struct lexer_parameters *parameters,
                       struct reply *reply);
void statement_quorum(struct session *session, const struct lexer_parameters *parameters,
                      struct reply *reply);
void statement_members(struct session *session, const struct lexer_parameters *parameters,
                       struct reply *reply);
void statement_find_session(struct session *session, const struct lexer_parameters *parameters,
                            struct reply *reply);

/* statements_dba.c: its rows, or NULL behind the last. */
const struct statement *statements_dba(size_t index);

/* statements_key.c: the master key */
void statement_create_master_key(struct session *session, const struct lexer_parameters *parameters,
                                 struct reply *reply);
void statement_drop_master_key(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply);
void statement_open_master_key(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply);
void statement_close_master_key(struct session *session, const struct lexer_parameters *parameters,
                                struct reply *reply);
void statement_add_service_key(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply);
void statement_drop_service_key(struct session *session, const struct lexer_parameters *parameters,
                                struct reply *reply);
void statement_add_password(struct session *session, const struct lexer_parameters *parameters,
                            struct reply *reply);
void statement_drop_password(struct session *session, const struct lexer_parameters *parameters,
                             struct reply *reply);
void statement_regenerate(struct session *session, const struct lexer_parameters *parameters,
                          struct reply *reply);
void statement_force_regenerate(struct session *session, const struct lexer_parameters *parameters,
                                struct reply *reply);
void statement_backup_master_key(struct session *session, const struct lexer_parameters *parameters,
                                 struct reply *reply);
void statement_restore_master_key(struct session *session,
                                  const struct lexer_parameters *parameters, struct reply *reply);
void statement_force_restore_master_key(struct session *session,
                                        const struct lexer_parameters *parameters,
                                        struct reply *reply);

/* statements_certificate.c: what lies under it */
void statement_opens(struct session *session, const struct lexer_parameters *parameters,
                     struct reply *reply);
void statement_probe_certificate(struct session *session, const struct lexer_parameters *parameters,
                                 struct reply *reply);
void statement_create_certificate(struct session *session,
                                  const struct lexer_parameters *parameters, struct reply *reply);
void statement_create_certificate_with_password(struct session *session,
                                                const struct lexer_parameters *parameters,
                                                struct reply *reply);
void statement_drop_certificate(struct session *session, const struct lexer_parameters *parameters,
                                struct reply *reply);
void statement_create_symmetric_key(struct session *session,
                                    const struct lexer_parameters *parameters, struct reply *reply);
void statement_drop_symmetric_key(struct session *session,
                                  const struct lexer_parameters *parameters, struct reply *reply);
void statement_open_symmetric_key(struct session *session,
                                  const struct lexer_parameters *parameters, struct reply *reply);
void statement_close_symmetric_key(struct session *session,
                                   const struct lexer_parameters *parameters, struct reply *reply);

/* statements_server.c: sessions, transactions, application locks, stored passwords, service master
 * key */
void statement_kill(struct session *session, const struct lexer_parameters *parameters,
                    struct reply *reply);
void statement_begin(struct session *session, const struct lexer_parameters *parameters,
                     struct reply *reply);
void statement_commit(struct session *session, const struct lexer_parameters *parameters,
                      struct reply *reply);
void statement_rollback(struct session *session, const struct lexer_parameters *parameters,
                        struct reply *reply);
void statement_get_applock(struct session *session, const struct lexer_parameters *parameters,
                           struct reply *reply);
void statement_release_applock(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply);
void statement_select_get_applock(struct session *session,
                                  const struct lexer_parameters *parameters, struct reply *reply);
void statement_select_release_applock(struct session *session,
                                      const struct lexer_parameters *parameters,
                                      struct reply *reply);
void statement_control_password(struct session *session, const struct lexer_parameters *parameters,
                                struct reply *reply);
void statement_regenerate_service_key(struct session *session,
                                      const struct lexer_parameters *parameters,
                                      struct reply *reply);
void statement_force_regenerate_service_key(struct session *session,
                                            const struct lexer_parameters *parameters,
                                            struct reply *reply);

/* statements_property.c: extended properties of a database */
void statement_add_property(struct session *session, const struct lexer_parameters *parameters,
                            struct reply *reply);
void statement_update_property(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply);
void statement_find_property(struct session *session, const struct lexer_parameters *parameters,
                             struct reply *reply);

/* statements_ssisdb.c: procedures of the catalog */
void statement_refresh_replica(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply);
void statement_catalog_startup(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply);
