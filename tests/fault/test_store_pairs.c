/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/file.h"
#include "libescrow/log.h"
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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * The store's database of one time beside its WAL of another and the log of a third, as somebody
 * leaves them who puts back a part of a backup: every pair, each with every log. SQLite applies any
 * WAL to any database. The keeper either serves, with the ledger that the log says in every table,
 * or says that the log was tampered with and leaves it alone. It serves wherever the log has all
 * that ever was; and where the files are of one time, and the log of an earlier one, it never does.
 */

enum moment {
    STOPPED,       /* cleanly: no WAL */
    KILLED,        /* a WAL on the database of before */
    KILLED_LATER,  /* another one, on another database: the start in between took the first over */
    GROWN,         /* killed after more work than a WAL may hold */
    STOPPED_AGAIN, /* long after */
    REBUILT,       /* the store was deleted, built from the log, and the keeper killed */
    LAST,          /* killed */
    MOMENTS,
};
static const char *const moments[] = {"stopped",       "killed",  "killed later", "grown",
                                      "stopped again", "rebuilt", "the last"};

#define PAGE 4096                    /* of the database */
#define MUCH 31                      /* pieces of work, of which each writes more than 32 pages */
#define WAL_MAX ((size_t)900 * PAGE) /* after that; it was emptied at 1000 */

struct content {
    char *bytes; /* NULL: there is no such file */
    size_t len;
};

enum file { DATABASE, WAL, SHM, LOG, FILES };

static struct kill_world world;
static struct content then[MOMENTS][FILES];
static uint64_t records_then[MOMENTS];

/* ---- files ---- */

static void path_of(enum file file, char ret_path[static 400])
{
    static const char *const names[] = {"store.sqlite", "store.sqlite-wal", "store.sqlite-shm",
                                        "00000000000000000001.jsonl"};

    snprintf(ret_path, 400, "%s/%s",
             file == LOG ? world.fx.config.audit_folder : world.fx.config.state_folder,
             names[file]);
}

static struct content read_content(enum file file)
{
    struct content content = {NULL, 0};
    struct stat status;
    char path[400];
    FILE *stream;

    path_of(file, path);
    if (stat(path, &status) != 0)
        return content;
    content.len = (size_t)status.st_size;
    content.bytes = malloc(content.len + 1);
    stream = fopen(path, "re");
    assert_non_null(content.bytes);
    assert_non_null(stream);
    assert_int_equal(fread(content.bytes, 1, content.len, stream), content.len);
    fclose(stream);
    return content;
}

static void put(enum file file, const struct content *content)
{
    char path[400];

    path_of(file, path);
    unlink(path);
    if (content->bytes)
        assert_int_equal(file_create(path, 0600, content->bytes, content->len), ESCROW_OK);
}

/* ---- the moments ---- */

static void run(const char *name)
{
    size_t count;
    const struct kill_work *works = kill_works(&count);

    for (size_t i = 0; i < count; i++) {
        if (strcmp(works[i].name, name) == 0 && !works[i].run(&world, false))
            fx_fail(name, reason_code(world.fx.reply.reason));
    }
}

static void work(void)
{
    run("deposit");
    run("promotion");
    run("receipt of success");
    run("order");
    run("publish");
}

static void keep(enum moment moment)
{
    for (int file = 0; file < FILES; file++)
        then[moment][file] = read_content((enum file)file);
    assert_null(oracle_check(world.oracle));
    while (oracle_record(world.oracle, records_then[moment]))
        records_then[moment]++;
}

static void kill_at(enum moment moment)
{
    work();
    kill_judge(&world);
    fx_kill(&world.fx);
    keep(moment);
    assert_non_null(then[moment][WAL].bytes);
    assert_int_not_equal(then[moment][WAL].len, 0);
}

static void stop_at(enum moment moment)
{
    work();
    fx_shut_down(&world.fx);
    keep(moment);
    assert_null(then[moment][WAL].bytes);
}

static int live(void **state)
{
    static const struct content none;

    (void)state;
    kill_world_start(&world, NULL);
    stop_at(STOPPED);
    fx_run(&world.fx);
    kill_at(KILLED);
    fx_run(&world.fx);
    kill_at(KILLED_LATER);
    fx_run(&world.fx);
    for (int i = 0; i < MUCH; i++)
        work();
    kill_at(GROWN);
    assert_in_range(then[GROWN][WAL].len, 1, WAL_MAX);
    fx_run(&world.fx);
    stop_at(STOPPED_AGAIN);
    put(DATABASE, &none);
    fx_run(&world.fx);
    kill_wait_well(&world);
    kill_at(REBUILT);
    fx_run(&world.fx);
    kill_at(LAST);
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (int moment = 0; moment < MOMENTS; moment++) {
        for (int file = 0; file < FILES; file++)
            free(then[moment][file].bytes);
    }
    kill_world_stop(&world);
    return 0;
}

/* ---- what the keeper makes of it ---- */

enum found { SERVES, TAMPERED };

/* Starts it; what it serves is judged. */
static enum found look(const char *what)
{
    struct keeper_fixture *fx = &world.fx;
    enum found found = SERVES;

    if (!fx_try_run(fx))
        fx_fail(what, "the keeper does not start");
    if (fx_lacks(fx, REASON_LOG_TAMPERED)) {
        found = TAMPERED;
        fx_shut_down(fx); /* which leaves the files as they are */
    } else {
        kill_wait_well(&world);
        kill_forget(&world);
        kill_judge(&world);
        fx_kill(fx);
    }
    return found;
}

static enum found try(enum moment database, enum moment wal, enum moment log)
{
    char what[120];

    snprintf(what, sizeof(what), "database %s, WAL %s, log %s", moments[database], moments[wal],
             moments[log]);
    if (getenv("ESCROW_TEST_VERBOSE"))
        fprintf(stderr, "# %s\n", what);
    put(DATABASE, &then[database][DATABASE]);
    put(WAL, &then[wal][WAL]);
    put(LOG, &then[log][LOG]);
    return look(what);
}

/* Whether all of them is from one moment, or as good as. */
static void test_whole_log(void **state)
{
    (void)state;
    for (int database = 0; database < MOMENTS; database++) {
        for (int wal = 0; wal < MOMENTS; wal++)
            assert_int_equal(try((enum moment)database, (enum moment)wal, LAST), SERVES);
    }
}

static void test_log_of_before(void **state)
{
    (void)state;
    for (int moment = 1; moment < MOMENTS; moment++) {
        for (int log = 0; log < moment; log++)
            assert_int_equal(try((enum moment)moment, (enum moment)moment, (enum moment)log),
                             TAMPERED);
    }
}

/* A WAL tells of more than the log has. */
static void test_log_of_before_the_wal(void **state)
{
    (void)state;
    for (int wal = KILLED; wal < MOMENTS; wal++) {
        if (then[wal][WAL].bytes)
            assert_int_equal(try(STOPPED, (enum moment)wal, STOPPED), TAMPERED);
    }
}

/* No keeper uses one: its locks are its own. */
static void test_stale_shm(void **state)
{
    static char bytes[32768];
    const struct content shm = {bytes, sizeof(bytes)};

    (void)state;
    memset(bytes, 0x5a, sizeof(bytes));
    put(SHM, &shm);
    assert_int_equal(try(LAST, LAST, LAST), SERVES);
    put(SHM, &(struct content){NULL, 0});
}

/* The database alone is deleted: SQLite takes no WAL for an empty one. */
static void test_wal_alone(void **state)
{
    static const struct content none, empty = {(char *)(uintptr_t) "", 0};

    (void)state;
    put(WAL, &then[LAST][WAL]);
    put(LOG, &then[LAST][LOG]);
    put(DATABASE, &none);
    assert_int_equal(look("no database"), SERVES);
    put(WAL, &then[LAST][WAL]);
    put(LOG, &then[LAST][LOG]);
    put(DATABASE, &empty);
    assert_int_equal(look("an empty database"), SERVES);
}

/* Killed in the middle of a checkpoint, and then beside a WAL that does not have the other half:
 * the database is worth nothing either. */
static void test_half_a_checkpoint(void **state)
{
    const struct content *before = &then[GROWN][DATABASE], *after = &then[STOPPED_AGAIN][DATABASE];
    const size_t from = before->len / 2 / PAGE * PAGE;
    struct content half = {malloc(after->len), after->len};

    (void)state;
    assert_non_null(half.bytes);
    assert_true(before->len <= after->len);
    memcpy(half.bytes, after->bytes, after->len);
    memcpy(half.bytes + from, before->bytes + from, before->len - from);
    put(DATABASE, &half);
    put(WAL, &then[KILLED][WAL]);
    put(LOG, &then[LAST][LOG]);
    free(half.bytes);
    assert_int_equal(look("half a checkpoint"), SERVES);
}

/* A mixture that was once refused for its log serves when the log is put back. */
static void test_log_put_back(void **state)
{
    (void)state;
    assert_int_equal(try(STOPPED, LAST, STOPPED_AGAIN), TAMPERED);
    put(LOG, &then[LAST][LOG]);
    assert_int_equal(look("the log put back"), SERVES);
}

/* ---- what is on disk before what ---- */

/* Whether all that was written to a file is on disk. */
struct on_disk {
    bool database, wal;
    unsigned written; /* to the database */
};

static bool is_of(const struct note *note, enum file file)
{
    char path[400];

    path_of(file, path);
    return strcmp(note->path, path) == 0;
}

static void follow(struct on_disk *on_disk, const struct note *note)
{
    const bool is_wal = is_of(note, WAL);

    if (!is_wal && !is_of(note, DATABASE))
        return;
    switch (note->kind) {
    case NOTE_WRITE:
        assert_true(is_wal || on_disk->wal);
        on_disk->written += !is_wal;
        *(is_wal ? &on_disk->wal : &on_disk->database) = false;
        break;
    case NOTE_CUT:
    case NOTE_REMOVE:
        assert_true(!is_wal || on_disk->database);
        break;
    case NOTE_SYNC:
        *(is_wal ? &on_disk->wal : &on_disk->database) = true;
        break;
    case NOTE_CREATE:
        break;
    }
}

/* No page goes into the database before the WAL that has it is on disk, and no WAL goes before the
 * database is: in the start after a kill, and at the end. */
static void test_order_of_checkpoints(void **state)
{
    struct on_disk on_disk = {.database = true, .wal = false};
    struct note note;
    off_t at = 0;

    (void)state;
    put(DATABASE, &then[LAST][DATABASE]);
    put(WAL, &then[LAST][WAL]);
    put(LOG, &then[LAST][LOG]);
    steps_forget();
    fx_run(&world.fx);
    kill_wait_well(&world);
    fx_shut_down(&world.fx);
    while (pread(steps_notes(), &note, sizeof(note), at) == sizeof(note)) {
        follow(&on_disk, &note);
        at += (off_t)sizeof(note) + (off_t)note.len;
    }
    assert_true(on_disk.written > 0);
    assert_true(on_disk.database);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_log),
        cmocka_unit_test(test_log_of_before),
        cmocka_unit_test(test_log_of_before_the_wal),
        cmocka_unit_test(test_stale_shm),
        cmocka_unit_test(test_wal_alone),
        cmocka_unit_test(test_half_a_checkpoint),
        cmocka_unit_test(test_log_put_back),
        cmocka_unit_test(test_order_of_checkpoints),
    };

    log_init("keeper", LOG_LEVEL_ERROR);
    steps_init();
    wall_clock_share();
    return cmocka_run_group_tests(tests, live, end);
}
