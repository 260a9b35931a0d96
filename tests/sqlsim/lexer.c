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

enum token_kind {
    TOKEN_END,
    TOKEN_WORD,
    TOKEN_TEXT,
    TOKEN_NAME,
    TOKEN_BINARY,
    TOKEN_SYMBOL,
    TOKEN_UNCLOSED, /* a literal or name that never ends: to the end of the text */
};

struct token {
    enum token_kind kind;
    const char *start;
    size_t len;
};

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '@' || c == '$' || c == '#' || c & 0x80;
}

/* A quoted token whose quote opens at start + before; a doubled close is one character. */
static struct token quoted_token(enum token_kind kind, const char *start, size_t before, char close)
{
    size_t len = before + 1;

    while (start[len]) {
        if (start[len++] != close)
            continue;
        if (start[len] != close)
            return (struct token){kind, start, len};
        len++;
    }
    return (struct token){TOKEN_UNCLOSED, start, len};
}

static struct token next_token(const char **at)
{
    const char *start = *at;
    struct token token;

    while (isspace((unsigned char)*start))
        start++;
    token = (struct token){TOKEN_SYMBOL, start, 1};
    if (!*start) {
        token = (struct token){TOKEN_END, start, 0};
    } else if (*start == '\'') {
        token = quoted_token(TOKEN_TEXT, start, 0, '\'');
    } else if ((*start == 'N' || *start == 'n') && start[1] == '\'') {
        token = quoted_token(TOKEN_TEXT, start, 1, '\'');
    } else if (*start == '[') {
        token = quoted_token(TOKEN_NAME, start, 0, ']');
    } else if (is_word(*start)) {
        while (is_word(start[token.len]))
            token.len++;
        token.kind = strncasecmp(start, "0x", 2) == 0 ? TOKEN_BINARY : TOKEN_WORD;
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

/* The value of a literal or quoted name; the lexeme of anything else. */
static char *token_value(const struct token *token)
{
    const char *start = token->start;
    size_t len = token->len, out = 0;
    char *value = memory_new(len + 1);

    if (token->kind == TOKEN_BINARY) {
        memcpy(value, start + 2, len - 2);
        return value;
    }
    if (token->kind != TOKEN_TEXT && token->kind != TOKEN_NAME) {
        memcpy(value, start, len);
        return value;
    }
    if (*start != '\'' && *start != '[') {
        start++;
        len--;
    }
    for (size_t i = 1; i + 1 < len; i++) {
        size_t skipped = token->kind == TOKEN_TEXT ? continuation_length(start + i) : 0;

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

static bool token_is(const struct token *token, const char *word)
{
    return token->len == strlen(word) && strncasecmp(token->start, word, token->len) == 0;
}

static bool is_parameter(const struct token *pattern, enum token_kind *ret_kind)
{
    if (token_is(pattern, "$text"))
        *ret_kind = TOKEN_TEXT;
    else if (token_is(pattern, "$name"))
        *ret_kind = TOKEN_NAME;
    else if (token_is(pattern, "$binary"))
        *ret_kind = TOKEN_BINARY;
    else
        return false;
    return true;
}

static bool tokens_equal(const struct token *a, const struct token *b)
{
    if (a->kind != b->kind || a->len != b->len)
        return false;
    if (a->kind == TOKEN_TEXT)
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

bool lexer_match(const char *pattern, const char *text, struct lexer_parameters *ret_parameters)
{
    struct lexer_parameters parameters = {0};

    for (;;) {
        struct token want = next_token(&pattern);
        struct token have = next_token(&text);
        enum token_kind kind;

        if (want.kind == TOKEN_END) {
            if (token_is(&have, ";"))
                have = next_token(&text);
            if (have.kind != TOKEN_END)
                break;
            *ret_parameters = parameters;
            return true;
        }
        if (is_parameter(&want, &kind)) {
            if (have.kind != kind || parameters.count == LEXER_PARAMETERS_MAX)
                break;
            parameters.values[parameters.count++] = token_value(&have);
        } else if (!tokens_equal(&want, &have)) {
            break;
        }
    }
    lexer_parameters_deinit(&parameters);
    return false;
}

static void write_redacted(FILE *stream, const struct token *token)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    char hex[2 * SHA256_DIGEST_LENGTH + 1];
    char *value = token_value(token);

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
    FILE *stream = open_memstream(&redacted, &len);

    if (!stream)
        abort();
    for (;;) {
        const char *before = text;
        struct token token = next_token(&text);

        if (token.kind == TOKEN_END)
            break;
        fwrite(before, 1, (size_t)(token.start - before), stream);
        if (seen == 2 && (token.kind == TOKEN_TEXT || token.kind == TOKEN_UNCLOSED))
            write_redacted(stream, &token);
        else
            fwrite(token.start, 1, token.len, stream);
        if (token_is(&token, "PASSWORD"))
            seen = 1;
        else
            seen = seen == 1 && token_is(&token, "=") ? 2 : 0;
    }
    if (fclose(stream) != 0)
        abort();
    return redacted;
}

char *lexer_first_word(const char *text)
{
    struct token token = next_token(&text);

    return memory_copy_part(token.start, token.kind == TOKEN_WORD ? token.len : 0);
}
