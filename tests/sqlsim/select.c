/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/select.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/lexer.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/scalar.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ITEMS_MAX 32
#define CONDITIONS_MAX 4
#define COUNT_ITEM SIZE_MAX

struct condition {
    size_t column;
    char *text; /* NULL: IS NULL */
};

/* A SELECT from a view. */
struct selection {
    const struct view *view;
    size_t item_count;
    size_t items[ITEMS_MAX]; /* columns, or COUNT_ITEM alone */
    char *names[ITEMS_MAX];
    size_t condition_count;
    struct condition conditions[CONDITIONS_MAX];
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
    for (size_t i = 0; i < selection->condition_count; i++)
        free(selection->conditions[i].text);
}

/* [alias.]column. false: not one of the view. */
static bool take_column(const char **at, const struct view *view, size_t *ret_column)
{
    struct lexer_token token = lexer_next(at);
    CLEANUP(cleanup_free) char *name = NULL;

    if (take(at, "."))
        token = lexer_next(at);
    name = lexer_value(&token);
    for (size_t i = 0; i < view->column_count; i++) {
        if (strcasecmp(view->columns[i].name, name) == 0) {
            *ret_column = i;
            return true;
        }
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

static bool parse_items(struct selection *selection, const char **at)
{
    const struct view *view = selection->view;
    size_t column;

    if (take(at, "*")) {
        for (size_t i = 0; i < view->column_count; i++) {
            if (!add_item(selection, i, memory_copy(view->columns[i].name)))
                return false;
        }
        return true;
    }
    if (take(at, "COUNT"))
        return take(at, "(") && take(at, "*") && take(at, ")") &&
               add_item(selection, COUNT_ITEM, take_alias(at, ""));
    do {
        if (!take_column(at, view, &column) ||
            !add_item(selection, column, take_alias(at, view->columns[column].name)))
            return false;
    } while (take(at, ","));
    return true;
}

static bool parse_condition(struct session *session, struct selection *selection, const char **at,
                            struct reply *reply)
{
    CLEANUP(scalar_deinit) struct scalar value = {0};
    struct condition condition = {0};

    if (selection->condition_count == CONDITIONS_MAX ||
        !take_column(at, selection->view, &condition.column))
        return false;
    if (take(at, "=")) {
        if (!scalar_read(session, at, reply, &value))
            return false;
        /* NULL equals nothing, not even the empty text that no value is. */
        condition.text = memory_copy(value.text ? value.text : "\x01");
    } else if (!take(at, "IS") || !take(at, "NULL")) {
        return false;
    }
    selection->conditions[selection->condition_count++] = condition;
    return true;
}

static bool parse_conditions(struct session *session, struct selection *selection, const char **at,
                             struct reply *reply)
{
    size_t column;

    if (take(at, "WHERE")) {
        do {
            if (!parse_condition(session, selection, at, reply))
                return false;
        } while (take(at, "AND"));
    }
    if (take(at, "ORDER")) {
        if (!take(at, "BY"))
            return false;
        do {
            if (!take_column(at, selection->view, &column))
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

static bool meets(const struct selection *selection, const struct reply *rows, size_t first)
{
    for (size_t i = 0; i < selection->condition_count; i++) {
        const struct condition *condition = &selection->conditions[i];
        const char *value = rows->values[first + condition->column];

        if (condition->text ? !value || strcasecmp(value, condition->text) != 0 : value != NULL)
            return false;
    }
    return true;
}

static void project(const struct selection *selection, const struct reply *rows,
                    struct reply *reply)
{
    const struct view *view = selection->view;
    bool is_count = selection->items[0] == COUNT_ITEM;
    int64_t count = 0;

    for (size_t i = 0; i < selection->item_count; i++)
        reply_add_column(reply, selection->names[i],
                         is_count ? REPLY_INT : view->columns[selection->items[i]].type);
    for (size_t first = 0; first < rows->value_count; first += view->column_count) {
        if (!meets(selection, rows, first))
            continue;
        count++;
        for (size_t i = 0; !is_count && i < selection->item_count; i++)
            reply_value(reply, rows->values[first + selection->items[i]]);
    }
    if (is_count)
        reply_number(reply, count);
}

static void move_messages(struct reply *from, struct reply *reply)
{
    for (size_t i = 0; i < from->message_count && reply->message_count < REPLY_MESSAGES_MAX; i++) {
        reply->messages[reply->message_count++] = from->messages[i];
        from->messages[i].text = NULL;
    }
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
    if (!selection.view || !parse_items(&selection, &items) || !take(&items, "FROM") ||
        !parse_conditions(session, &selection, &at, reply))
        return false;
    selection.view->fill(session, database, &rows);
    move_messages(&rows, reply);
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
        move_messages(&answer, reply);
        reply_deinit(&answer);
        return true;
    }
    *reply = answer;
    return true;
}
