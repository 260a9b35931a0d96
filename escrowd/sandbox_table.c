/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/sandbox_table.h"

#include "libescrow/sql_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* ---- keeper: TPM (by a thread), store and log; no network ---- */

static const struct sandbox_rule keeper_rules[] = {
    /* the event loop, with libevent's precise timers */
    SANDBOX_CALLS("epoll_create1 epoll_ctl epoll_wait pipe2 timerfd_create timerfd_settime"),
    /* files below state and log folder as SQLite and the log treat them */
    SANDBOX_CALLS(
        "fdatasync fstatfs fsync ftruncate getdents64 openat pread64 pwrite64 umask unlink"),
    /* SQLite: a symbolic link on the way to the store; a mode that the umask changed */
    SANDBOX_KEPT("fchmod readlink"),
    SANDBOX_IF("fcntl", 1, F_SETLK),
    SANDBOX_IF("fcntl", 1, F_GETLK),
    SANDBOX_IF("fcntl", 1, F_GETFD),
    SANDBOX_IF("fcntl", 1, F_SETFD),
    SANDBOX_IF("fcntl", 1, F_GETFL),
    SANDBOX_IF("fcntl", 1, F_SETFL),
    /* large bodies, taken from front and handed to it (sealed.h) */
    SANDBOX_CALLS("memfd_create"),
    SANDBOX_IF("fcntl", 1, F_ADD_SEALS),
    SANDBOX_IF("fcntl", 1, F_GET_SEALS),
    /* a TPM behind a socket with a path; a device is opened */
    SANDBOX_CALLS("connect sendto"),
    SANDBOX_IF("socket", 0, AF_UNIX),
    /* the TPM's thread, which starts after the sandbox and so is in it */
    SANDBOX_THREADS,
    SANDBOX_CALLS("eventfd2 rseq set_robust_list"),
};

/* NULL for a TPM behind a socket, which Landlock does not govern. */
static const char *tpm_device(const struct escrowd_config *config)
{
    static const char prefix[] = "device:";

    return strncmp(config->tpm.tcti, prefix, strlen(prefix)) == 0
               ? config->tpm.tcti + strlen(prefix)
               : NULL;
}

static void plan_keeper(const struct escrowd_config *config, struct sandbox_plan *plan)
{
    plan->descriptors = 512;
    plan->has_threads = true;
    sandbox_allow_path(plan, config->state_folder, SANDBOX_WRITE);
    sandbox_allow_path(plan, config->audit_folder, SANDBOX_WRITE);
    sandbox_allow_path(plan, config->authority_file, SANDBOX_READ);
    sandbox_allow_path(plan, tpm_device(config), SANDBOX_DEVICE);
    sandbox_allow_path(plan, "/proc/self/statm", SANDBOX_READ); /* usage.h */
    sandbox_allow_calls(plan, keeper_rules, ARRAY_LEN(keeper_rules));
}

/* ---- front: connections that it accepts, and no file at all ---- */

static const struct sandbox_rule front_rules[] = {
    SANDBOX_CALLS("accept4 epoll_create1 epoll_ctl epoll_wait getpeername getsockname pipe2 "
                  "shutdown"),
    /* copies in memory of certificate, key, CAs and lists; large bodies, taken from the keeper and
     * handed to it (sealed.h) */
    SANDBOX_CALLS("memfd_create pread64"),
    SANDBOX_IF("fcntl", 1, F_ADD_SEALS),
    SANDBOX_IF("fcntl", 1, F_GET_SEALS),
    /* libevent, before it reads from a connection without TLS: health and metrics */
    SANDBOX_IF("ioctl", 1, FIONREAD),
    /* libevent's randomness and the time zone try files */
    SANDBOX_REFUSED("open openat", EACCES),
};

static void plan_front(const struct escrowd_config *config, struct sandbox_plan *plan)
{
    plan->descriptors = 64 + (size_t)config->limits.connections;
    sandbox_allow_calls(plan, front_rules, ARRAY_LEN(front_rules));
}

/* ---- prober: its instance ---- */

static void plan_prober(const struct escrowd_instance *instance, struct sandbox_plan *plan)
{
    const struct sql_instance sql = escrowd_instance_sql(instance);

    plan->descriptors = 64;
    sql_sandbox_allow(&sql, plan);
}

/* ---- alerter: a command that may need anything that its user may ---- */

static void plan_alerter(struct sandbox_plan *plan)
{
    plan->descriptors = 256;
    plan->has_network = true;
    plan->has_commands = true;
}

void sandbox_plan_of(enum ipc_peer_kind kind, const struct escrowd_config *config,
                     const struct escrowd_instance *instance, struct sandbox_plan *ret_plan)
{
    struct sandbox_plan plan = {0};

    switch (kind) {
    case IPC_PEER_KEEPER:
        plan_keeper(config, &plan);
        break;
    case IPC_PEER_FRONT:
        plan_front(config, &plan);
        break;
    case IPC_PEER_PROBER:
        plan_prober(instance, &plan);
        break;
    case IPC_PEER_ALERTER:
        plan_alerter(&plan);
        break;
    }
    *ret_plan = plan;
}

const char *sandbox_user_of(enum ipc_peer_kind kind, const struct escrowd_config *config)
{
    switch (kind) {
    case IPC_PEER_KEEPER:
        return config->users.keeper;
    case IPC_PEER_FRONT:
        return config->users.front;
    case IPC_PEER_PROBER:
        return config->users.prober;
    case IPC_PEER_ALERTER:
        return config->users.alerter;
    }
    return NULL;
}
