/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/simulator.h"

#include <jansson.h>

/*
 * The control socket: a client sends a JSON array of words on one line and gets a JSON object on
 * one line, {"ok": true, ...} or {"ok": false, "error": TEXT}. `wait` answers when its condition is
 * true or its time is over.
 */
struct control;

MUST_CHECK enum escrow_err control_open(struct simulator *simulator, struct control **ret_control);
void control_close(struct control *control); /* removes the socket; NULL is allowed */

/* Answers those whose condition has become true. NULL is allowed. */
void control_check_waiters(struct control *control);

#define CONTROL_WORDS_MAX 24

/* What a command does (control_commands.c). */
struct control_words {
    size_t count;
    const char *words[CONTROL_WORDS_MAX]; /* words[0] is the command */
};

/* A condition of `wait`; text and index as it was asked for. */
struct control_condition {
    bool (*is_true)(struct simulator *simulator, const struct control_condition *condition);
    size_t replica;
    char *text;
    uint64_t count;
    int64_t timeout_ms;
};

/*
 * Runs a command. Its answer, owned by the caller; or NULL if it is a `wait` whose condition is not
 * true yet, and then *ret_condition.
 */
json_t *control_run(struct simulator *simulator, const struct control_words *words,
                    struct control_condition *ret_condition);

/* {"ok": false, "error": text} */
json_t *control_error(const char *text);

/* control_trouble.c: `trouble NODE ...`, and the rules of an instance. */
json_t *control_trouble(struct simulator *simulator, const struct control_words *words);
json_t *control_troubles_json(const struct troubles *troubles);

/* control_state.c: the answer of `state`. */
json_t *control_state(struct simulator *simulator);
