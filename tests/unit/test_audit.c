/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/audit.h"

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cmocka.h>

#define FIRST_SEGMENT "00000000000000000001.jsonl"
#define PATH_BYTES 256

struct fixture {
    char directory[PATH_BYTES];
    struct audit *audit;
    unsigned calls, failures, batches;
    uint64_t last_sequence;
};

static void path_in(const struct fixture *fixture, const char *name, char ret_path[PATH_BYTES])
{
    snprintf(ret_path, PATH_BYTES, "%.200s/%.50s", fixture->directory, name);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    const char *folder = getenv("TMPDIR");

    assert_non_null(fixture);
    snprintf(fixture->directory, PATH_BYTES, "%.200s/audit.XXXXXX", folder ? folder : "/tmp");
    assert_non_null(mkdtemp(fixture->directory));
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    char command[PATH_BYTES + 16];

    if (fixture->audit)
        audit_close(fixture->audit);
    snprintf(command, sizeof(command), "rm -rf '%s'*", fixture->directory);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a path of our own */
    free(fixture);
    return 0;
}

static enum escrow_err on_batch(const struct audit_line *lines, size_t count, void *argument)
{
    struct fixture *fixture = argument;

    fixture->batches++;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(lines[i].record->sequence, lines[i].chain->sequence);
    return ESCROW_OK;
}

static void on_durable(enum escrow_err err, uint64_t sequence, void *argument)
{
    struct fixture *fixture = argument;

    fixture->calls++;
    fixture->failures += err != ESCROW_OK;
    fixture->last_sequence = sequence;
}

static enum escrow_err count_line(const struct audit_line *line, void *argument)
{
    unsigned *count = argument;

    assert_non_null(line->record->document);
    (*count)++;
    return ESCROW_OK;
}

/* Reads the whole log, checks it, and returns the number of its records. */
static unsigned count_records(const struct fixture *fixture)
{
    struct audit_reading reading = {0};
    unsigned count = 0;

    assert_int_equal(audit_read(fixture->directory, 1, count_line, &count, &reading), ESCROW_OK);
    assert_int_equal(reading.end.sequence, count);
    return count;
}

static void open_log(struct fixture *fixture, uint64_t segment_bytes)
{
    const struct audit_config config = {fixture->directory, segment_bytes, on_batch, fixture};
    struct audit_reading reading = {0};

    if (fixture->audit)
        audit_close(TAKE(fixture->audit));
    assert_int_equal(audit_read(fixture->directory, 1, NULL, NULL, &reading), ESCROW_OK);
    assert_int_equal(audit_open(&config, &reading, &fixture->audit), ESCROW_OK);
}

static void append(struct fixture *fixture, const char *actor)
{
    const struct audit_record record = {.event = AUDIT_REFUSAL, .actor = actor, .reason = "x"};

    assert_int_equal(audit_append(fixture->audit, &record, on_durable, fixture), ESCROW_OK);
}

static void append_committed(struct fixture *fixture, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        append(fixture, "spiffe://test/a");
    assert_int_equal(audit_commit(fixture->audit), ESCROW_OK);
}

/* Adds text to the end of a segment, behind the log's back. */
static void scribble(const struct fixture *fixture, const char *name, const char *text)
{
    char path[PATH_BYTES];
    FILE *file;

    path_in(fixture, name, path);
    file = fopen(path, "ae");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_commit_is_a_group(void **state)
{
    struct fixture *fixture = *state;

    open_log(fixture, 1 << 20);
    append(fixture, "a");
    append(fixture, "b");
    assert_int_equal(fixture->calls, 0);
    assert_int_equal(count_records(fixture), 0);
    assert_int_equal(audit_commit(fixture->audit), ESCROW_OK);
    assert_int_equal(fixture->calls, 2);
    assert_int_equal(fixture->batches, 1);
    assert_int_equal(fixture->failures, 0);
    assert_int_equal(fixture->last_sequence, 2);
    assert_int_equal(count_records(fixture), 2);
    assert_int_equal(audit_commit(fixture->audit), ESCROW_OK);
    assert_int_equal(fixture->batches, 1);
}

static void test_continues_after_restart_and_over_segments(void **state)
{
    struct fixture *fixture = *state;
    struct audit_reading reading = {0};
    unsigned count = 0;

    open_log(fixture, 1500);
    append_committed(fixture, 2);
    append_committed(fixture, 2);
    open_log(fixture, 1500);
    append_committed(fixture, 1);
    assert_int_equal(count_records(fixture), 5);
    assert_int_equal(audit_read(fixture->directory, 4, count_line, &count, &reading), ESCROW_OK);
    assert_int_equal(count, 2);
    assert_string_not_equal(reading.segment, FIRST_SEGMENT);
    assert_int_equal(audit_end(fixture->audit)->sequence, 5);
}

/* What is longer than any line is not the tail of one: it is not cut, and not read whole. */
static void test_endless_tail_is_no_torn_line(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(cleanup_free) char *tail = malloc(AUDIT_LINE_MAX + 1);
    struct audit_reading reading = {0};

    open_log(fixture, 1 << 20);
    append_committed(fixture, 2);
    memset(tail, 'x', AUDIT_LINE_MAX);
    tail[AUDIT_LINE_MAX] = '\0';
    scribble(fixture, FIRST_SEGMENT, tail);
    assert_int_equal(audit_read(fixture->directory, 1, NULL, NULL, &reading), ESCROW_ERR_MALFORMED);
    assert_int_equal(reading.fault, AUDIT_FAULT_FORM);
    assert_int_equal(reading.end.sequence, 2);
    assert_int_equal(reading.torn_bytes, 0);
}

static void test_torn_tail_is_cut_and_recorded(void **state)
{
    struct fixture *fixture = *state;

    open_log(fixture, 1 << 20);
    append_committed(fixture, 2);
    scribble(fixture, FIRST_SEGMENT, "{\"act\":null,\"actor\":");
    open_log(fixture, 1 << 20);
    assert_int_equal(audit_queued(fixture->audit), 1);
    assert_int_equal(audit_commit(fixture->audit), ESCROW_OK);
    assert_int_equal(count_records(fixture), 3);
}

/* A power cut can leave later sectors of one write without earlier ones. */
static void test_hole_before_the_end_is_cut(void **state)
{
    struct fixture *fixture = *state;
    static const char tail[] = "{\"act\":\0\0\0\0}\n{\"act\":null}\n{";
    struct audit_reading reading = {0};
    char path[PATH_BYTES];
    FILE *file;

    open_log(fixture, 1 << 20);
    append_committed(fixture, 2);
    path_in(fixture, FIRST_SEGMENT, path);
    file = fopen(path, "ae");
    assert_non_null(file);
    assert_int_equal(fwrite(tail, 1, sizeof(tail) - 1, file), sizeof(tail) - 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(audit_read(fixture->directory, 1, NULL, NULL, &reading), ESCROW_OK);
    assert_int_equal(reading.end.sequence, 2);
    assert_int_equal(reading.torn_bytes, sizeof(tail) - 1);
    open_log(fixture, 1 << 20);
    assert_int_equal(audit_commit(fixture->audit), ESCROW_OK);
    assert_int_equal(count_records(fixture), 3);
}

static void test_complete_wrong_line_is_not_cut(void **state)
{
    struct fixture *fixture = *state;
    struct audit_reading reading = {0};

    open_log(fixture, 1 << 20);
    append_committed(fixture, 2);
    scribble(fixture, FIRST_SEGMENT, "{}\n");
    assert_int_equal(audit_read(fixture->directory, 1, NULL, NULL, &reading), ESCROW_ERR_MALFORMED);
    assert_int_equal(reading.fault, AUDIT_FAULT_FORM);
    assert_int_equal(reading.end.sequence, 2);
}

/* Rewrites the log's only segment with its lines in the order given (0 ends it), then reads it. */
static enum audit_fault fault_of_order(struct fixture *fixture, const unsigned *order)
{
    char path[PATH_BYTES], lines[4][2048];
    struct audit_reading reading = {0};
    FILE *file;

    open_log(fixture, 1 << 20);
    append_committed(fixture, 4);
    path_in(fixture, FIRST_SEGMENT, path);
    file = fopen(path, "re");
    assert_non_null(file);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        assert_non_null(fgets(lines[i], sizeof(lines[i]), file));
    fclose(file);
    file = fopen(path, "we");
    assert_non_null(file);
    for (; *order; order++)
        assert_true(fputs(lines[*order - 1], file) >= 0);
    fclose(file);
    assert_int_equal(audit_read(fixture->directory, 1, NULL, NULL, &reading), ESCROW_ERR_MALFORMED);
    audit_close(TAKE(fixture->audit));
    assert_int_equal(unlink(path), 0);
    return reading.fault;
}

static void test_tampering_is_named(void **state)
{
    static const unsigned deleted[] = {1, 2, 4, 0}, doubled[] = {1, 2, 2, 3, 4, 0};
    static const unsigned swapped[] = {2, 1, 3, 4, 0};
    struct fixture *fixture = *state;

    assert_int_equal(fault_of_order(fixture, deleted), AUDIT_FAULT_SEQUENCE);
    assert_int_equal(fault_of_order(fixture, doubled), AUDIT_FAULT_SEQUENCE);
    assert_int_equal(fault_of_order(fixture, swapped), AUDIT_FAULT_SEQUENCE);
}

static void test_edited_record_breaks_the_chain_after_it(void **state)
{
    struct fixture *fixture = *state;
    struct audit_reading reading = {0};
    char path[PATH_BYTES], text[8192];
    char *actor;
    FILE *file;
    size_t len;

    open_log(fixture, 1 << 20);
    append_committed(fixture, 3);
    path_in(fixture, FIRST_SEGMENT, path);
    file = fopen(path, "r+e");
    assert_non_null(file);
    len = fread(text, 1, sizeof(text) - 1, file);
    text[len] = '\0';
    actor = strstr(text, "spiffe://test/a");
    assert_non_null(actor);
    actor[strlen("spiffe://test/")] = 'b';
    rewind(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    fclose(file);
    assert_int_equal(audit_read(fixture->directory, 1, NULL, NULL, &reading), ESCROW_ERR_MALFORMED);
    assert_int_equal(reading.fault, AUDIT_FAULT_CHAIN);
    assert_int_equal(reading.end.sequence, 1);
}

static void test_missing_segment_is_named(void **state)
{
    struct fixture *fixture = *state;
    struct audit_reading reading = {0};
    char path[PATH_BYTES];

    open_log(fixture, 1);
    append_committed(fixture, 1);
    append_committed(fixture, 1);
    append_committed(fixture, 1);
    path_in(fixture, "00000000000000000002.jsonl", path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(audit_read(fixture->directory, 1, NULL, NULL, &reading), ESCROW_ERR_MALFORMED);
    assert_int_equal(reading.fault, AUDIT_FAULT_SEQUENCE);
}

/* The segment that is renamed while it is synced; NULL: none. */
static const char *moved_from, *moved_to;
/* What the disk has, as far as anybody can see; 0: what it has. */
static unsigned free_kib;

/* NOLINTBEGIN(readability-identifier-naming,bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
 */
int __real_fdatasync(int fd);
int __real_fstatfs(int fd, struct statfs *ret_disk);
int __wrap_fdatasync(int fd);
int __wrap_fstatfs(int fd, struct statfs *ret_disk);

int __wrap_fdatasync(int fd)
{
    if (moved_from)
        assert_int_equal(rename(moved_from, moved_to), 0);
    moved_from = NULL;
    return __real_fdatasync(fd);
}

int __wrap_fstatfs(int fd, struct statfs *ret_disk)
{
    int result = __real_fstatfs(fd, ret_disk);

    if (free_kib) {
        ret_disk->f_bsize = 1024;
        ret_disk->f_bavail = free_kib;
    }
    return result;
}
/* NOLINTEND(readability-identifier-naming,bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
 */

static void limit_file_size(rlim_t bytes)
{
    const struct rlimit limit = {bytes, RLIM_INFINITY};

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_full_disk_refuses_and_recovers(void **state)
{
    struct fixture *fixture = *state;
    struct stat status;
    char path[PATH_BYTES];

    open_log(fixture, 1 << 20);
    append_committed(fixture, 1);
    path_in(fixture, FIRST_SEGMENT, path);
    assert_int_equal(stat(path, &status), 0);
    append(fixture, "a");
    append(fixture, "b");
    /* Room for a part of the first record: the torn line must not stay. */
    limit_file_size((rlim_t)status.st_size + 100);
    assert_int_equal(audit_commit(fixture->audit), ESCROW_ERR_STORE);
    assert_int_equal(fixture->failures, 2);
    assert_non_null(audit_trouble(fixture->audit));
    assert_int_equal(audit_recover(fixture->audit), ESCROW_ERR_STORE);
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(count_records(fixture), 1);
    assert_int_equal(
        audit_append(fixture->audit, &(struct audit_record){.event = AUDIT_REFUSAL}, NULL, NULL),
        ESCROW_ERR_STORE);
    assert_int_equal(audit_recover(fixture->audit), ESCROW_OK);
    assert_null(audit_trouble(fixture->audit));
    append_committed(fixture, 1);
    assert_int_equal(count_records(fixture), 3);
}

/* A record that says that the log is back would find a place, and the next one would not. */
static void test_back_when_there_is_room(void **state)
{
    struct fixture *fixture = *state;

    open_log(fixture, 1 << 20);
    limit_file_size(100);
    append(fixture, "a");
    assert_int_equal(audit_commit(fixture->audit), ESCROW_ERR_STORE);
    limit_file_size(RLIM_INFINITY);
    free_kib = 255;
    assert_int_equal(audit_recover(fixture->audit), ESCROW_ERR_STORE);
    assert_non_null(strstr(audit_trouble(fixture->audit), "No space left"));
    assert_int_equal(count_records(fixture), 0);
    free_kib = 256;
    assert_int_equal(audit_recover(fixture->audit), ESCROW_OK);
    free_kib = 0;
    assert_int_equal(count_records(fixture), 1);
}

static void test_unlinked_segment_refuses_until_it_is_back(void **state)
{
    struct fixture *fixture = *state;
    char path[PATH_BYTES], aside[PATH_BYTES];

    open_log(fixture, 1 << 20);
    append_committed(fixture, 1);
    path_in(fixture, FIRST_SEGMENT, path);
    path_in(fixture, "aside", aside);
    assert_int_equal(rename(path, aside), 0);
    append(fixture, "a");
    assert_int_equal(audit_commit(fixture->audit), ESCROW_ERR_STORE);
    assert_int_equal(fixture->failures, 1);
    assert_int_equal(audit_recover(fixture->audit), ESCROW_ERR_STORE);
    assert_int_equal(rename(aside, path), 0);
    assert_int_equal(audit_recover(fixture->audit), ESCROW_OK);
    append_committed(fixture, 1);
    assert_int_equal(count_records(fixture), 3);
}

/* What went under another name while it was written is in no log. */
static void test_segment_moved_while_it_is_written(void **state)
{
    struct fixture *fixture = *state;
    char path[PATH_BYTES], aside[PATH_BYTES];

    open_log(fixture, 1 << 20);
    append_committed(fixture, 1);
    path_in(fixture, FIRST_SEGMENT, path);
    path_in(fixture, "aside", aside);
    append(fixture, "a");
    moved_from = path;
    moved_to = aside;
    assert_int_equal(audit_commit(fixture->audit), ESCROW_ERR_STORE);
    assert_null(moved_from);
    assert_int_equal(fixture->failures, 1);
    assert_int_equal(rename(aside, path), 0);
    assert_int_equal(audit_recover(fixture->audit), ESCROW_OK);
    assert_int_equal(count_records(fixture), 2);
}

static void test_replaced_directory_refuses(void **state)
{
    struct fixture *fixture = *state;
    char aside[PATH_BYTES + 8];

    open_log(fixture, 1 << 20);
    append_committed(fixture, 1);
    snprintf(aside, sizeof(aside), "%s.aside", fixture->directory);
    assert_int_equal(rename(fixture->directory, aside), 0);
    assert_int_equal(mkdir(fixture->directory, 0700), 0);
    append(fixture, "a");
    assert_int_equal(audit_commit(fixture->audit), ESCROW_ERR_STORE);
    assert_int_equal(audit_recover(fixture->audit), ESCROW_ERR_STORE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_commit_is_a_group, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_continues_after_restart_and_over_segments, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_torn_tail_is_cut_and_recorded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hole_before_the_end_is_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_endless_tail_is_no_torn_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_complete_wrong_line_is_not_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tampering_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_edited_record_breaks_the_chain_after_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_missing_segment_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_disk_refuses_and_recovers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_back_when_there_is_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unlinked_segment_refuses_until_it_is_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_segment_moved_while_it_is_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_replaced_directory_refuses, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
