/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/json.h"

#include "libescrow/encode.h"
#include "libescrow/identity.h"
#include "libescrow/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USUAL_TEXT_BYTES 16384 /* what fits is made in one pass */

/* jansson's parser calls itself for each level: bound the depth before it sees the text. */
static bool is_shallow(const char *text, size_t len)
{
    bool in_string = false;
    unsigned depth = 0;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '[') && ++depth > JSON_DEPTH_MAX)
            return false;
        else if (!in_string && (c == '}' || c == ']') && depth > 0)
            depth--;
    }
    return true;
}

/*
 * jansson names every fault of a text, but not every want of memory: a string that has no fault of
 * its own, where a string may stand, is refused only for that.
 */
bool json_lacked_memory(const char *text, const json_error_t *error)
{
    static const char *const refusals[] = {"invalid token", "string or '}' expected"};

    for (size_t i = 0; i < ARRAY_LEN(refusals) && error->position > 0; i++) {
        if (strncmp(error->text, refusals[i], strlen(refusals[i])) == 0 &&
            text[error->position - 1] == '"')
            return true;
    }
    return json_error_code(error) == json_error_out_of_memory ||
           json_error_code(error) == json_error_unknown;
}

enum escrow_err json_parse(const char *text, size_t len, size_t max, json_t **ret_object)
{
    CLEANUP(json_free_p) json_t *value = NULL;
    json_error_t error = {0};

    if (len > max || !is_shallow(text, len))
        return ESCROW_ERR_MALFORMED;
    value = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!value && json_lacked_memory(text, &error))
        return ESCROW_ERR_NO_MEMORY;
    if (!json_is_object(value))
        return ESCROW_ERR_MALFORMED;
    *ret_object = TAKE(value);
    return ESCROW_OK;
}

char *json_text(const json_t *value)
{
    /* Not json_dumps: without memory jansson 2.14 leaves a member's name out and goes on. */
    const size_t flags = JSON_COMPACT | JSON_SORT_KEYS;
    size_t cap = USUAL_TEXT_BYTES, len;
    CLEANUP(cleanup_free) char *text = malloc(cap + 1);

    len = text ? json_dumpb(value, text, cap, flags) : 0;
    if (len > cap) {
        cap = len;
        free(text);
        text = malloc(cap + 1);
        len = text ? json_dumpb(value, text, cap, flags) : 0;
    }
    if (len == 0 || len > cap)
        return NULL;
    text[len] = '\0';
    return TAKE(text);
}

json_t *json_copy_whole(const json_t *value)
{
    json_t *copy = json_deep_copy(value);

    /* jansson leaves out what it lacks the memory for. */
    if (copy && !json_equal(copy, value)) {
        json_decref(copy);
        return NULL;
    }
    return copy;
}

void json_reader_init(struct json_reader *reader, const json_t *object, const char *what, ...)
{
    va_list args;

    *reader = (struct json_reader){.object = object};
    va_start(args, what);
    vsnprintf(reader->what, sizeof(reader->what), what, args);
    va_end(args);
    if (!json_is_object(object)) {
        log_notice("%s: is not an object", reader->what);
        reader->is_faulty = true;
    }
}

void json_reader_fault(struct json_reader *reader, const char *name)
{
    /* Only the first fault tells something: what follows may be its consequence. */
    if (!reader->is_faulty)
        log_notice("%s: the member '%s' is missing or does not have its form", reader->what, name);
    reader->is_faulty = true;
}

enum escrow_err json_reader_end(struct json_reader *reader)
{
    if (!reader->is_faulty && json_object_size(reader->object) != reader->members_read) {
        log_notice("%s: has a member that is not known", reader->what);
        reader->is_faulty = true;
    }
    return reader->is_faulty ? ESCROW_ERR_MALFORMED : ESCROW_OK;
}

static const json_t *member(struct json_reader *reader, const char *name)
{
    const json_t *value = json_object_get(reader->object, name);

    if (value)
        reader->members_read++;
    else
        json_reader_fault(reader, name);
    return value;
}

/* The text of a member if it is one of min ..= max bytes without control characters, else NULL. */
static const char *member_text(struct json_reader *reader, const char *name, size_t min, size_t max)
{
    const char *text = json_string_value(member(reader, name));
    size_t len = text ? strlen(text) : 0;

    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text = NULL, len = 0;
    }
    if (text && len >= min && len <= max)
        return text;
    json_reader_fault(reader, name);
    return NULL;
}

void json_read_v1(struct json_reader *reader)
{
    json_read_number(reader, "v", 1, 1);
}

uint64_t json_read_number(struct json_reader *reader, const char *name, uint64_t min, uint64_t max)
{
    const json_t *value = member(reader, name);
    json_int_t number = json_integer_value(value);

    if (json_is_integer(value) && number >= 0 && (uint64_t)number >= min && (uint64_t)number <= max)
        return (uint64_t)number;
    json_reader_fault(reader, name);
    return 0;
}

int32_t json_read_int32(struct json_reader *reader, const char *name)
{
    const json_t *value = member(reader, name);
    json_int_t number = json_integer_value(value);

    if (json_is_integer(value) && number >= INT32_MIN && number <= INT32_MAX)
        return (int32_t)number;
    json_reader_fault(reader, name);
    return 0;
}

bool json_read_bool(struct json_reader *reader, const char *name)
{
    const json_t *value = member(reader, name);

    if (!json_is_boolean(value))
        json_reader_fault(reader, name);
    return json_is_true(value);
}

void json_read_text(struct json_reader *reader, const char *name, char *ret_text, size_t cap)
{
    const char *text = member_text(reader, name, 0, cap - 1);

    snprintf(ret_text, cap, "%s", text ? text : "");
}

const char *json_borrow_text(struct json_reader *reader, const char *name, size_t max)
{
    const char *text = member_text(reader, name, 1, max);

    return text ? text : "";
}

static bool is_null(const struct json_reader *reader, const char *name)
{
    return json_is_null(json_object_get(reader->object, name));
}

void json_read_name(struct json_reader *reader, const char *name, char *ret_text, size_t cap)
{
    const char *text = member_text(reader, name, 1, cap - 1);

    if (text && !name_is_valid(text)) {
        json_reader_fault(reader, name);
        text = NULL;
    }
    snprintf(ret_text, cap, "%s", text ? text : "");
}

void json_read_name_or_null(struct json_reader *reader, const char *name, char *ret_text,
                            size_t cap)
{
    if (!is_null(reader, name)) {
        json_read_name(reader, name, ret_text, cap);
        return;
    }
    reader->members_read++;
    ret_text[0] = '\0';
}

void json_read_present(struct json_reader *reader, const char *name)
{
    member(reader, name);
}

void json_read_null(struct json_reader *reader, const char *name)
{
    const json_t *value = member(reader, name);

    if (!json_is_null(value))
        json_reader_fault(reader, name);
}

size_t json_read_word(struct json_reader *reader, const char *name, const char *const *words,
                      size_t count)
{
    const char *text = json_string_value(member(reader, name));

    for (size_t i = 0; text && i < count; i++) {
        if (words[i] && strcmp(words[i], text) == 0)
            return i;
    }
    json_reader_fault(reader, name);
    return 0;
}

void json_read_tpm_name(struct json_reader *reader, const char *name, struct tpm_name *ret_name)
{
    const char *text = json_string_value(member(reader, name));

    memset(ret_name, 0, sizeof(*ret_name));
    if (!text || hex_decode(text, ret_name->bytes, TPM_NAME_BYTES) != ESCROW_OK)
        json_reader_fault(reader, name);
}

bool json_read_tpm_name_or_null(struct json_reader *reader, const char *name,
                                struct tpm_name *ret_name)
{
    if (!is_null(reader, name)) {
        json_read_tpm_name(reader, name, ret_name);
        return true;
    }
    reader->members_read++;
    memset(ret_name, 0, sizeof(*ret_name));
    return false;
}

size_t json_read_bytes_up_to(struct json_reader *reader, const char *name, void *ret_bytes,
                             size_t cap)
{
    const json_t *value = member(reader, name);
    const char *text = json_string_value(value);
    size_t len = 0;

    memset(ret_bytes, 0, cap);
    if (text && b64url_decode(text, json_string_length(value), ret_bytes, cap, &len) == ESCROW_OK &&
        len > 0)
        return len;
    json_reader_fault(reader, name);
    return 0;
}

void json_read_bytes(struct json_reader *reader, const char *name, void *ret_bytes, size_t len)
{
    if (json_read_bytes_up_to(reader, name, ret_bytes, len) != len)
        json_reader_fault(reader, name);
}

void json_read_point(struct json_reader *reader, const char *name, struct ec_point *ret_point)
{
    struct json_reader point;

    memset(ret_point, 0, sizeof(*ret_point));
    json_reader_init(&point, member(reader, name), "%.60s: %.30s", reader->what, name);
    json_read_bytes(&point, "x", ret_point->x, sizeof(ret_point->x));
    json_read_bytes(&point, "y", ret_point->y, sizeof(ret_point->y));
    if (json_reader_end(&point) != ESCROW_OK)
        json_reader_fault(reader, name);
}

const json_t *json_read_array(struct json_reader *reader, const char *name, size_t max)
{
    const json_t *value = member(reader, name);

    if (json_is_array(value) && json_array_size(value) <= max)
        return value;
    json_reader_fault(reader, name);
    return NULL;
}

const json_t *json_read_object(struct json_reader *reader, const char *name)
{
    const json_t *value = member(reader, name);

    if (json_is_object(value))
        return value;
    json_reader_fault(reader, name);
    return NULL;
}

json_t *json_bytes(const void *bytes, size_t len)
{
    CLEANUP(cleanup_free) char *text = b64url_encode(bytes, len);

    return text ? json_string(text) : NULL;
}

json_t *json_tpm_name(const struct tpm_name *name)
{
    char text[TPM_NAME_HEX + 1];

    hex_encode(name->bytes, TPM_NAME_BYTES, text);
    return json_string(text);
}

json_t *json_point(const struct ec_point *point)
{
    return json_pack("{s:o, s:o}", "x", json_bytes(point->x, sizeof(point->x)), "y",
                     json_bytes(point->y, sizeof(point->y)));
}
