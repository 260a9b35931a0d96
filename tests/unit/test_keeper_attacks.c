/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/json.h"
#include "tests/unit/keeper_fixture.h"
#include "tests/unit/wall_clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/*
 * Who is not entitled asks, with valid keys, and the replicas or the clock do not tell the truth.
 * Every refusal is looked for twice: in the reply, and as a record of the log.
 */

enum { A, B, C }; /* fx->replicas */
enum { RESOLVING, PRIMARY, SECONDARY };
enum { QUORUM_FORCED = 2 };

#define HOUR_MS ((int64_t)3600 * 1000)

/* ---- who asks, and what comes of it ---- */

static const char *reason_of_reply(const struct keeper_fixture *fx)
{
    static char pending[64];
    CLEANUP(json_free_p) json_t *document = NULL;

    if (fx->reply.status != 202)
        return reason_code(fx->reply.reason);
    document = json_loads(fx->reply.body, 0, NULL);
    snprintf(pending, sizeof(pending), "%s",
             json_string_value(json_object_get(document, "reason")));
    return pending;
}

/* Refused with this status and reason, and nothing but that was recorded of it. */
static void refused(struct keeper_fixture *fx, enum fx_who who, unsigned status, enum reason reason)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = NULL;
    unsigned all = fx_count(fx, "release", NULL);
    unsigned same = fx_count(fx, "release", reason_code(reason));

    grant = fx_release(fx, who, recipient);
    assert_null(grant);
    assert_string_equal(reason_of_reply(fx), reason_code(reason));
    assert_int_equal(fx->reply.status, status);
    assert_int_equal(fx_count(fx, "release", reason_code(reason)), same + 1);
    assert_int_equal(fx_count(fx, "release", NULL), all + 1);
}

static void denied(struct keeper_fixture *fx, enum fx_who who, enum reason reason)
{
    refused(fx, who, 403, reason);
}

static void needs_approval(struct keeper_fixture *fx, enum fx_who who, enum reason reason)
{
    refused(fx, who, 202, reason);
}

static void granted(struct keeper_fixture *fx, enum fx_who who, enum reason reason, uint64_t epoch)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, who, recipient);
    CLEANUP(secret_free_p) struct secret *password = NULL;

    if (!grant)
        fx_fail("refused", reason_of_reply(fx));
    password = fx_open(grant, recipient);
    assert_memory_equal(password->bytes, FX_PASSWORD, password->len);
    assert_string_equal(reason_code(grant->grant.reason), reason_code(reason));
    assert_int_equal(grant->grant.epoch, epoch);
}

/* While the keeper is not ready there is nothing to decide, and nothing to record. */
static void unavailable(struct keeper_fixture *fx, enum reason reason)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, FX_AGENT_B, recipient);

    assert_null(grant);
    assert_string_equal(reason_of_reply(fx), reason_code(reason));
    assert_int_equal(fx->reply.status, 503);
}

/* ---- what the replicas say ---- */

static void says(struct keeper_fixture *fx, int replica, int32_t role, const char *primary)
{
    struct probe_state *state = &fx->replicas[replica].state;

    state->role = role;
    state->is_read_write = role == PRIMARY;
    snprintf(state->primary_replica, sizeof(state->primary_replica), "%s", primary);
}

static void names(struct keeper_fixture *fx, int replica, int primary)
{
    says(fx, replica, replica == primary ? PRIMARY : SECONDARY, fx->replicas[primary].server_name);
}

static void dies(struct keeper_fixture *fx, int replica)
{
    memset(&fx->replicas[replica].state, 0, sizeof(fx->replicas[replica].state));
    fx->replicas[replica].state.outcome = PROBE_REFUSED;
}

/* ---- attacks ---- */

static void test_secondary_before_during_and_after_a_failover(void **state)
{
    struct keeper_fixture *fx = *state;

    denied(fx, FX_AGENT_B, REASON_CANDIDATE_NOT_PRIMARY);
    for (int i = A; i <= C; i++)
        says(fx, i, RESOLVING, "");
    denied(fx, FX_AGENT_B, REASON_CANDIDATE_NOT_PRIMARY);
    denied(fx, FX_AGENT_A, REASON_CANDIDATE_NOT_PRIMARY);
    fx_set_primary(fx, C);
    denied(fx, FX_AGENT_B, REASON_CANDIDATE_NOT_PRIMARY);
    denied(fx, FX_AGENT_A, REASON_CANDIDATE_NOT_PRIMARY);
}

static void test_old_primary_back_from_a_partition(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, B);
    fx->replicas[A].is_hung = true;
    granted(fx, FX_AGENT_B, REASON_PROMOTION, 2);
    fx->replicas[A].is_hung = false;
    names(fx, A, A);
    denied(fx, FX_AGENT_A, REASON_WITNESSES_MISSING);
    /* It is cut off from the others together with escrowd. */
    fx->replicas[B].is_hung = true;
    fx->replicas[C].is_hung = true;
    denied(fx, FX_AGENT_A, REASON_WITNESSES_MISSING);
}

static void test_hung_old_primary_that_still_says_primary(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, B);
    names(fx, A, A);
    needs_approval(fx, FX_AGENT_B, REASON_RIVAL_PRIMARY);
    denied(fx, FX_AGENT_A, REASON_WITNESSES_MISSING);
    /* It hears of its end. */
    names(fx, A, B);
    granted(fx, FX_AGENT_B, REASON_PROMOTION, 2);
}

static void test_one_liar_of_three(void **state)
{
    struct keeper_fixture *fx = *state;

    names(fx, B, B);
    denied(fx, FX_AGENT_B, REASON_WITNESSES_MISSING);
    /* Nor does the true primary's silence help. */
    fx->replicas[A].is_hung = true;
    denied(fx, FX_AGENT_B, REASON_WITNESSES_MISSING);
    dies(fx, A);
    fx->replicas[A].is_hung = false;
    denied(fx, FX_AGENT_B, REASON_WITNESSES_MISSING);
}

/* All but one: an admin decides, as long as the one is heard. Else two of three are the truth. */
static void test_two_liars_of_three(void **state)
{
    struct keeper_fixture *fx = *state;

    names(fx, B, B);
    names(fx, C, B);
    needs_approval(fx, FX_AGENT_B, REASON_RIVAL_PRIMARY);
    fx->replicas[A].is_hung = true;
    granted(fx, FX_AGENT_B, REASON_PROMOTION, 2);
}

static void test_views_frozen_before_the_failover(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, B);
    names(fx, C, A);
    names(fx, A, A);
    denied(fx, FX_AGENT_B, REASON_WITNESSES_MISSING);
    needs_approval(fx, FX_AGENT_A, REASON_RIVAL_PRIMARY);
    /* The old primary's view moves, the other one is still of before. */
    names(fx, A, B);
    denied(fx, FX_AGENT_A, REASON_CANDIDATE_NOT_PRIMARY);
    granted(fx, FX_AGENT_B, REASON_PROMOTION, 2);
}

static void test_forced_quorum_after_a_lost_site(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, B);
    fx->replicas[B].state.quorum_state = QUORUM_FORCED;
    dies(fx, A);
    dies(fx, C);
    denied(fx, FX_AGENT_B, REASON_WITNESSES_MISSING);
    fx_set_primary(fx, B);
    fx->replicas[B].state.quorum_state = QUORUM_FORCED;
    dies(fx, A);
    needs_approval(fx, FX_AGENT_B, REASON_FORCED_QUORUM);
}

static void test_all_down_then_up_with_another_primary(void **state)
{
    struct keeper_fixture *fx = *state;

    for (int i = A; i <= C; i++)
        dies(fx, i);
    denied(fx, FX_AGENT_A, REASON_CANDIDATE_UNREACHABLE);
    denied(fx, FX_AGENT_B, REASON_CANDIDATE_UNREACHABLE);
    fx_set_primary(fx, B);
    denied(fx, FX_AGENT_A, REASON_CANDIDATE_NOT_PRIMARY);
    granted(fx, FX_AGENT_B, REASON_PROMOTION, 2);
}

static void test_primary_that_the_policy_does_not_know(void **state)
{
    struct keeper_fixture *fx = *state;

    for (int i = A; i <= C; i++)
        says(fx, i, SECONDARY, "SQLD");
    denied(fx, FX_AGENT_B, REASON_CANDIDATE_NOT_PRIMARY);
    names(fx, B, B);
    denied(fx, FX_AGENT_B, REASON_WITNESSES_MISSING);
    /* Under the name of one that it knows: the server that answers is another. */
    fx_set_primary(fx, B);
    snprintf(fx->replicas[B].state.server_name, sizeof(fx->replicas[B].state.server_name), "SQLD");
    denied(fx, FX_AGENT_B, REASON_CANDIDATE_NAME_MISMATCH);
}

/* Sends a release without waiting for its reply. */
static void begin(struct keeper_fixture *fx, enum fx_who who, EVP_PKEY *recipient)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, who, ACT_RELEASE, PURPOSE_PROMOTE);
    CLEANUP(act_free_p) struct act *act = fx_release_act(fx, who, challenge, recipient);
    CLEANUP(cleanup_free) char *body = fx_sign(fx, who, challenge, act);

    fx_send(fx, ROUTE_RELEASE, fx->actors[who].identity, body);
}

/* The decisions are made one after the other: one promotion, whoever is first. */
static void test_two_agents_race_for_one_promotion(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();

    fx_set_primary(fx, B);
    begin(fx, FX_AGENT_A, recipient);
    begin(fx, FX_AGENT_B, recipient);
    begin(fx, FX_AGENT_B, recipient);
    fx_wait_count(fx, "release", "promotion_repeat", 1);
    fx_wait_count(fx, "release", "candidate_not_primary", 1);
    assert_int_equal(fx_count(fx, "release", "promotion"), 1);
    assert_int_equal(fx_count(fx, "release", NULL), 3);
}

/* One grant and five more tries; the rest is one question to the admins, which the log has once. */
static void test_a_thousand_requests_for_one_promotion(void **state)
{
    struct keeper_fixture *fx = *state;
    const char *all = getenv("ESCROW_TEST_ALL");
    unsigned count = all && strcmp(all, "1") == 0 ? 1000 : 100;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(cleanup_free) char *question = NULL;
    unsigned released = 0;

    print_message("# sampled %u of 1000 requests\n", count);
    fx_set_primary(fx, B);
    for (unsigned i = 0; i < count; i++) {
        CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, FX_AGENT_B, recipient);

        released += grant != NULL;
        if (grant)
            continue;
        assert_string_equal(reason_of_reply(fx), "retries_exhausted");
        if (!question)
            question = strdup(fx->reply.body);
        assert_string_equal(fx->reply.body, question);
    }
    assert_int_equal(released, 6);
    assert_int_equal(fx_count(fx, "release", "promotion_repeat"), 5);
    assert_int_equal(fx_count(fx, "release", "retries_exhausted"), 1);
}

static void test_promotion_older_than_the_window(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, B);
    fx_wait_primary(fx, "node-b");
    wall_clock_move(25 * HOUR_MS);
    needs_approval(fx, FX_AGENT_B, REASON_WINDOW_PASSED);
}

static unsigned rounds_awaited;

static bool are_rounds_over(struct keeper_fixture *fx)
{
    return fx->replicas[C].asked >= rounds_awaited;
}

static void test_clock_jumps_ahead_and_back(void **state)
{
    struct keeper_fixture *fx = *state;

    wall_clock_move(5 * HOUR_MS);
    fx_set_primary(fx, B);
    granted(fx, FX_AGENT_B, REASON_PROMOTION, 2);
    wall_clock_move(-5 * HOUR_MS);
    unavailable(fx, REASON_CLOCK_BACKWARDS);
    assert_true(fx_lacks(fx, REASON_CLOCK_BACKWARDS));
    wall_clock_move(0);
    unavailable(fx, REASON_CLOCK_BACKWARDS);
    /* Nor does the watch record what it sees. */
    fx_set_primary(fx, C);
    rounds_awaited = fx->replicas[C].asked + 3;
    fx_until(fx, are_rounds_over);
    assert_int_equal(fx_count(fx, "epoch", NULL), 1);
    fx_set_primary(fx, B);
    rounds_awaited = fx->replicas[C].asked + 3;
    fx_until(fx, are_rounds_over);
    /* Beyond its last record it is believed again; what was granted is not forgotten. */
    wall_clock_move(6 * HOUR_MS);
    fx_wait_lacks(fx, REASON_CLOCK_BACKWARDS, false);
    granted(fx, FX_AGENT_B, REASON_PROMOTION_REPEAT, 2);
}

/* The clock jumps while the replicas are being asked; they are not served before. */
static void test_clock_jumps_during_a_release(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();

    fx_set_primary(fx, B);
    fx_wait_primary(fx, "node-b");
    begin(fx, FX_AGENT_B, recipient);
    wall_clock_move(25 * HOUR_MS);
    fx_wait_count(fx, "release", "window_passed", 1);
    begin(fx, FX_AGENT_B, recipient);
    wall_clock_move(0);
    fx_wait_lacks(fx, REASON_CLOCK_BACKWARDS, true);
    unavailable(fx, REASON_CLOCK_BACKWARDS);
    wall_clock_move(26 * HOUR_MS);
    fx_wait_lacks(fx, REASON_CLOCK_BACKWARDS, false);
    assert_int_equal(fx_count(fx, "release", "promotion"), 0);
}

/* Copies or puts back one of the keeper's folders. */
static void copy_folder(const char *folder, const char *from, const char *to)
{
    char command[1024];

    snprintf(command, sizeof(command), "rm -rf '%s%s' && cp -a '%s%s' '%s%s'", folder, to, folder,
             from, folder, to);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): paths of our own */
}

static void test_store_of_yesterday(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_shut_down(fx);
    copy_folder(fx->config.state_folder, "", ".old");
    fx_run(fx);
    fx_set_primary(fx, B);
    granted(fx, FX_AGENT_B, REASON_PROMOTION, 2);
    fx_shut_down(fx);
    copy_folder(fx->config.state_folder, ".old", "");
    fx_run(fx);
    /* The log tells it what it lost. */
    granted(fx, FX_AGENT_B, REASON_PROMOTION_REPEAT, 2);
}

static void test_log_of_yesterday(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_shut_down(fx);
    copy_folder(fx->config.audit_folder, "", ".old");
    fx_run(fx);
    fx_set_primary(fx, B);
    granted(fx, FX_AGENT_B, REASON_PROMOTION, 2);
    fx_shut_down(fx);
    copy_folder(fx->config.audit_folder, ".old", "");
    fx_run(fx);
    unavailable(fx, REASON_LOG_TAMPERED);
    assert_true(fx_lacks(fx, REASON_LOG_TAMPERED));
}

static int set_up(void **state)
{
    wall_clock_move(0);
    return fx_setup_ready(state);
}

#define READY(test) cmocka_unit_test_setup_teardown(test, set_up, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY(test_secondary_before_during_and_after_a_failover),
        READY(test_old_primary_back_from_a_partition),
        READY(test_hung_old_primary_that_still_says_primary),
        READY(test_one_liar_of_three),
        READY(test_two_liars_of_three),
        READY(test_views_frozen_before_the_failover),
        READY(test_forced_quorum_after_a_lost_site),
        READY(test_all_down_then_up_with_another_primary),
        READY(test_primary_that_the_policy_does_not_know),
        READY(test_two_agents_race_for_one_promotion),
        READY(test_a_thousand_requests_for_one_promotion),
        READY(test_promotion_older_than_the_window),
        READY(test_clock_jumps_ahead_and_back),
        READY(test_clock_jumps_during_a_release),
        READY(test_store_of_yesterday),
        READY(test_log_of_yesterday),
    };

    wall_clock_share();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
