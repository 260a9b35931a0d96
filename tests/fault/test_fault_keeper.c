/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/fault_keeper.h"
#include "tests/unit/wall_clock.h"

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
 * Every place that a keeper's work makes calls from (a stack, so a function that is called in two
 * ways is two places) sees its first call fail, each in its own run. Without ESCROW_TEST_ALL=1 a
 * sample of all calls fails instead, alone or with all that follow; then many at once, by chance.
 * ESCROW_TEST_SEED repeats a sample, and ESCROW_FAULT=PLACE:CLASS:AT:SPAN:VARIANT runs one order.
 */

#define VARIANTS 6       /* at most, of one call */
#define SERVED_MAX 400   /* acts of one world: the policy's brake is 1000 releases an hour */
#define JUDGE_EVERY 50   /* runs */
#define FOR_LONG 1000000 /* a span that outlasts the work */
#define CHANCES 3
#define SEED 1
#define ONE_IN 1000 /* calls; a deposit makes about 2500 */

static const struct place {
    const char *name;
    fault_work work; /* NULL: the start of the keeper */
    unsigned sample;
} places[] = {
    {"deposit", fault_deposit, 15},
    {"release", fault_release, 25},
    {"receipt", fault_receipt, 15},
    {"order", fault_order, 15},
    {"approve", fault_approve, 15},
    {"rebaseline", fault_rebaseline, 15},
    {"publish", fault_publish, 15},
    {"queries", fault_queries, 15},
    {"start", NULL, 15},
    {"warm-up", fault_warm_up, 10},
};

static uint64_t seed, first_seed;
static pid_t main_pid;
static char current[160] = "setting up";

static void say_current(void)
{
    if (getpid() == main_pid && current[0])
        fprintf(stderr, "# with seed %llu, at %s\n", (unsigned long long)first_seed, current);
}

static void note(const struct place *place, const struct inject_order *order)
{
    if (order->at)
        snprintf(current, sizeof(current), "ESCROW_FAULT=%s:%s:%llu:%llu:%u", place->name,
                 inject_class_name(order->class), (unsigned long long)order->at,
                 (unsigned long long)order->span, order->variant);
    else
        snprintf(current, sizeof(current), "%s by chance, seed %llu", place->name,
                 (unsigned long long)order->seed);
    if (getenv("ESCROW_TEST_VERBOSE"))
        fprintf(stderr, "# %s\n", current);
}

static struct inject_report try(struct fault_world *world, const struct place *place,
                                const struct inject_order *order)
{
    struct inject_report report;

    note(place, order);
    report = place->work ? fault_try(world, place->work, order) : fault_try_start(world, order);
    if (getenv("ESCROW_TEST_VERBOSE"))
        fprintf(stderr, "#   failed %llu, last %s\n", (unsigned long long)report.failed,
                report.last);
    return report;
}

/* Starts a new world when this one has seen enough. */
static void renew(struct fault_world *world, unsigned run)
{
    if (run % JUDGE_EVERY == JUDGE_EVERY - 1)
        fault_judge(world);
    if (world->served < SERVED_MAX)
        return;
    fault_world_stop(world);
    fault_world_start(world);
}

/* The calls that may fail: of each class, when nothing does, how many and which. */
struct calls {
    uint64_t count[INJECT_CLASSES];
    size_t firsts[INJECT_CLASSES]; /* how many come from a place that no work before called from */
    uint32_t *at[INJECT_CLASSES];  /* their numbers */
    size_t sum;                    /* of firsts */
};

static void calls_deinit(struct calls *calls)
{
    for (int i = 0; i < INJECT_CLASSES; i++)
        free(calls->at[i]);
}

static void count_calls(struct fault_world *world, const struct place *place, struct calls *calls)
{
    static const struct inject_order nothing = {.at = UINT64_MAX, .span = 1};
    struct inject_report report = try(world, place, &nothing);

    /* OpenSSL 3.0 leaks what it had when it cannot finish its own initialisation. */
    if (!place->work)
        report.calls[INJECT_OPENSSL] = 0;
    for (int i = 0; i < INJECT_CLASSES; i++) {
        calls->count[i] = report.calls[i];
        if (report.calls[i])
            calls->at[i] = inject_firsts((enum inject_class)i, &calls->firsts[i]);
        calls->sum += calls->firsts[i];
    }
}

/* One call of all classes, each class as likely as any other: memory would drown the rest. */
static struct inject_order draw(const struct calls *calls)
{
    struct inject_order order = {.span = 1};

    do
        order.class = (enum inject_class)(inject_draw(&seed) % INJECT_CLASSES);
    while (calls->count[order.class] == 0);
    order.at = 1 + inject_draw(&seed) % calls->count[order.class];
    order.variant = (unsigned)(inject_draw(&seed) % VARIANTS);
    if (inject_draw(&seed) % 4 == 0)
        order.span = FOR_LONG;
    return order;
}

static void try_all(struct fault_world *world, const struct place *place, const struct calls *calls)
{
    struct inject_order order = {.span = 1};
    unsigned run = 0;

    for (int class = 0; class < INJECT_CLASSES; class ++) {
        for (size_t i = 0; i < calls->firsts[class]; i++) {
            order.class = (enum inject_class) class;
            order.at = calls->at[class][i];
            order.variant = (unsigned)(i % VARIANTS);
            try(world, place, &order);
            renew(world, run++);
        }
    }
}

/* Nothing can be sent or received, which a sample seldom has. */
static const struct inject_order no_sockets = {
    .class = INJECT_SOCKET, .at = 1, .span = FOR_LONG, .variant = VARIANTS - 1};

static void test_place(void **state)
{
    const struct place *place = *state;
    const char *all = getenv("ESCROW_TEST_ALL");
    const bool is_all = all && strcmp(all, "1") == 0;
    struct fault_world world;
    CLEANUP(calls_deinit) struct calls calls = {0};

    fault_world_start(&world);
    count_calls(&world, place, &calls);
    printf("# %s: sampled %zu of %zu (seed %llu)\n", place->name,
           is_all ? calls.sum : place->sample, calls.sum, (unsigned long long)first_seed);
    fflush(stdout);
    if (is_all)
        try_all(&world, place, &calls);
    if (!place->work)
        try(&world, place, &no_sockets);
    for (unsigned run = 0; run < place->sample; run++) {
        const struct inject_order order = draw(&calls);

        try(&world, place, &order);
        renew(&world, run);
    }
    for (unsigned run = 0; place->work && run < CHANCES; run++) {
        const struct inject_order order = {.one_in = ONE_IN, .seed = inject_draw(&seed)};

        try(&world, place, &order);
        renew(&world, run);
    }
    printf("# %s: front's deadline answered %u\n", place->name, world.fx.late);
    fault_world_stop(&world);
    current[0] = '\0';
}

/* ESCROW_FAULT: one order, with everything said. */
static int run_one(char *text)
{
    struct inject_order order = {.span = 1};
    struct fault_world world;
    const char *name = strsep(&text, ":"), *class = strsep(&text, ":");
    const char *numbers[3] = {strsep(&text, ":"), strsep(&text, ":"), strsep(&text, ":")};

    for (int i = 0; class && i < INJECT_CLASSES; i++) {
        if (strcmp(class, inject_class_name((enum inject_class)i)) == 0)
            order.class = (enum inject_class)i;
    }
    order.at = numbers[0] ? strtoull(numbers[0], NULL, 10) : 1;
    order.span = numbers[1] ? strtoull(numbers[1], NULL, 10) : 1;
    order.variant = numbers[2] ? (unsigned)strtoul(numbers[2], NULL, 10) : 0;
    setenv("ESCROW_TEST_VERBOSE", "1", 1);
    fault_world_start(&world);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (strcmp(places[i].name, name) == 0)
            try(&world, &places[i], &order);
    }
    fault_world_stop(&world);
    current[0] = '\0';
    return 0;
}

/* argument: the place, where not all are wanted. */
int main(int count, char *arguments[])
{
    struct CMUnitTest tests[sizeof(places) / sizeof(places[0])];
    const char *wanted = getenv("ESCROW_TEST_SEED");
    char *one = getenv("ESCROW_FAULT");

    seed = first_seed = wanted ? strtoull(wanted, NULL, 10) : SEED;
    main_pid = getpid();
    wall_clock_share();
    inject_init();
    atexit(say_current);
    if (one)
        return run_one(one);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        tests[i] = (struct CMUnitTest){.name = places[i].name,
                                       .test_func = test_place,
                                       .initial_state = (void *)(uintptr_t)&places[i]};
    if (count > 1)
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
