/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/reply.h"

#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/server_error.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LEVEL_ERROR 11

void reply_deinit(struct reply *reply)
{
    for (size_t i = 0; i < reply->value_count; i++)
        free(reply->values[i]);
    free(reply->values);
    for (size_t i = 0; i < reply->message_count; i++)
        free(reply->messages[i].text);
    memset(reply, 0, sizeof(*reply));
}

void reply_columns(struct reply *reply, const struct reply_column *columns, size_t count)
{
    reply->columns = columns;
    reply->column_count = count;
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

void reply_message(struct reply *reply, int32_t number, const char *first, const char *second)
{
    const struct server_error *error = server_error_find(number);

    if (reply->message_count == REPLY_MESSAGES_MAX)
        abort();
    reply->messages[reply->message_count++] = (struct reply_message){
        .number = number,
        .level = error->level,
        .state = error->state,
        .text = server_error_text(error, first, second),
    };
}

void reply_message_state(struct reply *reply, int32_t number, uint8_t state)
{
    reply_message(reply, number, NULL, NULL);
    reply->messages[reply->message_count - 1].state = state;
}

bool reply_failed(const struct reply *reply)
{
    for (size_t i = 0; i < reply->message_count; i++) {
        if (reply->messages[i].level >= LEVEL_ERROR)
            return true;
    }
    return false;
}
