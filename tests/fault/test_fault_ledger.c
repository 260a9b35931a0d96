/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/audit.h"
#include "escrowd/ledger.h"
#include "escrowd/store_secrets.h"
#include "tests/fault/fault_keeper.h"

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
 * Log and store with failures between them: whatever fails while a log is read or written, the same
 * log is folded to the same state once nothing fails.
 */

#define SEED 1
#define SAMPLE 120 /* and a quarter of the store's calls */

struct log_of_keeper {
    struct fault_world world; /* its keeper is down */
    char store[400];
    uint64_t roster; /* version in force */
    uint32_t next;   /* version of the secret */
};

/* A log with several rosters and versions, as a keeper wrote it. */
static int setup(void **state)
{
    static struct log_of_keeper log;

    fault_world_start(&log.world);
    for (int i = 0; i < 2; i++) {
        assert_true(fault_publish(&log.world));
        assert_true(fault_deposit(&log.world));
    }
    assert_true(fault_receipt(&log.world));
    assert_true(fault_order(&log.world));
    fx_shut_down(&log.world.fx);
    snprintf(log.store, sizeof(log.store), "%s/replayed.sqlite", log.world.fx.config.state_folder);
    log.roster = log.world.rosters;
    log.next = 4;
    inject_here();
    *state = &log;
    return 0;
}

static int teardown(void **state)
{
    struct log_of_keeper *log = *state;

    oracle_free(log->world.oracle);
    fx_stop(&log->world.fx);
    return 0;
}

static void remove_store(const struct log_of_keeper *log)
{
    static const char *const suffixes[] = {"", "-wal", "-journal"};

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        char path[420];

        snprintf(path, sizeof(path), "%s%s", log->store, suffixes[i]);
        unlink(path);
    }
}

static void assert_whole(const struct log_of_keeper *log, struct store *store,
                         const struct ledger *ledger)
{
    static const struct act_subject subject = {FX_GROUP, FX_DATABASE};
    uint32_t next = 0;

    assert_non_null(ledger_roster(ledger));
    assert_int_equal(roster_version(ledger_roster(ledger)), log->roster);
    assert_int_equal(store_next_version(store, &subject, &next), ESCROW_OK);
    assert_int_equal(next, log->next);
}

/* The same ledger that failed goes on, as the keeper's does. */
static struct inject_report replay_under(const struct log_of_keeper *log,
                                         const struct inject_order *order)
{
    CLEANUP(store_close_p) struct store *store = NULL;
    CLEANUP(ledger_close_p) struct ledger *ledger = NULL;
    const char *folder = log->world.fx.config.audit_folder;
    struct audit_reading reading;
    struct inject_report report;
    enum escrow_err err;

    remove_store(log);
    assert_int_equal(store_open(log->store, &store), ESCROW_OK);
    assert_int_equal(ledger_open(store, log->world.fx.authority, &ledger), ESCROW_OK);
    inject_arm(order);
    err = ledger_replay(ledger, folder, &reading);
    inject_disarm(&report);
    assert_int_not_equal(err, ESCROW_ERR_MALFORMED); /* nobody tampered with anything */
    if (err)
        assert_int_equal(ledger_replay(ledger, folder, &reading), ESCROW_OK);
    assert_whole(log, store, ledger);
    return report;
}

/* The order by which the call fails, with a span and in a way that chance chooses. */
static struct inject_order order_at(enum inject_class class, uint64_t at, uint64_t *seed)
{
    return (struct inject_order){.class = class,
                                 .at = at,
                                 .span = inject_draw(seed) % 2 ? 1 : 20,
                                 .variant = (unsigned)(inject_draw(seed) % 3)};
}

/* The first call of each place that calls come from. */
static void replay_places(const struct log_of_keeper *log, uint64_t *seed)
{
    uint32_t *firsts[INJECT_CLASSES];
    size_t counts[INJECT_CLASSES], runs = 0;

    for (int class = 0; class < INJECT_CLASSES; class ++)
        firsts[class] = inject_firsts((enum inject_class) class, &counts[class]);
    for (int class = 0; class < INJECT_CLASSES; class ++) {
        for (size_t i = 0; i < counts[class]; i++, runs++) {
            const struct inject_order order =
                order_at((enum inject_class) class, firsts[class][i], seed);

            replay_under(log, &order);
        }
        free(firsts[class]);
    }
    print_message("# sampled %zu of %zu\n", runs, runs);
}

static void replay_sample(const struct log_of_keeper *log, const struct inject_report *counted,
                          uint64_t *seed)
{
    uint64_t sum = 0, runs = 0;

    for (int class = 0; class < INJECT_CLASSES; class ++)
        sum += counted->calls[class];
    for (int class = 0; class < INJECT_CLASSES; class ++) {
        for (uint64_t at = 1; at <= counted->calls[class]; at++) {
            const struct inject_order order = order_at((enum inject_class) class, at, seed);

            if (inject_draw(seed) % sum >= (class == INJECT_STORE ? sum / 4 : SAMPLE))
                continue;
            replay_under(log, &order);
            runs++;
        }
    }
    print_message("# sampled %llu of %llu (seed %d)\n", (unsigned long long)runs,
                  (unsigned long long)sum, SEED);
}

static void test_replay(void **state)
{
    const struct log_of_keeper *log = *state;
    const struct inject_report counted = replay_under(log, NULL);
    const char *all = getenv("ESCROW_TEST_ALL");
    uint64_t seed = SEED;

    if (all && strcmp(all, "1") == 0)
        replay_places(log, &seed);
    else
        replay_sample(log, &counted, &seed);
}

static enum escrow_err batch_result;

static enum escrow_err on_batch(const struct audit_line *lines, size_t count, void *argument)
{
    (void)lines;
    (void)count;
    (void)argument;
    return batch_result;
}

static void append_one(struct audit *audit, enum escrow_err expected)
{
    const struct audit_record record = {.event = AUDIT_ALERT};

    assert_int_equal(audit_append(audit, &record, NULL, NULL), ESCROW_OK);
    assert_int_equal(audit_commit(audit), expected);
}

/* A full disk: log and store fail at once, and the log comes back first. */
static void test_log_comes_back_before_the_store(void **state)
{
    const struct log_of_keeper *log = *state;
    const struct inject_order full = {.class = INJECT_FILE, .at = 1, .span = 1000};
    struct audit_config config = {log->world.fx.folder, 1 << 20, on_batch, NULL};
    CLEANUP(audit_close_p) struct audit *audit = NULL;
    struct audit_reading reading = {0};
    struct inject_report report;
    uint64_t sequence;

    batch_result = ESCROW_OK;
    assert_int_equal(audit_open(&config, &reading, &audit), ESCROW_OK);
    append_one(audit, ESCROW_OK);
    inject_arm(&full);
    append_one(audit, ESCROW_ERR_STORE);
    inject_disarm(&report);
    assert_non_null(audit_trouble(audit));

    batch_result = ESCROW_ERR_STORE;
    assert_int_equal(audit_recover(audit), ESCROW_ERR_STORE);
    assert_null(audit_trouble(audit));
    /* It is the store's turn: no further record of the log's own trouble. */
    sequence = audit_end(audit)->sequence;
    assert_int_equal(audit_recover(audit), ESCROW_OK);
    assert_int_equal(audit_end(audit)->sequence, sequence);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay),
        cmocka_unit_test(test_log_comes_back_before_the_store),
    };

    inject_init();
    return cmocka_run_group_tests(tests, setup, teardown);
}
