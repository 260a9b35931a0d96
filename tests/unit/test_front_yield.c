/* SPDX-License-Identifier: Apache-2.0 */
/* What waits for people gives way where its identity has all the connections that it may have. */
#include "tests/unit/front_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MANY 48 /* all that one identity may have (front_fixture.c) */
#define MORE 3
#define TURNS 2000 /* more than any of these needs */

static const char wait_for_admins[] =
    "GET /v1/requests?number=1&wait=60 HTTP/1.1\r\nHost: x\r\n\r\n";
/* Front refuses it by itself. */
static const char unknown[] = "GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n";

static struct front_fixture fx;
static struct ff_client clients[MANY + MORE];

static int set_up(void **state)
{
    (void)state;
    memset(clients, 0, sizeof(clients));
    ff_start(&fx, &(struct ff_options){.request_ms = 3 * FF_DEADLINE_MS});
    fx.is_mute = true;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < MANY + MORE; i++)
        if (clients[i].ssl)
            ff_hang_up(&clients[i]);
    ff_stop(&fx);
    return 0;
}

/* Adds so many clients that ask this, one after the other, until each is with the keeper or
 * refused. */
static void add(size_t first, size_t count, const char *request)
{
    for (size_t i = first; i < first + count; i++) {
        const unsigned before = fx.requests;

        ff_dial(&fx, &clients[i], FF_AGENT, NULL);
        ff_ask(&clients[i], request);
        for (int turn = 0; turn < TURNS && fx.requests == before && ff_status(&clients[i]) == 0;
             turn++)
            ff_turn(&fx, clients, i + 1, 100);
    }
}

static void assert_gave_way(struct ff_client *client)
{
    for (int turn = 0; turn < TURNS && !client->is_over; turn++)
        ff_turn(&fx, client, 1, 100);
    assert_int_equal(ff_status(client), 503);
    assert_non_null(strstr(client->reply, "overloaded"));
    assert_true(client->is_over);
}

static void test_the_oldest_of_those_that_wait_for_admins(void **state)
{
    (void)state;
    add(0, MANY, wait_for_admins);
    add(MANY, MORE, ff_post);
    assert_int_equal(fx.requests, MANY + MORE);
    for (size_t i = 0; i < MORE; i++)
        assert_gave_way(&clients[i]);
    for (size_t i = MORE; i < MANY + MORE; i++)
        assert_int_equal(ff_status(&clients[i]), 0);
}

/* It is no refusal: an admin who is waited for makes no records. */
static void test_nothing_is_counted(void **state)
{
    (void)state;
    add(0, MANY, wait_for_admins);
    add(MANY, 1, ff_post);
    /* What was refused before is told together with this. */
    ff_dial(&fx, &clients[MANY + 1], FF_OTHER, NULL);
    ff_ask(&clients[MANY + 1], unknown);
    assert_true(ff_finish(&fx, &clients[MANY + 1], 1, FF_DEADLINE_MS));
    assert_int_equal(ff_status(&clients[MANY + 1]), 404);
    for (int turn = 0; turn < TURNS && fx.refused == 0; turn++)
        ff_turn(&fx, clients, MANY + 2, 100);
    ff_ping(&fx, 1);
    assert_int_equal(fx.refused, 1);
    assert_int_equal(fx.overloaded, 0);
}

/* Who waits for an answer that a decision makes keeps its place. */
static void test_releases_do_not_give_way(void **state)
{
    (void)state;
    add(0, MANY, ff_post);
    add(MANY, 1, wait_for_admins);
    assert_int_equal(fx.requests, MANY);
    assert_int_equal(ff_status(&clients[MANY]), 503);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(ff_status(&clients[i]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_oldest_of_those_that_wait_for_admins, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_is_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_releases_do_not_give_way, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
