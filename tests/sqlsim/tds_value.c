/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/tds_value.h"

#include "libescrow/cleanup.h"
#include "libescrow/encode.h"
#include "tests/sqlsim/tds_text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TYPE_GUID = 0x24, TYPE_INTN = 0x26, TYPE_DATETIME2 = 0x2a, TYPE_BITN = 0x68 };
enum { TYPE_VARBINARY = 0xa5 };
enum { TYPE_NUMERIC = 0x6c, TYPE_DATETIMN = 0x6f, TYPE_NVARCHAR = 0xe7 };

#define TEXT_BYTES_MAX 8000 /* nvarchar(4000) */
#define GUID_BYTES 16
#define BINARY_BYTES_MAX 85
#define NUMERIC_PRECISION 25 /* of an LSN (4.1) */
#define NUMERIC_BYTES 13     /* of precisions 20 to 28: sign and 12 bytes */
#define DATETIME2_SCALE 7
#define DAYS_0001_TO_1970 719162
#define DAYS_1900_TO_1970 25567
#define SECONDS_OF_DAY 86400
#define TICKS_OF_SECOND 10000000 /* of 100 ns */

const uint8_t tds_collation[TDS_COLLATION_LEN] = {0x09, 0x04, 0xd0, 0x00, 0x34};

static void put(struct evbuffer *out, unsigned __int128 value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));

        evbuffer_add(out, &byte, 1);
    }
}

/* Of the types whose length stands in one byte; 0: of none. */
static size_t fixed_bytes(enum reply_type type)
{
    static const size_t bytes[] = {
        [REPLY_BIT] = 1,      [REPLY_TINYINT] = 1,
        [REPLY_SMALLINT] = 2, [REPLY_INT] = 4,
        [REPLY_BIGINT] = 8,   [REPLY_GUID] = GUID_BYTES,
        [REPLY_DATETIME] = 8, [REPLY_NUMERIC] = NUMERIC_BYTES,
    };

    return type < ARRAY_LEN(bytes) ? bytes[type] : 0;
}

void tds_value_type(struct evbuffer *out, enum reply_type type)
{
    static const uint8_t codes[] = {
        [REPLY_TEXT] = TYPE_NVARCHAR,    [REPLY_BIT] = TYPE_BITN,
        [REPLY_TINYINT] = TYPE_INTN,     [REPLY_SMALLINT] = TYPE_INTN,
        [REPLY_INT] = TYPE_INTN,         [REPLY_BIGINT] = TYPE_INTN,
        [REPLY_GUID] = TYPE_GUID,        [REPLY_DATETIME] = TYPE_DATETIMN,
        [REPLY_NUMERIC] = TYPE_NUMERIC,  [REPLY_DATETIME2] = TYPE_DATETIME2,
        [REPLY_BINARY] = TYPE_VARBINARY,
    };

    put(out, codes[type], 1);
    if (type == REPLY_TEXT) {
        put(out, TEXT_BYTES_MAX, 2);
        evbuffer_add(out, tds_collation, sizeof(tds_collation));
    } else if (type == REPLY_BINARY) {
        put(out, BINARY_BYTES_MAX, 2);
    } else if (type == REPLY_DATETIME2) {
        put(out, DATETIME2_SCALE, 1);
    } else {
        put(out, fixed_bytes(type), 1);
    }
    if (type == REPLY_NUMERIC) {
        put(out, NUMERIC_PRECISION, 1);
        put(out, 0, 1); /* scale */
    }
}

static void put_text(struct evbuffer *out, const char *text)
{
    size_t len;
    CLEANUP(cleanup_free) uint8_t *bytes = tds_text_encode(text, &len);

    put(out, len, 2);
    evbuffer_add(out, bytes, len);
}

static void put_binary(struct evbuffer *out, const char *hex)
{
    uint8_t bytes[BINARY_BYTES_MAX];
    size_t len = strlen(hex) / 2;

    if (len > sizeof(bytes) || hex_decode(hex, bytes, len))
        abort();
    put(out, len, 2);
    evbuffer_add(out, bytes, len);
}

/* The first three groups are little-endian numbers, the rest is bytes. */
static void put_guid(struct evbuffer *out, const char *text)
{
    static const size_t order[GUID_BYTES] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    char hex[2 * GUID_BYTES + 1];
    uint8_t bytes[GUID_BYTES];
    size_t len = 0;

    for (const char *at = text; *at && len < sizeof(hex) - 1; at++) {
        if (*at != '-')
            hex[len++] = (char)tolower((unsigned char)*at);
    }
    hex[len] = '\0';
    if (hex_decode(hex, bytes, sizeof(bytes)))
        abort();
    for (size_t i = 0; i < GUID_BYTES; i++)
        put(out, bytes[order[i]], 1);
}

static void put_numeric(struct evbuffer *out, const char *text)
{
    unsigned __int128 value = 0;

    for (const char *at = text; *at; at++) {
        if (*at < '0' || *at > '9')
            abort();
        value = value * 10 + (unsigned)(*at - '0');
    }
    put(out, 1, 1); /* not negative */
    put(out, value, NUMERIC_BYTES - 1);
}

/* Of "2026-11-22 19:30:00.1234567": seconds since 1970, and ticks of the second. */
static int64_t parse_time(const char *text, uint64_t *ret_ticks)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%d %H:%M:%S.", &tm);

    if (!rest || strlen(rest) != DATETIME2_SCALE)
        abort();
    *ret_ticks = strtoul(rest, NULL, 10);
    return timegm(&tm);
}

static void put_time(struct evbuffer *out, enum reply_type type, const char *text)
{
    uint64_t ticks, seconds = (uint64_t)parse_time(text, &ticks), rest = seconds % SECONDS_OF_DAY;

    if (type == REPLY_DATETIME) {
        put(out, seconds / SECONDS_OF_DAY + DAYS_1900_TO_1970, 4);
        put(out, (rest * TICKS_OF_SECOND + ticks) * 300 / TICKS_OF_SECOND, 4);
    } else {
        put(out, rest * TICKS_OF_SECOND + ticks, 5);
        put(out, seconds / SECONDS_OF_DAY + DAYS_0001_TO_1970, 3);
    }
}

void tds_value(struct evbuffer *out, enum reply_type type, const char *text)
{
    bool has_long_length = type == REPLY_TEXT || type == REPLY_BINARY;

    if (!text) {
        put(out, has_long_length ? 0xffff : 0, has_long_length ? 2 : 1);
        return;
    }
    if (has_long_length) {
        if (type == REPLY_TEXT)
            put_text(out, text);
        else
            put_binary(out, text);
        return;
    }
    put(out, type == REPLY_DATETIME2 ? 8 : fixed_bytes(type), 1);
    switch (type) {
    case REPLY_GUID:
        put_guid(out, text);
        break;
    case REPLY_NUMERIC:
        put_numeric(out, text);
        break;
    case REPLY_DATETIME:
    case REPLY_DATETIME2:
        put_time(out, type, text);
        break;
    default:
        put(out, (unsigned __int128)strtoll(text, NULL, 10), fixed_bytes(type));
        break;
    }
}
