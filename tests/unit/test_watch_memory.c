/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/watch_memory.h"
#include "libescrow/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* What is remembered of a replica, second by second. */

#define assert_seconds(ms, seconds) assert_int_equal(ms, (seconds)*1000)

/* The clock stands still but for what a test says. */
static time_t now_s;

/* NOLINTBEGIN(readability-identifier-naming,bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
 */
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    (void)clock;
    *ret_time = (struct timespec){.tv_sec = now_s};
    return 0;
}
/* NOLINTEND(readability-identifier-naming,bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
 */

static const struct probe_state primary = {.outcome = PROBE_ANSWERED, .role = PROBE_ROLE_PRIMARY};
static const struct probe_state secondary = {.outcome = PROBE_ANSWERED,
                                             .role = PROBE_ROLE_SECONDARY};
/* What it says of a role there counts for nothing. */
static const struct probe_state refused = {.outcome = PROBE_REFUSED, .role = PROBE_ROLE_PRIMARY};
static const struct probe_state failed = {.outcome = PROBE_TLS_FAILED, .role = PROBE_ROLE_PRIMARY};

static void hear_at(struct memory *memory, time_t second, const struct probe_state *state)
{
    now_s = second;
    memory_hear(memory, state);
}

static struct policy_history history_at(const struct memory *memory, time_t second)
{
    struct policy_history history;

    now_s = second;
    memory_history(memory, 0, &history);
    return history;
}

static void test_nothing_is_known(void **state)
{
    const struct memory memory = {0};
    const struct policy_history history = history_at(&memory, 9);

    (void)state;
    assert_false(history.is_known);
    assert_int_equal(history.last_role, -1);
    assert_int_equal(history.primary_ago_ms, POLICY_NEVER);
    assert_int_equal(history.silent_for_ms, POLICY_NEVER);
    assert_int_equal(history.dead_for_ms, 0);
}

static void test_what_it_said(void **state)
{
    struct memory memory = {0};
    struct policy_history history;

    (void)state;
    hear_at(&memory, 1, &primary);
    hear_at(&memory, 3, &secondary);
    history = history_at(&memory, 5);
    assert_true(history.is_known);
    assert_int_equal(history.last_role, PROBE_ROLE_SECONDARY);
    assert_seconds(history.primary_ago_ms, 4);
    assert_int_equal(history.silent_for_ms, 0);
    assert_int_equal(history.dead_for_ms, 0);
    /* It cannot be asked: what it said last stays what it said, and it is silent since then. */
    hear_at(&memory, 6, &failed);
    history = history_at(&memory, 8);
    assert_int_equal(history.last_role, PROBE_ROLE_SECONDARY);
    assert_seconds(history.primary_ago_ms, 7);
    assert_seconds(history.silent_for_ms, 5);
    hear_at(&memory, 9, &primary);
    memory_silence(&memory);
    history = history_at(&memory, 11);
    assert_seconds(history.primary_ago_ms, 2);
    assert_seconds(history.silent_for_ms, 2);
}

/* It has never said anything: nobody knows since when it is silent. */
static void test_never_an_answer(void **state)
{
    struct memory memory = {0};
    struct policy_history history;

    (void)state;
    hear_at(&memory, 1, &failed);
    memory_silence(&memory);
    history = history_at(&memory, 5);
    assert_true(history.is_known);
    assert_int_equal(history.last_role, -1);
    assert_int_equal(history.primary_ago_ms, POLICY_NEVER);
    assert_int_equal(history.silent_for_ms, POLICY_NEVER);
}

/* Dead is whoever refuses every connection, since the first of them; whatever else is heard of it,
 * and silence too, ends that. */
static void test_dead(void **state)
{
    const struct probe_state *const others[] = {&primary, &secondary, &failed, NULL};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct memory memory = {0};

        hear_at(&memory, 1, &secondary);
        assert_int_equal(history_at(&memory, 3).dead_for_ms, 0);
        hear_at(&memory, 4, &refused);
        hear_at(&memory, 6, &refused);
        assert_seconds(history_at(&memory, 7).dead_for_ms, 3);
        if (others[i])
            memory_hear(&memory, others[i]);
        else
            memory_silence(&memory);
        assert_int_equal(history_at(&memory, 8).dead_for_ms, 0);
        hear_at(&memory, 9, &refused);
        assert_seconds(history_at(&memory, 11).dead_for_ms, 2);
    }
}

/* While nobody was asked nobody was silent, nor dead: not before it is noted, and not afterwards.
 */
static void test_sleep(void **state)
{
    struct memory memory = {0};
    struct policy_history history;

    (void)state;
    hear_at(&memory, 1, &primary);
    hear_at(&memory, 3, &refused);
    now_s = 9;
    memory_history(&memory, 5000, &history);
    assert_seconds(history.primary_ago_ms, 3);
    assert_seconds(history.silent_for_ms, 3);
    assert_seconds(history.dead_for_ms, 1);
    memory_sleep(&memory, 5000);
    history = history_at(&memory, 10);
    assert_seconds(history.primary_ago_ms, 4);
    assert_seconds(history.dead_for_ms, 2);
    /* Longer than since anything was heard: as if it had been now. */
    memory_history(&memory, 60000, &history);
    assert_int_equal(history.dead_for_ms, 0);
    memory_sleep(&memory, 60000);
    history = history_at(&memory, 12);
    assert_seconds(history.primary_ago_ms, 2);
    assert_seconds(history.dead_for_ms, 2);
    /* What has not been is not made by that. */
    memory = (struct memory){0};
    hear_at(&memory, 20, &secondary);
    memory_sleep(&memory, 5000);
    history = history_at(&memory, 21);
    assert_int_equal(history.primary_ago_ms, POLICY_NEVER);
    assert_int_equal(history.dead_for_ms, 0);
}

/* Only changes are told: NULL is silence. */
static void test_what_is_told(void **state)
{
    const struct probe_state same = {.outcome = PROBE_SQL_ERROR, .sql_error = 1};
    const struct probe_state other = {.outcome = PROBE_SQL_ERROR, .sql_error = 2};
    const struct probe_state *const heard[] = {&secondary, NULL, &same,   &other,
                                               &failed,    NULL, &failed, &primary};
    struct memory memory = {0};

    (void)state;
    /* That it answers is what is expected. */
    assert_false(memory_tell(&memory, &primary));
    for (size_t i = 1; i < ARRAY_LEN(heard); i++) {
        assert_true(memory_tell(&memory, heard[i]));
        assert_false(memory_tell(&memory, heard[i]));
    }
}

static void assert_said(const struct memory *memory, const char *outcome, const char *role)
{
    CLEANUP(json_free_p) json_t *said = memory_json(memory, "node-a");
    const char *word = json_string_value(json_object_get(said, "role"));

    assert_string_equal(json_string_value(json_object_get(said, "instance")), "node-a");
    assert_string_equal(json_string_value(json_object_get(said, "outcome")), outcome);
    assert_string_equal(word ? word : "", role);
    assert_seconds(json_integer_value(json_object_get(said, "ago_ms")), 2);
}

static void test_in_status(void **state)
{
    struct probe_state answered = primary;
    struct memory memory = {0};
    CLEANUP(json_free_p) json_t *unknown = memory_json(&memory, "node-a");

    (void)state;
    assert_true(json_is_null(json_object_get(unknown, "outcome")));
    hear_at(&memory, 1, &primary);
    now_s = 3;
    assert_said(&memory, "answered", "primary");
    for (int32_t role = -1; role <= 3; role += 4) {
        answered.role = role;
        hear_at(&memory, 5, &answered);
        now_s = 7;
        assert_said(&memory, "answered", "unknown");
    }
    answered.role = PROBE_ROLE_RESOLVING;
    memcpy(answered.diagnosis, "\xff", 2);
    hear_at(&memory, 9, &answered);
    now_s = 11;
    assert_said(&memory, "answered", "resolving");
    memory_silence(&memory);
    assert_said(&memory, "answered", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_known),
        cmocka_unit_test(test_what_it_said),
        cmocka_unit_test(test_never_an_answer),
        cmocka_unit_test(test_dead),
        cmocka_unit_test(test_sleep),
        cmocka_unit_test(test_what_is_told),
        cmocka_unit_test(test_in_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
