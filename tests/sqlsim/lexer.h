/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Just enough T-SQL lexing to compare a batch with the pattern of a statement: white space and the
 * case of words do not count, literals do. In a pattern $text stands for '...' or N'...', $name for
 * [...], $binary for 0x...; their values are captured in order.
 */
#define LEXER_PARAMETERS_MAX 16

struct lexer_parameters {
    size_t count;
    char *values[LEXER_PARAMETERS_MAX]; /* unquoted; binary without 0x */
};

void lexer_parameters_deinit(struct lexer_parameters *parameters); /* a zeroed one is valid */

/* Whether the whole text is the pattern (one ; at its end is allowed); parameters only then. */
bool lexer_match(const char *pattern, const char *text, struct lexer_parameters *ret_parameters);

/* The text with each literal after PASSWORD = replaced by '<sha256:HEX>' over its value (UTF-8).
 * Owned by the caller. */
char *lexer_redact(const char *text);

/* The first word of a text, for 102. Owned by the caller. */
char *lexer_first_word(const char *text);
