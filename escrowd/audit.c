/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/audit.h"

#include "escrowd/clock.h"
#include "libescrow/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define TROUBLE_MAX 160
/* A body as front hands it on, and the facts of a decision: no record but that of a large roster
 * takes more. */
#define ROOM_KIB 256

struct queued {
    struct audit_record record; /* parsed back from the line: what a reader will see */
    struct audit_chain chain;   /* moved to this record */
    char *line;
    size_t len;
    audit_durable_fn on_durable;
    void *argument;
};

struct queue {
    struct queued *items;
    size_t count, cap;
    size_t bytes;
};

struct audit {
    struct audit_config config;
    char *directory;
    int directory_fd;
    int segment_fd;
    char segment[AUDIT_SEGMENT_NAME];
    uint64_t segment_bytes;     /* acknowledged */
    struct audit_chain durable; /* of what is acknowledged */
    struct audit_chain next;    /* with what is queued */
    struct queue queue;
    char trouble[TROUBLE_MAX]; /* empty: none */
    uint64_t written_bytes;
    struct metric_times commits;
};

static void queue_deinit(struct queue *queue)
{
    for (size_t i = 0; i < queue->count; i++) {
        audit_record_deinit(&queue->items[i].record);
        free(queue->items[i].line);
    }
    free(queue->items);
    memset(queue, 0, sizeof(*queue));
}

__attribute__((format(printf, 2, 3))) static enum escrow_err in_trouble(struct audit *audit,
                                                                        const char *format, ...)
{
    char text[TROUBLE_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (strcmp(text, audit->trouble) != 0)
        log_error("audit: the log cannot be written, nothing is released: %s", text);
    memcpy(audit->trouble, text, sizeof(text));
    return ESCROW_ERR_STORE;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* What is written must be what a reader would find under the configured path. */
static enum escrow_err check_identity(struct audit *audit)
{
    struct stat opened, named;

    if (fstat(audit->directory_fd, &opened) != 0 || stat(audit->directory, &named) != 0 ||
        !same_file(&opened, &named))
        return in_trouble(audit, "the directory %s was removed or replaced", audit->directory);
    if (fstat(audit->segment_fd, &opened) != 0 ||
        fstatat(audit->directory_fd, audit->segment, &named, AT_SYMLINK_NOFOLLOW) != 0 ||
        !same_file(&opened, &named))
        return in_trouble(audit, "the segment %s was removed or replaced", audit->segment);
    return ESCROW_OK;
}

static int segment_open(const struct audit *audit, const char *name)
{
    return openat(audit->directory_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* The file may be there, empty, from an attempt that failed. */
static enum escrow_err check_new_segment(struct audit *audit, int fd, const char *name)
{
    struct stat status;

    if (fstat(fd, &status) != 0 || status.st_size != 0)
        return in_trouble(audit, "the new segment %s is not empty", name);
    if (fsync(audit->directory_fd) != 0)
        return in_trouble(audit, "cannot sync the directory: %s", strerror(errno));
    return ESCROW_OK;
}

/* Goes on in a new segment, named by the next record. */
static enum escrow_err segment_new(struct audit *audit)
{
    char name[AUDIT_SEGMENT_NAME];
    enum escrow_err err;
    int fd;

    audit_segment_name(audit->durable.sequence + 1, name);
    fd = segment_open(audit, name);
    if (fd < 0)
        return in_trouble(audit, "cannot create the segment %s: %s", name, strerror(errno));
    err = check_new_segment(audit, fd, name);
    if (err) {
        close(fd);
        return err;
    }
    cleanup_close(&audit->segment_fd);
    audit->segment_fd = fd;
    memcpy(audit->segment, name, sizeof(name));
    audit->segment_bytes = 0;
    return ESCROW_OK;
}

static enum escrow_err write_all(struct audit *audit, const char *bytes, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t written = pwrite(audit->segment_fd, bytes + done, len - done,
                                 (off_t)(audit->segment_bytes + done));

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return in_trouble(audit, "cannot write %s: %s", audit->segment, strerror(errno));
        done += (size_t)written;
    }
    if (fdatasync(audit->segment_fd) != 0)
        return in_trouble(audit, "cannot sync %s: %s", audit->segment, strerror(errno));
    return ESCROW_OK;
}

static enum escrow_err write_queue(struct audit *audit, const struct queue *queue)
{
    CLEANUP(cleanup_free) char *bytes = malloc(queue->bytes);
    size_t used = 0;
    enum escrow_err err;

    if (!bytes)
        return in_trouble(audit, "out of memory");
    for (size_t i = 0; i < queue->count; i++) {
        memcpy(bytes + used, queue->items[i].line, queue->items[i].len);
        used += queue->items[i].len;
    }
    err = check_identity(audit);
    if (err)
        return err;
    if (audit->segment_bytes && audit->segment_bytes + used > audit->config.segment_bytes) {
        err = segment_new(audit);
        if (err)
            return err;
    }
    err = write_all(audit, bytes, used);
    if (err)
        return err;
    /* A file that was unlinked while it was written holds nothing that lasts. */
    err = check_identity(audit);
    if (err)
        return err;
    audit->segment_bytes += used;
    return ESCROW_OK;
}

static enum escrow_err queue_reserve(struct queue *queue)
{
    size_t cap = queue->cap ? 2 * queue->cap : 8;
    struct queued *grown;

    if (queue->count < queue->cap)
        return ESCROW_OK;
    grown = reallocarray(queue->items, cap, sizeof(*grown));
    if (!grown)
        return ESCROW_ERR_NO_MEMORY;
    queue->items = grown;
    queue->cap = cap;
    return ESCROW_OK;
}

/* Appends without asking whether the log is in trouble. */
static enum escrow_err enqueue(struct audit *audit, const struct audit_record *record,
                               audit_durable_fn on_durable, void *argument)
{
    struct audit_record stamped = *record;
    CLEANUP(cleanup_free) char *line = NULL;
    struct queued *item;
    size_t len;
    enum escrow_err err;

    err = queue_reserve(&audit->queue);
    if (err)
        return err;
    stamped.sequence = audit->next.sequence + 1;
    stamped.time_ms = clock_wall_ms();
    memcpy(stamped.previous, audit->next.hash, AUDIT_HASH_BYTES);
    err = audit_record_encode(&stamped, &line, &len);
    if (err)
        return err;
    item = &audit->queue.items[audit->queue.count];
    memset(item, 0, sizeof(*item));
    item->chain = audit->next;
    if (audit_chain_next(&item->chain, line, len, &item->record))
        return ESCROW_ERR_MALFORMED;
    item->line = TAKE(line);
    item->len = len;
    item->on_durable = on_durable;
    item->argument = argument;
    audit->next = item->chain;
    audit->queue.bytes += len;
    audit->queue.count++;
    return ESCROW_OK;
}

enum escrow_err audit_append(struct audit *audit, const struct audit_record *record,
                             audit_durable_fn on_durable, void *argument)
{
    if (audit->trouble[0])
        return ESCROW_ERR_STORE;
    return enqueue(audit, record, on_durable, argument);
}

size_t audit_queued(const struct audit *audit)
{
    return audit->queue.count;
}

static enum escrow_err run_batch(const struct audit *audit, const struct queue *queue)
{
    CLEANUP(cleanup_free) struct audit_line *lines = NULL;

    if (!audit->config.on_batch || queue->count == 0)
        return ESCROW_OK;
    lines = calloc(queue->count, sizeof(*lines));
    if (!lines)
        return ESCROW_ERR_NO_MEMORY;
    for (size_t i = 0; i < queue->count; i++) {
        const struct queued *item = &queue->items[i];

        lines[i] = (struct audit_line){&item->record, item->line, item->len, &item->chain};
    }
    return audit->config.on_batch(lines, queue->count, audit->config.argument);
}

/* *ret_is_written: the log has it, whatever on_batch made of it. */
static enum escrow_err commit(struct audit *audit, bool *ret_is_written)
{
    CLEANUP(queue_deinit) struct queue queue = audit->queue;
    int64_t began_us = metric_now_us();
    enum escrow_err err, result;

    memset(&audit->queue, 0, sizeof(audit->queue));
    err = write_queue(audit, &queue);
    metric_observe(&audit->commits, metric_now_us() - began_us);
    *ret_is_written = err == ESCROW_OK;
    if (err) {
        audit->next = audit->durable;
        /* Best effort: audit_recover insists. */
        (void)!ftruncate(audit->segment_fd, (off_t)audit->segment_bytes);
    } else {
        audit->durable = audit->next;
        audit->written_bytes += queue.bytes;
    }
    result = err ? err : run_batch(audit, &queue);
    for (size_t i = 0; i < queue.count; i++) {
        if (queue.items[i].on_durable)
            queue.items[i].on_durable(result, queue.items[i].record.sequence,
                                      queue.items[i].argument);
    }
    return result;
}

enum escrow_err audit_commit(struct audit *audit)
{
    bool is_written;

    return audit->queue.count ? commit(audit, &is_written) : ESCROW_OK;
}

/* False: it cannot be known. */
static bool has_free_bytes(const struct audit *audit, uint64_t *ret_bytes)
{
    struct statfs disk;

    if (fstatfs(audit->directory_fd, &disk) != 0)
        return false;
    *ret_bytes = (uint64_t)disk.f_bavail * (uint64_t)disk.f_bsize;
    return true;
}

void audit_numbers(const struct audit *audit, struct audit_numbers *ret_numbers)
{
    *ret_numbers = (struct audit_numbers){.bytes = audit->written_bytes, .commits = audit->commits};
    (void)has_free_bytes(audit, &ret_numbers->free_bytes);
}

const char *audit_trouble(const struct audit *audit)
{
    return audit->trouble[0] ? audit->trouble : NULL;
}

static enum escrow_err queue_note(struct audit *audit, enum audit_event event, json_t *detail)
{
    const struct audit_record record = {.event = event, .detail = detail};

    return detail ? enqueue(audit, &record, NULL, NULL) : ESCROW_ERR_NO_MEMORY;
}

enum escrow_err audit_recover(struct audit *audit)
{
    CLEANUP(json_decrefp) json_t *detail = NULL;
    uint64_t free_bytes;
    bool is_written;
    enum escrow_err err;

    if (!audit->trouble[0])
        return ESCROW_OK;
    err = check_identity(audit);
    if (err)
        return err;
    /* Else the small record would fit that says so, and the next one would not. */
    if (has_free_bytes(audit, &free_bytes) && free_bytes < (uint64_t)ROOM_KIB * 1024)
        return in_trouble(audit, "No space left on the disk of %s: less than %d KiB",
                          audit->directory, ROOM_KIB);
    if (ftruncate(audit->segment_fd, (off_t)audit->segment_bytes) != 0)
        return in_trouble(audit, "cannot cut %s: %s", audit->segment, strerror(errno));
    detail = json_pack("{s:s}", "error", audit->trouble);
    err = queue_note(audit, AUDIT_LOG_BACK, detail);
    if (err)
        return err;
    err = commit(audit, &is_written);
    if (is_written) {
        audit->trouble[0] = '\0';
        log_notice("audit: the log can be written again");
    }
    return err;
}

const struct audit_chain *audit_end(const struct audit *audit)
{
    return &audit->durable;
}

void audit_close(struct audit *audit)
{
    queue_deinit(&audit->queue);
    cleanup_close(&audit->segment_fd);
    cleanup_close(&audit->directory_fd);
    free(audit->directory);
    free(audit);
}

enum escrow_err audit_settle(const char *directory)
{
    CLEANUP(cleanup_close) int directory_fd = open(directory, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    CLEANUP(cleanup_close) int segment_fd = -1;
    char name[AUDIT_SEGMENT_NAME];
    enum escrow_err err = audit_last_segment(directory, name);

    if (err)
        return err;
    if (directory_fd >= 0 && name[0])
        segment_fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (directory_fd >= 0 && (!name[0] || (segment_fd >= 0 && fdatasync(segment_fd) == 0)) &&
        fsync(directory_fd) == 0)
        return ESCROW_OK;
    log_error("audit: cannot sync %s/%s: %s", directory, name, strerror(errno));
    return ESCROW_ERR_STORE;
}

/* Opens the last segment at its last complete line. */
static enum escrow_err segment_continue(struct audit *audit, const struct audit_reading *reading)
{
    CLEANUP(json_decrefp) json_t *detail = NULL;

    memcpy(audit->segment, reading->segment, sizeof(audit->segment));
    audit->segment_bytes = reading->segment_bytes;
    audit->segment_fd = segment_open(audit, audit->segment);
    if (audit->segment_fd < 0)
        return in_trouble(audit, "cannot open %s: %s", audit->segment, strerror(errno));
    if (!reading->torn_bytes)
        return ESCROW_OK;
    if (ftruncate(audit->segment_fd, (off_t)audit->segment_bytes) != 0)
        return in_trouble(audit, "cannot cut %s: %s", audit->segment, strerror(errno));
    log_warning("audit: %s ended in %" PRIu64 " bytes of interrupted records, now cut",
                audit->segment, reading->torn_bytes);
    detail = json_pack("{s:s, s:I}", "segment", audit->segment, "bytes",
                       (json_int_t)reading->torn_bytes);
    return queue_note(audit, AUDIT_LOG_TORN, detail);
}

enum escrow_err audit_open(const struct audit_config *config, const struct audit_reading *reading,
                           struct audit **ret_audit)
{
    CLEANUP(audit_close_p) struct audit *audit = calloc(1, sizeof(*audit));
    enum escrow_err err;

    if (!audit)
        return ESCROW_ERR_NO_MEMORY;
    audit->config = *config;
    audit->segment_fd = -1;
    audit->durable = audit->next = reading->end;
    audit->directory_fd = open(config->directory, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (audit->directory_fd < 0) {
        log_error("audit: cannot open %s: %s", config->directory, strerror(errno));
        return ESCROW_ERR_STORE;
    }
    audit->directory = strdup(config->directory);
    if (!audit->directory)
        return ESCROW_ERR_NO_MEMORY;
    err = reading->segment[0] ? segment_continue(audit, reading) : segment_new(audit);
    if (err)
        return err;
    *ret_audit = TAKE(audit);
    return ESCROW_OK;
}
