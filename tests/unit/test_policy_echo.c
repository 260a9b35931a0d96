/* SPDX-License-Identifier: Apache-2.0 */
/* Rule 7: what the candidate commits is read by another member of the group. */
#include "policy_scene.h"

static struct scene scene;

static int set_up(void **state)
{
    (void)state;
    scene_init(&scene, 3, WSFC);
    scene.rules.wants_echo = true;
    return 0;
}

static void echo(size_t replica, enum policy_echo what)
{
    scene_of(&scene, replica)->echo = what;
}

static void test_off(void **state)
{
    (void)state;
    scene.rules.wants_echo = false;
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    assert_false(scene.verdict.has_echo);
    assert_int_equal(scene.verdict.rules[POLICY_RULE_ECHO].result, POLICY_PASSED);
}

static void test_one_that_found_it_is_enough(void **state)
{
    (void)state;
    echo(A, POLICY_ECHO_MISSING);
    echo(C, POLICY_ECHO_FOUND);
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    assert_true(scene.verdict.has_echo);
    assert_true(scene.verdict.mints_epoch);
    /* Nor is one that hangs awaited. */
    echo(A, POLICY_ECHO_PENDING);
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
}

static void test_none_found_it(void **state)
{
    static const enum policy_echo none[] = {POLICY_ECHO_UNASKED, POLICY_ECHO_MISSING};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        echo(A, none[i]);
        echo(C, none[i]);
        assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_ECHO_MISSING);
        assert_int_equal(scene.verdict.kind, POLICY_KIND_PROMOTION);
        assert_int_equal(policy_rules_to_approve(&scene.verdict), 1U << POLICY_RULE_ECHO);
    }
}

/* The candidate has what it wrote itself; and a stranger, or one of another role, has no part. */
static void test_who_found_it_counts(void **state)
{
    (void)state;
    scene.facts.elapsed_ms = 1000;
    echo(B, POLICY_ECHO_FOUND);
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_ECHO_MISSING);
    echo(C, POLICY_ECHO_FOUND);
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    scene_says(&scene, C, RESOLVING, "SQLB");
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_ECHO_MISSING);
    scene_says(&scene, C, PRIMARY, "SQLB");
    scene_decide(&scene);
    assert_int_equal(scene.verdict.rules[POLICY_RULE_ECHO].result, POLICY_APPROVAL);
    scene_says(&scene, C, SECONDARY, "SQLB");
    scene_of(&scene, C)->state.outcome = PROBE_SQL_ERROR;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_ECHO_MISSING);
    scene_says(&scene, C, SECONDARY, "SQLB");
    scene_text(scene_of(&scene, C)->state.server_name, "SQLX");
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_ECHO_MISSING);
    scene_text(scene_of(&scene, C)->state.server_name, "sqlc");
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
    scene_silent(&scene, C);
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_ECHO_MISSING);
}

static void test_waits_while_one_may_find_it(void **state)
{
    (void)state;
    echo(C, POLICY_ECHO_PENDING);
    assert_verdict(&scene, POLICY_WAIT, REASON_ECHO_MISSING);
    assert_true(scene.verdict.wait_until_ms == POLICY_NO_DEADLINE);
    echo(C, POLICY_ECHO_MISSING);
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_ECHO_MISSING);
    /* One that has not answered yet may be a secondary; the time for rivals is over. */
    scene_pending(&scene, C);
    scene.facts.elapsed_ms = 1000;
    assert_verdict(&scene, POLICY_WAIT, REASON_ECHO_MISSING);
    scene_of(&scene, C)->history.dead_for_ms = POLICY_DEAD_MS;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_ECHO_MISSING);
    /* One that is no secondary will not find it, whatever it is asked. */
    scene_says(&scene, C, RESOLVING, "SQLB");
    echo(C, POLICY_ECHO_PENDING);
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_ECHO_MISSING);
}

/* It is the last rule: what others say is said first, and a denial stays one. */
static void test_after_all_others(void **state)
{
    (void)state;
    scene.ledger.releases_last_hour = 6;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_BRAKE);
    assert_int_equal(policy_rules_to_approve(&scene.verdict),
                     1U << POLICY_RULE_BRAKE | 1U << POLICY_RULE_ECHO);
    echo(C, POLICY_ECHO_PENDING);
    assert_verdict(&scene, POLICY_WAIT, REASON_ECHO_MISSING);
    echo(C, POLICY_ECHO_FOUND);
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_BRAKE);
    scene.facts.session = POLICY_SESSION_MISSING;
    assert_verdict(&scene, POLICY_DENY, REASON_SESSION_NOT_FOUND);
    assert_int_equal(scene.verdict.rules[POLICY_RULE_ECHO].result, POLICY_NOT_REACHED);
}

static void test_approved(void **state)
{
    (void)state;
    scene.request.approval = (struct policy_approval){
        .count = 2, .epoch = scene.ledger.epoch + 1, .rules = 1U << POLICY_RULE_ECHO};
    assert_verdict(&scene, POLICY_ALLOW, REASON_APPROVED);
    /* Admins who saw something else have not approved this. */
    scene.request.approval.rules = 1U << POLICY_RULE_BRAKE;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_ECHO_MISSING);
}

static void test_orders_and_rebaseline(void **state)
{
    (void)state;
    scene.request.purpose = PURPOSE_ROTATE;
    scene.request.is_order_valid = true;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_ECHO_MISSING);
    echo(A, POLICY_ECHO_FOUND);
    assert_verdict(&scene, POLICY_ALLOW, REASON_ORDERED);
    /* Nobody commits anything for it. */
    echo(A, POLICY_ECHO_UNASKED);
    scene.request.purpose = PURPOSE_REBASELINE;
    assert_verdict(&scene, POLICY_ALLOW, REASON_REBASELINED);
}

/* By silence there is no other replica to read from. */
static void test_candidate_and_silence(void **state)
{
    (void)state;
    scene_init(&scene, 2, WSFC);
    scene.rules.witnesses = POLICY_WITNESSES_SILENCE;
    scene_dead(&scene, A);
    scene_of(&scene, A)->history.primary_ago_ms = 5000;
    assert_verdict(&scene, POLICY_ALLOW, REASON_CANDIDATE_SILENCE);
    scene.rules.wants_echo = true;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_ECHO_MISSING);
    assert_true(scene.verdict.is_by_silence);
    /* Both up. */
    scene_says(&scene, A, SECONDARY, "SQLB");
    echo(A, POLICY_ECHO_FOUND);
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_off, set_up),
        cmocka_unit_test_setup(test_one_that_found_it_is_enough, set_up),
        cmocka_unit_test_setup(test_none_found_it, set_up),
        cmocka_unit_test_setup(test_who_found_it_counts, set_up),
        cmocka_unit_test_setup(test_waits_while_one_may_find_it, set_up),
        cmocka_unit_test_setup(test_after_all_others, set_up),
        cmocka_unit_test_setup(test_approved, set_up),
        cmocka_unit_test_setup(test_orders_and_rebaseline, set_up),
        cmocka_unit_test_setup(test_candidate_and_silence, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
