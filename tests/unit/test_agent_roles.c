/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent's hold on its children, with children that misbehave: this program is its own
 * /proc/self/exe, so started as a role it plays one, and the instance's name says how.
 */
#include "client/agent_child.h"
#include "client/agent_prober.h"
#include "client/agent_worker.h"
#include "libescrow/cleanup.h"

#include <event2/event.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS 10000

static void say(uint32_t type, uint64_t id, const struct ipc_writer *payload)
{
    if (ipc_send(AGENT_CHANNEL_FD, type, id, payload, DEADLINE_MS))
        exit(1);
}

/* The parent's go, and nothing else. */
static bool await_go(void)
{
    CLEANUP(ipc_buffer_free_p) struct ipc_buffer *buffer = ipc_buffer_new();
    struct ipc_message message;

    return !ipc_receive(AGENT_CHANNEL_FD, buffer, IPC_NO_DEADLINE, &message) &&
           message.type == WORKER_MESSAGE_GO && message.len == 0;
}

static int play_worker(const char *how)
{
    struct worker_result result = {.outcome = WORKER_OPENED,
                                   .version = 3,
                                   .epoch = 7,
                                   .is_receipted = true,
                                   .took_us = {[WORKER_PART_OPEN] = 1234}};
    CLEANUP(ipc_writer_deinit) struct ipc_writer part = {0}, end = {0}, again = {0};

    if (strcmp(how, "fails early") != 0 && !await_go())
        return 1;
    worker_put_part(&part, WORKER_PART_RELEASE);
    worker_put_result(&end, &result);
    say(WORKER_MESSAGE_PART, 0, &part);
    if (strcmp(how, "hangs") == 0)
        pause();
    if (strcmp(how, "crashes") == 0)
        raise(SIGKILL);
    if (strcmp(how, "lies") == 0) {
        say(IPC_PROBE_STATE, 0, NULL);
        pause();
    }
    say(WORKER_MESSAGE_RESULT, 0, &end);
    if (strcmp(how, "repeats") == 0) {
        result.outcome = WORKER_DENIED;
        worker_put_result(&again, &result);
        say(WORKER_MESSAGE_RESULT, 0, &again);
        pause();
    }
    return 0;
}

static void answer(const struct ipc_message *question, const char *how)
{
    const struct ipc_probe_opens opens = {.opens = PROBE_OPENS_NO, .sql_error = 15581};
    struct probe_state state = {.outcome = PROBE_ANSWERED, .role = 1, .is_read_write = true};
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    uint64_t id = strcmp(how, "lies") == 0 ? question->id + 1 : question->id;

    if (question->type == IPC_PROBE_ASK_OPENS) {
        ipc_put_probe_opens(&writer, &opens);
        say(IPC_PROBE_OPENS, id, &writer);
    } else {
        ipc_put_probe_state(&writer, &state);
        say(IPC_PROBE_STATE, id, &writer);
    }
}

static int play_prober(const char *how)
{
    CLEANUP(ipc_buffer_free_p) struct ipc_buffer *buffer = ipc_buffer_new();
    struct ipc_probe_question question;
    struct ipc_message message;

    while (!ipc_receive(AGENT_CHANNEL_FD, buffer, IPC_NO_DEADLINE, &message)) {
        if (ipc_get_probe_question(&message, &question) || question.target > 1)
            return 1;
        if (strcmp(how, "crashes") == 0)
            raise(SIGKILL);
        if (strcmp(how, "hangs") != 0)
            answer(&message, how);
    }
    return 0;
}

struct fixture {
    struct event_base *base;
    struct agent_prober *prober;
    struct worker_result result;
    unsigned ends, ups, downs, locals, opens;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    if (!fixture)
        return 1;
    fixture->base = event_base_new();
    *state = fixture;
    return fixture->base ? 0 : 1;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    agent_prober_free(fixture->prober);
    event_base_free(fixture->base);
    free(fixture);
    /* Nobody is left behind. */
    return waitpid(-1, NULL, WNOHANG) == -1 ? 0 : 1;
}

static void on_end(const struct worker_result *result, void *argument)
{
    struct fixture *fixture = argument;

    fixture->result = *result;
    fixture->ends++;
    event_base_loopbreak(fixture->base);
}

static struct agent_worker *ready_worker(struct fixture *fixture, const char *how, int64_t ready_ms,
                                         int64_t deadline_ms)
{
    const struct agent_worker_config config = {.base = fixture->base,
                                               .config_path = "/agent.yaml",
                                               .instance = how,
                                               .group = "G",
                                               .database = "D",
                                               .ready_ms = ready_ms,
                                               .deadline_ms = deadline_ms,
                                               .on_end = on_end,
                                               .argument = fixture};
    struct agent_worker *worker;

    assert_int_equal(agent_worker_start(&config, &worker), ESCROW_OK);
    return worker;
}

static void run_worker(struct fixture *fixture, const char *how, int64_t deadline_ms)
{
    agent_worker_go(ready_worker(fixture, how, 0, deadline_ms));
    event_base_dispatch(fixture->base);
    assert_int_equal(fixture->ends, 1);
}

static void test_worker_reports(void **state)
{
    struct fixture *fixture = *state;

    run_worker(fixture, "works", DEADLINE_MS);
    assert_int_equal(fixture->result.outcome, WORKER_OPENED);
    assert_int_equal(fixture->result.version, 3);
    assert_int_equal(fixture->result.epoch, 7);
    assert_true(fixture->result.is_receipted);
    assert_false(fixture->result.is_behind);
    assert_int_equal(fixture->result.took_us[WORKER_PART_OPEN], 1234);
    assert_string_equal(fixture->result.text, "");
}

static void test_worker_that_dies(void **state)
{
    struct fixture *fixture = *state;

    run_worker(fixture, "crashes", DEADLINE_MS);
    assert_int_equal(fixture->result.outcome, WORKER_DIED);
    assert_string_equal(fixture->result.text, "killed by signal 9 (Killed) in step release");
}

/* 2 s of grace are added to its own deadline, which may be over already. */
static void test_worker_that_hangs(void **state)
{
    struct fixture *fixture = *state;

    run_worker(fixture, "hangs", -1900);
    assert_int_equal(fixture->result.outcome, WORKER_DIED);
    assert_non_null(strstr(fixture->result.text, " s was over in step "));
}

static void test_worker_that_says_what_it_must_not(void **state)
{
    struct fixture *fixture = *state;

    run_worker(fixture, "lies", DEADLINE_MS);
    assert_int_equal(fixture->result.outcome, WORKER_DIED);
}

static void test_worker_that_repeats_itself(void **state)
{
    struct fixture *fixture = *state;

    run_worker(fixture, "repeats", DEADLINE_MS);
    assert_int_equal(fixture->result.outcome, WORKER_OPENED); /* the first word stands */
}

static void test_worker_is_stopped(void **state)
{
    struct fixture *fixture = *state;

    agent_worker_free(ready_worker(fixture, "works", DEADLINE_MS, DEADLINE_MS));
    assert_int_equal(fixture->ends, 0);
}

/* Its time to wait is over; that of its attempt never began. */
static void test_worker_that_is_never_let_go(void **state)
{
    struct fixture *fixture = *state;

    (void)ready_worker(fixture, "works", -1950, DEADLINE_MS);
    event_base_dispatch(fixture->base);
    assert_int_equal(fixture->ends, 1);
    assert_int_equal(fixture->result.outcome, WORKER_DIED);
    assert_non_null(strstr(fixture->result.text, " s was over in step connect"));
}

/* Its first word is how it ended: what it waits for was not needed. */
static void test_worker_that_fails_before_its_go(void **state)
{
    struct fixture *fixture = *state;

    (void)ready_worker(fixture, "fails early", DEADLINE_MS, DEADLINE_MS);
    event_base_dispatch(fixture->base);
    assert_int_equal(fixture->ends, 1);
    assert_int_equal(fixture->result.version, 3);
}

/* The go meets its end: it is told once, with its own result. */
static void test_go_that_comes_too_late(void **state)
{
    struct fixture *fixture = *state;
    struct agent_worker *worker = ready_worker(fixture, "fails early", DEADLINE_MS, DEADLINE_MS);
    siginfo_t info;

    /* It has ended; its parent has not heard of it yet. */
    assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
    agent_worker_go(worker);
    event_base_dispatch(fixture->base);
    assert_int_equal(fixture->ends, 1);
    assert_int_equal(fixture->result.outcome, WORKER_OPENED);
}

static void on_up(bool is_up, void *argument)
{
    struct fixture *fixture = argument;

    if (!is_up) {
        fixture->downs++;
        return;
    }
    fixture->ups++;
    if (fixture->ups == 3) {
        event_base_loopbreak(fixture->base);
        return;
    }
    agent_prober_ask(fixture->prober, IPC_PROBE_ASK_LOCAL, 0);
    agent_prober_ask(fixture->prober, IPC_PROBE_ASK_OPENS, 1);
}

static void stop_when_answered(struct fixture *fixture)
{
    if (fixture->locals == 1 && fixture->opens == 1)
        event_base_loopbreak(fixture->base);
}

static void on_local(size_t target, const struct probe_state *state, void *argument)
{
    struct fixture *fixture = argument;

    assert_int_equal(target, 0);
    assert_int_equal(state->role, 1);
    fixture->locals++;
    stop_when_answered(fixture);
}

static void on_opens(size_t target, const struct ipc_probe_opens *opens, void *argument)
{
    struct fixture *fixture = argument;

    assert_int_equal(target, 1);
    assert_int_equal(opens->sql_error, 15581);
    fixture->opens++;
    stop_when_answered(fixture);
}

/* Runs until both questions are answered, or the prober has been started three times. */
static void run_prober(struct fixture *fixture, const char *how, int64_t overdue_ms)
{
    const struct agent_prober_config config = {.base = fixture->base,
                                               .config_path = "/agent.yaml",
                                               .name = how,
                                               .target_count = 2,
                                               .overdue_ms = overdue_ms,
                                               .on_up = on_up,
                                               .on_local = on_local,
                                               .on_opens = on_opens,
                                               .argument = fixture};

    assert_int_equal(agent_prober_new(&config, &fixture->prober), ESCROW_OK);
    event_base_dispatch(fixture->base);
}

static void test_prober_answers(void **state)
{
    struct fixture *fixture = *state;

    run_prober(fixture, "works", DEADLINE_MS);
    assert_int_equal(fixture->ups, 1);
    assert_int_equal(fixture->downs, 0);
}

static void assert_started_again(const struct fixture *fixture)
{
    assert_int_equal(fixture->ups, 3);
    assert_int_equal(fixture->downs, 2);
    assert_int_equal(fixture->locals + fixture->opens, 0);
}

static void test_prober_that_dies(void **state)
{
    run_prober(*state, "crashes", DEADLINE_MS);
    assert_started_again(*state);
}

static void test_prober_that_hangs(void **state)
{
    run_prober(*state, "hangs", 100);
    assert_started_again(*state);
}

static void test_prober_that_answers_what_was_not_asked(void **state)
{
    run_prober(*state, "lies", DEADLINE_MS);
    assert_started_again(*state);
}

static void test_result_as_a_message(void **state)
{
    struct worker_result result = {.outcome = WORKER_DENIED,
                                   .reason = REASON_WITNESSES_MISSING,
                                   .sql_error = -1,
                                   .retry_after_s = 9,
                                   .is_behind = true,
                                   .text = "text"};
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    struct ipc_message message = {0};
    struct worker_result got;

    (void)state;
    worker_put_result(&writer, &result);
    message.payload = writer.bytes;
    message.len = writer.len;
    assert_int_equal(worker_get_result(&message, &got), ESCROW_OK);
    assert_memory_equal(&got.took_us, &result.took_us, sizeof(got.took_us));
    assert_int_equal(got.outcome, WORKER_DENIED);
    assert_int_equal(got.reason, REASON_WITNESSES_MISSING);
    assert_int_equal(got.sql_error, -1);
    assert_int_equal(got.retry_after_s, 9);
    assert_true(got.is_behind);
    assert_string_equal(got.text, "text");
    for (message.len = 0; message.len < writer.len; message.len++)
        assert_int_equal(worker_get_result(&message, &got), ESCROW_ERR_MALFORMED);
    /* Outcome and reason beyond their enums, and that it died as its own word. */
    message.len = writer.len;
    memset(writer.bytes, 0, 4);
    assert_int_equal(worker_get_result(&message, &got), ESCROW_ERR_MALFORMED);
    memset(writer.bytes, 0x7f, 4);
    assert_int_equal(worker_get_result(&message, &got), ESCROW_ERR_MALFORMED);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_worker_reports, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_worker_that_dies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_worker_that_hangs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_worker_that_says_what_it_must_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_worker_that_repeats_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_worker_is_stopped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_worker_that_is_never_let_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_worker_that_fails_before_its_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_go_that_comes_too_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prober_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prober_that_dies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prober_that_hangs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prober_that_answers_what_was_not_asked, set_up,
                                        tear_down),
        cmocka_unit_test(test_result_as_a_message),
    };

    /* --role ROLE --config PATH --instance NAME ... */
    if (argc > 6 && strcmp(argv[1], "--role") == 0)
        return strcmp(argv[2], "worker") == 0 ? play_worker(argv[6]) : play_prober(argv[6]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
