/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "libescrow/tsql.h"
#include "tests/fault/fault_worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * Every call of a worker's attempt, with an echo, fails once, each in its own run (a sample of
 * them, unless ESCROW_TEST_ALL is 1), alone or with all that follow; then many at once, by chance;
 * then, without an echo, escrowd ends the connection at each request. ESCROW_TEST_SEED repeats a
 * sample, and ESCROW_FAULT=CLASS:AT:SPAN:VARIANT runs one order.
 */

#define VARIANTS 6 /* at most, of one call */
#define FOR_LONG 1000000
#define SAMPLE 24 /* of each test */
#define CHANCES 6
#define ONE_IN 300 /* calls */
#define REQUESTS 5 /* of an attempt: roster, then challenge and act for release and receipt */
#define SEED 1
#define OPENSSL_STEP 10

static uint64_t seed, first_seed;
static pid_t main_pid;
static char current[160] = "setting up";
static struct fault_worker world;
static uint64_t calls[INJECT_CLASSES];

static void say_current(void)
{
    if (getpid() == main_pid && current[0])
        fprintf(stderr, "# with seed %llu, at %s\n", (unsigned long long)first_seed, current);
}

static struct inject_report try(const struct inject_order *order)
{
    struct inject_report report;

    if (order->at)
        snprintf(current, sizeof(current), "ESCROW_FAULT=%s:%llu:%llu:%u",
                 inject_class_name(order->class), (unsigned long long)order->at,
                 (unsigned long long)order->span, order->variant);
    else
        snprintf(current, sizeof(current), "by chance, seed %llu", (unsigned long long)order->seed);
    world.what = current;
    report = fault_worker_try(&world, order);
    if (getenv("ESCROW_TEST_VERBOSE"))
        fprintf(stderr, "# %s: failed %llu, last %s\n", current, (unsigned long long)report.failed,
                report.last);
    current[0] = '\0';
    return report;
}

static bool is_all(void)
{
    const char *all = getenv("ESCROW_TEST_ALL");

    return all && strcmp(all, "1") == 0;
}

static int setup(void **state)
{
    static const struct inject_order nothing = {.at = UINT64_MAX, .span = 1};
    struct inject_report report;

    (void)state;
    fault_worker_start(&world);
    world.heard->wants_echo = true;
    report = try(&nothing);
    fault_worker_expect_statement(TSQL_ECHO_PROPERTY);
    memcpy(calls, report.calls, sizeof(calls));
    if (getenv("ESCROW_TEST_VERBOSE"))
        for (int i = 0; i < INJECT_CLASSES; i++)
            fprintf(stderr, "# %s: %llu calls\n", inject_class_name((enum inject_class)i),
                    (unsigned long long)calls[i]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fault_worker_stop(&world);
    return 0;
}

static uint64_t sum_of_calls(void)
{
    uint64_t sum = 0;

    for (int i = 0; i < INJECT_CLASSES; i++)
        sum += calls[i];
    return sum;
}

/* Each class as likely as any other: memory would drown the rest. */
static struct inject_order draw(void)
{
    struct inject_order order = {.span = 1};

    do
        order.class = (enum inject_class)(inject_draw(&seed) % INJECT_CLASSES);
    while (calls[order.class] == 0);
    order.at = 1 + inject_draw(&seed) % calls[order.class];
    order.variant = (unsigned)(inject_draw(&seed) % VARIANTS);
    if (inject_draw(&seed) % 4 == 0)
        order.span = FOR_LONG;
    return order;
}

/* Those of these classes fail in ways of their own; the others only in one. */
static bool has_variants(enum inject_class class)
{
    return class == INJECT_FILE || class == INJECT_SOCKET || class == INJECT_SQL ||
           class == INJECT_HTTP;
}

/* OpenSSL allocates without end, and fails in the same few ways: every tenth of its calls. */
static uint64_t try_all(void)
{
    struct inject_order order = {.span = 1};
    uint64_t runs = 0;

    for (int class = INJECT_CLASSES - 1; class >= 0; class --) {
        const unsigned step = class == INJECT_OPENSSL ? OPENSSL_STEP : 1;
        const unsigned ways = 2 * (has_variants((enum inject_class) class) ? VARIANTS : 1);

        order.class = (enum inject_class) class;
        for (order.at = 1; order.at <= calls[class]; order.at += step) {
            for (unsigned way = 0; way < ways; way++, runs++) {
                order.variant = way / 2;
                order.span = way % 2 ? FOR_LONG : 1;
                try(&order);
            }
        }
    }
    return runs;
}

static void test_single_failures(void **state)
{
    uint64_t runs = is_all() ? try_all() : 0;

    (void)state;
    for (unsigned run = 0; run < SAMPLE; run++, runs++) {
        const struct inject_order order = draw();

        try(&order);
    }
    printf("# sampled %llu of %llu (seed %llu)\n", (unsigned long long)runs,
           (unsigned long long)sum_of_calls(), (unsigned long long)first_seed);
    fflush(stdout);
}

static void test_failures_by_chance(void **state)
{
    (void)state;
    for (unsigned run = 0; run < CHANCES * (is_all() ? 100 : 1); run++) {
        const struct inject_order order = {.one_in = ONE_IN, .seed = inject_draw(&seed)};

        try(&order);
    }
}

/* Also after the request was carried out: a grant or a receipt of which the worker never knows. */
static void test_connection_ends(void **state)
{
    static const struct inject_order nothing = {.at = UINT64_MAX, .span = 1};

    (void)state;
    world.heard->wants_echo = false;
    for (unsigned run = 0; run < 2 * REQUESTS; run++) {
        world.heard->cut_at = 1 + run / 2;
        world.heard->is_cut_late = run % 2 == 1;
        try(&nothing);
    }
}

/* The catalog of SSISDB does not wait for an escrowd, and the parent hears of the success. */
static void test_receipt_hangs(void **state)
{
    static const struct inject_order nothing = {.at = UINT64_MAX, .span = 1};

    (void)state;
    world.heard->wants_echo = false;
    world.instance.is_catalog = true;
    world.heard->hang_at = REQUESTS - 1; /* the challenge for the receipt */
    try(&nothing);
    world.instance.is_catalog = false;
    assert_int_equal(world.result.outcome, WORKER_OPENED);
    assert_false(world.result.is_receipted);
    fault_worker_expect_statement("[catalog].[startup]");
}

/* ESCROW_FAULT: one order, with everything said. */
static void run_one(char *text)
{
    struct inject_order order = {.span = 1};
    const char *class = strsep(&text, ":");
    const char *numbers[3] = {strsep(&text, ":"), strsep(&text, ":"), strsep(&text, ":")};

    for (int i = 0; class && i < INJECT_CLASSES; i++) {
        if (strcmp(class, inject_class_name((enum inject_class)i)) == 0)
            order.class = (enum inject_class)i;
    }
    order.at = numbers[0] ? strtoull(numbers[0], NULL, 10) : 1;
    order.span = numbers[1] ? strtoull(numbers[1], NULL, 10) : 1;
    order.variant = numbers[2] ? (unsigned)strtoul(numbers[2], NULL, 10) : 0;
    setenv("ESCROW_TEST_VERBOSE", "1", 1);
    try(&order);
}

static void test_one(void **state)
{
    (void)state;
    run_one(getenv("ESCROW_FAULT"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_failures),
        cmocka_unit_test(test_failures_by_chance),
        cmocka_unit_test(test_connection_ends),
        cmocka_unit_test(test_receipt_hangs),
    };
    static const struct CMUnitTest one[] = {cmocka_unit_test(test_one)};
    const char *wanted = getenv("ESCROW_TEST_SEED");

    seed = first_seed = wanted ? strtoull(wanted, NULL, 10) : SEED;
    main_pid = getpid();
    inject_init();
    if (secret_heap_init() != ESCROW_OK)
        return 1;
    atexit(say_current);
    return getenv("ESCROW_FAULT") ? cmocka_run_group_tests(one, setup, teardown)
                                  : cmocka_run_group_tests(tests, setup, teardown);
}
