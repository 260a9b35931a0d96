/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_child.h"

#include "libescrow/cleanup.h"
#include "libescrow/fork.h"
#include "libescrow/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* A killed process ends at once, unless the kernel holds it: a disk or network file that hangs. */
#define REAP_MS 1000

struct agent_child {
    pid_t pid;
    int pidfd;
    struct event *ended;
    agent_child_exit_fn on_exit;
    void *argument;
};

/* The event goes first: libevent must not watch a descriptor that is closed. */
static void discard(struct agent_child *child)
{
    if (child->ended)
        event_free(child->ended);
    cleanup_close(&child->pidfd);
    free(child);
}

static void on_ended(evutil_socket_t fd, short what, void *argument)
{
    struct agent_child *child = argument;
    int status;

    (void)fd;
    (void)what;
    if (waitpid(child->pid, &status, WNOHANG) != child->pid)
        return;
    child->on_exit(status, child->argument);
    discard(child);
}

/* fd as target, open across exec; -1: /dev/null, which keeps the number taken. */
static bool place_fd(int fd, int target)
{
    if (fd < 0)
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return false;
    return fd == target ? fcntl(fd, F_SETFD, 0) == 0 : dup2(fd, target) == target;
}

/*
 * Between fork and exec, so async-signal-safe functions only (signal-safety(7)). Nothing of the
 * environment goes on: it is where drivers and libraries look for what they should not obey.
 */
static _Noreturn void become(const struct agent_child_config *config)
{
    static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", locale[] = "LC_ALL=C.UTF-8";
    char *const environment[] = {path, locale, NULL};
    int channel_fd = config->channel_fd;

    /* A channel on 0 would be lost under standard input. */
    if (channel_fd >= 0 && channel_fd < AGENT_CHANNEL_FD)
        channel_fd = fcntl(channel_fd, F_DUPFD_CLOEXEC, AGENT_CHANNEL_FD + 1);
    if (!place_fd(config->stdin_fd, STDIN_FILENO) || dup2(STDERR_FILENO, STDOUT_FILENO) < 0 ||
        !place_fd(channel_fd, AGENT_CHANNEL_FD) || close_range(AGENT_CHANNEL_FD + 1, ~0U, 0) != 0)
        _exit(FORK_EXIT_FAILED);
    execve(config->path, (char *const *)(uintptr_t)config->argv, environment);
    _exit(FORK_EXIT_FAILED);
}

enum escrow_err agent_child_start(const struct agent_child_config *config,
                                  struct agent_child **ret_child)
{
    struct agent_child *child = calloc(1, sizeof(*child));

    if (!child)
        return ESCROW_ERR_NO_MEMORY;
    child->on_exit = config->on_exit;
    child->argument = config->argument;
    child->pidfd = -1;
    child->pid = fork_child();
    if (child->pid == 0)
        become(config);
    if (child->pid < 0) {
        log_error("cannot start %s: fork: %s", config->argv[0], strerror(errno));
        free(child);
        return ESCROW_ERR_SYSTEM;
    }
    child->pidfd = pidfd_open(child->pid, 0);
    if (child->pidfd >= 0)
        child->ended = event_new(config->base, child->pidfd, EV_READ | EV_PERSIST, on_ended, child);
    if (!child->ended || event_add(child->ended, NULL) != 0) {
        log_error("cannot watch %s: %s", config->argv[0], strerror(errno));
        agent_child_free(child);
        return ESCROW_ERR_SYSTEM;
    }
    *ret_child = child;
    return ESCROW_OK;
}

void agent_child_signal(struct agent_child *child, int number)
{
    if (pidfd_send_signal(child->pidfd, number, NULL, 0) != 0 && errno != ESRCH)
        log_error("cannot signal process %d: %s", (int)child->pid, strerror(errno));
}

void agent_child_free(struct agent_child *child)
{
    struct pollfd ended;
    int status;

    if (!child)
        return;
    /* Not reaped yet, so the process id is still this child's. */
    kill(child->pid, SIGKILL);
    ended = (struct pollfd){.fd = child->pidfd, .events = POLLIN};
    /* Without a pidfd it was started only now, and hangs nowhere. */
    if (child->pidfd < 0 || poll(&ended, 1, REAP_MS) == 1)
        while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {
        }
    else
        log_error("process %d was killed and does not end (does a file system hang?): it is left "
                  "behind, and the agent goes on",
                  (int)child->pid);
    discard(child);
}

const char *agent_child_status_text(int status, char *buffer, size_t cap)
{
    if (WIFSIGNALED(status))
        snprintf(buffer, cap, "killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(buffer, cap, "exit status %d", WEXITSTATUS(status));
    return buffer;
}
