/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/steps.h"

#include "escrowd/ipc_messages.h"

#include <sqlite3.h>

#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Shared with the keepers that are forked later. */
struct shared {
    bool is_armed;
    uint64_t at;
    enum step_phase phase;
    char first[32]; /* at becomes the first step of this name; empty: none */
    struct steps_report report;
};

static struct shared *shared;
static int notes_fd = -1;
static bool is_here;
/* NOLINTNEXTLINE(readability-identifier-naming) */
ssize_t __real_write(int fd, const void *from, size_t len);
/* The keeper's TPM has a thread of its own. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local uint64_t current; /* the step that this thread is in; 0: not counted */

void steps_init(void)
{
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    notes_fd = memfd_create("notes", MFD_CLOEXEC);
    if (shared == MAP_FAILED || notes_fd < 0)
        err(1, "steps");
    steps_vfs_register();
}

void steps_here(void)
{
    is_here = true;
}

void steps_arm(uint64_t at, enum step_phase phase)
{
    memset(&shared->report, 0, sizeof(shared->report));
    shared->at = at;
    shared->phase = phase;
    shared->first[0] = '\0';
    shared->is_armed = true;
}

void steps_arm_first(const char *name, enum step_phase phase)
{
    steps_arm(0, phase);
    snprintf(shared->first, sizeof(shared->first), "%s", name);
}

void steps_disarm(struct steps_report *ret_report)
{
    shared->is_armed = false;
    *ret_report = shared->report;
}

int steps_notes(void)
{
    return notes_fd;
}

void steps_forget(void)
{
    if (ftruncate(notes_fd, 0) != 0 || lseek(notes_fd, 0, SEEK_SET) != 0)
        err(1, "notes");
}

static void die_if(enum step_phase phase)
{
    if (!current || current != shared->at || shared->phase != phase || !shared->is_armed)
        return;
    shared->report.is_killed = true;
    kill(getpid(), SIGKILL);
}

bool steps_before(const char *name, bool is_write)
{
    struct steps_report *report = &shared->report;

    current = 0;
    if (!is_here || !shared->is_armed)
        return false;
    pthread_mutex_lock(&lock);
    current = ++report->count;
    if (current > STEPS_MAX)
        errx(1, "more than %d steps", STEPS_MAX);
    report->is_write[current - 1] = is_write;
    if (shared->at == 0 && strcmp(shared->first, name) == 0)
        shared->at = current;
    if (current == shared->at)
        snprintf(report->killed_at, sizeof(report->killed_at), "%s", name);
    pthread_mutex_unlock(&lock);
    die_if(STEP_BEFORE);
    return is_write && current == shared->at && shared->phase == STEP_HALF;
}

void steps_after(void)
{
    die_if(STEP_HALF);
    die_if(STEP_AFTER);
    current = 0;
}

void steps_note(const struct note *note, const void *bytes)
{
    if (!is_here)
        return;
    pthread_mutex_lock(&lock);
    if (__real_write(notes_fd, note, sizeof(*note)) != sizeof(*note) ||
        (note->len && __real_write(notes_fd, bytes, note->len) != (ssize_t)note->len))
        err(1, "notes");
    pthread_mutex_unlock(&lock);
}

static void note_fd(enum note_kind kind, int fd, int64_t at, const void *bytes, uint64_t len)
{
    struct note note = {.kind = kind, .at = at, .len = len};
    char link[40];
    ssize_t size;

    if (!is_here)
        return;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    size = readlink(link, note.path, sizeof(note.path) - 1);
    if (size < 0)
        err(1, "%s", link);
    note.path[size] = '\0';
    steps_note(&note, bytes);
}

/* NOLINTBEGIN(readability-identifier-naming): the linker calls them by these names */
ssize_t __real_pwrite(int fd, const void *from, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *from, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *from, size_t len, off_t at)
{
    const bool is_half = steps_before("pwrite", true);
    ssize_t written = __real_pwrite(fd, from, is_half ? len / 2 : len, at);

    if (written > 0)
        note_fd(NOTE_WRITE, fd, at, from, (uint64_t)written);
    steps_after();
    return written;
}

/* What is said on stderr is none of its files. */
static bool is_file(int fd)
{
    struct stat status;

    return fd != STDERR_FILENO && fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

/* To a file, where it ends. */
ssize_t __wrap_write(int fd, const void *from, size_t len);
ssize_t __wrap_write(int fd, const void *from, size_t len)
{
    ssize_t written;
    off_t at;
    bool is_half;

    if (!is_here || !is_file(fd))
        return __real_write(fd, from, len);
    at = lseek(fd, 0, SEEK_CUR);
    is_half = steps_before("write", true);
    written = __real_write(fd, from, is_half ? len / 2 : len);
    if (written > 0)
        note_fd(NOTE_WRITE, fd, at, from, (uint64_t)written);
    steps_after();
    return written;
}

#define WRAP_SYNC(name)                                                                            \
    int __real_##name(int fd);                                                                     \
    int __wrap_##name(int fd);                                                                     \
    int __wrap_##name(int fd)                                                                      \
    {                                                                                              \
        int result;                                                                                \
                                                                                                   \
        (void)steps_before(#name, false);                                                          \
        result = __real_##name(fd);                                                                \
        if (result == 0)                                                                           \
            note_fd(NOTE_SYNC, fd, 0, NULL, 0);                                                    \
        steps_after();                                                                             \
        return result;                                                                             \
    }
WRAP_SYNC(fsync)
WRAP_SYNC(fdatasync)

int __real_ftruncate(int fd, off_t len);
int __wrap_ftruncate(int fd, off_t len);
int __wrap_ftruncate(int fd, off_t len)
{
    int result;

    if (fd == notes_fd)
        return __real_ftruncate(fd, len);
    (void)steps_before("ftruncate", false);
    result = __real_ftruncate(fd, len);
    if (result == 0)
        note_fd(NOTE_CUT, fd, len, NULL, 0);
    steps_after();
    return result;
}

#define WRAP_NAMES(name, parameters, arguments)                                                    \
    int __real_##name parameters;                                                                  \
    int __wrap_##name parameters;                                                                  \
    int __wrap_##name parameters                                                                   \
    {                                                                                              \
        int result;                                                                                \
                                                                                                   \
        (void)steps_before(#name, false);                                                          \
        result = __real_##name arguments;                                                          \
        steps_after();                                                                             \
        return result;                                                                             \
    }
WRAP_NAMES(rename, (const char *from, const char *to), (from, to))
WRAP_NAMES(unlink, (const char *path), (path))

static mode_t mode_of(int flags, va_list *list)
{
    return flags & O_CREAT ? va_arg(*list, mode_t) : 0;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list list;
    mode_t mode;
    int fd;

    va_start(list, flags);
    mode = mode_of(flags, &list);
    va_end(list);
    if (!(flags & O_CREAT))
        return __real_open(path, flags);
    (void)steps_before("open", false);
    fd = __real_open(path, flags, mode);
    if (fd >= 0)
        note_fd(NOTE_CREATE, fd, 0, NULL, 0);
    steps_after();
    return fd;
}

int __real_openat(int folder, const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...)
{
    va_list list;
    mode_t mode;
    int fd;

    va_start(list, flags);
    mode = mode_of(flags, &list);
    va_end(list);
    if (!(flags & O_CREAT))
        return __real_openat(folder, path, flags);
    (void)steps_before("openat", false);
    fd = __real_openat(folder, path, flags, mode);
    if (fd >= 0)
        note_fd(NOTE_CREATE, fd, 0, NULL, 0);
    steps_after();
    return fd;
}

/* A command to the TPM. */
ssize_t __real_send(int fd, const void *from, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *from, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *from, size_t len, int flags)
{
    ssize_t sent;

    (void)steps_before("TPM command", false);
    sent = __real_send(fd, from, len, flags);
    steps_after();
    return sent;
}

/* Of all messages only replies count: the others come by the clock. */
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct ipc_header header;
    ssize_t sent;

    memcpy(&header, message->msg_iov[0].iov_base, sizeof(header));
    if (header.type != IPC_REPLY && header.type != IPC_REPLY_LARGE)
        return __real_sendmsg(fd, message, flags);
    (void)steps_before("reply", false);
    sent = __real_sendmsg(fd, message, flags);
    steps_after();
    return sent;
}

int __real_sqlite3_step(sqlite3_stmt *statement);
int __wrap_sqlite3_step(sqlite3_stmt *statement);
int __wrap_sqlite3_step(sqlite3_stmt *statement)
{
    const bool is_reading = sqlite3_stmt_readonly(statement) && sqlite3_column_count(statement) > 0;
    uint64_t step;
    int result;

    if (is_reading)
        return __real_sqlite3_step(statement);
    (void)steps_before("statement", false);
    step = current;
    result = __real_sqlite3_step(statement);
    current = step; /* what SQLite did on the way were steps of their own */
    steps_after();
    return result;
}
/* NOLINTEND(readability-identifier-naming) */
