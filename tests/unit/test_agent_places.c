/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_places.h"
#include "libescrow/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define WANTING (AGENT_PLACES + 4)

struct bench {
    struct event_base *base;
    struct agent_places *places;
    struct agent_place wanting[WANTING];
    struct agent_place *given[WANTING]; /* in the order in which they were */
    size_t given_count;
};

static struct bench bench;

static void on_given(void *argument)
{
    bench.given[bench.given_count++] = argument;
}

static int set_up(void **state)
{
    (void)state;
    bench = (struct bench){.base = event_base_new()};
    assert_non_null(bench.base);
    assert_int_equal(agent_places_new(bench.base, &bench.places), ESCROW_OK);
    for (size_t i = 0; i < WANTING; i++)
        bench.wanting[i] =
            (struct agent_place){.on_given = on_given, .argument = &bench.wanting[i]};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    agent_places_free(bench.places);
    event_base_free(bench.base);
    return 0;
}

static void take_all(void)
{
    for (size_t i = 0; i < WANTING; i++)
        assert_int_equal(agent_places_take(bench.places, &bench.wanting[i]), i < AGENT_PLACES);
}

static void leave(size_t index)
{
    agent_places_leave(bench.places, &bench.wanting[index]);
}

static void run_events(void)
{
    assert_true(event_base_loop(bench.base, EVLOOP_NONBLOCK) >= 0);
}

/* As many as there are, and the others as these end, in order; asking again changes nothing. */
static void test_in_order(void **state)
{
    (void)state;
    take_all();
    take_all();
    leave(3);
    leave(5);
    assert_int_equal(bench.given_count, 0);
    run_events();
    assert_int_equal(bench.given_count, 2);
    assert_ptr_equal(bench.given[0], &bench.wanting[AGENT_PLACES]);
    assert_ptr_equal(bench.given[1], &bench.wanting[AGENT_PLACES + 1]);
    assert_true(agent_places_take(bench.places, &bench.wanting[AGENT_PLACES]));
    run_events();
    assert_int_equal(bench.given_count, 2);
}

/* Nobody takes the place that somebody waits for. */
static void test_nobody_overtakes(void **state)
{
    (void)state;
    take_all();
    leave(0);
    assert_false(agent_places_take(bench.places, &bench.wanting[0]));
    run_events();
    assert_ptr_equal(bench.given[0], &bench.wanting[AGENT_PLACES]);
    assert_int_equal(bench.given_count, 1);
}

/* Who does not need one any more neither has nor gets one. */
static void test_left_while_waiting(void **state)
{
    (void)state;
    take_all();
    leave(AGENT_PLACES);
    leave(AGENT_PLACES);
    leave(0);
    leave(0);
    run_events();
    assert_int_equal(bench.given_count, 1);
    assert_ptr_equal(bench.given[0], &bench.wanting[AGENT_PLACES + 1]);
}

/* All of them are told to leave: nobody is given a place between two of them. */
static void test_all_leave(void **state)
{
    (void)state;
    take_all();
    for (size_t i = 0; i < WANTING; i++)
        leave(i);
    run_events();
    assert_int_equal(bench.given_count, 0);
    assert_true(agent_places_take(bench.places, &bench.wanting[0]));
}

/* Half of them are for who is at work. */
static void test_room_for_what_is_not_needed(void **state)
{
    (void)state;
    for (size_t i = 0; i < AGENT_PLACES / 2; i++) {
        assert_true(agent_places_have_room(bench.places));
        assert_true(agent_places_take(bench.places, &bench.wanting[i]));
    }
    assert_false(agent_places_have_room(bench.places));
    leave(0);
    assert_true(agent_places_have_room(bench.places));
}

#define PLACES(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACES(test_in_order),
        PLACES(test_nobody_overtakes),
        PLACES(test_left_while_waiting),
        PLACES(test_all_leave),
        PLACES(test_room_for_what_is_not_needed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
