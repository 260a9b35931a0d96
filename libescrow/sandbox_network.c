/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/sandbox_network.h"

#include "libescrow/cleanup.h"
#include "libescrow/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum sandbox_network sandbox_network_leave_as_root(void)
{
    return unshare(CLONE_NEWNET) == 0 ? SANDBOX_NETWORK_NONE : SANDBOX_NETWORK_SHARED;
}

static bool write_text(const char *path, const char *text)
{
    CLEANUP(cleanup_close) int fd = open(path, O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* Its own numbers inside as outside; without a map files would seem to be somebody else's. */
static bool keep_numbers(uid_t uid, gid_t gid)
{
    char users[64], groups[64];

    snprintf(users, sizeof(users), "%u %u 1", uid, uid);
    snprintf(groups, sizeof(groups), "%u %u 1", gid, gid);
    /* The files of a process that is not dumpable are root's (proc(5)). */
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0 && write_text("/proc/self/uid_map", users) &&
           write_text("/proc/self/setgroups", "deny") && write_text("/proc/self/gid_map", groups);
}

static bool drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

    return syscall(SYS_capset, &header, none) == 0;
}

enum sandbox_network sandbox_network_leave(void)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();

    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
        log_warning("sandbox: no network namespace of its own (%s): only the list of system calls "
                    "keeps this process from the network",
                    strerror(errno));
        return SANDBOX_NETWORK_SHARED;
    }
    if (!keep_numbers(uid, gid))
        log_warning("sandbox: user and group have no number in their namespace: %s",
                    strerror(errno));
    if (!drop_capabilities())
        log_warning("sandbox: capabilities of the namespace stay: %s", strerror(errno));
    return SANDBOX_NETWORK_NONE;
}
