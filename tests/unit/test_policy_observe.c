/* SPDX-License-Identifier: Apache-2.0 */
#include "policy_scene.h"

static struct scene scene;
static const struct policy_replica *primary;

static int set_up(void **state)
{
    (void)state;
    scene_init(&scene, 3, WSFC);
    scene.request = (struct policy_request){0};
    scene.facts.session = POLICY_SESSION_MISSING;
    scene.facts.elapsed_ms = 5000;
    return 0;
}

static enum policy_observation observe(void)
{
    return policy_observe(&scene.rules, &scene.facts, &scene.ledger, &primary);
}

static void test_promotion(void **state)
{
    (void)state;
    assert_int_equal(observe(), POLICY_PROMOTION);
    assert_ptr_equal(primary, &scene.replicas[B]);
    scene_records(&scene, B, POLICY_ORIGIN_OBSERVED);
    assert_int_equal(observe(), POLICY_NOTHING);
    assert_null(primary);
}

static void test_baseline(void **state)
{
    (void)state;
    scene.ledger.has_record = false;
    assert_int_equal(observe(), POLICY_BASELINE);
    assert_ptr_equal(primary, &scene.replicas[B]);
    scene_text(scene.ledger.primary, "b");
    assert_int_equal(observe(), POLICY_BASELINE);
}

static void test_the_database_does_not_matter(void **state)
{
    (void)state;
    scene_of(&scene, B)->state.database_state = 2;
    scene_of(&scene, B)->state.is_read_write = false;
    assert_int_equal(observe(), POLICY_PROMOTION);
}

static void test_silent_replica(void **state)
{
    (void)state;
    scene_silent(&scene, A);
    assert_int_equal(observe(), POLICY_PROMOTION);
    scene.facts.elapsed_ms = 329;
    assert_int_equal(observe(), POLICY_NOTHING);
    scene_silent(&scene, C);
    scene.facts.elapsed_ms = 5000;
    assert_int_equal(observe(), POLICY_NOTHING);
}

/* What would not serve as proof for a request does not for the watch either. */
static void test_nothing_less_than_a_request_needs(void **state)
{
    struct probe_state *candidate = &scene_of(&scene, B)->state;
    const struct scene held = scene;

    (void)state;
    scene_says(&scene, A, PRIMARY, "SQLA");
    assert_int_equal(observe(), POLICY_NOTHING);
    scene = held;
    scene_says(&scene, A, SECONDARY, "SQLA");
    scene_says(&scene, C, SECONDARY, "SQLA");
    assert_int_equal(observe(), POLICY_NOTHING);
    scene = held;
    scene_says(&scene, B, SECONDARY, "SQLB");
    assert_int_equal(observe(), POLICY_NOTHING);
    scene = held;
    candidate->operational_state = 1;
    assert_int_equal(observe(), POLICY_NOTHING);
    scene = held;
    candidate->recovery_health = 0;
    assert_int_equal(observe(), POLICY_NOTHING);
    scene = held;
    scene_text(candidate->server_name, "SQLX");
    assert_int_equal(observe(), POLICY_NOTHING);
    scene = held;
    candidate->is_forwarder = true;
    assert_int_equal(observe(), POLICY_NOTHING);
    scene = held;
    candidate->quorum_state = 2;
    assert_int_equal(observe(), POLICY_NOTHING);
    scene = held;
    candidate->cluster_type = NONE;
    assert_int_equal(observe(), POLICY_NOTHING);
    scene = held;
    candidate->cluster_type = EXTERNAL;
    assert_int_equal(observe(), POLICY_NOTHING);
}

static void test_pair(void **state)
{
    (void)state;
    scene_init(&scene, 2, WSFC);
    scene.rules.witnesses = POLICY_WITNESSES_SILENCE;
    assert_int_equal(observe(), POLICY_PROMOTION);
    scene_dead(&scene, A);
    assert_int_equal(observe(), POLICY_NOTHING);
    scene_of(&scene, A)->history.primary_ago_ms = 5000;
    assert_int_equal(observe(), POLICY_PROMOTION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_promotion, set_up),
        cmocka_unit_test_setup(test_baseline, set_up),
        cmocka_unit_test_setup(test_the_database_does_not_matter, set_up),
        cmocka_unit_test_setup(test_silent_replica, set_up),
        cmocka_unit_test_setup(test_nothing_less_than_a_request_needs, set_up),
        cmocka_unit_test_setup(test_pair, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
