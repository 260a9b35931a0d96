/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/certificate.h"
#include "tests/sqlsim/model_view.h"
#include "tests/sqlsim/statements.h"
#include "tests/sqlsim/version.h"

#include <strings.h>

/*
 * GRANT, REVOKE and ALTER ROLE ... MEMBER of the rights that the model knows (sql-docs, pages of
 * these statements): of a login on its instance, of a user in its database.
 */
static const struct {
    const char *pattern;
    unsigned right;
    bool is_given;
    size_t name; /* which value names the principal; the one before it, if any, the object */
} rows[] = {
    {"GRANT VIEW SERVER STATE TO $name", RIGHT_VIEW_SERVER_STATE, true, 0},
    {"REVOKE VIEW SERVER STATE FROM $name", RIGHT_VIEW_SERVER_STATE, false, 0},
    {"GRANT VIEW SERVER PERFORMANCE STATE TO $name", RIGHT_VIEW_SERVER_PERFORMANCE_STATE, true, 0},
    {"REVOKE VIEW SERVER PERFORMANCE STATE FROM $name", RIGHT_VIEW_SERVER_PERFORMANCE_STATE, false,
     0},
    {"GRANT VIEW ANY DEFINITION TO $name", RIGHT_VIEW_ANY_DEFINITION, true, 0},
    {"REVOKE VIEW ANY DEFINITION FROM $name", RIGHT_VIEW_ANY_DEFINITION, false, 0},
    {"GRANT CONNECT TO $name", RIGHT_CONNECT, true, 0},
    {"REVOKE CONNECT FROM $name", RIGHT_CONNECT, false, 0},
    {"GRANT CONTROL ON DATABASE::$name TO $name", RIGHT_CONTROL_DATABASE, true, 1},
    {"REVOKE CONTROL ON DATABASE::$name FROM $name", RIGHT_CONTROL_DATABASE, false, 1},
    {"GRANT CONTROL ON CERTIFICATE::$name TO $name", RIGHT_CONTROL_CERTIFICATE, true, 1},
    {"REVOKE CONTROL ON CERTIFICATE::$name FROM $name", RIGHT_CONTROL_CERTIFICATE, false, 1},
    {"ALTER ROLE [ssis_failover_monitoring_agent] ADD MEMBER $name", RIGHT_SSIS_ADMIN, true, 0},
    {"ALTER ROLE [ssis_failover_monitoring_agent] DROP MEMBER $name", RIGHT_SSIS_ADMIN, false, 0},
};

static unsigned *rights_of_login(const struct session *session, const char *name)
{
    struct login *login = logins_find(session_logins(session), name);

    return login ? &login->rights : NULL;
}

static unsigned *rights_of_user(const struct session *session, const char *name)
{
    struct model_database *database = session->database;
    struct user *user =
        database
            ? users_find(&model_content(session->model, database, session->instance)->users, name)
            : NULL;

    return user ? &user->rights : NULL;
}

/* 1.6: a user and what it may lie in the database; a login of a contained group in its master. */
static const char *find_read_only(const struct session *session, bool is_of_user)
{
    const struct model_database *database =
        session->contained ? session->contained->contained_master : NULL;

    if (is_of_user)
        database = session->database;
    return !database || model_view_is_writable(session->model, database, session->instance)
               ? NULL
               : database->name;
}

/* Whether the session may, here and now; else the reply has the error. */
static bool may_change(struct session *session, unsigned right, const char *object,
                       struct reply *reply)
{
    const char *version = session->model->instances[session->instance].version;

    if (right == RIGHT_VIEW_SERVER_PERFORMANCE_STATE &&
        !version_find(version)->has_performance_state) {
        reply_message(reply, 102, "PERFORMANCE", NULL);
        return false;
    }
    if (!(right & RIGHTS_OF_USER) && session->database) {
        reply_message(reply, 4621, NULL, NULL);
        return false;
    }
    if (!(session_rights(session) & RIGHT_SYSADMIN) ||
        (right == RIGHT_CONTROL_CERTIFICATE && !certificate_is_seen(session, object)) ||
        (right == RIGHT_CONTROL_DATABASE &&
         strcasecmp(object, session_database_name(session)) != 0)) {
        reply_message(reply, 15151, "find the object", object);
        return false;
    }
    return true;
}

static void change(struct session *session, size_t row, const struct lexer_parameters *parameters,
                   struct reply *reply)
{
    const unsigned right = rows[row].right;
    const bool is_of_user = right & RIGHTS_OF_USER;
    const char *name = parameters->values[rows[row].name];
    const char *read_only = find_read_only(session, is_of_user);
    unsigned *rights = is_of_user ? rights_of_user(session, name) : rights_of_login(session, name);

    if (!may_change(session, right, rows[row].name ? parameters->values[0] : "", reply))
        return;
    if (read_only)
        reply_message(reply, 3906, read_only, NULL);
    else if (!rights)
        reply_message(reply, 15151, is_of_user ? "find the user" : "find the login", name);
    else
        *rights = rows[row].is_given ? *rights | right : *rights & ~right;
}

bool statements_run_grant(struct session *session, const char *text, struct reply *reply)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lexer_parameters parameters = {0};

        if (!lexer_match(rows[i].pattern, text, &parameters))
            continue;
        change(session, i, &parameters, reply);
        lexer_parameters_deinit(&parameters);
        return true;
    }
    return false;
}
