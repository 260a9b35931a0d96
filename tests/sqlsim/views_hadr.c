/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/model_flow.h"
#include "tests/sqlsim/model_view.h"
#include "tests/sqlsim/select.h"
#include "tests/sqlsim/statements.h"

/*
 * The catalog and dynamic management views of availability groups (sqlserver-facts 4.1), as
 * model_view.h has their content. sys.availability_* show nothing without VIEW ANY DEFINITION, the
 * others are refused without VIEW SERVER STATE. A secondary sees its own row of a group only.
 */

static void put_guid(struct reply *rows, enum model_guid kind, uint64_t id)
{
    char text[MODEL_GUID_SIZE];

    model_guid(kind, id, text);
    reply_value(rows, text);
}

static void put_group_guid(struct session *session, const struct model_group *group,
                           struct reply *rows)
{
    put_guid(rows, MODEL_GUID_GROUP, (uint64_t)(group - session->model->groups));
}

/* The first distributed group that has this one, if it is shown here, or NULL. */
static const struct model_distributed *distributed_of(const struct session *session,
                                                      const struct model_group *group)
{
    for (size_t i = 0; i < session->model->distributed_count; i++) {
        const struct model_distributed *distributed = &session->model->distributed[i];

        if ((distributed->groups[0] == group || distributed->groups[1] == group) &&
            model_view_is_distributed(session->model, group, session->instance))
            return distributed;
    }
    return NULL;
}

static bool is_primary_here(const struct session *session, const struct model_group *group)
{
    return model_view(session->model, group, session->instance).role == 1;
}

/* The groups that this instance is a member of, one after the other; NULL: no more. */
static const struct model_group *next_group(const struct session *session, size_t *index)
{
    while (*index < session->model->group_count) {
        const struct model_group *group = &session->model->groups[(*index)++];

        if (group->replicas[session->instance].is_member)
            return group;
    }
    return NULL;
}

/* Whether what is true of the instance in a group is a row here. */
static bool has_row(const struct session *session, const struct model_group *group, size_t instance)
{
    return group->replicas[instance].is_member &&
           (instance == session->instance || is_primary_here(session, group));
}

static bool sees_definitions(const struct session *session)
{
    return session_rights(session) & RIGHT_VIEW_ANY_DEFINITION;
}

static const struct reply_column group_columns[] = {
    {"group_id", REPLY_GUID},
    {"name", REPLY_TEXT},
    {"basic_features", REPLY_BIT},
    {"dtc_support", REPLY_BIT},
    {"db_failover", REPLY_BIT},
    {"is_distributed", REPLY_BIT},
    {"cluster_type", REPLY_TINYINT},
    {"cluster_type_desc", REPLY_TEXT},
    {"required_synchronized_secondaries_to_commit", REPLY_INT},
    {"sequence_number", REPLY_BIGINT},
    {"is_contained", REPLY_BIT},
};

static const char *const cluster_words[] = {"wsfc", "external", "none"};

/* basic_features, dtc_support, db_failover, is_distributed */
static void put_features(struct reply *rows, bool is_distributed)
{
    for (size_t i = 0; i < 3; i++)
        reply_number(rows, 0);
    reply_number(rows, is_distributed);
}

static void put_group(const struct model_group *group, const struct model_view *view,
                      struct reply *rows)
{
    reply_value(rows, group->name);
    put_features(rows, false);
    reply_number(rows, view->cluster_type);
    reply_value(rows, cluster_words[view->cluster_type]);
    reply_number(rows, 0);
    reply_value(rows, view->sequence_number[0] ? view->sequence_number : NULL);
    reply_number(rows, group->contained_master != NULL);
}

/* Section 9: a distributed group is a group of its own, shown where model_view_is_distributed. */
static void put_distributed_group(const struct session *session,
                                  const struct model_distributed *distributed, struct reply *rows)
{
    bool is_none = session->model->switches.distributed_cluster_type == SWITCH_DISTRIBUTED_NONE;
    int type = is_none ? MODEL_CLUSTER_NONE : MODEL_CLUSTER_WSFC;

    put_guid(rows, MODEL_GUID_DISTRIBUTED, (uint64_t)(distributed - session->model->distributed));
    reply_value(rows, distributed->name);
    put_features(rows, true);
    reply_number(rows, type);
    reply_value(rows, cluster_words[type]);
    for (size_t i = 0; i < 3; i++)
        reply_number(rows, 0);
}

static void fill_groups(struct session *session, const char *database, struct reply *rows)
{
    const struct model_group *group;
    size_t index = 0;

    (void)database;
    while (sees_definitions(session) && (group = next_group(session, &index))) {
        const struct model_distributed *distributed = distributed_of(session, group);
        struct model_view view = model_view(session->model, group, session->instance);

        put_group_guid(session, group, rows);
        put_group(group, &view, rows);
        if (distributed)
            put_distributed_group(session, distributed, rows);
    }
}

static const struct reply_column replica_columns[] = {
    {"replica_id", REPLY_GUID},
    {"group_id", REPLY_GUID},
    {"replica_server_name", REPLY_TEXT},
    {"availability_mode", REPLY_TINYINT},
    {"failover_mode", REPLY_TINYINT},
    {"primary_role_allow_connections", REPLY_TINYINT},
    {"secondary_role_allow_connections", REPLY_TINYINT},
};

static void put_replica(const struct model_group *group, const struct model_replica *replica,
                        struct reply *rows)
{
    int mode = replica->is_asynchronous ? 0 : 1;

    reply_value(rows, replica->name);
    reply_number(rows, replica->is_configuration_only ? 4 : mode);
    reply_number(rows, group->cluster != MODEL_CLUSTER_WSFC || mode == 0);
    reply_number(rows, replica->refuses_intent ? 3 : 2);
    reply_number(rows, replica->readable);
}

/* Section 9: the replicas of a distributed group are groups. */
static void put_distributed_replicas(const struct session *session,
                                     const struct model_distributed *distributed,
                                     struct reply *rows)
{
    uint64_t index = (uint64_t)(distributed - session->model->distributed);

    for (size_t i = 0; i < 2; i++) {
        put_guid(rows, MODEL_GUID_DISTRIBUTED_REPLICA, 2 * index + i);
        put_guid(rows, MODEL_GUID_DISTRIBUTED, index);
        reply_value(rows, distributed->groups[i]->name);
        reply_number(rows, 0);
        reply_number(rows, 1);
        reply_number(rows, 2);
        reply_number(rows, 2);
    }
}

static void fill_replicas(struct session *session, const char *database, struct reply *rows)
{
    const struct model_group *group;
    size_t index = 0;

    (void)database;
    while (sees_definitions(session) && (group = next_group(session, &index))) {
        const struct model_distributed *distributed = distributed_of(session, group);
        /* 4.1: without quorum only local rows */
        bool sees_others = group->cluster != MODEL_CLUSTER_WSFC ||
                           model_view_quorum(session->model, session->instance);

        for (size_t i = 0; i < session->model->instance_count; i++) {
            if (!group->replicas[i].is_member || (i != session->instance && !sees_others))
                continue;
            put_guid(rows, MODEL_GUID_REPLICA, group->replicas[i].id);
            put_group_guid(session, group, rows);
            put_replica(group, &group->replicas[i], rows);
        }
        if (distributed)
            put_distributed_replicas(session, distributed, rows);
    }
}

static const struct reply_column state_columns[] = {
    {"replica_id", REPLY_GUID},
    {"group_id", REPLY_GUID},
    {"is_local", REPLY_BIT},
    {"role", REPLY_TINYINT},
    {"operational_state", REPLY_TINYINT},
    {"recovery_health", REPLY_TINYINT},
    {"synchronization_health", REPLY_TINYINT},
    {"connected_state", REPLY_TINYINT},
    {"current_configuration_commit_start_time_utc", REPLY_DATETIME},
};

/* NULL where there is nothing to say: of a remote replica, of a primary */
static void put_local(struct reply *rows, bool is_told, int number)
{
    if (is_told)
        reply_number(rows, number);
    else
        reply_value(rows, NULL);
}

static void put_state(const struct session *session, const struct model_group *group,
                      size_t instance, struct reply *rows)
{
    bool is_local = instance == session->instance;
    struct model_view view = model_view(session->model, group, instance);

    reply_number(rows, is_local);
    reply_number(rows, view.role);
    put_local(rows, is_local, view.operational_state);
    put_local(rows, is_local, view.recovery_health);
    reply_number(rows, view.synchronization_health);
    reply_number(rows, is_local || model_view_is_connected(session->model, group, instance));
    reply_value(rows, NULL); /* no commit of a configuration hangs here */
}

/*
 * Section 9: of a distributed group the global primary has both rows, a forwarder its own, which is
 * SECONDARY though it is PRIMARY in its group (DAGLAB). Which of them is_local, no source says.
 */
static void put_distributed_states(const struct session *session, const struct model_group *group,
                                   const struct model_distributed *distributed, struct reply *rows)
{
    uint64_t index = (uint64_t)(distributed - session->model->distributed);
    bool is_global = distributed->groups[distributed->primary] == group;

    for (size_t i = 0; i < 2; i++) {
        bool is_local = distributed->groups[i] == group;

        if (!is_global && !is_local)
            continue;
        put_guid(rows, MODEL_GUID_DISTRIBUTED_REPLICA, 2 * index + i);
        put_guid(rows, MODEL_GUID_DISTRIBUTED, index);
        reply_number(rows, is_local);
        reply_number(rows, i == distributed->primary ? 1 : 2);
        put_local(rows, is_local, 2);
        put_local(rows, is_local, 1);
        reply_number(rows, 2);
        reply_number(rows, 1);
        reply_value(rows, NULL);
    }
}

static void fill_states(struct session *session, const char *database, struct reply *rows)
{
    const struct model_group *group;
    size_t index = 0;

    (void)database;
    if (!statement_check_server_state(session, rows))
        return;
    while ((group = next_group(session, &index))) {
        const struct model_distributed *distributed = distributed_of(session, group);

        for (size_t i = 0; i < session->model->instance_count; i++) {
            if (!has_row(session, group, i))
                continue;
            put_guid(rows, MODEL_GUID_REPLICA, group->replicas[i].id);
            put_group_guid(session, group, rows);
            put_state(session, group, i, rows);
        }
        if (distributed)
            put_distributed_states(session, group, distributed, rows);
    }
}

static const struct reply_column group_state_columns[] = {
    {"group_id", REPLY_GUID},
    {"primary_replica", REPLY_TEXT},
    {"synchronization_health", REPLY_TINYINT},
};

static void fill_group_states(struct session *session, const char *database, struct reply *rows)
{
    const struct model_group *group;
    size_t index = 0;

    (void)database;
    if (!statement_check_server_state(session, rows))
        return;
    while ((group = next_group(session, &index))) {
        struct model_view view = model_view(session->model, group, session->instance);

        put_group_guid(session, group, rows);
        reply_value(rows, view.primary_replica);
        reply_number(rows, view.synchronization_health);
    }
}

static const struct reply_column database_columns[] = {
    {"database_id", REPLY_INT},
    {"group_id", REPLY_GUID},
    {"replica_id", REPLY_GUID},
    {"group_database_id", REPLY_GUID},
    {"is_local", REPLY_BIT},
    {"is_primary_replica", REPLY_BIT},
    {"synchronization_state", REPLY_TINYINT},
    {"synchronization_health", REPLY_TINYINT},
    {"database_state", REPLY_TINYINT},
    {"is_suspended", REPLY_BIT},
    {"recovery_lsn", REPLY_NUMERIC},
    {"last_hardened_lsn", REPLY_NUMERIC},
    {"last_redone_lsn", REPLY_NUMERIC},
    {"end_of_log_lsn", REPLY_NUMERIC},
    {"log_send_queue_size", REPLY_BIGINT},
    {"redo_queue_size", REPLY_BIGINT},
};

static void put_log(const struct session *session, const struct model_database *database,
                    size_t instance, const struct model_view *view, struct reply *rows)
{
    struct model_log log = model_view_log(session->model, database, instance);
    bool is_primary = view->role == 1;

    reply_value(rows, view->recovery_lsn[0] ? view->recovery_lsn : NULL);
    reply_value(rows, log.end);
    reply_value(rows, is_primary ? NULL : log.redone);
    reply_value(rows, log.end);
    put_local(rows, !is_primary, (int)log.send_kb);
    put_local(rows, !is_primary, (int)log.redo_kb);
}

static void put_database(const struct session *session, const struct model_database *database,
                         size_t instance, struct reply *rows)
{
    struct model_view view = model_view_database(session->model, database, instance);

    put_guid(rows, MODEL_GUID_DATABASE, database->id);
    reply_number(rows, instance == session->instance);
    reply_number(rows, view.role == 1);
    reply_number(rows, view.synchronization_state);
    reply_number(rows, view.synchronization_health);
    reply_number(rows, view.database_state);
    reply_number(rows, database->copies[instance].is_suspended);
    put_log(session, database, instance, &view, rows);
}

static void fill_databases(struct session *session, const char *name, struct reply *rows)
{
    const struct model *model = session->model;

    (void)name;
    if (!statement_check_server_state(session, rows))
        return;
    for (size_t i = 0; i < model->database_count; i++) {
        const struct model_database *database = &model->databases[i];

        for (size_t n = 0; database->group && n < model->instance_count; n++) {
            if (!has_row(session, database->group, n) || !model_has_database(database, n))
                continue;
            reply_number(rows, session_database_id(session, database));
            put_group_guid(session, database->group, rows);
            put_guid(rows, MODEL_GUID_REPLICA, database->group->replicas[n].id);
            put_database(session, database, n, rows);
        }
    }
}

static const struct reply_column cluster_columns[] = {
    {"group_id", REPLY_GUID}, {"group_database_id", REPLY_GUID}, {"database_name", REPLY_TEXT}};

/* sys.availability_databases_cluster */
static void fill_cluster_databases(struct session *session, const char *name, struct reply *rows)
{
    (void)name;
    for (size_t i = 0; sees_definitions(session) && i < session->model->database_count; i++) {
        const struct model_database *database = &session->model->databases[i];

        if (!database->group || !database->group->replicas[session->instance].is_member)
            continue;
        put_group_guid(session, database->group, rows);
        put_guid(rows, MODEL_GUID_DATABASE, database->id);
        reply_value(rows, database->name);
    }
}

/* 6, D3: the group of a database with the local replica; the one join of these views. */
static const struct reply_column local_columns[] = {
    {"database_name", REPLY_TEXT},
    {"name", REPLY_TEXT},
    {"group_id", REPLY_GUID},
    {"cluster_type", REPLY_TINYINT},
    {"is_distributed", REPLY_BIT},
    {"sequence_number", REPLY_BIGINT},
    {"replica_id", REPLY_GUID},
    {"role", REPLY_TINYINT},
    {"operational_state", REPLY_TINYINT},
    {"recovery_health", REPLY_TINYINT},
    {"connected_state", REPLY_TINYINT},
};

static void fill_local(struct session *session, const char *name, struct reply *rows)
{
    const struct model *model = session->model;

    (void)name;
    if (!statement_check_server_state(session, rows))
        return;
    for (size_t i = 0; sees_definitions(session) && i < model->database_count; i++) {
        const struct model_group *group = model->databases[i].group;
        struct model_view view;

        if (!group || !group->replicas[session->instance].is_member)
            continue;
        view = model_view(model, group, session->instance);
        reply_value(rows, model->databases[i].name);
        reply_value(rows, group->name);
        put_group_guid(session, group, rows);
        reply_number(rows, view.cluster_type);
        reply_number(rows, 0);
        reply_value(rows, view.sequence_number[0] ? view.sequence_number : NULL);
        put_guid(rows, MODEL_GUID_REPLICA, group->replicas[session->instance].id);
        reply_number(rows, view.role);
        reply_number(rows, view.operational_state);
        reply_number(rows, view.recovery_health);
        reply_number(rows, 1);
    }
}

#define COLUMNS(columns) columns, ARRAY_LEN(columns)

static const struct view views[] = {
    {"sys.availability_groups", COLUMNS(group_columns), fill_groups},
    {"sys.availability_replicas", COLUMNS(replica_columns), fill_replicas},
    {"sys.dm_hadr_availability_replica_states", COLUMNS(state_columns), fill_states},
    {"sys.dm_hadr_availability_group_states", COLUMNS(group_state_columns), fill_group_states},
    {"sys.dm_hadr_database_replica_states", COLUMNS(database_columns), fill_databases},
    {"sys.availability_databases_cluster adc"
     " JOIN sys.availability_groups ag ON ag.group_id = adc.group_id"
     " JOIN sys.dm_hadr_availability_replica_states ars"
     " ON ars.group_id = ag.group_id AND ars.is_local = 1",
     COLUMNS(local_columns), fill_local},
    {"sys.availability_databases_cluster", COLUMNS(cluster_columns), fill_cluster_databases},
};

const struct view *views_hadr(size_t index)
{
    return index < ARRAY_LEN(views) ? &views[index] : NULL;
}
