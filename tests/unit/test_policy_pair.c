/* SPDX-License-Identifier: Apache-2.0 */
#include "policy_scene.h"

static struct scene scene;

static int set_up_pair(void **state)
{
    (void)state;
    scene_init(&scene, 2, WSFC);
    scene.rules.witnesses = POLICY_WITNESSES_SILENCE;
    scene.rules.cluster_type = POLICY_CLUSTER_WSFC;
    return 0;
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
    /* Nor is the end of the question awaited. */
    scene_pending(&scene, A);
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

    /* It says PRIMARY, whatever it names and the watch saw. */
    scene_says(&scene, A, PRIMARY, NULL);
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_pair_with_both_up, set_up_pair),
        cmocka_unit_test_setup(test_pair_with_the_old_primary_gone, set_up_pair),
        cmocka_unit_test_setup(test_pair_without_what_silence_needs, set_up_pair),
        cmocka_unit_test_setup(test_pair_the_old_primary_asks, set_up_pair),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
