/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/clock.h"
#include "libescrow/ipc_probe.h"
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

/* What becomes of a grant: whoever says that the master key opens, and what the replica says. */

enum { A, B, C }; /* fx->replicas */

#define MINUTE_MS ((int64_t)60 * 1000)

/* ---- grants and receipts ---- */

static struct answer *release_to_b(struct keeper_fixture *fx)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    struct answer *grant = fx_release(fx, FX_AGENT_B, recipient);

    if (!grant)
        fx_fail("refused", fx->reply.body);
    return grant;
}

static void send_receipt_for(struct keeper_fixture *fx, enum fx_who who, enum act_purpose purpose,
                             const struct answer *grant, enum act_outcome outcome)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_RECEIPT);
    CLEANUP(answer_free_p) struct answer *noted = NULL;

    act->purpose = purpose;
    memcpy(act->receipt.replica, grant->grant.replica, sizeof(act->receipt.replica));
    act->receipt.grant = grant->sequence;
    act->receipt.outcome = outcome;
    noted = fx_act(fx, who, ROUTE_RECEIPT, act);
    if (!noted)
        fx_fail("the receipt was refused", reason_code(fx->reply.reason));
}

static void send_receipt(struct keeper_fixture *fx, const struct answer *grant,
                         enum act_outcome outcome)
{
    send_receipt_for(fx, FX_AGENT_B, PURPOSE_PROMOTE, grant, outcome);
}

/* B is promoted, gets its grant, and its agent says that it opened the master key with it. */
static uint64_t claim(struct keeper_fixture *fx)
{
    CLEANUP(answer_free_p) struct answer *grant = NULL;

    fx_set_primary(fx, B);
    grant = release_to_b(fx);
    send_receipt(fx, grant, OUTCOME_OPENED);
    return grant->sequence;
}

/* The last settle record: of this grant, and with these words. */
static json_int_t assert_settle(struct keeper_fixture *fx, uint64_t grant, const char *reason,
                                const char *opens)
{
    CLEANUP(json_free_p) json_t *records = NULL;
    const json_t *last = NULL;
    const char *said;

    fx_wait_count(fx, "settle", reason, 1);
    records = fx_log(fx);
    for (size_t i = 0; i < json_array_size(records); i++) {
        const json_t *record = json_array_get(records, i);

        if (strcmp(json_string_value(json_object_get(record, "event")), "settle") == 0)
            last = record;
    }
    assert_string_equal(json_string_value(json_object_get(last, "reason")), reason);
    assert_int_equal(json_integer_value(json_object_get(last, "grant")), grant);
    assert_string_equal(json_string_value(json_object_get(last, "replica")), "node-b");
    said = json_string_value(json_object_get(json_object_get(last, "detail"), "opens"));
    assert_string_equal(said ? said : "", opens);
    return json_integer_value(json_object_get(json_object_get(last, "detail"), "asked"));
}

/* It gets it once more, as one whose grant is not settled. */
static void assert_unsettled(struct keeper_fixture *fx)
{
    CLEANUP(answer_free_p) struct answer *again = release_to_b(fx);

    assert_string_equal(reason_code(again->grant.reason), "promotion_repeat");
}

static void assert_settled(struct keeper_fixture *fx)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, FX_AGENT_B, recipient);

    assert_null(grant);
    assert_int_equal(fx->reply.status, 202);
    assert_non_null(strstr(fx->reply.body, "\"restart\""));
}

/* ---- attacks ---- */

static void test_receipt_of_success_although_the_key_does_not_open(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t grant;

    fx->replicas[B].opens = PROBE_OPENS_NO;
    grant = claim(fx);
    /* Not once more: it waits for what the watch hears of that replica after the third no. */
    assert_int_equal(assert_settle(fx, grant, "grant_disproved", "no"), 3);
    assert_int_equal(fx_count(fx, "settle", NULL), 1);
    assert_unsettled(fx);
}

/* What the replica says counts after a good receipt only, and then gets it nothing more. */
static void test_liar_that_says_that_it_opens(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(answer_free_p) struct answer *grant = NULL;

    fx_set_primary(fx, B);
    grant = release_to_b(fx);
    send_receipt(fx, grant, OUTCOME_FAILED);
    fx_wait_primary(fx, "node-b");
    assert_int_equal(fx->replicas[B].opens_asked, 0);
    assert_int_equal(fx_count(fx, "settle", NULL), 0);
    send_receipt(fx, grant, OUTCOME_OPENED);
    assert_settle(fx, grant->sequence, "grant_proved", "yes");
    assert_settled(fx);
}

static void test_honest_receipt(void **state)
{
    struct keeper_fixture *fx = *state;

    assert_settle(fx, claim(fx), "grant_proved", "yes");
    assert_int_equal(fx->replicas[A].opens_asked + fx->replicas[C].opens_asked, 0);
    assert_settled(fx);
}

/* That escrowd cannot look is not that the agent lied. */
static void test_prober_without_the_right(void **state)
{
    struct keeper_fixture *fx = *state;

    fx->replicas[B].opens = PROBE_OPENS_NO_CERTIFICATE;
    assert_settle(fx, claim(fx), "grant_unproven", "no_certificate");
    assert_unsettled(fx);
}

/* A prober that may not sign says that it is primary, but only after what it says of its key. */
struct order {
    uint64_t state;  /* a question that is not answered yet; 0: none */
    int64_t told_ms; /* of the key, since that was asked; 0: not yet */
};

static bool answer_state_last(struct fx_replica *replica, const struct ipc_message *question,
                              void *argument)
{
    static const struct ipc_probe_opens opens = {PROBE_OPENS_NO_CERTIFICATE, 0};
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    struct order *order = argument;

    if (question->type == IPC_PROBE_ASK_OPENS) {
        ipc_put_probe_opens(&writer, &opens);
        assert_int_equal(
            ipc_send(replica->fd, IPC_PROBE_OPENS, question->id, &writer, FX_DEADLINE_MS),
            ESCROW_OK);
        order->told_ms = clock_boot_ms();
        return true;
    }
    if (question->type != IPC_PROBE_ASK_STATES || order->state)
        return false;
    order->state = question->id;
    order->told_ms = 0;
    return true;
}

/* In another millisecond, and long before the keeper's next tick. */
static void tell_state(const struct fx_replica *replica, struct order *order)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    CLEANUP(cleanup_free)
    struct ipc_probe_states *states = calloc(1, sizeof(*states) + sizeof(states->items[0]));

    assert_non_null(states);
    if (!order->state || !order->told_ms || clock_boot_ms() - order->told_ms < 3)
        return;
    states->count = 1;
    states->items[0] = replica->state;
    ipc_put_probe_states(&writer, states);
    assert_int_equal(ipc_send(replica->fd, IPC_PROBE_STATES, order->state, &writer, FX_DEADLINE_MS),
                     ESCROW_OK);
    *order = (struct order){0};
}

/* The same, when the replica has said since that it still is the primary. */
static void test_primary_whose_prober_lacks_the_right(void **state)
{
    struct keeper_fixture *fx = *state;
    struct order order = {0};
    int64_t deadline_ms;
    uint64_t grant;

    fx->replicas[B].opens = PROBE_OPENS_NO_CERTIFICATE;
    grant = claim(fx);
    fx->replicas[B].argument = &order;
    fx->replicas[B].lie = answer_state_last;
    deadline_ms = clock_boot_ms() + FX_DEADLINE_MS;
    while (fx_count(fx, "settle", NULL) == 0 && clock_boot_ms() < deadline_ms) {
        fx_serve(fx, 4);
        tell_state(&fx->replicas[B], &order);
    }
    fx->replicas[B].lie = NULL;
    assert_settle(fx, grant, "grant_unproven", "no_certificate");
}

/* Never answers whether the key opens. */
static bool hide_key(struct fx_replica *replica, const struct ipc_message *question, void *argument)
{
    (void)replica, (void)argument;
    return question->type == IPC_PROBE_ASK_OPENS;
}

/* It answers for the replica of which it is the prober, or for nothing. */
static void test_prober_of_another_replica_that_says_yes(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    const struct ipc_probe_opens yes = {PROBE_OPENS_YES, 0};
    uint64_t grant;

    fx->replicas[B].lie = hide_key;
    grant = claim(fx);
    ipc_put_probe_opens(&writer, &yes);
    for (uint64_t id = 1; fx->replicas[C].fd >= 0 && id < 4; id++) {
        if (ipc_send(fx->replicas[C].fd, IPC_PROBE_OPENS, id, &writer, FX_DEADLINE_MS))
            break;
    }
    fx_wait_restarts(fx, C, 1);
    assert_int_equal(fx_count(fx, "settle", NULL), 0);
    assert_settle(fx, grant, "grant_unproven", "");
    assert_unsettled(fx);
}

/* A replica that is not primary any more says no, and its agent has not lied. */
static void test_failover_before_the_proof(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t grant;

    fx->replicas[B].opens = PROBE_OPENS_NO;
    grant = claim(fx);
    fx_set_primary(fx, C);
    assert_settle(fx, grant, "grant_unproven", "");
    assert_int_equal(fx_count(fx, "settle", "grant_disproved"), 0);
}

/* What is to be proved stands in the ledger. */
static void test_killed_before_the_proof(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t grant;

    fx->replicas[B].lie = hide_key;
    grant = claim(fx);
    fx_kill(fx);
    fx->replicas[B].lie = NULL;
    fx_run(fx);
    assert_settle(fx, grant, "grant_proved", "yes");
    assert_int_equal(fx_count(fx, "settle", NULL), 1);
    assert_settled(fx);
}

static void test_no_receipt(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(answer_free_p) struct answer *grant = NULL;

    fx_set_primary(fx, B);
    grant = release_to_b(fx);
    wall_clock_move(9 * MINUTE_MS);
    fx_wait_primary(fx, "node-b");
    assert_int_equal(fx_count(fx, "settle", NULL), 0);
    wall_clock_move(11 * MINUTE_MS);
    assert_settle(fx, grant->sequence, "receipt_missing", "");
    /* Once; and a receipt that comes after all still counts. */
    fx_shut_down(fx);
    fx_run(fx);
    send_receipt(fx, grant, OUTCOME_ALREADY_OPEN);
    assert_settle(fx, grant->sequence, "grant_proved", "yes");
    assert_int_equal(fx_count(fx, "settle", NULL), 2);
    assert_settled(fx);
}

/* ---- what was unproven or disproved ---- */

static unsigned rounds_awaited;

static bool are_rounds_over(struct keeper_fixture *fx)
{
    return fx->replicas[C].asked >= rounds_awaited;
}

/* Three rounds of the watch, so two ticks at least. */
static void wait_ticks(struct keeper_fixture *fx)
{
    rounds_awaited = fx->replicas[C].asked + 3;
    fx_until(fx, are_rounds_over);
}

/* A question that is open when the clock jumps makes the prober one that is overdue. */
static void let_a_minute_pass(struct keeper_fixture *fx)
{
    fx->options.may_lose = true;
    boot_clock_move(MINUTE_MS);
}

/* It is asked for once more a minute later, and not before: a yes counts then too. */
static void test_key_that_opens_after_all(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t grant;
    unsigned asked;

    fx->replicas[B].opens = PROBE_OPENS_NO;
    grant = claim(fx);
    assert_settle(fx, grant, "grant_disproved", "no");
    asked = fx->replicas[B].opens_asked;
    fx->replicas[B].opens = PROBE_OPENS_YES;
    wait_ticks(fx);
    assert_int_equal(fx->replicas[B].opens_asked, asked);
    let_a_minute_pass(fx);
    assert_settle(fx, grant, "grant_proved", "yes");
    assert_settled(fx);
}

/* But in its epoch only: whoever is primary by now has a grant of his own. */
static void test_disproved_in_another_epoch(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t grant;
    unsigned asked;

    fx->replicas[B].opens = PROBE_OPENS_NO;
    grant = claim(fx);
    assert_settle(fx, grant, "grant_disproved", "no");
    fx_set_primary(fx, C);
    fx_wait_primary(fx, "node-c");
    wait_ticks(fx);
    asked = fx->replicas[B].opens_asked;
    let_a_minute_pass(fx);
    wait_ticks(fx);
    assert_int_equal(fx->replicas[B].opens_asked, asked);
    assert_int_equal(fx_count(fx, "settle", NULL), 1);
}

/* ---- orders ---- */

/* To drill, good for ten minutes. */
static void issue(struct keeper_fixture *fx, char ret_order[static NAME_MAX_BYTES + 1])
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_ORDER);
    CLEANUP(answer_free_p) struct answer *noted = NULL;
    CLEANUP(json_free_p) json_t *orders = NULL;

    act->purpose = PURPOSE_DRILL;
    act->order.expires_in_s = 600;
    noted = fx_act(fx, FX_ADMIN, ROUTE_ORDER, act);
    assert_non_null(noted);
    fx_ask(fx, ROUTE_ORDERS, fx->actors[FX_AGENT_A].identity, "");
    assert_int_equal(json_parse(fx->reply.body, strlen(fx->reply.body), 4096, &orders), ESCROW_OK);
    snprintf(ret_order, NAME_MAX_BYTES + 1, "%s",
             json_string_value(
                 json_object_get(json_array_get(json_object_get(orders, "orders"), 0), "order")));
}

static struct answer *release_by_order(struct keeper_fixture *fx, enum act_purpose purpose,
                                       const char *order)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_AGENT_A, ACT_RELEASE, purpose);
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(act_free_p) struct act *act = fx_release_act(fx, FX_AGENT_A, challenge, recipient);
    CLEANUP(cleanup_free) char *body = NULL;

    act->purpose = purpose;
    snprintf(act->release.order, sizeof(act->release.order), "%s", order);
    body = fx_sign(fx, FX_AGENT_A, challenge, act);
    return fx_finish(fx, FX_AGENT_A, ROUTE_RELEASE, body, act);
}

static void assert_order_unknown(struct keeper_fixture *fx, enum act_purpose purpose,
                                 const char *order)
{
    CLEANUP(answer_free_p) struct answer *grant = release_by_order(fx, purpose, order);

    assert_null(grant);
    assert_int_equal(fx->reply.reason, REASON_ORDER_UNKNOWN);
}

/* A worker that died asks again by the same order, until its grant is proved; and in its time. */
static void test_an_order_ends_with_its_proof(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(answer_free_p) struct answer *grant = NULL, *again = NULL;
    char order[NAME_MAX_BYTES + 1];

    issue(fx, order);
    assert_order_unknown(fx, PURPOSE_ROTATE, order);
    grant = release_by_order(fx, PURPOSE_DRILL, order);
    assert_non_null(grant);
    again = release_by_order(fx, PURPOSE_DRILL, order);
    assert_non_null(again);
    send_receipt_for(fx, FX_AGENT_A, PURPOSE_DRILL, again, OUTCOME_OPENED);
    fx_wait_count(fx, "settle", "grant_proved", 1);
    assert_order_unknown(fx, PURPOSE_DRILL, order);

    issue(fx, order);
    wall_clock_move(11 * MINUTE_MS);
    assert_order_unknown(fx, PURPOSE_DRILL, order);
}

static int set_up(void **state)
{
    wall_clock_move(0);
    boot_clock_move(0);
    return fx_setup_ready(state);
}

#define READY(test) cmocka_unit_test_setup_teardown(test, set_up, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY(test_honest_receipt),
        READY(test_receipt_of_success_although_the_key_does_not_open),
        READY(test_liar_that_says_that_it_opens),
        READY(test_prober_without_the_right),
        READY(test_primary_whose_prober_lacks_the_right),
        READY(test_prober_of_another_replica_that_says_yes),
        READY(test_failover_before_the_proof),
        READY(test_killed_before_the_proof),
        READY(test_no_receipt),
        READY(test_key_that_opens_after_all),
        READY(test_disproved_in_another_epoch),
        READY(test_an_order_ends_with_its_proof),
    };

    wall_clock_share();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
