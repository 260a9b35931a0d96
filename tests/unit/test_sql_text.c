/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/sql_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *utf8;
    size_t units;
    uint16_t utf16[8];
} pairs[] = {
    {"a'b", 3, {'a', '\'', 'b'}},
    {"\x7f", 1, {0x7f}},
    {"\xc2\x80", 1, {0x80}},
    {"\xdf\xbf", 1, {0x7ff}},
    {"\xe0\xa0\x80", 1, {0x800}},
    {"\xed\x9f\xbf", 1, {0xd7ff}},
    {"\xee\x80\x80", 1, {0xe000}},
    {"\xef\xbf\xbf", 1, {0xffff}},
    {"\xf0\x90\x80\x80", 2, {0xd800, 0xdc00}},
    {"k\xf0\x9f\x94\x91y", 4, {'k', 0xd83d, 0xdd11, 'y'}},
    {"\xf4\x8f\xbf\xbf", 2, {0xdbff, 0xdfff}},
};

static void test_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        CLEANUP(secret_free_p) struct secret *utf16 = NULL;
        char text[32];

        assert_int_equal(sql_text_to_utf16(pairs[i].utf8, strlen(pairs[i].utf8), &utf16),
                         ESCROW_OK);
        assert_int_equal(utf16->len, pairs[i].units * 2);
        assert_memory_equal(utf16->bytes, pairs[i].utf16, utf16->len);
        assert_int_equal(sql_text_to_utf8(pairs[i].utf16, pairs[i].units, text, sizeof(text)),
                         ESCROW_OK);
        assert_string_equal(text, pairs[i].utf8);
    }
}

static void test_refuses_what_is_not_utf8(void **state)
{
    static const char *const wrong[] = {
        "\x80",             /* continuation alone */
        "\xc0\xa7",         /* overlong quote */
        "\xc1\xbf",         /* overlong */
        "\xc3",             /* cut */
        "\xe0\x9f\xbf",     /* overlong */
        "\xe2\x82",         /* cut */
        "\xed\xa0\x80",     /* surrogate */
        "\xf0\x8f\xbf\xbf", /* overlong */
        "\xf4\x90\x80\x80", /* beyond Unicode */
        "\xf5\x80\x80\x80", /* */
        "\xe2\x28\xa1",     /* no continuation */
        "\xff",             /* */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct secret *utf16 = NULL;

        assert_int_equal(sql_text_to_utf16(wrong[i], strlen(wrong[i]), &utf16),
                         ESCROW_ERR_MALFORMED);
        assert_null(utf16);
    }
}

static void test_refuses_what_is_not_utf16(void **state)
{
    static const uint16_t wrong[][2] = {
        {0xd83d, 'a'}, {0xdd11, 0xd83d}, {'a', 0xd83d}, {0xd83d, 0xd83d}, {'a', 0}};
    char text[16];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(sql_text_to_utf8(wrong[i], 2, text, sizeof(text)), ESCROW_ERR_MALFORMED);
}

static void test_fits_or_is_refused(void **state)
{
    static const uint16_t three[] = {'a', 'b', 'c'};
    char text[4];

    (void)state;
    assert_int_equal(sql_text_to_utf8(three, 3, text, 4), ESCROW_OK);
    assert_string_equal(text, "abc");
    assert_int_equal(sql_text_to_utf8(three, 3, text, 3), ESCROW_ERR_MALFORMED);
    assert_int_equal(sql_text_to_utf8(three, 0, text, 1), ESCROW_OK);
    assert_int_equal(sql_text_to_utf8(three, 0, text, 0), ESCROW_ERR_MALFORMED);
}

static void test_trims_a_cut_sequence(void **state)
{
    static const char key[] = "ab\xf0\x9f\x94\x91";

    (void)state;
    for (size_t cut = 0; cut < sizeof(key); cut++) {
        char text[sizeof(key)] = "";

        memcpy(text, key, cut);
        sql_text_trim(text);
        assert_int_equal(strlen(text), cut < 3 || cut == 6 ? cut : 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_refuses_what_is_not_utf8),
        cmocka_unit_test(test_refuses_what_is_not_utf16),
        cmocka_unit_test(test_fits_or_is_refused),
        cmocka_unit_test(test_trims_a_cut_sequence),
    };

    if (secret_heap_init() != ESCROW_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
