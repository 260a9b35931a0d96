/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/encode.h"
#include "tests/sqlsim/model_view.h"
#include "tests/sqlsim/statements.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VERSION_PERFORMANCE_STATE 16 /* 4.1: the right of the hadr DMVs since SQL Server 2022 */
#define NONCE_BYTES 32

static bool has_performance_state(const struct session *session)
{
    const char *version = session->model->instances[session->instance].version;

    return strtoul(version, NULL, 10) >= VERSION_PERFORMANCE_STATE;
}

static bool sees_server_state(const struct session *session)
{
    unsigned rights = session_rights(session);

    return rights & RIGHT_VIEW_SERVER_STATE ||
           (rights & RIGHT_VIEW_SERVER_PERFORMANCE_STATE && has_performance_state(session));
}

/* 2.2: a dynamic management view without the right: 300, then 297. */
bool statement_check_server_state(const struct session *session, struct reply *reply)
{
    if (sees_server_state(session))
        return true;
    reply_message(reply, 300,
                  has_performance_state(session) ? "VIEW SERVER PERFORMANCE STATE"
                                                 : "VIEW SERVER STATE",
                  "server");
    reply_message(reply, 297, NULL, NULL);
    return false;
}

/* 4.3: no row for a name that is not a group here, and none without the right to see it. */
static const struct model_group *find_group(const struct session *session, const char *name)
{
    const struct model_group *group = model_find_group(session->model, name);

    return group && group->replicas[session->instance].is_member &&
                   session_rights(session) & RIGHT_VIEW_ANY_DEFINITION
               ? group
               : NULL;
}

/* The database of that name if the group is there and has it, or NULL. */
static const struct model_database *find_database(const struct session *session,
                                                  const struct model_group *group, const char *name)
{
    const struct model_database *database = session_find_database(session, name);

    return group && database && database->group == group ? database : NULL;
}

/* version.c: columns that came with 2017. */
static bool check_columns(const struct session *session, struct reply *reply)
{
    const char *version = session->model->instances[session->instance].version;

    if (version_find(version)->has_cluster_type ||
        session->model->switches.columns_2016 == SWITCH_COLUMNS_PRESENT)
        return true;
    reply_message(reply, 207, "cluster_type", NULL);
    reply_message(reply, 207, "sequence_number", NULL);
    return false;
}

static const struct reply_column state_columns[] = {
    {"target", REPLY_INT}, /* of many at once only */
    {"replica_server_name", REPLY_TEXT},
    {"cluster_type", REPLY_TINYINT},
    {"is_distributed", REPLY_INT},
    {"sequence_number", REPLY_TEXT},
    {"role", REPLY_TINYINT},
    {"operational_state", REPLY_TINYINT},
    {"recovery_health", REPLY_TINYINT},
    {"synchronization_health", REPLY_TINYINT},
    {"primary_replica", REPLY_TEXT},
    {"state", REPLY_TINYINT},
    {"updateability", REPLY_TEXT},
    {"synchronization_state", REPLY_TINYINT},
    {"recovery_lsn", REPLY_TEXT},
};

static void put_state(const struct session *session, const struct model_group *group,
                      const struct model_database *database, struct reply *reply)
{
    struct model_view view = database
                                 ? model_view_database(session->model, database, session->instance)
                                 : model_view(session->model, group, session->instance);

    reply_value(reply, group->replicas[session->instance].name);
    reply_number(reply, view.cluster_type);
    reply_number(reply, view.is_distributed);
    reply_value(reply, view.sequence_number[0] ? view.sequence_number : NULL);
    reply_number(reply, view.role);
    reply_number(reply, view.operational_state);
    reply_number(reply, view.recovery_health);
    reply_number(reply, view.synchronization_health);
    reply_value(reply, view.primary_replica);
    if (!database) {
        for (size_t i = 0; i < 4; i++)
            reply_value(reply, NULL);
        return;
    }
    reply_number(reply, view.database_state);
    reply_value(reply, view.updateability);
    reply_number(reply, view.synchronization_state);
    reply_value(reply, view.recovery_lsn[0] ? view.recovery_lsn : NULL);
}

void statement_state(struct session *session, const struct lexer_parameters *parameters,
                     struct reply *reply)
{
    const struct model_group *group = find_group(session, parameters->values[1]);

    if (!check_columns(session, reply) || !statement_check_server_state(session, reply))
        return;
    reply_columns(reply, state_columns + 1, ARRAY_LEN(state_columns) - 1);
    if (group)
        put_state(session, group, find_database(session, group, parameters->values[0]), reply);
}

/* A row of the list; reply NULL: only whether it is one. */
static bool read_wanted(const char **text, struct session *session, struct reply *reply)
{
    struct lexer_parameters wanted = {0};
    const struct model_group *group;

    if (!lexer_match_start("($name, $text, $text)", text, &wanted))
        return false;
    group = reply ? find_group(session, wanted.values[1]) : NULL;
    if (group) {
        reply_number(reply, (int64_t)strtoul(wanted.values[0], NULL, 10));
        put_state(session, group, find_database(session, group, wanted.values[2]), reply);
    }
    lexer_parameters_deinit(&wanted);
    return true;
}

/* All of them. */
static bool read_list(const char **text, struct session *session, struct reply *reply)
{
    struct lexer_parameters none = {0};

    do {
        if (!read_wanted(text, session, reply))
            return false;
    } while (lexer_match_start(",", text, &none));
    return true;
}

bool statements_run_states(struct session *session, const char *text, struct reply *reply)
{
    struct lexer_parameters none = {0};
    const char *list = text, *rest;

    if (!lexer_match_start("SELECT wanted.target, " STATEMENTS_STATE_COLUMNS " FROM (VALUES", &list,
                           &none))
        return false;
    rest = list;
    if (!read_list(&rest, session, NULL) ||
        !lexer_match(
            ") AS wanted (target, group_name, database_name)"
            " INNER JOIN sys.availability_groups AS ag ON ag.is_distributed = 0"
            " AND ag.name = wanted.group_name COLLATE DATABASE_DEFAULT" STATEMENTS_STATE_REPLICA
            "wanted.database_name COLLATE DATABASE_DEFAULT",
            rest, &none))
        return false;
    if (!check_columns(session, reply) || !statement_check_server_state(session, reply))
        return true;
    reply_columns(reply, state_columns, ARRAY_LEN(state_columns));
    return read_list(&list, session, reply);
}

void statement_local(struct session *session, const struct lexer_parameters *parameters,
                     struct reply *reply)
{
    static const struct reply_column columns[] = {{"role", REPLY_TINYINT},
                                                  {"updateability", REPLY_TEXT}};
    const struct model_group *group = find_group(session, parameters->values[1]);
    const struct model_database *database = find_database(session, group, parameters->values[0]);
    struct model_view view;

    if (!statement_check_server_state(session, reply))
        return;
    reply_columns(reply, columns, ARRAY_LEN(columns));
    if (!group)
        return;
    view = database ? model_view_database(session->model, database, session->instance)
                    : model_view(session->model, group, session->instance);
    reply_number(reply, view.role);
    reply_value(reply, database ? view.updateability : NULL);
}

void statement_readers(struct session *session, const struct lexer_parameters *parameters,
                       struct reply *reply)
{
    static const struct reply_column columns[] = {
        {"secondary_role_allow_connections", REPLY_TINYINT}};
    const struct model_group *group = find_group(session, parameters->values[0]);

    if (!statement_check_server_state(session, reply))
        return;
    reply_columns(reply, columns, ARRAY_LEN(columns));
    if (group)
        reply_number(reply, group->replicas[session->instance].readable);
}

void statement_quorum(struct session *session, const struct lexer_parameters *parameters,
                      struct reply *reply)
{
    static const struct reply_column columns[] = {{"quorum_state", REPLY_TINYINT}};
    int quorum = model_view_quorum(session->model, session->instance);

    (void)parameters;
    if (!statement_check_server_state(session, reply))
        return;
    reply_columns(reply, columns, ARRAY_LEN(columns));
    if (quorum)
        reply_number(reply, quorum);
}

/* By name. */
static int compare_names(const void *one, const void *other)
{
    return strcasecmp(*(const char *const *)one, *(const char *const *)other);
}

void statement_members(struct session *session, const struct lexer_parameters *parameters,
                       struct reply *reply)
{
    static const struct reply_column columns[] = {{"replica_server_name", REPLY_TEXT}};
    const struct model_group *group = find_group(session, parameters->values[0]);
    const char *names[MODEL_INSTANCES_MAX];
    bool sees_others;
    size_t count = 0;

    reply_columns(reply, columns, ARRAY_LEN(columns));
    if (!group)
        return;
    /* 4.1: without quorum only the local row */
    sees_others = group->cluster != MODEL_CLUSTER_WSFC ||
                  model_view_quorum(session->model, session->instance);
    for (size_t i = 0; i < session->model->instance_count; i++) {
        if (group->replicas[i].is_member && (sees_others || i == session->instance))
            names[count++] = group->replicas[i].name;
    }
    qsort(names, count, sizeof(names[0]), compare_names);
    for (size_t i = 0; i < count; i++)
        reply_value(reply, names[i]);
}

/* CONTEXT_INFO is padded with zeros, so a short one never equals 32 bytes that differ. */
static bool has_context(const struct session *session, const uint8_t nonce[static NONCE_BYTES])
{
    return session->context_len && memcmp(session->context, nonce, NONCE_BYTES) == 0;
}

void statement_find_session(struct session *session, const struct lexer_parameters *parameters,
                            struct reply *reply)
{
    static const struct reply_column columns[] = {{"session_id", REPLY_SMALLINT}};
    const char *hex = parameters->values[0], *login = parameters->values[1];
    bool sees_all = sees_server_state(session);
    uint8_t nonce[NONCE_BYTES];
    const struct session *other =
        LIST_FIRST(&session->model->instances[session->instance].sessions);

    reply_columns(reply, columns, ARRAY_LEN(columns));
    if (hex_decode(hex, nonce, sizeof(nonce)))
        return; /* never equal to 32 bytes */
    for (; other; other = LIST_NEXT(other, entry)) {
        /* Without the right a login sees its own session only. */
        if ((sees_all || other == session) && has_context(other, nonce) &&
            strcasecmp(other->login_name, login) == 0)
            reply_number(reply, other->id);
    }
}
