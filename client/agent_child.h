/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <event2/event.h>

/*
 * A child process of the agent: a role of its own binary, or a hook. Always fork and exec, so that
 * it starts with a fresh address space; it inherits standard error, the descriptors named here and
 * nothing else, and dies with its parent. Its end is an event of the loop, by a pidfd, so there is
 * no race with a process id that is used again.
 */

struct agent_child;

/*
 * Called once from the event loop when the process has ended; status is that of waitpid(2). The
 * child is freed after it returns: drop every pointer to it.
 */
typedef void (*agent_child_exit_fn)(int status, void *argument);

/* Where a role finds its end of the channel to the parent. */
#define AGENT_CHANNEL_FD 3

struct agent_child_config {
    struct event_base *base;
    const char *path;        /* of the executable; AGENT_SELF for a role */
    const char *const *argv; /* argv[0] first, ends with NULL */
    int stdin_fd;            /* -1: /dev/null; stays the caller's */
    int channel_fd;          /* becomes AGENT_CHANNEL_FD; -1: none; stays the caller's */
    agent_child_exit_fn on_exit;
    void *argument;
};

/* This very program, even if a newer version has taken its place on disk. */
#define AGENT_SELF "/proc/self/exe"

/*
 * ESCROW_ERR_SYSTEM with a log line. A path that cannot be executed shows as an exit with status
 * 127. The child belongs to itself until on_exit.
 */
MUST_CHECK enum escrow_err agent_child_start(const struct agent_child_config *config,
                                             struct agent_child **ret_child);

/* Sends a signal; on_exit follows once the process has ended. */
void agent_child_signal(struct agent_child *child, int number);

/*
 * Kills, waits (a second at most, for what the kernel does not let end) and frees, without calling
 * on_exit. NULL is allowed.
 */
void agent_child_free(struct agent_child *child);

/* "exit status 3", "killed by signal 9 (Killed)". */
const char *agent_child_status_text(int status, char *buffer, size_t cap);
