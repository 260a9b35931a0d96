/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <jansson.h>

#include <stddef.h>

/*
 * Results on standard output: one JSON document, or a table for people. What came from elsewhere is
 * printed without control characters, so that no answer can move the cursor.
 */

enum ctl_output { CTL_OUTPUT_TABLE, CTL_OUTPUT_JSON };

struct ctl_column {
    const char *title;
    const char *member; /* of each row; a text, number, boolean, null or array of texts */
};

/* Rows of an array of objects below their titles; with CTL_OUTPUT_JSON the whole result. */
void ctl_print_rows(enum ctl_output output, const json_t *result, const json_t *rows,
                    const struct ctl_column *columns, size_t column_count);

/* The same row by row, for a table that may be long: a column is as wide as its width says. */
void ctl_print_titles(const struct ctl_column *columns, const int *widths, size_t column_count);
void ctl_print_row(const json_t *row, const struct ctl_column *columns, const int *widths,
                   size_t column_count);

/* The members of an object, a line each (members that are objects are left out); or the object. */
void ctl_print_object(enum ctl_output output, json_t *object);

/* In place: what would steer a terminal becomes question marks. */
void ctl_hide_controls(char *text);

/* One line for a person, without its newline; nothing with CTL_OUTPUT_JSON. */
__attribute__((format(printf, 2, 3))) void ctl_print_line(enum ctl_output output,
                                                          const char *format, ...);
