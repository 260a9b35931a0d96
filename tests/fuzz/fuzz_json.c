/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON reader: it takes what jansson takes, to the same value, but for bounds of its own, and
 * what it takes is written and read again as it was; numbers, texts and bytes come out as they
 * stand there. The input is the text.
 */
#include "libescrow/encode.h"
#include "libescrow/json.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define BYTES_MAX 4096

/* Brackets that are open at once, at most; of a text that jansson took. */
static unsigned depth_of(const json_t *value, unsigned limit)
{
    unsigned deepest = 0;
    const json_t *item;
    const char *name;
    size_t i;

    if (limit == 0 || (!json_is_array(value) && !json_is_object(value)))
        return 0;
    json_array_foreach(value, i, item)
    {
        const unsigned depth = depth_of(item, limit - 1);

        deepest = depth > deepest ? depth : deepest;
    }
    json_object_foreach((json_t *)(uintptr_t)value, name, item)
    {
        const unsigned depth = depth_of(item, limit - 1);

        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

static json_t *by_jansson(const char *text, size_t len)
{
    json_t *value;

    inject_hold(true);
    value = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    inject_hold(false);
    return value;
}

static void check_member(const json_t *object, const char *name, const json_t *value)
{
    struct json_reader reader;
    char text[64];
    uint8_t bytes[64];
    uint64_t number;
    size_t len;

    json_reader_init(&reader, object, "fuzz");
    number = json_read_number(&reader, name, 1, INT64_MAX);
    FUZZ_CHECK(reader.is_faulty == !(json_is_integer(value) && json_integer_value(value) >= 1));
    FUZZ_CHECK(number == (reader.is_faulty ? 0 : (uint64_t)json_integer_value(value)));

    json_reader_init(&reader, object, "fuzz");
    json_read_text(&reader, name, text, sizeof(text));
    FUZZ_CHECK(reader.is_faulty ? !text[0] : strcmp(text, json_string_value(value)) == 0);
    for (const char *at = text; *at; at++)
        FUZZ_CHECK((unsigned char)*at >= 0x20 && *at != 0x7f);

    json_reader_init(&reader, object, "fuzz");
    json_read_name(&reader, name, text, sizeof(text));
    FUZZ_CHECK(reader.is_faulty || (text[0] && text[0] != '.' && text[0] != '-'));

    json_reader_init(&reader, object, "fuzz");
    len = json_read_bytes_up_to(&reader, name, bytes, sizeof(bytes));
    FUZZ_CHECK(reader.is_faulty == (len == 0));
    if (len > 0) {
        CLEANUP(cleanup_free) char *again = b64url_encode(bytes, len);

        if (fuzz_went_well(again != NULL))
            FUZZ_CHECK(strcmp(again, json_string_value(value)) == 0);
    }
}

static void check_again(const json_t *value)
{
    CLEANUP(json_free_p) json_t *again = NULL;
    CLEANUP(cleanup_free) char *text = json_text(value), *second = NULL;

    if (!fuzz_went_well(text != NULL) ||
        !fuzz_went_well(json_parse(text, strlen(text), 8 * BYTES_MAX, &again) == ESCROW_OK))
        return;
    /* A real number may be written in another way than it was read, and then stays so. */
    second = json_text(again);
    if (fuzz_went_well(second != NULL))
        FUZZ_CHECK(strcmp(text, second) == 0);
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    CLEANUP(json_free_p) json_t *theirs = by_jansson((const char *)bytes, len);
    json_t *ours = FUZZ_UNTOUCHED, *value;
    enum escrow_err err = json_parse((const char *)bytes, len, BYTES_MAX, &ours);
    const char *name;

    fuzz_check_err(err);
    if (err) {
        FUZZ_CHECK(ours == FUZZ_UNTOUCHED);
        FUZZ_CHECK(!json_is_object(theirs) || len > BYTES_MAX ||
                   depth_of(theirs, 4 * JSON_DEPTH_MAX) > JSON_DEPTH_MAX || inject_failures() > 0);
        return;
    }
    FUZZ_CHECK(json_is_object(ours) && json_equal(ours, theirs));
    FUZZ_CHECK(depth_of(ours, 4 * JSON_DEPTH_MAX) <= JSON_DEPTH_MAX);
    json_object_foreach(ours, name, value) check_member(ours, name, value);
    check_again(ours);
    json_decref(ours);
}
