/* SPDX-License-Identifier: Apache-2.0 */
/* A worker and its parent's go: what counts as one, and what ends the wait. */
#include "client/worker_run.h"
#include "libescrow/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct agent_config config;
    struct worker_task task;
    struct worker_run run;
    int fds[2];
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    if (!fixture || ipc_pair(fixture->fds))
        return 1;
    fixture->config.worker_deadline_ms = 30000;
    fixture->task = (struct worker_task){.config = &fixture->config, .channel_fd = fixture->fds[1]};
    worker_run_init(&fixture->run, &fixture->task);
    *state = fixture;
    return 0;
}

static int64_t alarm_ms(void)
{
    struct itimerval left;

    assert_int_equal(getitimer(ITIMER_REAL, &left), 0);
    return (int64_t)left.it_value.tv_sec * 1000 + left.it_value.tv_usec / 1000;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    cleanup_close(&fixture->fds[0]);
    cleanup_close(&fixture->fds[1]);
    free(fixture);
    return worker_run_alarm(0) ? 1 : 0;
}

static void test_go_begins_the_attempt(void **state)
{
    struct fixture *fixture = *state;
    struct worker_run *run = &fixture->run;

    assert_int_equal(worker_run_alarm(90000), ESCROW_OK);
    worker_run_limit(run, 1000);
    worker_run_fail(run, WORKER_UNAVAILABLE, "%s", "before");
    run->result.took_us[WORKER_PART_CHALLENGE] = 7;
    assert_int_equal(worker_run_await_go(run, 0), ESCROW_ERR_TIMEOUT);
    assert_false(run->has_begun);
    assert_int_equal(ipc_send(fixture->fds[0], WORKER_MESSAGE_GO, 0, NULL, 1000), ESCROW_OK);
    assert_int_equal(worker_run_await_go(run, 1000), ESCROW_OK);
    assert_true(run->has_begun);
    /* Nothing of the time before is left. */
    assert_int_equal(run->result.outcome, WORKER_DIED);
    assert_string_equal(run->result.text, "");
    assert_int_equal(run->result.took_us[WORKER_PART_CHALLENGE], 0);
    assert_in_range(worker_run_left_ms(run), 20000, 30000);
    assert_in_range(alarm_ms(), 20000, 30000);
    /* Later words of the parent are not read. */
    assert_int_equal(worker_run_await_go(run, 0), ESCROW_OK);
}

static void test_other_words_are_no_go(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    ipc_put_u32(&writer, 1);
    assert_int_equal(ipc_send(fixture->fds[0], WORKER_MESSAGE_GO, 0, &writer, 1000), ESCROW_OK);
    assert_int_equal(worker_run_await_go(&fixture->run, 1000), ESCROW_ERR_MALFORMED);
    assert_int_equal(ipc_send(fixture->fds[0], WORKER_MESSAGE_RESULT, 0, NULL, 1000), ESCROW_OK);
    assert_int_equal(worker_run_await_go(&fixture->run, 1000), ESCROW_ERR_MALFORMED);
    assert_false(fixture->run.has_begun);
    assert_int_equal(alarm_ms(), 0);
}

static void test_parent_is_gone(void **state)
{
    struct fixture *fixture = *state;

    cleanup_close(&fixture->fds[0]);
    assert_int_equal(worker_run_await_go(&fixture->run, 1000), ESCROW_ERR_UNAVAILABLE);
    assert_false(fixture->run.has_begun);
}

/* However often it waits for admins, all that has one end; between, it has its own time. */
static void test_waits_for_admins(void **state)
{
    struct fixture *fixture = *state;
    struct worker_run *run = &fixture->run;

    assert_int_equal(worker_run_wait_begin(run), ESCROW_OK);
    assert_int_equal(run->part, WORKER_PART_APPROVAL);
    assert_in_range(worker_run_left_ms(run), WORKER_APPROVAL_MS - 10000, WORKER_APPROVAL_MS);
    assert_in_range(alarm_ms(), WORKER_APPROVAL_MS - 10000, WORKER_APPROVAL_MS + 5000);
    assert_int_equal(worker_run_wait_end(run), ESCROW_OK);
    assert_in_range(worker_run_left_ms(run), 20000, 30000);
    assert_in_range(alarm_ms(), 20000, 35000);
    run->wait_by_ms -= WORKER_APPROVAL_MS - 60000;
    assert_int_equal(worker_run_wait_begin(run), ESCROW_OK);
    assert_in_range(worker_run_left_ms(run), 50000, 60000);
    run->wait_by_ms = 1;
    assert_int_equal(worker_run_wait_begin(run), ESCROW_ERR_TIMEOUT);
}

static void test_look(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(worker_run_pause(&fixture->run, 1), ESCROW_ERR_TIMEOUT);
    assert_int_equal(ipc_send(fixture->fds[0], WORKER_MESSAGE_LOOK, 0, NULL, 1000), ESCROW_OK);
    assert_int_equal(worker_run_pause(&fixture->run, 30000), ESCROW_OK);
    assert_int_equal(ipc_send(fixture->fds[0], WORKER_MESSAGE_GO, 0, NULL, 1000), ESCROW_OK);
    assert_int_equal(worker_run_pause(&fixture->run, 30000), ESCROW_ERR_MALFORMED);
    cleanup_close(&fixture->fds[0]);
    assert_int_equal(worker_run_pause(&fixture->run, 30000), ESCROW_ERR_UNAVAILABLE);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_waits_for_admins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_look, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_go_begins_the_attempt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_words_are_no_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_parent_is_gone, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
