/* SPDX-License-Identifier: Apache-2.0 */
#include "policy_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const instances[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};
static const char *const servers[] = {"SQLA", "SQLB", "SQLC", "SQLD", "SQLE",
                                      "SQLF", "SQLG", "SQLH", "SQLI"};
static const char *const databases[] = {"SSISDB", "OTHER"};

struct policy_replica_facts *scene_of(struct scene *scene, size_t replica)
{
    return &scene->facts.replicas[replica];
}

void scene_says(struct scene *scene, size_t replica, int32_t role, const char *primary)
{
    struct policy_replica_facts *known = scene_of(scene, replica);

    known->status = POLICY_ANSWERED;
    known->state.outcome = PROBE_ANSWERED;
    known->state.role = role;
    known->state.is_read_write = role == PRIMARY;
    snprintf(known->state.primary_replica, sizeof(known->state.primary_replica), "%s",
             primary ? primary : "");
}

void scene_pending(struct scene *scene, size_t replica)
{
    scene_of(scene, replica)->status = POLICY_PENDING;
}

void scene_silent(struct scene *scene, size_t replica)
{
    scene_of(scene, replica)->status = POLICY_SILENT;
}

void scene_dead(struct scene *scene, size_t replica)
{
    scene_of(scene, replica)->status = POLICY_ANSWERED;
    scene_of(scene, replica)->state.outcome = PROBE_REFUSED;
}

void scene_asks(struct scene *scene, size_t replica)
{
    scene->request.replica = instances[replica];
}

void scene_records(struct scene *scene, size_t primary, enum policy_origin origin)
{
    scene->ledger.has_record = true;
    scene->ledger.epoch++;
    scene->ledger.origin = origin;
    scene->ledger.epoch_age_ms = 1000;
    scene->ledger.grant.state = POLICY_GRANT_NONE;
    scene->ledger.grant.requests = 0;
    snprintf(scene->ledger.primary, sizeof(scene->ledger.primary), "%s", instances[primary]);
}

void scene_granted(struct scene *scene, enum policy_grant_state state, int64_t requests)
{
    scene->ledger.grant.state = state;
    scene->ledger.grant.requests = requests;
    scene->ledger.grant.age_ms = 1000;
    snprintf(scene->ledger.grant.replica, sizeof(scene->ledger.grant.replica), "%s",
             scene->ledger.primary);
}

static void add_replica(struct scene *scene, size_t i, int32_t cluster_type)
{
    struct policy_replica_facts *known = scene_of(scene, i);

    scene->replicas[i] = (struct policy_replica){instances[i], servers[i]};
    snprintf(known->instance, sizeof(known->instance), "%s", instances[i]);
    snprintf(known->state.server_name, sizeof(known->state.server_name), "%s", servers[i]);
    known->answered_ms = 10 * ((int64_t)i + 1);
    known->state.cluster_type = cluster_type;
    known->state.operational_state = 2;
    known->state.recovery_health = 1;
    known->state.synchronization_health = 2;
    known->state.synchronization_state = 2;
    known->state.has_quorum_row = cluster_type == WSFC;
    known->state.quorum_state = cluster_type == WSFC;
    known->state.has_sequence_number = cluster_type == EXTERNAL;
    known->state.sequence_number = cluster_type == EXTERNAL ? 40 : 0;
    known->history = (struct policy_history){
        .is_known = true,
        .last_role = i == A ? PRIMARY : SECONDARY,
        .was_synchronised = i != A,
        .primary_ago_ms = i == A ? 2000 : POLICY_NEVER,
    };
    scene_says(scene, i, i == B ? PRIMARY : SECONDARY, servers[B]);
}

void scene_init(struct scene *scene, size_t replicas, int32_t cluster_type)
{
    *scene = (struct scene){
        .rules =
            {
                .name = "g",
                .availability_group = "AG",
                .databases = databases,
                .database_count = ARRAY_LEN(databases),
                .replicas = scene->replicas,
                .replica_count = replicas,
                .witness_count = replicas / 2 + 1,
                .rival_wait_ms = 300,
                .dead_for_ms = 5000,
                .window_ms = 86400000,
                .retries = 5,
                .brake = 6,
                .approvals = 2,
            },
        .request = {.purpose = PURPOSE_PROMOTE, .database = "SSISDB"},
        .facts = {.elapsed_ms = 100, .session = POLICY_SESSION_FOUND, .replica_count = replicas},
        .ledger = {.epoch = 6},
    };
    for (size_t i = 0; i < replicas; i++)
        add_replica(scene, i, cluster_type);
    scene_asks(scene, B);
    scene_records(scene, A, POLICY_ORIGIN_BASELINE);
}

enum policy_outcome scene_decide(struct scene *scene)
{
    struct policy_verdict *verdict = &scene->verdict;
    bool is_held = false, is_failed = false;

    policy_decide(&scene->rules, &scene->request, &scene->facts, &scene->ledger, verdict);
    for (size_t i = 0; i < POLICY_RULE_COUNT; i++) {
        bool has_reason = verdict->rules[i].reason != REASON_NONE;

        is_held |= verdict->rules[i].result != POLICY_PASSED;
        is_failed |= verdict->rules[i].result != POLICY_PASSED &&
                     verdict->rules[i].result != POLICY_APPROVAL;
        assert_int_equal(has_reason, verdict->rules[i].result == POLICY_FAILED ||
                                         verdict->rules[i].result == POLICY_WAITING ||
                                         verdict->rules[i].result == POLICY_APPROVAL);
    }
    if (verdict->reason == REASON_APPROVED)
        assert_true(verdict->outcome == POLICY_ALLOW && is_held && !is_failed);
    else
        assert_int_equal(verdict->outcome == POLICY_ALLOW, !is_held);
    assert_int_not_equal(verdict->reason, REASON_NONE);
    assert_int_not_equal(verdict->reason, REASON_INTERNAL);
    if (verdict->outcome == POLICY_DENY || verdict->outcome == POLICY_WAIT) {
        assert_int_equal(verdict->kind, POLICY_KIND_NONE);
        assert_false(verdict->mints_epoch);
    } else {
        assert_int_not_equal(verdict->kind, POLICY_KIND_NONE);
    }
    return verdict->outcome;
}
