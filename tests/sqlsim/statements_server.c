/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/procedure.h"
#include "tests/sqlsim/statements.h"
#include "tests/sqlsim/transaction.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* "KILL": a session cannot end itself (6104); of another that there is not, 6106. */
void statement_kill(struct session *session, const struct lexer_parameters *parameters,
                    struct reply *reply)
{
    long id = strtol(parameters->values[0], NULL, 10);
    struct session *other;

    if (!(session_rights(session) & RIGHT_SYSADMIN)) {
        reply_message(reply, 6102, NULL, NULL);
        return;
    }
    if (id == session->id) {
        reply_message(reply, 6104, NULL, NULL);
        return;
    }
    LIST_FOREACH(other, &session->model->instances[session->instance].sessions, entry)
    {
        if (other->id == id && !other->is_killed) {
            session_kill(other);
            return;
        }
    }
    reply_message(reply, 6106, parameters->values[0], NULL);
}

void statement_begin(struct session *session, const struct lexer_parameters *parameters,
                     struct reply *reply)
{
    (void)parameters;
    (void)reply;
    transaction_begin(session);
}

void statement_commit(struct session *session, const struct lexer_parameters *parameters,
                      struct reply *reply)
{
    int32_t number = transaction_commit(session);

    (void)parameters;
    if (number)
        reply_message(reply, number, NULL, NULL);
}

void statement_rollback(struct session *session, const struct lexer_parameters *parameters,
                        struct reply *reply)
{
    (void)parameters;
    if (transaction_depth(session))
        transaction_rollback(session);
    else
        reply_message(reply, 3903, NULL, NULL);
}

/* The return code of sp_getapplock or sp_releaseapplock with these arguments. */
static int run_applock(struct session *session, bool is_get, const char *arguments)
{
    enum { RESOURCE, MODE, OWNER, TIMEOUT, PRINCIPAL, COUNT };
    static const char *const get_names[COUNT] = {"@Resource", "@LockMode", "@LockOwner",
                                                 "@LockTimeout", "@DbPrincipal"};
    static const char *const release_names[] = {"@Resource", "@LockOwner", "@DbPrincipal"};
    struct applocks *locks = &session->model->instances[session->instance].applocks;
    char *values[COUNT] = {NULL};
    size_t count = is_get ? COUNT : ARRAY_LEN(release_names);
    bool is_read =
        procedure_arguments(arguments, is_get ? get_names : release_names, count, values);
    const char *owner = values[is_get ? OWNER : 1];
    struct applock_request request = {
        .session = session->id,
        .database =
            session->database ? 1 + model_database_index(session->model, session->database) : 0,
        .resource = values[RESOURCE],
        .is_of_transaction = !owner || strcasecmp(owner, "Transaction") == 0,
    };
    bool is_valid = is_read && request.resource &&
                    (request.is_of_transaction ? transaction_depth(session) > 0
                                               : strcasecmp(owner, "Session") == 0);
    enum applock_mode mode;
    int code = APPLOCK_INVALID;

    if (is_valid && !is_get)
        code = applocks_release(locks, &request);
    else if (is_valid && values[MODE] && applock_mode_parse(values[MODE], &mode))
        code = applocks_get(locks, &request, mode);
    procedure_arguments_free(values, COUNT);
    return code;
}

void statement_get_applock(struct session *session, const struct lexer_parameters *parameters,
                           struct reply *reply)
{
    (void)reply;
    (void)run_applock(session, true, parameters->values[0]);
}

void statement_release_applock(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply)
{
    (void)reply;
    (void)run_applock(session, false, parameters->values[0]);
}

/* DECLARE @r int; EXEC @r = procedure ...; SELECT @r [AS name]: one variable, its values first. */
static void select_code(struct session *session, const struct lexer_parameters *parameters,
                        bool is_get, struct reply *reply)
{
    char *const *values = parameters->values;
    int code;

    if (strcasecmp(values[0], values[1]) != 0 || strcasecmp(values[0], values[3]) != 0) {
        reply_message(reply, 137, values[3], NULL);
        return;
    }
    code = run_applock(session, is_get, values[2]);
    reply_add_column(reply, parameters->count > 4 ? values[4] : "", REPLY_INT);
    reply_number(reply, code);
}

void statement_select_get_applock(struct session *session,
                                  const struct lexer_parameters *parameters, struct reply *reply)
{
    select_code(session, parameters, true, reply);
}

void statement_select_release_applock(struct session *session,
                                      const struct lexer_parameters *parameters,
                                      struct reply *reply)
{
    select_code(session, parameters, false, reply);
}

/* 1.2: the page of the procedure asks for CONTROL, users report that only sysadmin will do. */
static bool may_store_password(const struct session *session, struct model_database *database)
{
    unsigned rights = session_rights_in(session, database);

    return session->model->switches.credential_right == SWITCH_CREDENTIAL_SYSADMIN
               ? rights & RIGHT_SYSADMIN
               : rights & RIGHT_CONTROL_DATABASE;
}

static bool is_system(const char *database)
{
    static const char *const names[] = {"master", "model", "msdb", "tempdb"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcasecmp(names[i], database) == 0)
            return true;
    }
    return false;
}

/* 5.1: neither that there is a key, nor that the password opens it, is looked at. */
static int32_t store_password(struct session *session, char *const *values)
{
    struct credentials *credentials = &session->model->instances[session->instance].credentials;
    struct model_database *database;

    if (is_system(values[0]))
        return 15276;
    database = session_find_database(session, values[0]);
    if (!database)
        return 911;
    if (!may_store_password(session, database))
        return 15247;
    if (strcasecmp(values[2], "add") == 0)
        return credentials_add(credentials, database->family, values[1]);
    if (strcasecmp(values[2], "drop") == 0)
        return credentials_drop(credentials, database->family, values[1]);
    return 102;
}

void statement_control_password(struct session *session, const struct lexer_parameters *parameters,
                                struct reply *reply)
{
    static const char *const names[] = {"@db_name", "@password", "@action"};
    char *values[ARRAY_LEN(names)] = {NULL};
    int32_t number = 102;

    if (procedure_arguments(parameters->values[0], names, ARRAY_LEN(names), values) && values[1] &&
        values[2])
        number = store_password(session, values);
    if (number)
        reply_message(reply, number, number == 102 ? "@action" : values[0], NULL);
    procedure_arguments_free(values, ARRAY_LEN(names));
}

/* Whatever the old SMK wrapped on this instance and can be written here is wrapped by the new. */
static void rewrap(struct session *session, const char *before)
{
    struct model *model = session->model;

    for (size_t i = 0; i < model->database_count; i++) {
        struct model_database *database = &model->databases[i];

        if (model_has_database(database, session->instance) &&
            master_key_wrapped_by(&model_content(model, database, session->instance)->key, before))
            model_set_initial_owner(model, database, session->instance);
    }
}

static void regenerate(struct session *session, bool is_forced, struct reply *reply)
{
    struct model_instance *here = &session->model->instances[session->instance];
    CLEANUP(cleanup_free) char *before = NULL;

    if (!(session_rights(session) & RIGHT_SYSADMIN)) {
        reply_message(reply, 15247, NULL, NULL);
        return;
    }
    if (here->has_lost_service_key && !is_forced) {
        reply_message(reply, 15329, NULL, NULL);
        return;
    }
    before = here->service_key;
    here->service_key = memory_format("%s+%u", here->name, ++session->model->key_generations);
    if (here->has_lost_service_key)
        credentials_deinit(&here->credentials); /* their secrets were under it */
    else
        rewrap(session, before);
    here->has_lost_service_key = false;
}

void statement_regenerate_service_key(struct session *session,
                                      const struct lexer_parameters *parameters,
                                      struct reply *reply)
{
    (void)parameters;
    regenerate(session, false, reply);
}

void statement_force_regenerate_service_key(struct session *session,
                                            const struct lexer_parameters *parameters,
                                            struct reply *reply)
{
    (void)parameters;
    regenerate(session, true, reply);
}
