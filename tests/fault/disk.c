/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/disk.h"

#include "tests/fault/draw.h"
#include "tests/fault/steps.h"

#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECTOR 512
#define NAMES_MAX 64

struct change {
    enum note_kind kind; /* NOTE_WRITE, NOTE_CUT */
    int64_t at;
    uint64_t len;
    uint8_t *bytes;
};

struct content {
    uint8_t *bytes;
    size_t len;
};

/* A file, whatever it is called, and whether it still is. */
struct inode {
    struct content synced;
    struct change *changes;
    size_t count;
    unsigned names; /* that lead to it: now, and on the disk */
};

struct name {
    char path[300];
    struct inode *now, *on_disk; /* NULL: none */
};

struct disk {
    struct name names[NAMES_MAX];
    size_t count;
};

static void *grown(void *block, size_t count, size_t size)
{
    block = reallocarray(block, count ? count : 1, size);
    if (!block)
        err(1, "disk");
    return block;
}

struct disk *disk_new(void)
{
    struct disk *disk = grown(NULL, 1, sizeof(*disk));

    memset(disk, 0, sizeof(*disk));
    return disk;
}

static void forget_changes(struct inode *inode)
{
    for (size_t i = 0; i < inode->count; i++)
        free(inode->changes[i].bytes);
    free(inode->changes);
    inode->changes = NULL;
    inode->count = 0;
}

/* Makes a name lead elsewhere, or nowhere. */
static void lead(struct inode **from, struct inode *to)
{
    struct inode *old = *from;

    if (to)
        to->names++;
    *from = to;
    if (!old || --old->names > 0)
        return;
    forget_changes(old);
    free(old->synced.bytes);
    free(old);
}

void disk_free(struct disk *disk)
{
    for (size_t i = 0; i < disk->count; i++) {
        lead(&disk->names[i].now, NULL);
        lead(&disk->names[i].on_disk, NULL);
    }
    free(disk);
}

/* ---- what was done ---- */

static struct name *find(struct disk *disk, const char *path)
{
    for (size_t i = 0; i < disk->count; i++) {
        if (strcmp(disk->names[i].path, path) == 0)
            return &disk->names[i];
    }
    return NULL;
}

static void create(struct disk *disk, const char *path)
{
    struct name *name = find(disk, path);

    if (name && name->now)
        return;
    if (!name) {
        if (disk->count == NAMES_MAX)
            errx(1, "more than %d files", NAMES_MAX);
        name = &disk->names[disk->count++];
        snprintf(name->path, sizeof(name->path), "%s", path);
    }
    lead(&name->now, memset(grown(NULL, 1, sizeof(struct inode)), 0, sizeof(struct inode)));
}

static void resize(struct content *content, size_t len)
{
    content->bytes = grown(content->bytes, len, 1);
    if (len > content->len)
        memset(content->bytes + content->len, 0, len - content->len);
    content->len = len;
}

static void put(struct content *content, const struct change *change, uint64_t from, uint64_t len)
{
    const size_t end = (size_t)change->at + from + len;

    if (end > content->len)
        resize(content, end);
    memcpy(content->bytes + change->at + from, change->bytes + from, len);
}

static void apply(struct content *content, const struct change *change)
{
    if (change->kind == NOTE_CUT)
        resize(content, (size_t)change->at);
    else
        put(content, change, 0, change->len);
}

static void sync_file(struct inode *inode)
{
    for (size_t i = 0; i < inode->count; i++)
        apply(&inode->synced, &inode->changes[i]);
    forget_changes(inode);
}

static bool is_in(const char *path, const char *folder)
{
    const size_t len = strlen(folder);

    return strncmp(path, folder, len) == 0 && path[len] == '/';
}

static void sync_path(struct disk *disk, const char *path)
{
    const struct name *name = find(disk, path);

    if (name && name->now)
        sync_file(name->now);
    for (size_t i = 0; i < disk->count; i++) {
        if (is_in(disk->names[i].path, path))
            lead(&disk->names[i].on_disk, disk->names[i].now);
    }
}

static void change(struct disk *disk, const struct note *note, uint8_t *bytes)
{
    const struct name *name = find(disk, note->path);
    struct inode *inode = name ? name->now : NULL;

    if (!inode) {
        free(bytes);
        return;
    }
    inode->changes = grown(inode->changes, inode->count + 1, sizeof(*inode->changes));
    inode->changes[inode->count++] = (struct change){note->kind, note->at, note->len, bytes};
}

static void take(struct disk *disk, const struct note *note, uint8_t *bytes)
{
    struct name *name = find(disk, note->path);

    switch (note->kind) {
    case NOTE_CREATE:
        create(disk, note->path);
        break;
    case NOTE_REMOVE:
        if (name)
            lead(&name->now, NULL);
        break;
    case NOTE_SYNC:
        sync_path(disk, note->path);
        break;
    case NOTE_WRITE:
    case NOTE_CUT:
        change(disk, note, bytes);
        return;
    }
    free(bytes);
}

void disk_feed(struct disk *disk)
{
    struct note note;
    off_t at = 0;

    while (pread(steps_notes(), &note, sizeof(note), at) == sizeof(note)) {
        uint8_t *bytes = note.len ? grown(NULL, note.len, 1) : NULL;

        at += (off_t)sizeof(note);
        if (note.len && pread(steps_notes(), bytes, note.len, at) != (ssize_t)note.len)
            errx(1, "a note is cut short");
        at += (off_t)note.len;
        take(disk, &note, bytes);
    }
    steps_forget();
}

void disk_remove(struct disk *disk, const char *path)
{
    struct name *name = find(disk, path);

    if (name) {
        lead(&name->now, NULL);
        lead(&name->on_disk, NULL);
    }
    unlink(path);
}

/* ---- what is left ---- */

/* Any sectors of the change. */
static void scrape(struct content *content, const struct change *change, uint64_t *seed)
{
    uint64_t done = 0;

    if (change->kind == NOTE_CUT) {
        if (draw_number(seed) % 2)
            apply(content, change);
        return;
    }
    while (done < change->len) {
        uint64_t len = SECTOR - ((uint64_t)change->at + done) % SECTOR;

        if (len > change->len - done)
            len = change->len - done;
        if (draw_number(seed) % 2)
            put(content, change, done, len);
        done += len;
    }
}

static void lose(struct inode *inode, enum disk_loss loss, uint64_t *seed)
{
    for (size_t i = 0; i < inode->count; i++) {
        if (loss == DISK_KEEPS)
            apply(&inode->synced, &inode->changes[i]);
        else if (loss == DISK_SCRAPES)
            scrape(&inode->synced, &inode->changes[i], seed);
    }
    forget_changes(inode);
}

static void write_file(const struct name *name)
{
    const struct content *content = &name->now->synced;
    FILE *file = fopen(name->path, "we");

    if (!file || (content->len && fwrite(content->bytes, content->len, 1, file) != 1) ||
        fclose(file) != 0)
        err(1, "%s", name->path);
}

void disk_cut(struct disk *disk, const char *log_folder, enum disk_loss of_log,
              enum disk_loss of_others, uint64_t seed)
{
    const bool keeps_names = draw_number(&seed) % 2;

    for (size_t i = 0; i < disk->count; i++) {
        struct name *name = &disk->names[i];
        const enum disk_loss loss = is_in(name->path, log_folder) ? of_log : of_others;

        if (loss == DISK_LOSES || (loss == DISK_SCRAPES && !keeps_names))
            lead(&name->now, name->on_disk);
        lead(&name->on_disk, name->now);
        if (name->now) {
            lose(name->now, loss, &seed);
            write_file(name);
        } else {
            unlink(name->path);
        }
    }
}
