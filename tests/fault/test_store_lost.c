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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * A keeper that finds another store or another log than it left: less of a store is rebuilt from
 * the log; less of a log than the store knows, or another, is tampering: the keeper runs, says so,
 * serves nothing and writes to neither. What is put back is used again.
 */

#define SEGMENT "00000000000000000001.jsonl"
#define OTHERS_RECORDS 60 /* more than ours */

static struct kill_world world;
static const char *const store_names[] = {"store.sqlite", "store.sqlite-wal"};

/* ---- files ---- */

static void state_path(const struct kill_world *of, const char *name, char ret_path[static 400])
{
    snprintf(ret_path, 400, "%s/%s", of->fx.config.state_folder, name);
}

static void log_path(char ret_path[static 400])
{
    snprintf(ret_path, 400, "%s/" SEGMENT, world.fx.config.audit_folder);
}

/* A file as it was; bytes NULL: it was not there. */
struct kept {
    char *bytes;
    size_t len;
};

static void kept_deinit(struct kept *kept)
{
    free(kept->bytes);
}

static struct kept keep(const char *path)
{
    struct kept kept = {NULL, 0};
    struct stat status;
    FILE *file;

    if (stat(path, &status) != 0)
        return kept;
    kept.len = (size_t)status.st_size;
    kept.bytes = malloc(kept.len + 1);
    file = fopen(path, "re");
    assert_non_null(kept.bytes);
    assert_non_null(file);
    assert_int_equal(fread(kept.bytes, 1, kept.len, file), kept.len);
    fclose(file);
    kept.bytes[kept.len] = '\0';
    return kept;
}

static void put_back(const char *path, const struct kept *kept)
{
    unlink(path);
    if (kept->bytes)
        assert_int_equal(file_create(path, 0600, kept->bytes, kept->len), ESCROW_OK);
}

/* Both files of a store. */
struct kept_store {
    struct kept files[ARRAY_LEN(store_names)];
};

static void kept_store_deinit(struct kept_store *store)
{
    for (size_t i = 0; i < ARRAY_LEN(store_names); i++)
        kept_deinit(&store->files[i]);
}

static struct kept_store keep_store(const struct kill_world *of)
{
    struct kept_store store;
    char path[400];

    for (size_t i = 0; i < ARRAY_LEN(store_names); i++) {
        state_path(of, store_names[i], path);
        store.files[i] = keep(path);
    }
    return store;
}

static void put_store_back(const struct kept_store *store)
{
    char path[400];

    for (size_t i = 0; i < ARRAY_LEN(store_names); i++) {
        state_path(&world, store_names[i], path);
        put_back(path, &store->files[i]);
    }
}

/* ---- what the keeper makes of it ---- */

static void run(struct kill_world *of, const char *name)
{
    size_t count;
    const struct kill_work *works = kill_works(&count);

    for (size_t i = 0; i < count; i++) {
        if (strcmp(works[i].name, name) == 0 && !works[i].run(of, false))
            fx_fail(name, reason_code(of->fx.reply.reason));
    }
}

/* Starts, is ready, has the ledger that the log says, and serves. */
static void assert_served(void)
{
    fx_run(&world.fx);
    kill_wait_well(&world);
    kill_judge(&world);
    run(&world, "promotion");
    run(&world, "receipt of success");
    kill_judge(&world);
}

/* Starts, says what is wrong, serves nothing, and leaves the log alone. */
static void assert_tampered(void)
{
    struct keeper_fixture *fx = &world.fx;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(kept_deinit) struct kept before = {0}, after = {0};
    char path[400];

    log_path(path);
    before = keep(path);
    fx_run(fx);
    assert_true(fx_lacks(fx, REASON_LOG_TAMPERED));
    assert_int_equal(fx->reply.status, 503);
    assert_non_null(strstr(fx->status, reason_text(REASON_LOG_TAMPERED)));
    assert_null(fx_release(fx, FX_AGENT_A, recipient));
    assert_int_equal(fx->reply.reason, REASON_LOG_TAMPERED);
    fx_shut_down(fx);
    after = keep(path);
    assert_int_equal(after.len, before.len);
    if (before.len)
        assert_memory_equal(after.bytes, before.bytes, before.len);
}

/* ---- stores ---- */

static void test_store_deleted(void **state)
{
    static const struct kept_store none;

    (void)state;
    fx_kill(&world.fx);
    put_store_back(&none);
    assert_served();
}

static void test_store_of_before(void **state)
{
    CLEANUP(kept_store_deinit) struct kept_store old;

    (void)state;
    fx_kill(&world.fx);
    old = keep_store(&world);
    fx_run(&world.fx);
    run(&world, "deposit");
    run(&world, "promotion");
    run(&world, "receipt of success");
    run(&world, "request for approval");
    run(&world, "order");
    run(&world, "publish");
    fx_kill(&world.fx);
    put_store_back(&old);
    assert_served();
}

/* Another member's, whose log is another one; with fewer records than ours, and with more. */
static void test_store_of_another_member(void **state)
{
    static struct kill_world other;
    CLEANUP(kept_store_deinit) struct kept_store own, fewer, more;

    (void)state;
    fx_shut_down(&world.fx);
    own = keep_store(&world);
    kill_world_start(&other, &world.fx);
    run(&other, "deposit");
    fx_shut_down(&other.fx);
    fewer = keep_store(&other);
    fx_run(&other.fx);
    for (int i = 0; i < OTHERS_RECORDS; i++)
        run(&other, "refused release");
    fx_shut_down(&other.fx);
    more = keep_store(&other);
    kill_world_stop(&other);

    put_store_back(&fewer);
    assert_tampered();
    put_store_back(&more);
    assert_tampered();
    put_store_back(&own);
    assert_served();
}

/* Another escrow's: the authority that signed its roster is not ours, and the keeper does not
 * start. */
static void test_store_of_another_escrow(void **state)
{
    static struct kill_world other;
    CLEANUP(kept_store_deinit) struct kept_store own, foreign;
    struct keeper_fixture *fx = &world.fx;

    (void)state;
    fx_shut_down(fx);
    own = keep_store(&world);
    kill_world_start(&other, NULL);
    fx_shut_down(&other.fx);
    foreign = keep_store(&other);
    kill_world_stop(&other);
    put_store_back(&foreign);
    assert_false(fx_try_run(fx));
    assert_true(WIFEXITED(fx->exit_status));
    assert_int_equal(WEXITSTATUS(fx->exit_status), escrow_err_exit_code(ESCROW_ERR_STORE));
    put_store_back(&own);
    assert_served();
}

/* ---- logs ---- */

/* The log as it was, without its last lines. */
static void cut_lines(const struct kept *log, unsigned lines)
{
    struct kept shorter = *log;
    char path[400];

    if (!log->bytes)
        fx_fail("the log", "is gone");
    for (unsigned i = 0; i < lines; i++) {
        do
            assert_true(--shorter.len > 0);
        while (shorter.bytes[shorter.len - 1] != '\n');
    }
    log_path(path);
    put_back(path, &shorter);
}

static void test_log_with_less_than_the_store_knows(void **state)
{
    static const struct kept empty = {(char *)(uintptr_t) "", 0}, none = {NULL, 0};
    CLEANUP(kept_deinit) struct kept log = {0};
    char path[400];

    (void)state;
    fx_shut_down(&world.fx);
    log_path(path);
    log = keep(path);
    cut_lines(&log, 1);
    assert_tampered();
    cut_lines(&log, 4);
    assert_tampered();
    put_back(path, &empty);
    assert_tampered();
    put_back(path, &none);
    assert_tampered();
    put_back(path, &log);
    assert_served();
}

/* The end of a record that the store knows is missing: no interrupted writing, for it was folded.
 */
static void test_log_torn_before_what_the_store_knows(void **state)
{
    CLEANUP(kept_deinit) struct kept log = {0};
    struct kept torn;
    char path[400];

    (void)state;
    fx_shut_down(&world.fx);
    log_path(path);
    log = keep(path);
    torn = (struct kept){log.bytes, log.len - 10};
    put_back(path, &torn);
    assert_tampered();
    put_back(path, &log);
    assert_served();
}

static void test_log_changed(void **state)
{
    CLEANUP(kept_deinit) struct kept log = {0};
    char path[400], *word;

    (void)state;
    fx_shut_down(&world.fx);
    log_path(path);
    log = keep(path);
    word = log.bytes ? strstr(log.bytes, "\"allow\"") : NULL;
    if (!word)
        fx_fail(path, "grants nothing");
    word[1] = 'A';
    put_back(path, &log);
    assert_tampered();
    word[1] = 'a';
    put_back(path, &log);
    assert_served();
}

/* Bytes after the last record, as an interrupted writing leaves them. */
static void append_torn(const char *bytes, size_t len)
{
    const unsigned torn = fx_count(&world.fx, "log_torn", NULL);
    char path[400];
    FILE *file;

    fx_kill(&world.fx);
    log_path(path);
    file = fopen(path, "ae");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
    assert_served();
    assert_int_equal(fx_count(&world.fx, "log_torn", NULL), torn + 1);
}

static void test_log_with_a_torn_end(void **state)
{
    static const char half[] = "{\"act\":null,\"actor\":null,\"auth\":\"no";
    static const char zeros[600];

    (void)state;
    append_torn(half, strlen(half));
    append_torn("{", 1);
    append_torn(zeros, sizeof(zeros));
}

/* Of one write the disk has later sectors, and not the first: whole lines at the end, and no sense
 * before them. */
static void test_log_with_a_hole_at_its_end(void **state)
{
    static const char rest[] = "\"v\":1}\n{\"act\":null}\n";
    char bytes[600 + sizeof(rest)] = {0};

    (void)state;
    memcpy(bytes + 600, rest, sizeof(rest));
    append_torn(bytes, sizeof(bytes) - 1);
}

/* ---- the power ---- */

static int start(void **state)
{
    (void)state;
    kill_world_start(&world, NULL);
    run(&world, "deposit");
    run(&world, "promotion");
    run(&world, "receipt of success");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    kill_world_stop(&world);
    return 0;
}

/* Killed before its record was synced, started again, and then the power fails. */
static void test_power_cut_right_after_a_replay(void **state)
{
    struct keeper_fixture *fx = &world.fx;
    CLEANUP(act_free_p) struct act *act = act_new(ACT_ORDER);
    struct steps_report report;

    /* Files that a test has put there are not on the disk that is computed. */
    stop(state);
    start(state);
    disk_feed(world.disk);
    steps_arm_first("pwrite", STEP_AFTER);
    act->purpose = PURPOSE_DRILL;
    act->order.expires_in_s = 600;
    assert_null(fx_act(fx, FX_ADMIN, ROUTE_ORDER, act));
    assert_int_equal(fx->pid, 0);
    steps_disarm(&report);
    assert_true(report.is_killed);

    steps_arm_first("pwrite", STEP_BEFORE);
    /* Its first record comes when it has nothing else to do. */
    for (int i = 0; i < KILL_TRIES && (i ? fx->pid != 0 : fx_try_run(fx)); i++)
        fx_serve(fx, KILL_TRY_MS);
    steps_disarm(&report);
    assert_true(report.is_killed);
    disk_feed(world.disk);
    disk_cut(world.disk, fx->config.audit_folder, DISK_LOSES, DISK_KEEPS, 1);
    assert_served();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_deleted),
        cmocka_unit_test(test_store_of_before),
        cmocka_unit_test(test_store_of_another_member),
        cmocka_unit_test(test_store_of_another_escrow),
        cmocka_unit_test(test_log_with_less_than_the_store_knows),
        cmocka_unit_test(test_log_torn_before_what_the_store_knows),
        cmocka_unit_test(test_log_changed),
        cmocka_unit_test(test_log_with_a_torn_end),
        cmocka_unit_test(test_log_with_a_hole_at_its_end),
        cmocka_unit_test(test_power_cut_right_after_a_replay),
    };

    log_init("keeper", LOG_LEVEL_ERROR);
    steps_init();
    wall_clock_share();
    return cmocka_run_group_tests(tests, start, stop);
}
