/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/*
 * What a role that was taken over would try, by name. sandbox_enter_plan is wrapped: after the real
 * one the role makes the attempt that ATTEMPT_VARIABLE names, in its own process and sandbox, and
 * ends with the result as its exit status. Without the variable it goes on as ever.
 */

#define ATTEMPT_VARIABLE "ESCROW_TEST_ATTEMPT"
#define ATTEMPT_ARGUMENT "ESCROW_TEST_ARGUMENT" /* a path, a port or a process id */

#define ATTEMPT_OK 100 /* it could; + errno: it was refused. Less: the role ended before */

/* 0, or the errno of its failure. */
typedef int (*attempt_fn)(const char *argument);

struct attempt {
    const char *name;
    attempt_fn run;
};

/* On files and sockets (attempts.c), and on processes and the kernel (attempts_process.c). */
extern const struct attempt attempts[];
extern const size_t attempt_count;
extern const struct attempt process_attempts[];
extern const size_t process_attempt_count;

/* The kernel's wide doors: calls that are dead in every role, whatever their arguments. */
struct dead_call {
    const char *name;
    long number;
};
extern const struct dead_call dead_calls[];
extern const size_t dead_call_count;
