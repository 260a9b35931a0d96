/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a real keeper tells its alerter, and when: the test is the alerter. And that nothing waits
 * for it, whatever it does.
 */
#include "libescrow/audit_record.h"
#include "libescrow/json.h"
#include "tests/unit/keeper_fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define WITHIN_MS 1000 /* of its record; most of them, on a busy machine */
#define LATE_MS 10000  /* all of them */
#define SEGMENT "00000000000000000001.jsonl"

static int alerter = -1;
static unsigned alerts, in_time;

static int64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The next alert, how old or new it is, and its id; the keeper waits for the answer. */
static json_t *receive_any(struct keeper_fixture *fx, uint64_t *ret_id)
{
    struct pollfd polled = {.fd = alerter, .events = POLLIN};
    struct ipc_message message;
    struct ipc_reader reader;
    const char *text;
    json_t *document;

    for (int64_t end_ms = wall_ms() + FX_DEADLINE_MS; poll(&polled, 1, 0) == 0;) {
        if (wall_ms() > end_ms)
            fx_fail("no alert", "");
        fx_serve(fx, 10);
    }
    assert_int_equal(ipc_receive(alerter, fx->buffer, 0, &message), ESCROW_OK);
    assert_int_equal(message.type, IPC_ALERT);
    ipc_reader_init(&reader, &message);
    text = ipc_get_string(&reader, 4096);
    assert_int_equal(ipc_reader_end(&reader), ESCROW_OK);
    document = json_loads(text, 0, NULL);
    assert_non_null(document);
    *ret_id = message.id;
    return document;
}

/* The same, of just now. */
static json_t *receive(struct keeper_fixture *fx, uint64_t *ret_id)
{
    json_t *document = receive_any(fx, ret_id);
    int64_t time_ms, late_ms;

    assert_int_equal(
        audit_time_parse(json_string_value(json_object_get(document, "time")), &time_ms),
        ESCROW_OK);
    late_ms = wall_ms() - time_ms;
    assert_in_range(late_ms, 0, LATE_MS);
    alerts++;
    in_time += late_ms <= WITHIN_MS;
    return document;
}

static void answer(uint64_t id)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    ipc_put_alert_done(&writer, &(struct ipc_alert_done){IPC_ALERT_DELIVERED, 0});
    assert_int_equal(ipc_send(alerter, IPC_ALERT_DONE, id, &writer, FX_DEADLINE_MS), ESCROW_OK);
}

static const char *text_of(const json_t *document, const char *name)
{
    const char *text = json_string_value(json_object_get(document, name));

    return text ? text : "";
}

/* The alert of this event and reason has come ("": none); those before it are answered too. */
static void wait_alert(struct keeper_fixture *fx, const char *event, const char *reason)
{
    bool is_there = false;

    while (!is_there) {
        uint64_t id;
        CLEANUP(json_free_p) json_t *document = receive(fx, &id);
        int64_t record = json_integer_value(json_object_get(document, "record"));

        answer(id);
        is_there = strcmp(text_of(document, "event"), event) == 0 &&
                   strcmp(text_of(document, "reason"), reason) == 0;
        if (is_there && record > 0) {
            CLEANUP(json_free_p) json_t *log = fx_log_from(fx, (uint64_t)record);
            const json_t *line = json_array_get(log, 0);

            assert_int_equal(json_integer_value(json_object_get(line, "sequence")), record);
            assert_string_equal(text_of(line, "reason"), reason);
            assert_string_equal(text_of(line, "time"), text_of(document, "time"));
            assert_string_equal(text_of(line, "group"), text_of(document, "group"));
            assert_string_equal(text_of(line, "actor"), text_of(document, "identity"));
        }
    }
}

static bool is_released(struct keeper_fixture *fx, enum fx_who who)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, who, recipient);

    return grant != NULL;
}

static void test_refused(void **state)
{
    assert_false(is_released(*state, FX_AGENT_B));
    wait_alert(*state, "refused", "candidate_not_primary");
}

static void test_needs_approval(void **state)
{
    assert_false(is_released(*state, FX_AGENT_A));
    wait_alert(*state, "needs_approval", "restart");
}

/* A signed request that is none of this member's secrets. */
static void test_refused_act(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(act_free_p) struct act *receipt = act_new(ACT_RECEIPT);

    receipt->purpose = PURPOSE_PROMOTE;
    snprintf(receipt->receipt.replica, sizeof(receipt->receipt.replica), "node-b");
    receipt->receipt.grant = 999;
    receipt->receipt.outcome = OUTCOME_OPENED;
    assert_null(fx_act(fx, FX_AGENT_B, ROUTE_RECEIPT, receipt));
    wait_alert(fx, "refused", "grant_unknown");
}

static void test_a_receipt_of_failure(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = NULL, *noted = NULL;
    CLEANUP(act_free_p) struct act *receipt = act_new(ACT_RECEIPT);

    fx_set_primary(fx, 1);
    grant = fx_release(fx, FX_AGENT_B, recipient);
    assert_non_null(grant);
    receipt->purpose = PURPOSE_PROMOTE;
    memcpy(receipt->receipt.replica, grant->grant.replica, sizeof(receipt->receipt.replica));
    receipt->receipt.grant = grant->sequence;
    receipt->receipt.outcome = OUTCOME_FAILED;
    noted = fx_act(fx, FX_AGENT_B, ROUTE_RECEIPT, receipt);
    assert_non_null(noted);
    wait_alert(fx, "grant_unsettled", "");
}

static void test_granted_and_not_let_out(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(act_free_p) struct act *act = NULL;
    CLEANUP(cleanup_free) char *body = NULL;
    uint64_t id;

    fx_set_primary(fx, 1);
    challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    act = fx_release_act(fx, FX_AGENT_B, challenge, recipient);
    body = fx_sign(fx, FX_AGENT_B, challenge, act);
    id = fx_send(fx, ROUTE_RELEASE, fx->actors[FX_AGENT_B].identity, body);
    swtpm_kill(&fx->swtpm);
    fx_wait(fx, id);
    wait_alert(fx, "unfinished", "tpm_unavailable");
    swtpm_restart(&fx->swtpm);
}

/* What cannot be recorded, and what is recorded when it can be again. */
static void test_log_in_trouble(void **state)
{
    struct keeper_fixture *fx = *state;
    char path[400], aside[400];

    snprintf(path, sizeof(path), "%s/" SEGMENT, fx->config.audit_folder);
    snprintf(aside, sizeof(aside), "%s/aside", fx->config.audit_folder);
    assert_int_equal(rename(path, aside), 0);
    assert_false(is_released(fx, FX_AGENT_B));
    wait_alert(fx, "log_trouble", "log_unavailable");
    assert_int_equal(rename(aside, path), 0);
    wait_alert(fx, "log_back", "");
}

static void test_not_ready(void **state)
{
    struct keeper_fixture *fx = *state;

    swtpm_kill(&fx->swtpm);
    wait_alert(fx, "not_ready", "tpm_unavailable");
    swtpm_restart(&fx->swtpm);
    fx_wait_lacks(fx, REASON_TPM_UNAVAILABLE, false);
}

/* The command hangs, or the alerter lies about it: releases do not. */
static void test_releases_go_on(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(json_free_p) json_t *document = NULL;
    uint64_t id;

    assert_false(is_released(fx, FX_AGENT_B));
    document = receive(fx, &id); /* and no answer */
    assert_string_equal(text_of(document, "event"), "refused");
    for (int primary = 1; primary >= 0; primary--) {
        int64_t begun_ms = wall_ms();

        fx_set_primary(fx, primary);
        assert_true(is_released(fx, primary == 1 ? FX_AGENT_B : FX_AGENT_A));
        assert_in_range(wall_ms() - begun_ms, 0, FX_DEADLINE_MS);
    }
    answer(id);
}

/* A keeper that has nobody to tell it to keeps it for the next alerter, and what one died of too.
 */
static void test_no_alerter_for_a_while(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t id;

    cleanup_close(&alerter);
    assert_false(is_released(fx, FX_AGENT_B));
    alerter = fx_attach_alerter(fx);
    for (int i = 0; i < 2; i++) {
        CLEANUP(json_free_p) json_t *document = receive(fx, &id);

        assert_string_equal(text_of(document, "event"), "refused");
        cleanup_close(&alerter);
        alerter = fx_attach_alerter(fx);
    }
    /* Not a third time: the next one says that it is missing. */
    assert_false(is_released(fx, FX_AGENT_A));
    {
        CLEANUP(json_free_p) json_t *document = receive(fx, &id);

        assert_string_equal(text_of(document, "event"), "needs_approval");
        assert_int_equal(json_integer_value(json_object_get(document, "undelivered")), 1);
        answer(id);
    }
}

static bool is_restarted(struct keeper_fixture *fx)
{
    return fx->alerter_restarts > 0;
}

/* Garbage costs the alerter its channel, and the keeper nothing. */
static void test_a_hostile_alerter(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    fx->alerter_restarts = 0;
    ipc_put_bytes(&writer, "garbage", 7);
    assert_int_equal(ipc_send(alerter, IPC_REQUEST, 1, &writer, FX_DEADLINE_MS), ESCROW_OK);
    fx_until(fx, is_restarted);
    fx_set_primary(fx, 1);
    assert_true(is_released(fx, FX_AGENT_B));
}

static void start_again(struct keeper_fixture *fx)
{
    cleanup_close(&alerter);
    fx_run(fx);
    alerter = fx_attach_alerter(fx);
}

/* The next alert is of this event; its id. */
static uint64_t assert_next(struct keeper_fixture *fx, const char *event)
{
    uint64_t id;
    CLEANUP(json_free_p) json_t *document = receive_any(fx, &id);

    assert_string_equal(text_of(document, "event"), event);
    return id;
}

static unsigned asked_before;

/* Two rounds of questions, so a whole second. */
static bool is_second_over(struct keeper_fixture *fx)
{
    return fx->asked >= asked_before + 2 * (unsigned)fx->replica_count;
}

/* It comes first of all after the next start, although its keeper had no time for it; and no more
 * when it was delivered. */
static void test_killed_before_the_hand_over(void **state)
{
    struct keeper_fixture *fx = *state;

    cleanup_close(&alerter);
    assert_false(is_released(fx, FX_AGENT_B));
    fx_kill(fx);
    start_again(fx);
    (void)assert_next(fx, "refused");
    /* The command may have had it; nobody knows. */
    fx_kill(fx);
    start_again(fx);
    answer(assert_next(fx, "refused"));
    asked_before = fx->asked;
    fx_until(fx, is_second_over);
    fx_kill(fx);
    start_again(fx);
    fx_wait_primary(fx, "node-a");
    assert_false(is_released(fx, FX_AGENT_A));
    answer(assert_next(fx, "needs_approval"));
}

/* One that ends as it should hands over all that waits, and that is that. */
static void test_handed_over_at_the_end(void **state)
{
    struct keeper_fixture *fx = *state;

    assert_false(is_released(fx, FX_AGENT_B));
    fx_shut_down(fx);
    start_again(fx);
    fx_wait_primary(fx, "node-a");
    assert_false(is_released(fx, FX_AGENT_A));
    answer(assert_next(fx, "needs_approval"));
}

/* Of what happened while there was no command the next one hears nothing. */
static void test_without_a_command_for_a_while(void **state)
{
    struct keeper_fixture *fx = *state;
    const struct escrowd_alert alert = fx->config.alert;

    fx_shut_down(fx);
    cleanup_close(&alerter);
    fx->config.alert = (struct escrowd_alert){0};
    fx_run(fx);
    fx_wait_primary(fx, "node-a");
    assert_false(is_released(fx, FX_AGENT_B));
    fx_shut_down(fx);
    fx->config.alert = alert;
    start_again(fx);
    fx_wait_primary(fx, "node-a");
    assert_false(is_released(fx, FX_AGENT_A));
    answer(assert_next(fx, "needs_approval"));
}

static int with_alerter(void **state)
{
    struct keeper_fixture *fx;

    if (fx_setup_ready(state))
        return 1;
    fx = *state;
    fx_shut_down(fx);
    fx->config.alert = (struct escrowd_alert){.command = "/bin/true", .timeout_ms = 60000};
    fx_run(fx);
    alerter = fx_attach_alerter(fx);
    fx_wait_primary(fx, "node-a");
    return 0;
}

static int without(void **state)
{
    cleanup_close(&alerter);
    return fx_teardown(state);
}

static int were_most_in_time(void **state)
{
    (void)state;
    print_message("# %u of %u alerts within a second\n", in_time, alerts);
    return 2 * in_time > alerts ? 0 : -1;
}

#define READY(test) cmocka_unit_test_setup_teardown(test, with_alerter, without)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY(test_refused),
        READY(test_needs_approval),
        READY(test_refused_act),
        READY(test_a_receipt_of_failure),
        READY(test_granted_and_not_let_out),
        READY(test_log_in_trouble),
        READY(test_not_ready),
        READY(test_releases_go_on),
        READY(test_no_alerter_for_a_while),
        READY(test_a_hostile_alerter),
        READY(test_killed_before_the_hand_over),
        READY(test_handed_over_at_the_end),
        READY(test_without_a_command_for_a_while),
    };

    return cmocka_run_group_tests(tests, NULL, were_most_in_time);
}
