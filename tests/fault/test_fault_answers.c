/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/fault_keeper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/*
 * What a keeper without memory once did not say: the answer that could not be made, the end of a
 * wait without a timer, the status that the channel did not take. Every call that has to do with it
 * fails, one after the other.
 */

#define CALLS_MAX 200

static struct fault_world world;

static int start(void **state)
{
    (void)state;
    fault_world_start(&world);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fault_world_stop(&world);
    return 0;
}

/* One request while the call fails, the first time, the second, until it is not made any more. */
static void fail_each(enum route route, enum fx_who who, const char *call)
{
    struct inject_order order = {
        .class = INJECT_MEMORY, .call = call, .variant = 0, .at = 1, .span = 1};
    struct keeper_fixture *fx = &world.fx;
    struct inject_report report = {.failed = 1};
    unsigned refused = 0;

    for (; report.failed; order.at++) {
        assert_true(order.at < CALLS_MAX);
        inject_arm(&order);
        fx_ask(fx, route, fx->actors[who].identity, "");
        inject_disarm(&report);
        assert_true(fx->reply.status == 200 || fx->reply.status == 500);
        refused += fx->reply.status == 500;
        /* Neither front's deadline nor a front that is ended had to do with it. */
        assert_int_equal(fx->late, 0);
        assert_int_equal(fx->lost, 0);
    }
    assert_true(refused > 0);
}

static void test_a_reply_that_cannot_be_made(void **state)
{
    (void)state;
    fail_each(ROUTE_HEALTH, FX_AUDITOR, "realloc");
}

static void test_a_request_that_cannot_be_kept(void **state)
{
    static const char *const calls[] = {"calloc", "malloc", "malloc of libevent"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        fail_each(ROUTE_HEALTH, FX_AUDITOR, calls[i]);
}

/* An agent's poll waits for orders, of which there are none. */
static void test_a_wait_that_has_no_timer(void **state)
{
    (void)state;
    fail_each(ROUTE_ORDERS, FX_AGENT_A, "event_add");
}

static bool is_ready(struct keeper_fixture *fx)
{
    return strncmp(fx->status, "Ready", 5) == 0;
}

/* The first roster makes a keeper ready. Returns how many calls were made until it was answered. */
static uint64_t publish_under(uint64_t at, bool *ret_is_said)
{
    const struct inject_order order = {
        .class = INJECT_MEMORY, .call = "realloc", .at = at, .span = 1};
    struct inject_report report;
    bool is_published;

    fault_world_open(&world);
    assert_false(is_ready(&world.fx));
    inject_arm(&order);
    is_published = fault_publish(&world);
    inject_disarm(&report);
    *ret_is_said = is_published && report.failed == 1;
    if (is_published)
        fx_until(&world.fx, is_ready);
    fault_world_close(&world);
    return report.named;
}

static void test_a_status_that_cannot_be_told(void **state)
{
    bool is_said;
    const uint64_t calls = publish_under(UINT64_MAX, &is_said);
    unsigned said = 0;

    (void)state;
    for (uint64_t at = 1; at <= calls; at++) {
        publish_under(at, &is_said);
        said += is_said;
    }
    assert_true(said > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_reply_that_cannot_be_made, start, stop),
        cmocka_unit_test_setup_teardown(test_a_request_that_cannot_be_kept, start, stop),
        cmocka_unit_test_setup_teardown(test_a_wait_that_has_no_timer, start, stop),
        cmocka_unit_test(test_a_status_that_cannot_be_told),
    };

    inject_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
