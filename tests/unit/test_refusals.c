/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/refusals.h"
#include "libescrow/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define START_MS 1000

struct seen {
    unsigned summaries;
    uint64_t count;
    enum reason last;
    char source[64];
};

static void on_summary(const struct refusal_summary *summary, void *argument)
{
    struct seen *seen = argument;

    seen->summaries++;
    seen->count += summary->count;
    seen->last = summary->reason;
    snprintf(seen->source, sizeof(seen->source), "%.60s", summary->source);
}

static int set_up(void **state)
{
    *state = refusals_new();
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    refusals_free(*state);
    return 0;
}

static void count(struct refusals *refusals, const char *source, enum reason reason, int64_t now_ms)
{
    refusals_count(refusals, &(struct refusal_summary){source, reason, 1}, now_ms);
}

static void test_one_summary_for_a_source_and_minute(void **state)
{
    struct seen seen = {0};

    for (int i = 0; i < 5; i++)
        count(*state, "a", REASON_MALFORMED, START_MS + i);
    count(*state, "b", REASON_KEY_UNKNOWN, START_MS + 100);
    refusals_flush(*state, START_MS + REFUSALS_MINUTE_MS - 1, false, on_summary, &seen);
    assert_int_equal(seen.summaries, 0);
    refusals_flush(*state, START_MS + REFUSALS_MINUTE_MS, false, on_summary, &seen);
    assert_int_equal(seen.summaries, 1);
    assert_int_equal(seen.count, 5);
    assert_int_equal(seen.last, REASON_MALFORMED);
    assert_string_equal(seen.source, "a");
    refusals_flush(*state, START_MS, true, on_summary, &seen);
    assert_int_equal(seen.summaries, 2);
    refusals_flush(*state, START_MS, true, on_summary, &seen);
    assert_int_equal(seen.summaries, 2);
}

static void test_each_reason_is_counted_apart(void **state)
{
    struct seen seen = {0};

    count(*state, "a", REASON_MALFORMED, START_MS);
    refusals_count(*state, &(struct refusal_summary){"a", REASON_TOO_LARGE, 7}, START_MS);
    count(*state, "", REASON_MALFORMED, START_MS);
    refusals_flush(*state, START_MS, true, on_summary, &seen);
    assert_int_equal(seen.summaries, 3);
    assert_int_equal(seen.count, 9);
}

static void test_quota_of_records(void **state)
{
    struct seen seen = {0};

    for (int i = 0; i < REFUSALS_QUOTA; i++)
        assert_true(refusals_may_record(*state, "a", START_MS));
    assert_false(refusals_may_record(*state, "a", START_MS));
    assert_true(refusals_may_record(*state, "b", START_MS));
    /* What had records of its own needs no summary. */
    refusals_flush(*state, START_MS + REFUSALS_MINUTE_MS, false, on_summary, &seen);
    assert_int_equal(seen.summaries, 0);
    assert_true(refusals_may_record(*state, "a", START_MS + REFUSALS_MINUTE_MS));
}

static void test_too_many_sources_share_one(void **state)
{
    struct seen seen = {0};
    char source[32];

    for (int i = 0; i < REFUSALS_ROWS + 7; i++) {
        snprintf(source, sizeof(source), "source %d", i);
        count(*state, source, REASON_MALFORMED, START_MS);
    }
    refusals_flush(*state, START_MS + REFUSALS_MINUTE_MS, false, on_summary, &seen);
    assert_int_equal(seen.summaries, REFUSALS_ROWS + 1);
    assert_int_equal(seen.count, REFUSALS_ROWS + 7);
    assert_string_equal(seen.source, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_summary_for_a_source_and_minute, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_each_reason_is_counted_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_quota_of_records, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_many_sources_share_one, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
