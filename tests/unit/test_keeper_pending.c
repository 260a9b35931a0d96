/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/ipc_probe.h"
#include "libescrow/json.h"
#include "tests/unit/keeper_asked.h"
#include "tests/unit/wall_clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* What becomes of a request while it waits for admins. node-a is primary and asks again. */

/* Another key to wrap to is another request, and nobody waits for the first any more. */
static void test_another_recipient(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);
    CLEANUP(asked_deinit) struct asked other = {0};

    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    other = asked_ask(fx);
    assert_int_not_equal(other.number, asked.number);
    assert_string_equal(asked_member(fx, asked.number, "state"), "closed");
    assert_string_equal(asked_member(fx, other.number, "approvals"), "0");
    assert_int_equal(asked_again(fx, &asked), REASON_NONE);
}

/* Who waits asks again and again: the log has one record of it, and one of each change. */
static void test_asked_again(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);
    unsigned releases = fx_count(fx, "release", NULL);

    for (int i = 0; i < 3; i++) {
        assert_int_equal(asked_again(fx, &asked), REASON_NONE);
        assert_int_equal(asked_number(&fx->reply), asked.number);
    }
    assert_int_equal(fx_count(fx, "release", NULL), releases);
    fx->replicas[2].state.role = 1;
    assert_int_equal(asked_again(fx, &asked), REASON_NONE);
    assert_int_equal(asked_again(fx, &asked), REASON_NONE);
    assert_int_equal(fx_count(fx, "release", NULL), releases + 1);
    assert_int_equal(fx_count(fx, "release", "rival_primary"), 1);
}

/* Both admins approve, and it is let out: the request is the one that is decided on. */
static void served(struct keeper_fixture *fx, const struct asked *asked)
{
    assert_string_equal(asked_member(fx, asked->number, "approvals"), "0");
    assert_int_equal(asked_approve(fx, FX_ADMIN, asked), REASON_NONE);
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, asked), REASON_NONE);
    assert_int_equal(asked_again(fx, asked), REASON_APPROVED);
}

/* The first rule that needs admins is the same, and there is one more: they see that too. */
static void test_more_to_approve(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = {0};
    struct asked more;

    fx->replicas[0].state.quorum_state = 2; /* forced */
    asked = asked_ask(fx);
    assert_string_equal(asked_member(fx, asked.number, "reason"), "forced_quorum");
    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    fx->replicas[2].state.role = 1;
    assert_int_equal(asked_again(fx, &asked), REASON_NONE);
    more = (struct asked){asked.recipient, asked.object, asked_number(&fx->reply)};
    assert_int_not_equal(more.number, asked.number);
    assert_string_equal(asked_member(fx, asked.number, "state"), "closed");
    assert_string_equal(asked_member(fx, more.number, "reason"), "forced_quorum");
    served(fx, &more);
}

/* Approved, and then there is another primary: nothing is left of it. */
static void test_promoted_elsewhere(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);

    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    fx_set_primary(fx, 1);
    assert_int_equal(asked_again(fx, &asked), REASON_CANDIDATE_NOT_PRIMARY);
    fx_wait_primary(fx, "node-b");
    assert_string_equal(asked_member(fx, asked.number, "state"), "closed");
    fx_set_primary(fx, 0);
    fx_wait_primary(fx, "node-a");
    /* Served as what it is, a promotion. */
    assert_int_equal(asked_again(fx, &asked), REASON_PROMOTION);
    assert_int_equal(fx_count(fx, "release", "approved"), 0);
}

/* What the admins have not seen they have not approved. */
static void test_second_primary_since(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);

    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    fx->replicas[2].state.role = 1;
    assert_int_equal(asked_again(fx, &asked), REASON_NONE);
    assert_int_not_equal(asked_number(&fx->reply), asked.number);
    assert_string_equal(asked_member(fx, asked_number(&fx->reply), "reason"), "rival_primary");
}

/* Until the member is null, or is not. */
static void await_null(struct keeper_fixture *fx, uint64_t number, const char *name, bool is_null)
{
    const time_t deadline = time(NULL) + FX_DEADLINE_MS / 1000;

    while ((strcmp(asked_member(fx, number, name), "-") == 0) != is_null)
        assert_true(time(NULL) < deadline);
}

/* The replica says no more that it is primary, and nobody else is: admins are told, and nothing
 * ends, because it may be for a moment only. */
static void test_not_primary_for_a_while(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);

    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_string_equal(asked_member(fx, asked.number, "not_primary_since"), "-");
    assert_string_equal(asked_member(fx, asked.number, "not_heard_since"), "-");
    fx->replicas[0].state.role = 0;
    await_null(fx, asked.number, "not_primary_since", false);
    assert_string_equal(asked_member(fx, asked.number, "state"), "pending");
    fx->replicas[0].state.role = 1;
    await_null(fx, asked.number, "not_primary_since", true);
    /* One that cannot be asked says nothing. */
    fx->replicas[0].state.outcome = PROBE_REFUSED;
    await_null(fx, asked.number, "not_primary_since", false);
    fx->replicas[0].state.outcome = PROBE_ANSWERED;
    await_null(fx, asked.number, "not_primary_since", true);
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    assert_int_equal(asked_again(fx, &asked), REASON_APPROVED);
}

/* What was approved was of another epoch: since then the group has a new baseline. */
static void test_new_baseline(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);
    CLEANUP(act_free_p) struct act *act = act_new(ACT_REBASELINE);
    CLEANUP(answer_free_p) struct answer *noted = NULL;
    struct asked later;

    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    act->purpose = PURPOSE_REBASELINE;
    snprintf(act->rebaseline.replica, sizeof(act->rebaseline.replica), "node-a");
    noted = fx_act(fx, FX_ADMIN, ROUTE_REBASELINE, act);
    assert_non_null(noted);
    assert_string_equal(asked_member(fx, asked.number, "state"), "closed");
    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_REQUEST_UNKNOWN);
    assert_int_equal(asked_again(fx, &asked), REASON_NONE);
    later = (struct asked){asked.recipient, asked.object, asked_number(&fx->reply)};
    assert_int_not_equal(later.number, asked.number);
    assert_string_equal(asked_member(fx, asked.number, "state"), "closed");
    assert_int_equal(fx_count(fx, "release", "approved"), 0);
    served(fx, &later);
}

static int set_up_short(void **state)
{
    struct keeper_fixture *fx;
    int result = fx_setup_ready(state);

    fx = *state;
    fx_shut_down(fx);
    fx_run_with(fx, "    approval_expiry: 1s\n");
    fx_wait_primary(fx, "node-a");
    return result;
}

/* The last record of an end says why, and of which request, as the record of that one has it. */
static void check_end(struct keeper_fixture *fx, uint64_t number, const char *reason)
{
    static const char *const members[] = {"group", "database", "replica", "purpose", "epoch"};
    CLEANUP(json_free_p) json_t *log = fx_log(fx);
    const json_t *asked = json_array_get(log, number - 1), *ended = NULL;

    for (size_t i = 0; i < json_array_size(log); i++) {
        const json_t *record = json_array_get(log, i);

        if (strcmp(json_string_value(json_object_get(record, "event")), "expired") == 0)
            ended = record;
    }
    assert_string_equal(json_string_value(json_object_get(ended, "reason")), reason);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(ended, "detail"), "request")), number);
    assert_int_equal(json_integer_value(json_object_get(asked, "sequence")), number);
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        assert_false(json_is_null(json_object_get(ended, members[i])));
        assert_true(
            json_equal(json_object_get(ended, members[i]), json_object_get(asked, members[i])));
    }
}

/* Who waits hears of that too; nobody approves any more, and what was approved counts no more. */
static void test_expired(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);
    struct asked later;
    const struct ipc_request request = {.route = ROUTE_REQUEST,
                                        .identity = fx->actors[FX_AGENT_A].identity,
                                        .from = asked.number,
                                        .wait_ms = FX_DEADLINE_MS};

    assert_int_equal(fx_try_request(fx, ++fx->last_id, &request), ESCROW_OK);
    fx_wait(fx, fx->last_id);
    assert_non_null(strstr(fx->reply.body, "\"state\":\"expired\""));
    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_REQUEST_EXPIRED);
    assert_int_equal(asked_again(fx, &asked), REASON_NONE);
    later = (struct asked){asked.recipient, asked.object, asked_number(&fx->reply)};
    assert_int_not_equal(later.number, asked.number);
    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_REQUEST_UNKNOWN);
    fx_wait_count(fx, "expired", "request_expired", 2);
    check_end(fx, later.number, "request_expired");
    fx_kill(fx);
    fx_run(fx);
    assert_string_equal(asked_member(fx, later.number, "state"), "expired");
    assert_string_equal(asked_member(fx, later.number, "act"), "-");
    assert_int_equal(fx_count(fx, "expired", NULL), 2);
}

#define SECOND_MS 1000

static int set_up_clock(void **state)
{
    wall_clock_move(0);
    return fx_setup_ready(state);
}

static unsigned asked_awaited;

/* By the watch alone, which asks every second. */
static bool is_asked_more(struct keeper_fixture *fx)
{
    return fx->replicas[1].asked >= asked_awaited;
}

/* Another escrowd has served the agent, or a person has opened the key: there is nothing to do. */
static void test_key_opens_meanwhile(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);

    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_NONE);
    /* Not of one that was made a moment ago. */
    asked_awaited = fx->replicas[1].asked + 3;
    fx_until(fx, is_asked_more);
    assert_string_equal(asked_member(fx, asked.number, "state"), "pending");
    wall_clock_move(16 * SECOND_MS);
    fx_wait_count(fx, "expired", "master_key_opens", 1);
    check_end(fx, asked.number, "master_key_opens");
    assert_string_equal(asked_member(fx, asked.number, "state"), "closed");
    assert_string_equal(asked_member(fx, asked.number, "act"), "-");
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, &asked), REASON_REQUEST_UNKNOWN);
    fx_kill(fx);
    fx_run(fx);
    fx_wait_primary(fx, "node-a");
    assert_string_equal(asked_member(fx, asked.number, "state"), "closed");
    /* Whoever still wants it asks anew, and what was approved is gone. */
    assert_int_equal(asked_again(fx, &asked), REASON_NONE);
    assert_int_not_equal(asked_number(&fx->reply), asked.number);
    assert_string_equal(asked_member(fx, asked_number(&fx->reply), "approvals"), "0");
    assert_int_equal(fx_count(fx, "expired", NULL), 1);
}

/* The number of an order to drill, which another replica that says PRIMARY makes admins approve. */
static uint64_t ask_by_order(struct keeper_fixture *fx)
{
    CLEANUP(act_free_p) struct act *order = act_new(ACT_ORDER), *act = NULL;
    CLEANUP(answer_free_p) struct answer *noted = NULL, *challenge = NULL, *grant = NULL;
    CLEANUP(json_free_p) json_t *orders = NULL;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();

    order->purpose = PURPOSE_DRILL;
    order->order.expires_in_s = 600;
    noted = fx_act(fx, FX_ADMIN, ROUTE_ORDER, order);
    assert_non_null(noted);
    fx_ask(fx, ROUTE_ORDERS, fx->actors[FX_AGENT_A].identity, "");
    assert_int_equal(json_parse(fx->reply.body, strlen(fx->reply.body), 4096, &orders), ESCROW_OK);
    fx->replicas[2].state.role = 1;
    challenge = fx_challenge(fx, FX_AGENT_A, ACT_RELEASE, PURPOSE_DRILL);
    act = fx_release_act(fx, FX_AGENT_A, challenge, recipient);
    act->purpose = PURPOSE_DRILL;
    snprintf(act->release.order, sizeof(act->release.order), "%s",
             json_string_value(
                 json_object_get(json_array_get(json_object_get(orders, "orders"), 0), "order")));
    grant = fx_act(fx, FX_AGENT_A, ROUTE_RELEASE, act);
    assert_null(grant);
    fx->replicas[2].state.role = 2;
    return asked_number(&fx->reply);
}

/* To rotate or to drill the master key may well open: only the younger request ends. */
static void test_key_opens_for_an_order(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t ordered = ask_by_order(fx);
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);

    assert_int_not_equal(ordered, 0);
    assert_true(ordered < asked.number);
    wall_clock_move(16 * SECOND_MS);
    fx_wait_count(fx, "expired", "master_key_opens", 1);
    assert_string_equal(asked_member(fx, asked.number, "state"), "closed");
    assert_string_equal(asked_member(fx, ordered, "state"), "pending");
}

static unsigned opens_awaited;

static bool is_asked_whether_it_opens(struct keeper_fixture *fx)
{
    return fx->replicas[0].opens_asked >= opens_awaited;
}

static void still_waits(struct keeper_fixture *fx, uint64_t number, enum probe_opens opens)
{
    fx->replicas[0].opens = opens;
    opens_awaited = fx->replicas[0].opens_asked + 3; /* others ask too, but not so often */
    fx_until(fx, is_asked_whether_it_opens);
    assert_string_equal(asked_member(fx, number, "state"), "pending");
}

/* No answer but a yes ends a request. */
static void test_key_that_does_not_open(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);

    fx->replicas[0].opens = PROBE_OPENS_NO;
    wall_clock_move(16 * SECOND_MS);
    still_waits(fx, asked.number, PROBE_OPENS_NO);
    still_waits(fx, asked.number, PROBE_OPENS_NO_CERTIFICATE);
    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    assert_int_equal(asked_again(fx, &asked), REASON_APPROVED);
    assert_int_equal(fx_count(fx, "expired", NULL), 0);
}

/* The questions whether its key opens that a replica has not answered: the survey's, and the one
 * about the request. */
static uint64_t opens_held[2];
static size_t opens_held_count;

static bool hold_opens(struct fx_replica *replica, const struct ipc_message *question,
                       void *argument)
{
    (void)replica;
    (void)argument;
    if (question->type != IPC_PROBE_ASK_OPENS || opens_held_count == ARRAY_LEN(opens_held))
        return false;
    opens_held[opens_held_count++] = question->id;
    return true;
}

static bool are_opens_held(struct keeper_fixture *fx)
{
    (void)fx;
    return opens_held_count == ARRAY_LEN(opens_held);
}

/* The request's time is over while its replica is asked: it has ended, and does not end again. */
static void test_key_opens_too_late(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    const struct ipc_probe_opens yes = {PROBE_OPENS_YES, 0};

    opens_held_count = 0;
    fx->replicas[0].lie = hold_opens;
    wall_clock_move(16 * SECOND_MS);
    fx_until(fx, are_opens_held);
    wall_clock_move(31 * SECOND_MS);
    fx_wait_count(fx, "expired", "request_expired", 1);
    ipc_put_probe_opens(&writer, &yes);
    for (size_t i = 0; i < ARRAY_LEN(opens_held); i++)
        assert_int_equal(
            ipc_send(fx->replicas[0].fd, IPC_PROBE_OPENS, opens_held[i], &writer, FX_DEADLINE_MS),
            ESCROW_OK);
    /* When the watch has asked twice again the keeper has read both. */
    asked_awaited = fx->replicas[1].asked + 2;
    fx_until(fx, is_asked_more);
    assert_int_equal(fx_count(fx, "expired", NULL), 1);
    assert_string_equal(asked_member(fx, asked.number, "state"), "expired");
}

static int set_up_half_a_minute(void **state)
{
    struct keeper_fixture *fx;
    int result;

    wall_clock_move(0);
    result = fx_setup_ready(state);
    fx = *state;
    fx_run_with(fx, "    approval_expiry: 30s\n");
    fx_wait_primary(fx, "node-a");
    return result;
}

/* Refused or counted with this reason, and nothing of it is among what admins see. */
static void refused(struct keeper_fixture *fx, enum reason reason)
{
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);

    assert_int_equal(asked.number, 0);
    assert_int_equal(fx->reply.reason, reason);
}

/* A stolen act key makes requests without end: ten a minute are recorded, the first among them. */
static void test_flood_of_requests(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked last = {0};

    for (int i = 0; i < 10; i++) {
        asked_deinit(&last);
        last = asked_ask(fx);
        assert_int_not_equal(last.number, 0);
    }
    for (int i = 0; i < 40; i++)
        refused(fx, REASON_OVERLOADED);
    assert_int_equal(fx_count(fx, "release", "restart"), 10);
    assert_true(fx_count(fx, "refusal", "overloaded") <= 30);
    /* The next keeper knows of them too; a minute later one is heard again. */
    fx_kill(fx);
    fx_run(fx);
    fx_wait_primary(fx, "node-a");
    refused(fx, REASON_OVERLOADED);
    assert_string_equal(asked_member(fx, last.number, "state"), "pending");
    wall_clock_move(62 * SECOND_MS);
    asked_deinit(&last);
    last = asked_ask(fx);
    assert_int_not_equal(last.number, 0);
    assert_int_equal(asked_approve(fx, FX_ADMIN, &last), REASON_NONE);
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, &last), REASON_NONE);
    assert_int_equal(asked_again(fx, &last), REASON_APPROVED);
}

/* Nor does a flood keep from being recorded what somebody else asks for. */
static void test_flood_beside_another(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = NULL;

    for (int i = 0; i < 10; i++) {
        CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);

        assert_int_not_equal(asked.number, 0);
    }
    refused(fx, REASON_OVERLOADED);
    fx_set_primary(fx, 1);
    fx->replicas[2].state.role = 1;
    grant = fx_release(fx, FX_AGENT_B, recipient);
    assert_null(grant);
    assert_int_not_equal(asked_number(&fx->reply), 0);
    assert_int_equal(fx_count(fx, "release", "rival_primary"), 1);
}

#define READY(test) cmocka_unit_test_setup_teardown(test, fx_setup_ready, fx_teardown)
#define WITH_CLOCK(test) cmocka_unit_test_setup_teardown(test, set_up_clock, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY(test_another_recipient),
        READY(test_asked_again),
        READY(test_more_to_approve),
        READY(test_promoted_elsewhere),
        READY(test_second_primary_since),
        READY(test_new_baseline),
        READY(test_not_primary_for_a_while),
        cmocka_unit_test_setup_teardown(test_expired, set_up_short, fx_teardown),
        WITH_CLOCK(test_key_opens_meanwhile),
        WITH_CLOCK(test_key_opens_for_an_order),
        WITH_CLOCK(test_key_that_does_not_open),
        cmocka_unit_test_setup_teardown(test_key_opens_too_late, set_up_half_a_minute, fx_teardown),
        WITH_CLOCK(test_flood_of_requests),
        READY(test_flood_beside_another),
    };

    wall_clock_share();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
