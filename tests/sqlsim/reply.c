/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/reply.h"

#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/server_error.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LEVEL_ERROR 11
#define LEVEL_DEFAULT 16

void reply_deinit(struct reply *reply)
{
    for (size_t i = 0; i < reply->value_count; i++)
        free(reply->values[i]);
    free(reply->values);
    for (size_t i = 0; i < reply->message_count; i++)
        free(reply->messages[i].text);
    for (size_t i = 0; reply->added && i < reply->column_count; i++)
        free((char *)(uintptr_t)reply->added[i].name);
    free(reply->added);
    memset(reply, 0, sizeof(*reply));
}

void reply_columns(struct reply *reply, const struct reply_column *columns, size_t count)
{
    reply->columns = columns;
    reply->column_count = count;
}

void reply_add_column(struct reply *reply, const char *name, enum reply_type type)
{
    reply->added = memory_grow(reply->added, reply->column_count + 1, sizeof(*reply->added));
    reply->added[reply->column_count++] =
        (struct reply_column){.name = memory_copy(name), .type = type};
    reply->columns = reply->added;
}

void reply_value(struct reply *reply, const char *text)
{
    reply->values = memory_grow(reply->values, reply->value_count + 1, sizeof(*reply->values));
    reply->values[reply->value_count++] = text ? memory_copy(text) : NULL;
}

void reply_number(struct reply *reply, int64_t number)
{
    reply->values = memory_grow(reply->values, reply->value_count + 1, sizeof(*reply->values));
    reply->values[reply->value_count++] = memory_format("%" PRId64, number);
}

static void add_message(struct reply *reply, const struct server_error *error, const char *first,
                        const char *second)
{
    if (reply->message_count == REPLY_MESSAGES_MAX)
        abort();
    reply->messages[reply->message_count++] = (struct reply_message){
        .number = error->number,
        .level = error->level,
        .state = error->state,
        .text = server_error_text(error, first, second),
    };
}

void reply_message(struct reply *reply, int32_t number, const char *first, const char *second)
{
    add_message(reply, server_error_find(number), first, second);
}

void reply_error(struct reply *reply, int32_t number, uint8_t level, uint8_t state,
                 const char *first)
{
    struct server_error error = {number, LEVEL_DEFAULT, 1, "An error that the test asked for."};

    if (server_error_is_known(number))
        error = *server_error_find(number);
    if (level)
        error.level = level;
    if (state)
        error.state = state;
    add_message(reply, &error, first, NULL);
}

void reply_message_state(struct reply *reply, int32_t number, uint8_t state)
{
    reply_message(reply, number, NULL, NULL);
    reply->messages[reply->message_count - 1].state = state;
}

void reply_text(struct reply *reply, int32_t number, uint8_t level, uint8_t state, const char *text)
{
    if (reply->message_count < REPLY_MESSAGES_MAX)
        reply->messages[reply->message_count++] = (struct reply_message){
            .number = number, .level = level, .state = state, .text = memory_copy(text)};
}

void reply_move_messages(struct reply *from, struct reply *to)
{
    for (size_t i = 0; i < from->message_count; i++) {
        const struct reply_message *message = &from->messages[i];

        reply_text(to, message->number, message->level, message->state, message->text);
        free(from->messages[i].text);
        from->messages[i].text = NULL;
    }
    from->message_count = 0;
}

void reply_move_rows(struct reply *from, struct reply *to)
{
    to->columns = from->columns;
    to->column_count = from->column_count;
    to->added = from->added;
    to->values = from->values;
    to->value_count = from->value_count;
    from->columns = from->added = NULL;
    from->column_count = from->value_count = 0;
    from->values = NULL;
}

bool reply_failed(const struct reply *reply)
{
    for (size_t i = 0; i < reply->message_count; i++) {
        if (reply->messages[i].level >= LEVEL_ERROR)
            return true;
    }
    return false;
}
