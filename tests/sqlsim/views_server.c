/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "libescrow/encode.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/model_view.h"
#include "tests/sqlsim/select.h"
#include "tests/sqlsim/statements.h"

#include <string.h>

/*
 * What an instance holds beside its databases: logins, sessions, the connection that asks, and what
 * an SSIS catalog needs on each server (section 6, D7).
 */
#define TDS_74 1946157060 /* protocol_version: 0x74000004 */
#define VERSION_TRUSTED_ASSEMBLIES 14

static unsigned major_of(const struct session *session)
{
    return version_find(session->model->instances[session->instance].version)->major;
}

static bool has_catalog(const struct session *session)
{
    return session_find_database(session, "SSISDB") != NULL;
}

static const struct reply_column principal_columns[] = {
    {"name", REPLY_TEXT},
    {"is_disabled", REPLY_BIT},
    {"sid", REPLY_BINARY},
    {"type", REPLY_TEXT},
};

static void put_sid(struct reply *rows, const struct sid *sid)
{
    char hex[2 * PRINCIPAL_SID_MAX + 1];

    hex_encode(sid->bytes, sid->len, hex);
    reply_value(rows, hex);
}

static void put_login(struct reply *rows, const struct login *login)
{
    reply_value(rows, login->name);
    reply_number(rows, login->is_disabled);
    put_sid(rows, &login->sid);
    reply_value(rows, login->password ? "S" : "U");
}

/* 6: made on each server by whoever made the catalog there, so with a SID of its own. */
static void put_cleanup_login(const struct session *session, struct reply *rows)
{
    CLEANUP(cleanup_free)
    char *unique = memory_format("%s cleanup", session->model->instances[session->instance].name);
    const struct sid sid = sid_of_name(unique);

    reply_value(rows, "##MS_SSISServerCleanupJobLogin##");
    reply_number(rows, 1);
    put_sid(rows, &sid);
    reply_value(rows, "S");
}

/* A login sees itself; the others with VIEW ANY DEFINITION. */
static void fill_logins(struct session *session, bool has_windows, struct reply *rows)
{
    const struct logins *logins = session_logins(session);
    bool sees_all = session_rights(session) & RIGHT_VIEW_ANY_DEFINITION;

    for (size_t i = 0; i < logins->count; i++) {
        const struct login *login = &logins->entries[i];

        if ((has_windows || login->password) &&
            (sees_all || sid_equals(&login->sid, &session->login_sid)))
            put_login(rows, login);
    }
    if (sees_all && !session->contained && has_catalog(session))
        put_cleanup_login(session, rows);
}

static void fill_principals(struct session *session, const char *database, struct reply *rows)
{
    (void)database;
    fill_logins(session, true, rows);
}

static void fill_sql_logins(struct session *session, const char *database, struct reply *rows)
{
    (void)database;
    fill_logins(session, false, rows);
}

static const struct reply_column user_columns[] = {{"name", REPLY_TEXT}, {"sid", REPLY_BINARY}};

/* In the database that the session is in; whoever is in it sees its users here. */
static void fill_users(struct session *session, const char *name, struct reply *rows)
{
    struct model_database *database = session->database;
    const struct users *users;

    (void)name;
    if (!database || session_check_database(session, database, rows))
        return;
    users = &model_content(session->model, database, session->instance)->users;
    for (size_t i = 0; i < users->count; i++) {
        reply_value(rows, users->entries[i].name);
        put_sid(rows, &users->entries[i].sid);
    }
}

static const struct reply_column session_columns[] = {
    {"session_id", REPLY_SMALLINT},
    {"login_name", REPLY_TEXT},
    {"original_login_name", REPLY_TEXT},
    {"contained_availability_group_id", REPLY_GUID},
};

static void put_session(const struct session *other, struct reply *rows)
{
    char guid[MODEL_GUID_SIZE];

    reply_number(rows, other->id);
    reply_value(rows, other->login_name);
    reply_value(rows, other->login_name);
    if (!other->contained) {
        reply_value(rows, NULL);
        return;
    }
    model_guid(MODEL_GUID_GROUP, (uint64_t)(other->contained - other->model->groups), guid);
    reply_value(rows, guid);
}

/* Without the right a login sees its own session only. */
static void fill_sessions(struct session *session, const char *database, struct reply *rows)
{
    const struct session *other =
        LIST_FIRST(&session->model->instances[session->instance].sessions);
    struct reply refusal = {0};
    bool sees_all = statement_check_server_state(session, &refusal);

    (void)database;
    reply_deinit(&refusal);
    for (; other; other = LIST_NEXT(other, entry)) {
        if (sees_all || other == session)
            put_session(other, rows);
    }
}

static const struct reply_column connection_columns[] = {
    {"session_id", REPLY_INT},   {"encrypt_option", REPLY_TEXT},  {"net_transport", REPLY_TEXT},
    {"auth_scheme", REPLY_TEXT}, {"protocol_version", REPLY_INT},
};

/* 6, D9: all come by TCP and TDS 7.4 here. */
static void fill_connections(struct session *session, const char *database, struct reply *rows)
{
    const struct session *other =
        LIST_FIRST(&session->model->instances[session->instance].sessions);

    (void)database;
    if (!statement_check_server_state(session, rows))
        return;
    for (; other; other = LIST_NEXT(other, entry)) {
        reply_number(rows, other->id);
        reply_value(rows, other->is_encrypted ? "TRUE" : "FALSE");
        reply_value(rows, "TCP");
        reply_value(rows, strchr(other->login_name, '\\') ? "KERBEROS" : "SQL");
        reply_number(rows, TDS_74);
    }
}

static const struct reply_column configuration_columns[] = {{"name", REPLY_TEXT},
                                                            {"value_in_use", REPLY_INT}};

/* value_in_use is sql_variant on a server, a type that the model's protocol does not have. */
static void fill_configurations(struct session *session, const char *database, struct reply *rows)
{
    (void)database;
    reply_value(rows, "clr enabled");
    reply_number(rows, has_catalog(session));
    if (major_of(session) >= VERSION_TRUSTED_ASSEMBLIES) {
        reply_value(rows, "clr strict security");
        reply_number(rows, 1);
    }
}

static const struct reply_column name_columns[] = {{"name", REPLY_TEXT}};

static bool sees_definitions(const struct session *session)
{
    return session_rights(session) & RIGHT_VIEW_ANY_DEFINITION;
}

/* 6: until 2016 a key of master lets the catalog's assembly in, since then a list of hashes. */
static void fill_asymmetric_keys(struct session *session, const char *database, struct reply *rows)
{
    (void)database;
    if (sees_definitions(session) && has_catalog(session) &&
        major_of(session) < VERSION_TRUSTED_ASSEMBLIES)
        reply_value(rows, "MS_SQLEnableSystemAssemblyLoadingKey");
}

static const struct reply_column assembly_columns[] = {{"description", REPLY_TEXT}};

static void fill_assemblies(struct session *session, const char *database, struct reply *rows)
{
    (void)database;
    if (!statement_check_server_state(session, rows))
        return;
    if (has_catalog(session))
        reply_value(rows, "microsoft.sqlserver.integrationservices.server.dll");
}

static const struct reply_column event_columns[] = {{"name", REPLY_TEXT},
                                                    {"startup_state", REPLY_BIT}};

/* 4.2: the session that comes with a group, started with the server. */
static void fill_event_sessions(struct session *session, const char *database, struct reply *rows)
{
    (void)database;
    if (!sees_definitions(session) || !session->model->group_count)
        return;
    reply_value(rows, "AlwaysOn_health");
    reply_number(rows, 1);
}

static void fill_running_events(struct session *session, const char *database, struct reply *rows)
{
    (void)database;
    if (!statement_check_server_state(session, rows) || !session->model->group_count)
        return;
    reply_value(rows, "AlwaysOn_health");
}

#define COLUMNS(columns) columns, ARRAY_LEN(columns)

static const struct view views[] = {
    {"sys.server_principals", COLUMNS(principal_columns), fill_principals},
    {"sys.sql_logins", COLUMNS(principal_columns), fill_sql_logins},
    {"sys.database_principals", COLUMNS(user_columns), fill_users},
    {"sys.dm_exec_sessions", COLUMNS(session_columns), fill_sessions},
    {"sys.dm_exec_connections", COLUMNS(connection_columns), fill_connections},
    {"sys.configurations", COLUMNS(configuration_columns), fill_configurations},
    {"master.sys.asymmetric_keys", COLUMNS(name_columns), fill_asymmetric_keys},
    {"sys.trusted_assemblies", COLUMNS(assembly_columns), fill_assemblies},
    {"sys.server_event_sessions", COLUMNS(event_columns), fill_event_sessions},
    {"sys.dm_xe_sessions", COLUMNS(name_columns), fill_running_events},
};

const struct view *views_server(size_t index)
{
    return index < ARRAY_LEN(views) ? &views[index] : NULL;
}
