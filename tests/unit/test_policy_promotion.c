/* SPDX-License-Identifier: Apache-2.0 */
#include "policy_scene.h"

static struct scene scene;

static int set_up(void **state)
{
    (void)state;
    scene_init(&scene, 3, WSFC);
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
    scene_text(scene.ledger.grant.replica, "a");
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

/* It was let pass for SSISDB, whose release minted the epoch: it says nothing of OTHER. */
static void test_second_database_of_a_restart(void **state)
{
    struct probe_state *candidate = &scene_of(&scene, B)->state;

    (void)state;
    scene_records(&scene, B, POLICY_ORIGIN_UNPROVEN);
    scene.request.database = "OTHER";
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    assert_int_equal(scene.verdict.kind, POLICY_KIND_RESTART);
    assert_false(scene.verdict.mints_epoch);
    scene.rules.on_restart = POLICY_RESTART_ALLOW;
    scene_text(candidate->recovery_lsn, "35000000012300001");
    scene_text(scene.ledger.hints.recovery_lsn, "34000000099900001");
    assert_verdict(&scene, POLICY_ALLOW, REASON_RESTART_ALLOWED);
    assert_false(scene.verdict.mints_epoch);
    /* Its own next one begins an epoch, as any other. */
    scene_granted(&scene, POLICY_GRANT_SETTLED, 1);
    assert_verdict(&scene, POLICY_ALLOW, REASON_RESTART_ALLOWED);
    assert_true(scene.verdict.mints_epoch);
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
    scene_text(candidate->recovery_lsn, "35000000012300001");
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    scene_text(scene.ledger.hints.recovery_lsn, "35000000012300001");
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    scene_text(scene.ledger.hints.recovery_lsn, MAX_LSN);
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    scene_text(scene.ledger.hints.recovery_lsn, "34000000099900001");
    assert_verdict(&scene, POLICY_ALLOW, REASON_RESTART_ALLOWED);
    assert_int_equal(scene.verdict.kind, POLICY_KIND_RESTART);
    assert_true(scene.verdict.mints_epoch);
    scene_text(candidate->recovery_lsn, MAX_LSN);
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    candidate->has_sequence_number = true;
    candidate->sequence_number = 41;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    scene.ledger.hints.has_sequence_number = true;
    scene.ledger.hints.sequence_number = 41;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    scene.ledger.hints.sequence_number = 40;
    assert_verdict(&scene, POLICY_ALLOW, REASON_RESTART_ALLOWED);
    /* What the candidate does not tell has not changed. */
    candidate->has_sequence_number = false;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    scene_text(scene.ledger.hints.recovery_lsn, "34000000099900001");
    scene_text(candidate->recovery_lsn, "");
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    candidate->has_sequence_number = true;
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
        /* In the epoch of another primary nobody else is granted anything. */
        scene_records(&scene, A, POLICY_ORIGIN_BASELINE);
        assert_verdict(&scene, POLICY_ALLOW, REASON_ORDERED);
        assert_true(scene.verdict.mints_epoch);
        scene_records(&scene, B, POLICY_ORIGIN_BASELINE);
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
    scene_text(scene.ledger.hints.recovery_lsn, scene_of(&scene, candidate)->state.recovery_lsn);
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
        scene_text(scene_of(&scene, primary)->state.recovery_lsn, MAX_LSN);
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

/* Everything that needs an approval, with one for exactly that. */
static void test_approved(void **state)
{
    struct policy_approval *approval = &scene.request.approval;
    const struct policy_approval right = {
        .count = 2, .epoch = 8, .rules = 1U << POLICY_RULE_PROMOTION};

    (void)state;
    scene_asks(&scene, A);
    scene_says(&scene, A, PRIMARY, "SQLA");
    scene_says(&scene, B, SECONDARY, "SQLA");
    scene_says(&scene, C, SECONDARY, "SQLA");
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    assert_int_equal(policy_rules_to_approve(&scene.verdict), right.rules);
    *approval = right;
    assert_verdict(&scene, POLICY_ALLOW, REASON_APPROVED);
    assert_int_equal(scene.verdict.kind, POLICY_KIND_RESTART);
    assert_true(scene.verdict.mints_epoch);

    approval->count = 1;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    scene.rules.approvals = 1;
    assert_verdict(&scene, POLICY_ALLOW, REASON_APPROVED);
    approval->epoch = 7;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);
    *approval = right;
    approval->rules = 1U << POLICY_RULE_RIVAL | 1U << POLICY_RULE_BRAKE;
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RESTART);

    /* A second primary since then: the admins have not seen that. */
    *approval = right;
    scene_says(&scene, C, PRIMARY, "SQLA");
    assert_verdict(&scene, POLICY_NEEDS_APPROVAL, REASON_RIVAL_PRIMARY);
    approval->rules |= 1U << POLICY_RULE_RIVAL;
    assert_verdict(&scene, POLICY_ALLOW, REASON_APPROVED);

    /* No admin stands for the replica's own word, nor for the witnesses. */
    scene_silent(&scene, B);
    scene_silent(&scene, C);
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
}

/* What needs no approval is allowed for its own reason. */
static void test_approval_not_needed(void **state)
{
    (void)state;
    scene.request.approval =
        (struct policy_approval){.count = 9, .epoch = 8, .rules = (1U << POLICY_RULE_COUNT) - 1};
    assert_verdict(&scene, POLICY_ALLOW, REASON_PROMOTION);
}

/* An admin names a replica: the replicas prove it beyond doubt, or it is denied. */
static void test_rebaseline(void **state)
{
    (void)state;
    scene.request.purpose = PURPOSE_REBASELINE;
    scene.facts.session = POLICY_SESSION_MISSING;
    scene.ledger.releases_last_hour = scene.rules.brake;
    assert_verdict(&scene, POLICY_ALLOW, REASON_REBASELINED);
    assert_int_equal(scene.verdict.kind, POLICY_KIND_REBASELINE);
    assert_true(scene.verdict.mints_epoch);
    /* Whoever is recorded, and whatever was granted. */
    scene_records(&scene, B, POLICY_ORIGIN_OBSERVED);
    scene_granted(&scene, POLICY_GRANT_UNSETTLED, 3);
    assert_verdict(&scene, POLICY_ALLOW, REASON_REBASELINED);
    /* What needs an approval elsewhere is denied, however many admins approve. */
    scene_of(&scene, B)->state.quorum_state = 2;
    scene.request.approval = (struct policy_approval){
        .count = 9, .epoch = scene.ledger.epoch + 1, .rules = (1U << POLICY_RULE_COUNT) - 1};
    assert_verdict(&scene, POLICY_DENY, REASON_BASELINE_UNPROVEN);
    assert_int_equal(scene.verdict.rules[POLICY_RULE_CANDIDATE].reason, REASON_FORCED_QUORUM);
    scene_of(&scene, B)->state.quorum_state = 1;
    scene_says(&scene, A, PRIMARY, "SQLA");
    assert_verdict(&scene, POLICY_DENY, REASON_BASELINE_UNPROVEN);
    scene_says(&scene, A, SECONDARY, "SQLA");
    scene_says(&scene, C, SECONDARY, "SQLA");
    assert_verdict(&scene, POLICY_DENY, REASON_WITNESSES_MISSING);
    scene_pending(&scene, A);
    scene_pending(&scene, C);
    assert_verdict(&scene, POLICY_WAIT, REASON_RIVAL_PRIMARY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_promotion, set_up),
        cmocka_unit_test_setup(test_asked_again, set_up),
        cmocka_unit_test_setup(test_asked_again_by_another, set_up),
        cmocka_unit_test_setup(test_baseline_primary_asks, set_up),
        cmocka_unit_test_setup(test_observed_promotion, set_up),
        cmocka_unit_test_setup(test_second_database_of_a_granted_epoch, set_up),
        cmocka_unit_test_setup(test_second_database_of_a_restart, set_up),
        cmocka_unit_test_setup(test_restart, set_up),
        cmocka_unit_test_setup(test_brake, set_up),
        cmocka_unit_test_setup(test_approved, set_up),
        cmocka_unit_test_setup(test_approval_not_needed, set_up),
        cmocka_unit_test_setup(test_rebaseline, set_up),
        cmocka_unit_test_setup(test_orders, set_up),
        cmocka_unit_test_setup(test_back_and_forth_with_max_lsn, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
