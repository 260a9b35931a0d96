/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of the audit log: whatever stands in its files, it hands out exactly the records that
 * follow one another from the first, says what is wrong with the one after them, and takes nothing
 * but the end of the last file for torn. The input: how many lines stand in the first of two files,
 * and the lines.
 */
#include "libescrow/audit_reader.h"
#include "libescrow/cleanup.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_CAP 256

static char directory[PATH_CAP];

struct files {
    char names[2][AUDIT_SEGMENT_NAME];
    size_t count;
};

static void in_directory(const char *name, char ret_path[static PATH_CAP])
{
    snprintf(ret_path, PATH_CAP, "%.200s/%s", directory, name);
}

static void remove_directory(void)
{
    rmdir(directory);
}

static void make_directory(void)
{
    const char *folder = getenv("TMPDIR");

    if (directory[0])
        return;
    snprintf(directory, sizeof(directory), "%.200s/fuzz_log.XXXXXX", folder ? folder : "/tmp");
    if (!mkdtemp(directory))
        abort();
    atexit(remove_directory);
}

static void add_file(struct files *files, uint64_t sequence, const uint8_t *bytes, size_t len)
{
    char path[PATH_CAP];
    int fd;

    audit_segment_name(sequence, files->names[files->count]);
    in_directory(files->names[files->count++], path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || (len > 0 && write(fd, bytes, len) != (ssize_t)len))
        abort();
    close(fd);
}

static void remove_files(const struct files *files)
{
    char path[PATH_CAP];

    for (size_t i = 0; i < files->count; i++) {
        in_directory(files->names[i], path);
        unlink(path);
    }
}

/* What must come out: the chain up to the first line that does not follow, and what is wrong. */
struct wanted {
    struct audit_chain end;
    enum audit_fault fault;
    size_t torn;
};

/* Also tells where the chain stands after `lines` lines, for the name of the second file. */
static struct wanted walk(const uint8_t *bytes, size_t len, unsigned lines, size_t *ret_cut,
                          uint64_t *ret_sequence)
{
    struct wanted wanted = {0};
    size_t at = 0;

    *ret_cut = len;
    for (unsigned line = 0; at < len && !wanted.fault; line++) {
        const uint8_t *end = memchr(bytes + at, '\n', len - at);
        const size_t line_len = end ? (size_t)(end - (bytes + at)) + 1 : len - at;
        struct audit_record record = {0};

        if (line == lines && line > 0) {
            *ret_cut = at;
            *ret_sequence = wanted.end.sequence + 1;
        }
        /* A hole in a line is torn too, with all that comes behind it. */
        if (!end || memchr(bytes + at, '\0', line_len)) {
            wanted.torn = len - at;
            break;
        }
        wanted.fault = audit_chain_next(&wanted.end, (const char *)bytes + at, line_len, &record);
        if (!wanted.fault)
            audit_record_deinit(&record);
        at += line_len;
    }
    return wanted;
}

static enum escrow_err count_line(const struct audit_line *line, void *argument)
{
    uint64_t *count = argument;

    ++*count;
    FUZZ_CHECK(line->record->sequence == *count && line->chain->sequence == *count);
    FUZZ_CHECK(line->len > 0 && line->text[line->len - 1] == '\n');
    return ESCROW_OK;
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    struct fuzz_source source = {bytes, len};
    const unsigned lines = fuzz_take_byte(&source);
    struct files files = {.count = 0};
    struct audit_reading reading = {0};
    struct wanted wanted;
    uint64_t sequence = 0, count = 0;
    enum escrow_err err;
    size_t cut;

    make_directory();
    inject_hold(true);
    wanted = walk(source.bytes, source.len, lines, &cut, &sequence);
    inject_hold(false);
    add_file(&files, 1, source.bytes, cut);
    if (cut < source.len)
        add_file(&files, sequence, source.bytes + cut, source.len - cut);
    err = audit_read(directory, 1, count_line, &count, &reading);
    remove_files(&files);
    fuzz_check_err(err);
    FUZZ_CHECK(count == reading.end.sequence && count <= wanted.end.sequence);
    /* Without memory it may see less, and says so. */
    FUZZ_CHECK(err || (!wanted.fault && count == wanted.end.sequence));
    if (inject_failures() > 0)
        return;
    FUZZ_CHECK(err == (wanted.fault ? ESCROW_ERR_MALFORMED : ESCROW_OK));
    FUZZ_CHECK(count == wanted.end.sequence && reading.fault == wanted.fault);
    FUZZ_CHECK(memcmp(&reading.end, &wanted.end, sizeof(wanted.end)) == 0);
    FUZZ_CHECK(wanted.fault || reading.torn_bytes == wanted.torn);
}
