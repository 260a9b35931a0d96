/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/identity.h"
#include "libescrow/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static enum escrow_err parse(const char *text)
{
    CLEANUP(json_free_p) json_t *value = NULL;

    return json_parse(text, strlen(text), 4096, &value);
}

static void test_parse(void **state)
{
    static const char *const refused[] = {
        "",
        "[]",
        "1",
        "null",
        "{",
        "{}x",
        "{} {}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":{\"b\":1,\"b\":1}}",
        "{\"a\":\"\\u0000\"}",
        "{\"a\\u0000\":1}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"\xed\xa0\x80\"}",
        "{\"a\":01}",
        "{\"a\":9223372036854775808}",
        "{\"a\":NaN}",
        "{\"a\":-\"",
        "{\"a\":1.\"",
        "{\"a\":1e\"}",
        "{\"a\":a\"",
        "{\"a\":\"",
        "{\"a\":\"\\\"",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\n\"}",
        "{\"a\" \"b\"}",
        "{\"a\":\"b\"\"c\"}",
        "{x\"a\":1}",
        "{\"a\":1,-\"",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1}//",
        "{\"a\":[[[[[[[[1]]]]]]]]}",
        "\xef\xbb\xbf{}",
    };

    (void)state;
    assert_int_equal(parse("{}"), ESCROW_OK);
    assert_int_equal(parse(" {\"a\":[[[[[[[1]]]]]]]}\n"), ESCROW_OK);
    assert_int_equal(parse("{\"a\":\"{{{{{{{{{{[[[[[\\\"[[[\"}"), ESCROW_OK);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        assert_int_equal(parse(refused[i]), ESCROW_ERR_MALFORMED);
}

static void test_parse_bounds(void **state)
{
    const size_t deep = 100000;
    CLEANUP(cleanup_free) char *text = malloc(deep);
    CLEANUP(json_free_p) json_t *value = NULL;

    (void)state;
    assert_non_null(text);
    memset(text, '[', deep);
    assert_int_equal(json_parse(text, deep, deep, &value), ESCROW_ERR_MALFORMED);
    assert_int_equal(json_parse("{}  ", 4, 3, &value), ESCROW_ERR_MALFORMED);
    assert_int_equal(json_parse("{}\0", 3, 3, &value), ESCROW_ERR_MALFORMED);
    assert_null(value);
}

static struct json_reader reader_of(json_t **object, const char *text)
{
    struct json_reader reader;

    assert_int_equal(json_parse(text, strlen(text), 4096, object), ESCROW_OK);
    json_reader_init(&reader, *object, "test");
    return reader;
}

static void test_every_member_must_be_read(void **state)
{
    CLEANUP(json_free_p) json_t *object = NULL;
    struct json_reader reader = reader_of(&object, "{\"v\":1,\"a\":2}");

    (void)state;
    json_read_v1(&reader);
    assert_int_equal(json_reader_end(&reader), ESCROW_ERR_MALFORMED);
    json_reader_init(&reader, object, "test");
    json_read_v1(&reader);
    assert_int_equal(json_read_number(&reader, "a", 2, 2), 2);
    assert_int_equal(json_reader_end(&reader), ESCROW_OK);
    json_reader_init(&reader, NULL, "test");
    assert_int_equal(json_reader_end(&reader), ESCROW_ERR_MALFORMED);
}

enum read_kind { NUMBER, INT32, TEXT, NAME, NAME_OR_NULL, WORD, TPM_NAME, BYTES, UP_TO, POINT };

static void read_one(struct json_reader *reader, enum read_kind kind)
{
    static const char *const words[] = {NULL, "one", "two"};
    struct tpm_name name;
    struct ec_point point;
    char text[9];
    uint8_t bytes[4];

    switch (kind) {
    case NUMBER:
        json_read_number(reader, "a", 2, 9);
        break;
    case INT32:
        json_read_int32(reader, "a");
        break;
    case TEXT:
        json_read_text(reader, "a", text, sizeof(text));
        break;
    case NAME:
        json_read_name(reader, "a", text, sizeof(text));
        break;
    case NAME_OR_NULL:
        json_read_name_or_null(reader, "a", text, sizeof(text));
        break;
    case WORD:
        json_read_word(reader, "a", words, ARRAY_LEN(words));
        break;
    case TPM_NAME:
        json_read_tpm_name(reader, "a", &name);
        break;
    case BYTES:
        json_read_bytes(reader, "a", bytes, 4);
        break;
    case UP_TO:
        json_read_bytes_up_to(reader, "a", bytes, 4);
        break;
    case POINT:
        json_read_point(reader, "a", &point);
        break;
    }
}

#define X32 "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"
#define NAME34 "000b0101010101010101010101010101010101010101010101010101010101010101"

static const struct member_case {
    const char *value;
    enum read_kind kind;
    bool is_right;
} member_cases[] = {
    {"2", NUMBER, true},
    {"9", NUMBER, true},
    {"1", NUMBER, false},
    {"10", NUMBER, false},
    {"-3", NUMBER, false},
    {"3.0", NUMBER, false},
    {"3e0", NUMBER, false},
    {"\"3\"", NUMBER, false},
    {"true", NUMBER, false},
    {"null", NUMBER, false},
    {"-2147483648", INT32, true},
    {"2147483648", INT32, false},
    {"1.5", INT32, false},
    {"\"\"", TEXT, true},
    {"\"12345678\"", TEXT, true},
    {"\"123456789\"", TEXT, false},
    {"\"a\\nb\"", TEXT, false},
    {"\"a\\u007fb\"", TEXT, false},
    {"1", TEXT, false},
    {"\"AG.1-x_\"", NAME, true},
    {"\"\"", NAME, false},
    {"\"a b\"", NAME, false},
    {"\"a/b\"", NAME, false},
    {"\".a\"", NAME, false},
    {"\"-a\"", NAME, false},
    {"null", NAME, false},
    {"null", NAME_OR_NULL, true},
    {"\"a\"", NAME_OR_NULL, true},
    {"\"\"", NAME_OR_NULL, false},
    {"\"two\"", WORD, true},
    {"\"three\"", WORD, false},
    {"\"\"", WORD, false},
    {"2", WORD, false},
    {"\"" NAME34 "\"", TPM_NAME, true},
    {"\"" NAME34 "00\"", TPM_NAME, false},
    {"\"000B\"", TPM_NAME, false},
    {"null", TPM_NAME, false},
    {"\"AAAAAA\"", BYTES, true},
    {"\"AAAA\"", BYTES, false},
    {"\"AAAAAAA\"", BYTES, false},
    {"\"AAAAAB\"", BYTES, false},
    {"\"AAAAAA==\"", BYTES, false},
    {"\"AAAA\"", UP_TO, true},
    {"\"\"", UP_TO, false},
    {"\"AAAAAAA\"", UP_TO, false},
    {"{\"x\":\"" X32 "\",\"y\":\"" X32 "\"}", POINT, true},
    {"{\"x\":\"" X32 "\"}", POINT, false},
    {"{\"x\":\"" X32 "\",\"y\":\"AQ\"}", POINT, false},
    {"{\"x\":\"" X32 "\",\"y\":\"" X32 "\",\"z\":1}", POINT, false},
    {"[]", POINT, false},
};

static void test_members(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(member_cases); i++) {
        CLEANUP(json_free_p) json_t *object = NULL;
        char text[512];
        struct json_reader reader;

        snprintf(text, sizeof(text), "{\"a\":%s}", member_cases[i].value);
        reader = reader_of(&object, text);
        read_one(&reader, member_cases[i].kind);
        assert_int_equal(json_reader_end(&reader),
                         member_cases[i].is_right ? ESCROW_OK : ESCROW_ERR_MALFORMED);
    }
}

static void test_identities(void **state)
{
    static const char *const right[] = {"spiffe://corp.example/sql01/agent", "spiffe://a/b",
                                        "spiffe://corp_1-x/A.b"};
    static const char *const wrong[] = {
        "",
        "spiffe://",
        "spiffe://corp",
        "spiffe://corp/",
        "spiffe:///a",
        "spiffe://corp//a",
        "spiffe://corp/a/",
        "spiffe://corp/.",
        "spiffe://corp/../a",
        "spiffe://Corp/a",
        "spiffe://corp:1/a",
        "spiffe://u@corp/a",
        "spiffe://corp/a?b",
        "spiffe://corp/a#b",
        "spiffe://corp/a%41",
        "SPIFFE://corp/a",
        "https://corp/a",
        "spiffe://corp/a b",
    };
    char longest[IDENTITY_MAX + 2];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(right); i++)
        assert_true(identity_is_valid(right[i]));
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_false(identity_is_valid(wrong[i]));
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "spiffe://a/", 11);
    longest[IDENTITY_MAX + 1] = '\0';
    assert_false(identity_is_valid(longest));
    longest[IDENTITY_MAX] = '\0';
    assert_true(identity_is_valid(longest));
}

static void test_written_values(void **state)
{
    struct ec_point point = {{1}, {2}};
    CLEANUP(json_free_p) json_t *value = json_point(&point);
    CLEANUP(cleanup_free) char *text = json_text(value);

    (void)state;
    assert_string_equal(text, "{\"x\":\"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
                              "\"y\":\"AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}");
}

/* Around the size up to which one pass is enough. */
static void test_long_text(void **state)
{
    (void)state;
    for (size_t len = 4080; len < 4100; len++) {
        CLEANUP(cleanup_free) char *member = calloc(1, len + 1);
        CLEANUP(cleanup_free) char *text = NULL;
        CLEANUP(json_free_p) json_t *value = NULL, *again = NULL;

        assert_non_null(member);
        memset(member, 'a', len);
        value = json_pack("{s:s}", "m", member);
        text = json_text(value);
        assert_non_null(text);
        assert_int_equal(strlen(text), len + strlen("{'m':''}"));
        assert_int_equal(json_parse(text, strlen(text), 8192, &again), ESCROW_OK);
        assert_true(json_equal(value, again));
    }
}

static unsigned allocations, allocation_to_fail;

/* One allocation fails, those after it do not. */
static void *failing_malloc(size_t len)
{
    return allocations++ == allocation_to_fail ? NULL : malloc(len);
}

static void test_text_without_memory(void **state)
{
    static const char all[] = "{\"members\":[{\"a name that needs memory of its own\":"
                              "\"a value that needs memory of its own\"}],\"v\":1}";
    CLEANUP(json_free_p) json_t *value = NULL;
    char *text = NULL;

    (void)state;
    assert_int_equal(json_parse(all, strlen(all), 4096, &value), ESCROW_OK);
    do {
        free(text);
        json_set_alloc_funcs(failing_malloc, free);
        allocations = 0;
        text = json_text(value);
        json_set_alloc_funcs(malloc, free);
        if (text)
            assert_string_equal(text, all);
    } while (allocations > allocation_to_fail++);
    assert_non_null(text);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_bounds),
        cmocka_unit_test(test_every_member_must_be_read),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_identities),
        cmocka_unit_test(test_written_values),
        cmocka_unit_test(test_long_text),
        cmocka_unit_test(test_text_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
