/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/audit_record.h"
#include "libescrow/log.h"
#include "tests/fault/draw.h"
#include "tests/fault/kill_works.h"
#include "tests/fault/steps.h"
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
 * A keeper is killed at each step by which anything lasts (steps.h), in each piece of a history,
 * before the step, in the middle of a write and after it; the process alone, or with the power, so
 * that log and store lose what was not synced, each for itself; or twice, the second time while it
 * starts again. It must start, and by log, ledger and what clients were told:
 *
 *  - nothing was let out, and nothing promised, that the log does not record;
 *  - what the log records and nobody was told of is in the ledger, counts, and keeps nobody from
 *    being served: the client that asks again is;
 *  - the store says what the log says, whatever was lost of it;
 *  - nobody is accused of tampering.
 *
 * A sample of all of it, or the whole with ESCROW_TEST_ALL=1; ESCROW_TEST_SEED repeats either.
 * ESCROW_TEST_PART=2/3: of the whole, the second third, beside the others in other processes.
 */

#define SEED 1
#define SAMPLE_ROUNDS 2
#define ROUNDS_OF_WORLD 4 /* a longer log takes the judge longer */

enum crash {
    CRASH_PROCESS, /* nothing is lost */
    CRASH_LOSES_ALL,
    CRASH_LOSES_LOG,
    CRASH_LOSES_STORE,
    CRASH_SCRAPES,
    CRASH_TWICE, /* the process, then while it starts the power: the log loses, the store keeps */
    CRASHES,
};

struct point {
    uint64_t step;
    enum step_phase phase;
    enum crash crash;
};

/* Of one work: where it can be killed, in an order drawn by chance. */
struct points {
    struct point *items;
    size_t count;
};

static uint64_t seed;
static pid_t main_pid;
static char current[160];
static unsigned killed[CRASHES], missed;
static uint64_t start_steps; /* of a start with little to replay */

static void say_current(void)
{
    if (current[0] && getpid() == main_pid)
        fprintf(stderr, "# at %s\n", current);
}

/* ---- the crash ---- */

static void cut_power(struct kill_world *world, enum disk_loss of_log, enum disk_loss of_store)
{
    kill_cut_power(world, of_log, of_store, draw_number(&seed));
}

/* Starts, and is killed on the way or right after it. */
static void start_and_kill(struct kill_world *world)
{
    struct keeper_fixture *fx = &world->fx;
    struct steps_report report;

    steps_arm(1 + draw_number(&seed) % start_steps, STEP_AFTER);
    if (fx_try_run(fx) && kill_settle(world))
        fx_kill(fx);
    steps_disarm(&report);
    disk_feed(world->disk);
}

static void crash(struct kill_world *world, enum crash crash)
{
    disk_feed(world->disk);
    switch (crash) {
    case CRASH_LOSES_ALL:
        cut_power(world, DISK_LOSES, DISK_LOSES);
        break;
    case CRASH_LOSES_LOG:
        cut_power(world, DISK_LOSES, DISK_KEEPS);
        break;
    case CRASH_LOSES_STORE:
        cut_power(world, DISK_KEEPS, DISK_LOSES);
        break;
    case CRASH_SCRAPES:
        cut_power(world, DISK_SCRAPES, DISK_SCRAPES);
        break;
    case CRASH_TWICE:
        start_and_kill(world);
        cut_power(world, DISK_LOSES, DISK_KEEPS);
        break;
    case CRASH_PROCESS:
    case CRASHES:
        break;
    }
}

static void kill_in(struct kill_world *world, const struct kill_work *work,
                    const struct point *point)
{
    static const char *const phases[] = {"before", "in", "after"};
    struct keeper_fixture *fx = &world->fx;
    struct steps_report report;

    steps_arm(point->step, point->phase);
    (void)work->run(world, false);
    (void)kill_settle(world);
    steps_disarm(&report);
    snprintf(current, sizeof(current), "%s, %s step %llu (%s), crash %d, round %u", work->name,
             phases[point->phase], (unsigned long long)point->step, report.killed_at, point->crash,
             world->round);
    if (getenv("ESCROW_TEST_VERBOSE"))
        say_current();
    if (fx->pid) {
        missed++; /* the clock made it another run than the one that was counted */
        fx_kill(fx);
    }
    killed[point->crash]++;
    crash(world, point->crash);
    fx_run(fx);
    kill_wait_well(world);
    kill_judge(world);
    if (!work->run(world, true) || !kill_settle(world))
        fx_fail("what was cut short", reason_code(fx->reply.reason));
    kill_judge(world);
}

/* ---- the points ---- */

static void add_points(struct points *points, const struct steps_report *report)
{
    for (uint64_t step = 1; step <= report->count; step++) {
        for (int phase = 0; phase < STEP_PHASES; phase++) {
            const enum crash other = (enum crash)(1 + points->count % (CRASHES - 1));

            if (phase == STEP_HALF && !report->is_write[step - 1])
                continue;
            points->items = reallocarray(points->items, points->count + 2, sizeof(struct point));
            assert_non_null(points->items);
            points->items[points->count++] =
                (struct point){step, (enum step_phase)phase, CRASH_PROCESS};
            points->items[points->count++] = (struct point){step, (enum step_phase)phase, other};
        }
    }
}

static void shuffle(struct points *points)
{
    for (size_t i = points->count; i > 1; i--) {
        const size_t j = draw_number(&seed) % i;
        const struct point point = points->items[i - 1];

        points->items[i - 1] = points->items[j];
        points->items[j] = point;
    }
}

/* ---- what the history holds ---- */

/* What the fold makes a difference for; key NULL: there is but one kind of such a record. */
static const struct kind {
    enum audit_event event;
    bool is_only_told; /* the fold does nothing with it */
    const char *in, *key, *word;
} kinds[] = {
    {AUDIT_START, .is_only_told = true},
    {AUDIT_SHUTDOWN, .is_only_told = true},
    {AUDIT_PUBLISH},
    {AUDIT_DEPOSIT},
    {AUDIT_RELEASE, .key = "decision", .word = "deny"},
    {AUDIT_RELEASE, .key = "decision", .word = "needs_approval"},
    {AUDIT_RELEASE, .key = "decision", .word = "allow"},
    {AUDIT_RELEASE, .key = "reason", .word = "promotion"},
    {AUDIT_RELEASE, .key = "reason", .word = "promotion_repeat"},
    {AUDIT_RELEASE, .key = "reason", .word = "approved"},
    {AUDIT_RELEASE, .key = "reason", .word = "ordered"},
    {AUDIT_UNFINISHED},
    {AUDIT_RECEIPT, .in = "detail", .key = "outcome", .word = "opened"},
    {AUDIT_RECEIPT, .in = "detail", .key = "outcome", .word = "failed"},
    {AUDIT_ORDER},
    {AUDIT_EPOCH, .in = "detail", .key = "origin", .word = "baseline"},
    {AUDIT_EPOCH, .in = "detail", .key = "origin", .word = "observed"},
    {AUDIT_REFUSAL, .is_only_told = true},
    {AUDIT_UNPROVED, .is_only_told = true},
    {AUDIT_REPEATED, .is_only_told = true},
    {AUDIT_ALERT, .is_only_told = true},
    {AUDIT_LOG_TORN, .is_only_told = true},
    {AUDIT_LOG_BACK, .is_only_told = true},
    {AUDIT_APPROVE},
    {AUDIT_EXPIRED, .key = "reason", .word = "request_expired"},
    {AUDIT_EXPIRED, .key = "reason", .word = "master_key_opens"},
    {AUDIT_SETTLE, .key = "reason", .word = "grant_proved"},
    {AUDIT_SETTLE, .key = "reason", .word = "grant_unproven"},
    {AUDIT_SETTLE, .key = "reason", .word = "receipt_missing"},
    {AUDIT_REBASELINE, .key = "decision", .word = "deny"},
    {AUDIT_REBASELINE, .key = "decision", .word = "allow"},
};

static bool is_of_kind(const json_t *record, const struct kind *kind)
{
    const json_t *in = kind->in ? json_object_get(record, kind->in) : record;
    const char *event = json_string_value(json_object_get(record, "event"));
    const char *word = kind->key ? json_string_value(json_object_get(in, kind->key)) : NULL;

    return event && strcmp(event, audit_event_word(kind->event)) == 0 &&
           (!kind->key || (word && strcmp(word, kind->word) == 0));
}

static bool is_made(const struct oracle *oracle, const struct kind *kind)
{
    const json_t *record;

    for (size_t i = 0; (record = oracle_record(oracle, i)) != NULL; i++) {
        if (is_of_kind(record, kind))
            return true;
    }
    return false;
}

/* No event is forgotten, and what the fold does with each is in the history. */
static void check_kinds(const struct kill_world *world)
{
    for (int event = 1; event < AUDIT_EVENT_COUNT; event++) {
        size_t i = 0;

        while (i < ARRAY_LEN(kinds) && (int)kinds[i].event != event)
            i++;
        if (i == ARRAY_LEN(kinds))
            fx_fail(audit_event_word((enum audit_event)event), "is not in the table of kinds");
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!kinds[i].is_only_told && !is_made(world->oracle, &kinds[i]))
            fx_fail(audit_event_word(kinds[i].event),
                    kinds[i].word ? kinds[i].word : "is not in the history");
    }
}

/* Goes through the history without a kill, and counts. */
static size_t count_points(struct kill_world *world, struct points *points)
{
    struct steps_report *report = malloc(sizeof(*report));
    size_t work_count, sum = 0;
    const struct kill_work *works = kill_works(&work_count);

    assert_non_null(report);
    for (size_t i = 0; i < work_count; i++) {
        snprintf(current, sizeof(current), "%s, uncut", works[i].name);
        steps_arm(0, STEP_BEFORE);
        if (!works[i].run(world, false) || !kill_settle(world))
            fx_fail(works[i].name, reason_code(world->fx.reply.reason));
        steps_disarm(report);
        if (strcmp(works[i].name, "service restart") == 0)
            start_steps = report->count;
        disk_feed(world->disk);
        kill_judge(world);
        add_points(&points[i], report);
        shuffle(&points[i]);
        sum += points[i].count;
    }
    free(report);
    check_kinds(world);
    return sum;
}

/* Whether the rare works have to be gone through in this round. */
static bool is_rare_due(const struct points *points, size_t round)
{
    size_t work_count;
    const struct kill_work *works = kill_works(&work_count);

    for (size_t i = 0; i < work_count; i++) {
        if (works[i].is_rare && round < points[i].count)
            return true;
    }
    return false;
}

/* Once more through the history, each work cut short at the next of its points, if it has one. */
static size_t kill_round(struct kill_world *world, const struct points *points, size_t round)
{
    const bool with_rare = is_rare_due(points, round);
    size_t work_count, runs = 0;
    const struct kill_work *works = kill_works(&work_count);

    world->round++;
    for (size_t i = 0; i < work_count; i++) {
        if (works[i].is_rare && !with_rare)
            continue;
        if (round < points[i].count) {
            kill_in(world, &works[i], &points[i].items[round]);
            runs++;
        } else if (!works[i].run(world, false)) {
            fx_fail(works[i].name, reason_code(world->fx.reply.reason));
        }
    }
    return runs;
}

static void world_end(struct kill_world *world)
{
    snprintf(current, sizeof(current), "as often as may be");
    kill_exhaust(world);
    kill_judge(world);
    kill_world_stop(world);
    current[0] = '\0';
}

/* Rounds from *ret_first, in steps. */
static void read_part(size_t *ret_first, size_t *ret_step)
{
    const char *part = getenv("ESCROW_TEST_PART"), *slash;

    *ret_first = 0;
    *ret_step = 1;
    if (!part)
        return;
    slash = strchr(part, '/');
    if (slash) {
        *ret_first = strtoul(part, NULL, 10) - 1;
        *ret_step = strtoul(slash + 1, NULL, 10);
    }
    if (!slash || *ret_first >= *ret_step)
        fx_fail(part, "is no part");
}

static void test_kill_points(void **state)
{
    static struct kill_world world;
    const char *all = getenv("ESCROW_TEST_ALL"), *wanted = getenv("ESCROW_TEST_SEED");
    const bool is_all = all && strcmp(all, "1") == 0;
    const uint64_t first_seed = wanted ? strtoull(wanted, NULL, 10) : SEED;
    size_t work_count, most = 0, sum, runs = 0, first, step, rounds = 0;
    CLEANUP(cleanup_free) struct points *points = NULL;

    (void)state;
    seed = first_seed;
    kill_works(&work_count);
    points = calloc(work_count, sizeof(*points));
    assert_non_null(points);
    kill_world_start(&world, NULL);
    sum = count_points(&world, points);
    for (size_t i = 0; i < work_count; i++)
        most = points[i].count > most ? points[i].count : most;
    read_part(&first, &step);
    for (size_t round = first; round < (is_all ? most : SAMPLE_ROUNDS); round += step) {
        if (rounds++ % ROUNDS_OF_WORLD == 0 && rounds > 1) {
            world_end(&world);
            kill_world_start(&world, NULL);
        }
        runs += kill_round(&world, points, round);
    }
    world_end(&world);
    for (size_t i = 0; i < work_count; i++)
        free(points[i].items);
    print_message("# sampled %zu of %zu (seed %llu)\n", runs, sum, (unsigned long long)first_seed);
    print_message("# killed %u, all lost %u, log lost %u, store lost %u, scraped %u, twice %u; "
                  "%u ended before their step\n",
                  killed[CRASH_PROCESS], killed[CRASH_LOSES_ALL], killed[CRASH_LOSES_LOG],
                  killed[CRASH_LOSES_STORE], killed[CRASH_SCRAPES], killed[CRASH_TWICE], missed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kill_points)};

    log_init("keeper", LOG_LEVEL_ERROR);
    steps_init();
    wall_clock_share();
    main_pid = getpid();
    atexit(say_current);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
