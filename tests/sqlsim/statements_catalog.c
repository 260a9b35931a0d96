/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/server_error.h"
#include "tests/sqlsim/statements.h"
#include "tests/sqlsim/version.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 * What an instance says of itself to everybody: messages, columns of system views, the session's
 * own connection and CONTEXT_INFO.
 */

/* 4.1, 3 and the pages of the views; the type as TYPE_NAME(system_type_id) has it. */
static const struct {
    const char *view;
    const char *name;
    const char *type;
} view_columns[] = {
    {"sys.availability_groups", "group_id", "uniqueidentifier"},
    {"sys.availability_groups", "name", "nvarchar"},
    {"sys.availability_groups", "is_distributed", "bit"},
    {"sys.availability_groups", "basic_features", "bit"},
    {"sys.availability_groups", "dtc_support", "bit"},
    {"sys.availability_groups", "db_failover", "bit"},
    {"sys.availability_groups", "cluster_type_desc", "nvarchar"},
    {"sys.availability_groups", "required_synchronized_secondaries_to_commit", "int"},
    {"sys.availability_groups", "is_contained", "bit"},
    {"sys.availability_groups", "cluster_type", "tinyint"},
    {"sys.availability_groups", "sequence_number", "bigint"},
    {"sys.availability_replicas", "replica_id", "uniqueidentifier"},
    {"sys.availability_replicas", "group_id", "uniqueidentifier"},
    {"sys.availability_replicas", "replica_server_name", "nvarchar"},
    {"sys.availability_replicas", "secondary_role_allow_connections", "tinyint"},
    {"sys.dm_hadr_availability_replica_states", "replica_id", "uniqueidentifier"},
    {"sys.dm_hadr_availability_replica_states", "group_id", "uniqueidentifier"},
    {"sys.dm_hadr_availability_replica_states", "is_local", "bit"},
    {"sys.dm_hadr_availability_replica_states", "role", "tinyint"},
    {"sys.dm_hadr_availability_replica_states", "operational_state", "tinyint"},
    {"sys.dm_hadr_availability_replica_states", "recovery_health", "tinyint"},
    {"sys.dm_hadr_availability_replica_states", "synchronization_health", "tinyint"},
    {"sys.dm_hadr_availability_group_states", "group_id", "uniqueidentifier"},
    {"sys.dm_hadr_availability_group_states", "primary_replica", "nvarchar"},
    {"sys.dm_hadr_database_replica_states", "database_id", "int"},
    {"sys.dm_hadr_database_replica_states", "group_id", "uniqueidentifier"},
    {"sys.dm_hadr_database_replica_states", "is_local", "bit"},
    {"sys.dm_hadr_database_replica_states", "synchronization_state", "tinyint"},
    {"sys.dm_hadr_database_replica_states", "recovery_lsn", "numeric"},
    {"sys.dm_hadr_database_replica_states", "is_primary_replica", "bit"},
    {"sys.dm_hadr_database_replica_states", "last_hardened_lsn", "numeric"},
    {"sys.dm_hadr_database_replica_states", "last_redone_lsn", "numeric"},
    {"sys.dm_hadr_database_replica_states", "log_send_queue_size", "bigint"},
    {"sys.dm_hadr_database_replica_states", "redo_queue_size", "bigint"},
    {"sys.dm_hadr_availability_replica_states", "current_configuration_commit_start_time_utc",
     "datetime"},
    {"sys.dm_hadr_cluster", "quorum_state", "tinyint"},
    {"sys.dm_exec_sessions", "session_id", "smallint"},
    {"sys.dm_exec_sessions", "context_info", "varbinary"},
    {"sys.dm_exec_sessions", "original_login_name", "nvarchar"},
    {"sys.dm_exec_sessions", "contained_availability_group_id", "uniqueidentifier"},
    {"sys.dm_exec_connections", "net_transport", "nvarchar"},
    {"sys.dm_exec_connections", "auth_scheme", "nvarchar"},
    {"sys.dm_exec_connections", "protocol_version", "int"},
    {"sys.dm_exec_connections", "session_id", "int"},
    {"sys.dm_exec_connections", "encrypt_option", "nvarchar"},
    {"sys.databases", "name", "nvarchar"},
    {"sys.databases", "database_id", "int"},
    {"sys.databases", "state", "tinyint"},
    {"sys.databases", "is_master_key_encrypted_by_server", "bit"},
    {"sys.extended_properties", "class", "tinyint"},
    {"sys.extended_properties", "name", "nvarchar"},
    {"sys.extended_properties", "value", "sql_variant"},
    {"sys.symmetric_keys", "name", "nvarchar"},
    {"sys.symmetric_keys", "symmetric_key_id", "int"},
    {"sys.key_encryptions", "key_id", "int"},
    {"sys.key_encryptions", "crypt_type", "char"},
    {"sys.key_encryptions", "crypt_type_desc", "nvarchar"},
    {"sys.openkeys", "database_id", "int"},
    {"sys.openkeys", "key_name", "nvarchar"},
};

/* Columns are there for everybody to see, unlike rows. */
static void view_column(struct session *session, const struct lexer_parameters *parameters,
                        struct reply *reply)
{
    static const struct reply_column columns[] = {{"name", REPLY_TEXT}, {"type_name", REPLY_TEXT}};
    const char *version = session->model->instances[session->instance].version;
    const char *view = parameters->values[0], *name = parameters->values[1];

    reply_columns(reply, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < ARRAY_LEN(view_columns); i++) {
        if (strcasecmp(view, view_columns[i].view) != 0 ||
            strcasecmp(name, view_columns[i].name) != 0 ||
            !version_has_column(version, view_columns[i].name))
            continue;
        reply_value(reply, view_columns[i].name);
        reply_value(reply, view_columns[i].type);
    }
}

/* 2.1: listed otherwise than they are raised: with a lower severity, or with a text whose parts
 * the model puts together before. */
static const struct {
    int32_t number;
    int severity;
    const char *text; /* NULL: as it is raised */
} listed[] = {
    {596, 16, NULL},
    {1205, 13,
     "Transaction (Process ID %d) was deadlocked on %.*ls resources with another process and has "
     "been chosen as the deadlock victim. Rerun the transaction."},
    {5701, 10, NULL},
    {5703, 10, NULL},
    {15151, 16,
     "Cannot %S_MSG the %S_MSG '%.*ls', because it does not exist or you do not have permission."},
    {15282, 10, NULL},
    {15313, 10, NULL},
    {15315, 10, NULL},
    {15317, 10, NULL},
    {15352, 16,
     "The %S_MSG cannot be dropped because one or more entities are either signed or encrypted "
     "using it."},
    {15557, 10, NULL},
    {15558, 10, NULL},
};

/* 2: the texts keep the model's own placeholders. */
static void message(struct session *session, const struct lexer_parameters *parameters,
                    struct reply *reply)
{
    static const struct reply_column columns[] = {{"severity", REPLY_TINYINT},
                                                  {"text", REPLY_TEXT}};
    int32_t number = (int32_t)strtol(parameters->values[0], NULL, 10);
    const struct server_error *error;
    const char *text;
    int severity;

    (void)session;
    reply_columns(reply, columns, ARRAY_LEN(columns));
    if (!server_error_is_known(number))
        return;
    error = server_error_find(number);
    text = error->text;
    severity = error->level;
    for (size_t i = 0; i < ARRAY_LEN(listed); i++) {
        if (listed[i].number == number) {
            severity = listed[i].severity;
            text = listed[i].text ? listed[i].text : text;
        }
    }
    reply_number(reply, severity);
    reply_value(reply, text);
}

/* "CONTEXT_INFO": NULL until it is set, then padded to 128 bytes. */
static void context_length(struct session *session, const struct lexer_parameters *parameters,
                           struct reply *reply)
{
    static const struct reply_column columns[] = {{"bytes", REPLY_INT}};

    (void)parameters;
    reply_columns(reply, columns, ARRAY_LEN(columns));
    if (session->context_len)
        reply_number(reply, SESSION_CONTEXT_MAX);
    else
        reply_value(reply, NULL);
}

static const struct {
    const char *pattern;
    statement_fn run;
} catalog[] = {
    {"SELECT name, TYPE_NAME(system_type_id) AS type_name FROM sys.all_columns"
     " WHERE object_id = OBJECT_ID($text) AND name = $text",
     view_column},
    {"SELECT severity, text FROM sys.messages WHERE message_id = $name"
     " AND language_id = 1033",
     message},
    {"SELECT DATALENGTH(CONTEXT_INFO()) AS bytes", context_length},
};

bool statements_run_catalog(struct session *session, const char *text, struct reply *reply)
{
    for (size_t i = 0; i < ARRAY_LEN(catalog); i++) {
        struct lexer_parameters parameters = {0};

        if (!lexer_match(catalog[i].pattern, text, &parameters))
            continue;
        catalog[i].run(session, &parameters, reply);
        lexer_parameters_deinit(&parameters);
        return true;
    }
    return false;
}
