/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <event2/event.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Runs one program of somebody else's: no shell, no arguments, an environment of its own, no
 * descriptor but standard input (the text), output and error (lines of our log, so many), a process
 * group of its own, and its own death if ours comes first. The group is killed as a whole at the
 * deadline, and what the program leaves of it when it ends; after command_adopt also what has left
 * the group (setsid). Blocks for nothing but that what was killed is gone, a second at most.
 */

#define COMMAND_TEXT_MAX 4096 /* a pipe takes it at once (PIPE_BUF) */
#define COMMAND_LINES_MAX 20  /* of output that are logged; the rest is counted */

/*
 * Whether it may be run: a regular file that this user may execute, and that only root or the user
 * that escrowd was started as can change, nor any folder above it. ESCROW_ERR_CONFIG with a log
 * line that names what is wrong. is_to_run: as the user that asks; else that is left out.
 */
MUST_CHECK enum escrow_err command_check(const char *path, bool is_to_run);

enum command_outcome {
    COMMAND_EXITED = 1, /* number: its status, 0 ..= 255 */
    COMMAND_KILLED,     /* number: the signal */
    COMMAND_TIMED_OUT,
    COMMAND_NOT_STARTED,
};

struct command_result {
    enum command_outcome outcome;
    unsigned number;
};

/* Called once, from the event loop; the command is gone then. */
typedef void (*command_end_fn)(const struct command_result *result, void *argument);

struct command_config {
    struct event_base *base;
    const char *path;
    int64_t timeout_ms;
    command_end_fn on_end;
    void *argument;
};

struct command;

/*
 * From now on every process that a command leaves behind becomes a child of this one, and is killed
 * when the command has ended. For a process that has no other children. ESCROW_ERR_SYSTEM.
 */
MUST_CHECK enum escrow_err command_adopt(void);

/*
 * text: at most COMMAND_TEXT_MAX bytes, and a newline follows. ESCROW_ERR_CONFIG (command_check),
 * ESCROW_ERR_SYSTEM, ESCROW_ERR_NO_MEMORY: it does not run, on_end is not called.
 */
MUST_CHECK enum escrow_err command_start(const struct command_config *config, const char *text,
                                         struct command **ret_command);
/* Kills and reaps it; on_end is not called. NULL is allowed. */
void command_free(struct command *command);
