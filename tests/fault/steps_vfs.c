/* SPDX-License-Identifier: Apache-2.0 */
/* steps_vfs_register of steps.h: SQLite's own VFS, with a step around whatever changes a file. */
#include "tests/fault/steps.h"

#include <sqlite3.h>

#include <err.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>

/* The true file's structure lies behind it. */
struct file {
    sqlite3_file base;
    const char *path;  /* SQLite's, for as long as the file is open; NULL: temporary */
    bool syncs_folder; /* with the next sync */
};

static sqlite3_vfs *real_vfs;
static sqlite3_vfs our_vfs;

static sqlite3_file *real_file(sqlite3_file *file)
{
    return (sqlite3_file *)((struct file *)file + 1);
}

static const sqlite3_io_methods *real_of(sqlite3_file *file)
{
    return real_file(file)->pMethods;
}

static void note(enum note_kind kind, const char *path, int64_t at, const void *bytes, int len)
{
    struct note note = {.kind = kind, .at = at, .len = (uint64_t)len};

    if (!path)
        return;
    snprintf(note.path, sizeof(note.path), "%s", path);
    steps_note(&note, bytes);
}

static void note_folder_synced(const char *path)
{
    char copy[300];

    snprintf(copy, sizeof(copy), "%s", path);
    note(NOTE_SYNC, dirname(copy), 0, NULL, 0);
}

static int on_close(sqlite3_file *file)
{
    return real_of(file)->xClose(real_file(file));
}

static int on_read(sqlite3_file *file, void *to, int len, sqlite3_int64 at)
{
    return real_of(file)->xRead(real_file(file), to, len, at);
}

static int on_write(sqlite3_file *file, const void *from, int len, sqlite3_int64 at)
{
    const char *path = ((struct file *)file)->path;
    const int most = steps_before("store: write", true) ? len / 2 : len;
    int result = real_of(file)->xWrite(real_file(file), from, most, at);

    note(NOTE_WRITE, path, at, from, most);
    steps_after();
    return result;
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 len)
{
    int result;

    (void)steps_before("store: cut", false);
    result = real_of(file)->xTruncate(real_file(file), len);
    note(NOTE_CUT, ((struct file *)file)->path, len, NULL, 0);
    steps_after();
    return result;
}

/* SQLite's VFS syncs the folder when it syncs a journal for the first time. */
static int on_sync(sqlite3_file *file, int flags)
{
    struct file *ours = (struct file *)file;
    int result;

    (void)steps_before("store: sync", false);
    result = real_of(file)->xSync(real_file(file), flags);
    note(NOTE_SYNC, ours->path, 0, NULL, 0);
    if (ours->syncs_folder)
        note_folder_synced(ours->path);
    ours->syncs_folder = false;
    steps_after();
    return result;
}

static int on_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    return real_of(file)->xFileSize(real_file(file), ret_size);
}

static int on_lock(sqlite3_file *file, int level)
{
    return real_of(file)->xLock(real_file(file), level);
}

static int on_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->xUnlock(real_file(file), level);
}

static int on_check_lock(sqlite3_file *file, int *ret_is_locked)
{
    return real_of(file)->xCheckReservedLock(real_file(file), ret_is_locked);
}

static int on_control(sqlite3_file *file, int operation, void *argument)
{
    return real_of(file)->xFileControl(real_file(file), operation, argument);
}

static int on_sector_size(sqlite3_file *file)
{
    return real_of(file)->xSectorSize(real_file(file));
}

static int on_device(sqlite3_file *file)
{
    return real_of(file)->xDeviceCharacteristics(real_file(file));
}

static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = on_close,
    .xRead = on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_size,
    .xLock = on_lock,
    .xUnlock = on_unlock,
    .xCheckReservedLock = on_check_lock,
    .xFileControl = on_control,
    .xSectorSize = on_sector_size,
    .xDeviceCharacteristics = on_device,
};

static int on_open(sqlite3_vfs *vfs, sqlite3_filename path, sqlite3_file *file, int flags,
                   int *ret_flags)
{
    struct file *ours = (struct file *)file;
    int result;

    (void)vfs;
    memset(ours, 0, sizeof(*ours));
    ours->path = path;
    ours->syncs_folder = path && flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL);
    (void)steps_before("store: open", false);
    result = real_vfs->xOpen(real_vfs, path, real_file(file), flags, ret_flags);
    if (result == SQLITE_OK && flags & SQLITE_OPEN_CREATE)
        note(NOTE_CREATE, path, 0, NULL, 0);
    steps_after();
    if (real_file(file)->pMethods)
        ours->base.pMethods = &methods;
    return result;
}

static int on_delete(sqlite3_vfs *vfs, const char *path, int must_sync_folder)
{
    int result;

    (void)vfs;
    (void)steps_before("store: remove", false);
    result = real_vfs->xDelete(real_vfs, path, must_sync_folder);
    note(NOTE_REMOVE, path, 0, NULL, 0);
    if (must_sync_folder)
        note_folder_synced(path);
    steps_after();
    return result;
}

void steps_vfs_register(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    if (!real_vfs)
        errx(1, "SQLite has no VFS");
    our_vfs = *real_vfs;
    our_vfs.zName = "steps";
    our_vfs.szOsFile = (int)sizeof(struct file) + real_vfs->szOsFile;
    our_vfs.xOpen = on_open;
    our_vfs.xDelete = on_delete;
    if (sqlite3_vfs_register(&our_vfs, 1) != SQLITE_OK)
        errx(1, "sqlite3_vfs_register");
}
