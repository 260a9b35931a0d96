/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for every policy, request, facts and ledger, tried on many. */
#include "libescrow/json.h"
#include "policy/evidence.h"
#include "policy_random.h"

#include <stdlib.h>
#include <strings.h>

#define SCENES 60000

static struct scene scene;

static bool has_spoken(const struct policy_replica_facts *known)
{
    return known->status == POLICY_ANSWERED && known->state.outcome == PROBE_ANSWERED;
}

/* What an approval can never stand for: who asks is the primary, and the witnesses say so. */
static void check_candidate(const struct policy_replica_facts *candidate)
{
    size_t names = 0;

    assert_string_equal(candidate->instance, scene.request.replica);
    assert_true(has_spoken(candidate));
    assert_int_equal(candidate->state.role, PRIMARY);
    assert_int_equal(candidate->state.operational_state, 2);
    assert_int_equal(candidate->state.recovery_health, 1);
    assert_int_equal(candidate->state.database_state, 0);
    assert_true(candidate->state.is_read_write);
    assert_false(candidate->state.is_forwarder);
    assert_int_equal(scene.facts.session, POLICY_SESSION_FOUND);
    for (size_t i = 0; i < scene.rules.replica_count; i++) {
        const struct policy_replica_facts *known = scene_of(&scene, i);

        names += has_spoken(known) &&
                 strcasecmp(known->state.server_name, scene.replicas[i].server_name) == 0 &&
                 strcasecmp(known->state.primary_replica, candidate->state.server_name) == 0;
    }
    assert_int_equal(scene.verdict.witnesses, names);
    assert_true(names >= scene.rules.witness_count || scene.verdict.is_by_silence);
}

/* As many admins as the rules ask for saw this very release, with all that asks for them. */
static void check_approval(void)
{
    const struct policy_approval *approval = &scene.request.approval;

    assert_true(approval->count >= scene.rules.approvals);
    assert_int_equal(approval->epoch, scene.ledger.epoch + (scene.verdict.mints_epoch ? 1 : 0));
    for (size_t i = 0; i < POLICY_RULE_COUNT; i++)
        assert_true(scene.verdict.rules[i].result == POLICY_PASSED || approval->rules & 1U << i);
}

/* Another member of the group has what the candidate wrote. */
static void check_echo(const struct policy_replica_facts *candidate)
{
    bool is_found = false;

    for (size_t i = 0; i < scene.rules.replica_count; i++) {
        const struct policy_replica_facts *known = scene_of(&scene, i);

        is_found |= known != candidate && has_spoken(known) && known->state.role == SECONDARY &&
                    known->echo == POLICY_ECHO_FOUND;
    }
    assert_true(is_found || !scene.rules.wants_echo);
}

/* Never a release unless all of this is so, whatever else is. */
static void check_release(void)
{
    const struct policy_replica_facts *candidate = scene_of(&scene, A);

    for (size_t i = 0; i < scene.rules.replica_count; i++) {
        const struct policy_replica_facts *known = scene_of(&scene, i);

        if (strcmp(known->instance, scene.request.replica) == 0)
            candidate = known;
    }
    check_candidate(candidate);
    if (scene.verdict.reason == REASON_APPROVED) {
        check_approval();
        return;
    }
    assert_true(candidate->state.cluster_type == EXTERNAL ||
                (candidate->state.cluster_type == WSFC && candidate->state.has_quorum_row &&
                 candidate->state.quorum_state == 1));
    for (size_t i = 0; i < scene.rules.replica_count; i++) {
        const struct policy_replica_facts *known = scene_of(&scene, i);

        assert_true(!has_spoken(known) || known == candidate || known->state.role != PRIMARY);
    }
    check_echo(candidate);
    assert_true(scene.ledger.releases_last_hour < scene.rules.brake);
    assert_true(scene.request.purpose == PURPOSE_PROMOTE ? scene.ledger.has_record
                                                         : scene.request.is_order_valid);
}

static void test_release_only_with_proof(void **state)
{
    struct random random = {1};
    size_t released = 0, approved = 0, outcomes[4] = {0};

    (void)state;
    for (size_t i = 0; i < SCENES; i++) {
        enum policy_outcome outcome;

        random_scene(&random, &scene);
        outcome = scene_decide(&scene);
        outcomes[outcome]++;
        if (outcome == POLICY_ALLOW) {
            check_release();
            released += scene.verdict.reason != REASON_APPROVED;
            approved += scene.verdict.reason == REASON_APPROVED;
        }
    }
    /* The scenes must be worth something. */
    assert_true(released > SCENES / 200);
    assert_true(approved > SCENES / 2000);
    assert_true(outcomes[POLICY_WAIT] > SCENES / 200);
    assert_true(outcomes[POLICY_NEEDS_APPROVAL] > SCENES / 200);
}

/* Takes one piece of evidence away. false: there is none with this number. */
static bool take_away(size_t number)
{
    size_t replica = number / 2;

    if (replica < scene.rules.replica_count) {
        if (number % 2) {
            scene_of(&scene, replica)->history = (struct policy_history){0};
        } else {
            scene_silent(&scene, replica);
            scene_of(&scene, replica)->history = (struct policy_history){0};
        }
        return true;
    }
    switch (number - 2 * scene.rules.replica_count) {
    case 0:
        scene.facts.session = POLICY_SESSION_MISSING;
        return true;
    case 1:
        scene.ledger.has_record = false;
        return true;
    case 2:
        scene.request.is_order_valid = false;
        return true;
    case 3:
        for (size_t i = 0; i < scene.rules.replica_count; i++)
            scene_of(&scene, i)->state.has_quorum_row = false;
        return true;
    case 4:
        for (size_t i = 0; i < scene.rules.replica_count; i++)
            scene_of(&scene, i)->echo = POLICY_ECHO_UNASKED;
        return true;
    default:
        return false;
    }
}

/*
 * Removing evidence never turns a denial into a release that no admin has approved. Two things are
 * known to be otherwise and left out: EXTERNAL, where a replica that is gone can no longer show a
 * newer configuration, and policies that ask for less than a majority, where one that is gone can
 * no longer contradict.
 */
static void test_less_evidence_never_releases(void **state)
{
    struct random random = {2};
    size_t tried = 0;

    (void)state;
    for (size_t i = 0; i < SCENES / 4; i++) {
        struct scene held;

        random_scene(&random, &scene);
        scene.rules.cluster_type = POLICY_CLUSTER_WSFC;
        scene.rules.witness_count = scene.rules.replica_count / 2 + 1;
        scene.request.approval = (struct policy_approval){0};
        if (scene_decide(&scene) != POLICY_DENY)
            continue;
        held = scene;
        for (size_t number = 0; take_away(number); number++) {
            assert_int_not_equal(scene_decide(&scene), POLICY_ALLOW);
            scene = held;
            tried++;
        }
    }
    assert_true(tried > SCENES / 4);
}

/* Whatever the watch takes for the primary would also pass rules 1, 3 and 4 of a request. */
static void test_watch_is_as_strict_as_a_request(void **state)
{
    struct random random = {3};
    size_t observed = 0;

    (void)state;
    for (size_t i = 0; i < SCENES; i++) {
        const struct policy_replica *primary;

        random_scene(&random, &scene);
        if (policy_observe(&scene.rules, &scene.facts, &scene.ledger, &primary) == POLICY_NOTHING)
            continue;
        observed++;
        scene.request.replica = primary->instance;
        scene.facts.session = POLICY_SESSION_FOUND;
        for (size_t j = 0; j < scene.rules.replica_count; j++) {
            scene_of(&scene, j)->state.database_state = 0;
            scene_of(&scene, j)->state.is_read_write = true;
        }
        scene_decide(&scene);
        assert_int_equal(scene.verdict.rules[POLICY_RULE_CANDIDATE].result, POLICY_PASSED);
        assert_int_equal(scene.verdict.rules[POLICY_RULE_WITNESSES].result, POLICY_PASSED);
        assert_int_equal(scene.verdict.rules[POLICY_RULE_RIVAL].result, POLICY_PASSED);
    }
    assert_true(observed > SCENES / 20);
}

static bool is_same_verdict(const struct policy_verdict *a, const struct policy_verdict *b)
{
    CLEANUP(json_free_p) json_t *one = policy_verdict_to_json(a);
    CLEANUP(json_free_p) json_t *other = policy_verdict_to_json(b);

    assert_non_null(one);
    return json_equal(one, other) && a->wait_until_ms == b->wait_until_ms;
}

/* Written to a record, read again and decided again: the same verdict. */
static void test_recomputed_verdict_agrees(void **state)
{
    struct random random = {4};

    (void)state;
    for (size_t i = 0; i < SCENES / 6; i++) {
        CLEANUP(json_free_p) json_t *written = NULL;
        CLEANUP(json_free_p) json_t *read = NULL;
        CLEANUP(json_free_p) json_t *again = NULL;
        CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;
        CLEANUP(cleanup_free) char *text = NULL;
        struct policy_verdict verdict;

        random_scene(&random, &scene);
        scene_decide(&scene);
        written =
            policy_evidence_to_json(&scene.rules, &scene.request, &scene.facts, &scene.ledger);
        assert_non_null(written);
        text = json_text(written);
        assert_int_equal(json_parse(text, strlen(text), 65536, &read), ESCROW_OK);
        assert_int_equal(policy_evidence_from_json(read, &evidence), ESCROW_OK);
        policy_decide(&evidence->rules, &evidence->request, &evidence->facts, &evidence->ledger,
                      &verdict);
        assert_true(is_same_verdict(&scene.verdict, &verdict));
        again = policy_evidence_to_json(&evidence->rules, &evidence->request, &evidence->facts,
                                        &evidence->ledger);
        assert_true(json_equal(written, again));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_release_only_with_proof),
        cmocka_unit_test(test_less_evidence_never_releases),
        cmocka_unit_test(test_watch_is_as_strict_as_a_request),
        cmocka_unit_test(test_recomputed_verdict_agrees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
