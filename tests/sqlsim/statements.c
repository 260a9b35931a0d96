/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/statements.h"

#include "libescrow/cleanup.h"
#include "libescrow/encode.h"
#include "tests/sqlsim/script.h"
#include "tests/sqlsim/select.h"

#include <stdlib.h>
#include <string.h>

static void statement_use(struct session *session, const struct lexer_parameters *parameters,
                          struct reply *reply)
{
    session_use(session, parameters->values[0], reply);
}

static void statement_set_context(struct session *session,
                                  const struct lexer_parameters *parameters, struct reply *reply)
{
    const char *hex = parameters->values[0];
    size_t len = strlen(hex) / 2;

    if (len > SESSION_CONTEXT_MAX || hex_decode(hex, session->context, len)) {
        reply_message(reply, 102, hex, NULL);
        return;
    }
    session->context_len = len;
}

/* clang-format off */
static const struct statement statements[] = {
    /* libescrow/tsql.c, in the order of tsql.h */
    {"SELECT " STATEMENTS_STATE_COLUMNS " FROM sys.availability_groups AS ag"
     STATEMENTS_STATE_REPLICA "$text WHERE ag.is_distributed = 0 AND ag.name = $text",
     statement_state, "4.1"},
    {"SELECT quorum_state FROM sys.dm_hadr_cluster", statement_quorum, "4.1"},
    {"SELECT ar.replica_server_name FROM sys.availability_groups AS ag"
     " INNER JOIN sys.availability_replicas AS ar ON ar.group_id = ag.group_id"
     " WHERE ag.is_distributed = 0 AND ag.name = $text ORDER BY ar.replica_server_name",
     statement_members, "4.1"},
    {"SELECT ars.role,"
     " CONVERT(nvarchar(20), DATABASEPROPERTYEX($text, N'Updateability')) AS updateability"
     " FROM sys.availability_groups AS ag"
     " INNER JOIN sys.dm_hadr_availability_replica_states AS ars"
     " ON ars.group_id = ag.group_id AND ars.is_local = 1"
     " WHERE ag.is_distributed = 0 AND ag.name = $text",
     statement_local, "4.1"},
    {"SELECT ar.secondary_role_allow_connections FROM sys.availability_groups AS ag"
     " INNER JOIN sys.dm_hadr_availability_replica_states AS ars"
     " ON ars.group_id = ag.group_id AND ars.is_local = 1"
     " INNER JOIN sys.availability_replicas AS ar ON ar.replica_id = ars.replica_id"
     " WHERE ag.is_distributed = 0 AND ag.name = $text",
     statement_readers, "4.1"},
    {"SET CONTEXT_INFO $binary", statement_set_context, "4.4"},
    {"SELECT session_id FROM sys.dm_exec_sessions"
     " WHERE SUBSTRING(context_info, 1, 32) = $binary AND original_login_name = $text",
     statement_find_session, "4.4"},
    /* tsql_commit_echo is a script of two of these. */
    {"EXEC sys.sp_addextendedproperty @name = $text, @value = $binary", statement_add_property,
     "4.6"},
    {"EXEC sys.sp_updateextendedproperty @name = $text, @value = $binary",
     statement_update_property, "4.6"},
    {"EXEC sys.sp_dropextendedproperty @name = $text", statement_update_property, "4.6"},
    {"SELECT 1 AS is_found FROM $name.sys.extended_properties WHERE class = 0 AND name = $text"
     " AND CONVERT(varbinary(32), value) = $binary", statement_find_property, "4.6, 10.16"},
    {"USE $name", statement_use, "2.3"},
    {"SELECT DATALENGTH(SIGNBYCERT(CERT_ID(N'escrowd_probe'), N'escrowd')) AS signature_bytes",
     statement_opens, "3"},
    {"SELECT CASE WHEN HAS_PERMS_BY_NAME(N'escrowd_probe', N'CERTIFICATE', N'CONTROL') = 1"
     " THEN 1 ELSE 0 END AS has_certificate",
     statement_probe_certificate, "3"},
    {"OPEN MASTER KEY DECRYPTION BY PASSWORD = $text", statement_open_master_key, "1.4"},
    {"ALTER MASTER KEY ADD ENCRYPTION BY SERVICE MASTER KEY", statement_add_service_key, "1.4"},
    {"CLOSE MASTER KEY", statement_close_master_key, "1.2, 1.3"},
    {"EXEC $name.[catalog].[startup]", statement_catalog_startup, "5.2"},
    {"ALTER MASTER KEY ADD ENCRYPTION BY PASSWORD = $text", statement_add_password, "1.4"},
    {"ALTER MASTER KEY DROP ENCRYPTION BY PASSWORD = $text", statement_drop_password, "1.4"},
};
/* clang-format on */

static bool run_row(const struct statement *row, struct session *session, const char *text,
                    struct reply *reply)
{
    struct lexer_parameters parameters = {0};

    if (!lexer_match(row->pattern, text, &parameters))
        return false;
    row->run(session, &parameters, reply);
    lexer_parameters_deinit(&parameters);
    return true;
}

bool statements_run_one(struct session *session, const char *text, struct reply *reply)
{
    const struct statement *row;

    for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
        if (run_row(&statements[i], session, text, reply))
            return true;
    }
    for (size_t i = 0; (row = statements_dba(i)) != NULL; i++) {
        if (run_row(row, session, text, reply))
            return true;
    }
    return statements_run_states(session, text, reply) ||
           statements_run_catalog(session, text, reply) ||
           statements_run_grant(session, text, reply) ||
           statements_run_principal(session, text, reply) || select_run(session, text, reply);
}

bool statements_run(struct session *session, const char *text, struct reply *reply)
{
    CLEANUP(cleanup_free) char *word = NULL;

    if (statements_run_one(session, text, reply))
        return true;
    if (script_is(text))
        return script_run(session, text, reply);
    word = lexer_first_word(text);

    reply_message(reply, 102, word, NULL);
    return false;
}
