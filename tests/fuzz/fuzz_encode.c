/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base64url, hexadecimal, names and identities: what is decoded is encoded to the same text again,
 * every byte string has a text, and identities and names hold nothing but what their grammars say.
 * The input is the text, and as bytes what is encoded.
 */
#include "libescrow/cleanup.h"
#include "libescrow/encode.h"
#include "libescrow/identity.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 4096

static void check_base64url(const char *text, size_t len)
{
    CLEANUP(cleanup_free) char *again = NULL, *encoded = NULL;
    uint8_t bytes[TEXT_MAX];
    size_t bytes_len = 0;

    if (b64url_decode(text, len, bytes, sizeof(bytes), &bytes_len) == ESCROW_OK) {
        again = b64url_encode(bytes, bytes_len);
        if (fuzz_went_well(again != NULL))
            FUZZ_CHECK(strlen(again) == len && (len == 0 || memcmp(again, text, len) == 0));
        /* One byte less room is not enough. */
        FUZZ_CHECK(bytes_len == 0 ||
                   b64url_decode(text, len, bytes, bytes_len - 1, &bytes_len) != ESCROW_OK);
    }
    encoded = b64url_encode(text, len);
    if (!fuzz_went_well(encoded != NULL))
        return;
    FUZZ_CHECK(b64url_decode(encoded, strlen(encoded), bytes, sizeof(bytes), &bytes_len) ==
               ESCROW_OK);
    FUZZ_CHECK(bytes_len == len && (len == 0 || memcmp(bytes, text, len) == 0));
}

static void check_hex(const char *text)
{
    const size_t len = strlen(text) / 2;
    uint8_t bytes[TEXT_MAX];
    char again[2 * TEXT_MAX + 1];

    if (hex_decode(text, bytes, len) == ESCROW_OK) {
        hex_encode(bytes, len, again);
        FUZZ_CHECK(strcmp(again, text) == 0);
    }
    hex_encode(text, strlen(text), again);
    FUZZ_CHECK(hex_decode(again, bytes, strlen(text)) == ESCROW_OK);
    FUZZ_CHECK(memcmp(bytes, text, strlen(text)) == 0);
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

static void check_names(const char *text)
{
    const size_t len = strlen(text);
    const char *path;
    size_t words = 0;

    while (words < len && is_word(text[words]))
        words++;
    FUZZ_CHECK(name_is_valid(text) == (len > 0 && len <= NAME_MAX_BYTES && words == len &&
                                       text[0] != '.' && text[0] != '-'));
    if (!identity_is_valid(text))
        return;
    FUZZ_CHECK(len <= IDENTITY_MAX && strncmp(text, "spiffe://", 9) == 0);
    path = strchr(text + 9, '/');
    FUZZ_CHECK(path && path > text + 9 && text[len - 1] != '/' && !strstr(path, "//") &&
               !strstr(path, "/../") && !strstr(path, "/./"));
    for (size_t i = 9; i < len; i++)
        FUZZ_CHECK(is_word(text[i]) || text[i] == '/');
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    char text[TEXT_MAX];

    if (len >= sizeof(text) / 2)
        return;
    if (len > 0)
        memcpy(text, bytes, len);
    text[len] = '\0';
    check_base64url(text, len);
    check_hex(text);
    check_names(text);
}
