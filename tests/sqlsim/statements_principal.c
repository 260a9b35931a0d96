/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "libescrow/encode.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/model_view.h"
#include "tests/sqlsim/statements.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/*
 * Logins, which stay on their instance (or in the master of a contained group), and users, which go
 * with their database: CREATE, ALTER and DROP of both (sql-docs, pages of these statements; the
 * orphaned user, "troubleshoot-orphaned-users-sql-server").
 */

/* Of a login: ALTER ANY LOGIN, which only sysadmin has here, and where it is kept, writable. */
static bool may_change_logins(const struct session *session, struct reply *reply)
{
    const struct model_group *context = session->contained;

    if (!(session_rights(session) & RIGHT_SYSADMIN)) {
        reply_message(reply, 15247, NULL, NULL);
        return false;
    }
    if (context &&
        !model_view_is_writable(session->model, context->contained_master, session->instance)) {
        reply_message(reply, 3906, "master", NULL);
        return false;
    }
    if (context)
        model_log(session->model, context->contained_master, session->instance);
    return true;
}

/* What WITH says of a new login. */
struct login_options {
    char *password;
    struct sid sid; /* empty: the server chooses one */
    bool must_change;
};

static void login_options_deinit(struct login_options *options)
{
    free(options->password);
}

static bool read_sid(const struct lexer_token *token, struct sid *ret_sid)
{
    CLEANUP(cleanup_free) char *hex = lexer_value(token);

    for (char *at = hex; *at; at++)
        *at = (char)tolower((unsigned char)*at);
    ret_sid->len = strlen(hex) / 2;
    return token->kind == LEXER_BINARY && ret_sid->len && ret_sid->len <= PRINCIPAL_SID_MAX &&
           hex_decode(hex, ret_sid->bytes, ret_sid->len) == ESCROW_OK;
}

/* NAME = VALUE; of the names that do not matter here the value may be any word. */
static bool read_option(const char **at, struct login_options *options)
{
    static const char *const others[] = {"DEFAULT_DATABASE", "DEFAULT_LANGUAGE", "CHECK_EXPIRATION",
                                         "CHECK_POLICY"};
    struct lexer_token name = lexer_next(at), equal = lexer_next(at), value = lexer_next(at);

    if (!lexer_is(&equal, "="))
        return false;
    if (lexer_is(&name, "SID"))
        return read_sid(&value, &options->sid);
    if (lexer_is(&name, "PASSWORD") && value.kind == LEXER_TEXT && !options->password) {
        options->password = lexer_value(&value);
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (lexer_is(&name, others[i]))
            return value.kind == LEXER_WORD || value.kind == LEXER_NAME;
    }
    return false;
}

static bool read_options(const char *text, struct login_options *options)
{
    for (;;) {
        const char *at;
        struct lexer_token token;

        if (!read_option(&text, options))
            return false;
        at = text;
        token = lexer_next(&at);
        if (lexer_is(&token, "MUST_CHANGE")) {
            options->must_change = true;
            token = lexer_next(&at);
        }
        if (token.kind == LEXER_END)
            return true;
        if (!lexer_is(&token, ","))
            return false;
        text = at;
    }
}

/* One that no other login of any instance has: that is how users become orphans (7). */
static struct sid new_sid(struct model *model)
{
    CLEANUP(cleanup_free) char *unique = memory_format("login %u", ++model->next_id);

    return sid_of_name(unique);
}

static void create_login(struct session *session, const char *name,
                         const struct login_options *options, struct reply *reply)
{
    struct logins *logins = session_logins(session);
    struct sid sid = options->sid;
    struct login *login;

    if (!may_change_logins(session, reply))
        return;
    if (!sid.len)
        sid = options->password ? new_sid(session->model) : sid_of_name(name);
    if (logins_find(logins, name)) {
        reply_message(reply, 15025, name, NULL);
        return;
    }
    if (logins_find_sid(logins, &sid)) {
        reply_message(reply, 15433, NULL, NULL);
        return;
    }
    login = logins_add(logins, name);
    login->password = options->password ? memory_copy(options->password) : NULL;
    login->sid = sid;
    login->must_change = options->must_change;
}

static void statement_create_login(struct session *session,
                                   const struct lexer_parameters *parameters, struct reply *reply)
{
    CLEANUP(login_options_deinit) struct login_options options = {0};

    if (!read_options(parameters->values[1], &options) || !options.password)
        reply_message(reply, 102, "WITH", NULL);
    else
        create_login(session, parameters->values[0], &options, reply);
}

/* Its SID is the domain's, so the same everywhere. */
static void statement_create_windows_login(struct session *session,
                                           const struct lexer_parameters *parameters,
                                           struct reply *reply)
{
    const struct login_options options = {0};

    create_login(session, parameters->values[0], &options, reply);
}

static struct login *find_login(struct session *session, const char *verb, const char *name,
                                struct reply *reply)
{
    struct login *login;

    if (!may_change_logins(session, reply))
        return NULL;
    login = logins_find(session_logins(session), name);
    if (!login)
        reply_message(reply, 15151, verb, name);
    return login;
}

static bool has_session(const struct session *session, const struct login *login)
{
    const struct session *other =
        LIST_FIRST(&session->model->instances[session->instance].sessions);

    for (; other; other = LIST_NEXT(other, entry)) {
        if (other->contained == session->contained && sid_equals(&other->login_sid, &login->sid))
            return true;
    }
    return false;
}

static void statement_drop_login(struct session *session, const struct lexer_parameters *parameters,
                                 struct reply *reply)
{
    const char *name = parameters->values[0];
    struct login *login = find_login(session, "drop the login", name, reply);

    if (login && has_session(session, login))
        reply_message(reply, 15434, name, NULL);
    else if (login)
        logins_remove(session_logins(session), login);
}

static void set_disabled(struct session *session, const struct lexer_parameters *parameters,
                         bool is_disabled, struct reply *reply)
{
    struct login *login = find_login(session, "alter the login", parameters->values[0], reply);

    if (login)
        login->is_disabled = is_disabled;
}

static void statement_disable_login(struct session *session,
                                    const struct lexer_parameters *parameters, struct reply *reply)
{
    set_disabled(session, parameters, true, reply);
}

static void statement_enable_login(struct session *session,
                                   const struct lexer_parameters *parameters, struct reply *reply)
{
    set_disabled(session, parameters, false, reply);
}

/* Of a user: in this database, with CONTROL, and where it can be written. */
static struct users *find_users(struct session *session, struct reply *reply)
{
    if (session_check_database(session, session->database, reply))
        return NULL;
    if (!session->database || !(session_rights(session) & RIGHT_CONTROL_DATABASE)) {
        reply_message(reply, 15247, NULL, NULL);
        return NULL;
    }
    if (!model_view_is_writable(session->model, session->database, session->instance)) {
        reply_message(reply, 3906, session->database->name, NULL);
        return NULL;
    }
    model_log(session->model, session->database, session->instance);
    return &model_content(session->model, session->database, session->instance)->users;
}

/* The login that a user is to belong to; or NULL and the error. */
static const struct login *find_free_login(struct session *session, const struct users *users,
                                           const char *name, struct reply *reply)
{
    const struct login *login = logins_find(session_logins(session), name);

    if (!login)
        reply_message(reply, 15007, name, NULL);
    else if (users_find_sid(users, &login->sid))
        reply_message(reply, 15063, NULL, NULL);
    else
        return login;
    return NULL;
}

static void statement_create_user(struct session *session,
                                  const struct lexer_parameters *parameters, struct reply *reply)
{
    const char *name = parameters->values[0];
    const char *login_name = parameters->values[parameters->count - 1];
    struct users *users = find_users(session, reply);
    const struct login *login;
    struct user *user;

    if (!users)
        return;
    if (users_find(users, name)) {
        reply_message(reply, 15023, name, NULL);
        return;
    }
    login = find_free_login(session, users, login_name, reply);
    if (!login)
        return;
    user = users_add(users, name);
    user->sid = login->sid;
    user->rights = RIGHT_CONNECT; /* "CREATE USER": granted with it */
}

static void statement_create_loginless_user(struct session *session,
                                            const struct lexer_parameters *parameters,
                                            struct reply *reply)
{
    struct users *users = find_users(session, reply);

    if (!users)
        return;
    if (users_find(users, parameters->values[0]))
        reply_message(reply, 15023, parameters->values[0], NULL);
    else
        users_add(users, parameters->values[0])->sid = new_sid(session->model);
}

static void statement_map_user(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply)
{
    struct users *users = find_users(session, reply);
    struct user *user = users ? users_find(users, parameters->values[0]) : NULL;
    const struct login *login;

    if (!users)
        return;
    if (!user) {
        reply_message(reply, 15151, "alter the user", parameters->values[0]);
        return;
    }
    login = find_free_login(session, users, parameters->values[1], reply);
    if (login)
        user->sid = login->sid;
}

static void statement_drop_user(struct session *session, const struct lexer_parameters *parameters,
                                struct reply *reply)
{
    struct users *users = find_users(session, reply);
    struct user *user = users ? users_find(users, parameters->values[0]) : NULL;

    if (user)
        users_remove(users, user);
    else if (users)
        reply_message(reply, 15151, "drop the user", parameters->values[0]);
}

static const struct {
    const char *pattern;
    statement_fn run;
} rows[] = {
    {"CREATE LOGIN $name WITH $arguments", statement_create_login},
    {"CREATE LOGIN $name FROM WINDOWS", statement_create_windows_login},
    {"CREATE LOGIN $name FROM WINDOWS WITH DEFAULT_DATABASE = $name",
     statement_create_windows_login},
    {"ALTER LOGIN $name DISABLE", statement_disable_login},
    {"ALTER LOGIN $name ENABLE", statement_enable_login},
    {"DROP LOGIN $name", statement_drop_login},
    {"CREATE USER $name FOR LOGIN $name", statement_create_user},
    {"CREATE USER $name", statement_create_user},
    {"CREATE USER $name WITHOUT LOGIN", statement_create_loginless_user},
    {"ALTER USER $name WITH LOGIN = $name", statement_map_user},
    {"DROP USER $name", statement_drop_user},
};

bool statements_run_principal(struct session *session, const char *text, struct reply *reply)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lexer_parameters parameters = {0};

        if (!lexer_match(rows[i].pattern, text, &parameters))
            continue;
        rows[i].run(session, &parameters, reply);
        lexer_parameters_deinit(&parameters);
        return true;
    }
    return false;
}
