/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/config_value.h"

#include "libescrow/identity.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SHOWN_BYTES 40

static const struct {
    const char *name;
    int64_t ms;
} units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

/* YAML 1.1 has several words for "no value"; a plain one is never a text of ours. */
static bool is_null(const struct config_scalar *scalar)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};

    for (size_t i = 0; scalar->is_plain && i < ARRAY_LEN(words); i++) {
        if (strcmp(scalar->text, words[i]) == 0)
            return true;
    }
    return false;
}

/* C0, DEL, and C1 (in UTF-8 c2 80 ..= c2 9f): what could forge a line or steer a terminal. */
static bool is_control(const struct config_scalar *scalar, size_t i)
{
    const unsigned char *bytes = (const unsigned char *)scalar->text;

    if (bytes[i] == 0xc2)
        return bytes[i + 1] < 0xa0;
    if (bytes[i] >= 0x80 && bytes[i] < 0xa0)
        return i > 0 && bytes[i - 1] == 0xc2;
    return bytes[i] < 0x20 || bytes[i] == 0x7f;
}

static bool is_printable(const struct config_scalar *scalar)
{
    for (size_t i = 0; i < scalar->len; i++) {
        if (is_control(scalar, i))
            return false;
    }
    return true;
}

bool config_value_is_text(const struct config_field *field, const struct config_scalar *scalar)
{
    bool is_path = field->type == CONFIG_TYPE_PATH;
    bool is_named = field->type == CONFIG_TYPE_NAME || field->type == CONFIG_TYPE_NAME_LIST;
    bool is_list = field->type == CONFIG_TYPE_STRING_LIST || field->type == CONFIG_TYPE_NAME_LIST;
    size_t most = is_list ? field->item_max : (size_t)field->max;

    if (is_null(scalar) || scalar->len == 0 || scalar->len > most || !is_printable(scalar))
        return false;
    if (is_path)
        return scalar->text[0] == '/';
    return !is_named || name_is_valid(scalar->text);
}

/*
 * A decimal of at most 15 digits, without sign, blanks or leading zeros: nothing that any reader of
 * numbers takes for something else. Returns where it ends, NULL if there is none.
 */
static const char *parse_decimal(const char *text, int64_t *ret_number)
{
    size_t digits = strspn(text, "0123456789");
    int64_t number = 0;

    if (digits == 0 || digits > 15 || (text[0] == '0' && digits > 1))
        return NULL;
    for (size_t i = 0; i < digits; i++)
        number = number * 10 + (text[i] - '0');
    *ret_number = number;
    return text + digits;
}

static bool parse_duration(const char *text, int64_t *ret_ms)
{
    int64_t number;
    const char *unit = parse_decimal(text, &number);

    for (size_t i = 0; unit && i < ARRAY_LEN(units); i++) {
        if (strcmp(unit, units[i].name) == 0)
            return !__builtin_mul_overflow(number, units[i].ms, ret_ms);
    }
    return false;
}

static bool find_word(const struct config_field *field, const char *text, int64_t *ret_index)
{
    for (size_t i = 0; i < field->word_count; i++) {
        if (strcmp(text, field->words[i]) == 0) {
            *ret_index = (int64_t)i;
            return true;
        }
    }
    return false;
}

bool config_value_number(const struct config_field *field, const struct config_scalar *scalar,
                         int64_t *ret_number)
{
    static const char *const booleans[] = {"false", "true"};
    const struct config_field boolean = {.words = booleans, .word_count = ARRAY_LEN(booleans)};
    int64_t number = 0;
    bool is_valid;

    /* A NUL would hide what follows it. */
    if (strlen(scalar->text) != scalar->len)
        return false;
    if (field->type == CONFIG_TYPE_BOOLEAN) {
        is_valid = scalar->is_plain && find_word(&boolean, scalar->text, &number);
    } else if (field->type == CONFIG_TYPE_ENUM) {
        is_valid = find_word(field, scalar->text, &number);
    } else if (field->type == CONFIG_TYPE_DURATION) {
        is_valid =
            parse_duration(scalar->text, &number) && number >= field->min && number <= field->max;
    } else {
        const char *end = parse_decimal(scalar->text, &number);

        /* In YAML a quoted scalar is a text. */
        is_valid = scalar->is_plain && end && !*end && number >= field->min && number <= field->max;
    }
    if (is_valid)
        *ret_number = number;
    return is_valid;
}

/* In the largest unit that needs no fraction. */
static void format_duration(int64_t ms, char *ret_text, size_t cap)
{
    size_t i = 0;

    while (i + 1 < ARRAY_LEN(units) && (ms == 0 || ms % units[i].ms != 0))
        i++;
    snprintf(ret_text, cap, "%" PRId64 "%s", ms / units[i].ms, units[i].name);
}

static void expect_words(const struct config_field *field, char *ret_text, size_t cap)
{
    size_t len = (size_t)snprintf(ret_text, cap, "one of");

    for (size_t i = 0; i < field->word_count && len < cap; i++)
        len += (size_t)snprintf(ret_text + len, cap - len, "%s %s", i ? "," : "", field->words[i]);
}

static void expect_duration(const struct config_field *field, char *ret_text, size_t cap)
{
    char least[32], most[32];

    format_duration(field->min, least, sizeof(least));
    format_duration(field->max, most, sizeof(most));
    snprintf(ret_text, cap, "a duration from %s to %s (number and unit: ms, s, m, h or d)", least,
             most);
}

static void expect_list(const struct config_field *field, const char *items, char *ret_text,
                        size_t cap)
{
    if (field->min == field->max)
        snprintf(ret_text, cap, "a list of %" PRId64 " %s", field->min, items);
    else
        snprintf(ret_text, cap, "a list of %" PRId64 " to %" PRId64 " %s", field->min, field->max,
                 items);
}

void config_value_expected(const struct config_field *field, char *ret_text, size_t cap)
{
    switch (field->type) {
    case CONFIG_TYPE_STRING:
        snprintf(ret_text, cap, "a printable text of 1 to %" PRId64 " bytes", field->max);
        break;
    case CONFIG_TYPE_NAME:
        snprintf(ret_text, cap, "a name of 1 to %" PRId64 " letters, digits, '.', '_' and '-'",
                 field->max);
        break;
    case CONFIG_TYPE_PATH:
        snprintf(ret_text, cap, "an absolute path");
        break;
    case CONFIG_TYPE_INTEGER:
        snprintf(ret_text, cap, "an integer from %" PRId64 " to %" PRId64, field->min, field->max);
        break;
    case CONFIG_TYPE_DURATION:
        expect_duration(field, ret_text, cap);
        break;
    case CONFIG_TYPE_BOOLEAN:
        snprintf(ret_text, cap, "true or false");
        break;
    case CONFIG_TYPE_ENUM:
        expect_words(field, ret_text, cap);
        break;
    case CONFIG_TYPE_MAPPING:
        snprintf(ret_text, cap, "a mapping");
        break;
    case CONFIG_TYPE_STRING_LIST:
        expect_list(field, "texts", ret_text, cap);
        break;
    case CONFIG_TYPE_NAME_LIST:
        expect_list(field, "names", ret_text, cap);
        break;
    case CONFIG_TYPE_MAPPING_LIST:
        expect_list(field, "mappings", ret_text, cap);
        break;
    }
}

void config_value_found(const struct config_scalar *scalar, char *ret_text, size_t cap)
{
    char shown[SHOWN_BYTES + 1];
    size_t len = scalar->len < SHOWN_BYTES ? scalar->len : SHOWN_BYTES;

    if (is_null(scalar)) {
        snprintf(ret_text, cap, "%s%s", scalar->len ? "no value: " : "nothing", scalar->text);
        return;
    }
    /* Never half of a character at the end. */
    while (len < scalar->len && len > 0 && ((unsigned char)scalar->text[len] & 0xc0) == 0x80)
        len--;
    memcpy(shown, scalar->text, len);
    shown[len] = '\0';
    for (size_t i = 0; i < len; i++) {
        if (is_control(scalar, i))
            shown[i] = '?';
    }
    snprintf(ret_text, cap, "%s'%s'%s", scalar->is_plain ? "" : "a quoted ", shown,
             len < scalar->len ? "..." : "");
}
