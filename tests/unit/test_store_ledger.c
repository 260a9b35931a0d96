/* SPDX-License-Identifier: Apache-2.0 */
/* By what grants, epochs and hints are found, changed and counted: one part that is of another, and
 * it is another row. */
#include "escrowd/store_ledger.h"
#include "escrowd/store_trust.h"
#include "tests/unit/ledger_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- grants ---- */

/* What is different of a grant. */
enum part { GROUP_PART, DATABASE_PART, PURPOSE_PART, EPOCH, ORDER, PARTS };

static struct store_grant grant_at(uint64_t sequence)
{
    return (struct store_grant){.sequence = sequence,
                                .subject = scene_subject,
                                .replica = "sql1",
                                .purpose = PURPOSE_PROMOTE,
                                .epoch = 2};
}

static struct store_grant grant_with_another(enum part part, uint64_t sequence)
{
    struct store_grant grant = grant_at(sequence);

    switch (part) {
    case GROUP_PART:
        snprintf(grant.subject.group, sizeof(grant.subject.group), "other");
        break;
    case DATABASE_PART:
        snprintf(grant.subject.database, sizeof(grant.subject.database), "Other");
        break;
    case PURPOSE_PART:
        grant.purpose = PURPOSE_DRILL;
        break;
    case EPOCH:
        grant.epoch++;
        break;
    case ORDER:
        snprintf(grant.order, sizeof(grant.order), "order-1");
        break;
    case PARTS:
        break;
    }
    return grant;
}

static void add_grant(struct ledger_scene *scene, const struct store_grant *grant, int64_t time_ms)
{
    assert_int_equal(store_add_grant(scene->store, grant, FIXTURE_AGENT, time_ms), ESCROW_OK);
}

static void set_epoch(struct ledger_scene *scene, const char *group, uint64_t epoch)
{
    const struct store_group now = {
        .replica = "sql1", .epoch = epoch, .origin = POLICY_ORIGIN_GRANTED, .time_ms = 77};

    assert_int_equal(store_set_group(scene->store, group, &now), ESCROW_OK);
}

static struct store_grant read_back(struct ledger_scene *scene, uint64_t sequence)
{
    struct store_grant grant = {0};

    assert_int_equal(store_grant(scene->store, sequence, &grant), ESCROW_OK);
    return grant;
}

/* What one grant's proof settles. */
static void test_a_proof_is_of_one_grant(void **state)
{
    struct ledger_scene *scene = *state;
    const struct store_grant proved = grant_at(50);

    for (enum part part = 0; part < PARTS; part++) {
        const struct store_grant other = grant_with_another(part, 1 + part);

        add_grant(scene, &other, 10);
    }
    add_grant(scene, &proved, 10);
    assert_int_equal(store_settle_grant(scene->store, &proved, 60), ESCROW_OK);
    assert_true(read_back(scene, proved.sequence).is_settled);
    for (enum part part = 0; part < PARTS; part++)
        assert_false(read_back(scene, 1 + part).is_settled);
}

/* What policy_decide is told of a promotion's grant. */
static void test_a_promotion_has_its_own_grants(void **state)
{
    struct ledger_scene *scene = *state;
    struct policy_ledger ledger = {0};

    for (enum part part = 0; part < PARTS - 1; part++) {
        const struct store_grant other = grant_with_another(part, 1 + part);

        add_grant(scene, &other, 10);
    }
    assert_int_equal(store_promotion_grant(scene->store, &scene_subject, 2, 100, &ledger),
                     ESCROW_OK);
    assert_int_equal(ledger.grant.state, POLICY_GRANT_NONE);
    for (uint64_t i = 0; i < 3; i++) {
        struct store_grant grant = grant_at(40 + i);

        snprintf(grant.replica, sizeof(grant.replica), "sql%d", (int)i + 1);
        add_grant(scene, &grant, 20 + (int64_t)i);
    }
    assert_int_equal(store_promotion_grant(scene->store, &scene_subject, 2, 100, &ledger),
                     ESCROW_OK);
    assert_int_equal(ledger.grant.state, POLICY_GRANT_UNSETTLED);
    assert_int_equal(ledger.grant.requests, 3);
    /* Who had it last, and since when it is open. */
    assert_string_equal(ledger.grant.replica, "sql3");
    assert_int_equal(ledger.grant.age_ms, 80);
    /* The clock was set back: it is of now, and not of never. */
    assert_int_equal(store_promotion_grant(scene->store, &scene_subject, 2, 5, &ledger), ESCROW_OK);
    assert_int_equal(ledger.grant.age_ms, 0);
}

static void test_releases_are_counted(void **state)
{
    struct ledger_scene *scene = *state;
    int64_t count;

    for (enum part part = 0; part < PARTS; part++) {
        const struct store_grant grant = grant_with_another(part, 1 + part);

        add_grant(scene, &grant, 10);
    }
    /* All of the secret's, whatever they were for. */
    assert_int_equal(store_count_releases(scene->store, &scene_subject, 9, &count), ESCROW_OK);
    assert_int_equal(count, PARTS - 2);
    assert_int_equal(store_count_releases(scene->store, &scene_subject, 10, &count), ESCROW_OK);
    assert_int_equal(count, 0);
    assert_int_equal(store_void_grant(scene->store, 1 + PURPOSE_PART), ESCROW_OK);
    assert_int_equal(store_count_releases(scene->store, &scene_subject, -1, &count), ESCROW_OK);
    assert_int_equal(count, PARTS - 3);
}

/* Of the groups' present epochs, but for what was let out for nothing. */
static void test_unsettled_are_counted(void **state)
{
    struct ledger_scene *scene = *state;
    const struct store_grant now = grant_at(1), also = grant_at(2),
                             past = grant_with_another(EPOCH, 3);
    const struct store_grant other = grant_with_another(GROUP_PART, 4), settled = grant_at(5);
    uint64_t count;

    set_epoch(scene, FIXTURE_GROUP, 2);
    set_epoch(scene, "other", 3);
    add_grant(scene, &settled, 10);
    assert_int_equal(store_settle_grant(scene->store, &settled, 6), ESCROW_OK);
    add_grant(scene, &now, 10);
    add_grant(scene, &also, 10);
    add_grant(scene, &past, 10);
    add_grant(scene, &other, 10);
    assert_int_equal(store_count_unsettled(scene->store, &count), ESCROW_OK);
    assert_int_equal(count, 2);
    assert_int_equal(store_void_grant(scene->store, also.sequence), ESCROW_OK);
    assert_int_equal(store_count_unsettled(scene->store, &count), ESCROW_OK);
    assert_int_equal(count, 1);
}

static enum escrow_err note_grant(const struct store_grant *grant, void *argument)
{
    uint64_t *digits = argument;

    *digits = *digits * 10 + grant->sequence;
    return ESCROW_OK;
}

static uint64_t receipted(struct ledger_scene *scene, size_t limit)
{
    uint64_t digits = 0;

    assert_int_equal(store_list_receipted(scene->store, limit, note_grant, &digits), ESCROW_OK);
    return digits;
}

static uint64_t unreceipted(struct ledger_scene *scene, int64_t before_ms, size_t limit)
{
    uint64_t digits = 0;

    assert_int_equal(store_list_unreceipted(scene->store, before_ms, limit, note_grant, &digits),
                     ESCROW_OK);
    return digits;
}

static void receipt(struct ledger_scene *scene, uint64_t grant, enum act_outcome outcome)
{
    assert_int_equal(store_note_receipt(scene->store, grant, outcome, 90 + grant), ESCROW_OK);
}

/* All of what was granted comes back, and what became of it. */
static void test_a_grant_is_read_back(void **state)
{
    struct ledger_scene *scene = *state;
    const struct store_grant granted = grant_with_another(ORDER, 7);
    struct store_grant found;

    add_grant(scene, &granted, 10);
    found = read_back(scene, 7);
    assert_string_equal(found.subject.group, granted.subject.group);
    assert_string_equal(found.subject.database, granted.subject.database);
    assert_string_equal(found.replica, granted.replica);
    assert_string_equal(found.order, granted.order);
    assert_int_equal(found.purpose, granted.purpose);
    assert_int_equal(found.epoch, granted.epoch);
    assert_int_equal(found.receipt, 0);
    assert_false(found.has_outcome || found.is_judged || found.is_settled);
    receipt(scene, 7, OUTCOME_OPENED);
    assert_int_equal(store_judge_grant(scene->store, 7, 97, 99), ESCROW_OK);
    found = read_back(scene, 7);
    assert_int_equal(found.receipt, 97);
    assert_true(found.has_outcome && found.is_judged && !found.is_settled);
}

/* First what nothing was found out about; what was found out once, again in its epoch only. */
static void test_what_is_to_be_proved(void **state)
{
    struct ledger_scene *scene = *state;

    set_epoch(scene, FIXTURE_GROUP, 2);
    set_epoch(scene, "other", 3);
    for (uint64_t i = 1; i <= 5; i++) {
        const struct store_grant grant =
            i == 4 ? grant_with_another(GROUP_PART, i)
                   : (i == 5 ? grant_with_another(EPOCH, i) : grant_at(i));

        add_grant(scene, &grant, 10);
    }
    assert_int_equal(receipted(scene, 9), 0);
    receipt(scene, 1, OUTCOME_OPENED);
    receipt(scene, 2, OUTCOME_OPENED);
    receipt(scene, 3, OUTCOME_FAILED);
    receipt(scene, 4, OUTCOME_OPENED);
    receipt(scene, 5, OUTCOME_OPENED);
    assert_int_equal(receipted(scene, 9), 1245);
    assert_int_equal(receipted(scene, 2), 12);
    /* Of another receipt than the one that is there. */
    assert_int_equal(store_judge_grant(scene->store, 1, 90, 99), ESCROW_OK);
    assert_int_equal(receipted(scene, 9), 1245);
    assert_int_equal(store_judge_grant(scene->store, 1, 91, 99), ESCROW_OK);
    assert_int_equal(receipted(scene, 9), 2451);
    assert_int_equal(store_judge_grant(scene->store, 4, 94, 99), ESCROW_OK);
    assert_int_equal(store_judge_grant(scene->store, 5, 95, 99), ESCROW_OK);
    assert_int_equal(receipted(scene, 9), 21);
    /* A newer word of its agent: nothing was found out about that. */
    receipt(scene, 1, OUTCOME_ALREADY_OPEN);
    assert_int_equal(receipted(scene, 9), 12);
}

static void test_what_no_receipt_came_for(void **state)
{
    struct ledger_scene *scene = *state;

    for (uint64_t i = 1; i <= 5; i++) {
        const struct store_grant grant = grant_at(i);

        add_grant(scene, &grant, 100 - (int64_t)i);
    }
    assert_int_equal(unreceipted(scene, 1000, 9), 54321);
    assert_int_equal(unreceipted(scene, 1000, 2), 54);
    assert_int_equal(unreceipted(scene, 97, 9), 54);
    receipt(scene, 5, OUTCOME_FAILED);
    assert_int_equal(store_void_grant(scene->store, 4), ESCROW_OK);
    assert_int_equal(store_judge_grant(scene->store, 3, 0, 99), ESCROW_OK);
    assert_int_equal(unreceipted(scene, 1000, 9), 21);
    {
        const struct store_grant first = grant_at(1);

        assert_int_equal(store_settle_grant(scene->store, &first, 99), ESCROW_OK);
    }
    assert_int_equal(unreceipted(scene, 1000, 9), 2);
}

/* ---- hints ---- */

static void set_hints(struct ledger_scene *scene, const struct act_subject *subject, uint64_t epoch,
                      const char *lsn)
{
    struct policy_hints hints = {0};

    snprintf(hints.recovery_lsn, sizeof(hints.recovery_lsn), "%s", lsn);
    assert_int_equal(store_set_hints(scene->store, subject, epoch, &hints), ESCROW_OK);
}

static void assert_hints(struct ledger_scene *scene, const struct act_subject *subject,
                         uint64_t epoch, const char *lsn)
{
    struct policy_hints hints;

    assert_int_equal(store_hints(scene->store, subject, epoch, &hints), ESCROW_OK);
    assert_string_equal(hints.recovery_lsn, lsn);
}

static void test_hints(void **state)
{
    static const struct act_subject group = {"other", DATABASE},
                                    database = {FIXTURE_GROUP, "Other"};
    struct ledger_scene *scene = *state;
    struct policy_hints hints;

    set_hints(scene, &scene_subject, 2, "22");
    assert_hints(scene, &group, 2, "");
    assert_hints(scene, &database, 2, "");
    assert_hints(scene, &scene_subject, 1, "");
    assert_hints(scene, &scene_subject, 2, "22");
    set_hints(scene, &scene_subject, 2, "23");
    assert_hints(scene, &scene_subject, 2, "23");
    assert_int_equal(store_hints(scene->store, &scene_subject, 2, &hints), ESCROW_OK);
    assert_false(hints.has_sequence_number);
    hints.has_sequence_number = true;
    hints.sequence_number = 5;
    assert_int_equal(store_set_hints(scene->store, &scene_subject, 2, &hints), ESCROW_OK);
    assert_int_equal(store_hints(scene->store, &scene_subject, 2, &hints), ESCROW_OK);
    assert_true(hints.has_sequence_number);
    assert_int_equal(hints.sequence_number, 5);
}

static void test_groups(void **state)
{
    struct ledger_scene *scene = *state;
    struct store_group found = {0};

    set_epoch(scene, FIXTURE_GROUP, 2);
    assert_int_equal(store_group(scene->store, "other", &found), ESCROW_ERR_NOT_FOUND);
    set_epoch(scene, "other", 9);
    set_epoch(scene, FIXTURE_GROUP, 3);
    assert_int_equal(store_group(scene->store, FIXTURE_GROUP, &found), ESCROW_OK);
    assert_int_equal(found.epoch, 3);
    assert_string_equal(found.replica, "sql1");
    assert_int_equal(found.origin, POLICY_ORIGIN_GRANTED);
    assert_int_equal(found.time_ms, 77);
}

static void test_one_roster(void **state)
{
    struct ledger_scene *scene = *state;
    CLEANUP(cleanup_free) char *none = NULL, *roster = NULL;

    assert_int_equal(store_roster(scene->store, &none), ESCROW_ERR_NOT_FOUND);
    assert_int_equal(store_set_roster(scene->store, 1, "first"), ESCROW_OK);
    assert_int_equal(store_set_roster(scene->store, 2, "second"), ESCROW_OK);
    assert_int_equal(store_roster(scene->store, &roster), ESCROW_OK);
    assert_string_equal(roster, "second");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(test_a_proof_is_of_one_grant),
        LEDGER_TEST(test_a_promotion_has_its_own_grants),
        LEDGER_TEST(test_releases_are_counted),
        LEDGER_TEST(test_unsettled_are_counted),
        LEDGER_TEST(test_a_grant_is_read_back),
        LEDGER_TEST(test_what_is_to_be_proved),
        LEDGER_TEST(test_what_no_receipt_came_for),
        LEDGER_TEST(test_hints),
        LEDGER_TEST(test_groups),
        LEDGER_TEST(test_one_roster),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
