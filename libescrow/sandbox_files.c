/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/sandbox_files.h"

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

static struct ruleset ruleset_for(int abi, const struct sandbox_profile *profile)
{
    struct ruleset ruleset = {.handled_access_fs = ACCESS_FS_ABI1};

    if (abi >= 2)
        ruleset.handled_access_fs |= ACCESS_FS_REFER;
    if (abi >= 3)
        ruleset.handled_access_fs |= ACCESS_FS_TRUNCATE;
    if (abi >= 4)
        ruleset.handled_access_net =
            ACCESS_NET_BIND_TCP | (profile->may_connect ? 0 : ACCESS_NET_CONNECT_TCP);
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
    return abi >= 4 ? offsetof(struct ruleset, scoped)
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

static enum escrow_err grant(int ruleset_fd, uint64_t handled, const char *path,
                             enum sandbox_access access)
{
    CLEANUP(cleanup_close) int fd = open(path, O_PATH | O_CLOEXEC);
    struct landlock_path_beneath_attr rule = {.parent_fd = fd};
    struct stat status;

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return ESCROW_OK; /* what is not there needs no right */
    if (fd >= 0 && fstat(fd, &status) == 0) {
        rule.allowed_access = rights_of(access, S_ISDIR(status.st_mode)) & handled;
        if (syscall(SYS_landlock_add_rule, ruleset_fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0)
            return ESCROW_OK;
    }
    log_error("sandbox: cannot grant %s: %s", path, strerror(errno));
    return ESCROW_ERR_SYSTEM;
}

static enum escrow_err grant_all(int ruleset_fd, uint64_t handled,
                                 const struct sandbox_profile *profile,
                                 const struct escrowd_config *config,
                                 const struct escrowd_instance *instance)
{
    for (size_t i = 0; i < profile->path_count; i++) {
        const struct sandbox_path *path = &profile->paths[i];
        const char *name = path->fixed ? path->fixed : path->find(config, instance);
        char folder[PATH_MAX];
        enum escrow_err err;

        if (!name)
            continue;
        snprintf(folder, sizeof(folder), "%s", name);
        err = grant(ruleset_fd, handled, path->is_folder_of ? dirname(folder) : name, path->access);
        if (err)
            return err;
    }
    return ESCROW_OK;
}

enum escrow_err sandbox_restrict_files(const struct sandbox_profile *profile,
                                       const struct escrowd_config *config,
                                       const struct escrowd_instance *instance)
{
    int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct ruleset ruleset = ruleset_for(abi, profile);
    CLEANUP(cleanup_close) int fd = -1;
    enum escrow_err err;

    if (abi < 1) {
        log_warning(
            "sandbox: this kernel has no Landlock: files are protected by their modes only");
        return ESCROW_OK;
    }
    if (abi < 4)
        log_info("sandbox: this kernel's Landlock (ABI %d) covers files, not TCP", abi);
    fd = (int)syscall(SYS_landlock_create_ruleset, &ruleset, ruleset_size(abi), 0);
    if (fd < 0) {
        log_error("sandbox: Landlock: %s", strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    err = grant_all(fd, ruleset.handled_access_fs, profile, config, instance);
    if (err)
        return err;
    if (syscall(SYS_landlock_restrict_self, fd, 0) < 0) {
        log_error("sandbox: Landlock: %s", strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    return ESCROW_OK;
}
