/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/tds_text.h"

#include "tests/sqlsim/memory.h"

#include <string.h>

#define REPLACEMENT 0xfffdU

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

char *tds_text_decode(const uint8_t *bytes, size_t len)
{
    size_t units = len / 2, used = 0;
    char *text = memory_new(3 * units + 1); /* a surrogate pair is 2 units and 4 bytes */

    for (size_t i = 0; i < units; i++) {
        uint32_t c = (uint32_t)(bytes[2 * i] | bytes[2 * i + 1] << 8);

        if (c >= 0xd800 && c < 0xdc00 && i + 1 < units && (bytes[2 * i + 3] & 0xfc) == 0xdc) {
            uint32_t low = (uint32_t)(bytes[2 * i + 2] | bytes[2 * i + 3] << 8);

            c = 0x10000 + ((c & 0x3ff) << 10 | (low & 0x3ff));
            i++;
        } else if ((c >= 0xd800 && c < 0xe000) || c == 0) {
            c = REPLACEMENT;
        }
        used += put_utf8(text + used, c);
    }
    return text;
}

/* One character of UTF-8; moves *at past it. */
static uint32_t get_utf8(const uint8_t **at)
{
    static const struct {
        uint8_t mask, lead;
        uint32_t least;
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    const uint8_t *start = *at;

    (*at)++;
    for (size_t extra = 0; extra < sizeof(forms) / sizeof(forms[0]); extra++) {
        uint32_t c = *start & (uint8_t)~forms[extra].mask;
        size_t i = 1;

        if ((*start & forms[extra].mask) != forms[extra].lead)
            continue;
        for (; i <= extra && (start[i] & 0xc0) == 0x80; i++)
            c = c << 6 | (start[i] & 0x3f);
        if (i <= extra || c < forms[extra].least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            return REPLACEMENT;
        *at = start + i;
        return c;
    }
    return REPLACEMENT;
}

uint8_t *tds_text_encode(const char *text, size_t *ret_len)
{
    const uint8_t *at = (const uint8_t *)text;
    uint8_t *bytes = memory_new(2 * strlen(text) + 2), *out = bytes;

    while (*at) {
        uint32_t c = get_utf8(&at);

        if (c >= 0x10000) {
            uint32_t high = 0xd800 + ((c - 0x10000) >> 10);

            *out++ = (uint8_t)high;
            *out++ = (uint8_t)(high >> 8);
            c = 0xdc00 + (c & 0x3ff);
        }
        *out++ = (uint8_t)c;
        *out++ = (uint8_t)(c >> 8);
    }
    *ret_len = (size_t)(out - bytes);
    return bytes;
}
