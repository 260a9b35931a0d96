/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/procedure.h"

#include "tests/sqlsim/lexer.h"
#include "tests/sqlsim/memory.h"

#include <openssl/crypto.h>

#include <stdlib.h>
#include <string.h>

/* A literal, a number or -number. NULL: something else. */
static char *read_value(const char **at)
{
    struct lexer_token token = lexer_next(at);

    if (token.kind == LEXER_TEXT || token.kind == LEXER_WORD)
        return lexer_value(&token);
    if (lexer_is(&token, "-")) {
        struct lexer_token number = lexer_next(at);

        if (number.kind == LEXER_WORD)
            return memory_format("-%.*s", (int)number.len, number.start);
    }
    return NULL;
}

/* The place of "@name =", which it moves behind; or the given one if there is no name. */
static size_t read_place(const char **at, const char *const *names, size_t count, size_t position)
{
    const char *next = *at;
    struct lexer_token name = lexer_next(&next);
    struct lexer_token equals = lexer_next(&next);

    if (!lexer_is(&equals, "="))
        return position;
    *at = next;
    for (size_t i = 0; i < count; i++) {
        if (lexer_is(&name, names[i]))
            return i;
    }
    return count;
}

bool procedure_arguments(const char *text, const char *const *names, size_t count, char **values)
{
    for (size_t position = 0;; position++) {
        size_t place = read_place(&text, names, count, position);
        struct lexer_token separator;

        if (place >= count || values[place])
            return false;
        values[place] = read_value(&text);
        if (!values[place])
            return false;
        separator = lexer_next(&text);
        if (separator.kind == LEXER_END)
            return true;
        if (!lexer_is(&separator, ","))
            return false;
    }
}

void procedure_arguments_free(char **values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (values[i])
            OPENSSL_cleanse(values[i], strlen(values[i]));
        free(values[i]);
        values[i] = NULL;
    }
}
