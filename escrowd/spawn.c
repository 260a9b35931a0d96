/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/spawn.h"

#include "libescrow/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENVIRONMENT_MAX 8
#define ABOVE_FIXED_FDS 16

static const char *const names[] = {[IPC_PEER_KEEPER] = "keeper",
                                    [IPC_PEER_FRONT] = "front",
                                    [IPC_PEER_PROBER] = "prober",
                                    [IPC_PEER_ALERTER] = "alerter"};

const char *spawn_role_name(enum ipc_peer_kind kind)
{
    return names[kind];
}

enum ipc_peer_kind spawn_role_kind(const char *name)
{
    for (enum ipc_peer_kind kind = IPC_PEER_KEEPER; kind <= IPC_PEER_LAST; kind++) {
        if (strcmp(names[kind], name) == 0)
            return kind;
    }
    return 0;
}

/* Everything else that a library might obey (TDSDUMP, OPENSSL_CONF, LD_*...) ends here. */
static void make_environment(char *ret_environment[static ENVIRONMENT_MAX])
{
    static const char *const allowed[] = {
        "TZ=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS=", "GCOV_PREFIX="};
    size_t count = 0;

    for (char **variable = environ; *variable; variable++) {
        for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
            if (strncmp(*variable, allowed[i], strlen(allowed[i])) == 0 &&
                count + 1 < ENVIRONMENT_MAX)
                ret_environment[count++] = *variable;
        }
    }
    ret_environment[count] = NULL;
}

/* In the child: only calls that are safe between fork and exec. False if one failed. */
static bool place_fds(const struct spawn *spawn)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int high[SPAWN_FDS];

    /* First out of the way of each other's places. */
    for (int i = 0; i < SPAWN_FDS; i++) {
        high[i] = spawn->fds[i] < 0 ? -1 : fcntl(spawn->fds[i], F_DUPFD_CLOEXEC, ABOVE_FIXED_FDS);
        if (spawn->fds[i] >= 0 && high[i] < 0)
            return false;
    }
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
        close_range(SPAWN_SUPERVISOR_FD, ABOVE_FIXED_FDS - 1, 0) < 0)
        return false;
    for (int i = 0; i < SPAWN_FDS; i++) {
        if (high[i] >= 0 && dup2(high[i], SPAWN_SUPERVISOR_FD + i) < 0)
            return false;
    }
    return close_range(ABOVE_FIXED_FDS, ~0U, 0) == 0;
}

static void exec_role(const struct spawn *spawn, char *const argv[], char *const environment[])
{
    sigset_t none;

    if (!place_fds(spawn))
        return;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve("/proc/self/exe", argv, environment);
}

enum escrow_err spawn_role(const struct spawn *spawn, pid_t *ret_pid, int *ret_pidfd)
{
    const char *name = spawn_role_name(spawn->kind);
    const char *arguments[] = {"escrowd",    "--role",        name, "--config", spawn->config_path,
                               "--instance", spawn->instance, NULL};
    char *argv[ARRAY_LEN(arguments)], *environment[ENVIRONMENT_MAX];
    pid_t supervisor = getpid(), pid;
    int pidfd;

    if (spawn->kind != IPC_PEER_PROBER)
        arguments[5] = NULL;
    memcpy(argv, arguments, sizeof(argv)); /* execve(2) takes them non-const and leaves them */
    make_environment(environment);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == supervisor)
            exec_role(spawn, argv, environment);
        _exit(escrow_err_exit_code(ESCROW_ERR_SYSTEM));
    }
    pidfd = pid < 0 ? -1 : pidfd_open(pid, 0);
    if (pidfd < 0) {
        log_error("cannot start the %s: %s", name, strerror(errno));
        if (pid > 0) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
        }
        return ESCROW_ERR_SYSTEM;
    }
    *ret_pid = pid;
    *ret_pidfd = pidfd;
    return ESCROW_OK;
}
