/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/file_watch.h"

#include "libescrow/log.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define QUIET_MS 500 /* a set of files is complete when nothing happened for so long */
#define BUSY_MS 5000 /* in a folder where something always happens: look this often */
#define LOOK_S 60
#define EVENTS                                                                                     \
    (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CLOSE_WRITE | IN_ATTRIB | IN_ONLYDIR)

/* What a file is known by; all zero: it is not there. */
struct signature {
    dev_t device;
    ino_t inode;
    mode_t mode;
    off_t size;
    struct timespec written, changed;
};

struct watched {
    char *path;
    int folder; /* its watch descriptor, -1: none */
    struct signature signature;
    bool has_changed;
};

struct file_watch {
    file_watch_fn on_change;
    void *argument;
    int inotify_fd; /* -1: there is none */
    struct event *readable;
    struct event *quiet; /* goes off when nothing has happened for a while */
    struct event *look;  /* once a minute */
    int64_t look_by_ms;  /* quiet goes off then at the latest; 0: it waits for nothing */
    struct watched *files;
    size_t count;
    bool is_complaint_logged;
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct signature signature_of(const char *path)
{
    struct signature signature = {0};
    struct stat status;

    if (stat(path, &status) < 0)
        return signature;
    signature.device = status.st_dev;
    signature.inode = status.st_ino;
    signature.mode = status.st_mode;
    signature.size = status.st_size;
    signature.written = status.st_mtim;
    signature.changed = status.st_ctim;
    return signature;
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_same(const struct signature *a, const struct signature *b)
{
    return a->device == b->device && a->inode == b->inode && a->mode == b->mode &&
           a->size == b->size && is_same_time(&a->written, &b->written) &&
           is_same_time(&a->changed, &b->changed);
}

/* Files of one folder share its watch. */
static void forget_folder(const struct file_watch *watch, int folder)
{
    for (size_t i = 0; i < watch->count; i++) {
        if (watch->files[i].folder == folder)
            return;
    }
    /* It fails if the folder is gone: the watch is then gone with it. */
    (void)inotify_rm_watch(watch->inotify_fd, folder);
}

static int watch_folder(struct file_watch *watch, const char *path)
{
    char folder[PATH_MAX];
    int found = -1;

    snprintf(folder, sizeof(folder), "%s", path);
    if (watch->inotify_fd >= 0)
        found = inotify_add_watch(watch->inotify_fd, dirname(folder), EVENTS);
    if (found >= 0)
        return found;
    if (!watch->is_complaint_logged)
        log_warning("changes in the folder of %s are seen only once a minute, and on SIGHUP: "
                    "inotify: %s",
                    path, strerror(errno));
    watch->is_complaint_logged = true;
    return -1;
}

/* A folder that is watched already stays so; one that was made anew is watched instead. */
static void watch_folders(struct file_watch *watch)
{
    for (size_t i = 0; i < watch->count; i++) {
        struct watched *file = &watch->files[i];
        int before = file->folder;

        file->folder = watch_folder(watch, file->path);
        if (before >= 0 && before != file->folder)
            forget_folder(watch, before);
    }
}

void file_watch_look(struct file_watch *watch)
{
    watch_folders(watch);
    for (size_t i = 0; i < watch->count; i++) {
        struct watched *file = &watch->files[i];
        struct signature now = signature_of(file->path);

        file->has_changed = !is_same(&now, &file->signature);
        file->signature = now;
    }
}

static void look(struct file_watch *watch)
{
    bool has_changed = false;

    watch->look_by_ms = 0;
    file_watch_look(watch);
    for (size_t i = 0; i < watch->count; i++)
        has_changed |= watch->files[i].has_changed;
    if (has_changed)
        watch->on_change(watch->argument);
}

static void on_time(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    look(argument);
}

/* Something happened in a folder, whatever it was. */
static void on_readable(evutil_socket_t fd, short what, void *argument)
{
    struct file_watch *watch = argument;
    const struct timeval quiet = {.tv_usec = QUIET_MS * 1000};
    char events[4096];

    (void)what;
    while (read((int)fd, events, sizeof(events)) > 0) {
    }
    if (watch->look_by_ms == 0)
        watch->look_by_ms = now_ms() + BUSY_MS;
    if (now_ms() + QUIET_MS < watch->look_by_ms && event_add(watch->quiet, &quiet) < 0)
        look(watch);
}

enum escrow_err file_watch_new(struct event_base *base, file_watch_fn on_change, void *argument,
                               struct file_watch **ret_watch)
{
    const struct timeval every = {.tv_sec = LOOK_S};
    struct file_watch *watch = calloc(1, sizeof(*watch));

    if (!watch)
        return ESCROW_ERR_NO_MEMORY;
    watch->on_change = on_change;
    watch->argument = argument;
    watch->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    watch->quiet = evtimer_new(base, on_time, watch);
    watch->look = event_new(base, -1, EV_PERSIST, on_time, watch);
    if (watch->inotify_fd >= 0)
        watch->readable =
            event_new(base, watch->inotify_fd, EV_READ | EV_PERSIST, on_readable, watch);
    if (!watch->quiet || !watch->look || event_add(watch->look, &every) < 0 ||
        (watch->inotify_fd >= 0 && (!watch->readable || event_add(watch->readable, NULL) < 0))) {
        file_watch_free(watch);
        return ESCROW_ERR_NO_MEMORY;
    }
    *ret_watch = watch;
    return ESCROW_OK;
}

static const struct watched *find(const struct file_watch *watch, const char *path)
{
    for (size_t i = 0; i < watch->count; i++) {
        if (strcmp(watch->files[i].path, path) == 0)
            return &watch->files[i];
    }
    return NULL;
}

static void free_files(struct watched *files, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(files[i].path);
    free(files);
}

void file_watch_free(struct file_watch *watch)
{
    if (!watch)
        return;
    if (watch->readable)
        event_free(watch->readable);
    if (watch->quiet)
        event_free(watch->quiet);
    if (watch->look)
        event_free(watch->look);
    cleanup_close(&watch->inotify_fd);
    free_files(watch->files, watch->count);
    free(watch);
}

static void use_files(struct file_watch *watch, struct watched *files, size_t count)
{
    struct watched *before = watch->files;
    size_t count_before = watch->count;

    watch->files = files;
    watch->count = count;
    watch_folders(watch);
    for (size_t i = 0; i < count_before; i++) {
        if (before[i].folder >= 0)
            forget_folder(watch, before[i].folder);
    }
    free_files(before, count_before);
}

enum escrow_err file_watch_set(struct file_watch *watch, const char *const *paths, size_t count)
{
    struct watched *files = calloc(count ? count : 1, sizeof(*files));
    size_t used = 0;

    if (!files)
        return ESCROW_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const struct watched *known;
        char *path;

        if (!paths[i])
            continue;
        path = strdup(paths[i]);
        if (!path) {
            free_files(files, used);
            return ESCROW_ERR_NO_MEMORY;
        }
        known = find(watch, paths[i]);
        if (known)
            files[used] = *known;
        else
            files[used] = (struct watched){.folder = -1, .signature = signature_of(paths[i])};
        files[used].path = path;
        used++;
    }
    use_files(watch, files, used);
    return ESCROW_OK;
}

bool file_watch_has_changed(const struct file_watch *watch, const char *path)
{
    const struct watched *file = path ? find(watch, path) : NULL;

    return file && file->has_changed;
}
