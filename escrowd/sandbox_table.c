/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/sandbox_table.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* ---- users and files ---- */

static const char *keeper_user(const struct escrowd_config *config)
{
    return config->users.keeper;
}

static const char *front_user(const struct escrowd_config *config)
{
    return config->users.front;
}

static const char *prober_user(const struct escrowd_config *config)
{
    return config->users.prober;
}

static const char *state_folder(const struct escrowd_config *config,
                                const struct escrowd_instance *instance)
{
    (void)instance;
    return config->state_folder;
}

static const char *audit_folder(const struct escrowd_config *config,
                                const struct escrowd_instance *instance)
{
    (void)instance;
    return config->audit_folder;
}

static const char *authority_file(const struct escrowd_config *config,
                                  const struct escrowd_instance *instance)
{
    (void)instance;
    return config->authority_file;
}

/* NULL for a TPM behind a socket, which Landlock does not govern. */
static const char *tpm_device(const struct escrowd_config *config,
                              const struct escrowd_instance *instance)
{
    static const char prefix[] = "device:";

    (void)instance;
    return strncmp(config->tpm.tcti, prefix, strlen(prefix)) == 0
               ? config->tpm.tcti + strlen(prefix)
               : NULL;
}

static const char *instance_ca_file(const struct escrowd_config *config,
                                    const struct escrowd_instance *instance)
{
    (void)config;
    return instance->ca_file;
}

static const char *instance_password_file(const struct escrowd_config *config,
                                          const struct escrowd_instance *instance)
{
    (void)config;
    return instance->password_file;
}

static const char *instance_keytab(const struct escrowd_config *config,
                                   const struct escrowd_instance *instance)
{
    (void)config;
    return instance->keytab;
}

static const struct sandbox_path keeper_paths[] = {
    {.access = SANDBOX_WRITE, .find = state_folder},
    {.access = SANDBOX_WRITE, .find = audit_folder},
    {.access = SANDBOX_READ, .find = authority_file},
    {.access = SANDBOX_DEVICE, .find = tpm_device},
};

/* The driver and what it loads and reads when it connects; names are looked up by libc. */
static const struct sandbox_path prober_paths[] = {
    {.access = SANDBOX_READ, .find = instance_ca_file, .is_folder_of = true},
    {.access = SANDBOX_READ, .find = instance_password_file},
    {.access = SANDBOX_READ, .find = instance_keytab},
    {.access = SANDBOX_READ, .fixed = "/usr/lib"},
    {.access = SANDBOX_READ, .fixed = "/lib"},
    {.access = SANDBOX_READ, .fixed = "/lib64"},
    {.access = SANDBOX_READ, .fixed = "/usr/share/locale"},
    {.access = SANDBOX_READ, .fixed = "/usr/share/zoneinfo"},
    {.access = SANDBOX_READ, .fixed = "/proc/self"},
    {.access = SANDBOX_READ, .fixed = "/etc/ld.so.cache"},
    {.access = SANDBOX_READ, .fixed = "/etc/nsswitch.conf"},
    {.access = SANDBOX_READ, .fixed = "/etc/host.conf"},
    {.access = SANDBOX_READ, .fixed = "/etc/hosts"},
    {.access = SANDBOX_READ, .fixed = "/etc/resolv.conf"},
    {.access = SANDBOX_READ, .fixed = "/etc/gai.conf"},
    {.access = SANDBOX_READ, .fixed = "/etc/krb5.conf"},
    {.access = SANDBOX_READ, .fixed = "/etc/localtime"},
    {.access = SANDBOX_READ, .fixed = "/etc/gnutls"},
};

/* ---- system calls ---- */

const char sandbox_common_calls[] =
    "brk madvise mremap munmap "
    "close fcntl fstat lseek newfstatat read readv write writev "
    "pipe2 poll ppoll recvmsg sendmsg epoll_create1 epoll_ctl epoll_pwait epoll_wait "
    "clock_gettime gettimeofday restart_syscall time "
    "getegid geteuid getgid getpid getrandom gettid getuid futex sched_yield "
    "exit exit_group rt_sigaction rt_sigprocmask rt_sigreturn tgkill "
#ifdef ESCROW_SANITIZE
    /* Of the sanitizers: memory of their own, and whether to search for leaks at the end. */
    "mmap mprotect openat prctl readlink sched_getaffinity sigaltstack "
#endif
    ;

/* What libraries try and do without. */
const char sandbox_refused_calls[] = "access faccessat faccessat2 sysinfo uname";

/* Files below state and log folder as SQLite and the log treat them, and a TPM behind a socket. */
static const char keeper_calls[] =
    "fallocate fchmod fchown fdatasync fsync ftruncate getcwd getdents64 lstat open openat pread64 "
    "pwrite64 readlink rename renameat renameat2 stat umask unlink unlinkat "
    "connect sendto "
    /* libevent's precise timers */
    "timerfd_create timerfd_settime";

/* Connections that are accepted, and copies in memory of what it serves with. */
static const char front_calls[] = "accept4 getsockname pread64 shutdown";

/* Connections that it makes, names that it looks up, and what the driver loads. */
static const char prober_calls[] =
    "bind connect getpeername getsockname getsockopt ioctl recvfrom recvmmsg sendmmsg sendto "
    "setsockopt shutdown "
    "eventfd2 getdents64 lstat memfd_create open openat pread64 readlink readlinkat stat statx "
    "mmap mprotect ";

#define NO_EXEC(name)                                                                              \
    {                                                                                              \
        name, 2, PROT_EXEC, 0                                                                      \
    }
#define FIRST(name, number)                                                                        \
    {                                                                                              \
        name, 0, ~0UL, number                                                                      \
    }

static const struct sandbox_argument keeper_arguments[] = {
    NO_EXEC("mmap"),
    NO_EXEC("mprotect"),
    FIRST("socket", AF_UNIX),
};
static const struct sandbox_argument front_arguments[] = {
    NO_EXEC("mmap"),
    NO_EXEC("mprotect"),
};
static const struct sandbox_argument prober_arguments[] = {
    FIRST("socket", AF_INET),    FIRST("socket", AF_INET6),       FIRST("socket", AF_UNIX),
    FIRST("socket", AF_NETLINK), FIRST("prctl", PR_CAPBSET_READ), /* libcap, when it is loaded */
};

/* ---- the roles ---- */

#define LIST(member, count, list) .member = (list), .count = ARRAY_LEN(list)

static const struct sandbox_profile profiles[] = {
    [IPC_PEER_KEEPER] = {.user = keeper_user,
                         .descriptors = 512,
                         LIST(paths, path_count, keeper_paths),
                         .calls = keeper_calls,
                         LIST(arguments, argument_count, keeper_arguments)},
    [IPC_PEER_FRONT] = {.user = front_user,
                        .descriptors = 32,
                        .has_connections = true,
                        .calls = front_calls,
                        LIST(arguments, argument_count, front_arguments)},
    [IPC_PEER_PROBER] = {.user = prober_user,
                         .descriptors = 64,
                         .may_connect = true,
                         LIST(paths, path_count, prober_paths),
                         .calls = prober_calls,
                         LIST(arguments, argument_count, prober_arguments)},
};

const struct sandbox_profile *sandbox_profile(enum ipc_peer_kind kind)
{
    return &profiles[kind];
}
