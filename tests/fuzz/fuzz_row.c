/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What SQL Server sends: a row that is taken gives numbers and texts as they stood there, decimal
 * and nothing else, and its state comes out of the prober's message as it went in; texts in UTF-8
 * and UTF-16 become each other and back; a quoted text is one literal that holds that text. The
 * first byte of the input chooses, the rest are values.
 */
#include "libescrow/cleanup.h"
#include "libescrow/ipc_probe.h"
#include "libescrow/probe_row.h"
#include "libescrow/sql_text.h"
#include "libescrow/tsql.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_CAP 1100
#define VALUES_MAX 16

static char values[VALUES_MAX][VALUE_CAP];

/* Digits without leading zeros, at most the largest int. */
static bool is_int(const char *text, long *ret_number)
{
    const size_t len = strspn(text, "0123456789");

    if (len == 0 || len > 10 || text[len] || (text[0] == '0' && len > 1))
        return false;
    *ret_number = strtol(text, NULL, 10);
    return *ret_number <= INT32_MAX;
}

static void check_int(const char *text)
{
    int32_t number = 0;
    long wanted = 0;
    const bool is_taken = probe_row_int(text, &number);

    FUZZ_CHECK(is_taken == (!text || is_int(text, &wanted)));
    FUZZ_CHECK(!is_taken || number == (text ? (int32_t)wanted : -1));
}

static void check_message(const struct probe_state *state)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0}, again = {0};
    struct ipc_message message = {.type = IPC_PROBE_STATE, .fd = -1};
    struct probe_state received;

    ipc_put_probe_state(&writer, state);
    if (!fuzz_went_well(writer.err == ESCROW_OK))
        return;
    message.payload = writer.bytes;
    message.len = writer.len;
    FUZZ_CHECK(ipc_get_probe_state(&message, &received) == ESCROW_OK);
    ipc_put_probe_state(&again, &received);
    if (fuzz_went_well(again.err == ESCROW_OK))
        FUZZ_CHECK(again.len == writer.len && memcmp(again.bytes, writer.bytes, writer.len) == 0);
}

static void check_rows(const char *const *row, size_t columns)
{
    struct probe_state state = probe_row_empty();

    for (size_t i = 0; i < columns; i++)
        check_int(row[i]);
    if (probe_row_state(columns, row, &state)) {
        char number[32];

        state.outcome = PROBE_ANSWERED;
        if (state.has_sequence_number) {
            snprintf(number, sizeof(number), "%lld", (long long)state.sequence_number);
            FUZZ_CHECK(strcmp(number, row[TSQL_STATE_SEQUENCE_NUMBER]) == 0);
        }
        FUZZ_CHECK(strcmp(state.server_name, row[0] ? row[0] : "") == 0);
        check_message(&state);
    }
    state = probe_row_empty();
    FUZZ_CHECK(probe_row_quorum(columns, row, &state) == state.has_quorum_row);
    state = probe_row_empty();
    if (probe_row_local(columns, row, &state))
        FUZZ_CHECK(state.role >= -1 && state.cluster_type == -1);
}

static void check_utf8(const uint8_t *bytes, size_t len)
{
    CLEANUP(secret_free_p) struct secret *utf16 = NULL;
    char again[VALUE_CAP];
    enum escrow_err err = sql_text_to_utf16(bytes, len, &utf16);

    FUZZ_CHECK(!err == !!utf16);
    FUZZ_CHECK(err != ESCROW_ERR_NO_MEMORY || inject_failures() > 0);
    if (err)
        return;
    err = sql_text_to_utf8((const uint16_t *)(const void *)utf16->bytes, utf16->len / 2, again,
                           sizeof(again));
    FUZZ_CHECK(!err == !memchr(bytes, 0, len));
    FUZZ_CHECK(err || (strlen(again) == len && memcmp(again, bytes, len) == 0));
}

static void check_utf16(const uint8_t *bytes, size_t len)
{
    CLEANUP(secret_free_p) struct secret *utf16 = NULL;
    uint16_t units[VALUE_CAP / 3];
    const size_t count = len / 2 < ARRAY_LEN(units) ? len / 2 : ARRAY_LEN(units) - 1;
    char text[VALUE_CAP];

    if (count > 0)
        memcpy(units, bytes, 2 * count);
    if (sql_text_to_utf8(units, count, text, sizeof(text)) != ESCROW_OK || count == 0)
        return;
    if (fuzz_went_well(sql_text_to_utf16(text, strlen(text), &utf16) == ESCROW_OK))
        FUZZ_CHECK(utf16->len == 2 * count && memcmp(utf16->bytes, units, utf16->len) == 0);
}

/* What stands between the quotes, each doubled one once, is the text; no line end is joined. */
static void check_quoted(char *text)
{
    CLEANUP(cleanup_free) char *quoted = NULL;
    char plain[VALUE_CAP];
    size_t used = 0, at = 2;

    sql_text_trim(text);
    quoted = tsql_quote_text(text);
    if (!quoted)
        return;
    FUZZ_CHECK(strncmp(quoted, "N'", 2) == 0 && !strstr(quoted, "\\\n") &&
               !strstr(quoted, "\\\r\n"));
    for (; quoted[at] && (quoted[at] != '\'' || quoted[at + 1] == '\''); at++) {
        plain[used++] = quoted[at];
        at += quoted[at] == '\'';
    }
    plain[used] = '\0';
    FUZZ_CHECK(strcmp(quoted + at, "'") == 0 && strcmp(plain, text) == 0);
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    struct fuzz_source source = {bytes, len};
    const uint8_t which = fuzz_take_byte(&source) % 4;
    const char *row[VALUES_MAX] = {NULL};
    size_t columns = 0;

    if (source.len >= VALUE_CAP)
        return;
    if (which == 1)
        check_utf8(source.bytes, source.len);
    if (which == 2)
        check_utf16(source.bytes, source.len);
    /* One value a line; "NULL" is NULL. */
    while (source.len > 0 && columns < VALUES_MAX) {
        const uint8_t *end = memchr(source.bytes, '\n', source.len);
        const size_t value_len = end ? (size_t)(end - source.bytes) : source.len;
        char *value = values[columns];

        memcpy(value, source.bytes, value_len);
        value[value_len] = '\0';
        row[columns++] = strcmp(value, "NULL") == 0 ? NULL : value;
        source.bytes += value_len + (end != NULL);
        source.len -= value_len + (end != NULL);
    }
    if (which == 0)
        check_rows(row, columns);
    if (which == 3 && columns > 0)
        check_quoted(values[0]);
}
