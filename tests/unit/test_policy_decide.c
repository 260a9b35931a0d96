/* SPDX-License-Identifier: Apache-2.0 */
#include "policy_scene.h"

static struct scene scene;

static int set_up(void **state)
{
    (void)state;
    scene_init(&scene, 3, WSFC);
    return 0;
}

static int set_up_external(void **state)
{
    (void)state;
    scene_init(&scene, 3, EXTERNAL);
    scene.rules.cluster_type = POLICY_CLUSTER_EXTERNAL;
    return 0;
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
    scene_text(scene_of(&scene, C)->state.server_name, "SQLX");
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

/* The wait for rivals begins when enough have named the candidate, whoever else was named before.
 */
static void test_when_witnesses_sufficed(void **state)
{
    (void)state;
    scene_init(&scene, 5, WSFC);
    scene_says(&scene, A, SECONDARY, "SQLC");
    scene_pending(&scene, D);
    scene_of(&scene, 4)->answered_ms = 250;
    scene.facts.elapsed_ms = 251;
    assert_verdict(&scene, POLICY_WAIT, REASON_RIVAL_PRIMARY);
    assert_int_equal(scene.verdict.witnesses, 3);
    assert_int_equal(scene.verdict.wait_until_ms, 250 + 300);
    scene.facts.elapsed_ms = 549;
    assert_verdict(&scene, POLICY_WAIT, REASON_RIVAL_PRIMARY);
    scene.facts.elapsed_ms = 550;
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
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
    scene_text(candidate->server_name, "sqlb");
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    scene_text(candidate->server_name, "SQLX");
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
    scene_text(scene.facts.replicas[0].instance, "stranger");
    scene.facts.replica_count = 4;
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    /* Facts of strangers count for nothing, missing facts count as silence. */
    scene.facts.replica_count = 2;
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
    scene.facts.replica_count = 0;
    assert_verdict(&scene, POLICY_DENY, REASON_CANDIDATE_UNREACHABLE);
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
    scene_text(scene_of(&scene, C)->state.server_name, "SQLX");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_secondary_asks, set_up),
        cmocka_unit_test_setup(test_old_primary_asks, set_up),
        cmocka_unit_test_setup(test_two_say_primary, set_up),
        cmocka_unit_test_setup(test_witnesses_missing, set_up),
        cmocka_unit_test_setup(test_witness_must_bear_its_name, set_up),
        cmocka_unit_test_setup(test_candidate_names_another, set_up),
        cmocka_unit_test_setup(test_one_liar_of_three, set_up),
        cmocka_unit_test_setup(test_one_hung_of_three, set_up),
        cmocka_unit_test_setup(test_when_witnesses_sufficed, set_up),
        cmocka_unit_test_setup(test_answers_arrive, set_up),
        cmocka_unit_test_setup(test_hopeless_is_denied_early, set_up),
        cmocka_unit_test_setup(test_candidate_facts, set_up),
        cmocka_unit_test_setup(test_cluster_and_quorum, set_up),
        cmocka_unit_test_setup(test_session_missing, set_up),
        cmocka_unit_test_setup(test_request_outside_the_rules, set_up),
        cmocka_unit_test_setup(test_facts_are_found_by_name, set_up),
        cmocka_unit_test_setup(test_fewer_witnesses_than_a_majority, set_up),
        cmocka_unit_test_setup(test_external, set_up_external),
        cmocka_unit_test_setup(test_external_rival, set_up_external),
        cmocka_unit_test_setup(test_names, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
