/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_jobs.h"
#include "tests/unit/swtpm.h"

#include <event2/event.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

/* The TPM's thread: one job at a time, in order, and an end that waits for no TPM. */

#define TIMEOUT_MS 5000
#define JOBS 8

struct fixture {
    struct swtpm swtpm;
    struct tpm *tpm;
    struct event_base *base;
    struct tpm_thread *thread;
    struct tpm_job jobs[JOBS];
    struct tpm_job *done[JOBS]; /* in the order in which they came back */
    size_t done_count;
    size_t wanted; /* leave the loop with so many */
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void on_done(struct tpm_job *job)
{
    struct fixture *fixture = job->owner;

    fixture->done[fixture->done_count++] = job;
    if (fixture->done_count == fixture->wanted)
        event_base_loopbreak(fixture->base);
}

static void give(struct fixture *fixture, size_t index)
{
    struct tpm_job *job = &fixture->jobs[index];

    *job = (struct tpm_job){.work = tpm_check_job, .done = on_done, .owner = fixture};
    tpm_thread_do(fixture->thread, job);
}

static void await(struct fixture *fixture, size_t count)
{
    const struct timeval deadline = {20, 0};

    fixture->wanted = count;
    event_base_loopexit(fixture->base, &deadline);
    event_base_dispatch(fixture->base);
    assert_int_equal(fixture->done_count, count);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    *state = fixture;
    swtpm_start(&fixture->swtpm);
    fixture->base = event_base_new();
    assert_int_equal(tpm_open(fixture->swtpm.setting, TIMEOUT_MS, &fixture->tpm), ESCROW_OK);
    assert_int_equal(tpm_thread_new(fixture->base, fixture->tpm, &fixture->thread), ESCROW_OK);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    kill(fixture->swtpm.pid, SIGCONT);
    tpm_thread_free(fixture->thread);
    tpm_close(fixture->tpm);
    event_base_free(fixture->base);
    swtpm_stop(&fixture->swtpm);
    free(fixture);
    return 0;
}

static void test_in_order(void **state)
{
    struct fixture *fixture = *state;
    struct tpm_numbers numbers;

    for (size_t i = 0; i < JOBS; i++)
        give(fixture, i);
    await(fixture, JOBS);
    for (size_t i = 0; i < JOBS; i++) {
        assert_ptr_equal(fixture->done[i], &fixture->jobs[i]);
        assert_int_equal(fixture->jobs[i].err, ESCROW_OK);
    }
    tpm_thread_numbers(fixture->thread, &numbers);
    assert_true(numbers.commands >= JOBS);
}

/* The loop has other things to do while a job waits for the TPM. */
static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    const struct fixture *fixture = argument;

    (void)fd;
    (void)what;
    assert_int_equal(fixture->done_count, 0);
    assert_int_equal(kill(fixture->swtpm.pid, SIGCONT), 0);
}

static void test_the_loop_goes_on(void **state)
{
    struct fixture *fixture = *state;
    const struct timeval soon = {0, 50000};

    assert_int_equal(kill(fixture->swtpm.pid, SIGSTOP), 0);
    give(fixture, 0);
    assert_int_equal(event_base_once(fixture->base, -1, EV_TIMEOUT, on_timer, fixture, &soon), 0);
    await(fixture, 1);
    assert_int_equal(fixture->jobs[0].err, ESCROW_OK);
}

/* One deadline ends all that waits. */
static void test_no_tpm(void **state)
{
    struct fixture *fixture = *state;
    int64_t start_ms = now_ms();

    assert_int_equal(kill(fixture->swtpm.pid, SIGSTOP), 0);
    for (size_t i = 0; i < JOBS; i++)
        give(fixture, i);
    await(fixture, JOBS);
    assert_in_range(now_ms() - start_ms, TIMEOUT_MS - 10, 2 * TIMEOUT_MS - 1000);
    for (size_t i = 0; i < JOBS; i++)
        assert_int_equal(fixture->jobs[i].err, ESCROW_ERR_UNAVAILABLE);
    assert_int_equal(kill(fixture->swtpm.pid, SIGCONT), 0);
    give(fixture, 0);
    fixture->done_count = 0;
    await(fixture, 1);
    assert_int_equal(fixture->jobs[0].err, ESCROW_OK);
}

static void test_stopped(void **state)
{
    struct fixture *fixture = *state;
    int64_t start_ms = now_ms();

    assert_int_equal(kill(fixture->swtpm.pid, SIGSTOP), 0);
    for (size_t i = 0; i < JOBS; i++)
        give(fixture, i);
    tpm_thread_stop(fixture->thread);
    assert_in_range(now_ms() - start_ms, 0, TIMEOUT_MS / 2);
    assert_int_equal(fixture->done_count, JOBS);
    for (size_t i = 0; i < JOBS; i++)
        assert_int_equal(fixture->jobs[i].err, ESCROW_ERR_UNAVAILABLE);
    /* For good. */
    assert_int_equal(kill(fixture->swtpm.pid, SIGCONT), 0);
    assert_int_equal(tpm_check(fixture->tpm), ESCROW_ERR_UNAVAILABLE);
}

/* With nothing to do the TPM is left as it was: what is kept in it can still be flushed. */
static void test_stopped_idle(void **state)
{
    struct fixture *fixture = *state;

    give(fixture, 0);
    await(fixture, 1);
    tpm_thread_stop(fixture->thread);
    assert_int_equal(tpm_check(fixture->tpm), ESCROW_OK);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_in_order), TEST(test_the_loop_goes_on), TEST(test_no_tpm),
        TEST(test_stopped),  TEST(test_stopped_idle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
