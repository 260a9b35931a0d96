/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/sql_text.h"

#include <stdbool.h>
#include <string.h>

#define INVALID UINT32_MAX

/* One code point of UTF-8 (RFC 3629) at *at, which moves behind it; INVALID leaves it undefined. */
static uint32_t next_of_utf8(const uint8_t *bytes, size_t len, size_t *at)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    uint32_t point = bytes[(*at)++];
    unsigned more;

    if (point < 0x80)
        return point;
    if (point >= 0xc2 && point <= 0xdf)
        more = 1;
    else if (point >= 0xe0 && point <= 0xef)
        more = 2;
    else if (point >= 0xf0 && point <= 0xf4)
        more = 3;
    else
        return INVALID;
    if (len - *at < more)
        return INVALID;
    point &= 0x3fU >> more;
    for (unsigned i = 0; i < more; i++) {
        uint8_t byte = bytes[(*at)++];

        if ((byte & 0xc0) != 0x80)
            return INVALID;
        point = point << 6 | (byte & 0x3f);
    }
    if (point < smallest[more] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return INVALID;
    return point;
}

static size_t put_utf16(uint32_t point, uint8_t *out)
{
    uint16_t units[2] = {(uint16_t)point, 0};
    size_t count = 1;

    if (point >= 0x10000) {
        units[0] = (uint16_t)(0xd800 + ((point - 0x10000) >> 10));
        units[1] = (uint16_t)(0xdc00 + ((point - 0x10000) & 0x3ff));
        count = 2;
    }
    memcpy(out, units, count * sizeof(units[0]));
    secret_wipe(units, sizeof(units));
    return count * sizeof(units[0]);
}

enum escrow_err sql_text_to_utf16(const void *utf8, size_t len, struct secret **ret_utf16)
{
    CLEANUP(secret_free_p) struct secret *text = NULL;
    size_t at = 0, used = 0;

    if (len == 0)
        return ESCROW_ERR_MALFORMED;
    text = secret_new(2 * len);
    if (!text)
        return ESCROW_ERR_NO_MEMORY;
    while (at < len) {
        uint32_t point = next_of_utf8(utf8, len, &at);

        if (point == INVALID)
            return ESCROW_ERR_MALFORMED;
        used += put_utf16(point, text->bytes + used);
    }
    text->len = used;
    *ret_utf16 = TAKE(text);
    return ESCROW_OK;
}

static uint32_t next_of_utf16(const uint16_t *units, size_t count, size_t *at)
{
    uint32_t point = units[(*at)++];

    if (point < 0xd800 || point > 0xdfff)
        return point;
    if (point > 0xdbff || *at == count || units[*at] < 0xdc00 || units[*at] > 0xdfff)
        return INVALID;
    return 0x10000 + ((point - 0xd800) << 10) + (units[(*at)++] - 0xdc00U);
}

static size_t put_utf8(uint32_t point, char out[static 4])
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xc0 | point >> 6);
        out[1] = (char)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(0xe0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 0x3f));
        out[2] = (char)(0x80 | (point & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 0x3f));
    out[2] = (char)(0x80 | (point >> 6 & 0x3f));
    out[3] = (char)(0x80 | (point & 0x3f));
    return 4;
}

enum escrow_err sql_text_to_utf8(const uint16_t *utf16, size_t units, char *ret_text, size_t cap)
{
    size_t at = 0, used = 0;

    while (at < units) {
        uint32_t point = next_of_utf16(utf16, units, &at);
        char bytes[4];
        size_t len;

        if (point == INVALID || point == 0)
            return ESCROW_ERR_MALFORMED;
        len = put_utf8(point, bytes);
        if (used + len >= cap)
            return ESCROW_ERR_MALFORMED;
        memcpy(ret_text + used, bytes, len);
        used += len;
    }
    if (cap == 0)
        return ESCROW_ERR_MALFORMED;
    ret_text[used] = '\0';
    return ESCROW_OK;
}

void sql_text_trim(char *text)
{
    size_t len = strlen(text), start = len;

    while (start > 0 && len - start < 4) {
        size_t at = --start;

        if (((uint8_t)text[start] & 0xc0) == 0x80)
            continue;
        if (next_of_utf8((const uint8_t *)text, len, &at) == INVALID)
            text[start] = '\0';
        return;
    }
}
