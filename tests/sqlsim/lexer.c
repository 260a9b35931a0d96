/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/lexer.h"

#include "libescrow/cleanup.h"
#include "libescrow/encode.h"
#include "tests/sqlsim/memory.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '@' || c == '$' || c == '#' || c & 0x80;
}

/* A quoted token whose quote opens at start + before; a doubled close is one character. */
static struct lexer_token quoted_token(enum lexer_kind kind, const char *start, size_t before,
                                       char close)
{
    size_t len = before + 1;

    while (start[len]) {
        if (start[len++] != close)
            continue;
        if (start[len] != close)
            return (struct lexer_token){kind, start, len};
        len++;
    }
    return (struct lexer_token){LEXER_UNCLOSED, start, len};
}

/* White space and comments; those of C's kind may stand in each other. */
static const char *skip_blank(const char *at)
{
    unsigned depth = 0;

    for (;;) {
        if (strncmp(at, "/*", 2) == 0) {
            depth++;
            at += 2;
        } else if (depth && strncmp(at, "*/", 2) == 0) {
            depth--;
            at += 2;
        } else if (!depth && strncmp(at, "--", 2) == 0) {
            at += strcspn(at, "\n");
        } else if (*at && (depth || isspace((unsigned char)*at))) {
            at++;
        } else {
            return at;
        }
    }
}

struct lexer_token lexer_next(const char **at)
{
    const char *start = *at;
    struct lexer_token token;

    start = skip_blank(start);
    token = (struct lexer_token){LEXER_SYMBOL, start, 1};
    if (!*start) {
        token = (struct lexer_token){LEXER_END, start, 0};
    } else if (*start == '\'') {
        token = quoted_token(LEXER_TEXT, start, 0, '\'');
    } else if ((*start == 'N' || *start == 'n') && start[1] == '\'') {
        token = quoted_token(LEXER_TEXT, start, 1, '\'');
    } else if (*start == '[') {
        token = quoted_token(LEXER_NAME, start, 0, ']');
    } else if (is_word(*start)) {
        while (is_word(start[token.len]))
            token.len++;
        token.kind = strncasecmp(start, "0x", 2) == 0 ? LEXER_BINARY : LEXER_WORD;
    }
    *at = start + token.len;
    return token;
}

/* "Backslash (line continuation)" of T-SQL: inside a string both vanish. */
static size_t continuation_length(const char *at)
{
    if (at[0] != '\\')
        return 0;
    if (at[1] == '\r' && at[2] == '\n')
        return 3;
    return at[1] == '\n' ? 2 : 0;
}

char *lexer_value(const struct lexer_token *token)
{
    const char *start = token->start;
    size_t len = token->len, out = 0;
    char *value = memory_new(len + 1);

    if (token->kind == LEXER_BINARY) {
        memcpy(value, start + 2, len - 2);
        return value;
    }
    if (token->kind != LEXER_TEXT && token->kind != LEXER_NAME) {
        memcpy(value, start, len);
        return value;
    }
    if (*start != '\'' && *start != '[') {
        start++;
        len--;
    }
    for (size_t i = 1; i + 1 < len; i++) {
        size_t skipped = token->kind == LEXER_TEXT ? continuation_length(start + i) : 0;

        if (skipped) {
            i += skipped - 1;
            continue;
        }
        value[out++] = start[i];
        if (start[i] == start[len - 1])
            i++;
    }
    return value;
}

bool lexer_is(const struct lexer_token *token, const char *word)
{
    return token->len == strlen(word) && strncasecmp(token->start, word, token->len) == 0;
}

static bool is_parameter(const struct lexer_token *pattern, enum lexer_kind *ret_kind)
{
    if (*pattern->start != '$')
        return false;
    if (lexer_is(pattern, "$text"))
        *ret_kind = LEXER_TEXT;
    else if (lexer_is(pattern, "$name"))
        *ret_kind = LEXER_NAME;
    else if (lexer_is(pattern, "$binary"))
        *ret_kind = LEXER_BINARY;
    else
        return false;
    return true;
}

/* [name] in a pattern is met by name too, but not the other way round: quotes make a name of any
 * word. */
static bool is_quoted_name_of(const struct lexer_token *quoted, const struct lexer_token *word)
{
    return quoted->kind == LEXER_NAME && word->kind == LEXER_WORD && quoted->len == word->len + 2 &&
           strncasecmp(quoted->start + 1, word->start, word->len) == 0;
}

static bool tokens_equal(const struct lexer_token *a, const struct lexer_token *b)
{
    if (is_quoted_name_of(a, b))
        return true;
    if (a->kind != b->kind || a->len != b->len)
        return false;
    if (a->kind == LEXER_TEXT)
        return memcmp(a->start, b->start, a->len) == 0;
    return strncasecmp(a->start, b->start, a->len) == 0;
}

void lexer_parameters_deinit(struct lexer_parameters *parameters)
{
    for (size_t i = 0; i < parameters->count; i++) {
        OPENSSL_cleanse(parameters->values[i], strlen(parameters->values[i]));
        free(parameters->values[i]);
    }
    parameters->count = 0;
}

static bool meets_parameter(const struct lexer_token *token, enum lexer_kind kind)
{
    return token->kind == kind || (kind == LEXER_NAME && token->kind == LEXER_WORD);
}

/* Everything up to a ; or the end, as it stands there. */
static char *take_arguments(const char **text)
{
    const char *start = NULL, *end = *text;

    for (;;) {
        struct lexer_token token = lexer_next(text);

        if (!start)
            start = token.start;

        if (token.kind == LEXER_END || lexer_is(&token, ";"))
            break;
        end = token.start + token.len;
    }
    *text = end;
    return memory_copy_part(start, end > start ? (size_t)(end - start) : 0);
}

bool lexer_match_start(const char *pattern, const char **text,
                       struct lexer_parameters *ret_parameters)
{
    struct lexer_parameters parameters = {0};
    const char *at = *text;

    for (;;) {
        struct lexer_token want = lexer_next(&pattern), have;
        enum lexer_kind kind;

        if (want.kind == LEXER_END) {
            *text = at;
            *ret_parameters = parameters;
            return true;
        }
        if (*want.start == '$' && lexer_is(&want, "$arguments") &&
            parameters.count < LEXER_PARAMETERS_MAX) {
            parameters.values[parameters.count++] = take_arguments(&at);
            continue;
        }
        have = lexer_next(&at);
        if (is_parameter(&want, &kind)) {
            if (!meets_parameter(&have, kind) || parameters.count == LEXER_PARAMETERS_MAX)
                break;
            parameters.values[parameters.count++] = lexer_value(&have);
        } else if (!tokens_equal(&want, &have)) {
            break;
        }
    }
    lexer_parameters_deinit(&parameters);
    return false;
}

bool lexer_match(const char *pattern, const char *text, struct lexer_parameters *ret_parameters)
{
    struct lexer_token token;

    if (!lexer_match_start(pattern, &text, ret_parameters))
        return false;
    token = lexer_next(&text);
    if (lexer_is(&token, ";"))
        token = lexer_next(&text);
    if (token.kind == LEXER_END)
        return true;
    lexer_parameters_deinit(ret_parameters);
    return false;
}

static void write_redacted(FILE *stream, const struct lexer_token *token)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    char hex[2 * SHA256_DIGEST_LENGTH + 1];
    char *value = lexer_value(token);

    if (!EVP_Digest(value, strlen(value), digest, NULL, EVP_sha256(), NULL))
        abort();
    OPENSSL_cleanse(value, strlen(value));
    free(value);
    hex_encode(digest, sizeof(digest), hex);
    fprintf(stream, "'<sha256:%s>'", hex);
}

char *lexer_redact(const char *text)
{
    char *redacted = NULL;
    size_t len = 0;
    int seen = 0; /* 1 after PASSWORD, 2 after PASSWORD = */
    FILE *stream;

    /* Most have none, and hundreds come in a second. */
    if (!strcasestr(text, "password"))
        return memory_copy(text);
    stream = open_memstream(&redacted, &len);
    if (!stream)
        abort();
    for (;;) {
        const char *before = text;
        struct lexer_token token = lexer_next(&text);

        if (token.kind == LEXER_END) {
            fputs(before, stream);
            break;
        }
        fwrite(before, 1, (size_t)(token.start - before), stream);
        if (seen == 2 && (token.kind == LEXER_TEXT || token.kind == LEXER_UNCLOSED))
            write_redacted(stream, &token);
        else
            fwrite(token.start, 1, token.len, stream);
        if (lexer_is(&token, "PASSWORD") || lexer_is(&token, "@password"))
            seen = 1;
        else
            seen = seen == 1 && lexer_is(&token, "=") ? 2 : 0;
    }
    if (fclose(stream) != 0)
        abort();
    return redacted;
}

char *lexer_first_word(const char *text)
{
    struct lexer_token token = lexer_next(&text);

    return memory_copy_part(token.start, token.kind == LEXER_WORD ? token.len : 0);
}
