/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Just enough T-SQL lexing to compare a batch with the pattern of a statement: white space,
 * comments and the case of words do not count, literals do. In a pattern $text stands for '...' or
 * N'...', $name for
 * [...] or a plain word, $binary for 0x..., $arguments for anything up to a ; or the end; their
 * values are captured in order.
 */
enum lexer_kind {
    LEXER_END,
    LEXER_WORD, /* numbers and @names too */
    LEXER_TEXT,
    LEXER_NAME,
    LEXER_BINARY,
    LEXER_SYMBOL,
    LEXER_UNCLOSED, /* a literal or name that never ends: to the end of the text */
};

struct lexer_token {
    enum lexer_kind kind;
    const char *start;
    size_t len;
};

/* The next token; moves *at behind it. */
struct lexer_token lexer_next(const char **at);
/* The value of a literal or quoted name; the lexeme of anything else. Owned by the caller. */
char *lexer_value(const struct lexer_token *token);
bool lexer_is(const struct lexer_token *token, const char *word); /* without regard to case */

#define LEXER_PARAMETERS_MAX 16

struct lexer_parameters {
    size_t count;
    char *values[LEXER_PARAMETERS_MAX]; /* unquoted; binary without 0x; $arguments as it is */
};

void lexer_parameters_deinit(struct lexer_parameters *parameters); /* a zeroed one is valid */

/* Whether the whole text is the pattern (one ; at its end is allowed); parameters only then. */
bool lexer_match(const char *pattern, const char *text, struct lexer_parameters *ret_parameters);

/* The same for what the text begins with; moves *text behind it. */
bool lexer_match_start(const char *pattern, const char **text,
                       struct lexer_parameters *ret_parameters);

/* The text with each literal after PASSWORD = replaced by '<sha256:HEX>' over its value (UTF-8).
 * Owned by the caller. */
char *lexer_redact(const char *text);

/* The first word of a text, for 102. Owned by the caller. */
char *lexer_first_word(const char *text);
