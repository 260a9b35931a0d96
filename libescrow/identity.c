/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/identity.h"

#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz0123456789._-"
#define ANY LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool is_dots(const char *segment, size_t len)
{
    return (len == 1 && segment[0] == '.') || (len == 2 && memcmp(segment, "..", 2) == 0);
}

bool identity_is_valid(const char *text)
{
    static const char scheme[] = "spiffe://";
    const char *next = text + sizeof(scheme) - 1;
    size_t len;

    if (strlen(text) > IDENTITY_MAX || strncmp(text, scheme, sizeof(scheme) - 1) != 0)
        return false;
    len = strspn(next, LOWER);
    if (len == 0 || next[len] != '/')
        return false;
    for (next += len; *next == '/'; next += len) {
        next++;
        len = strspn(next, ANY);
        if (len == 0 || is_dots(next, len))
            return false;
    }
    return *next == '\0';
}

bool name_is_valid(const char *text)
{
    size_t len = strspn(text, ANY);

    return len > 0 && len <= NAME_MAX_BYTES && text[len] == '\0' && text[0] != '.' &&
           text[0] != '-';
}
