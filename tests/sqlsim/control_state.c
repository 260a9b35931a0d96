/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/encode.h"
#include "tests/sqlsim/control.h"
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

static json_t *sessions_json(const struct model *model, const struct model_replica *replica)
{
    json_t *list = json_array();
    const struct session *session = LIST_FIRST(&replica->sessions);

    for (; session; session = LIST_NEXT(session, entry)) {
        char context[2 * SESSION_CONTEXT_MAX + 1];

        hex_encode(session->context, session->context_len, context);
        json_array_append_new(list, json_pack("{s:i, s:s, s:s, s:b, s:s}", "session", session->id,
                                              "login", session->login->name, "database",
                                              session->is_in_database ? model->database : "master",
                                              "key_open", session->has_open_key, "context_info",
                                              context));
    }
    return list;
}

/* What the instance says when it is asked, lies included. */
static json_t *view_json(const struct model *model, size_t index)
{
    struct model_view view = model_view(model, index);

    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:s?, s:s?, s:s, s:s, s:i}", "role", view.role,
                     "operational_state", view.operational_state, "recovery_health",
                     view.recovery_health, "synchronization_health", view.synchronization_health,
                     "synchronization_state", view.synchronization_state, "database_state",
                     view.database_state, "updateability", view.updateability, "primary_replica",
                     view.primary_replica, "sequence_number", view.sequence_number, "recovery_lsn",
                     view.recovery_lsn, "quorum_state", model_view_quorum(model, index));
}

static json_t *instance_json(const struct simulator *simulator, size_t index)
{
    const struct instance *instance = &simulator->instances[index];
    const struct model_replica *replica = &simulator->model.replicas[index];
    json_t *opened = json_null();

    if (replica->opened_by)
        opened = json_pack("{s:I, s:s}", "at_ms", (json_int_t)replica->opened_ms, "login",
                           replica->opened_by);
    return json_pack(
        "{s:i, s:b, s:b, s:s, s:I, s:b, s:b, s:o, s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, "
        "s:I, s:o}",
        "port", instance->port, "alive", replica->is_alive, "hung", replica->is_hung, "phase",
        phase_names[replica->phase], "primary_since_ms", (json_int_t)replica->primary_since_ms,
        "opens", model_opens(&simulator->model, index), "flag", replica->flag, "opened", opened,
        "service_master_key", replica->service_key, "view", view_json(&simulator->model, index),
        "sessions", sessions_json(&simulator->model, replica), "connections",
        (json_int_t)instance->connection_count, "clear_bytes", (json_int_t)instance->clear_bytes,
        "statements", (json_int_t)instance->journal.count + (json_int_t)instance->journal.dropped,
        "dropped", (json_int_t)instance->journal.dropped, "unknown_statements",
        (json_int_t)instance->journal.unknown, "attentions", (json_int_t)instance->attentions,
        "trouble_hits", (json_int_t)instance->troubles.hits, "troubles",
        control_troubles_json(&instance->troubles));
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
    json_t *instances = json_object(), *opening = json_array(), *unknown = json_array();
    uint64_t unknown_count = 0;

    for (size_t i = 0; i < model->count; i++) {
        json_t *part = journal_json(&simulator->instances[i].journal, true);

        json_object_set_new(instances, model->replicas[i].name, instance_json(simulator, i));
        if (model_opens(model, i))
            json_array_append_new(opening, json_string(model->replicas[i].name));
        json_array_extend(unknown, part);
        json_decref(part);
        unknown_count += simulator->instances[i].journal.unknown;
    }
    return json_pack(
        "{s:b, s:I, s:s, s:s, s:s?, s:I, s:I, s:i, s:o, s:I, s:o, s:o, s:o}", "ok", 1, "now_ms",
        (json_int_t)model->now_ms, "group", model->group_name, "database", model->database,
        "primary", model->primary == MODEL_NONE ? NULL : model->replicas[model->primary].name,
        "promotions", (json_int_t)model->promotions, "sequence_number",
        (json_int_t)model->sequence_number, "passwords", (int)model->key.password_count, "opens_on",
        opening, "unknown_statements", (json_int_t)unknown_count, "unknown", unknown, "switches",
        switches_json(&model->switches), "instances", instances);
}
