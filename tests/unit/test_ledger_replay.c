/* SPDX-License-Identifier: Apache-2.0 */
/* The store is what the log says: built anew, continued, or refused. */
#include "tests/unit/ledger_scene.h"

#include <sqlite3.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LINES_MAX 32
#define SEGMENT "00000000000000000001.jsonl"

static void remove_store(struct ledger_scene *scene)
{
    char path[PATH_BYTES];

    scene_close(scene);
    scene_path(scene, "store.sqlite", path);
    assert_int_equal(unlink(path), 0);
}

/* One of everything that the fold knows. */
static void fill_log(struct ledger_scene *scene)
{
    uint64_t grant;

    scene_record(scene, &(struct audit_record){.event = AUDIT_START});
    scene_publish(scene);
    scene_baseline(scene, 1, POLICY_ORIGIN_BASELINE, "sql1");
    scene_deposit(scene, 1);
    scene_release(
        scene, &(struct wanted_release){
                   .decision = "deny", .purpose = PURPOSE_PROMOTE, .epoch = 1, .replica = "sql1"});
    scene_release(scene, &(struct wanted_release){.decision = "needs_approval",
                                                  .purpose = PURPOSE_PROMOTE,
                                                  .epoch = 1,
                                                  .replica = "sql1"});
    grant = scene_promote(scene, 2, true, "sql2");
    scene_record(scene, &(struct audit_record){.event = AUDIT_UNFINISHED, .grant = grant});
    grant = scene_promote(scene, 2, false, "sql2");
    scene_settle(scene, grant, 0, REASON_RECEIPT_MISSING);
    scene_settle(scene, grant, scene_receipt(scene, grant, OUTCOME_OPENED), REASON_GRANT_DISPROVED);
    scene_settle(scene, grant, scene_receipt(scene, grant, OUTCOME_OPENED), REASON_GRANT_PROVED);
    grant = scene_promote(scene, 2, false, "sql2");
    scene_old_receipt(scene, grant, OUTCOME_OPENED);
    scene_deposit(scene, 2);
    scene_order(scene, "order-1", NOW_MS + 1);
    scene_release(scene, &(struct wanted_release){.decision = "allow",
                                                  .purpose = PURPOSE_DRILL,
                                                  .epoch = 2,
                                                  .replica = "sql2",
                                                  .order = "order-1"});
    scene_baseline(scene, 3, POLICY_ORIGIN_OBSERVED, "sql1");
}

static int append_row(void *argument, int columns, char **values, char **names)
{
    FILE *file = argument;

    for (int i = 0; i < columns; i++)
        fprintf(file, "%s=%s|", names[i], values[i] ? values[i] : "NULL");
    fputc('\n', file);
    return 0;
}

/* All rows of all tables but the private areas, which the log does not hold; owned by the caller.
 */
static char *dump(struct ledger_scene *scene)
{
    static const char *const queries[] = {
        "SELECT sequence, hex(hash), time_ms FROM folded",
        "SELECT * FROM roster",
        "SELECT kind, group_name, hex(counter), hex(subject), epoch, document FROM approvals"
        " ORDER BY 1, 2, 3, 4",
        "SELECT * FROM secrets ORDER BY id",
        "SELECT hex(object), secret, version, state, hex(public), hex(payload), sequence, time_ms"
        " FROM versions ORDER BY version",
        "SELECT hex(object), hex(recipient), hex(inner_key), hex(duplicate), hex(seed) FROM blobs"
        " ORDER BY 1, 2",
        "SELECT * FROM groups ORDER BY 1",
        "SELECT * FROM hints ORDER BY 1, 2",
        "SELECT * FROM grants ORDER BY 1",
        "SELECT sequence, replica, actor, epoch, rules, reason, hex(recipient), hex(objects), act,"
        " time_ms, expires_ms, is_open FROM requests ORDER BY 1",
        "SELECT request, identity, hex(key) FROM request_approvals ORDER BY 1, 2",
        "SELECT * FROM orders ORDER BY 1",
    };
    char path[PATH_BYTES];
    char *text;
    size_t len;
    FILE *file = open_memstream(&text, &len);
    sqlite3 *database;

    scene_close(scene);
    scene_path(scene, "store.sqlite", path);
    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    for (size_t i = 0; i < ARRAY_LEN(queries); i++)
        assert_int_equal(sqlite3_exec(database, queries[i], append_row, file, NULL), SQLITE_OK);
    sqlite3_close(database);
    fclose(file);
    return text;
}

static void test_rebuilt_from_the_log(void **state)
{
    struct ledger_scene *scene = *state;
    CLEANUP(cleanup_free) char *incremental = NULL, *rebuilt = NULL;

    fill_log(scene);
    incremental = dump(scene);
    assert_non_null(strstr(incremental, "order-1"));
    remove_store(scene);
    scene_open(scene);
    rebuilt = dump(scene);
    assert_string_equal(rebuilt, incremental);
}

/* The log's lines, so that a prefix can be put in its place. */
struct lines {
    size_t count;
    char *text[LINES_MAX];
};

static void read_lines(const struct ledger_scene *scene, struct lines *lines)
{
    char path[PATH_BYTES];
    size_t cap = 0;
    FILE *file;

    scene_path(scene, SEGMENT, path);
    file = fopen(path, "re");
    assert_non_null(file);
    memset(lines, 0, sizeof(*lines));
    while (getline(&lines->text[lines->count], &cap, file) > 0) {
        lines->count++;
        cap = 0;
        assert_true(lines->count < LINES_MAX);
    }
    fclose(file);
}

static void free_lines(struct lines *lines)
{
    for (size_t i = 0; i < LINES_MAX; i++)
        free(lines->text[i]);
}

static void write_lines(const struct ledger_scene *scene, const struct lines *lines, size_t count)
{
    char path[PATH_BYTES];
    FILE *file;

    scene_path(scene, SEGMENT, path);
    file = fopen(path, "we");
    assert_non_null(file);
    for (size_t i = 0; i < count; i++)
        assert_true(fputs(lines->text[i], file) >= 0);
    fclose(file);
}

/* A keeper killed after any record continues where it was. */
static void test_every_prefix_continues(void **state)
{
    struct ledger_scene *scene = *state;
    CLEANUP(cleanup_free) char *incremental = NULL;
    CLEANUP(free_lines) struct lines lines;
    struct audit_reading reading;

    fill_log(scene);
    incremental = dump(scene);
    read_lines(scene, &lines);
    for (size_t i = 0; i <= lines.count; i++) {
        CLEANUP(cleanup_free) char *continued = NULL;

        remove_store(scene);
        write_lines(scene, &lines, i);
        assert_int_equal(scene_replay(scene, &reading), ESCROW_OK);
        assert_int_equal(reading.end.sequence, i);
        write_lines(scene, &lines, lines.count);
        assert_int_equal(scene_replay(scene, &reading), ESCROW_OK);
        continued = dump(scene);
        assert_string_equal(continued, incremental);
    }
}

static void test_store_ahead_of_the_log_is_tampering(void **state)
{
    struct ledger_scene *scene = *state;
    CLEANUP(free_lines) struct lines lines;
    struct audit_reading reading;

    fill_log(scene);
    scene_close(scene);
    read_lines(scene, &lines);
    write_lines(scene, &lines, lines.count - 1);
    assert_int_equal(scene_replay(scene, &reading), ESCROW_ERR_MALFORMED);
    write_lines(scene, &lines, 0);
    assert_int_equal(scene_replay(scene, &reading), ESCROW_ERR_MALFORMED);
    write_lines(scene, &lines, lines.count);
    assert_int_equal(scene_replay(scene, &reading), ESCROW_OK);
}

/* A whole log that verifies by itself, but is not the one that the store was built from. */
static void test_another_log_is_tampering(void **state)
{
    struct ledger_scene *scene = *state;
    CLEANUP(free_lines) struct lines lines;
    struct audit_reading reading;
    char path[PATH_BYTES], aside[PATH_BYTES];

    scene_record(scene, &(struct audit_record){.event = AUDIT_START, .actor = "one"});
    scene_close(scene);
    scene_path(scene, SEGMENT, path);
    assert_int_equal(unlink(path), 0);
    scene_path(scene, "store.sqlite", path);
    scene_path(scene, "aside", aside);
    assert_int_equal(rename(path, aside), 0);
    scene_open(scene);
    scene_record(scene, &(struct audit_record){.event = AUDIT_START, .actor = "two"});
    scene_close(scene);
    assert_int_equal(rename(aside, path), 0);
    read_lines(scene, &lines);
    assert_int_equal(lines.count, 1);
    assert_int_equal(scene_replay(scene, &reading), ESCROW_ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(test_rebuilt_from_the_log),
        LEDGER_TEST(test_every_prefix_continues),
        LEDGER_TEST(test_store_ahead_of_the_log_is_tampering),
        LEDGER_TEST(test_another_log_is_tampering),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
