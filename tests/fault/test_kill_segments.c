/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/audit.h"
#include "libescrow/log.h"
#include "tests/fault/disk.h"
#include "tests/fault/folder.h"
#include "tests/fault/steps.h"

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
 * The writer of the log alone, in segments that are soon full, killed at each of its steps, the
 * power failing or not, once or again while the next writer begins: what was said to be durable is
 * there, the log verifies, and the next writer goes on.
 */

#define COMMITS 5
#define RECORDS 3          /* of one commit */
#define SEGMENT_BYTES 2000 /* two commits */
#define SECONDS 5          /* steps of the writer after it, in which that is killed too */
#define AFTER_A_CRASH 1    /* commits of the writer that goes on */

struct scene {
    char folder[200];
    struct disk *disk;
    uint64_t durable; /* the last record that the writers were told of */
};

static void on_durable(enum escrow_err err, uint64_t sequence, void *argument)
{
    const int *fd = argument;

    if (err || write(*fd, &sequence, sizeof(sequence)) != sizeof(sequence))
        _exit(1);
}

static enum escrow_err append(struct audit *audit, int *fd)
{
    const struct audit_record record = {.event = AUDIT_ALERT, .actor = "spiffe://corp.example/a"};
    enum escrow_err err = ESCROW_OK;

    for (int i = 0; !err && i < RECORDS; i++)
        err = audit_append(audit, &record, on_durable, fd);
    return err ? err : audit_commit(audit);
}

/* As the keeper begins; says on fd what is durable. */
static enum escrow_err write_log(const struct scene *scene, int commits, int *fd)
{
    CLEANUP(audit_close_p) struct audit *audit = NULL;
    const struct audit_config config = {scene->folder, SEGMENT_BYTES, NULL, NULL};
    struct audit_reading reading = {0};
    enum escrow_err err = audit_settle(scene->folder);

    if (!err)
        err = audit_read(scene->folder, 1, NULL, NULL, &reading);
    if (!err)
        err = audit_open(&config, &reading, &audit);
    for (int i = 0; !err && i < commits; i++)
        err = append(audit, fd);
    return err;
}

/* A writer as a process of its own; false: it was killed. */
static bool run_writer(struct scene *scene, int commits)
{
    uint64_t sequence;
    int fds[2], status;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        steps_here();
        _exit(write_log(scene, commits, &fds[1]) ? 1 : 0);
    }
    close(fds[1]);
    while (read(fds[0], &sequence, sizeof(sequence)) == sizeof(sequence))
        scene->durable = sequence;
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    disk_feed(scene->disk);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return !WIFSIGNALED(status);
}

static void scene_start(struct scene *scene)
{
    const char *base = getenv("TMPDIR");

    scene->durable = 0;
    snprintf(scene->folder, sizeof(scene->folder), "%.150s/segments.XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(scene->folder));
    steps_forget();
    scene->disk = disk_new();
}

static void scene_stop(struct scene *scene)
{
    folder_clear(scene->folder);
    assert_int_equal(rmdir(scene->folder), 0);
    disk_free(scene->disk);
}

static void check(struct scene *scene)
{
    struct audit_reading reading = {0};

    assert_int_equal(audit_read(scene->folder, 1, NULL, NULL, &reading), ESCROW_OK);
    assert_true(reading.end.sequence >= scene->durable);
    assert_true(run_writer(scene, AFTER_A_CRASH));
    assert_int_equal(audit_read(scene->folder, 1, NULL, NULL, &reading), ESCROW_OK);
    assert_int_equal(reading.torn_bytes, 0);
    assert_int_equal(reading.end.sequence, scene->durable);
}

struct point {
    uint64_t step, second; /* second: of the writer after it; 0: none */
    enum step_phase phase;
    enum disk_loss loss;
    uint64_t seed;
};

static void try(const struct point *point)
{
    struct scene scene;
    static struct steps_report report;

    scene_start(&scene);
    steps_arm(point->step, point->phase);
    assert_false(run_writer(&scene, COMMITS));
    steps_disarm(&report);
    if (point->second) {
        steps_arm(point->second, point->phase);
        (void)run_writer(&scene, AFTER_A_CRASH);
        steps_disarm(&report);
    }
    disk_cut(scene.disk, scene.folder, point->loss, point->loss, point->seed);
    check(&scene);
    scene_stop(&scene);
}

static void count_steps(struct steps_report *report)
{
    struct scene scene;

    scene_start(&scene);
    steps_arm(0, STEP_BEFORE);
    assert_true(run_writer(&scene, COMMITS));
    steps_disarm(report);
    assert_int_equal(scene.durable, COMMITS * RECORDS);
    scene_stop(&scene);
}

/* Every way in which the power fails, or does not, after this step. */
static unsigned try_step(uint64_t step, enum step_phase phase)
{
    const struct point points[] = {
        {.step = step, .phase = phase, .loss = DISK_KEEPS},
        {.step = step, .phase = phase, .loss = DISK_LOSES},
        {.step = step, .phase = phase, .loss = DISK_SCRAPES, .seed = 2 * step},
        {.step = step, .phase = phase, .loss = DISK_SCRAPES, .seed = 2 * step + 1},
        {.step = step, .phase = phase, .loss = DISK_LOSES, .second = 1 + step % SECONDS},
    };

    for (size_t i = 0; i < ARRAY_LEN(points); i++)
        try(&points[i]);
    return ARRAY_LEN(points);
}

static void test_each_step(void **state)
{
    static struct steps_report report;
    static bool is_write[STEPS_MAX];
    uint64_t steps;
    unsigned runs = 0;

    (void)state;
    count_steps(&report);
    steps = report.count;
    memcpy(is_write, report.is_write, sizeof(is_write));
    for (uint64_t step = 1; step <= steps; step++) {
        runs += try_step(step, STEP_BEFORE) + try_step(step, STEP_AFTER);
        if (is_write[step - 1])
            runs += try_step(step, STEP_HALF);
    }
    print_message("# %u runs of %llu steps\n", runs, (unsigned long long)steps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_step)};

    log_init("audit", LOG_LEVEL_ERROR);
    steps_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
