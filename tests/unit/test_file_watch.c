/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "libescrow/file_watch.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_S 10

struct world {
    char *folder;
    struct event_base *base;
    struct file_watch *watch;
    unsigned changes;
};

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void on_change(void *argument)
{
    struct world *world = argument;

    world->changes++;
    event_base_loopbreak(world->base);
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    const char *parent = getenv("TMPDIR");

    assert_non_null(world);
    assert_true(asprintf(&world->folder, "%s/watch.XXXXXX", parent ? parent : "/tmp") > 0);
    assert_non_null(mkdtemp(world->folder));
    assert_int_equal(chdir(world->folder), 0);
    write_file("a", "1");
    write_file("b", "1");
    world->base = event_base_new();
    assert_non_null(world->base);
    assert_int_equal(file_watch_new(world->base, on_change, world, &world->watch), ESCROW_OK);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"a",      "b",      "new",  "other",
                                        "link/a", "next/a", "d1/a", "d2/a"};
    struct world *world = *state;

    file_watch_free(world->watch);
    event_base_free(world->base);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unlink(names[i]);
    unlink("link");
    rmdir("d1");
    rmdir("d2");
    assert_int_equal(rmdir(world->folder), 0);
    free(world->folder);
    free(world);
    return 0;
}

static void watch(struct world *world, const char *first, const char *second)
{
    const char *const paths[] = {first, NULL, second};

    assert_int_equal(file_watch_set(world->watch, paths, ARRAY_LEN(paths)), ESCROW_OK);
}

static void stop(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(argument);
}

/* Runs the loop until there was one more change, or for so long; true if there was. */
static bool changes_within(struct world *world, const struct timeval *limit)
{
    unsigned before = world->changes;

    assert_int_equal(event_base_once(world->base, -1, EV_TIMEOUT, stop, world->base, limit), 0);
    event_base_dispatch(world->base);
    return world->changes > before;
}

static void assert_changes(struct world *world, bool a, bool b)
{
    const struct timeval limit = {.tv_sec = DEADLINE_S};

    assert_true(changes_within(world, &limit));
    assert_int_equal(file_watch_has_changed(world->watch, "a"), a);
    assert_int_equal(file_watch_has_changed(world->watch, "b"), b);
}

static void test_written_replaced_and_removed(void **state)
{
    struct world *world = *state;

    watch(world, "a", "b");
    write_file("a", "22");
    assert_changes(world, true, false);
    write_file("new", "3");
    assert_int_equal(rename("new", "b"), 0);
    assert_changes(world, false, true);
    assert_int_equal(unlink("a"), 0);
    assert_changes(world, true, false);
    write_file("a", "4");
    assert_changes(world, true, false);
    assert_int_equal(chmod("b", 0600), 0);
    assert_changes(world, false, true);
}

/* Several at once, and what happens in between, are one change. */
static void test_a_set_is_one_change(void **state)
{
    const struct timeval limit = {.tv_sec = 1};
    struct world *world = *state;

    watch(world, "a", "b");
    write_file("a", "22");
    write_file("other", "x");
    write_file("b", "22");
    assert_changes(world, true, true);
    assert_int_equal(world->changes, 1);
    write_file("other", "y");
    assert_false(changes_within(world, &limit));
}

static void test_a_link_that_is_turned(void **state)
{
    struct world *world = *state;

    assert_int_equal(mkdir("d1", 0700), 0);
    assert_int_equal(mkdir("d2", 0700), 0);
    write_file("d1/a", "1");
    write_file("d2/a", "22");
    assert_int_equal(symlink("d1", "link"), 0);
    assert_int_equal(unlink("a"), 0);
    assert_int_equal(symlink("link/a", "a"), 0);
    watch(world, "a", "b");
    assert_int_equal(symlink("d2", "new"), 0);
    assert_int_equal(rename("new", "link"), 0);
    assert_changes(world, true, false);
}

static void test_a_look_is_no_change(void **state)
{
    const struct timeval limit = {.tv_sec = 1};
    struct world *world = *state;

    watch(world, "a", "b");
    write_file("a", "22");
    file_watch_look(world->watch);
    assert_true(file_watch_has_changed(world->watch, "a"));
    assert_false(file_watch_has_changed(world->watch, "b"));
    assert_false(file_watch_has_changed(world->watch, "nothing"));
    assert_false(changes_within(world, &limit));
    file_watch_look(world->watch);
    assert_false(file_watch_has_changed(world->watch, "a"));
}

/* What was watched before loses no change by being set again. */
static void test_set_again(void **state)
{
    struct world *world = *state;

    watch(world, "a", NULL);
    write_file("a", "22");
    write_file("b", "22");
    watch(world, "b", "a");
    assert_changes(world, true, false);
}

/* How many folders this process watches, as the kernel tells it: see proc_pid_fdinfo(5). */
static unsigned watched_folders(void)
{
    DIR *folder = opendir("/proc/self/fdinfo");
    const struct dirent *entry;
    unsigned count = 0;

    assert_non_null(folder);
    while ((entry = readdir(folder))) {
        char path[64 + sizeof(entry->d_name)], line[512];
        FILE *info;

        snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", entry->d_name);
        info = fopen(path, "re");
        while (info && fgets(line, sizeof(line), info))
            count += strncmp(line, "inotify wd:", strlen("inotify wd:")) == 0;
        if (info)
            fclose(info);
    }
    closedir(folder);
    return count;
}

/* A folder with none of the files any more is let alone, one with some of them is not. */
static void test_folders_no_longer_named(void **state)
{
    struct world *world = *state;

    assert_int_equal(mkdir("d1", 0700), 0);
    watch(world, "a", "b");
    assert_int_equal(watched_folders(), 1);
    watch(world, "a", "d1/a");
    assert_int_equal(watched_folders(), 2);
    watch(world, "b", NULL);
    assert_int_equal(watched_folders(), 1);
    write_file("b", "22");
    assert_changes(world, false, true);
    watch(world, NULL, NULL);
    assert_int_equal(watched_folders(), 0);
}

/* Nor is one that was moved away, when there is another in its place. */
static void test_a_folder_in_the_place_of_another(void **state)
{
    struct world *world = *state;

    assert_int_equal(mkdir("d1", 0700), 0);
    watch(world, "d1/a", "d1/b");
    assert_int_equal(rename("d1", "d2"), 0);
    assert_int_equal(mkdir("d1", 0700), 0);
    file_watch_look(world->watch);
    assert_int_equal(watched_folders(), 1);
}

/* Without inotify the files are still looked at. */
static void test_without_inotify(void **state)
{
    struct world *world = *state;
    struct rlimit before, none;

    file_watch_free(world->watch);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(file_watch_new(world->base, on_change, world, &world->watch), ESCROW_OK);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    watch(world, "a", "b");
    write_file("b", "22");
    file_watch_look(world->watch);
    assert_false(file_watch_has_changed(world->watch, "a"));
    assert_true(file_watch_has_changed(world->watch, "b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_written_replaced_and_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_set_is_one_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_link_that_is_turned, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_look_is_no_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_set_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folders_no_longer_named, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_folder_in_the_place_of_another, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_inotify, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
