/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "libescrow/encode.h"
#include "tests/sqlsim/lexer.h"
#include "tests/sqlsim/tds_login.h"
#include "tests/sqlsim/tds_packet.h"
#include "tests/sqlsim/tds_text.h"
#include "tests/sqlsim/tds_token.h"
#include "tests/sqlsim/tds_value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

CLEANUP_FUNCTION(evbuffer_free_p, struct evbuffer, evbuffer_free)

static void test_packets_round_trip(void **state)
{
    static const size_t sizes[] = {0, 1, 503, 504, 505, 1008, 5000};
    uint8_t payload[5000];

    (void)state;
    for (size_t i = 0; i < sizeof(payload); i++)
        payload[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        CLEANUP(evbuffer_free_p) struct evbuffer *wire = evbuffer_new(), *part = evbuffer_new();
        CLEANUP(evbuffer_free_p) struct evbuffer *taken = evbuffer_new();
        struct tds_message message = {.payload = taken};
        enum tds_packet_result result = TDS_PACKET_MORE;

        tds_packet_put(wire, TDS_SQL_BATCH, payload, sizes[i], 512);
        while (evbuffer_get_length(wire)) { /* byte by byte */
            assert_int_equal(result, TDS_PACKET_MORE);
            evbuffer_remove_buffer(wire, part, 1);
            result = tds_packet_take(part, &message);
        }
        assert_int_equal(result, TDS_PACKET_COMPLETE);
        assert_int_equal(message.type, TDS_SQL_BATCH);
        assert_false(message.is_reset);
        assert_int_equal(evbuffer_get_length(taken), sizes[i]);
        if (sizes[i])
            assert_memory_equal(evbuffer_pullup(taken, -1), payload, sizes[i]);
    }
}

static enum tds_packet_result take(const void *bytes, size_t len, struct tds_message *message)
{
    CLEANUP(evbuffer_free_p) struct evbuffer *wire = evbuffer_new();

    evbuffer_add(wire, bytes, len);
    return tds_packet_take(wire, message);
}

static void test_packets_refused(void **state)
{
    static const uint8_t short_length[] = {1, 1, 0, 7, 0, 0, 1, 0};
    static const uint8_t other_type[] = {1, 0, 0, 9, 0, 0, 1, 0, 'x', 3, 1, 0, 8, 0, 0, 2, 0};
    static const uint8_t reset[] = {1, 9, 0, 8, 0, 0, 1, 0};
    CLEANUP(evbuffer_free_p) struct evbuffer *taken = evbuffer_new();
    CLEANUP(evbuffer_free_p) struct evbuffer *wire = evbuffer_new();
    struct tds_message message = {.payload = taken};
    enum tds_packet_result result = TDS_PACKET_MORE;
    uint8_t endless[4096] = {1, 0, 0x10, 0};

    (void)state;
    assert_int_equal(take(short_length, sizeof(short_length), &message), TDS_PACKET_MALFORMED);
    assert_int_equal(take(other_type, sizeof(other_type), &message), TDS_PACKET_MALFORMED);
    evbuffer_drain(taken, evbuffer_get_length(taken));
    assert_int_equal(take(reset, sizeof(reset), &message), TDS_PACKET_COMPLETE);
    assert_true(message.is_reset);
    for (size_t i = 0; i < 2 * TDS_MESSAGE_MAX / sizeof(endless); i++) {
        evbuffer_add(wire, endless, sizeof(endless));
        result = tds_packet_take(wire, &message);
        if (result == TDS_PACKET_MALFORMED)
            break;
    }
    assert_int_equal(result, TDS_PACKET_MALFORMED);
    assert_in_range(evbuffer_get_length(taken), 1, TDS_MESSAGE_MAX);
}

static void test_texts(void **state)
{
    static const char *const texts[] = {"", "abc", "\xc3\xa4\xe2\x82\xac", "\xf0\x9f\x94\x91!"};
    static const uint8_t broken[] = {0x00, 0xd8, 'a', 0, 0x00, 0xdc, 0, 0, 0x3d, 0xd8};
    CLEANUP(cleanup_free) char *decoded = tds_text_decode(broken, sizeof(broken));
    CLEANUP(cleanup_free) uint8_t *encoded = NULL;
    size_t encoded_len;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        size_t len;
        CLEANUP(cleanup_free) uint8_t *bytes = tds_text_encode(texts[i], &len);
        CLEANUP(cleanup_free) char *text = tds_text_decode(bytes, len);

        assert_string_equal(text, texts[i]);
    }
    assert_string_equal(decoded, "\xef\xbf\xbd"
                                 "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    /* overlong, surrogate, cut off */
    encoded = tds_text_encode("\xc0\x80\xed\xa0\x80\xe2\x82", &encoded_len);
    assert_int_equal(encoded_len % 2, 0);
    for (size_t i = 0; i < encoded_len; i += 2)
        assert_int_equal(encoded[i] | encoded[i + 1] << 8, 0xfffd);
}

static void test_prelogin_negotiation(void **state)
{
    enum { OFF = TDS_ENCRYPT_OFF, ON = TDS_ENCRYPT_ON, NO = TDS_ENCRYPT_NOT_SUP, REQ = 3 };
    /* MS-TDS 2.2.6.5, for a client that says OFF, ON, NOT_SUP, REQ; and the liar. */
    static const int expected[][4] = {
        [TDS_MODE_ON] = {OFF, ON, NO, ON},
        [TDS_MODE_REQUIRE] = {REQ, ON, REQ, ON},
        [TDS_MODE_LIE_OFF] = {OFF, OFF, NO, OFF},
        [TDS_MODE_NOT_SUP] = {NO, NO, NO, NO},
    };

    (void)state;
    for (size_t mode = 0; mode < ARRAY_LEN(expected); mode++)
        for (size_t client = 0; client < 4; client++)
            assert_int_equal(
                tds_prelogin_negotiate((enum tds_encryption_mode)mode, (enum tds_encryption)client),
                expected[mode][client]);
}

static void test_prelogin_parse(void **state)
{
    static const uint8_t valid[] = {0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 1, 2, 3, 4, 5, 6, 3};
    CLEANUP(evbuffer_free_p) struct evbuffer *answer = evbuffer_new();
    enum tds_encryption encryption = TDS_ENCRYPT_OFF;
    uint8_t changed[sizeof(valid)];

    (void)state;
    assert_int_equal(tds_prelogin_parse(valid, sizeof(valid), &encryption), ESCROW_OK);
    assert_int_equal(encryption, TDS_ENCRYPT_REQ);
    for (size_t len = 0; len < sizeof(valid); len++)
        assert_int_equal(tds_prelogin_parse(valid, len, &encryption), ESCROW_ERR_MALFORMED);
    memcpy(changed, valid, sizeof(valid));
    changed[17] = 4;
    assert_int_equal(tds_prelogin_parse(changed, sizeof(changed), &encryption),
                     ESCROW_ERR_MALFORMED);
    /* ours has the same form */
    tds_prelogin_put(answer, "16.0.4165.4", TDS_ENCRYPT_ON);
    assert_int_equal(
        tds_prelogin_parse(evbuffer_pullup(answer, -1), evbuffer_get_length(answer), &encryption),
        ESCROW_OK);
    assert_int_equal(encryption, TDS_ENCRYPT_ON);
}

#define LOGIN_FIXED 94

/* Appends a text of the variable part and writes its place. */
static void put_login_text(uint8_t *login, size_t *len, size_t place, const char *text)
{
    size_t bytes;
    CLEANUP(cleanup_free) uint8_t *encoded = tds_text_encode(text, &bytes);

    login[place] = (uint8_t)*len;
    login[place + 1] = (uint8_t)(*len >> 8);
    login[place + 2] = (uint8_t)(bytes / 2);
    memcpy(login + *len, encoded, bytes);
    for (size_t i = 0; place == 44 && i < bytes; i++) {
        uint8_t swapped = (uint8_t)(encoded[i] << 4 | encoded[i] >> 4);

        login[*len + i] = swapped ^ 0xa5;
    }
    *len += bytes;
}

static size_t make_login(uint8_t *login)
{
    static const uint8_t version_and_size[] = {4, 0, 0, 0x74, 0, 0x10, 0, 0};
    size_t len = LOGIN_FIXED;

    memset(login, 0, LOGIN_FIXED);
    memcpy(login + 4, version_and_size, sizeof(version_and_size));
    login[26] = 0x20;
    put_login_text(login, &len, 40, "agent");
    put_login_text(login, &len, 44, "p\xc3\xa4ss");
    put_login_text(login, &len, 68, "SSISDB");
    login[0] = (uint8_t)len;
    login[1] = (uint8_t)(len >> 8);
    return len;
}

static void test_login_parse(void **state)
{
    uint8_t bytes[256];
    size_t len = make_login(bytes);
    struct tds_login login = {0};

    (void)state;
    assert_int_equal(tds_login_parse(bytes, len, &login), ESCROW_OK);
    assert_string_equal(login.user, "agent");
    assert_string_equal(login.password, "p\xc3\xa4ss");
    assert_string_equal(login.database, "SSISDB");
    assert_int_equal(login.tds_version, TDS_VERSION_74);
    assert_int_equal(login.packet_size, 4096);
    assert_true(login.has_read_intent);
    tds_login_deinit(&login);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(tds_login_parse(bytes, cut, &login), ESCROW_ERR_MALFORMED);
    bytes[46] = 0xff; /* a password that ends beyond the message */
    assert_int_equal(tds_login_parse(bytes, len, &login), ESCROW_ERR_MALFORMED);
}

/* The first token of a client's security library, by the short length and by the long one. */
static void test_login_token(void **state)
{
    static const uint8_t token[] = {0x60, 0x82, 0xff};
    uint8_t bytes[256];
    size_t len = make_login(bytes);
    struct tds_login login = {0};

    (void)state;
    bytes[25] = 0x80; /* integrated */
    bytes[78] = (uint8_t)len;
    memcpy(bytes + len, token, sizeof(token));
    len += sizeof(token);
    bytes[0] = (uint8_t)len;
    for (size_t i = 0; i < 2; i++) {
        bytes[80] = i ? 0xff : sizeof(token);
        bytes[81] = i ? 0xff : 0;
        bytes[90] = i ? sizeof(token) : 0;
        assert_int_equal(tds_login_parse(bytes, len, &login), ESCROW_OK);
        assert_true(login.has_sspi);
        assert_int_equal(login.token_len, sizeof(token));
        assert_memory_equal(login.token, token, sizeof(token));
        tds_login_deinit(&login);
    }
    bytes[90]++; /* beyond the message */
    assert_int_equal(tds_login_parse(bytes, len, &login), ESCROW_ERR_MALFORMED);
}

/* Types and values, byte for byte as MS-TDS 2.2.5.4 and 2.2.5.5 have them. */
static void test_values(void **state)
{
    static const struct {
        enum reply_type type;
        const char *text;
        size_t type_len, len;
        uint8_t type_bytes[8], bytes[24];
    } cases[] = {
        {REPLY_BIT, "1", 2, 2, {0x68, 1}, {1, 1}},
        {REPLY_BIT, NULL, 2, 1, {0x68, 1}, {0}},
        {REPLY_TINYINT, "255", 2, 2, {0x26, 1}, {1, 0xff}},
        {REPLY_SMALLINT, "-2", 2, 3, {0x26, 2}, {2, 0xfe, 0xff}},
        {REPLY_INT, "258", 2, 5, {0x26, 4}, {4, 2, 1, 0, 0}},
        {REPLY_BIGINT, "-1", 2, 9, {0x26, 8}, {8, 255, 255, 255, 255, 255, 255, 255, 255}},
        {REPLY_GUID,
         "00112233-4455-6677-8899-AABBCCDDEEFF",
         2,
         17,
         {0x24, 16},
         {16, 0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
          0xff}},
        {REPLY_NUMERIC, "4294967296000", 4, 14, {0x6c, 13, 25, 0}, {13, 1, 0, 0, 0, 0, 0xe8, 3}},
        {REPLY_NUMERIC,
         "18446744073709551616",
         4,
         14,
         {0x6c, 13, 25, 0},
         {13, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
        /* 36524 days from 1900 and 730119 from the year 1; noon */
        {REPLY_DATETIME,
         "2000-01-01 12:00:00.0100000",
         2,
         9,
         {0x6f, 8},
         {8, 0xac, 0x8e, 0, 0, 0x03, 0xc1, 0xc5, 0}},
        {REPLY_DATETIME2,
         "2000-01-01 12:00:00.0000001",
         2,
         9,
         {0x2a, 7},
         {8, 0x01, 0xe0, 0x34, 0x95, 0x64, 0x07, 0x24, 0x0b}},
        {REPLY_TEXT, "a", 8, 4, {0xe7, 0x40, 0x1f, 9, 4, 0xd0, 0, 0x34}, {2, 0, 'a', 0}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct evbuffer *out = evbuffer_new();

        tds_value_type(out, cases[i].type);
        assert_int_equal(evbuffer_get_length(out), cases[i].type_len);
        assert_memory_equal(evbuffer_pullup(out, -1), cases[i].type_bytes, cases[i].type_len);
        evbuffer_drain(out, cases[i].type_len);
        tds_value(out, cases[i].type, cases[i].text);
        assert_int_equal(evbuffer_get_length(out), cases[i].len);
        assert_memory_equal(evbuffer_pullup(out, -1), cases[i].bytes, cases[i].len);
        evbuffer_free(out);
    }
}

/* The stream of a small result, byte for byte as MS-TDS 2.2.7 has it. */
static void test_tokens(void **state)
{
    static const struct reply_column columns[] = {
        {"a", REPLY_TINYINT}, {"b", REPLY_TEXT}, {"c", REPLY_INT}};
    static const char expected[] = "810300"
                                   "000000000100" /* user type, flags */
                                   "2601"         /* INTN, 1 byte */
                                   "016100"
                                   "000000000100"
                                   "e7401f0904d00034"
                                   "016200"
                                   "000000000100"
                                   "2604"
                                   "016300"
                                   "d1"
                                   "0107"
                                   "0200e400"
                                   "04ffffffff"
                                   "d1"
                                   "00"
                                   "ffff"
                                   "00"
                                   "fd1000c1000200000000000000";
    CLEANUP(evbuffer_free_p) struct evbuffer *out = evbuffer_new();
    struct reply reply = {0};
    char hex[512];

    (void)state;
    reply_columns(&reply, columns, ARRAY_LEN(columns));
    reply_number(&reply, 7);
    reply_value(&reply, "\xc3\xa4");
    reply_number(&reply, -1);
    for (size_t i = 0; i < ARRAY_LEN(columns); i++)
        reply_value(&reply, NULL);
    tds_token_reply(out, &reply, "SQL1");
    assert_in_range(evbuffer_get_length(out), 1, sizeof(hex) / 2 - 1);
    hex_encode(evbuffer_pullup(out, -1), evbuffer_get_length(out), hex);
    assert_string_equal(hex, expected);
    reply_deinit(&reply);
}

static void test_error_token(void **state)
{
    CLEANUP(evbuffer_free_p) struct evbuffer *out = evbuffer_new();
    struct reply reply = {0};
    const uint8_t *bytes;
    size_t len;

    (void)state;
    reply_message(&reply, 102, "x", NULL);
    tds_token_reply(out, &reply, "S");
    bytes = evbuffer_pullup(out, -1);
    len = evbuffer_get_length(out);
    assert_int_equal(bytes[0], 0xaa);
    assert_int_equal(bytes[1] | bytes[2] << 8, len - 3 - 13);
    assert_int_equal(bytes[3], 102);
    assert_int_equal(bytes[7], 1);  /* state */
    assert_int_equal(bytes[8], 15); /* level */
    assert_int_equal(bytes[len - 13], 0xfd);
    assert_int_equal(bytes[len - 12], 0x02); /* DONE after an error says so */
    reply_deinit(&reply);
}

static void test_lexer(void **state)
{
    static const struct {
        const char *pattern, *text, *first; /* first parameter; NULL: no match */
    } cases[] = {
        {"USE $name", "use\t[SSIS]]DB] ;\n", "SSIS]DB"},
        {"USE $name", "USE [a] [b]", NULL},
        {"USE $name", "USE [a];;", NULL},
        {"USE $name", "USE a", "a"},
        {"[a].$name", "a.b", "b"},
        {"a.$name", "[a].b", NULL},
        {"EXEC p $arguments; SELECT 1", "EXEC p @x = N';', 2 ; select 1", "@x = N';', 2"},
        {"USE $name", "USE", NULL},
        {"X = $text", "x=N'it''s'", "it's"},
        {"X = $text", "x = 'a\\\nb'", "ab"},
        {"X = $text", "x = 'a\\\r\nb'", "ab"},
        {"X = $text", "x = 'a\\b'", "a\\b"},
        {"X = $text", "x = ''''", "'"},
        {"X = $text", "x = ''", ""},
        {"X = $text", "x = N", NULL},
        {"X = $text", "x = N'open", NULL},
        {"X = $text", "x = 'open''", NULL},
        {"USE $name", "USE [open", NULL},
        {"SET $binary", "SET 0xAb01", "Ab01"},
        {"SET $binary", "SET 12", NULL},
        {"N'Exact' $text", "N'exact' 'x'", NULL},
        {"N'Exact' $text", "N'Exact' 'x'", "x"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct lexer_parameters parameters = {0};
        bool matches = lexer_match(cases[i].pattern, cases[i].text, &parameters);

        assert_int_equal(matches, cases[i].first != NULL);
        if (matches)
            assert_string_equal(parameters.values[0], cases[i].first);
        lexer_parameters_deinit(&parameters);
    }
}

static void test_redaction(void **state)
{
    static const char sha256_of_its[] =
        "24ceef1cb6b0cbc0b3321021318245760500d1b1e9411a091929268ad1491c9e";
    CLEANUP(cleanup_free)
    char *open = lexer_redact("OPEN MASTER KEY DECRYPTION BY PASSWORD = N'it''s' ; -- x");
    CLEANUP(cleanup_free) char *use = lexer_redact("USE [SSISDB]");
    CLEANUP(cleanup_free)
    char *both = lexer_redact("CREATE LOGIN a WITH password='one', x='two', PASSWORD = 'three'");

    CLEANUP(cleanup_free) char *unclosed = lexer_redact("x PASSWORD = N'four");

    (void)state;
    assert_non_null(strstr(open, sha256_of_its));
    assert_null(strstr(unclosed, "four"));
    assert_non_null(strstr(open, "OPEN MASTER KEY DECRYPTION BY PASSWORD = '<sha256:"));
    assert_non_null(strstr(open, "' ; -- x"));
    assert_string_equal(use, "USE [SSISDB]");
    assert_null(strstr(both, "one"));
    assert_non_null(strstr(both, "x='two'"));
    assert_null(strstr(both, "three"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packets_round_trip),
        cmocka_unit_test(test_packets_refused),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_prelogin_negotiation),
        cmocka_unit_test(test_prelogin_parse),
        cmocka_unit_test(test_login_parse),
        cmocka_unit_test(test_login_token),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_error_token),
        cmocka_unit_test(test_lexer),
        cmocka_unit_test(test_redaction),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
