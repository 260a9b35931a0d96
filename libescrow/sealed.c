/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/sealed.h"

#include "libescrow/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

enum escrow_err sealed_new(const char *name, int *ret_fd)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0) {
        log_error("%s: no memory to hand over: %s", name, strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    *ret_fd = fd;
    return ESCROW_OK;
}

enum escrow_err sealed_finish(int fd)
{
    if (fcntl(fd, F_ADD_SEALS, SEALS) == 0)
        return ESCROW_OK;
    log_error("memory to hand over cannot be sealed: %s", strerror(errno));
    return ESCROW_ERR_SYSTEM;
}

static enum escrow_err write_all(int fd, const char *bytes, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t written = write(fd, bytes + done, len - done);

        if (written < 0 && errno != EINTR) {
            log_error("memory to hand over cannot be filled: %s", strerror(errno));
            return ESCROW_ERR_SYSTEM;
        }
        done += written > 0 ? (size_t)written : 0;
    }
    return ESCROW_OK;
}

enum escrow_err sealed_from(const char *name, const void *bytes, size_t len, int *ret_fd)
{
    CLEANUP(cleanup_close) int fd = -1;
    enum escrow_err err = sealed_new(name, &fd);

    if (!err)
        err = write_all(fd, bytes, len);
    if (!err)
        err = sealed_finish(fd);
    if (err)
        return err;
    *ret_fd = fd;
    fd = -1;
    return ESCROW_OK;
}

enum escrow_err sealed_size(int fd, size_t max, size_t *ret_len)
{
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);

    if (seals < 0 || (seals & SEALS) != SEALS) {
        log_error("a descriptor from a peer is %s",
                  seals < 0 ? "no memory that can be sealed" : "not sealed");
        return ESCROW_ERR_MALFORMED;
    }
    if (fstat(fd, &status) < 0) {
        log_error("a descriptor from a peer: %s", strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    if (status.st_size <= 0 || (size_t)status.st_size > max) {
        log_error("a descriptor from a peer holds %lld bytes: 1 to %zu are expected",
                  (long long)status.st_size, max);
        return ESCROW_ERR_MALFORMED;
    }
    *ret_len = (size_t)status.st_size;
    return ESCROW_OK;
}

enum escrow_err sealed_read(int fd, void *ret_bytes, size_t len, size_t at)
{
    size_t done = 0;

    while (done < len) {
        ssize_t got = pread(fd, (char *)ret_bytes + done, len - done, (off_t)(at + done));

        if (got == 0 || (got < 0 && errno != EINTR)) {
            log_error("a descriptor from a peer cannot be read: %s",
                      got == 0 ? "its end is earlier than it was" : strerror(errno));
            return ESCROW_ERR_SYSTEM;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return ESCROW_OK;
}
