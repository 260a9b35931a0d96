/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper.h"
#include "escrowd/keeper_member.h"
#include "libescrow/log.h"
#include "tests/fault/draw.h"
#include "tests/fault/folder.h"
#include "tests/fault/init_machine.h"
#include "tests/fault/kill_works.h"
#include "tests/fault/steps.h"
#include "tests/unit/wall_clock.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * A member's first hour: `escrowd init` is killed at each step by which anything lasts, and the
 * first start of the keeper is, before its log has a record or its store a table. After a killed
 * init there is a whole member; or none, and the next init makes one or says what was left, and
 * that the TPM may have something of it. After a killed start the next one has what a first start
 * has. A sample, or all with ESCROW_TEST_ALL=1; ESCROW_TEST_SEED repeats either.
 */

#define SEED 1
#define INITS 12
#define STARTS 16

static uint64_t seed;

static bool is_all(void)
{
    const char *all = getenv("ESCROW_TEST_ALL");

    return all && strcmp(all, "1") == 0;
}

struct point {
    uint64_t step;
    enum step_phase phase;
};

/* The next one of those that a report has: in order, or by chance. */
static struct point point_at(const struct steps_report *report, size_t run)
{
    struct point point;

    do {
        const uint64_t number = is_all() ? run : draw_number(&seed);

        point = (struct point){1 + number / STEP_PHASES % report->count,
                               (enum step_phase)(number % STEP_PHASES)};
    } while (!is_all() && point.phase == STEP_HALF && !report->is_write[point.step - 1]);
    return point;
}

static size_t runs_of(const struct steps_report *report, size_t sample)
{
    return is_all() ? report->count * STEP_PHASES : sample;
}

/* ---- init ---- */

/* As a process of its own; its exit code, or -1: it was killed. */
static int run_init(const struct machine *machine)
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        steps_here();
        exit(escrow_err_exit_code(keeper_init(&machine->config)));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    steps_forget();
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What stays says what to do, and stays whatever is tried. */
static void assert_left_over(const struct machine *machine, bool is_untouched)
{
    CLEANUP(keeper_member_free_p) struct keeper_member *member = NULL;

    assert_int_equal(keeper_member_load(&machine->config, &member), ESCROW_ERR_CONFIG);
    assert_int_equal(run_init(machine), escrow_err_exit_code(ESCROW_ERR_EXISTS));
    assert_int_equal(machine_check_tpm(machine), is_untouched);
}

static void try_init(const struct point *point, unsigned counts[2])
{
    static struct steps_report report;
    struct machine machine;
    bool is_untouched;

    machine_start(&machine);
    steps_arm(point->step, point->phase);
    assert_int_equal(run_init(&machine), -1);
    steps_disarm(&report);
    (void)machine_check_files(&machine, true);
    is_untouched = machine_check_tpm(&machine);
    if (!machine_has(&machine, MEMBER_STATEMENT)) {
        if (machine_has(&machine, MEMBER_RECOVERY))
            assert_left_over(&machine, is_untouched);
        /* Where the TPM has nothing of it, the files may go, and that is all. */
        if (is_untouched) {
            folder_clear(machine.state);
            assert_int_equal(run_init(&machine), 0);
        }
        counts[is_untouched]++;
    }
    if (machine_has(&machine, MEMBER_STATEMENT)) {
        machine_assert_member(&machine);
        assert_int_equal(run_init(&machine), escrow_err_exit_code(ESCROW_ERR_EXISTS));
    }
    machine_stop(&machine);
}

static void test_init(void **state)
{
    static struct steps_report report;
    struct machine machine;
    unsigned counts[2] = {0};
    size_t runs = 0, sum;

    (void)state;
    machine_start(&machine);
    steps_arm(0, STEP_BEFORE);
    assert_int_equal(run_init(&machine), 0);
    steps_disarm(&report);
    machine_stop(&machine);
    sum = runs_of(&report, INITS);
    for (size_t i = 0; i < sum; i++) {
        const struct point point = point_at(&report, i);

        if (point.phase == STEP_HALF && !report.is_write[point.step - 1])
            continue;
        try_init(&point, counts);
        runs++;
    }
    print_message("# sampled %zu of %zu (seed %u)\n", runs, (size_t)report.count * STEP_PHASES,
                  SEED);
    print_message("# the TPM was untouched in %u, had something in %u\n", counts[true],
                  counts[false]);
}

/* ---- the first start ---- */

static void remove_all(struct kill_world *world, const char *folder, const char *prefix)
{
    DIR *stream = opendir(folder);
    const struct dirent *entry;

    assert_non_null(stream);
    while ((entry = readdir(stream)) != NULL) {
        char path[600];

        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
            disk_remove(world->disk, path);
    }
    closedir(stream);
}

/* As after init: neither log nor store. */
static void make_new(struct kill_world *world)
{
    fx_kill(&world->fx);
    disk_feed(world->disk);
    remove_all(world, world->fx.config.audit_folder, "");
    remove_all(world, world->fx.config.state_folder, MEMBER_STORE);
    kill_forget(world);
}

static void first_start(struct kill_world *world)
{
    if (fx_try_run(&world->fx))
        (void)kill_settle(world);
}

static void try_start(struct kill_world *world, const struct point *point, size_t run)
{
    static struct steps_report report;
    const enum disk_loss losses[] = {DISK_KEEPS, DISK_LOSES, DISK_SCRAPES};

    make_new(world);
    steps_arm(point->step, point->phase);
    first_start(world);
    steps_disarm(&report);
    if (world->fx.pid)
        fx_kill(&world->fx);
    disk_feed(world->disk);
    if (run % 2)
        kill_cut_power(world, losses[run / 2 % ARRAY_LEN(losses)],
                       losses[run / 6 % ARRAY_LEN(losses)], draw_number(&seed));
    fx_run(&world->fx);
    fx_publish(&world->fx);
    kill_wait_well(world);
    fx_wait_primary(&world->fx, "node-a");
    kill_judge(world);
}

static void test_first_start(void **state)
{
    static struct kill_world world;
    static struct steps_report report;
    size_t runs = 0, sum;

    (void)state;
    kill_world_start(&world, NULL);
    make_new(&world);
    steps_arm(0, STEP_BEFORE);
    first_start(&world);
    steps_disarm(&report);
    sum = runs_of(&report, STARTS);
    for (size_t i = 0; i < sum; i++) {
        const struct point point = point_at(&report, i);

        if (point.phase == STEP_HALF && !report.is_write[point.step - 1])
            continue;
        try_start(&world, &point, i);
        runs++;
    }
    kill_world_stop(&world);
    print_message("# sampled %zu of %zu (seed %u)\n", runs, (size_t)report.count * STEP_PHASES,
                  SEED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_init),
                                       cmocka_unit_test(test_first_start)};
    const char *wanted = getenv("ESCROW_TEST_SEED");

    seed = wanted ? strtoull(wanted, NULL, 10) : SEED;
    log_init("init", getenv("ESCROW_TEST_VERBOSE") ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR - 1);
    if (secret_heap_init())
        return 1;
    steps_init();
    wall_clock_share();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
