/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/session.h"

#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/model_view.h"
#include "tests/sqlsim/transaction.h"

#include <openssl/crypto.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FIRST_DATABASE_ID 5 /* after master, tempdb, model, msdb */

/* Of a contained group: what its master holds here. */
static struct logins *logins_of(struct model *model, size_t instance,
                                const struct model_group *context)
{
    return context ? &model_content(model, context->contained_master, instance)->logins
                   : &model->instances[instance].logins;
}

struct logins *session_logins(const struct session *session)
{
    return logins_of(session->model, session->instance, session->contained);
}

unsigned session_rights_in(const struct session *session, struct model_database *database)
{
    const struct login *login = logins_find_sid(session_logins(session), &session->login_sid);
    const struct user *user = NULL;

    if (login && login->rights & RIGHT_SYSADMIN)
        return ~0U;
    if (database)
        user = users_find_sid(&model_content(session->model, database, session->instance)->users,
                              &session->login_sid);
    return (login ? login->rights : 0) | (user ? user->rights : 0);
}

unsigned session_rights(const struct session *session)
{
    return session_rights_in(session, session->database);
}

const char *session_database_name(const struct session *session)
{
    return session->database ? session->database->name : "master";
}

int64_t session_database_id(const struct session *session, const struct model_database *database)
{
    return FIRST_DATABASE_ID + (int64_t)model_database_index(session->model, database);
}

struct model_database *session_find_database(const struct session *session, const char *name)
{
    return model_find_database(session->model, session->instance, name);
}

struct master_key *session_key(const struct session *session)
{
    return &model_content(session->model, session->database, session->instance)->key;
}

bool session_has_open_key(const struct session *session)
{
    return session->database &&
           session->open_keys[model_database_index(session->model, session->database)];
}

bool session_has_any_open_key(const struct session *session)
{
    for (size_t i = 0; i < MODEL_DATABASES_MAX; i++) {
        if (session->open_keys[i])
            return true;
    }
    return false;
}

void session_set_open_key(struct session *session, bool is_open)
{
    if (session->database)
        session->open_keys[model_database_index(session->model, session->database)] = is_open;
}

/* CAG: what an instance's login finds in a database of a contained group, no source says. */
static bool is_shut(const struct session *session, const struct model_database *database)
{
    return database->group && database->group->contained_master && !session->contained &&
           session->model->switches.contained_use == SWITCH_CONTAINED_USE_916;
}

static int32_t database_error(const struct session *session, struct model_database *database)
{
    unsigned rights = session_rights_in(session, database);
    int32_t number =
        model_view_access(session->model, database, session->instance, session->has_read_intent);

    if (!number &&
        (!(rights & RIGHT_CONNECT) || (is_shut(session, database) && !(rights & RIGHT_SYSADMIN))))
        number = 916;
    return number;
}

int32_t session_check_database(const struct session *session, struct model_database *database,
                               struct reply *reply)
{
    int32_t number = database ? database_error(session, database) : 0;

    if (number == 916)
        reply_message(reply, number, session->login_name, database->name);
    else if (number)
        reply_message(reply, number, database->name, NULL);
    return number;
}

static void enter(struct session *session, struct model_database *database, struct reply *reply)
{
    reply->old_database = session_database_name(session);
    session->database = database;
    reply->new_database = session_database_name(session);
    reply_message(reply, 5701, reply->new_database, NULL);
}

void session_use(struct session *session, const char *database, struct reply *reply)
{
    bool is_master = strcasecmp(database, "master") == 0;
    struct model_database *found = is_master ? NULL : session_find_database(session, database);

    if (!is_master && !found)
        reply_message(reply, 911, database, NULL);
    else if (session_check_database(session, found, reply) == 0)
        enter(session, found, reply);
}

/* 2.3, 10.9: 976, 978 or 983, then 4060, then 18456. */
static bool open_login_database(struct session *session, const char *database, struct reply *reply)
{
    bool is_master = !database[0] || strcasecmp(database, "master") == 0;
    struct model_database *found = is_master ? NULL : session_find_database(session, database);

    if (is_master || (found && database_error(session, found) == 0)) {
        enter(session, found, reply);
        return true;
    }
    if (session->model->switches.login_database_errors == SWITCH_LOGIN_ERRORS_ALL)
        (void)session_check_database(session, found, reply);
    reply_message(reply, 4060, database, NULL);
    reply_message(reply, 18456, session->login_name, NULL);
    return false;
}

static struct login_gate gate_of(const struct model *model, size_t instance)
{
    const struct model_instance *here = &model->instances[instance];

    return (struct login_gate){
        .lockout_threshold = (uint32_t)model->switches.lockout_threshold,
        .locked_needs_password = model->switches.locked_wrong_password == SWITCH_LOCKED_18456,
        .is_upgrading = here->is_upgrading,
        .is_single_user = here->is_single_user,
        .has_sessions = !LIST_EMPTY(&here->sessions),
    };
}

/* CAG: who comes by its listener, or names one of its databases, is in the contained group. */
static const struct model_group *context_of(struct model *model, size_t instance,
                                            const struct session_login *login)
{
    const struct model_database *database = model_find_database(model, instance, login->database);
    const struct model_group *group = login->listener;

    if (!group && database)
        group = database->group;
    return group && group->contained_master ? group : NULL;
}

/* Whether the logins of the contained group can be read here; what happens to a login where they
 * cannot, no source says. */
static bool is_context_open(const struct model *model, size_t instance,
                            const struct model_group *context, bool has_read_intent)
{
    return !context ||
           !model_view_access(model, context->contained_master, instance, has_read_intent);
}

struct session *session_new(struct model *model, size_t instance, const struct session_login *login,
                            struct reply *reply)
{
    const struct login_gate gate = gate_of(model, instance);
    const struct model_group *context = context_of(model, instance, login);
    struct login *found = NULL;
    struct session *session;
    int32_t number = 18456;

    if (!is_context_open(model, instance, context, login->has_read_intent) &&
        model->switches.contained_closed_login == SWITCH_CONTAINED_LOGIN_INSTANCE)
        context = NULL;
    if (is_context_open(model, instance, context, login->has_read_intent))
        number = logins_log_in(logins_of(model, instance, context), &gate, login->name,
                               login->password, &found);

    if (number) {
        reply_message(reply, number, login->name, NULL);
        return NULL;
    }
    session = memory_new(sizeof(*session));
    session->model = model;
    session->instance = instance;
    session->login_name = memory_copy(found->name);
    session->login_sid = found->sid;
    session->contained = context;
    session->has_read_intent = login->has_read_intent;
    session->lock_timeout_ms = -1;
    session->id = model->next_session_id++;
    LIST_INSERT_HEAD(&model->instances[instance].sessions, session, entry);
    if (!open_login_database(session, login->database, reply)) {
        session_free(session);
        return NULL;
    }
    return session;
}

void session_free(struct session *session)
{
    transaction_rollback(session);
    applocks_end_session(&session->model->instances[session->instance].applocks, session->id);
    key_objects_deinit(&session->open_objects);
    LIST_REMOVE(session, entry);
    free(session->login_name);
    OPENSSL_cleanse(session, sizeof(*session));
    free(session);
}

void session_reset(struct session *session)
{
    transaction_rollback(session);
    applocks_end_session(&session->model->instances[session->instance].applocks, session->id);
    key_objects_deinit(&session->open_objects);
    session->database = NULL;
    session->lock_timeout_ms = -1;
    memset(session->open_keys, 0, sizeof(session->open_keys));
    session->context_len = 0;
}

void session_kill(struct session *session)
{
    session->is_killed = true;
    transaction_rollback(session);
    if (session->on_kill)
        session->on_kill(session, session->argument);
}

void session_kill_all(struct model *model, const struct model_group *group, size_t instance,
                      void *argument)
{
    struct session *session = LIST_FIRST(&model->instances[instance].sessions);

    (void)argument;
    while (session) {
        struct session *next = LIST_NEXT(session, entry);

        if (((session->database && session->database->group == group) ||
             session->contained == group) &&
            !session->is_killed)
            session_kill(session);
        session = next;
    }
}
