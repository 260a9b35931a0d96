/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/payload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct payload_binding binding = {"sales-ag", "SSISDB", 3, {{0, 0x0b, 1}}};
static struct secret *data_key;
static struct secret *password;
static uint8_t ciphertext[PAYLOAD_CIPHERTEXT_BYTES];

static int setup(void **state)
{
    (void)state;
    data_key = secret_random(PAYLOAD_DATA_KEY_BYTES);
    password = secret_from("correct horse", 13);
    assert_int_equal(payload_seal(&binding, data_key, password, ciphertext), ESCROW_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    secret_free(data_key);
    secret_free(password);
    return 0;
}

static void assert_refused(const struct payload_binding *other, const struct secret *key,
                           const uint8_t bytes[static PAYLOAD_CIPHERTEXT_BYTES])
{
    struct secret *opened = NULL;

    assert_int_equal(payload_open(other, key, bytes, &opened), ESCROW_ERR_CRYPTO);
    assert_null(opened);
}

static void test_every_length_opens(void **state)
{
    (void)state;
    for (size_t len = 1; len <= PAYLOAD_PASSWORD_MAX; len++) {
        CLEANUP(secret_free_p) struct secret *one = secret_random(len);
        CLEANUP(secret_free_p) struct secret *opened = NULL;
        uint8_t bytes[PAYLOAD_CIPHERTEXT_BYTES];

        assert_int_equal(payload_seal(&binding, data_key, one, bytes), ESCROW_OK);
        assert_int_equal(payload_open(&binding, data_key, bytes, &opened), ESCROW_OK);
        assert_true(secret_equal(one, opened));
    }
}

static void test_sizes_that_are_none(void **state)
{
    CLEANUP(secret_free_p) struct secret *longer = secret_random(PAYLOAD_PASSWORD_MAX + 1);
    CLEANUP(secret_free_p) struct secret *short_key = secret_random(16);
    uint8_t bytes[PAYLOAD_CIPHERTEXT_BYTES];
    struct secret *opened = NULL;

    (void)state;
    assert_int_equal(payload_seal(&binding, data_key, longer, bytes), ESCROW_ERR_MALFORMED);
    longer->len = 0;
    assert_int_equal(payload_seal(&binding, data_key, longer, bytes), ESCROW_ERR_MALFORMED);
    assert_int_equal(payload_seal(&binding, short_key, password, bytes), ESCROW_ERR_MALFORMED);
    assert_int_equal(payload_open(&binding, short_key, ciphertext, &opened), ESCROW_ERR_MALFORMED);
    assert_null(opened);
}

static void test_every_byte_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(ciphertext); i++) {
        ciphertext[i] ^= 1;
        assert_refused(&binding, data_key, ciphertext);
        ciphertext[i] ^= 1;
    }
}

static void test_another_key_or_binding(void **state)
{
    CLEANUP(secret_free_p) struct secret *other_key = secret_random(PAYLOAD_DATA_KEY_BYTES);
    struct payload_binding others[] = {binding, binding, binding, binding, binding};

    (void)state;
    assert_refused(&binding, other_key, ciphertext);
    others[0].group = "sales-ah";
    others[1].database = "ssisdb";
    others[2].version = 4;
    others[3].object.bytes[33] = 1;
    /* The same letters in a row, cut elsewhere. */
    others[4].group = "sales-agS";
    others[4].database = "SISDB";
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_refused(&others[i], data_key, ciphertext);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_length_opens, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizes_that_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_byte_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_key_or_binding, setup, teardown),
    };

    if (secret_heap_init() != ESCROW_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
