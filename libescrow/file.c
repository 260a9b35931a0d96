/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/file.h"

#include "libescrow/log.h"
#include "libescrow/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static enum escrow_err write_all(int fd, const void *bytes, size_t len)
{
    const char *next = bytes;

    while (len > 0) {
        ssize_t written = write(fd, next, len);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return ESCROW_ERR_SYSTEM;
        next += written;
        len -= (size_t)written;
    }
    return ESCROW_OK;
}

/* A new name is on disk only when its folder is. */
static enum escrow_err sync_folder(const char *path)
{
    CLEANUP(cleanup_close) int fd = -1;
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX];

    if (strlen(path) >= sizeof(folder)) {
        errno = ENAMETOOLONG;
        return ESCROW_ERR_SYSTEM;
    }
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1,
             slash ? path : ".");
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? ESCROW_OK : ESCROW_ERR_SYSTEM;
}

static enum escrow_err fill(int fd, mode_t mode, const void *bytes, size_t len)
{
    enum escrow_err err;

    /* The umask may have taken bits away from mode; it never adds any. */
    if (fchmod(fd, mode) < 0)
        return ESCROW_ERR_SYSTEM;
    err = write_all(fd, bytes, len);
    if (err)
        return err;
    return fsync(fd) == 0 ? ESCROW_OK : ESCROW_ERR_SYSTEM;
}

enum escrow_err file_create(const char *path, mode_t mode, const void *bytes, size_t len)
{
    CLEANUP(cleanup_close)
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    enum escrow_err err;

    if (fd < 0 && errno == EEXIST) {
        log_error("%s exists already; nothing was overwritten", path);
        return ESCROW_ERR_EXISTS;
    }
    err = fd < 0 ? ESCROW_ERR_SYSTEM : fill(fd, mode, bytes, len);
    if (!err)
        err = sync_folder(path);
    if (err) {
        log_error("%s: cannot be written: %s", path, strerror(errno));
        if (fd >= 0)
            unlink(path);
    }
    return err;
}

enum escrow_err file_replace(const char *path, mode_t mode, const void *bytes, size_t len)
{
    CLEANUP(cleanup_free) char *next = NULL;
    CLEANUP(cleanup_close) int fd = -1;
    enum escrow_err err;

    if (asprintf(&next, "%s.XXXXXX", path) < 0) {
        next = NULL;
        return ESCROW_ERR_NO_MEMORY;
    }
    fd = mkostemp(next, O_CLOEXEC); /* mode 0600 */
    err = fd < 0 ? ESCROW_ERR_SYSTEM : fill(fd, mode, bytes, len);
    if (!err && rename(next, path) < 0)
        err = ESCROW_ERR_SYSTEM;
    if (!err)
        err = sync_folder(path);
    if (err) {
        log_error("%s: cannot be replaced: %s", path, strerror(errno));
        if (fd >= 0)
            unlink(next);
    }
    return err;
}

static int take_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

/* True if only the owner has rights on it, and there is something in it. */
static bool is_kept(const char *path, const struct stat *status)
{
    if (status->st_mode & (S_IRWXG | S_IRWXO)) {
        log_error("%s: group or others have rights on it (mode %04o): chmod 600 %s", path,
                  (unsigned)(status->st_mode & 07777), path);
        return false;
    }
    if (status->st_size == 0)
        log_error("%s: is empty", path);
    return status->st_size > 0;
}

enum escrow_err file_open(const char *path, size_t max, bool is_secret, int *ret_fd,
                          size_t *ret_size)
{
    /* O_NONBLOCK: a FIFO must not hold us. */
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat status;

    if (fd < 0 && errno == ENOENT)
        return ESCROW_ERR_NOT_FOUND;
    if (fd < 0 || fstat(fd, &status) < 0) {
        log_error("%s: cannot be opened: %s", path, strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    if (!S_ISREG(status.st_mode) || status.st_size < 0 || (size_t)status.st_size > max) {
        log_error("%s: is not a regular file of at most %zu bytes", path, max);
        return ESCROW_ERR_CONFIG;
    }
    if (is_secret && !is_kept(path, &status))
        return ESCROW_ERR_CONFIG;
    *ret_size = (size_t)status.st_size;
    *ret_fd = take_fd(&fd);
    return ESCROW_OK;
}

/* size bytes, or fewer where the file shrank meanwhile. */
static bool copy_and_seal(int from, int to, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t copied = sendfile(to, from, NULL, size - done);

        if (copied == 0)
            break;
        if (copied < 0 && errno != EINTR)
            return false;
        done += copied > 0 ? (size_t)copied : 0;
    }
    return sealed_finish(to) == ESCROW_OK;
}

enum escrow_err file_seal(const char *path, size_t max, const char *name, int *ret_fd)
{
    CLEANUP(cleanup_close) int file = -1;
    CLEANUP(cleanup_close) int copy = -1;
    size_t size;
    enum escrow_err err = file_open(path, max, false, &file, &size);

    if (err == ESCROW_ERR_NOT_FOUND) {
        log_error("%s: there is no such file", path);
        return ESCROW_ERR_CONFIG;
    }
    if (err)
        return err;
    err = sealed_new(name, &copy);
    if (err)
        return err;
    if (!copy_and_seal(file, copy, size)) {
        log_error("%s: no copy in memory: %s", path, strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    *ret_fd = take_fd(&copy);
    return ESCROW_OK;
}

enum escrow_err file_read_fd(int fd, void *bytes, size_t cap, size_t *ret_len)
{
    char *next = bytes;
    size_t len = 0;

    while (len < cap) {
        ssize_t got = read(fd, next + len, cap - len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ESCROW_ERR_SYSTEM;
        if (got == 0)
            break;
        len += (size_t)got;
    }
    *ret_len = len;
    return ESCROW_OK;
}

enum escrow_err file_read(const char *path, size_t max, char **ret_text, size_t *ret_len)
{
    CLEANUP(cleanup_close) int fd = -1;
    CLEANUP(cleanup_free) char *text = NULL;
    size_t size, len;
    enum escrow_err err = file_open(path, max, false, &fd, &size);

    if (err)
        return err;
    text = malloc(size + 1);
    if (!text)
        return ESCROW_ERR_NO_MEMORY;
    err = file_read_fd(fd, text, size, &len);
    if (err) {
        log_error("%s: cannot be read: %s", path, strerror(errno));
        return err;
    }
    text[len] = '\0';
    *ret_len = len;
    *ret_text = TAKE(text);
    return ESCROW_OK;
}

enum escrow_err file_read_secret(const char *path, size_t max, struct secret **ret_secret)
{
    CLEANUP(cleanup_close) int fd = -1;
    CLEANUP(secret_free_p) struct secret *secret = NULL;
    size_t size;
    enum escrow_err err = file_open(path, max, true, &fd, &size);

    if (err)
        return err;
    secret = secret_new(size);
    if (!secret)
        return ESCROW_ERR_NO_MEMORY;
    err = file_read_fd(fd, secret->bytes, secret->len, &secret->len);
    if (err) {
        log_error("%s: cannot be read: %s", path, strerror(errno));
        return err;
    }
    *ret_secret = TAKE(secret);
    return ESCROW_OK;
}
