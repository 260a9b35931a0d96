/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/encode.h"

#include <stdlib.h>
#include <string.h>

static const char b64url_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

char *b64url_encode(const void *bytes, size_t len)
{
    const uint8_t *in = bytes;
    char *text = malloc(B64URL_LEN(len) + 1), *out = text;
    uint32_t bits = 0;
    unsigned pending = 0;

    if (!text)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | in[i];
        for (pending += 8; pending >= 6; pending -= 6)
            *out++ = b64url_digits[bits >> (pending - 6) & 63];
    }
    if (pending)
        *out++ = b64url_digits[bits << (6 - pending) & 63];
    *out = '\0';
    return text;
}

static int b64url_value(char digit)
{
    if (digit >= 'A' && digit <= 'Z')
        return digit - 'A';
    if (digit >= 'a' && digit <= 'z')
        return digit - 'a' + 26;
    if (digit >= '0' && digit <= '9')
        return digit - '0' + 52;
    if (digit == '-')
        return 62;
    return digit == '_' ? 63 : -1;
}

enum escrow_err b64url_decode(const char *text, size_t text_len, void *ret_bytes, size_t cap,
                              size_t *ret_len)
{
    uint8_t *out = ret_bytes;
    uint32_t bits = 0;
    unsigned pending = 0;
    size_t used = 0;

    if (text_len % 4 == 1)
        return ESCROW_ERR_MALFORMED;
    for (size_t i = 0; i < text_len; i++) {
        int value = b64url_value(text[i]);

        if (value < 0)
            return ESCROW_ERR_MALFORMED;
        bits = bits << 6 | (uint32_t)value;
        pending += 6;
        if (pending < 8)
            continue;
        if (used == cap)
            return ESCROW_ERR_MALFORMED;
        pending -= 8;
        out[used++] = (uint8_t)(bits >> pending);
        bits &= (1U << pending) - 1;
    }
    if (bits)
        return ESCROW_ERR_MALFORMED;
    *ret_len = used;
    return ESCROW_OK;
}

void hex_encode(const void *bytes, size_t len, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *in = bytes;

    for (size_t i = 0; i < len; i++) {
        *ret_text++ = digits[in[i] >> 4];
        *ret_text++ = digits[in[i] & 15];
    }
    *ret_text = '\0';
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return -1;
}

enum escrow_err hex_decode(const char *text, void *ret_bytes, size_t len)
{
    uint8_t *out = ret_bytes;

    if (strlen(text) != 2 * len)
        return ESCROW_ERR_MALFORMED;
    for (size_t i = 0; i < len; i++) {
        int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return ESCROW_ERR_MALFORMED;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return ESCROW_OK;
}
