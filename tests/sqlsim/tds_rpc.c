/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/tds_rpc.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/lexer.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/tds_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BY_NUMBER 0xffff
#define SP_EXECUTESQL 10
#define PARAMETERS_MAX 16
#define COLLATION_LEN 5
#define UNLIMITED 0xffff /* as a type's size: the value comes in chunks */
#define NULL_TEXT 0xffff

enum { TYPE_INTN = 0x26, TYPE_NVARCHAR = 0xe7 };

struct cursor {
    const uint8_t *at;
    size_t left;
};

struct parameter {
    char *name;  /* with its @; "" without a name */
    char *value; /* as text, or NULL */
    bool is_text;
};

struct parameters {
    size_t count;
    struct parameter list[PARAMETERS_MAX];
};

static void parameters_deinit(struct parameters *parameters)
{
    for (size_t i = 0; i < parameters->count; i++) {
        free(parameters->list[i].name);
        free(parameters->list[i].value);
    }
    memset(parameters, 0, sizeof(*parameters));
}

/* The next bytes, or NULL at the end. */
static const uint8_t *take(struct cursor *cursor, size_t bytes)
{
    const uint8_t *at = cursor->at;

    if (cursor->left < bytes)
        return NULL;
    cursor->at += bytes;
    cursor->left -= bytes;
    return at;
}

static bool take_number(struct cursor *cursor, size_t bytes, uint64_t *ret_number)
{
    const uint8_t *at = take(cursor, bytes);

    if (!at)
        return false;
    *ret_number = 0;
    for (size_t i = 0; i < bytes; i++)
        *ret_number |= (uint64_t)at[i] << (8 * i);
    return true;
}

/* A value in chunks (MS-TDS 2.2.5.2.3): its length, then chunks up to an empty one. */
static bool take_chunks(struct cursor *cursor, char **ret_text)
{
    CLEANUP(cleanup_free) uint8_t *bytes = memory_new(cursor->left + 1);
    size_t len = 0;
    uint64_t total, part;

    if (!take_number(cursor, 8, &total))
        return false;
    do {
        const uint8_t *at;

        if (!take_number(cursor, 4, &part))
            return false;
        at = take(cursor, (size_t)part);
        if (!at)
            return false;
        memcpy(bytes + len, at, (size_t)part);
        len += (size_t)part;
    } while (part);
    *ret_text = tds_text_decode(bytes, len);
    return true;
}

static bool take_text(struct cursor *cursor, struct parameter *parameter)
{
    const uint8_t *at;
    uint64_t most, len;

    parameter->is_text = true;
    if (!take_number(cursor, 2, &most) || !take(cursor, COLLATION_LEN))
        return false;
    if (most == UNLIMITED)
        return take_chunks(cursor, &parameter->value);
    if (!take_number(cursor, 2, &len))
        return false;
    if (len == NULL_TEXT)
        return true;
    at = take(cursor, (size_t)len);
    if (at)
        parameter->value = tds_text_decode(at, (size_t)len);
    return at != NULL;
}

static bool take_integer(struct cursor *cursor, struct parameter *parameter)
{
    uint64_t size, len, number;

    if (!take_number(cursor, 1, &size) || !take_number(cursor, 1, &len) || len > sizeof(number))
        return false;
    if (!len)
        return true;
    if (!take_number(cursor, (size_t)len, &number))
        return false;
    if (len < sizeof(number) && number >> (8 * len - 1)) /* its sign */
        number |= UINT64_MAX << (8 * len);
    parameter->value = memory_format("%" PRId64, (int64_t)number);
    return true;
}

static bool take_parameter(struct cursor *cursor, struct parameters *parameters)
{
    struct parameter *parameter = &parameters->list[parameters->count];
    const uint8_t *name;
    uint64_t len, status, type;

    if (parameters->count == PARAMETERS_MAX || !take_number(cursor, 1, &len))
        return false;
    name = take(cursor, 2 * (size_t)len);
    if (!name || !take_number(cursor, 1, &status) || !take_number(cursor, 1, &type))
        return false;
    parameter->name = tds_text_decode(name, 2 * (size_t)len);
    parameters->count++;
    if (type == TYPE_NVARCHAR)
        return take_text(cursor, parameter);
    return type == TYPE_INTN && take_integer(cursor, parameter);
}

static void put_literal(FILE *out, const struct parameter *parameter)
{
    if (!parameter->value) {
        fputs("NULL", out);
    } else if (!parameter->is_text) {
        fputs(parameter->value, out);
    } else {
        fputs("N'", out);
        for (const char *at = parameter->value; *at; at++) {
            if (*at == '\'')
                fputc('\'', out);
            fputc(*at, out);
        }
        fputc('\'', out);
    }
}

/* The parameter whose name stands here, or NULL; its length. The first two are the statement and
 * the declarations. */
static const struct parameter *named_at(const struct parameters *parameters, const char *at,
                                        size_t *ret_len)
{
    size_t len = 1;

    while (isalnum((unsigned char)at[len]) || at[len] == '_' || at[len] == '@')
        len++;
    *ret_len = len;
    for (size_t i = 2; i < parameters->count; i++) {
        const char *name = parameters->list[i].name;

        if (strlen(name) == len && strncasecmp(name, at, len) == 0)
            return &parameters->list[i];
    }
    return NULL;
}

static char *with_values(const struct parameters *parameters, const char *statement)
{
    char *text = NULL;
    size_t len = 0, name_len;
    bool is_literal = false;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        abort();
    for (const char *at = statement; *at; at += name_len) {
        const struct parameter *parameter = NULL;

        name_len = 1;
        if (*at == '\'')
            is_literal = !is_literal;
        else if (*at == '@' && !is_literal)
            parameter = named_at(parameters, at, &name_len);
        if (parameter)
            put_literal(out, parameter);
        else
            fwrite(at, 1, name_len, out);
    }
    if (fclose(out) != 0)
        abort();
    return text;
}

/* ALL_HEADERS, and that it is a call of sp_executesql, by number or by name. */
static bool take_call(struct cursor *cursor)
{
    uint64_t headers, len, number = 0, flags;

    if (!take_number(cursor, 4, &headers) || headers < 4 || !take(cursor, (size_t)headers - 4) ||
        !take_number(cursor, 2, &len))
        return false;
    if (len == BY_NUMBER) {
        if (!take_number(cursor, 2, &number))
            return false;
    } else {
        const uint8_t *at = take(cursor, 2 * (size_t)len);
        CLEANUP(cleanup_free) char *name = at ? tds_text_decode(at, 2 * (size_t)len) : NULL;

        if (name && strcasecmp(name, "sp_executesql") == 0)
            number = SP_EXECUTESQL;
    }
    return take_number(cursor, 2, &flags) && number == SP_EXECUTESQL;
}

enum escrow_err tds_rpc_statement(const uint8_t *payload, size_t len, char **ret_statement)
{
    CLEANUP(parameters_deinit) struct parameters parameters = {0};
    CLEANUP(cleanup_free) char *word = NULL;
    struct cursor cursor = {.at = payload, .left = len};
    const char *statement;

    if (!take_call(&cursor))
        return ESCROW_ERR_MALFORMED;
    while (cursor.left) {
        if (!take_parameter(&cursor, &parameters))
            return ESCROW_ERR_MALFORMED;
    }
    statement = parameters.count ? parameters.list[0].value : NULL;
    if (!statement || !parameters.list[0].is_text)
        return ESCROW_ERR_MALFORMED;
    word = lexer_first_word(statement);
    *ret_statement = strcasecmp(word, "SELECT") == 0 ? with_values(&parameters, statement)
                                                     : memory_copy(statement);
    return ESCROW_OK;
}
