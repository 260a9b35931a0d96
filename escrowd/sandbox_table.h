/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/config.h"
#include "escrowd/ipc_messages.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * What each role of escrowd may do, one row a role: sandbox_table.c is the page to audit. Files are
 * granted by Landlock below, system calls by seccomp; both lists were measured on real runs, and
 * what is not in them was never needed.
 */

enum sandbox_access {
    SANDBOX_READ = 1, /* read files and folders */
    SANDBOX_WRITE,    /* also write, make, rename and remove them */
    SANDBOX_DEVICE,   /* read and write a device node */
};

struct sandbox_path {
    const char *fixed; /* or NULL, and found in the configuration: */
    const char *(*find)(const struct escrowd_config *config,
                        const struct escrowd_instance *instance);
    enum sandbox_access access;
    bool is_folder_of; /* grants the folder that holds the file: others replace it by renaming */
};

/* A system call allowed only while an argument has a value: (argument & mask) == value. */
struct sandbox_argument {
    const char *call;
    unsigned index;
    unsigned long mask;
    unsigned long value;
};

struct sandbox_profile {
    const char *(*user)(const struct escrowd_config *config);
    const struct sandbox_path *paths;
    size_t path_count;
    const char *calls; /* names of system calls with spaces between, as below */
    const struct sandbox_argument *arguments;
    size_t argument_count;
    size_t descriptors;   /* open at once */
    bool has_connections; /* and one more descriptor for each connection of a client */
    bool may_connect;     /* by TCP */
};

const struct sandbox_profile *sandbox_profile(enum ipc_peer_kind kind);

/* What every role may call, and what fails with EPERM instead of killing: libraries try it. */
extern const char sandbox_common_calls[];
extern const char sandbox_refused_calls[];
