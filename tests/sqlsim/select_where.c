/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/select_where.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/lexer.h"
#include "tests/sqlsim/scalar.h"
#include "tests/sqlsim/select.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void where_deinit(struct where *where)
{
    for (size_t i = 0; i < where->count; i++) {
        for (size_t n = 0; n < where->conditions[i].count; n++)
            free(where->conditions[i].values[n]);
    }
    where->count = 0;
}

static bool take(const char **at, const char *word)
{
    const char *next = *at;
    struct lexer_token token = lexer_next(&next);

    if (!lexer_is(&token, word))
        return false;
    *at = next;
    return true;
}

static bool read_value(struct session *session, const char **at, struct reply *reply,
                       struct where_condition *condition)
{
    struct scalar value = {0};

    if (condition->count == WHERE_VALUES_MAX || !scalar_read(session, at, reply, &value))
        return false;
    condition->values[condition->count++] = value.text;
    return true;
}

static bool read_set(struct session *session, const char **at, struct reply *reply,
                     struct where_condition *condition)
{
    if (!take(at, "("))
        return false;
    do {
        if (!read_value(session, at, reply, condition))
            return false;
    } while (take(at, ","));
    return take(at, ")");
}

static bool read_null(const char **at, struct where_condition *condition)
{
    condition->kind = take(at, "NOT") ? WHERE_SET : WHERE_NULL;
    return take(at, "NULL");
}

static bool read_condition(struct session *session, const struct view *view, const char **at,
                           struct reply *reply, struct where_condition *condition)
{
    if (!view_take_column(session, view, at, reply, &condition->column))
        return false;
    if (take(at, "IS"))
        return read_null(at, condition);
    if (take(at, "IN"))
        return read_set(session, at, reply, condition);
    if (take(at, "NOT")) {
        condition->kind = WHERE_NOT_LIKE;
        return take(at, "LIKE") && read_value(session, at, reply, condition);
    }
    if (take(at, "LIKE"))
        condition->kind = WHERE_LIKE;
    else if (take(at, "<") && take(at, ">"))
        condition->kind = WHERE_NOT_EQUAL;
    else if (!take(at, "="))
        return false;
    return read_value(session, at, reply, condition);
}

bool where_read(struct session *session, const struct view *view, const char **at,
                struct reply *reply, struct where *where)
{
    bool is_or = false;

    for (;;) {
        struct where_condition *condition = &where->conditions[where->count];

        if (where->count == WHERE_CONDITIONS_MAX)
            return false;
        *condition = (struct where_condition){.is_or = is_or};
        where->count++;
        if (!read_condition(session, view, at, reply, condition))
            return false;
        is_or = take(at, "OR");
        if (!is_or && !take(at, "AND"))
            return true;
    }
}

static bool like(const char *text, const char *pattern);

/* [set] of a pattern, without ranges; moves *pattern behind it. */
static bool like_set(char c, const char **pattern)
{
    const char *end = strchr(*pattern + 1, ']');
    bool is_in = end && memchr(*pattern + 1, c, (size_t)(end - *pattern - 1)) != NULL;

    *pattern = end ? end + 1 : *pattern + strlen(*pattern);
    return is_in;
}

static bool like_any(const char *text, const char *pattern)
{
    for (;; text++) {
        if (like(text, pattern))
            return true;
        if (!*text)
            return false;
    }
}

/* "LIKE": % any characters, _ one, [set] one of a set; without regard to case. */
static bool like(const char *text, const char *pattern)
{
    while (*pattern) {
        if (*pattern == '%')
            return like_any(text, pattern + 1);
        if (!*text)
            return false;
        if (*pattern == '[') {
            if (!like_set(*text, &pattern))
                return false;
        } else if (*pattern == '_' ||
                   tolower((unsigned char)*pattern) == tolower((unsigned char)*text)) {
            pattern++;
        } else {
            return false;
        }
        text++;
    }
    return !*text;
}

static bool meets(const struct where_condition *condition, const char *value)
{
    bool is_equal = false, is_like;

    if (condition->kind == WHERE_NULL || condition->kind == WHERE_SET)
        return (condition->kind == WHERE_SET) == (value != NULL);
    if (!value || !condition->values[0])
        return false;
    for (size_t i = 0; i < condition->count; i++)
        is_equal |= condition->values[i] && strcasecmp(value, condition->values[i]) == 0;
    if (condition->kind == WHERE_EQUAL || condition->kind == WHERE_NOT_EQUAL)
        return is_equal == (condition->kind == WHERE_EQUAL);
    is_like = like(value, condition->values[0]);
    return is_like == (condition->kind == WHERE_LIKE);
}

bool where_meets(const struct where *where, char *const *row)
{
    bool is_met = true;

    for (size_t i = 0; i < where->count; i++) {
        const struct where_condition *condition = &where->conditions[i];

        if (condition->is_or && is_met)
            return true;
        is_met = (is_met || condition->is_or) && meets(condition, row[condition->column]);
    }
    return is_met;
}
