/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The answer to one batch, before it is encoded: messages, at most one result set, at most one
 * change of database. Values are texts, whatever their type; the encoder converts them.
 */
#define REPLY_MESSAGES_MAX 16

enum reply_type {
    REPLY_TEXT, /* nvarchar(4000) */
    REPLY_BIT,
    REPLY_TINYINT,
    REPLY_SMALLINT,
    REPLY_INT,
    REPLY_BIGINT,
    REPLY_GUID,      /* uniqueidentifier */
    REPLY_NUMERIC,   /* numeric(25,0): an LSN */
    REPLY_DATETIME,  /* "2026-11-22 19:30:00.1234567", this one to 1/300 s */
    REPLY_DATETIME2, /* datetime2(7) */
    REPLY_BINARY,    /* varbinary(85), in hexadecimal digits */
};

struct reply_column {
    const char *name;
    enum reply_type type;
};

struct reply_message {
    int32_t number;
    uint8_t level;
    uint8_t state;
    char *text;
};

struct reply {
    const struct reply_column *columns; /* static, or added ones; NULL: no result set */
    size_t column_count;
    struct reply_column *added; /* by reply_add_column, owned with their names; or NULL */
    char **values;              /* row after row; NULL entries are NULL */
    size_t value_count;
    struct reply_message messages[REPLY_MESSAGES_MAX];
    size_t message_count;
    const char *new_database; /* owned by the model; NULL: unchanged */
    const char *old_database;
    bool is_last;      /* the session is gone: close the connection after this */
    bool is_procedure; /* of an RPC: ends with DONEINPROC, the return status and DONEPROC */
};

void reply_deinit(struct reply *reply); /* a zeroed reply is valid */

void reply_columns(struct reply *reply, const struct reply_column *columns, size_t count);
/* One more column, in place of reply_columns; the name is copied. */
void reply_add_column(struct reply *reply, const char *name, enum reply_type type);
/* The next value of the row; text is copied, NULL is NULL. */
void reply_value(struct reply *reply, const char *text);
void reply_number(struct reply *reply, int64_t number);
/* Adds the message of this number (server_error.h). */
void reply_message(struct reply *reply, int32_t number, const char *first, const char *second);
/* The same with a state number of the caller's. */
void reply_message_state(struct reply *reply, int32_t number, uint8_t state);
/* Any error of a test's choice; level and state 0: those of the table, or 16 and 1. */
void reply_error(struct reply *reply, int32_t number, uint8_t level, uint8_t state,
                 const char *first);
/* A message that is in no table; its text is copied. Beyond REPLY_MESSAGES_MAX it is left out. */
void reply_text(struct reply *reply, int32_t number, uint8_t level, uint8_t state,
                const char *text);
/* What is left of from is its result set. */
void reply_move_messages(struct reply *from, struct reply *to);
/* The result set of from; to has none. */
void reply_move_rows(struct reply *from, struct reply *to);
bool reply_failed(const struct reply *reply); /* it holds an error, not only infos */
