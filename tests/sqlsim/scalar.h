/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/session.h"

/*
 * Single values of T-SQL as a DBA asks for them: literals, @@variables, and calls of the functions
 * in the table of scalar_functions.c, one in another at will; CONVERT and CAST change nothing,
 * since values are texts here. No operators.
 */
#define SCALAR_ARGUMENTS_MAX 4

struct scalar {
    char *text;           /* NULL: NULL */
    enum reply_type type; /* REPLY_TEXT, INT, DATETIME or DATETIME2 */
};

void scalar_deinit(struct scalar *value); /* a zeroed one is valid */

/*
 * Reads one value at *at, moves *at behind it. false: not such a value. A function that fails adds
 * its error to the reply and is NULL.
 */
bool scalar_read(struct session *session, const char **at, struct reply *reply,
                 struct scalar *ret_value);

/* A function with its arguments, which are borrowed; number and text are set on ret_value. */
typedef void (*scalar_fn)(struct session *session, const struct scalar *arguments, size_t count,
                          struct reply *reply, struct scalar *ret_value);

/* scalar_functions.c: by its name in any case, or NULL; variables are names that begin with @@. */
scalar_fn scalar_function(const char *name, size_t argument_count);
