/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/encode.h"
#include "tests/sqlsim/control.h"
#include "tests/sqlsim/model_flow.h"
#include "tests/sqlsim/model_view.h"
#include "tests/sqlsim/session.h"

#include <stdlib.h>

static const char *const phase_names[] = {
    [MODEL_SECONDARY] = "SECONDARY",
    [MODEL_RESOLVING] = "RESOLVING",
    [MODEL_PRIMARY_PENDING] = "PRIMARY_PENDING",
    [MODEL_PRIMARY_RECOVERING] = "PRIMARY_RECOVERING",
    [MODEL_PRIMARY] = "PRIMARY",
};

static json_t *sessions_json(const struct model_instance *instance)
{
    json_t *list = json_array();
    const struct session *session = LIST_FIRST(&instance->sessions);

    for (; session; session = LIST_NEXT(session, entry)) {
        char context[2 * SESSION_CONTEXT_MAX + 1];

        hex_encode(session->context, session->context_len, context);
        json_array_append_new(list, json_pack("{s:i, s:s, s:s, s:b, s:s}", "session", session->id,
                                              "login", session->login_name, "database",
                                              session_database_name(session), "key_open",
                                              session_has_any_open_key(session), "context_info",
                                              context));
    }
    return list;
}

/* What the instance says when it is asked, lies included. */
static json_t *view_json(const struct model *model, const struct model_group *group, size_t index)
{
    struct model_view view = model_view(model, group, index);

    return json_pack("{s:i, s:b, s:i, s:i, s:i, s:i, s:i, s:i, s:s?, s:s?, s:s, s:s, s:i}",
                     "connected_state", view.connected_state, "distributed", view.is_distributed,
                     "role", view.role, "operational_state", view.operational_state,
                     "recovery_health", view.recovery_health, "synchronization_health",
                     view.synchronization_health, "synchronization_state",
                     view.synchronization_state, "database_state", view.database_state,
                     "updateability", view.updateability, "primary_replica", view.primary_replica,
                     "sequence_number", view.sequence_number, "recovery_lsn", view.recovery_lsn,
                     "quorum_state", model_view_quorum(model, index));
}

/* Its part in a group. */
static json_t *replica_json(const struct model *model, const struct model_group *group,
                            size_t index)
{
    const struct model_replica *replica = &group->replicas[index];

    return json_pack("{s:s, s:b, s:I, s:I, s:o}", "phase", phase_names[replica->phase], "connected",
                     model_view_is_connected(model, group, index), "replica_id",
                     (json_int_t)replica->id, "primary_since_ms",
                     (json_int_t)replica->primary_since_ms, "view", view_json(model, group, index));
}

/* Its copy of a database. */
static json_t *copy_json(const struct model *model, const struct model_database *database,
                         size_t index)
{
    const struct model_copy *copy = &database->copies[index];
    json_t *opened = json_null();

    if (copy->opened_by)
        opened =
            json_pack("{s:I, s:s}", "at_ms", (json_int_t)copy->opened_ms, "login", copy->opened_by);
    return json_pack("{s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:o}", "behind", copy->behind != NULL,
                     "suspended", copy->is_suspended, "lag", copy->is_lagging, "redo_lag",
                     copy->is_redo_lagging, "restoring", copy->is_restoring, "opens",
                     model_opens(model, database, index), "flag", copy->flag, "opened", opened);
}

static json_t *instance_json(const struct simulator *simulator, size_t index)
{
    const struct instance *instance = &simulator->instances[index];
    const struct model *model = &simulator->model;
    const struct model_instance *own = &model->instances[index];
    const struct model_group *group = &model->groups[0];
    json_t *object = json_pack(
        "{s:i, s:b, s:b, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "port", instance->port,
        "alive", own->is_alive, "hung", own->is_hung, "service_master_key", own->service_key,
        "sessions", sessions_json(own), "connections", (json_int_t)instance->connection_count,
        "clear_bytes", (json_int_t)instance->clear_bytes, "statements",
        (json_int_t)instance->journal.count + (json_int_t)instance->journal.dropped, "dropped",
        (json_int_t)instance->journal.dropped, "unknown_statements",
        (json_int_t)instance->journal.unknown, "attentions", (json_int_t)instance->attentions,
        "trouble_hits", (json_int_t)instance->troubles.hits, "troubles",
        control_troubles_json(&instance->troubles));

    if (group->replicas[index].is_member)
        json_object_update_new(object, replica_json(model, group, index));
    if (model->database_count && model_has_database(&model->databases[0], index))
        json_object_update_new(object, copy_json(model, &model->databases[0], index));
    return object;
}

static json_t *database_json(const struct model *model, const struct model_database *database)
{
    json_t *copies = json_object(), *opening = json_array();

    for (size_t i = 0; i < model->instance_count; i++) {
        if (!model_has_database(database, i))
            continue;
        json_object_set_new(copies, model->instances[i].name, copy_json(model, database, i));
        if (model_opens(model, database, i))
            json_array_append_new(opening, json_string(model->instances[i].name));
    }
    return json_pack("{s:s, s:I, s:s?, s:i, s:o, s:o}", "database", database->name,
                     "group_database_id", (json_int_t)database->id, "group",
                     database->group ? database->group->name : NULL, "passwords",
                     (int)model_source(model, database)->content.key.password_count, "opens_on",
                     opening, "copies", copies);
}

static json_t *databases_json(const struct model *model)
{
    json_t *list = json_array();

    for (size_t i = 0; i < model->database_count; i++)
        json_array_append_new(list, database_json(model, &model->databases[i]));
    return list;
}

static json_t *group_json(const struct model *model, const struct model_group *group)
{
    const struct model_replica *primary =
        group->primary == MODEL_NONE ? NULL : &group->replicas[group->primary];
    json_t *replicas = json_object();

    for (size_t i = 0; i < model->instance_count; i++) {
        if (group->replicas[i].is_member)
            json_object_set_new(replicas, model->instances[i].name, replica_json(model, group, i));
    }
    return json_pack("{s:s, s:b, s:s?, s:I, s:I, s:o}", "group", group->name, "contained",
                     group->contained_master != NULL, "primary", primary ? primary->name : NULL,
                     "promotions", (json_int_t)group->promotions, "sequence_number",
                     (json_int_t)group->sequence_number, "replicas", replicas);
}

static json_t *groups_json(const struct model *model)
{
    json_t *list = json_array();

    for (size_t i = 0; i < model->group_count; i++)
        json_array_append_new(list, group_json(model, &model->groups[i]));
    return list;
}

static json_t *switches_json(const struct switches *switches)
{
    json_t *object = json_object();

    for (size_t i = 0; switches_name(i); i++) {
        CLEANUP(cleanup_free) char *value = switches_value(switches, i);

        json_object_set_new(object, switches_name(i), json_string(value));
    }
    return object;
}

json_t *control_state(struct simulator *simulator)
{
    const struct model *model = &simulator->model;
    json_t *instances = json_object(), *unknown = json_array();
    json_t *groups = groups_json(model), *databases = databases_json(model), *state;
    uint64_t unknown_count = 0;

    for (size_t i = 0; i < model->instance_count; i++) {
        json_t *part = journal_json(&simulator->instances[i].journal, true);

        json_object_set_new(instances, model->instances[i].name, instance_json(simulator, i));
        json_array_extend(unknown, part);
        json_decref(part);
        unknown_count += simulator->instances[i].journal.unknown;
    }
    state = json_pack("{s:b, s:I, s:I, s:o, s:o, s:O, s:O, s:o}", "ok", 1, "now_ms",
                      (json_int_t)model->now_ms, "unknown_statements", (json_int_t)unknown_count,
                      "unknown", unknown, "switches", switches_json(&model->switches), "groups",
                      groups, "databases", databases, "instances", instances);
    /* Those of the first group and its first database, also at the top. */
    json_object_update_missing(state, json_array_get(groups, 0));
    json_object_update_missing(state, json_array_get(databases, 0));
    json_object_del(state, "replicas");
    json_object_del(state, "copies");
    json_decref(groups);
    json_decref(databases);
    return state;
}
