/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * What a process gives up for good, by a plan that is written down before: privileges to gain, core
 * files, being traced or read by its own user, another user's rights, files (Landlock), TCP ports
 * (Landlock), the network as a whole (a namespace of its own), other processes, and every system
 * call that is not in its list (seccomp). It never widens anything, and nothing of it can be taken
 * back. Where the kernel lacks a part, the process goes on without it and a log line names what is
 * missing; every other failure is an error, after which the process must end.
 */

enum sandbox_access {
    SANDBOX_READ = 1, /* read files and folders */
    SANDBOX_WRITE,    /* also write, make, rename and remove them */
    SANDBOX_DEVICE,   /* read and write a device node */
};

struct sandbox_path {
    const char *path;
    enum sandbox_access access;
    bool is_folder_of; /* grants the folder that holds the file */
};

/*
 * System calls and what becomes of them; a call in no rule kills the process. Of the rules for one
 * call each has its own condition: (argument & mask) == value.
 */
struct sandbox_rule {
    const char *calls; /* names with spaces between */
    int error;         /* 0: allowed; else it fails with this errno */
    unsigned argument; /* its index */
    unsigned long mask, value;
    bool has_condition;
    bool is_kept; /* not seen when the lists were measured: the table says why it is there */
};

/* For the tables of rules. */
#define SANDBOX_CALLS(names)                                                                       \
    {                                                                                              \
        .calls = (names)                                                                           \
    }
#define SANDBOX_KEPT(names)                                                                        \
    {                                                                                              \
        .calls = (names), .is_kept = true                                                          \
    }
#define SANDBOX_REFUSED(names, number)                                                             \
    {                                                                                              \
        .calls = (names), .error = (number), .is_kept = true                                       \
    }
#define SANDBOX_IF(name, index, wanted)                                                            \
    {                                                                                              \
        .calls = (name), .has_condition = true, .argument = (index), .mask = ~0UL,                 \
        .value = (unsigned long)(wanted)                                                           \
    }

/* For a plan that has threads: clone makes them and no processes. */
#define SANDBOX_THREADS                                                                            \
    {                                                                                              \
        .calls = "clone", .is_kept = true, .has_condition = true, .mask = CLONE_THREAD,            \
        .value = CLONE_THREAD                                                                      \
    }

#define SANDBOX_PATHS_MAX 96
#define SANDBOX_PORTS_MAX 40
#define SANDBOX_LISTS_MAX 4

/* {0} is a plan that allows nothing but what every process needs (sandbox_calls.c). */
struct sandbox_plan {
    uid_t uid; /* whom to become where it runs as root; 0: stay */
    gid_t gid;
    size_t descriptors; /* open at once */
    bool has_network;   /* else it gets a network namespace with nothing in it */
    bool has_threads;   /* may start threads; processes nobody may but the next */
    bool has_commands;  /* starts programs of others: files and system calls are not restricted */
    struct sandbox_path paths[SANDBOX_PATHS_MAX];
    size_t path_count;
    uint16_t ports[SANDBOX_PORTS_MAX]; /* where it may connect to by TCP */
    size_t port_count;
    struct {
        const struct sandbox_rule *rules;
        size_t count;
    } lists[SANDBOX_LISTS_MAX];
    size_t list_count;
    bool is_overfull; /* more was added than there is room for: sandbox_enter_plan refuses */
};

/* Grants a path; what is not there is granted nothing. NULL is ignored. The text is borrowed. */
void sandbox_allow_path(struct sandbox_plan *plan, const char *path, enum sandbox_access access);
/* The same for the folder that holds the file: others replace it by renaming. */
void sandbox_allow_folder_of(struct sandbox_plan *plan, const char *path,
                             enum sandbox_access access);
/* By TCP, at any address. */
void sandbox_allow_port(struct sandbox_plan *plan, int64_t port);
void sandbox_allow_calls(struct sandbox_plan *plan, const struct sandbox_rule *rules, size_t count);

/* Becomes a user for good, where it runs as root. ESCROW_ERR_SYSTEM with a log line. */
MUST_CHECK enum escrow_err sandbox_become_user(uid_t uid, gid_t gid);

/* From now on. ESCROW_ERR_SYSTEM, with a log line: do not go on. */
MUST_CHECK enum escrow_err sandbox_enter_plan(const struct sandbox_plan *plan);

/*
 * The part that every process of ours can have from its first line on, and parents keep: no new
 * privileges, not dumpable, no core file. ESCROW_ERR_SYSTEM with a log line.
 */
MUST_CHECK enum escrow_err sandbox_harden(void);
