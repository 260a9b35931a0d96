/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/model_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAX_LSN "4294967295429496729500001" /* 4.4: seen on two healthy primaries */

enum { ROLE_RESOLVING, ROLE_PRIMARY, ROLE_SECONDARY };

/* 4.1: what goes with each phase. The database columns of RESOLVING are inferred. */
static const struct {
    int role, operational_state, recovery_health, synchronization_health, synchronization_state,
        database_state;
    const char *updateability;
} phases[] = {
    [MODEL_SECONDARY] = {ROLE_SECONDARY, 2, 1, 2, 2, 0, "READ_ONLY"},
    [MODEL_RESOLVING] = {ROLE_RESOLVING, 0, 0, 0, 0, 3, NULL},
    [MODEL_PRIMARY_PENDING] = {ROLE_PRIMARY, 1, 0, 0, 0, 2, NULL},
    [MODEL_PRIMARY_RECOVERING] = {ROLE_PRIMARY, 2, 0, 0, 2, 2, NULL},
    [MODEL_PRIMARY] = {ROLE_PRIMARY, 2, 1, 2, 2, 0, "READ_WRITE"},
};

static bool has_quorum(const struct model *model, const struct model_group *group, size_t instance)
{
    return group->cluster != MODEL_CLUSTER_WSFC ||
           model->instances[instance].quorum != MODEL_QUORUM_LOST;
}

static bool has_live_primary(const struct model *model, const struct model_group *group)
{
    return group->primary != MODEL_NONE && model_answers(model, group->primary);
}

static const char *seen_primary(const struct model *model, const struct model_group *group,
                                size_t viewer)
{
    const struct model_replica *replica = &group->replicas[viewer];

    if (replica->lies.primary_replica)
        return strcmp(replica->lies.primary_replica, "NULL") == 0 ? NULL
                                                                  : replica->lies.primary_replica;
    if (!has_quorum(model, group, viewer) || replica->phase == MODEL_RESOLVING)
        return NULL;
    if (replica->phase == MODEL_PRIMARY)
        return replica->name; /* a stale one too */
    if (group->primary == MODEL_NONE)
        return NULL;
    if (!model->instances[group->primary].is_alive &&
        model->switches.dead_primary_name == SWITCH_DEAD_PRIMARY_NULL)
        return NULL;
    return group->replicas[group->primary].name;
}

static void view_recovery_lsn(const struct model *model, const struct model_replica *replica,
                              struct model_view *view)
{
    bool is_settled = model->now_ms >= replica->primary_since_ms + model->switches.lsn_settle_ms;

    if (view->role != ROLE_PRIMARY || !replica->recovery_lsn[0])
        return;
    if (model->switches.recovery_lsn == SWITCH_LSN_MAX ||
        (model->switches.recovery_lsn == SWITCH_LSN_THEN_MAX && is_settled &&
         replica->phase == MODEL_PRIMARY))
        snprintf(view->recovery_lsn, sizeof(view->recovery_lsn), MAX_LSN);
    else
        memcpy(view->recovery_lsn, replica->recovery_lsn, sizeof(view->recovery_lsn));
}

static void view_sequence_number(const struct model *model, const struct model_group *group,
                                 const struct model_replica *replica, struct model_view *view)
{
    int64_t number = replica->sequence_number;

    if (replica->lies.sequence_number) {
        if (strcmp(replica->lies.sequence_number, "NULL") != 0)
            snprintf(view->sequence_number, sizeof(view->sequence_number), "%s",
                     replica->lies.sequence_number);
        return;
    }
    if (group->cluster == MODEL_CLUSTER_WSFC &&
        model->switches.wsfc_sequence_number == SWITCH_SEQUENCE_ZERO)
        number = 0;
    snprintf(view->sequence_number, sizeof(view->sequence_number), "%" PRId64, number);
}

/* A secondary whose primary does not answer (4.3). */
static void view_orphan(const struct model *model, struct model_view *view)
{
    view->synchronization_health = 0;
    view->synchronization_state = 0;
    view->connected_state = 0;
    if (model->switches.orphan_role == SWITCH_ORPHAN_RESOLVING)
        view->role = ROLE_RESOLVING;
}

struct model_view model_view(const struct model *model, const struct model_group *group,
                             size_t instance)
{
    const struct model_replica *replica = &group->replicas[instance];
    struct model_view view = {
        .cluster_type = (int)group->cluster,
        .role = phases[replica->phase].role,
        .operational_state = phases[replica->phase].operational_state,
        .recovery_health = phases[replica->phase].recovery_health,
        .synchronization_health = phases[replica->phase].synchronization_health,
        .synchronization_state = phases[replica->phase].synchronization_state,
        .connected_state = 1,
        .database_state = phases[replica->phase].database_state,
        .updateability = phases[replica->phase].updateability,
        .primary_replica = seen_primary(model, group, instance),
    };

    if (replica->phase == MODEL_SECONDARY && replica->is_asynchronous)
        view.synchronization_state = 1;
    if (replica->phase == MODEL_SECONDARY && !has_live_primary(model, group))
        view_orphan(model, &view);
    if (!has_quorum(model, group, instance)) {
        view.role = ROLE_RESOLVING;
        view.operational_state = 5;
    }
    if (replica->lies.role != MODEL_NONE) {
        view.role = (int)replica->lies.role;
        if (view.role == ROLE_PRIMARY) {
            view.operational_state = 2;
            view.recovery_health = 1;
            view.synchronization_health = 2;
            view.database_state = 0;
            view.updateability = "READ_WRITE";
        }
    }
    view_recovery_lsn(model, replica, &view);
    view_sequence_number(model, group, replica, &view);
    return view;
}

/* An instance that is in a WSFC has the row, whatever its other groups are. */
int model_view_quorum(const struct model *model, size_t instance)
{
    for (size_t i = 0; i < model->group_count; i++) {
        if (model->groups[i].replicas[instance].is_member &&
            model->groups[i].cluster == MODEL_CLUSTER_WSFC)
            return (int)model->instances[instance].quorum;
    }
    return 0;
}

int32_t model_view_access(const struct model *model, const struct model_database *database,
                          size_t instance, bool has_read_intent)
{
    const struct model_group *group = database->group;

    if (!group)
        return 0;
    if (!has_quorum(model, group, instance))
        return 988;
    switch (group->replicas[instance].phase) {
    case MODEL_PRIMARY:
        return 0;
    case MODEL_PRIMARY_PENDING:
    case MODEL_PRIMARY_RECOVERING:
        return 922;
    case MODEL_RESOLVING:
        return 983;
    case MODEL_SECONDARY:
        break;
    }
    if (group->replicas[instance].readable == MODEL_READABLE_NO)
        return 976;
    if (group->replicas[instance].readable == MODEL_READABLE_INTENT && !has_read_intent)
        return 978;
    return 0;
}

bool model_view_is_writable(const struct model *model, const struct model_database *database,
                            size_t instance)
{
    const struct model_group *group = database->group;

    return !group ||
           (group->replicas[instance].phase == MODEL_PRIMARY && has_quorum(model, group, instance));
}
