/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/scalar.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/lexer.h"
#include "tests/sqlsim/memory.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAME_MAX_BYTES 128

void scalar_deinit(struct scalar *value)
{
    free(value->text);
    value->text = NULL;
}

static bool take(const char **at, const char *symbol)
{
    const char *next = *at;
    struct lexer_token token = lexer_next(&next);

    if (!lexer_is(&token, symbol))
        return false;
    *at = next;
    return true;
}

/* nvarchar(128), sysname, int, ...: what CONVERT and CAST are told, and what we leave out. */
static bool take_type(const char **at)
{
    struct lexer_token token = lexer_next(at);

    if (token.kind != LEXER_WORD)
        return false;
    if (!take(at, "("))
        return true;
    token = lexer_next(at);
    return token.kind == LEXER_WORD && take(at, ")");
}

static bool read_conversion(struct session *session, const char **at, bool is_cast,
                            struct reply *reply, struct scalar *ret_value)
{
    if (!is_cast && !(take_type(at) && take(at, ",")))
        return false;
    if (!scalar_read(session, at, reply, ret_value))
        return false;
    if (is_cast ? take(at, "AS") && take_type(at) && take(at, ")") : take(at, ")"))
        return true;
    scalar_deinit(ret_value);
    return false;
}

static bool read_arguments(struct session *session, const char **at, struct reply *reply,
                           struct scalar *arguments, size_t *ret_count)
{
    size_t count = 0;
    bool is_read = take(at, ")");

    while (!is_read && count < SCALAR_ARGUMENTS_MAX &&
           scalar_read(session, at, reply, &arguments[count])) {
        count++;
        if (take(at, ")"))
            is_read = true;
        else if (!take(at, ","))
            break;
    }
    *ret_count = count;
    return is_read;
}

static bool read_call(struct session *session, const char *name, const char **at,
                      struct reply *reply, struct scalar *ret_value)
{
    struct scalar arguments[SCALAR_ARGUMENTS_MAX] = {{0}};
    size_t count = 0;
    bool is_read = read_arguments(session, at, reply, arguments, &count);
    scalar_fn function = is_read ? scalar_function(name, count) : NULL;

    if (function)
        function(session, arguments, count, reply, ret_value);
    for (size_t i = 0; i < SCALAR_ARGUMENTS_MAX; i++)
        scalar_deinit(&arguments[i]);
    return function != NULL;
}

/* A name of one or more parts, or @@variable. */
static bool read_name(const struct lexer_token *first, const char **at, char *name)
{
    size_t len = first->len;

    if (len > NAME_MAX_BYTES)
        return false;
    memcpy(name, first->start, len);
    while (take(at, ".")) {
        struct lexer_token part = lexer_next(at);

        if (part.kind != LEXER_WORD || len + 1 + part.len > NAME_MAX_BYTES)
            return false;
        name[len++] = '.';
        memcpy(name + len, part.start, part.len);
        len += part.len;
    }
    name[len] = '\0';
    return true;
}

static bool read_named(struct session *session, const struct lexer_token *token, const char **at,
                       struct reply *reply, struct scalar *ret_value)
{
    char name[NAME_MAX_BYTES + 1];
    scalar_fn variable;

    if (lexer_is(token, "NULL"))
        return true;
    if (!read_name(token, at, name))
        return false;
    if (take(at, "(")) {
        bool is_cast = strcasecmp(name, "CAST") == 0;

        return is_cast || strcasecmp(name, "CONVERT") == 0
                   ? read_conversion(session, at, is_cast, reply, ret_value)
                   : read_call(session, name, at, reply, ret_value);
    }
    variable = strncmp(name, "@@", 2) == 0 ? scalar_function(name, 0) : NULL;
    if (!variable)
        return false;
    variable(session, NULL, 0, reply, ret_value);
    return true;
}

bool scalar_read(struct session *session, const char **at, struct reply *reply,
                 struct scalar *ret_value)
{
    CLEANUP(scalar_deinit) struct scalar value = {0};
    struct lexer_token token = lexer_next(at);
    bool is_read = false;

    if (token.kind == LEXER_TEXT || token.kind == LEXER_BINARY ||
        (token.kind == LEXER_WORD && isdigit((unsigned char)*token.start))) {
        value.text = lexer_value(&token);
        value.type = token.kind == LEXER_WORD     ? REPLY_INT
                     : token.kind == LEXER_BINARY ? REPLY_BINARY
                                                  : REPLY_TEXT;
        is_read = true;
    } else if (token.kind == LEXER_WORD) {
        is_read = read_named(session, &token, at, reply, &value);
    }
    if (!is_read)
        return false;
    *ret_value = value;
    value.text = NULL;
    return true;
}
