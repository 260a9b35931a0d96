/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/client_options.h"
#include "tests/sqlsim/tds_rpc.h"
#include "tests/sqlsim/tds_text.h"

#include <event2/buffer.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

CLEANUP_FUNCTION(evbuffer_free_p, struct evbuffer, evbuffer_free)

static const uint8_t call[] = {4, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 0}; /* no headers, sp_executesql */
static const uint8_t text_type[] = {0, 0xe7, 0x40, 0x1f, 9, 4, 0xd0, 0, 0x34};
static const uint8_t chunk_type[] = {0, 0xe7, 0xff, 0xff, 9, 4, 0xd0, 0, 0x34};

static void put_name(struct evbuffer *out, const char *name)
{
    const uint8_t len = (uint8_t)strlen(name);
    size_t bytes_len;
    CLEANUP(cleanup_free) uint8_t *bytes = tds_text_encode(name, &bytes_len);

    evbuffer_add(out, &len, 1);
    evbuffer_add(out, bytes, bytes_len);
}

/* A value of nvarchar(4000), or of nvarchar(max) in one chunk. */
static void put_text(struct evbuffer *out, const char *name, const char *value, bool is_max)
{
    const uint8_t zeros[8] = {0};
    uint8_t size[4] = {0};
    size_t len;
    CLEANUP(cleanup_free) uint8_t *bytes = tds_text_encode(value, &len);

    size[0] = (uint8_t)len;
    size[1] = (uint8_t)(len >> 8);
    put_name(out, name);
    evbuffer_add(out, is_max ? chunk_type : text_type, sizeof(text_type));
    evbuffer_add(out, zeros, is_max ? 8 : 0);
    evbuffer_add(out, size, is_max ? 4 : 2);
    evbuffer_add(out, bytes, len);
    evbuffer_add(out, zeros, is_max ? 4 : 0);
}

static struct evbuffer *request(const char *statement, bool is_max)
{
    static const uint8_t number[] = {0, 0x26, 4, 4, 0xfe, 0xff, 0xff, 0xff};
    static const uint8_t nothing[] = {0, 0x26, 4, 0};
    struct evbuffer *out = evbuffer_new();

    evbuffer_add(out, call, sizeof(call));
    put_text(out, "", statement, is_max);
    put_text(out, "", "@a nvarchar(9), @b int, @c int", is_max);
    put_text(out, "@a", "it's \xf0\x9f\x94\x91", is_max);
    put_name(out, "@b");
    evbuffer_add(out, number, sizeof(number));
    put_name(out, "@c");
    evbuffer_add(out, nothing, sizeof(nothing));
    return out;
}

static void test_values_stand_in_a_select(void **state)
{
    static const struct {
        const char *statement, *expected;
    } cases[] = {
        {"SELECT @a, @B, @c", "SELECT N'it''s \xf0\x9f\x94\x91', -2, NULL"},
        {"SELECT '@a', @ab, @@a", "SELECT '@a', @ab, @@a"},
        {"SELECT @a", "SELECT N'it''s \xf0\x9f\x94\x91'"},
        {"OPEN MASTER KEY DECRYPTION BY PASSWORD = @a",
         "OPEN MASTER KEY DECRYPTION BY PASSWORD = @a"},
    };

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        CLEANUP(evbuffer_free_p)
        struct evbuffer *in = request(cases[i / 2].statement, i % 2 != 0);
        CLEANUP(cleanup_free) char *text = NULL;

        assert_int_equal(tds_rpc_statement(evbuffer_pullup(in, -1), evbuffer_get_length(in), &text),
                         ESCROW_OK);
        assert_string_equal(text, cases[i / 2].expected);
    }
}

/* Cut anywhere, and with each byte altered: never more than malformed. */
static void test_malformed(void **state)
{
    (void)state;
    for (int is_max = 0; is_max < 2; is_max++) {
        CLEANUP(evbuffer_free_p) struct evbuffer *in = request("SELECT @a", is_max);
        const size_t len = evbuffer_get_length(in);
        const uint8_t *bytes = evbuffer_pullup(in, -1);

        for (size_t i = 0; i < len; i++) {
            CLEANUP(cleanup_free) uint8_t *copy = malloc(len);
            CLEANUP(cleanup_free) char *text = NULL;
            CLEANUP(cleanup_free) char *other = NULL;

            assert_non_null(copy);
            memcpy(copy, bytes, i);
            /* Parameters at its end may be missing, so some of these are well formed. */
            assert_int_not_equal(tds_rpc_statement(copy, i, &text), ESCROW_ERR_NO_MEMORY);
            memcpy(copy, bytes, len);
            copy[i] = 0xff;
            assert_int_not_equal(tds_rpc_statement(copy, len, &other), ESCROW_ERR_NO_MEMORY);
        }
    }
}

static void test_refused(void **state)
{
    static const uint8_t other_procedure[] = {4, 0, 0, 0, 0xff, 0xff, 11, 0, 0, 0};
    char *text = NULL;

    (void)state;
    assert_int_equal(tds_rpc_statement(other_procedure, sizeof(other_procedure), &text),
                     ESCROW_ERR_MALFORMED);
    assert_int_equal(tds_rpc_statement(call, sizeof(call), &text), ESCROW_ERR_MALFORMED);
    assert_int_equal(tds_rpc_statement(call, 3, &text), ESCROW_ERR_MALFORMED);
    assert_null(text);
}

static void test_client_options(void **state)
{
    (void)state;
    assert_true(client_options_match("set textsize 2147483647"));
    assert_true(
        client_options_match("SET ANSI_NULLS ON;\nset transaction isolation level read committed"));
    assert_false(client_options_match(""));
    assert_false(client_options_match("set"));
    assert_false(client_options_match("set textsize"));
    assert_false(client_options_match("SET CONTEXT_INFO 0x00"));
    assert_false(client_options_match("set textsize 1; OPEN MASTER KEY"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_stand_in_a_select),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_client_options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
