/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/sandbox_files.h"

#include "libescrow/log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the kernel headers of Debian 12 (landlock(7)): rights by the ABI that brought them. */
#define ACCESS_FS_REFER (1ULL << 13)    /* 2 */
#define ACCESS_FS_TRUNCATE (1ULL << 14) /* 3 */
#define ACCESS_NET_BIND_TCP (1ULL << 0) /* 4 */
#define ACCESS_NET_CONNECT_TCP (1ULL << 1)
#define ACCESS_FS_IOCTL_DEV (1ULL << 15) /* 5 */
#define SCOPE_ABSTRACT_UNIX (1ULL << 0)  /* 6 */
#define SCOPE_SIGNAL (1ULL << 1)
#define RULE_NET_PORT 2

struct port_rule {
    uint64_t allowed_access;
    uint64_t port;
};

struct ruleset {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};

#define ACCESS_FS_ABI1 ((1ULL << 13) - 1)
#define FILE_READ (LANDLOCK_ACCESS_FS_READ_FILE)
#define FOLDER_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FILE_WRITE (FILE_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_FS_TRUNCATE)
#define FOLDER_WRITE                                                                               \
    (FOLDER_READ | FILE_WRITE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |   \
     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG)
#define DEVICE (FILE_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_FS_IOCTL_DEV)

static struct ruleset ruleset_for(int abi)
{
    struct ruleset ruleset = {.handled_access_fs = ACCESS_FS_ABI1};

    if (abi >= 2)
        ruleset.handled_access_fs |= ACCESS_FS_REFER;
    if (abi >= 3)
        ruleset.handled_access_fs |= ACCESS_FS_TRUNCATE;
    if (abi >= SANDBOX_ABI_TCP)
        ruleset.handled_access_net = ACCESS_NET_BIND_TCP | ACCESS_NET_CONNECT_TCP;
    if (abi >= 5)
        ruleset.handled_access_fs |= ACCESS_FS_IOCTL_DEV;
    if (abi >= 6)
        ruleset.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
    return ruleset;
}

static size_t ruleset_size(int abi)
{
    if (abi >= 6)
        return sizeof(struct ruleset);
    return abi >= SANDBOX_ABI_TCP ? offsetof(struct ruleset, scoped)
                                  : offsetof(struct ruleset, handled_access_net);
}

static uint64_t rights_of(enum sandbox_access access, bool is_folder)
{
    switch (access) {
    case SANDBOX_READ:
        return is_folder ? FOLDER_READ : FILE_READ;
    case SANDBOX_WRITE:
        return is_folder ? FOLDER_WRITE : FILE_WRITE;
    case SANDBOX_DEVICE:
        return DEVICE;
    }
    return 0;
}

static int open_path(const struct sandbox_path *path)
{
    char folder[PATH_MAX];

    if (!path->is_folder_of)
        return open(path->path, O_PATH | O_CLOEXEC);
    snprintf(folder, sizeof(folder), "%s", path->path);
    return open(dirname(folder), O_PATH | O_CLOEXEC);
}

static enum escrow_err grant(int ruleset_fd, uint64_t handled, const struct sandbox_path *path)
{
    CLEANUP(cleanup_close) int fd = open_path(path);
    struct landlock_path_beneath_attr rule = {.parent_fd = fd};
    struct stat status;

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return ESCROW_OK; /* what is not there needs no right */
    if (fd >= 0 && fstat(fd, &status) == 0) {
        rule.allowed_access = rights_of(path->access, S_ISDIR(status.st_mode)) & handled;
        if (syscall(SYS_landlock_add_rule, ruleset_fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0)
            return ESCROW_OK;
    }
    log_error("sandbox: cannot grant %s: %s", path->path, strerror(errno));
    return ESCROW_ERR_SYSTEM;
}

static enum escrow_err grant_port(int ruleset_fd, uint16_t port)
{
    const struct port_rule rule = {.allowed_access = ACCESS_NET_CONNECT_TCP, .port = port};

    if (syscall(SYS_landlock_add_rule, ruleset_fd, RULE_NET_PORT, &rule, 0) == 0)
        return ESCROW_OK;
    log_error("sandbox: cannot grant TCP port %u: %s", port, strerror(errno));
    return ESCROW_ERR_SYSTEM;
}

static enum escrow_err grant_all(int ruleset_fd, const struct ruleset *ruleset,
                                 const struct sandbox_plan *plan)
{
    enum escrow_err err = ESCROW_OK;

    for (size_t i = 0; i < plan->path_count && !err; i++)
        err = grant(ruleset_fd, ruleset->handled_access_fs, &plan->paths[i]);
    for (size_t i = 0; ruleset->handled_access_net && i < plan->port_count && !err; i++)
        err = grant_port(ruleset_fd, plan->ports[i]);
    return err;
}

/* What an older Landlock does not cover. */
static void log_missing(int abi)
{
    if (abi < 1)
        log_warning("sandbox: this kernel has no Landlock: files are protected by their modes only,"
                    " TCP ports not at all");
    else if (abi < SANDBOX_ABI_TCP)
        log_warning("sandbox: Landlock of this kernel (ABI %d) covers files, but no TCP ports, "
                    "abstract Unix sockets and signals",
                    abi);
    else if (abi < 6)
        log_warning("sandbox: Landlock of this kernel (ABI %d) covers files and TCP ports, but no "
                    "abstract Unix sockets and signals",
                    abi);
}

enum escrow_err sandbox_files_prepare(const struct sandbox_plan *plan, int *ret_abi, int *ret_fd)
{
    int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct ruleset ruleset = ruleset_for(abi);
    enum escrow_err err;
    int fd;

    log_missing(abi);
    if (abi < 1) {
        *ret_abi = 0;
        *ret_fd = -1;
        return ESCROW_OK;
    }
    fd = (int)syscall(SYS_landlock_create_ruleset, &ruleset, ruleset_size(abi), 0);
    if (fd < 0) {
        log_error("sandbox: Landlock: %s", strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    err = grant_all(fd, &ruleset, plan);
    if (err) {
        cleanup_close(&fd);
        return err;
    }
    *ret_abi = abi;
    *ret_fd = fd;
    return ESCROW_OK;
}

enum escrow_err sandbox_files_enforce(int fd)
{
    if (fd < 0 || syscall(SYS_landlock_restrict_self, fd, 0) == 0)
        return ESCROW_OK;
    log_error("sandbox: Landlock: %s", strerror(errno));
    return ESCROW_ERR_SYSTEM;
}
