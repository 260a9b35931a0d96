/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/tds_token.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/server_error.h"
#include "tests/sqlsim/tds_text.h"
#include "tests/sqlsim/tds_value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_COLMETADATA = 0x81, TOKEN_ERROR = 0xaa, TOKEN_INFO = 0xab, TOKEN_LOGINACK = 0xad };
enum { TOKEN_ROW = 0xd1, TOKEN_ENVCHANGE = 0xe3, TOKEN_SSPI = 0xed, TOKEN_DONE = 0xfd };
enum { TOKEN_RETURN_STATUS = 0x79, TOKEN_DONE_PROC = 0xfe, TOKEN_DONE_IN_PROC = 0xff };
enum { ENV_DATABASE = 1, ENV_LANGUAGE = 2, ENV_PACKET_SIZE = 4, ENV_COLLATION = 7 };
enum { DONE_MORE = 0x01, DONE_ERROR = 0x02, DONE_COUNT = 0x10, DONE_ATTENTION = 0x20 };

#define COMMAND_SELECT 0xc1
#define LONG_TEXT 4000 /* characters: all that nvarchar(4000) holds */
#define LEVEL_ERROR 11

static void put(struct evbuffer *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));

        evbuffer_add(out, &byte, 1);
    }
}

/* A text with its length in characters before it, in length_bytes. */
static void put_text(struct evbuffer *out, const char *text, size_t length_bytes)
{
    size_t len;
    CLEANUP(cleanup_free) uint8_t *bytes = tds_text_encode(text, &len);

    put(out, len / 2, length_bytes);
    evbuffer_add(out, bytes, len);
}

/* A token with its 2-byte length before the body; empties the body. */
static void put_token(struct evbuffer *out, uint8_t token, struct evbuffer *body)
{
    put(out, token, 1);
    put(out, evbuffer_get_length(body), 2);
    evbuffer_add_buffer(out, body);
}

static struct evbuffer *new_buffer(void)
{
    struct evbuffer *buffer = evbuffer_new();

    if (!buffer)
        abort();
    return buffer;
}

static void put_message(struct evbuffer *out, const struct reply_message *message,
                        const char *server_name)
{
    struct evbuffer *body = new_buffer();

    put(body, (uint32_t)message->number, 4);
    put(body, message->state, 1);
    put(body, message->level, 1);
    put_text(body, message->text, 2);
    put_text(body, server_name, 1);
    put_text(body, "", 1); /* procedure */
    put(body, 1, 4);       /* line */
    put_token(out, message->level >= LEVEL_ERROR ? TOKEN_ERROR : TOKEN_INFO, body);
    evbuffer_free(body);
}

static void put_environment(struct evbuffer *out, uint8_t type, const char *now, const char *before)
{
    struct evbuffer *body = new_buffer();

    put(body, type, 1);
    put_text(body, now, 1);
    put_text(body, before, 1);
    put_token(out, TOKEN_ENVCHANGE, body);
    evbuffer_free(body);
}

static void put_collation(struct evbuffer *out)
{
    struct evbuffer *body = new_buffer();

    put(body, ENV_COLLATION, 1);
    put(body, TDS_COLLATION_LEN, 1);
    evbuffer_add(body, tds_collation, TDS_COLLATION_LEN);
    put(body, 0, 1);
    put_token(out, TOKEN_ENVCHANGE, body);
    evbuffer_free(body);
}

static void put_columns(struct evbuffer *out, const struct reply *reply)
{
    put(out, TOKEN_COLMETADATA, 1);
    put(out, reply->column_count, 2);
    for (size_t i = 0; i < reply->column_count; i++) {
        const struct reply_column *column = &reply->columns[i];

        put(out, 0, 4); /* user type */
        put(out, 1, 2); /* flags: nullable */
        tds_value_type(out, column->type);
        put_text(out, column->name, 1);
    }
}

static void put_done_token(struct evbuffer *out, uint8_t token, uint16_t status, uint16_t command,
                           uint64_t rows)
{
    put(out, token, 1);
    put(out, status, 2);
    put(out, command, 2);
    put(out, rows, 8);
}

static void put_done(struct evbuffer *out, uint16_t status, uint16_t command, uint64_t rows)
{
    put_done_token(out, TOKEN_DONE, status, command, rows);
}

static void put_rows(struct evbuffer *out, const struct reply *reply)
{
    put_columns(out, reply);
    for (size_t i = 0; i < reply->value_count; i++) {
        if (i % reply->column_count == 0)
            put(out, TOKEN_ROW, 1);
        tds_value(out, reply->columns[i % reply->column_count].type, reply->values[i]);
    }
}

static void put_messages(struct evbuffer *out, const struct reply *reply, const char *server_name)
{
    if (reply->new_database)
        put_environment(out, ENV_DATABASE, reply->new_database, reply->old_database);
    for (size_t i = 0; i < reply->message_count; i++)
        put_message(out, &reply->messages[i], server_name);
}

/* The end of an answer to sp_executesql; its status is the number of the first error, or 0. */
static void put_procedure_end(struct evbuffer *out, const struct reply *reply, uint16_t status)
{
    put(out, TOKEN_RETURN_STATUS, 1);
    put(out, status & DONE_ERROR ? (uint32_t)reply->messages[0].number : 0, 4);
    put_done_token(out, TOKEN_DONE_PROC, status, 0, 0);
}

void tds_token_reply(struct evbuffer *out, const struct reply *reply, const char *server_name)
{
    const uint16_t status = reply_failed(reply) ? DONE_ERROR : 0;
    const uint8_t token = reply->is_procedure ? TOKEN_DONE_IN_PROC : TOKEN_DONE;
    const uint16_t more = reply->is_procedure ? DONE_MORE : 0;

    put_messages(out, reply, server_name);
    if (reply->columns) {
        put_rows(out, reply);
        put_done_token(out, token, status | DONE_COUNT | more, COMMAND_SELECT,
                       reply->value_count / reply->column_count);
    } else {
        put_done_token(out, token, status | more, 0, 0);
    }
    if (reply->is_procedure)
        put_procedure_end(out, reply, status);
}

void tds_token_extra(struct evbuffer *out, size_t rows, const char *server_name)
{
    static const struct reply_column columns[] = {{"number", REPLY_INT}, {"long_text", REPLY_TEXT}};
    const struct reply_message info = {
        .number = 0, .level = 0, .state = 1, .text = (char[]){"what PRINT says"}};
    struct reply reply = {0};
    char text[LONG_TEXT + 1];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    put_message(out, &info, server_name);
    reply_columns(&reply, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < rows; i++) {
        reply_number(&reply, (int64_t)i);
        reply_value(&reply, i == 0 ? NULL : text);
    }
    put_rows(out, &reply);
    put_done(out, DONE_MORE | DONE_COUNT, COMMAND_SELECT, rows);
    reply_deinit(&reply);
}

static void put_login_ack(struct evbuffer *out, const struct tds_login_ack *ack)
{
    struct evbuffer *body = new_buffer();
    char *at = NULL;
    unsigned long major = strtoul(ack->version, &at, 10);
    unsigned long minor = *at ? strtoul(at + 1, &at, 10) : 0;
    unsigned long build = *at ? strtoul(at + 1, &at, 10) : 0;

    put(body, 1, 1); /* T-SQL */
    for (int shift = 24; shift >= 0; shift -= 8)
        put(body, ack->tds_version >> shift & 0xff, 1); /* big-endian, unlike the client's */
    put_text(body, "Microsoft SQL Server", 1);
    put(body, major & 0xff, 1);
    put(body, minor & 0xff, 1);
    put(body, build >> 8 & 0xff, 1);
    put(body, build & 0xff, 1);
    put_token(out, TOKEN_LOGINACK, body);
    evbuffer_free(body);
}

void tds_token_login(struct evbuffer *out, const struct reply *reply,
                     const struct tds_login_ack *ack)
{
    char size[24];
    struct reply language = {0};

    snprintf(size, sizeof(size), "%zu", ack->packet_size);
    put_messages(out, reply, ack->server_name);
    put_collation(out);
    put_environment(out, ENV_LANGUAGE, "us_english", "");
    reply_message(&language, 5703, "us_english", NULL);
    put_messages(out, &language, ack->server_name);
    reply_deinit(&language);
    put_login_ack(out, ack);
    put_environment(out, ENV_PACKET_SIZE, size, "4096");
    put_done(out, 0, 0, 0);
}

void tds_token_sspi(struct evbuffer *out, struct evbuffer *token)
{
    put_token(out, TOKEN_SSPI, token);
}

void tds_token_attention(struct evbuffer *out)
{
    put_done(out, DONE_ATTENTION, 0, 0);
}
