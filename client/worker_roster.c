/* SPDX-License-Identifier: Apache-2.0 */
#include "client/worker_roster.h"

#include "libescrow/cleanup.h"
#include "libescrow/file.h"
#include "libescrow/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

/* A version, a line end, no more. */
#define STATE_BYTES_MAX 32

/* Whoever has the lock holds it for a read and a write; one that was stopped there, for ever. */
#define LOCK_MS 2000
#define LOCK_PAUSE_MS 10

/* flock(2) with a deadline: it has none of its own. */
static bool lock(int fd)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};

    for (int waited_ms = 0; waited_ms < LOCK_MS; waited_ms += LOCK_PAUSE_MS) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return false;
        nanosleep(&pause, NULL);
    }
    return false;
}

/* The folder of the file, locked: workers of several instances share the file. -1 on failure. */
static int lock_folder(const char *file)
{
    CLEANUP(cleanup_free) char *path = strdup(file);
    int fd = path ? open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (fd >= 0 && !lock(fd))
        cleanup_close(&fd);
    return fd;
}

static size_t version_text(uint64_t version, char text[static STATE_BYTES_MAX])
{
    return (size_t)snprintf(text, STATE_BYTES_MAX, "%" PRIu64 "\n", version);
}

/* The version in the file, 0 without a file. */
static enum escrow_err read_version(const char *path, uint64_t *ret_version)
{
    CLEANUP(cleanup_free) char *text = NULL;
    char expected[STATE_BYTES_MAX];
    uint64_t version = 0;
    size_t len;
    enum escrow_err err = file_read(path, STATE_BYTES_MAX, &text, &len);

    if (!err) {
        version = strtoull(text, NULL, 10);
        /* Only the text that this version is written as: nothing before, between or behind. */
        if (len != version_text(version, expected) || memcmp(text, expected, len) != 0)
            err = ESCROW_ERR_CONFIG;
    }
    if (err == ESCROW_ERR_CONFIG)
        log_error("%s does not hold a roster version: restore it; removing it forgets which "
                  "rosters were replaced",
                  path);
    if (err && err != ESCROW_ERR_NOT_FOUND)
        return err;
    *ret_version = version;
    return ESCROW_OK;
}

static enum escrow_err write_version(const char *path, uint64_t version)
{
    char text[STATE_BYTES_MAX];

    return file_replace(path, 0600, text, version_text(version, text));
}

/* Under the lock, so that of two workers the one with the newer roster stays. */
static enum escrow_err note_version(const char *path, uint64_t version)
{
    CLEANUP(cleanup_close) int lock = lock_folder(path);
    uint64_t seen = 0;
    enum escrow_err err;

    if (lock < 0) {
        log_error("%s: its folder cannot be locked: %s", path,
                  errno == EWOULDBLOCK ? "another process holds the lock (fuser shows which)"
                                       : strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    err = read_version(path, &seen);
    if (err || version == seen)
        return err;
    if (version > seen)
        return write_version(path, version);
    log_error("a roster of version %" PRIu64 " was offered, but %" PRIu64
              " has been seen: that escrowd was set back, or shows an old roster on purpose",
              version, seen);
    return ESCROW_ERR_DENIED;
}

enum escrow_err worker_roster_accept(const char *compact, size_t len, EVP_PKEY *authority,
                                     const char *state_file, struct roster **ret_roster,
                                     const char **ret_text)
{
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    enum escrow_err err = roster_parse(compact, len, authority, &roster);

    if (err) {
        *ret_text = "its roster is not one that the policy authority signed";
        return err;
    }
    err = note_version(state_file, roster_version(roster));
    if (err) {
        *ret_text = err == ESCROW_ERR_DENIED
                        ? "its roster is older than one that was seen before"
                        : "the state file with the roster version cannot be used";
        return err;
    }
    *ret_roster = TAKE(roster);
    return ESCROW_OK;
}
