/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/encode.h"
#include "libescrow/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_b64url_known(void **state)
{
    /* RFC 4648 section 10, without padding; the last one uses both special digits. */
    static const struct {
        const char *bytes, *text;
    } cases[] = {{"", ""},           {"f", "Zg"},          {"fo", "Zm8"},           {"foo", "Zm9v"},
                 {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"\xfb\xff\xbf", "-_-_"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(cleanup_free) char *text = b64url_encode(cases[i].bytes, strlen(cases[i].bytes));
        uint8_t bytes[8];
        size_t len;

        assert_string_equal(text, cases[i].text);
        assert_int_equal(b64url_decode(text, strlen(text), bytes, sizeof(bytes), &len), ESCROW_OK);
        assert_int_equal(len, strlen(cases[i].bytes));
        assert_memory_equal(bytes, cases[i].bytes, len);
    }
}

static void test_b64url_digits(void **state)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    (void)state;
    for (int c = 0; c < 256; c++) {
        const char text[] = {'A', 'A', 'A', (char)c};
        const char *digit = c ? strchr(digits, c) : NULL;
        uint8_t bytes[3];
        size_t len;
        enum escrow_err err = b64url_decode(text, sizeof(text), bytes, sizeof(bytes), &len);

        assert_int_equal(err, digit ? ESCROW_OK : ESCROW_ERR_MALFORMED);
        if (digit)
            assert_int_equal(bytes[2], digit - digits);
    }
}

static void test_b64url_refused(void **state)
{
    /* A lone digit, padding, the other alphabet, white space, trailing bits that are not zero. */
    static const char *const cases[] = {"A", "Zg==", "+/+/", "Zm 8", "Zm9v\n", "Zh", "Zm9"};
    uint8_t bytes[8];
    size_t len;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(b64url_decode(cases[i], strlen(cases[i]), bytes, sizeof(bytes), &len),
                         ESCROW_ERR_MALFORMED);
    assert_int_equal(b64url_decode("Zm9v", 4, bytes, 2, &len), ESCROW_ERR_MALFORMED);
}

static void test_hex(void **state)
{
    uint8_t bytes[3];
    char text[7];

    (void)state;
    assert_int_equal(hex_decode("00a5ff", bytes, 3), ESCROW_OK);
    hex_encode(bytes, 3, text);
    assert_string_equal(text, "00a5ff");
    assert_int_equal(hex_decode("00A5ff", bytes, 3), ESCROW_ERR_MALFORMED);
    assert_int_equal(hex_decode("00a5f", bytes, 3), ESCROW_ERR_MALFORMED);
    assert_int_equal(hex_decode("00a5ff0", bytes, 3), ESCROW_ERR_MALFORMED);
}

static void test_reasons_are_complete_and_unique(void **state)
{
    (void)state;
    for (int i = 0; i < REASON_COUNT; i++) {
        assert_non_null(reason_code((enum reason)i));
        assert_non_null(reason_text((enum reason)i));
        assert_in_range(reason_http_status((enum reason)i), 200, 503);
        if (i)
            assert_int_equal(reason_from_code(reason_code((enum reason)i)), i);
    }
    assert_int_equal(reason_from_code("no such word"), REASON_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_b64url_known),
        cmocka_unit_test(test_b64url_digits),
        cmocka_unit_test(test_b64url_refused),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_reasons_are_complete_and_unique),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
