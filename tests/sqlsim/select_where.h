/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/reply.h"
#include "tests/sqlsim/session.h"

/*
 * The WHERE of a SELECT from one view: conditions joined by AND and OR, AND first, no parentheses
 * but those of IN.
 *     column = value | column <> value | column IN (value, ...) | column [NOT] LIKE pattern
 *     | column IS [NOT] NULL
 */
#define WHERE_CONDITIONS_MAX 8
#define WHERE_VALUES_MAX 8

enum where_kind { WHERE_EQUAL, WHERE_NOT_EQUAL, WHERE_LIKE, WHERE_NOT_LIKE, WHERE_NULL, WHERE_SET };

struct where_condition {
    size_t column;
    enum where_kind kind;
    bool is_or;                     /* begins the next alternative */
    char *values[WHERE_VALUES_MAX]; /* of EQUAL any of them; NULL equals nothing */
    size_t count;
};

struct where {
    size_t count;
    struct where_condition conditions[WHERE_CONDITIONS_MAX];
};

struct view;

void where_deinit(struct where *where); /* a zeroed one is valid, and always met */
/* What stands behind WHERE; moves *at behind it. false: not understood. */
bool where_read(struct session *session, const struct view *view, const char **at,
                struct reply *reply, struct where *where);
/* Whether a row meets it. */
bool where_meets(const struct where *where, char *const *row);
