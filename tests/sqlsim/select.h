/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/session.h"

/*
 * The two shapes of SELECT that a DBA sends most: values without a table,
 *     SELECT value [AS name], ...
 * and columns of one view, with as many conditions as they need,
 *     SELECT column [AS name], ... | COUNT(*) [AS name] | 1 [AS name] | * FROM view [alias]
 *         [WHERE conditions (select_where.h)] [ORDER BY column, ...]
 * Rows come in the order in which the view holds them. Anything else is not understood.
 */

/* false: not such a SELECT, and the reply is as it was. */
bool select_run(struct session *session, const char *text, struct reply *reply);

/* What a view of views.c holds: its rows as a reply of its own, with the columns of all versions.
 */
struct view {
    const char *name; /* as a pattern of the lexer; $name stands for the database */
    const struct reply_column *columns;
    size_t column_count;
    void (*fill)(struct session *session, const char *database, struct reply *rows);
};

/* [alias.]column; moves *at behind it. false: not one of the view's, and 207 in the reply if
 * another version has it. */
bool view_take_column(const struct session *session, const struct view *view, const char **at,
                      struct reply *reply, size_t *ret_column);

/* views.c: the view that text begins with, and what is behind its name; or NULL. */
const struct view *view_find(const char **text, char **ret_database);
/* views_hadr.c: of availability groups, or NULL behind the last. */
const struct view *views_hadr(size_t index);
/* views_server.c: of an instance, the same. */
const struct view *views_server(size_t index);
/* statements_property.c: extended properties, the same. */
const struct view *views_property(size_t index);
/* views_ssisdb.c: its rows, or NULL behind the last. */
const struct view *views_ssisdb(size_t index);
