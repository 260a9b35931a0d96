/* SPDX-License-Identifier: Apache-2.0 */
/* The echo of what a candidate committed: whom the keeper asks, how often, and until when. */
#include "libescrow/ipc_probe.h"
#include "libescrow/json.h"
#include "tests/unit/keeper_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LOGIN_FAILED 18456

static const struct probe_echo not_readable = {.outcome = PROBE_SQL_ERROR, .sql_error = 976};

static int set_up(void **state)
{
    static const struct fx_options options = {.limits = "    echo: true\n"};
    static struct keeper_fixture fixture;

    fx_start_with(&fixture, &options);
    fx_publish(&fixture);
    fx_deposit(&fixture, FX_PASSWORD);
    fx_wait_primary(&fixture, "node-a");
    *state = &fixture;
    return 0;
}

/* REASON_NONE, or why not. */
static enum reason release(struct keeper_fixture *fx, enum fx_who who)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, who, recipient);
    CLEANUP(json_free_p) json_t *document = NULL;

    if (grant)
        return REASON_NONE;
    if (fx->reply.status != 202)
        return fx->reply.reason;
    assert_int_equal(json_parse(fx->reply.body, strlen(fx->reply.body), 4096, &document),
                     ESCROW_OK);
    return reason_from_code(json_string_value(json_object_get(document, "reason")));
}

/* What the last decision's record holds of a replica. */
static const json_t *recorded(const json_t *log, size_t replica)
{
    const json_t *record, *facts = NULL;
    size_t i;

    json_array_foreach(log, i, record)
    {
        if (strcmp(json_string_value(json_object_get(record, "event")), "release") == 0)
            facts = json_object_get(json_object_get(record, "facts"), "evidence");
    }
    assert_true(json_is_true(json_object_get(json_object_get(facts, "rules"), "echo")));
    facts = json_object_get(json_object_get(facts, "facts"), "replicas");
    return json_array_get(facts, replica);
}

static void assert_recorded(struct keeper_fixture *fx, size_t replica, const char *echo)
{
    CLEANUP(json_free_p) json_t *log = fx_log(fx);

    assert_string_equal(json_string_value(json_object_get(recorded(log, replica), "echo")), echo);
}

/* Why it is missing: SQL Server's number. */
static void assert_recorded_error(struct keeper_fixture *fx, size_t replica, int64_t sql_error)
{
    CLEANUP(json_free_p) json_t *log = fx_log(fx);
    const json_t *failure = json_object_get(recorded(log, replica), "echo_failure");

    assert_int_equal(json_integer_value(json_object_get(failure, "sql_error")), sql_error);
}

static void test_late_redo_delays(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, 1);
    fx->replicas[2].echo_after = 4;
    assert_int_equal(release(fx, FX_AGENT_B), REASON_NONE);
    assert_int_equal(fx->replicas[2].echo_asked, 4);
    assert_true(fx->replicas[0].echo_asked >= 1);
    /* The candidate has what it wrote itself. */
    assert_int_equal(fx->replicas[1].echo_asked, 0);
    assert_recorded(fx, 2, "found");
    assert_recorded(fx, 1, "unasked");
}

/* Nobody has it: 1.5 s, then the admins, and never a question without a pause before it. */
static void test_nobody_has_it(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, 1);
    fx->replicas[2].echo_failure = not_readable;
    assert_int_equal(release(fx, FX_AGENT_B), REASON_ECHO_MISSING);
    assert_int_equal(fx->reply.status, 202);
    assert_in_range(fx->replicas[0].echo_asked, 2, 31);
    assert_in_range(fx->replicas[2].echo_asked, 2, 31);
    assert_recorded(fx, 0, "missing");
    assert_recorded(fx, 2, "missing");
    assert_int_equal(fx_count(fx, "release", "echo_missing"), 1);
    /* Later one has it: no approval is needed any more. */
    fx->replicas[0].echo_after = fx->replicas[0].echo_asked + 1;
    assert_int_equal(release(fx, FX_AGENT_B), REASON_NONE);
}

static void test_hung_secondary_is_not_awaited(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, 1);
    fx->replicas[2].echo_after = 1;
    fx->replicas[0].is_hung = true;
    assert_int_equal(release(fx, FX_AGENT_B), REASON_NONE);
    assert_int_equal(fx->replicas[0].echo_asked, 0);
}

/* Only who says SECONDARY to the same question is asked at all. */
static void test_only_secondaries_are_asked(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, 1);
    fx->replicas[0].echo_after = fx->replicas[2].echo_after = 1;
    assert_int_equal(release(fx, FX_AGENT_A), REASON_CANDIDATE_NOT_PRIMARY);
    assert_int_equal(fx->replicas[0].echo_asked, 0);
    fx->replicas[0].state.role = 0;
    fx->replicas[2].state.outcome = PROBE_LOGIN_REFUSED;
    fx->replicas[0].state.primary_replica[0] = '\0';
    assert_int_equal(release(fx, FX_AGENT_B), REASON_WITNESSES_MISSING);
    fx_set_primary(fx, 1);
    fx->replicas[2].echo_asked = 0;
    fx->replicas[2].state.role = 0;
    assert_int_equal(release(fx, FX_AGENT_B), REASON_NONE);
    assert_int_equal(fx->replicas[2].echo_asked, 0);
}

/* A refused login holds back the next one for longer than anybody waits here; what hangs once would
 * hang again, and the prober with it. */
static void test_no_better_answer_is_awaited(void **state)
{
    static const struct probe_echo failures[] = {
        {.outcome = PROBE_LOGIN_REFUSED, .is_found = true, .sql_error = LOGIN_FAILED},
        {.outcome = PROBE_UNREACHABLE, .is_late = true},
    };
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, 1);
    fx->replicas[0].echo_failure = failures[0];
    fx->replicas[2].echo_failure = failures[1];
    assert_int_equal(release(fx, FX_AGENT_B), REASON_ECHO_MISSING);
    assert_int_equal(fx->replicas[0].echo_asked, 1);
    assert_int_equal(fx->replicas[2].echo_asked, 1);
    assert_recorded(fx, 0, "missing");
    assert_recorded(fx, 2, "missing");
    /* It is the other one's that is waited for. */
    fx->replicas[2].echo_failure.outcome = 0;
    fx->replicas[2].echo_after = 4;
    assert_int_equal(release(fx, FX_AGENT_B), REASON_NONE);
    assert_int_equal(fx->replicas[0].echo_asked, 2);
    assert_recorded(fx, 0, "missing");
    assert_recorded(fx, 2, "found");
}

/* It cannot be read, and says that it never can: that is its answer, and nobody else's. */
static void test_closed_replica_is_not_awaited(void **state)
{
    static const struct probe_echo closed = {
        .outcome = PROBE_SQL_ERROR, .sql_error = 976, .is_closed = true};
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, 1);
    fx->replicas[0].echo_failure = fx->replicas[2].echo_failure = closed;
    assert_int_equal(release(fx, FX_AGENT_B), REASON_ECHO_MISSING);
    assert_int_equal(fx->replicas[0].echo_asked, 1);
    assert_int_equal(fx->replicas[2].echo_asked, 1);
    assert_recorded(fx, 0, "missing");
    assert_recorded_error(fx, 0, 976);
    fx->replicas[2].echo_failure.outcome = 0;
    fx->replicas[2].echo_after = 4;
    assert_int_equal(release(fx, FX_AGENT_B), REASON_NONE);
    assert_int_equal(fx->replicas[0].echo_asked, 2);
    assert_recorded(fx, 2, "found");
    assert_recorded_error(fx, 0, 976);
    assert_recorded_error(fx, 2, 0);
}

/* An instance out of reach in this moment: that is no hang. */
static void test_broken_session_is_asked_again(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, 1);
    fx->replicas[0].echo_failure.outcome = PROBE_UNREACHABLE;
    fx->replicas[2].echo_failure.outcome = PROBE_UNREACHABLE;
    assert_int_equal(release(fx, FX_AGENT_B), REASON_ECHO_MISSING);
    assert_in_range(fx->replicas[0].echo_asked, 2, 31);
}

/* One under another server's name has it at once: that is nobody's echo, and ends nobody's. */
static void test_another_server_has_it_first(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, 1);
    snprintf(fx->replicas[0].state.server_name, PROBE_NAME_MAX, "SQLX");
    fx->replicas[0].echo_after = 1;
    fx->replicas[2].echo_after = 4;
    assert_int_equal(release(fx, FX_AGENT_B), REASON_NONE);
    assert_int_equal(fx->replicas[0].echo_asked, 0);
    assert_recorded(fx, 0, "unasked");
    assert_recorded(fx, 2, "found");
}

static void test_nonce_of_the_request_is_looked_for(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    CLEANUP(act_free_p) struct act *act = fx_release_act(fx, FX_AGENT_B, challenge, recipient);
    CLEANUP(cleanup_free) char *body = fx_sign(fx, FX_AGENT_B, challenge, act);

    fx_set_primary(fx, 1);
    fx->replicas[2].echo_after = 1;
    assert_int_equal(fx_reason(fx, ROUTE_RELEASE, FX_AGENT_B, body), REASON_NONE);
    assert_memory_equal(fx->replicas[1].session_nonce, challenge->nonce, sizeof(challenge->nonce));
    assert_memory_equal(fx->replicas[2].echo_nonce, challenge->nonce, sizeof(challenge->nonce));
}

static void test_the_challenge_tells(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(answer_free_p)
    struct answer *asked = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    CLEANUP(answer_free_p)
    struct answer *deposit = fx_challenge(fx, FX_ADMIN, ACT_DEPOSIT, PURPOSE_DEPOSIT);

    assert_true(asked->challenge.wants_echo);
    assert_false(deposit->challenge.wants_echo);
}

/* Nobody has committed anything where nothing is released. */
static void test_rebaseline_asks_for_none(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(act_free_p) struct act *act = act_new(ACT_REBASELINE);
    CLEANUP(answer_free_p) struct answer *noted = NULL;

    act->purpose = PURPOSE_REBASELINE;
    snprintf(act->rebaseline.replica, sizeof(act->rebaseline.replica), "node-a");
    noted = fx_act(fx, FX_ADMIN, ROUTE_REBASELINE, act);
    assert_non_null(noted);
    for (int i = 0; i < FX_REPLICAS; i++)
        assert_int_equal(fx->replicas[i].echo_asked, 0);
}

static bool hide_session(struct fx_replica *replica, const struct ipc_message *question,
                         void *argument)
{
    (void)replica;
    (void)argument;
    return question->type == IPC_PROBE_ASK_SESSION;
}

/* What was found stays found when the rest is given up. */
static void test_session_is_not_told(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, 1);
    fx->replicas[1].lie = hide_session;
    fx->replicas[2].echo_after = 2;
    assert_int_equal(release(fx, FX_AGENT_B), REASON_SESSION_NOT_FOUND);
    assert_int_equal(fx->reply.status, 403);
    assert_recorded(fx, 0, "missing");
    assert_recorded(fx, 2, "found");
}

static void test_group_without_the_rule(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);

    assert_false(challenge->challenge.wants_echo);
    fx_set_primary(fx, 1);
    assert_int_equal(release(fx, FX_AGENT_B), REASON_NONE);
    for (int i = 0; i < FX_REPLICAS; i++)
        assert_int_equal(fx->replicas[i].echo_asked, 0);
}

#define ECHO(test) cmocka_unit_test_setup_teardown(test, set_up, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ECHO(test_late_redo_delays),
        ECHO(test_nobody_has_it),
        ECHO(test_hung_secondary_is_not_awaited),
        ECHO(test_only_secondaries_are_asked),
        ECHO(test_no_better_answer_is_awaited),
        ECHO(test_closed_replica_is_not_awaited),
        ECHO(test_broken_session_is_asked_again),
        ECHO(test_another_server_has_it_first),
        ECHO(test_nonce_of_the_request_is_looked_for),
        ECHO(test_the_challenge_tells),
        ECHO(test_rebaseline_asks_for_none),
        ECHO(test_session_is_not_told),
        cmocka_unit_test_setup_teardown(test_group_without_the_rule, fx_setup_ready, fx_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
