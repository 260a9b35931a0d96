/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/audit_reader.h"
#include "libescrow/ipc_probe.h"
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
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* TPM, log, store, clock and roles in trouble: nothing is released, the reason is said, and what
 * comes back is used again. */

#define SEGMENT "00000000000000000001.jsonl"

static void audit_path(const struct keeper_fixture *fx, const char *name, char ret_path[400])
{
    snprintf(ret_path, 400, "%s/%s", fx->config.audit_folder, name);
}

/* A release by node-b whose questions are on their way, but not served yet. */
struct pending {
    EVP_PKEY *recipient;
    struct answer *challenge;
    uint64_t id;
};

static void begin_release(struct keeper_fixture *fx, struct pending *pending)
{
    CLEANUP(act_free_p) struct act *act = NULL;
    CLEANUP(cleanup_free) char *body = NULL;

    pending->recipient = key_generate();
    pending->challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    assert_non_null(pending->challenge);
    act = fx_release_act(fx, FX_AGENT_B, pending->challenge, pending->recipient);
    body = fx_sign(fx, FX_AGENT_B, pending->challenge, act);
    pending->id = fx_send(fx, ROUTE_RELEASE, fx->actors[FX_AGENT_B].identity, body);
}

static void end_release(struct pending *pending)
{
    EVP_PKEY_free(pending->recipient);
    answer_free(pending->challenge);
}

static void assert_released(struct keeper_fixture *fx, enum reason reason)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, FX_AGENT_B, recipient);
    CLEANUP(secret_free_p) struct secret *password = NULL;

    if (!grant)
        fx_fail("refused", reason_code(fx->reply.reason));
    assert_int_equal(grant->grant.reason, reason);
    password = fx_open(grant, recipient);
    assert_memory_equal(password->bytes, FX_PASSWORD, password->len);
}

static void assert_not_released(struct keeper_fixture *fx, enum reason reason)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();

    assert_null(fx_release(fx, FX_AGENT_B, recipient));
    assert_int_equal(fx->reply.reason, reason);
    assert_int_equal(fx->reply.status, 503);
}

static void test_tpm_killed_in_the_middle(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(end_release) struct pending pending;

    fx_set_primary(fx, 1);
    begin_release(fx, &pending);
    swtpm_kill(&fx->swtpm);
    fx_wait(fx, pending.id);
    assert_int_equal(fx->reply.reason, REASON_TPM_UNAVAILABLE);
    assert_int_equal(fx->reply.status, 503);
    assert_true(fx_lacks(fx, REASON_TPM_UNAVAILABLE));
    assert_not_released(fx, REASON_TPM_UNAVAILABLE);
    fx_wait_count(fx, "unfinished", "tpm_unavailable", 1);

    swtpm_restart(&fx->swtpm);
    fx_wait_lacks(fx, REASON_TPM_UNAVAILABLE, false);
    assert_released(fx, REASON_PROMOTION_REPEAT);
}

static void test_log_unlinked(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(end_release) struct pending pending;
    char path[400], aside[400];

    audit_path(fx, SEGMENT, path);
    audit_path(fx, "aside", aside);
    fx_set_primary(fx, 1);
    begin_release(fx, &pending);
    assert_int_equal(rename(path, aside), 0);
    fx_wait(fx, pending.id);
    assert_int_equal(fx->reply.reason, REASON_LOG_UNAVAILABLE);
    assert_true(fx_lacks(fx, REASON_LOG_UNAVAILABLE));
    assert_not_released(fx, REASON_LOG_UNAVAILABLE);

    assert_int_equal(rename(aside, path), 0);
    fx_wait_lacks(fx, REASON_LOG_UNAVAILABLE, false);
    assert_released(fx, REASON_PROMOTION);
    assert_int_equal(fx_count(fx, "log_back", NULL), 1);
}

/* The first act that meets a log that is gone, with a challenge of before: nothing is noted. */
static void check_not_noted(struct keeper_fixture *fx, enum route route, struct act *act)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_ADMIN, act->kind, act->purpose);
    CLEANUP(act_free_p)
    struct act *whole =
        act->kind == ACT_DEPOSIT ? fx_deposit_act(fx, challenge, "another one") : NULL;
    CLEANUP(cleanup_free) char *body = fx_sign(fx, FX_ADMIN, challenge, whole ? whole : act);
    char path[400], aside[400];

    audit_path(fx, SEGMENT, path);
    audit_path(fx, "aside", aside);
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(fx_reason(fx, route, FX_ADMIN, body), REASON_LOG_UNAVAILABLE);
    assert_int_equal(rename(aside, path), 0);
    fx_wait_lacks(fx, REASON_LOG_UNAVAILABLE, false);
}

/* What is not on disk is no deposit, no order, and no baseline, and nobody is told that it is. */
static void test_nothing_is_noted_without_a_record(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(act_free_p)
    struct act *order = act_new(ACT_ORDER), *deposit = act_new(ACT_DEPOSIT),
               *rebaseline = act_new(ACT_REBASELINE);

    order->purpose = PURPOSE_DRILL;
    order->order.expires_in_s = 600;
    check_not_noted(fx, ROUTE_ORDER, order);
    deposit->purpose = PURPOSE_DEPOSIT;
    check_not_noted(fx, ROUTE_DEPOSIT, deposit);
    rebaseline->purpose = PURPOSE_REBASELINE;
    snprintf(rebaseline->rebaseline.replica, sizeof(rebaseline->rebaseline.replica), "node-a");
    check_not_noted(fx, ROUTE_REBASELINE, rebaseline);
    assert_int_equal(fx_count(fx, "order", NULL), 0);
    assert_int_equal(fx_count(fx, "deposit", NULL), 1);
    assert_int_equal(fx_count(fx, "rebaseline", NULL), 0);
}

static void test_log_shortened_is_tampering(void **state)
{
    struct keeper_fixture *fx = *state;
    char path[400], *last;
    struct stat before, after;
    CLEANUP(cleanup_free) char *text = NULL;
    FILE *file;

    fx_set_primary(fx, 1);
    fx_shut_down(fx);
    audit_path(fx, SEGMENT, path);
    assert_int_equal(stat(path, &before), 0);
    text = calloc(1, (size_t)before.st_size + 1);
    file = fopen(path, "re");
    assert_int_equal(fread(text, 1, (size_t)before.st_size, file), before.st_size);
    fclose(file);
    text[before.st_size - 1] = '\0';
    last = strrchr(text, '\n');
    assert_int_equal(truncate(path, last + 1 - text), 0);

    fx_run(fx);
    assert_true(fx_lacks(fx, REASON_LOG_TAMPERED));
    assert_not_released(fx, REASON_LOG_TAMPERED);
    fx_shut_down(fx);
    /* The log is evidence: nothing was written to it. */
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_size, last + 1 - text);
    fx_run(fx);
}

/* Writes a record of tomorrow behind the keeper's back, as a clock that was wrong would have. */
static void write_tomorrow(const struct keeper_fixture *fx)
{
    struct audit_reading reading = {0};
    struct audit_record record = {.event = AUDIT_ALERT};
    CLEANUP(cleanup_free) char *line = NULL;
    char path[400];
    FILE *file;
    size_t len;

    assert_int_equal(audit_read(fx->config.audit_folder, 1, NULL, NULL, &reading), ESCROW_OK);
    record.sequence = reading.end.sequence + 1;
    record.time_ms = ((int64_t)time(NULL) + 86400) * 1000;
    memcpy(record.previous, reading.end.hash, sizeof(record.previous));
    assert_int_equal(audit_record_encode(&record, &line, &len), ESCROW_OK);
    audit_path(fx, SEGMENT, path);
    file = fopen(path, "ae");
    assert_int_equal(fwrite(line, 1, len, file), len);
    fclose(file);
}

static void test_clock_backwards(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, 1);
    fx_shut_down(fx);
    write_tomorrow(fx);
    fx_run(fx);
    assert_true(fx_lacks(fx, REASON_CLOCK_BACKWARDS));
    assert_not_released(fx, REASON_CLOCK_BACKWARDS);
    /* Its own records of today do not make it forget. */
    fx_shut_down(fx);
    fx_run(fx);
    assert_true(fx_lacks(fx, REASON_CLOCK_BACKWARDS));
}

/* Waits until the keeper has closed its end. */
static void wait_closed(const struct keeper_fixture *fx, int fd)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    struct ipc_message message;
    enum escrow_err err;

    do {
        assert_int_equal(poll(&polled, 1, FX_DEADLINE_MS), 1);
        err = ipc_try_receive(fd, fx->buffer, &message);
    } while (err == ESCROW_OK);
    assert_int_equal(err, ESCROW_ERR_UNAVAILABLE);
}

/* Every type, in the state that front has: only what the permit table names is taken. */
static void test_front_says_what_it_must_not(void **state)
{
    static const uint32_t types[] = {IPC_PEER,  IPC_SHUTDOWN,    IPC_READY,       IPC_RESTART_ROLE,
                                     IPC_REPLY, IPC_PROBE_STATE, IPC_PROBE_OPENS, 0xffff};
    struct keeper_fixture *fx = *state;

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        assert_int_equal(ipc_send(fx->front_fd, types[i], 1, NULL, 1000), ESCROW_OK);
        wait_closed(fx, fx->front_fd);
        fx_attach_front(fx);
        assert_false(fx_lacks(fx, REASON_ROLE_DOWN));
    }
    /* A request that is not one. */
    assert_int_equal(ipc_send(fx->front_fd, IPC_REQUEST, 1, NULL, 1000), ESCROW_OK);
    wait_closed(fx, fx->front_fd);
    fx_attach_front(fx);
    fx_set_primary(fx, 1);
    assert_released(fx, REASON_PROMOTION);
}

/* A prober that answers what it was not asked is one silent replica. */
static void test_prober_lies_about_the_question(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    fx_set_primary(fx, 1);
    ipc_put_probe_state(&writer, &fx->replicas[2].state);
    assert_int_equal(ipc_send(fx->replicas[2].fd, IPC_PROBE_STATE, 999999, &writer, 1000),
                     ESCROW_OK);
    wait_closed(fx, fx->replicas[2].fd);
    cleanup_close(&fx->replicas[2].fd);
    assert_released(fx, REASON_PROMOTION);
}

/* The candidate's prober dies with both questions open. */
static void test_prober_dies_in_the_middle(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(end_release) struct pending pending;

    fx_set_primary(fx, 1);
    begin_release(fx, &pending);
    cleanup_close(&fx->replicas[1].fd);
    fx_wait(fx, pending.id);
    assert_int_equal(fx->reply.reason, REASON_CANDIDATE_UNREACHABLE);
    fx_attach_prober(fx, 1);
    assert_released(fx, REASON_PROMOTION);
}

/* Front dies with a release open, and its successor asks again. */
static void test_front_dies_in_the_middle(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(end_release) struct pending pending;

    fx_set_primary(fx, 1);
    begin_release(fx, &pending);
    fx_attach_front(fx);
    assert_released(fx, REASON_PROMOTION);
}

/* Nobody waits for the reply any more: what was granted is said to have let nothing out. */
static void test_client_gone(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(end_release) struct pending pending;

    fx_set_primary(fx, 1);
    begin_release(fx, &pending);
    assert_int_equal(ipc_send(fx->front_fd, IPC_GONE, pending.id, NULL, 1000), ESCROW_OK);
    assert_false(fx_lacks(fx, REASON_ROLE_DOWN));
    assert_released(fx, REASON_PROMOTION);
}

static void test_init_refuses_a_second_time(void **state)
{
    struct keeper_fixture *fx = *state;

    assert_int_equal(fx_init_again(fx), ESCROW_ERR_EXISTS);
}

#define READY(test) cmocka_unit_test_setup_teardown(test, fx_setup_ready, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY(test_tpm_killed_in_the_middle),
        READY(test_log_unlinked),
        READY(test_nothing_is_noted_without_a_record),
        READY(test_log_shortened_is_tampering),
        READY(test_clock_backwards),
        READY(test_front_says_what_it_must_not),
        READY(test_prober_lies_about_the_question),
        READY(test_prober_dies_in_the_middle),
        READY(test_front_dies_in_the_middle),
        READY(test_client_gone),
        READY(test_init_refuses_a_second_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
