/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/audit_reader.h"

#include "libescrow/log.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT_DIGITS 20

/* The first sequences of all segments, ascending. */
struct segment_list {
    uint64_t *first;
    size_t count;
};

struct reader {
    const char *directory;
    uint64_t from;
    audit_line_fn on_line;
    void *argument;
    struct audit_reading *reading;
};

static void segment_list_deinit(struct segment_list *list)
{
    free(list->first);
}

static void close_file(FILE **file)
{
    if (*file)
        fclose(*file);
}

static void close_directory(DIR **directory)
{
    if (*directory)
        closedir(*directory);
}

void audit_segment_name(uint64_t sequence, char ret_name[static AUDIT_SEGMENT_NAME])
{
    snprintf(ret_name, AUDIT_SEGMENT_NAME, "%020" PRIu64 ".jsonl", sequence);
}

static bool segment_sequence(const char *name, uint64_t *ret_sequence)
{
    char again[AUDIT_SEGMENT_NAME];

    if (!isdigit((unsigned char)name[0]))
        return false;
    *ret_sequence = strtoull(name, NULL, 10);
    audit_segment_name(*ret_sequence, again);
    return strcmp(again, name) == 0;
}

static int compare_sequences(const void *a, const void *b)
{
    uint64_t x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

static enum escrow_err segment_list_read(const char *path, struct segment_list *list)
{
    CLEANUP(close_directory) DIR *directory = opendir(path);
    const struct dirent *entry;
    uint64_t sequence, *grown;

    if (!directory) {
        log_error("audit: cannot open %s: %s", path, strerror(errno));
        return ESCROW_ERR_STORE;
    }
    while ((entry = readdir(directory)) != NULL) {
        if (!segment_sequence(entry->d_name, &sequence))
            continue;
        grown = reallocarray(list->first, list->count + 1, sizeof(*grown));
        if (!grown)
            return ESCROW_ERR_NO_MEMORY;
        list->first = grown;
        list->first[list->count++] = sequence;
    }
    if (list->count)
        qsort(list->first, list->count, sizeof(*list->first), compare_sequences);
    return ESCROW_OK;
}

/* The segment that holds record from; 0 if all are later. */
static size_t segment_list_find(const struct segment_list *list, uint64_t from)
{
    size_t index = 0;

    while (index + 1 < list->count && list->first[index + 1] <= from)
        index++;
    return index;
}

static enum escrow_err report_fault(const struct reader *reader, enum audit_fault fault)
{
    reader->reading->fault = fault;
    log_error("audit: %s/%s: the record after %" PRIu64 " is wrong (%s)", reader->directory,
              reader->reading->segment, reader->reading->end.sequence, audit_fault_word(fault));
    return ESCROW_ERR_MALFORMED;
}

static enum escrow_err read_line(const struct reader *reader, const char *line, size_t len)
{
    CLEANUP(audit_record_deinit) struct audit_record record = {0};
    struct audit_chain *chain = &reader->reading->end;
    enum audit_fault fault = audit_chain_next(chain, line, len, &record);
    const struct audit_line checked = {&record, line, len, chain};

    /* To jansson want of memory can be bad syntax: nobody is accused of it at the first sight. */
    if (fault == AUDIT_FAULT_FORM)
        fault = audit_chain_next(chain, line, len, &record);
    if (fault == AUDIT_FAULT_UNCHECKED)
        return ESCROW_ERR_NO_MEMORY;
    if (fault)
        return report_fault(reader, fault);
    if (!reader->on_line || record.sequence < reader->from)
        return ESCROW_OK;
    return reader->on_line(&checked, reader->argument);
}

/* The next line with its newline, or what of it fits; 0 at the end. Not getline: it has no bound.
 */
static size_t next_line(FILE *file, char line[static AUDIT_LINE_MAX])
{
    size_t len = 0;
    int byte;

    while (len < AUDIT_LINE_MAX && (byte = getc_unlocked(file)) != EOF) {
        line[len++] = (char)byte;
        if (byte == '\n')
            break;
    }
    return len;
}

/*
 * A line whose writing never ended: its end is missing, or, after a power cut, any part of it,
 * which reads as zeros, and then what comes behind it was never acknowledged either. One that is
 * too long was never begun by us: a fault of its form.
 */
static bool is_torn(const char *line, size_t len)
{
    return memchr(line, '\0', len) || (line[len - 1] != '\n' && len < AUDIT_LINE_MAX);
}

/* How many bytes are left; the file's error is seen by its own question. */
static uint64_t rest_of(FILE *file)
{
    uint64_t count = 0;

    while (getc_unlocked(file) != EOF)
        count++;
    return count;
}

static enum escrow_err read_lines(const struct reader *reader, FILE *file, bool is_unanchored,
                                  bool is_last)
{
    CLEANUP(cleanup_free) char *line = malloc(AUDIT_LINE_MAX);
    struct audit_reading *reading = reader->reading;
    enum escrow_err err;
    size_t len;

    if (!line)
        return ESCROW_ERR_NO_MEMORY;
    while ((len = next_line(file, line)) > 0) {
        if (is_torn(line, len)) {
            reading->torn_bytes = len + rest_of(file);
            break;
        }
        err = is_unanchored ? audit_chain_anchor(&reading->end, line, len) : ESCROW_OK;
        is_unanchored = false;
        if (!err)
            err = read_line(reader, line, len);
        if (err)
            return err;
        reading->segment_bytes += len;
    }
    if (ferror(file)) {
        log_error("audit: cannot read %s/%s: %s", reader->directory, reading->segment,
                  strerror(errno));
        return ESCROW_ERR_STORE;
    }
    /* Only the writing of the very last line can have been interrupted. */
    return reading->torn_bytes && !is_last ? report_fault(reader, AUDIT_FAULT_FORM) : ESCROW_OK;
}

static enum escrow_err read_segment(const struct reader *reader, bool is_unanchored, bool is_last)
{
    struct audit_reading *reading = reader->reading;
    CLEANUP(cleanup_free) char *path = NULL;
    CLEANUP(close_file) FILE *file = NULL;

    if (asprintf(&path, "%s/%s", reader->directory, reading->segment) < 0) {
        path = NULL;
        return ESCROW_ERR_NO_MEMORY;
    }
    file = fopen(path, "re");
    if (!file) {
        log_error("audit: cannot open %s: %s", path, strerror(errno));
        return ESCROW_ERR_STORE;
    }
    reading->segment_bytes = 0;
    reading->torn_bytes = 0;
    return read_lines(reader, file, is_unanchored, is_last);
}

enum escrow_err audit_last_segment(const char *directory, char ret_name[static AUDIT_SEGMENT_NAME])
{
    CLEANUP(segment_list_deinit) struct segment_list list = {0};
    enum escrow_err err = segment_list_read(directory, &list);

    if (err)
        return err;
    ret_name[0] = '\0';
    if (list.count)
        audit_segment_name(list.first[list.count - 1], ret_name);
    return ESCROW_OK;
}

enum escrow_err audit_read(const char *directory, uint64_t from, audit_line_fn on_line,
                           void *argument, struct audit_reading *ret_reading)
{
    CLEANUP(segment_list_deinit) struct segment_list list = {0};
    const struct reader reader = {directory, from, on_line, argument, ret_reading};
    enum escrow_err err;
    size_t first;

    memset(ret_reading, 0, sizeof(*ret_reading));
    err = segment_list_read(directory, &list);
    if (err)
        return err;
    first = segment_list_find(&list, from);
    for (size_t i = first; i < list.count; i++) {
        bool is_unanchored = i == first && i > 0;

        audit_segment_name(list.first[i], ret_reading->segment);
        if (is_unanchored)
            ret_reading->end.sequence = list.first[i] - 1;
        if (list.first[i] != ret_reading->end.sequence + 1)
            return report_fault(&reader, AUDIT_FAULT_SEQUENCE);
        err = read_segment(&reader, is_unanchored, i + 1 == list.count);
        if (err)
            return err;
    }
    return ESCROW_OK;
}
