/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/json.h"
#include "tests/unit/keeper_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Who may give a group a new baseline, what the replicas must say, and what it takes away. */

static struct act *rebaseline_act(const char *replica)
{
    struct act *act = act_new(ACT_REBASELINE);

    assert_non_null(act);
    act->purpose = PURPOSE_REBASELINE;
    snprintf(act->rebaseline.replica, sizeof(act->rebaseline.replica), "%s", replica);
    return act;
}

static enum reason rebaseline(struct keeper_fixture *fx, enum fx_who who, const char *replica)
{
    CLEANUP(act_free_p) struct act *act = rebaseline_act(replica);
    CLEANUP(answer_free_p) struct answer *noted = fx_act(fx, who, ROUTE_REBASELINE, act);

    return noted ? REASON_NONE : fx->reply.reason;
}

/* What this agent gets now; *ret_epoch of a grant. */
static enum reason release(struct keeper_fixture *fx, enum fx_who who, uint64_t *ret_epoch)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, who, recipient);

    if (!grant)
        return strstr(fx->reply.body, "\"reason\":\"restart\"") ? REASON_RESTART : fx->reply.reason;
    *ret_epoch = grant->grant.epoch;
    return grant->grant.reason;
}

/* A promotion that somebody else has looked after entitles nobody any more; the next one does. */
static void test_nothing_is_owed(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t epoch = 0;

    fx_set_primary(fx, 1);
    fx_wait_primary(fx, "node-b");
    assert_int_equal(rebaseline(fx, FX_ADMIN, "node-b"), REASON_NONE);
    assert_int_equal(fx_count(fx, "rebaseline", "rebaselined"), 1);
    assert_int_equal(release(fx, FX_AGENT_B, &epoch), REASON_RESTART);
    assert_int_equal(fx->reply.status, 202);
    fx_set_primary(fx, 0);
    assert_int_equal(release(fx, FX_AGENT_A, &epoch), REASON_PROMOTION);
    assert_int_equal(epoch, 4);
}

/* The watch knows node-a; who has become primary without its seeing that is known at once. */
static void test_unseen_promotion(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t epoch = 0;

    fx_set_primary(fx, 1);
    assert_int_equal(rebaseline(fx, FX_ADMIN, "node-b"), REASON_NONE);
    fx_wait_primary(fx, "node-b");
    assert_int_equal(release(fx, FX_AGENT_B, &epoch), REASON_RESTART);
}

/* No admin makes a primary of what is none: else the true one would look promoted. */
static void test_word_is_no_evidence(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t epoch = 0;

    assert_int_equal(rebaseline(fx, FX_ADMIN, "node-b"), REASON_CANDIDATE_NOT_PRIMARY);
    /* It says so, and only that it is not named. */
    fx->replicas[2].state = fx->replicas[0].state;
    snprintf(fx->replicas[2].state.server_name, sizeof(fx->replicas[2].state.server_name), "%s",
             fx->replicas[2].server_name);
    assert_int_equal(rebaseline(fx, FX_ADMIN, "node-c"), REASON_WITNESSES_MISSING);
    assert_int_equal(rebaseline(fx, FX_ADMIN, "node-a"), REASON_BASELINE_UNPROVEN);
    assert_int_equal(fx->reply.status, 403);
    fx_set_primary(fx, 0);
    assert_int_equal(release(fx, FX_AGENT_A, &epoch), REASON_RESTART);
    fx->replicas[1].is_hung = fx->replicas[2].is_hung = true;
    assert_int_equal(rebaseline(fx, FX_ADMIN, "node-a"), REASON_WITNESSES_MISSING);
    assert_int_equal(fx_count(fx, "rebaseline", "rebaselined"), 0);
    assert_int_equal(fx_count(fx, "rebaseline", NULL), 4);
}

static void test_who_may(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(act_free_p) struct act *act = rebaseline_act("node-a");
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_ADMIN, ACT_REBASELINE, PURPOSE_REBASELINE);
    CLEANUP(cleanup_free) char *body = fx_sign(fx, FX_ADMIN, challenge, act);

    assert_int_equal(rebaseline(fx, FX_AGENT_A, "node-a"), REASON_ROLE_NOT_ALLOWED);
    assert_int_equal(rebaseline(fx, FX_AUDITOR, "node-a"), REASON_ROLE_NOT_ALLOWED);
    assert_int_equal(rebaseline(fx, FX_ADMIN, "node-z"), REASON_REPLICA_UNKNOWN);
    assert_int_equal(fx_reason(fx, ROUTE_REBASELINE, FX_ADMIN_2, body), REASON_IDENTITY_MISMATCH);
    assert_int_equal(fx_reason(fx, ROUTE_ORDER, FX_ADMIN, body), REASON_ACT_MISMATCH);
    assert_int_equal(fx_reason(fx, ROUTE_REBASELINE, FX_ADMIN, body), REASON_NONE);
    assert_int_equal(fx_reason(fx, ROUTE_REBASELINE, FX_ADMIN, body), REASON_NONCE_INVALID);
    assert_int_equal(fx_count(fx, "rebaseline", NULL), 1);
}

/* An admin who is taken out of the roster while the replicas are asked. */
static void test_roster_changed_meanwhile(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(act_free_p) struct act *act = rebaseline_act("node-a");
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_ADMIN_2, ACT_REBASELINE, PURPOSE_REBASELINE);
    CLEANUP(cleanup_free) char *body = fx_sign(fx, FX_ADMIN_2, challenge, act);
    json_t *without = fx_roster_payload(fx, 2);
    uint64_t asked;

    json_array_remove(json_object_get(without, "keys"), FX_ADMIN_2);
    fx->replicas[2].is_hung = true;
    fx->replicas[1].is_hung = true;
    asked = fx_send(fx, ROUTE_REBASELINE, fx->actors[FX_ADMIN_2].identity, body);
    assert_int_equal(fx_publish_roster(fx, without, fx->authority), REASON_NONE);
    fx->replicas[1].is_hung = fx->replicas[2].is_hung = false;
    fx_wait_count(fx, "refusal", "key_unknown", 1);
    assert_int_equal(fx_count(fx, "rebaseline", NULL), 0);
    (void)asked;
}

/* It is in the log: a keeper that was killed, without its store, knows it. */
static void test_keeper_killed(void **state)
{
    struct keeper_fixture *fx = *state;
    char path[400];
    uint64_t epoch = 0;

    fx_set_primary(fx, 1);
    fx_wait_primary(fx, "node-b");
    assert_int_equal(rebaseline(fx, FX_ADMIN, "node-b"), REASON_NONE);
    fx_kill(fx);
    snprintf(path, sizeof(path), "%s/store.sqlite", fx->config.state_folder);
    assert_int_equal(unlink(path), 0);
    fx_run(fx);
    assert_int_equal(release(fx, FX_AGENT_B, &epoch), REASON_RESTART);
    assert_int_equal(fx_count(fx, "epoch", NULL), 2);
}

/* What the replicas said to it between two rounds of the watch counts too: node-a was no healthy
 * secondary of node-b, as the watch last saw it. */
static void test_between_rounds(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t epoch = 0;

    fx_set_primary(fx, 1);
    fx_wait_primary(fx, "node-b");
    assert_int_equal(release(fx, FX_AGENT_B, &epoch), REASON_PROMOTION);
    fx->replicas[0].state.synchronization_health = 0;
    assert_int_equal(rebaseline(fx, FX_ADMIN, "node-b"), REASON_NONE);
    fx_set_primary(fx, 0);
    fx->replicas[1].is_hung = true;
    assert_int_equal(release(fx, FX_AGENT_A, &epoch), REASON_SILENCE_UNPROVEN);
}

/* What is kept of a new baseline or epoch, to compare the next release with, is what the primary
 * said itself, and not what another replica did. */
static void test_hints_are_the_primarys(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(json_free_p) json_t *log = NULL;
    unsigned seen = 0;
    json_t *record;
    size_t i;

    fx_set_primary(fx, 1);
    fx_wait_primary(fx, "node-b");
    assert_int_equal(rebaseline(fx, FX_ADMIN, "node-b"), REASON_NONE);
    log = fx_log(fx);
    json_array_foreach(log, i, record)
    {
        const char *replica = json_string_value(json_object_get(record, "replica")), *lsn = NULL;
        const char *event = json_string_value(json_object_get(record, "event"));

        if ((strcmp(event, "epoch") != 0 && strcmp(event, "rebaseline") != 0) ||
            strcmp(replica, "node-b") != 0)
            continue;
        assert_int_equal(json_unpack(record, "{s:{s:{s:{s:s}}}}", "detail", "hints", FX_DATABASE,
                                     "recovery_lsn", &lsn),
                         0);
        assert_string_equal(lsn, fx->replicas[1].state.recovery_lsn);
        assert_string_not_equal(lsn, fx->replicas[0].state.recovery_lsn);
        seen++;
    }
    assert_int_equal(seen, 2);
}

#define READY(test) cmocka_unit_test_setup_teardown(test, fx_setup_ready, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY(test_nothing_is_owed),
        READY(test_unseen_promotion),
        READY(test_word_is_no_evidence),
        READY(test_who_may),
        READY(test_roster_changed_meanwhile),
        READY(test_keeper_killed),
        READY(test_hints_are_the_primarys),
        cmocka_unit_test_setup_teardown(test_between_rounds, fx_setup_pair, fx_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
