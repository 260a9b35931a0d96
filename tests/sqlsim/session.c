/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/session.h"

#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/model_view.h"

#include <openssl/crypto.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>

unsigned session_rights(const struct session *session)
{
    return principals_rights(&session->model->principals, session->login);
}

static int32_t database_error(const struct session *session)
{
    int32_t number = model_view_access(session->model, session->replica, session->has_read_intent);

    if (!number && !(session_rights(session) & RIGHT_CONNECT))
        number = 916;
    return number;
}

int32_t session_check_database(const struct session *session, struct reply *reply)
{
    int32_t number = database_error(session);

    if (number == 916)
        reply_message(reply, number, session->login->name, session->model->database);
    else if (number)
        reply_message(reply, number, session->model->database, NULL);
    return number;
}

static void enter(struct session *session, bool is_database, struct reply *reply)
{
    const char *names[] = {"master", session->model->database};

    reply->old_database = names[session->is_in_database];
    reply->new_database = names[is_database];
    session->is_in_database = is_database;
    reply_message(reply, 5701, reply->new_database, NULL);
}

void session_use(struct session *session, const char *database, struct reply *reply)
{
    bool is_master = strcasecmp(database, "master") == 0;

    if (!is_master && strcasecmp(database, session->model->database) != 0)
        reply_message(reply, 911, database, NULL);
    else if (is_master || session_check_database(session, reply) == 0)
        enter(session, !is_master, reply);
}

/* 2.3, 10.9: 976, 978 or 983, then 4060, then 18456. */
static bool open_login_database(struct session *session, const char *database, struct reply *reply)
{
    bool is_master = !database[0] || strcasecmp(database, "master") == 0;
    bool is_known = is_master || strcasecmp(database, session->model->database) == 0;

    if (is_master || (is_known && database_error(session) == 0)) {
        enter(session, !is_master, reply);
        return true;
    }
    if (is_known && session->model->switches.login_database_errors == SWITCH_LOGIN_ERRORS_ALL)
        (void)session_check_database(session, reply);
    reply_message(reply, 4060, database, NULL);
    reply_message(reply, 18456, session->login->name, NULL);
    return false;
}

struct session *session_new(struct model *model, size_t replica, const struct session_login *login,
                            struct reply *reply)
{
    const struct login *found = principals_find_login(&model->principals, replica, login->name);
    struct session *session;

    /* One text for an unknown login and a wrong password: the client always sees state 1 (2.2). */
    if (!found || !found->password || strcmp(found->password, login->password) != 0) {
        reply_message(reply, 18456, login->name, NULL);
        return NULL;
    }
    if (found->is_disabled) {
        reply_message(reply, 18470, login->name, NULL);
        return NULL;
    }
    session = memory_new(sizeof(*session));
    session->model = model;
    session->replica = replica;
    session->login = found;
    session->has_read_intent = login->has_read_intent;
    session->id = model->next_session_id++;
    LIST_INSERT_HEAD(&model->replicas[replica].sessions, session, entry);
    if (!open_login_database(session, login->database, reply)) {
        session_free(session);
        return NULL;
    }
    return session;
}

void session_free(struct session *session)
{
    LIST_REMOVE(session, entry);
    OPENSSL_cleanse(session, sizeof(*session));
    free(session);
}

void session_reset(struct session *session)
{
    session->is_in_database = false;
    session->has_open_key = false;
    session->context_len = 0;
}

void session_kill_all(struct model *model, size_t replica, void *argument)
{
    struct session *session = LIST_FIRST(&model->replicas[replica].sessions);

    (void)argument;
    while (session) {
        struct session *next = LIST_NEXT(session, entry);

        if (session->is_in_database && !session->is_killed) {
            session->is_killed = true;
            /* May free it. */
            if (session->on_kill)
                session->on_kill(session, session->argument);
        }
        session = next;
    }
}
