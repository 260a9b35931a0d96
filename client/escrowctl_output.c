/* SPDX-License-Identifier: Apache-2.0 */
#include "client/escrowctl_output.h"

#include "libescrow/cleanup.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 12
#define CELL_MAX 512 /* bytes with NUL */

/* Of one byte, or U+0080 to U+009F, which are two in UTF-8. */
static bool is_control(const char *text)
{
    unsigned char c = (unsigned char)text[0], next = (unsigned char)text[1];

    return c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next <= 0x9f);
}

/* The two bytes of a control character of UTF-8 become two. */
void ctl_hide_controls(char *text)
{
    for (; *text; text++) {
        if (!is_control(text))
            continue;
        if ((unsigned char)text[0] == 0xc2)
            *text++ = '?';
        *text = '?';
    }
}

static void append(char *cell, size_t *used, const char *text)
{
    for (; *text && *used + 1 < CELL_MAX; text++) {
        bool hides = is_control(text);

        text += hides && (unsigned char)*text == 0xc2;
        cell[(*used)++] = (char)(hides ? '?' : *text);
    }
    cell[*used] = '\0';
}

static void append_scalar(char *cell, size_t *used, const json_t *value)
{
    char number[32];

    if (json_is_string(value)) {
        append(cell, used, json_string_value(value));
    } else if (json_is_integer(value)) {
        snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        append(cell, used, number);
    } else if (json_is_boolean(value)) {
        append(cell, used, json_is_true(value) ? "yes" : "no");
    } else {
        append(cell, used, "-");
    }
}

static void format_cell(const json_t *value, char ret_cell[static CELL_MAX])
{
    const json_t *item;
    size_t used = 0, i;

    ret_cell[0] = '\0';
    if (!json_is_array(value)) {
        append_scalar(ret_cell, &used, value);
        return;
    }
    json_array_foreach(value, i, item)
    {
        if (i > 0)
            append(ret_cell, &used, " ");
        append_scalar(ret_cell, &used, item);
    }
    if (used == 0)
        append(ret_cell, &used, "-");
}

static void print_json(const json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
    putchar('\n');
}

/* Characters, not bytes: UTF-8's continuation bytes take no room. */
static int width_of(const char *text)
{
    int width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void print_cell(const char *text, int width, bool is_last)
{
    fputs(text, stdout);
    if (is_last)
        putchar('\n');
    else
        printf("%*s", (width > width_of(text) ? width - width_of(text) : 0) + 2, "");
}

void ctl_print_titles(const struct ctl_column *columns, const int *widths, size_t column_count)
{
    for (size_t c = 0; c < column_count; c++)
        print_cell(columns[c].title, widths[c], c + 1 == column_count);
}

void ctl_print_row(const json_t *row, const struct ctl_column *columns, const int *widths,
                   size_t column_count)
{
    char cell[CELL_MAX];

    for (size_t c = 0; c < column_count; c++) {
        format_cell(json_object_get(row, columns[c].member), cell);
        print_cell(cell, widths[c], c + 1 == column_count);
    }
}

void ctl_print_rows(enum ctl_output output, const json_t *result, const json_t *rows,
                    const struct ctl_column *columns, size_t column_count)
{
    int widths[COLUMNS_MAX] = {0};
    char cell[CELL_MAX];
    const json_t *row;
    size_t i;

    if (output == CTL_OUTPUT_JSON) {
        print_json(result);
        return;
    }
    for (size_t c = 0; c < column_count; c++) {
        widths[c] = width_of(columns[c].title);
        json_array_foreach(rows, i, row)
        {
            format_cell(json_object_get(row, columns[c].member), cell);
            if (width_of(cell) > widths[c])
                widths[c] = width_of(cell);
        }
    }
    ctl_print_titles(columns, widths, column_count);
    json_array_foreach(rows, i, row)
    {
        ctl_print_row(row, columns, widths, column_count);
    }
}

void ctl_print_object(enum ctl_output output, json_t *object)
{
    char cell[CELL_MAX];
    const char *name;
    json_t *value;
    int width = 0;

    if (output == CTL_OUTPUT_JSON) {
        print_json(object);
        return;
    }
    json_object_foreach(object, name, value)
    {
        if (!json_is_object(value) && width_of(name) > width)
            width = width_of(name);
    }
    json_object_foreach(object, name, value)
    {
        if (json_is_object(value) || json_is_object(json_array_get(value, 0)))
            continue;
        format_cell(value, cell);
        print_cell(name, width, false);
        print_cell(cell, 0, true);
    }
}

void ctl_print_line(enum ctl_output output, const char *format, ...)
{
    CLEANUP(cleanup_free) char *line = NULL;
    va_list args;
    int len;

    if (output == CTL_OUTPUT_JSON)
        return;
    va_start(args, format);
    len = vasprintf(&line, format, args);
    va_end(args);
    if (len < 0) {
        line = NULL;
        return;
    }
    ctl_hide_controls(line);
    puts(line);
}
