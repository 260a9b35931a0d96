/* SPDX-License-Identifier: Apache-2.0 */
/* How often a login is tried that is refused, under a clock that the test sets. */
#include "libescrow/cleanup.h"
#include "libescrow/probe_hold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* The linker puts these in the place of the real ones (--wrap, CMakeLists.txt). */
int __real_clock_gettime(clockid_t clock, struct timespec *ret_now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now);
enum escrow_err __wrap_sql_connect(const struct sql_instance *instance,
                                   struct sql_connection **ret_connection,
                                   struct sql_error *ret_error);
enum escrow_err __wrap_sql_batch(struct sql_connection *connection, const char *text,
                                 sql_row_fn on_row, void *argument, struct sql_error *ret_error);
void __wrap_sql_close(struct sql_connection *connection);

/* An instance: how it takes logins, what it answers over a connection, and how often it was met. */
static struct {
    int64_t now_ms;
    enum escrow_err login;
    int32_t number;
    enum escrow_err batch;
    unsigned logins;
} server;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    if (clock != CLOCK_BOOTTIME)
        return __real_clock_gettime(clock, ret_now);
    *ret_now = (struct timespec){.tv_sec = server.now_ms / 1000,
                                 .tv_nsec = server.now_ms % 1000 * 1000000};
    return 0;
}

enum escrow_err __wrap_sql_connect(const struct sql_instance *instance,
                                   struct sql_connection **ret_connection,
                                   struct sql_error *ret_error)
{
    static char connection;

    (void)instance;
    server.logins++;
    *ret_error = (struct sql_error){.number = server.number};
    if (server.login) {
        snprintf(ret_error->text, sizeof(ret_error->text), "refusal %u", server.logins);
        return server.login;
    }
    *ret_connection = (struct sql_connection *)&connection;
    return ESCROW_OK;
}

/* No rows: no such group here. */
enum escrow_err __wrap_sql_batch(struct sql_connection *connection, const char *text,
                                 sql_row_fn on_row, void *argument, struct sql_error *ret_error)
{
    (void)connection;
    (void)text;
    (void)on_row;
    (void)argument;
    *ret_error = (struct sql_error){0};
    return server.batch;
}

void __wrap_sql_close(struct sql_connection *connection)
{
    (void)connection;
}

struct fixture {
    struct probe_hold hold;
    struct probe *probes[2]; /* of two databases of the instance */
};

static int set_up(void **state)
{
    static struct fixture fixture;
    struct probe_config config = {.instance = {.name = "SQL1", .address = "127.0.0.1"},
                                  .availability_group = "AG1",
                                  .database = "one",
                                  .hold = &fixture.hold};

    memset(&server, 0, sizeof(server));
    memset(&fixture, 0, sizeof(fixture));
    server.now_ms = 1000;
    server.login = ESCROW_ERR_DENIED;
    server.number = 18456;
    *state = &fixture;
    if (probe_new(&config, &fixture.probes[0]) != ESCROW_OK)
        return -1;
    config.database = "two";
    return probe_new(&config, &fixture.probes[1]) == ESCROW_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    probe_free(fixture->probes[0]);
    probe_free(fixture->probes[1]);
    return 0;
}

/* Asks after the state; what matters of the answer, and how many logins there were by then. */
static void assert_asked(struct probe *probe, enum probe_outcome outcome, const char *diagnosis,
                         unsigned logins)
{
    struct probe_state state;

    probe_ask_state(probe, &state);
    assert_int_equal(state.outcome, outcome);
    assert_non_null(strstr(state.diagnosis, diagnosis));
    assert_int_equal(server.logins, logins);
}

static void test_held_for_30_s(void **state)
{
    struct fixture *fixture = *state;
    int64_t begun_ms = server.now_ms;

    assert_asked(fixture->probes[0], PROBE_LOGIN_REFUSED, "18456: refusal 1", 1);
    assert_asked(fixture->probes[0], PROBE_LOGIN_REFUSED, "18456: refusal 1", 1);
    server.now_ms = begun_ms + 29999;
    assert_asked(fixture->probes[0], PROBE_LOGIN_REFUSED, "18456: refusal 1", 1);
    /* One try, and then it is held back again. */
    server.now_ms = begun_ms + 30000;
    server.number = 18486;
    assert_asked(fixture->probes[0], PROBE_LOGIN_REFUSED, "18486: refusal 2", 2);
    server.now_ms = begun_ms + 59999;
    assert_asked(fixture->probes[0], PROBE_LOGIN_REFUSED, "18486: refusal 2", 2);
    server.now_ms = begun_ms + 60000;
    server.login = ESCROW_OK;
    assert_asked(fixture->probes[0], PROBE_NO_ROW, "", 3);
    assert_false(fixture->hold.is_refused);
}

static void test_every_question_of_every_database(void **state)
{
    struct fixture *fixture = *state;
    const uint8_t nonce[TSQL_NONCE_BYTES] = {0};
    struct probe_state local;
    int32_t sql_error = 0;
    bool is_found = true;

    assert_asked(fixture->probes[0], PROBE_LOGIN_REFUSED, "refusal 1", 1);
    assert_asked(fixture->probes[1], PROBE_LOGIN_REFUSED, "refusal 1", 1);
    probe_ask_local(fixture->probes[1], &local);
    assert_int_equal(local.outcome, PROBE_LOGIN_REFUSED);
    assert_int_equal(local.sql_error, 18456);
    assert_int_equal(probe_ask_session(fixture->probes[1], nonce, "agent", &is_found),
                     PROBE_LOGIN_REFUSED);
    assert_false(is_found);
    assert_int_equal(probe_ask_opens(fixture->probes[1], &sql_error), PROBE_OPENS_UNKNOWN);
    assert_int_equal(sql_error, 18456);
    assert_int_equal(server.logins, 1);
}

/* What is no refusal holds back nothing: an instance that restarts is found as soon as it is up. */
static void test_other_failures(void **state)
{
    struct fixture *fixture = *state;

    server.login = ESCROW_ERR_SQL;
    server.number = 18401;
    assert_asked(fixture->probes[0], PROBE_SQL_ERROR, "18401", 1);
    server.login = ESCROW_ERR_TIMEOUT;
    server.number = 0;
    assert_asked(fixture->probes[0], PROBE_UNREACHABLE, "", 2);
    server.login = ESCROW_OK;
    assert_asked(fixture->probes[0], PROBE_NO_ROW, "", 3);
}

/* A decision needs no login where a connection is there. */
static void test_connections_go_on(void **state)
{
    struct fixture *fixture = *state;

    server.login = ESCROW_OK;
    assert_asked(fixture->probes[0], PROBE_NO_ROW, "", 1);
    server.login = ESCROW_ERR_DENIED;
    assert_asked(fixture->probes[1], PROBE_LOGIN_REFUSED, "refusal 2", 2);
    assert_asked(fixture->probes[0], PROBE_NO_ROW, "", 2);
    /* Once it is gone, that is held back too. */
    server.batch = ESCROW_ERR_TIMEOUT;
    assert_asked(fixture->probes[0], PROBE_UNREACHABLE, "", 2);
    assert_asked(fixture->probes[0], PROBE_LOGIN_REFUSED, "refusal 2", 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_held_for_30_s, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_question_of_every_database, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_failures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_connections_go_on, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
