/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/simulator.h"

#include <jansson.h>

#include <stdio.h>

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

/* What --group and --database name. */
struct control_scope {
    struct model_group *group;
    struct model_database *database; /* NULL: the group has none */
};

/* A condition of `wait`; what it asks for. */
struct control_condition {
    bool (*is_true)(struct simulator *simulator, const struct control_condition *condition);
    struct control_scope scope;
    size_t instance;
    char *text;
    uint64_t count;
    int64_t timeout_ms;
};

/*
 * Runs a command, which takes options from the words. Its answer, owned by the caller; or NULL if
 * it is a `wait` whose condition is not true yet, and then *ret_condition.
 */
json_t *control_run(struct simulator *simulator, struct control_words *words,
                    struct control_condition *ret_condition);

/* Every command and what follows it, a line each. */
void control_print_usage(FILE *out);

/* For the commands: answers, all owned by the caller. */
json_t *control_error(const char *text); /* {"ok": false, "error": text} */
json_t *control_no_scope(void);          /* --group or --database names none */
json_t *control_done(const struct simulator *simulator);
json_t *control_no_instance(const char *name);

/* control_instance.c: what happens to instances, logins and databases without T-SQL. */
json_t *control_instance(struct simulator *simulator, struct control_words *words);
json_t *control_login(struct simulator *simulator, struct control_words *words);
json_t *control_backup(struct simulator *simulator, struct control_words *words);
json_t *control_ssis(struct simulator *simulator, struct control_words *words);

/* control_trouble.c: `trouble NODE ...`, and the rules of an instance. */
json_t *control_trouble(struct simulator *simulator, struct control_words *words);
json_t *control_troubles_json(const struct troubles *troubles);

/* Takes an option and its value, or a flag, out of the words wherever it stands. NULL: not there.
 */
const char *control_option(struct control_words *words, const char *name);
bool control_flag(struct control_words *words, const char *name);
/* Takes --group and --database; without: the first group, its first database (NULL: it has none).
 * false: there is no such. */
MUST_CHECK bool control_find_scope(struct simulator *simulator, struct control_words *words,
                                   struct control_scope *ret_scope);

/* control_member.c: `partition`, `heal`, `replica`, `database`. */
json_t *control_partition(struct simulator *simulator, struct control_words *words);
json_t *control_heal(struct simulator *simulator, struct control_words *words);
json_t *control_replica(struct simulator *simulator, struct control_words *words);
json_t *control_database(struct simulator *simulator, struct control_words *words);

/* control_set.c, control_wait.c, control_state.c: the commands of those names. */
json_t *control_set(struct simulator *simulator, struct control_words *words);
json_t *control_wait(struct simulator *simulator, struct control_words *words,
                     struct control_condition *ret_condition);
json_t *control_state(struct simulator *simulator);
