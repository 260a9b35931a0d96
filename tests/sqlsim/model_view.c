/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/model_view.h"

#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/model_flow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
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

static const char *seen_primary(const struct model *model, const struct model_group *group,
                                size_t viewer)
{
    const struct model_replica *replica = &group->replicas[viewer];

    if (replica->lies.primary_replica)
        return strcmp(replica->lies.primary_replica, "NULL") == 0 ? NULL
                                                                  : replica->lies.primary_replica;
    /* 4.1: NULL is "unable to communicate with the WSFC". */
    if (!has_quorum(model, group, viewer) || !model_reaches_cluster(model, group, viewer) ||
        replica->phase == MODEL_RESOLVING)
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

/* Data do not come: the database is suspended, or its primary is not heard. */
static bool is_standing_still(const struct model_database *database, size_t instance)
{
    return database->copies[instance].is_suspended;
}

/* 4.1: NOT_HEALTHY if no database of the group is well, PARTIALLY_HEALTHY if some are not. */
static void view_databases(const struct model *model, const struct model_group *group,
                           size_t instance, struct model_view *view)
{
    size_t databases = 0, still = 0;

    for (size_t i = 0; i < model->database_count; i++) {
        if (model->databases[i].group != group)
            continue;
        databases++;
        still += is_standing_still(&model->databases[i], instance);
    }
    if (still && view->synchronization_health)
        view->synchronization_health = still < databases;
}

bool model_view_is_distributed(const struct model *model, const struct model_group *group,
                               size_t instance)
{
    return model->switches.distributed_rows == SWITCH_DISTRIBUTED_ALL ||
           phases[group->replicas[instance].phase].role == ROLE_PRIMARY;
}

struct model_view model_view(const struct model *model, const struct model_group *group,
                             size_t instance)
{
    const struct model_replica *replica = &group->replicas[instance];
    struct model_view view = {
        .cluster_type = (int)group->cluster,
        .is_distributed =
            model_global_group(model, group) && model_view_is_distributed(model, group, instance),
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

    if (replica->lies.frozen)
        return *replica->lies.frozen;
    if (replica->phase == MODEL_SECONDARY && replica->is_asynchronous)
        view.synchronization_state = 1;
    if (replica->phase == MODEL_SECONDARY && !model_hears_primary(model, group, instance))
        view_orphan(model, &view);
    /* Section 9: a forwarder is PRIMARY in its own group and writes nothing. */
    if (replica->phase == MODEL_PRIMARY && model_is_forwarder(model, group))
        view.updateability = "READ_ONLY";
    view_databases(model, group, instance, &view);
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

struct model_view model_view_database(const struct model *model,
                                      const struct model_database *database, size_t instance)
{
    struct model_view view = model_view(model, database->group, instance);
    const struct model_copy *copy = &database->copies[instance];

    if (view.role != ROLE_SECONDARY || database->group->replicas[instance].lies.frozen)
        return view;
    if (is_standing_still(database, instance))
        view.synchronization_state = 0;
    else if (copy->is_lagging && view.synchronization_state)
        view.synchronization_state = 1;
    return view;
}

/* Of log blocks, which are 512 bytes. */
static int64_t lacks_kb(const struct model_content *all, const struct model_content *own)
{
    return all->log_block > own->log_block ? (int64_t)(all->log_block - own->log_block + 1) / 2 : 0;
}

/* 4.4: file, block and slot of the log, as decimal digits. */
struct model_log model_view_log(const struct model *model, const struct model_database *database,
                                size_t instance)
{
    const struct model_content *all = &model_source(model, database)->content;
    const struct model_content *own = model_hardened(model, database, instance);
    const struct model_content *redone = database->copies[instance].redone;
    struct model_log log = {.send_kb = lacks_kb(all, own)};

    if (!redone)
        redone = own;
    log.redo_kb = lacks_kb(own, redone);
    snprintf(log.end, sizeof(log.end), "%" PRIu64 "%010" PRIu64 "00001", 40 + own->log_file,
             168 + own->log_block);
    snprintf(log.redone, sizeof(log.redone), "%" PRIu64 "%010" PRIu64 "00002",
             40 + redone->log_file, 167 + redone->log_block);
    return log;
}

void model_guid(enum model_guid kind, uint64_t number, char ret_text[static MODEL_GUID_SIZE])
{
    snprintf(ret_text, MODEL_GUID_SIZE, "5A1B%04X-0000-4000-8000-%012" PRIX64, (unsigned)kind,
             number & UINT64_C(0xffffffffffff));
}

bool model_view_is_connected(const struct model *model, const struct model_group *group,
                             size_t instance)
{
    return group->replicas[instance].is_member && model_answers(model, instance) &&
           model_hears_primary(model, group, instance);
}

void model_view_freeze(const struct model *model, struct model_group *group, size_t instance,
                       bool is_frozen)
{
    struct model_lies *lies = &group->replicas[instance].lies;
    struct model_view view;

    free(lies->frozen);
    lies->frozen = NULL;
    free(lies->frozen_primary);
    lies->frozen_primary = NULL;
    if (!is_frozen)
        return;
    view = model_view(model, group, instance);
    if (view.primary_replica)
        view.primary_replica = lies->frozen_primary = memory_copy(view.primary_replica);
    lies->frozen = memory_new(sizeof(view));
    *lies->frozen = view;
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
    const struct model_replica *replica;

    if (database->copies[instance].is_restoring)
        return 927;
    if (!group)
        return 0;
    replica = &group->replicas[instance];
    if (!has_quorum(model, group, instance))
        return 988;
    switch (replica->phase) {
    case MODEL_PRIMARY:
        if (model_is_forwarder(model, group))
            break;
        return replica->refuses_intent && has_read_intent ? 979 : 0;
    case MODEL_PRIMARY_PENDING:
    case MODEL_PRIMARY_RECOVERING:
        return 922;
    case MODEL_RESOLVING:
        return 983;
    case MODEL_SECONDARY:
        break;
    }
    /* The text of 976 has both reasons. */
    if (replica->readable == MODEL_READABLE_NO || database->copies[instance].is_suspended)
        return 976;
    if (replica->readable == MODEL_READABLE_INTENT && !has_read_intent)
        return 978;
    return 0;
}

bool model_view_is_writable(const struct model *model, const struct model_database *database,
                            size_t instance)
{
    const struct model_group *group = database->group;

    if (!group)
        return !database->copies[instance].is_restoring;
    return group->replicas[instance].phase == MODEL_PRIMARY && has_quorum(model, group, instance) &&
           !model_is_forwarder(model, group);
}
