/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/select.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/lexer.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/scalar.h"
#include "tests/sqlsim/select_where.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ITEMS_MAX 32
#define COUNT_ITEM SIZE_MAX
#define ONE_ITEM (SIZE_MAX - 1)

/* A SELECT from a view. */
struct selection {
    const struct view *view;
    size_t item_count;
    size_t items[ITEMS_MAX]; /* columns, or COUNT_ITEM or ONE_ITEM alone */
    char *names[ITEMS_MAX];
    struct where where;
};

static bool take(const char **at, const char *word)
{
    const char *next = *at;
    struct lexer_token token = lexer_next(&next);

    if (!lexer_is(&token, word))
        return false;
    *at = next;
    return true;
}

static bool is_end(const char *at)
{
    struct lexer_token token;

    (void)take(&at, ";");
    token = lexer_next(&at);
    return token.kind == LEXER_END;
}

/* [AS name]; the given name without. Owned by the caller; NULL: AS without a name. */
static char *take_alias(const char **at, const char *name)
{
    struct lexer_token token;

    if (!take(at, "AS"))
        return memory_copy(name);
    token = lexer_next(at);
    return token.kind == LEXER_WORD || token.kind == LEXER_NAME ? lexer_value(&token) : NULL;
}

/* One value and its name, into the reply. */
static bool select_value(struct session *session, const char **at, struct reply *reply)
{
    CLEANUP(scalar_deinit) struct scalar value = {0};
    CLEANUP(cleanup_free) char *name = NULL;

    if (!scalar_read(session, at, reply, &value))
        return false;
    name = take_alias(at, "");
    if (!name)
        return false;
    reply_add_column(reply, name, value.type);
    reply_value(reply, value.text);
    return true;
}

static bool select_values(struct session *session, const char *at, struct reply *reply)
{
    do {
        if (!select_value(session, &at, reply))
            return false;
    } while (take(&at, ","));
    return is_end(at);
}

static void selection_deinit(struct selection *selection)
{
    for (size_t i = 0; i < selection->item_count; i++)
        free(selection->names[i]);
    where_deinit(&selection->where);
}

/* version.c; the switch columns_2016 */
static bool is_column(const struct session *session, const struct reply_column *column)
{
    const struct model *model = session->model;
    const char *version = model->instances[session->instance].version;

    return version_has_column(version, column->name) ||
           (model->switches.columns_2016 == SWITCH_COLUMNS_PRESENT &&
            version_is_disputed(column->name));
}

bool view_take_column(const struct session *session, const struct view *view, const char **at,
                      struct reply *reply, size_t *ret_column)
{
    struct lexer_token token = lexer_next(at);
    CLEANUP(cleanup_free) char *name = NULL;

    if (take(at, "."))
        token = lexer_next(at);
    name = lexer_value(&token);
    for (size_t i = 0; i < view->column_count; i++) {
        if (strcasecmp(view->columns[i].name, name) != 0)
            continue;
        if (is_column(session, &view->columns[i])) {
            *ret_column = i;
            return true;
        }
        reply_message(reply, 207, name, NULL);
    }
    return false;
}

static bool add_item(struct selection *selection, size_t column, char *name)
{
    if (!name || selection->item_count == ITEMS_MAX) {
        free(name);
        return false;
    }
    selection->items[selection->item_count] = column;
    selection->names[selection->item_count++] = name;
    return true;
}

static bool add_all(const struct session *session, struct selection *selection)
{
    const struct view *view = selection->view;

    for (size_t i = 0; i < view->column_count; i++) {
        if (is_column(session, &view->columns[i]) &&
            !add_item(selection, i, memory_copy(view->columns[i].name)))
            return false;
    }
    return true;
}

static bool parse_items(const struct session *session, struct selection *selection, const char **at,
                        struct reply *reply)
{
    const struct view *view = selection->view;
    size_t column;

    if (take(at, "*"))
        return add_all(session, selection);
    if (take(at, "1"))
        return add_item(selection, ONE_ITEM, take_alias(at, ""));
    if (take(at, "COUNT"))
        return take(at, "(") && take(at, "*") && take(at, ")") &&
               add_item(selection, COUNT_ITEM, take_alias(at, ""));
    do {
        if (!view_take_column(session, view, at, reply, &column) ||
            !add_item(selection, column, take_alias(at, view->columns[column].name)))
            return false;
    } while (take(at, ","));
    return true;
}

static bool parse_conditions(struct session *session, struct selection *selection, const char **at,
                             struct reply *reply)
{
    size_t column;

    if (take(at, "WHERE") && !where_read(session, selection->view, at, reply, &selection->where))
        return false;
    if (take(at, "ORDER")) {
        if (!take(at, "BY"))
            return false;
        do {
            if (!view_take_column(session, selection->view, at, reply, &column))
                return false;
        } while (take(at, ","));
    }
    return is_end(*at);
}

/* Where FROM begins, outside literals; or NULL. */
static const char *find_from(const char *text)
{
    for (;;) {
        const char *at = text;
        struct lexer_token token = lexer_next(&text);

        if (token.kind == LEXER_END)
            return NULL;
        if (lexer_is(&token, "FROM"))
            return at;
    }
}

static void project(const struct selection *selection, const struct reply *rows,
                    struct reply *reply)
{
    const struct view *view = selection->view;
    bool is_count = selection->items[0] == COUNT_ITEM, is_one = selection->items[0] == ONE_ITEM;
    int64_t count = 0;

    for (size_t i = 0; i < selection->item_count; i++)
        reply_add_column(reply, selection->names[i],
                         is_count || is_one ? REPLY_INT : view->columns[selection->items[i]].type);
    for (size_t first = 0; first < rows->value_count; first += view->column_count) {
        if (!where_meets(&selection->where, &rows->values[first]))
            continue;
        count++;
        if (is_one)
            reply_number(reply, 1);
        for (size_t i = 0; !is_count && !is_one && i < selection->item_count; i++)
            reply_value(reply, rows->values[first + selection->items[i]]);
    }
    if (is_count)
        reply_number(reply, count);
}

static bool select_from(struct session *session, const char *items, const char *from,
                        struct reply *reply)
{
    CLEANUP(selection_deinit) struct selection selection = {0};
    CLEANUP(reply_deinit) struct reply rows = {0};
    CLEANUP(cleanup_free) char *database = NULL;
    const char *at = from;

    if (!take(&at, "FROM"))
        return false;
    selection.view = view_find(&at, &database);
    if (!selection.view || !parse_items(session, &selection, &items, reply) ||
        !take(&items, "FROM") || !parse_conditions(session, &selection, &at, reply))
        return reply_failed(reply);
    selection.view->fill(session, database, &rows);
    reply_move_messages(&rows, reply);
    if (!reply_failed(reply))
        project(&selection, &rows, reply);
    return true;
}

bool select_run(struct session *session, const char *text, struct reply *reply)
{
    struct reply answer = {0};
    const char *from;
    bool is_known;

    if (!take(&text, "SELECT"))
        return false;
    from = find_from(text);
    is_known =
        from ? select_from(session, text, from, &answer) : select_values(session, text, &answer);
    if (!is_known) {
        reply_deinit(&answer);
        return false;
    }
    /* An error while values are computed: no rows come. */
    if (reply_failed(&answer) && answer.columns) {
        reply_move_messages(&answer, reply);
        reply_deinit(&answer);
        return true;
    }
    *reply = answer;
    return true;
}
