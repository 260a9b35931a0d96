/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sys/types.h>

/*
 * Forks for an exec: no handler of the parent ever runs in the child. There every signal has its
 * default action and none is blocked, and it dies if its parent does. Only async-signal-safe
 * functions may be called in it (signal-safety(7)).
 */

#define FORK_EXIT_FAILED 127 /* as of a shell that cannot execute something */

/* As fork(2). */
pid_t fork_child(void);
