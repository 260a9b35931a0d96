/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * A role as a process of its own, of this very program, that makes one attempt inside its sandbox
 * (attempts.h).
 */

#define ROLE_FDS_MAX 5 /* from descriptor 3 on */

struct role_process {
    const char *const *argv; /* ends with NULL */
    int fds[ROLE_FDS_MAX];   /* -1: none */
    const char *attempt;
    const char *argument;
    const char *denied; /* system calls with spaces between; with =N only if that is argument 1 */
    int denied_with;    /* with this errno */
};

/* What became of it; else an errno, 0 for success. */
#define ROLE_KILLED 1000 /* by SIGSYS */
#define ROLE_ENDED 2000  /* before the attempt; + its exit status */

/* Runs it to its end. Its log lines go to text, which may be NULL. */
int role_process_run(const struct role_process *process, char *text, size_t cap);

struct role_sibling {
    pid_t pid;
    int hold; /* a pipe: closed, it ends */
};

/* Starts one that stays in its sandbox until role_sibling_end. */
struct role_sibling role_sibling_start(const struct role_process *process);
void role_sibling_end(struct role_sibling *sibling);

/* What the kernel says of it from outside: a field of its status ("Uid:"). */
void role_sibling_status(const struct role_sibling *sibling, const char *field, char *ret_text,
                         size_t cap);
/* Fails unless the kernel says what must be true of every role: no new privileges, system calls
 * filtered, no core files, and no process or thread to be started. */
void role_sibling_check(const struct role_sibling *sibling, bool has_threads);
/* Whether it is in the network namespace of this process; as root only. */
bool role_sibling_shares_network(const struct role_sibling *sibling);

/* The ABI of this kernel's Landlock; less than 1: it has none. */
int role_process_landlock(void);
