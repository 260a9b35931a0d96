/* SPDX-License-Identifier: Apache-2.0 */
#include "policy_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define assert_verdict(scene, expected, why)                                                       \
    do {                                                                                           \
        assert_int_equal(scene_decide(scene), expected);                                           \
        assert_string_equal(reason_code((scene)->verdict.reason), reason_code(why));               \
    } while (0)

static struct scene scene;

static int set_up(void **state)
{
    (void)state;
    scene_init(&scene, 3, WSFC);
    return 0;
}

static int set_up_pair(void **state)
{
    (void)state;
    scene_init(&scene, 2, WSFC);
    scene.rules.witnesses = POLICY_WITNESSES_SILENCE;
    scene.rules.cluster_type = POLICY_CLUSTER_WSFC;
    return 0;
}

static int set_up_external(void **state)
{
    (void)state;
    scene_init(&scene, 3, EXTERNAL);
    scene.rules.cluster_type = POLICY_CLUSTER_EXTERNAL;
    return 0;
}

static void test_promotion(void **state)
{
    (void)state;
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    assert_int_equal(scene.verdict.kind, POLICY_KIND_PROMOTION);
    assert_true(scene.verdict.mints_epoch);
    assert_int_equal(scene.verdict.witnesses, 3);
    assert_int_equal(scene.verdict.witnesses_needed, 2);
    assert_false(scene.verdict.is_by_silence);
}

static void test_secondary_asks(void **state)
{
    (void)state;
    scene_asks(&scene, C);
    assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_NOT_PRIMARY);
    assert_int_equal(scene.verdict.rules[POLICY_RULE_CANDIDATE].result, POLICY_FAILED);
    assert_int_equal(scene.verdict.rules[POLICY_RULE_SESSION].result, POLICY_NOT_REACHED);
    assert_int_equal(scene.verdict.rules[POLICY_RULE_BRAKE].result, POLICY_NOT_REACHED);
    /* Also one that is being promoted: its old view, and RESOLVING. */
    scene_says(&scene, C, RESOLVING, NULL);
    assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_NOT_PRIMARY);
}

static void test_old_primary_asks(void **state)
{
    (void)state;
    scene_records(&scene, B, POLICY_ORIGIN_GRANTED);
    scene_asks(&scene, A);
    assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_NOT_PRIMARY);
    /* Back from a partition, it still believes in itself; nobody else does. */
    scene_says(&scene, A, PRIMARY, "SQLA");
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
    assert_int_equal(scene.verdict.witnesses, 1);
    /* And cut off together with escrowd from the others. */
    scene_silent(&scene, B);
    scene_silent(&scene, C);
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
}

static void test_two_say_primary(void **state)
{
    (void)state;
    /* One hung old primary: the failover is not blocked in silence. */
    scene_says(&scene, A, PRIMARY, "SQLA");
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RIVAL_PRIMARY);
    assert_int_equal(scene.verdict.kind, POLICY_KIND_PROMOTION);
    assert_true(scene.verdict.mints_epoch);
    /* The rival that the witnesses name wins. */
    scene_says(&scene, C, SECONDARY, "SQLA");
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
}

static void test_witnesses_missing(void **state)
{
    (void)state;
    scene_says(&scene, A, RESOLVING, NULL);
    scene_says(&scene, C, RESOLVING, NULL);
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
    /* A view frozen before the failover. */
    scene_says(&scene, C, SECONDARY, "SQLA");
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
    /* NULL is no rival either: one other witness is enough. */
    scene_says(&scene, C, SECONDARY, "sqlb");
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    assert_int_equal(scene.verdict.witnesses, 2);
}

static void test_witness_must_bear_its_name(void **state)
{
    (void)state;
    scene_silent(&scene, A);
    scene.facts.elapsed_ms = 1000;
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    strcpy(scene_of(&scene, C)->state.server_name, "SQLX");
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
}

static void test_candidate_names_another(void **state)
{
    (void)state;
    /* Its own word counts as one witness, no more and no less. */
    scene_says(&scene, B, PRIMARY, "SQLC");
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    assert_int_equal(scene.verdict.witnesses, 2);
    scene_says(&scene, A, SECONDARY, NULL);
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
}

static void test_one_liar_of_three(void **state)
{
    (void)state;
    /* The true primary is B. C lies for itself, or for A: never a release, never a block. */
    scene_says(&scene, C, PRIMARY, "SQLC");
    scene_asks(&scene, C);
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
    scene_says(&scene, C, SECONDARY, "SQLA");
    scene_asks(&scene, A);
    assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_NOT_PRIMARY);
    scene_asks(&scene, B);
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
}

static void test_one_hung_of_three(void **state)
{
    (void)state;
    /* The old primary is a black hole: the decision is late by rival_wait and no more. */
    scene_pending(&scene, A);
    scene.facts.elapsed_ms = 31;
    assert_verdict(&scene, POLICY_WAIT, REASON_RIVAL_PRIMARY);
    assert_int_equal(scene.verdict.wait_until_ms, 30 + 300);
    scene.facts.elapsed_ms = 329;
    assert_verdict(&scene, POLICY_WAIT, REASON_RIVAL_PRIMARY);
    scene.facts.elapsed_ms = 330;
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    /* Failing to log in there says nothing about its role either. */
    scene.facts.elapsed_ms = 329;
    scene_says(&scene, A, SECONDARY, NULL);
    scene_of(&scene, A)->state.outcome = PROBE_LOGIN_REFUSED;
    assert_verdict(&scene, POLICY_WAIT, REASON_RIVAL_PRIMARY);
    /* Known to be dead: no wait at all. */
    scene_dead(&scene, A);
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    scene_pending(&scene, A);
    scene_of(&scene, A)->history.dead_for_ms = POLICY_DEAD_MS;
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    scene_of(&scene, A)->history.dead_for_ms = POLICY_DEAD_MS - 1;
    assert_verdict(&scene, POLICY_WAIT, REASON_RIVAL_PRIMARY);
    scene_of(&scene, A)->history.dead_for_ms = POLICY_DEAD_MS;
    scene_of(&scene, A)->history.is_known = false;
    assert_verdict(&scene, POLICY_WAIT, REASON_RIVAL_PRIMARY);
}

static void test_answers_arrive(void **state)
{
    (void)state;
    scene_pending(&scene, A);
    scene_pending(&scene, B);
    scene_pending(&scene, C);
    scene.facts.session = POLICY_SESSION_PENDING;
    scene.facts.elapsed_ms = 0;
    assert_verdict(&scene, POLICY_WAIT, REASON_CANDIDATE_UNREACHABLE);
    assert_int_equal(scene.verdict.wait_until_ms, POLICY_NO_DEADLINE);
    assert_int_equal(scene.verdict.rules[POLICY_RULE_WITNESSES].result, POLICY_NOT_REACHED);
    scene_says(&scene, B, PRIMARY, "SQLB");
    assert_verdict(&scene, POLICY_WAIT, REASON_SESSION_NOT_FOUND);
    scene.facts.session = POLICY_SESSION_FOUND;
    assert_verdict(&scene, POLICY_WAIT, REASON_RIVAL_PRIMARY);
    assert_int_equal(scene.verdict.wait_until_ms, POLICY_NO_DEADLINE);
    assert_int_equal(scene.verdict.rules[POLICY_RULE_WITNESSES].result, POLICY_WAITING);
    scene_says(&scene, C, SECONDARY, "SQLB");
    assert_verdict(&scene, POLICY_WAIT, REASON_RIVAL_PRIMARY);
    assert_int_equal(scene.verdict.wait_until_ms, 330);
    scene_says(&scene, A, SECONDARY, NULL);
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
}

static void test_hopeless_is_denied_early(void **state)
{
    (void)state;
    scene_pending(&scene, A);
    scene_says(&scene, C, SECONDARY, "SQLA");
    assert_verdict(&scene, POLICY_WAIT, REASON_RIVAL_PRIMARY);
    scene.facts.session = POLICY_SESSION_PENDING;
    scene_dead(&scene, A);
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
}

static void test_candidate_facts(void **state)
{
    struct probe_state *candidate = &scene_of(&scene, B)->state;
    const struct probe_state right = *candidate;

    (void)state;
    strcpy(candidate->server_name, "sqlb");
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    strcpy(candidate->server_name, "SQLX");
    assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_NAME_MISMATCH);
    *candidate = right;
    candidate->operational_state = 1;
    assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_NOT_ONLINE);
    *candidate = right;
    candidate->recovery_health = 0;
    assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_NOT_ONLINE);
    *candidate = right;
    candidate->database_state = 2;
    assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_NOT_ONLINE);
    *candidate = right;
    candidate->is_read_write = false;
    assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_NOT_WRITABLE);
    *candidate = right;
    candidate->is_forwarder = true;
    assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_FORWARDER);
    *candidate = right;
    candidate->outcome = PROBE_TLS_FAILED;
    assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_UNREACHABLE);
    *candidate = right;
    scene_silent(&scene, B);
    assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_UNREACHABLE);
}

static void test_cluster_and_quorum(void **state)
{
    struct probe_state *candidate = &scene_of(&scene, B)->state;

    (void)state;
    candidate->quorum_state = 2;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_FORCED_QUORUM);
    candidate->quorum_state = 0;
    assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_NO_QUORUM);
    candidate->quorum_state = 1;
    candidate->has_quorum_row = false;
    assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_NO_QUORUM);
    candidate->cluster_type = NONE;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_CLUSTER_TYPE_NONE);
    /* A candidate cannot talk itself out of the question for the quorum. */
    scene.rules.cluster_type = POLICY_CLUSTER_WSFC;
    assert_verdict(&scene, POLICY_DENY, REASON_CLUSTER_TYPE_MISMATCH);
    candidate->cluster_type = EXTERNAL;
    assert_verdict(&scene, POLICY_DENY, REASON_CLUSTER_TYPE_MISMATCH);
    candidate->cluster_type = -1;
    scene.rules.cluster_type = POLICY_CLUSTER_ANY;
    assert_verdict(&scene, POLICY_DENY, REASON_CLUSTER_TYPE_MISMATCH);
}

static void test_session_missing(void **state)
{
    (void)state;
    scene.facts.session = POLICY_SESSION_MISSING;
    assert_verdict(&scene, POLICY_DENY, REASON_SESSION_NOT_FOUND);
}

static void test_request_outside_the_rules(void **state)
{
    (void)state;
    scene.request.replica = "x";
    assert_verdict(&scene, POLICY_DENY, REASON_REPLICA_UNKNOWN);
    assert_int_equal(scene.verdict.rules[POLICY_RULE_CANDIDATE].result, POLICY_NOT_REACHED);
    scene_asks(&scene, B);
    scene.request.database = "ssisdb";
    assert_verdict(&scene, POLICY_DENY, REASON_DATABASE_UNKNOWN);
    scene.request.database = "SSISDB";
    scene.request.purpose = PURPOSE_RECOVER;
    assert_verdict(&scene, POLICY_DENY, REASON_ACT_MISMATCH);
    memset(&scene.request.purpose, 0, sizeof(scene.request.purpose));
    scene.request.is_order_valid = true;
    assert_verdict(&scene, POLICY_DENY, REASON_ACT_MISMATCH);
}

static void test_facts_are_found_by_name(void **state)
{
    (void)state;
    /* Another order, and a replica that the rules do not know. */
    scene.facts.replicas[3] = scene.facts.replicas[0];
    strcpy(scene.facts.replicas[0].instance, "stranger");
    scene.facts.replica_count = 4;
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    /* Facts of strangers count for nothing, missing facts count as silence. */
    scene.facts.replica_count = 2;
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
    scene.facts.replica_count = 0;
    assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_UNREACHABLE);
}

static void test_asked_again(void **state)
{
    (void)state;
    scene_records(&scene, B, POLICY_ORIGIN_GRANTED);
    for (int64_t requests = 1; requests <= 5; requests++) {
        scene_granted(&scene, POLICY_GRANT_UNSETTLED, requests);
        assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION_REPEAT);
        assert_false(scene.verdict.mints_epoch);
    }
    scene_granted(&scene, POLICY_GRANT_UNSETTLED, 6);
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RETRIES_EXHAUSTED);
    assert_int_equal(scene.verdict.kind, POLICY_KIND_REPEAT);
    assert_false(scene.verdict.mints_epoch);
    scene_granted(&scene, POLICY_GRANT_UNSETTLED, 1);
    scene.ledger.grant.age_ms = 86400000;
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION_REPEAT);
    scene.ledger.grant.age_ms = 86400001;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_WINDOW_PASSED);
    scene.ledger.grant.age_ms = POLICY_NEVER;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_WINDOW_PASSED);
}

static void test_asked_again_by_another(void **state)
{
    (void)state;
    /* The others are no primary; and even a ledger that lost its mind grants nothing. */
    scene_records(&scene, B, POLICY_ORIGIN_GRANTED);
    scene_granted(&scene, POLICY_GRANT_UNSETTLED, 1);
    scene_asks(&scene, A);
    assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_NOT_PRIMARY);
    scene_asks(&scene, B);
    strcpy(scene.ledger.grant.replica, "a");
    assert_verdict(&scene, POLICY_DENY, REASON_GRANTED_TO_OTHER);
    scene.ledger.grant.state = POLICY_GRANT_SETTLED;
    assert_verdict(&scene, POLICY_DENY, REASON_GRANTED_TO_OTHER);
}

static void test_baseline_primary_asks(void **state)
{
    (void)state;
    scene_records(&scene, B, POLICY_ORIGIN_BASELINE);
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    assert_int_equal(scene.verdict.kind, POLICY_KIND_RESTART);
    assert_true(scene.verdict.mints_epoch);
    scene.ledger.has_record = false;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_NO_BASELINE);
    assert_true(scene.verdict.mints_epoch);
}

static void test_observed_promotion(void **state)
{
    (void)state;
    scene_records(&scene, B, POLICY_ORIGIN_OBSERVED);
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    assert_false(scene.verdict.mints_epoch);
    scene.ledger.epoch_age_ms = 86400001;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_WINDOW_PASSED);
    assert_false(scene.verdict.mints_epoch);
    scene.ledger.epoch_age_ms = POLICY_NEVER;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_WINDOW_PASSED);
}

static void test_second_database_of_a_granted_epoch(void **state)
{
    (void)state;
    /* SSISDB's release minted the epoch; OTHER has not had one in it. */
    scene_records(&scene, B, POLICY_ORIGIN_GRANTED);
    scene.request.database = "OTHER";
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    assert_false(scene.verdict.mints_epoch);
}

static void test_restart(void **state)
{
    struct probe_state *candidate = &scene_of(&scene, B)->state;

    (void)state;
    scene_records(&scene, B, POLICY_ORIGIN_GRANTED);
    scene_granted(&scene, POLICY_GRANT_SETTLED, 1);
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    /* Allowed by the policy, but only where a hint has changed, and MaxLSN is none. */
    scene.rules.on_restart = POLICY_RESTART_ALLOW;
    strcpy(candidate->recovery_lsn, "35000000012300001");
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    strcpy(scene.ledger.hints.recovery_lsn, "35000000012300001");
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    strcpy(scene.ledger.hints.recovery_lsn, MAX_LSN);
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    strcpy(scene.ledger.hints.recovery_lsn, "34000000099900001");
    assert_verdict(&scene, POLICY_ALLOW, REASON_RESTART_ALLOWED);
    assert_int_equal(scene.verdict.kind, POLICY_KIND_RESTART);
    assert_true(scene.verdict.mints_epoch);
    strcpy(candidate->recovery_lsn, MAX_LSN);
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    candidate->has_sequence_number = true;
    candidate->sequence_number = 41;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    scene.ledger.hints.has_sequence_number = true;
    scene.ledger.hints.sequence_number = 41;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    scene.ledger.hints.sequence_number = 40;
    assert_verdict(&scene, POLICY_ALLOW, REASON_RESTART_ALLOWED);
    scene.rules.on_restart = POLICY_RESTART_APPROVAL;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
}

static void test_brake(void **state)
{
    (void)state;
    scene.ledger.releases_last_hour = 5;
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    scene.ledger.releases_last_hour = 6;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_BRAKE);
    assert_true(scene.verdict.mints_epoch);
    /* The first reason is the one that is said. */
    scene_says(&scene, A, PRIMARY, "SQLA");
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RIVAL_PRIMARY);
    assert_int_equal(scene.verdict.rules[POLICY_RULE_BRAKE].result, POLICY_APPROVAL);
}

static void test_orders(void **state)
{
    static const enum act_purpose purposes[] = {PURPOSE_ROTATE, PURPOSE_DRILL};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(purposes); i++) {
        set_up(state);
        scene.request.purpose = purposes[i];
        assert_verdict(&scene, POLICY_DENY, REASON_ORDER_UNKNOWN);
        scene.request.is_order_valid = true;
        scene_records(&scene, B, POLICY_ORIGIN_BASELINE);
        assert_verdict(&scene, POLICY_ALLOW, REASON_ORDERED);
        assert_int_equal(scene.verdict.kind, POLICY_KIND_ORDER);
        assert_false(scene.verdict.mints_epoch);
        /* The same proof but for rule 5. */
        scene.ledger.releases_last_hour = 6;
        assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_BRAKE);
        scene.facts.session = POLICY_SESSION_MISSING;
        assert_verdict(&scene, POLICY_DENY, REASON_SESSION_NOT_FOUND);
        scene_asks(&scene, C);
        assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_NOT_PRIMARY);
    }
    /* An order is no promotion. */
    set_up(state);
    scene_records(&scene, B, POLICY_ORIGIN_BASELINE);
    scene.request.is_order_valid = true;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
}

/* The ledger as the keeper would fold it from a verdict. */
static void fold(size_t candidate)
{
    if (scene.verdict.mints_epoch)
        scene_records(&scene, candidate, POLICY_ORIGIN_GRANTED);
    scene_granted(&scene, POLICY_GRANT_SETTLED, 1);
    strcpy(scene.ledger.hints.recovery_lsn, scene_of(&scene, candidate)->state.recovery_lsn);
}

static void test_back_and_forth_with_max_lsn(void **state)
{
    static const size_t order[] = {B, A, B, A, B};
    static const char *const servers[] = {[A] = "SQLA", [B] = "SQLB"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        size_t primary = order[i], other = primary == A ? B : A;

        scene_says(&scene, primary, PRIMARY, servers[primary]);
        scene_says(&scene, other, SECONDARY, servers[primary]);
        scene_says(&scene, C, SECONDARY, servers[primary]);
        strcpy(scene_of(&scene, primary)->state.recovery_lsn, MAX_LSN);
        scene_asks(&scene, other);
        assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_NOT_PRIMARY);
        scene_asks(&scene, primary);
        assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
        assert_true(scene.verdict.mints_epoch);
        fold(primary);
        assert_int_equal(scene.ledger.epoch, 8 + i);
        assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    }
}

static void test_fewer_witnesses_than_a_majority(void **state)
{
    (void)state;
    scene.rules.witness_count = 1;
    scene_silent(&scene, A);
    scene_silent(&scene, C);
    scene.facts.elapsed_ms = 319;
    assert_verdict(&scene, POLICY_WAIT, REASON_RIVAL_PRIMARY);
    assert_int_equal(scene.verdict.wait_until_ms, 20 + 300);
    scene.facts.elapsed_ms = 320;
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    /* Never against as many who name another. */
    scene_says(&scene, C, SECONDARY, "SQLA");
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
    scene_says(&scene, A, SECONDARY, "SQLB");
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
}

static void test_pair_with_both_up(void **state)
{
    (void)state;
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    assert_false(scene.verdict.is_by_silence);
    scene_says(&scene, A, PRIMARY, "SQLA");
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
}

static void test_pair_with_the_old_primary_gone(void **state)
{
    struct policy_history *gone = &scene_of(&scene, A)->history;

    (void)state;
    /* The watch saw it 2 s ago: three more seconds must pass. */
    scene_pending(&scene, A);
    assert_verdict(&scene, POLICY_WAIT, REASON_RIVAL_PRIMARY);
    assert_int_equal(scene.verdict.rules[POLICY_RULE_WITNESSES].reason, REASON_SILENCE_UNPROVEN);
    assert_int_equal(scene.verdict.wait_until_ms, 100 + 3000);
    gone->primary_ago_ms = 4999;
    scene_dead(&scene, A);
    assert_verdict(&scene, POLICY_WAIT, REASON_SILENCE_UNPROVEN);
    assert_int_equal(scene.verdict.wait_until_ms, 101);
    gone->primary_ago_ms = 5000;
    assert_verdict(&scene, POLICY_ALLOW, REASON_CANDIDATE_SILENCE);
    assert_true(scene.verdict.is_by_silence);
    assert_true(scene.verdict.mints_epoch);
    assert_int_equal(scene.verdict.witnesses, 1);
    /* Silent instead of dead: also rival_wait. */
    scene_silent(&scene, A);
    scene.facts.elapsed_ms = 319;
    assert_verdict(&scene, POLICY_WAIT, REASON_RIVAL_PRIMARY);
    scene.facts.elapsed_ms = 320;
    assert_verdict(&scene, POLICY_ALLOW, REASON_CANDIDATE_SILENCE);
    /* Up again without a view of the group. */
    scene_says(&scene, A, RESOLVING, NULL);
    assert_verdict(&scene, POLICY_ALLOW, REASON_CANDIDATE_SILENCE);
    scene_says(&scene, A, RESOLVING, "SQLA");
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
}

static void test_pair_without_what_silence_needs(void **state)
{
    struct policy_replica_facts *own = scene_of(&scene, B), *gone = scene_of(&scene, A);
    struct scene held;

    (void)state;
    scene_dead(&scene, A);
    gone->history.primary_ago_ms = 60000;
    held = scene;
    assert_verdict(&scene, POLICY_ALLOW, REASON_CANDIDATE_SILENCE);

    /* History of either side is missing or says otherwise. */
    own->history.is_known = false;
    assert_verdict(&scene, POLICY_DENY, REASON_SILENCE_UNPROVEN);
    scene = held;
    own->history.was_synchronised = false;
    assert_verdict(&scene, POLICY_DENY, REASON_SILENCE_UNPROVEN);
    scene = held;
    gone->history.is_known = false;
    assert_verdict(&scene, POLICY_DENY, REASON_SILENCE_UNPROVEN);
    scene = held;
    gone->history.primary_ago_ms = POLICY_NEVER;
    assert_verdict(&scene, POLICY_DENY, REASON_SILENCE_UNPROVEN);
    /* It could still answer. */
    scene_pending(&scene, A);
    assert_verdict(&scene, POLICY_WAIT, REASON_RIVAL_PRIMARY);

    /* The candidate does not even name itself; another kind of cluster; another policy. */
    scene = held;
    scene_says(&scene, B, PRIMARY, NULL);
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
    scene = held;
    own->state.quorum_state = 2;
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
    scene = held;
    scene.rules.cluster_type = POLICY_CLUSTER_ANY;
    own->state.cluster_type = EXTERNAL;
    own->state.has_sequence_number = true;
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
    scene = held;
    scene.rules.witnesses = POLICY_WITNESSES_COUNT;
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
}

static void test_pair_the_old_primary_asks(void **state)
{
    (void)state;
    /* The mirror image: it was never a secondary, so silence never speaks for it. */
    scene_says(&scene, A, PRIMARY, "SQLA");
    scene_dead(&scene, B);
    scene_asks(&scene, A);
    scene_records(&scene, B, POLICY_ORIGIN_GRANTED);
    scene_of(&scene, B)->history.primary_ago_ms = 60000;
    assert_verdict(&scene, POLICY_DENY, REASON_SILENCE_UNPROVEN);
}

static void test_external(void **state)
{
    struct probe_state *candidate = &scene_of(&scene, B)->state;

    (void)state;
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    /* A newer configuration elsewhere, whatever that replica says it is. */
    scene_of(&scene, C)->state.sequence_number = 41;
    assert_verdict(&scene, POLICY_DENY, REASON_SEQUENCE_NOT_MAXIMUM);
    candidate->sequence_number = 41;
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    candidate->has_sequence_number = false;
    assert_verdict(&scene, POLICY_DENY, REASON_SEQUENCE_NOT_MAXIMUM);
    candidate->has_sequence_number = true;
    /* One with an unknown number, or that is another server, has none. */
    scene_of(&scene, C)->state.sequence_number = 99;
    scene_of(&scene, C)->state.has_sequence_number = false;
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    scene_of(&scene, C)->state.has_sequence_number = true;
    strcpy(scene_of(&scene, C)->state.server_name, "SQLX");
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    /* Quorum is never asked for. */
    candidate->has_quorum_row = false;
    candidate->quorum_state = 2;
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
}

static void test_external_rival(void **state)
{
    (void)state;
    scene_says(&scene, A, PRIMARY, "SQLA");
    scene_of(&scene, B)->state.sequence_number = 41;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RIVAL_PRIMARY);
    scene_of(&scene, A)->state.sequence_number = 42;
    assert_verdict(&scene, POLICY_DENY, REASON_SEQUENCE_NOT_MAXIMUM);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(policy_outcome_name(POLICY_NEEDS_APPROVAL), "needs_approval");
    assert_string_equal(policy_rule_name(POLICY_RULE_BRAKE), "brake");
    assert_string_equal(policy_result_name(POLICY_NOT_REACHED), "not_reached");
    assert_string_equal(policy_kind_name(POLICY_KIND_RESTART), "restart");
    assert_string_equal(policy_rule_name(POLICY_RULE_COUNT), "unknown");
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)
#define PAIR_TEST(name) cmocka_unit_test_setup(name, set_up_pair)
#define EXTERNAL_TEST(name) cmocka_unit_test_setup(name, set_up_external)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_promotion),
        TEST(test_secondary_asks),
        TEST(test_old_primary_asks),
        TEST(test_two_say_primary),
        TEST(test_witnesses_missing),
        TEST(test_witness_must_bear_its_name),
        TEST(test_candidate_names_another),
        TEST(test_one_liar_of_three),
        TEST(test_one_hung_of_three),
        TEST(test_answers_arrive),
        TEST(test_hopeless_is_denied_early),
        TEST(test_candidate_facts),
        TEST(test_cluster_and_quorum),
        TEST(test_session_missing),
        TEST(test_request_outside_the_rules),
        TEST(test_facts_are_found_by_name),
        TEST(test_asked_again),
        TEST(test_asked_again_by_another),
        TEST(test_baseline_primary_asks),
        TEST(test_observed_promotion),
        TEST(test_second_database_of_a_granted_epoch),
        TEST(test_restart),
        TEST(test_brake),
        TEST(test_orders),
        TEST(test_back_and_forth_with_max_lsn),
        TEST(test_fewer_witnesses_than_a_majority),
        PAIR_TEST(test_pair_with_both_up),
        PAIR_TEST(test_pair_with_the_old_primary_gone),
        PAIR_TEST(test_pair_without_what_silence_needs),
        PAIR_TEST(test_pair_the_old_primary_asks),
        EXTERNAL_TEST(test_external),
        EXTERNAL_TEST(test_external_rival),
        TEST(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
