/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/denials.h"
#include "escrowd/keeper_metrics.h"
#include "libescrow/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define START_MS 1000

static const struct denial first = {.actor = "spiffe://corp.example/a",
                                    .key = {{7}},
                                    .subject = {"ssis", "SSISDB"},
                                    .replica = "node-a",
                                    .purpose = PURPOSE_PROMOTE,
                                    .reason = REASON_CANDIDATE_NOT_PRIMARY,
                                    .epoch = 3};

struct seen {
    unsigned summaries;
    uint64_t count, record;
    bool refuses; /* what it is told */
    struct denial last;
};

static bool on_summary(const struct denial_summary *summary, void *argument)
{
    struct seen *seen = argument;

    seen->summaries++;
    seen->count = summary->count;
    seen->record = summary->record;
    seen->last = *summary->denial;
    return !seen->refuses;
}

static int set_up(void **state)
{
    *state = denials_new();
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    denials_free(*state);
    return 0;
}

static void test_counted_until_the_minute_is_over(void **state)
{
    struct seen seen = {0};

    assert_false(denials_has(*state, &first));
    assert_false(denials_count(*state, &first));
    denials_note(*state, &first, 12, START_MS);
    assert_true(denials_has(*state, &first));
    for (int i = 0; i < 5; i++)
        assert_true(denials_count(*state, &first));
    /* Another record of the same kind begins no minute anew. */
    denials_note(*state, &first, 13, START_MS + 500);
    denials_flush(*state, START_MS + DENIALS_MINUTE_MS - 1, false, on_summary, &seen);
    assert_int_equal(seen.summaries, 0);
    assert_true(denials_has(*state, &first));
    denials_flush(*state, START_MS + DENIALS_MINUTE_MS, false, on_summary, &seen);
    assert_int_equal(seen.summaries, 1);
    assert_int_equal(seen.count, 5);
    assert_int_equal(seen.record, 12);
    assert_memory_equal(&seen.last, &first, sizeof(first));
    assert_false(denials_has(*state, &first));
}

static void test_nothing_to_say(void **state)
{
    struct seen seen = {0};

    denials_note(*state, &first, 12, START_MS);
    denials_flush(*state, START_MS + DENIALS_MINUTE_MS, false, on_summary, &seen);
    assert_int_equal(seen.summaries, 0);
    assert_false(denials_has(*state, &first));
}

/* Whatever differs makes another kind. */
static void test_each_kind_apart(void **state)
{
    struct denial other[9];
    struct seen seen = {0};

    for (size_t i = 0; i < ARRAY_LEN(other); i++)
        other[i] = first;
    other[1].actor[3] = 'x';
    other[2].key.bytes[33] = 1;
    other[3].subject.group[0] = 'x';
    other[4].subject.database[0] = 'x';
    other[5].replica[5] = 'x';
    other[6].purpose = PURPOSE_DRILL;
    other[7].reason = REASON_SESSION_NOT_FOUND;
    other[8].epoch++;
    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        assert_false(denials_has(*state, &other[i]));
        denials_note(*state, &other[i], i + 1, START_MS);
    }
    for (size_t i = 0; i < ARRAY_LEN(other); i++)
        assert_true(denials_count(*state, &other[i]));
    denials_flush(*state, START_MS, true, on_summary, &seen);
    assert_int_equal(seen.summaries, ARRAY_LEN(other));
    assert_int_equal(seen.count, 1);
}

/* What cannot be recorded now is not forgotten, and goes on being counted. */
static void test_told_later(void **state)
{
    struct seen seen = {.refuses = true};

    denials_note(*state, &first, 12, START_MS);
    assert_true(denials_count(*state, &first));
    denials_flush(*state, START_MS + DENIALS_MINUTE_MS, false, on_summary, &seen);
    assert_int_equal(seen.summaries, 1);
    assert_true(denials_count(*state, &first));
    seen.refuses = false;
    denials_flush(*state, START_MS + DENIALS_MINUTE_MS + 1, false, on_summary, &seen);
    assert_int_equal(seen.summaries, 2);
    assert_int_equal(seen.count, 2);
    assert_false(denials_has(*state, &first));
}

static void test_no_more_than_there_is_room_for(void **state)
{
    struct denial denial = first;
    struct seen seen = {0};

    for (denial.epoch = 1; denial.epoch <= DENIALS_ROWS; denial.epoch++) {
        assert_false(denials_is_full(*state));
        denials_note(*state, &denial, denial.epoch, START_MS + (int64_t)(denial.epoch % 2));
    }
    assert_true(denials_is_full(*state));
    denials_note(*state, &denial, denial.epoch, START_MS);
    assert_false(denials_has(*state, &denial));
    assert_false(denials_count(*state, &denial));
    /* The older half goes, the rest stays what it is. */
    denials_flush(*state, START_MS + DENIALS_MINUTE_MS, false, on_summary, &seen);
    assert_false(denials_is_full(*state));
    for (denial.epoch = 1; denial.epoch <= DENIALS_ROWS; denial.epoch++)
        assert_int_equal(denials_has(*state, &denial), denial.epoch % 2);
}

/* Each is one denial to whoever counts them; a rebaseline is no release. */
static void test_metrics(void **state)
{
    CLEANUP(json_decrefp) json_t *detail = json_pack("{s:i, s:i}", "count", 9, "record", 12);
    struct audit_record record = {.event = AUDIT_REPEATED,
                                  .decision = "deny",
                                  .reason = reason_code(REASON_SESSION_NOT_FOUND),
                                  .purpose = act_purpose_word(PURPOSE_PROMOTE),
                                  .detail = detail};
    struct keeper_counts counts = {0};

    (void)state;
    keeper_count(&counts, &record);
    assert_int_equal(counts.events[AUDIT_REPEATED], 1);
    assert_int_equal(counts.decisions[KEEPER_DENIED][REASON_SESSION_NOT_FOUND], 9);
    assert_int_equal(counts.releases[PURPOSE_PROMOTE][KEEPER_DENIED], 9);
    record.purpose = act_purpose_word(PURPOSE_REBASELINE);
    keeper_count(&counts, &record);
    assert_int_equal(counts.decisions[KEEPER_DENIED][REASON_SESSION_NOT_FOUND], 9);
    record = (struct audit_record){.event = AUDIT_RELEASE,
                                   .decision = "deny",
                                   .reason = reason_code(REASON_SESSION_NOT_FOUND)};
    keeper_count(&counts, &record);
    assert_int_equal(counts.decisions[KEEPER_DENIED][REASON_SESSION_NOT_FOUND], 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_counted_until_the_minute_is_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_to_say, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_each_kind_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_told_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_more_than_there_is_room_for, set_up, tear_down),
        cmocka_unit_test(test_metrics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
