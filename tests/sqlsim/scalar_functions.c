/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "libescrow/encode.h"
#include "tests/sqlsim/certificate.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/model_view.h"
#include "tests/sqlsim/scalar.h"
#include "tests/sqlsim/transaction.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define STARTUP_PROCEDURE_ID 1001

/* A number that stands for a name. */
static int64_t principal_id(const char *name)
{
    struct sid sid = sid_of_name(name);

    return 256 + sid.bytes[0];
}

static void set_text(struct scalar *value, const char *text)
{
    value->text = text ? memory_copy(text) : NULL;
}

static void set_number(struct scalar *value, int64_t number)
{
    value->text = memory_format("%lld", (long long)number);
    value->type = REPLY_INT;
}

static const struct model_instance *here(const struct session *session)
{
    return &session->model->instances[session->instance];
}

/* @@VERSION and the like. */
#define VALUE(function)                                                                            \
    static void function(struct session *session, const struct scalar *arguments, size_t count,    \
                         struct reply *reply, struct scalar *ret_value)

VALUE(server_name)
{
    (void)arguments, (void)count, (void)reply;
    set_text(ret_value, here(session)->server_name);
}

VALUE(banner)
{
    (void)arguments, (void)count, (void)reply;
    ret_value->text = version_banner(here(session)->version, here(session)->platform);
}

VALUE(language)
{
    (void)arguments, (void)count, (void)reply;
    set_text(ret_value, session->model->switches.language == SWITCH_LANGUAGE_ENGLISH ? "us_english"
                                                                                     : "Deutsch");
}

/* Every instance runs in UTC; its clock may be off. */
static void set_time(const struct session *session, enum reply_type type, struct scalar *ret_value)
{
    struct timespec now;
    struct tm tm;
    int64_t ms;
    char text[24];

    clock_gettime(CLOCK_REALTIME, &now);
    ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + here(session)->clock_ms;
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", gmtime_r(&(time_t){ms / 1000}, &tm));
    ret_value->text = memory_format("%s.%03d0000", text, (int)(ms % 1000));
    ret_value->type = type;
}

VALUE(system_time)
{
    (void)arguments, (void)count, (void)reply;
    set_time(session, REPLY_DATETIME2, ret_value);
}

VALUE(date)
{
    (void)arguments, (void)count, (void)reply;
    set_time(session, REPLY_DATETIME, ret_value);
}

VALUE(transaction_count)
{
    (void)arguments, (void)count, (void)reply;
    set_number(ret_value, (int64_t)transaction_depth(session));
}

VALUE(session_id)
{
    (void)arguments, (void)count, (void)reply;
    set_number(ret_value, session->id);
}

VALUE(login_name)
{
    (void)arguments, (void)count, (void)reply;
    set_text(ret_value, session->login_name);
}

VALUE(database_name)
{
    (void)arguments, (void)count, (void)reply;
    set_text(ret_value, session_database_name(session));
}

VALUE(database_id)
{
    const struct model_database *database = session->database;

    (void)reply;
    if (count)
        database = arguments[0].text ? session_find_database(session, arguments[0].text) : NULL;
    if (database)
        set_number(ret_value, session_database_id(session, database));
    else if (!count || (arguments[0].text && strcasecmp(arguments[0].text, "master") == 0))
        set_number(ret_value, 1);
}

/* sql-docs, SERVERPROPERTY: NULL for a name that it does not know. */
VALUE(server_property)
{
    const struct model_instance *instance = here(session);
    const char *name = arguments[0].text ? arguments[0].text : "";
    const struct {
        const char *name, *text;
        int64_t number;
    } properties[] = {
        {"ProductVersion", instance->version, 0},
        {"ServerName", instance->server_name, 0},
        {"MachineName", instance->name, 0},
        {"Edition", "Enterprise Edition (64-bit)", 0},
        {"Collation", "SQL_Latin1_General_CP1_CI_AS", 0},
        {"EngineEdition", NULL, 3},
        {"ProductMajorVersion", NULL, version_find(instance->version)->major},
        {"IsHadrEnabled", NULL, session->model->group_count > 0},
        {"HadrManagerStatus", NULL, 1},
        {"IsClustered", NULL, 0},
        {"IsSingleUser", NULL, instance->is_single_user},
        {"IsIntegratedSecurityOnly", NULL, 0},
    };

    (void)count, (void)reply;
    for (size_t i = 0; i < ARRAY_LEN(properties); i++) {
        if (strcasecmp(properties[i].name, name) != 0)
            continue;
        if (properties[i].text)
            set_text(ret_value, properties[i].text);
        else
            set_number(ret_value, properties[i].number);
    }
}

/* sql-docs, DATABASEPROPERTYEX; of a database in no group nothing is ever wrong here. */
VALUE(database_property)
{
    static const char *const states[] = {"ONLINE", "RESTORING", "RECOVERING", "RECOVERY_PENDING"};
    const struct model_database *database =
        arguments[0].text ? session_find_database(session, arguments[0].text) : NULL;
    const char *name = arguments[1].text ? arguments[1].text : "";
    const char *updateability = "READ_WRITE";
    int state = 0;

    (void)count, (void)reply;
    if (!database)
        return;
    if (database->group) {
        struct model_view view = model_view(session->model, database->group, session->instance);

        updateability = view.updateability;
        state = view.database_state;
    }
    if (strcasecmp(name, "Updateability") == 0)
        set_text(ret_value, updateability);
    else if (strcasecmp(name, "Status") == 0)
        set_text(ret_value, states[state]);
}

static bool has_server_right(const struct session *session, const char *permission)
{
    unsigned rights = session_rights(session), right;

    return principal_right_parse(permission, &right) == ESCROW_OK && !(right & RIGHTS_OF_USER) &&
           rights & right;
}

static bool has_database_right(const struct session *session, struct model_database *database,
                               const char *permission)
{
    unsigned rights = session_rights_in(session, database);

    if (strcasecmp(permission, "CONTROL") == 0)
        return rights & RIGHT_CONTROL_DATABASE;
    return rights & RIGHT_CONTROL_DATABASE ||
           (strcasecmp(permission, "CONNECT") == 0 && rights & RIGHT_CONNECT);
}

static bool is_server_permission(const struct session *session, const char *permission)
{
    static const char *const names[] = {"VIEW SERVER STATE", "VIEW ANY DEFINITION",
                                        "CONTROL SERVER"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcasecmp(names[i], permission) == 0)
            return true;
    }
    /* 6, D2: NULL before 2022 */
    return strcasecmp(permission, "VIEW SERVER PERFORMANCE STATE") == 0 &&
           version_find(here(session)->version)->has_performance_state;
}

/* sql-docs, HAS_PERMS_BY_NAME: NULL for a permission or class that there is not. */
VALUE(has_permission)
{
    const char *securable = arguments[0].text, *class = arguments[1].text;
    const char *permission = arguments[2].text ? arguments[2].text : "";
    bool is_administrator = session_rights(session) & RIGHT_SYSADMIN;

    (void)count, (void)reply;
    ret_value->type = REPLY_INT; /* as a NULL too */
    if (!securable && (!class || strcasecmp(class, "SERVER") == 0)) {
        if (is_server_permission(session, permission))
            set_number(ret_value, is_administrator || has_server_right(session, permission));
    } else if (securable && class && strcasecmp(class, "DATABASE") == 0) {
        struct model_database *database = session_find_database(session, securable);

        set_number(ret_value, database && has_database_right(session, database, permission));
    } else if (securable && class && strcasecmp(class, "CERTIFICATE") == 0) {
        set_number(ret_value, certificate_is_seen(session, securable));
    }
}

VALUE(is_server_role_member)
{
    const char *role = arguments[0].text ? arguments[0].text : "";

    (void)count, (void)reply;
    ret_value->type = REPLY_INT; /* as a NULL too */
    if (strcasecmp(role, "sysadmin") == 0)
        set_number(ret_value, (session_rights(session) & RIGHT_SYSADMIN) != 0);
    else if (strcasecmp(role, "public") == 0)
        set_number(ret_value, 1);
}

VALUE(is_role_member)
{
    const char *role = arguments[0].text ? arguments[0].text : "";
    unsigned rights = session->database ? session_rights(session) : 0;

    (void)count, (void)reply;
    ret_value->type = REPLY_INT; /* as a NULL too */
    if (strcasecmp(role, "db_owner") == 0)
        set_number(ret_value, (rights & RIGHT_SYSADMIN) != 0);
    else if (strcasecmp(role, "ssis_admin") == 0 ||
             strcasecmp(role, "ssis_failover_monitoring_agent") == 0)
        set_number(ret_value, (rights & RIGHT_SSIS_ADMIN) != 0);
}

/* The name stands for the number, so that SIGNBYCERT finds it again. */
VALUE(certificate_id)
{
    const char *name = arguments[0].text;

    (void)count, (void)reply;
    if (name && certificate_is_seen(session, name))
        set_text(ret_value, name);
}

VALUE(sign_by_certificate)
{
    const char *name = arguments[0].text;

    (void)count;
    if (!name || !certificate_signs(session, name, reply))
        return;
    ret_value->text = memory_new(CERTIFICATE_SIGNATURE_BYTES + 1);
    memset(ret_value->text, 's', CERTIFICATE_SIGNATURE_BYTES);
}

VALUE(data_length)
{
    (void)session, (void)count, (void)reply;
    ret_value->type = REPLY_INT; /* as a NULL too */
    if (arguments[0].text)
        set_number(ret_value, (int64_t)strlen(arguments[0].text));
}

/* The login of that name here; a sysadmin or who may see them, else only its own. */
static const struct login *seen_login(const struct session *session, const char *name)
{
    const struct login *login = name ? logins_find(session_logins(session), name) : NULL;

    return login && (session_rights(session) & RIGHT_VIEW_ANY_DEFINITION ||
                     sid_equals(&login->sid, &session->login_sid))
               ? login
               : NULL;
}

VALUE(login_id)
{
    const struct login *login = seen_login(session, arguments[0].text);

    (void)count, (void)reply;
    ret_value->type = REPLY_INT; /* as a NULL too */
    if (login)
        set_number(ret_value, principal_id(login->name));
}

VALUE(login_sid)
{
    const struct login *login = seen_login(session, arguments[0].text);
    char hex[2 * PRINCIPAL_SID_MAX + 1];

    (void)count, (void)reply;
    ret_value->type = REPLY_BINARY; /* as a NULL too */
    if (!login)
        return;
    hex_encode(login->sid.bytes, login->sid.len, hex);
    set_text(ret_value, hex);
}

/* The roles of the catalog are in every database here that is called SSISDB. */
VALUE(user_id)
{
    static const char *const roles[] = {"ssis_admin", "ssis_failover_monitoring_agent"};
    const char *name = arguments[0].text ? arguments[0].text : "";
    struct model_database *database = session->database;
    bool is_there = false;

    (void)count, (void)reply;
    ret_value->type = REPLY_INT; /* as a NULL too */
    if (!database)
        return;
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        is_there |= model_is_name(database->name, "SSISDB") && strcasecmp(roles[i], name) == 0;
    if (is_there ||
        users_find(&model_content(session->model, database, session->instance)->users, name))
        set_number(ret_value, principal_id(name));
}

/* 6: the procedure of master that every replica with a catalog has; no other object is known. */
VALUE(object_id)
{
    const char *name = arguments[0].text ? arguments[0].text : "";

    (void)session, (void)count, (void)reply;
    ret_value->type = REPLY_INT; /* as a NULL too */
    if (strcasecmp(name, "master.dbo.sp_ssis_startup") == 0)
        set_number(ret_value, STARTUP_PROCEDURE_ID);
}

VALUE(object_property)
{
    const char *name = arguments[1].text ? arguments[1].text : "";

    (void)session, (void)count, (void)reply;
    ret_value->type = REPLY_INT; /* as a NULL too */
    if (arguments[0].text && strcasecmp(name, "ExecIsStartup") == 0)
        set_number(ret_value, 1);
}

VALUE(is_primary_replica)
{
    const struct model_database *database =
        arguments[0].text ? session_find_database(session, arguments[0].text) : NULL;

    (void)count, (void)reply;
    if (database && database->group)
        set_number(ret_value,
                   model_view(session->model, database->group, session->instance).role == 1);
    ret_value->type = REPLY_BIT; /* as a NULL too */
}

static const struct {
    const char *name;
    size_t least, most;
    scalar_fn function;
} functions[] = {
    {"@@SERVERNAME", 0, 0, server_name},
    {"@@VERSION", 0, 0, banner},
    {"@@LANGUAGE", 0, 0, language},
    {"@@TRANCOUNT", 0, 0, transaction_count},
    {"@@SPID", 0, 0, session_id},
    {"ORIGINAL_LOGIN", 0, 0, login_name},
    {"SUSER_ID", 1, 1, login_id},
    {"SUSER_SID", 1, 1, login_sid},
    {"DATABASE_PRINCIPAL_ID", 1, 1, user_id},
    {"OBJECT_ID", 1, 1, object_id},
    {"OBJECTPROPERTY", 2, 2, object_property},
    {"SUSER_SNAME", 0, 0, login_name},
    {"DB_NAME", 0, 0, database_name},
    {"DB_ID", 0, 1, database_id},
    {"SERVERPROPERTY", 1, 1, server_property},
    {"DATABASEPROPERTYEX", 2, 2, database_property},
    {"HAS_PERMS_BY_NAME", 3, 3, has_permission},
    {"IS_SRVROLEMEMBER", 1, 1, is_server_role_member},
    {"SYSUTCDATETIME", 0, 0, system_time},
    {"SYSDATETIME", 0, 0, system_time},
    {"GETUTCDATE", 0, 0, date},
    {"GETDATE", 0, 0, date},
    {"IS_MEMBER", 1, 1, is_role_member},
    {"IS_ROLEMEMBER", 1, 1, is_role_member},
    {"CERT_ID", 1, 1, certificate_id},
    {"SIGNBYCERT", 2, 2, sign_by_certificate},
    {"DATALENGTH", 1, 1, data_length},
    {"sys.fn_hadr_is_primary_replica", 1, 1, is_primary_replica},
};

scalar_fn scalar_function(const char *name, size_t argument_count)
{
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        if (strcasecmp(functions[i].name, name) == 0 && argument_count >= functions[i].least &&
            argument_count <= functions[i].most)
            return functions[i].function;
    }
    return NULL;
}
