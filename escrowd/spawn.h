/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/ipc_messages.h"

#include <sys/types.h>

/*
 * How a role starts: fork and exec of this very program, so that it has an address space of its own
 * in which nothing of the supervisor's is left, with a fixed set of descriptors, a short list of
 * environment variables, and its death tied to the supervisor's.
 */

/* What a role finds open besides standard error; standard input and output are /dev/null. */
#define SPAWN_SUPERVISOR_FD 3
#define SPAWN_CONFIG_FD 4      /* the configuration, to be read from its start */
#define SPAWN_POLICY_FD 5      /* the policy; of keeper and probers */
#define SPAWN_LISTENER_FD 6    /* front's only */
#define SPAWN_CREDENTIALS_FD 7 /* credentials.h; front's only */
#define SPAWN_MONITOR_FD 8     /* front's only, and only where the configuration asks for it */
#define SPAWN_FDS 6

struct spawn {
    enum ipc_peer_kind kind;
    const char *instance;    /* of a prober, else "" */
    const char *config_path; /* only a name, for messages and ps(1) */
    int fds[SPAWN_FDS];      /* from SPAWN_SUPERVISOR_FD on; -1: none; all stay the caller's */
};

/* "keeper", "front", "prober", "alerter": the word of --role and in log lines. */
const char *spawn_role_name(enum ipc_peer_kind kind);
/* 0 if there is none of that name. */
enum ipc_peer_kind spawn_role_kind(const char *name);

/* *ret_pidfd becomes readable when the role has ended; the caller closes it and reaps the role. */
MUST_CHECK enum escrow_err spawn_role(const struct spawn *spawn, pid_t *ret_pid, int *ret_pidfd);
