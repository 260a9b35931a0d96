/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * The messages of SQL Server that the model raises, word for word (sqlserver-facts 2). One table;
 * a number that is not in it cannot be raised.
 */
struct server_error {
    int32_t number;
    uint8_t level; /* at run time; below 11 it is an INFO */
    uint8_t state;
    const char *text; /* %1 and %2 stand for the arguments */
};

/* The row of a number; ends the process for a number that the table does not have. */
const struct server_error *server_error_find(int32_t number);

bool server_error_is_known(int32_t number);

/* Its text with the arguments in place (NULL: empty), owned by the caller. */
char *server_error_text(const struct server_error *error, const char *first, const char *second);
