/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/encode.h"
#include "libescrow/json.h"
#include "libescrow/jws.h"

#include <openssl/sha.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const more[] = {"act", NULL};

/* Two keys that the verifier knows, and one that it does not. */
struct keys {
    EVP_PKEY *one, *two, *stranger;
    struct tpm_name one_name, two_name;
};

static struct tpm_name name_of(EVP_PKEY *key)
{
    struct jws_signer signer;

    assert_int_equal(jws_signer_from_key(key, &signer), ESCROW_OK);
    return signer.kid;
}

static int make_keys(void **state)
{
    struct keys *keys = calloc(1, sizeof(*keys));

    assert_non_null(keys);
    *keys = (struct keys){key_generate(), key_generate(), key_generate(), {{0}}, {{0}}};
    keys->one_name = name_of(keys->one);
    keys->two_name = name_of(keys->two);
    *state = keys;
    return 0;
}

static int free_keys(void **state)
{
    struct keys *keys = *state;

    EVP_PKEY_free(keys->one);
    EVP_PKEY_free(keys->two);
    EVP_PKEY_free(keys->stranger);
    free(keys);
    return 0;
}

static EVP_PKEY *find(const struct tpm_name *kid, void *argument)
{
    struct keys *keys = argument;

    if (tpm_name_equal(kid, &keys->one_name))
        return keys->one;
    return tpm_name_equal(kid, &keys->two_name) ? keys->two : NULL;
}

static enum escrow_err verify_bytes(struct keys *keys, const char *compact, size_t len)
{
    struct jws jws = {0};
    enum escrow_err err = jws_verify(compact, len, "test", more, find, keys, &jws);

    if (err) {
        assert_null(jws.header);
        assert_null(jws.payload);
    }
    jws_deinit(&jws);
    return err;
}

static enum escrow_err verify(struct keys *keys, const char *compact)
{
    return verify_bytes(keys, compact, strlen(compact));
}

/* A compact JWS of any two texts, rightly signed, so that only the fault under test can refuse. */
static char *craft(EVP_PKEY *key, const char *header, const char *payload)
{
    CLEANUP(cleanup_free) char *header_text = b64url_encode(header, strlen(header));
    CLEANUP(cleanup_free) char *payload_text = b64url_encode(payload, strlen(payload));
    CLEANUP(cleanup_free) char *input = NULL;
    CLEANUP(cleanup_free) char *signature_text = NULL;
    uint8_t digest[SHA256_DIGEST_LENGTH], signature[ECDSA_SIGNATURE_BYTES];
    char *compact = NULL;

    assert_true(asprintf(&input, "%s.%s", header_text, payload_text) > 0);
    SHA256((const unsigned char *)input, strlen(input), digest);
    assert_int_equal(key_sign_digest(key, digest, signature), ESCROW_OK);
    signature_text = b64url_encode(signature, sizeof(signature));
    assert_true(asprintf(&compact, "%s.%s", input, signature_text) > 0);
    return compact;
}

/* The same with KID replaced by the Name of key one. */
static char *craft_header(struct keys *keys, const char *header_format, const char *payload)
{
    CLEANUP(cleanup_free) char *header = strdup(header_format);
    char kid[TPM_NAME_HEX + 1], *mark = strstr(header_format, "KID");

    hex_encode(keys->one_name.bytes, TPM_NAME_BYTES, kid);
    if (mark) {
        free(TAKE(header));
        assert_true(asprintf(&header, "%.*s%s%s", (int)(mark - header_format), header_format, kid,
                             mark + 3) > 0);
    }
    return craft(keys->one, header, payload);
}

#define HEADER "{\"act\":\"x\",\"alg\":\"ES256\",\"kid\":\"KID\",\"typ\":\"test\"}"

static void test_sign_and_verify(void **state)
{
    struct keys *keys = *state;
    CLEANUP(json_free_p) json_t *header = json_pack("{s:s, s:s}", "typ", "test", "act", "x");
    CLEANUP(json_free_p) json_t *payload = json_pack("{s:i}", "v", 1);
    CLEANUP(cleanup_free) char *compact = NULL;
    struct jws_signer signer;
    struct jws jws;

    assert_int_equal(jws_signer_from_key(keys->one, &signer), ESCROW_OK);
    assert_int_equal(jws_sign(&signer, header, payload, &compact), ESCROW_OK);
    assert_int_equal(json_object_size(header), 2);
    assert_int_equal(jws_verify(compact, strlen(compact), "test", more, find, keys, &jws),
                     ESCROW_OK);
    assert_true(tpm_name_equal(&jws.kid, &keys->one_name));
    assert_string_equal(json_string_value(json_object_get(jws.header, "act")), "x");
    assert_int_equal(json_integer_value(json_object_get(jws.payload, "v")), 1);
    jws_deinit(&jws);
}

static void test_craft_is_right(void **state)
{
    struct keys *keys = *state;
    CLEANUP(cleanup_free) char *compact = craft_header(keys, HEADER, "{}");

    assert_int_equal(verify(keys, compact), ESCROW_OK);
}

/* RFC 8725 and what else has been tried: each rightly signed over its header. */
static void test_headers_refused(void **state)
{
    static const char *const headers[] = {
        "{\"act\":\"x\",\"alg\":\"none\",\"kid\":\"KID\",\"typ\":\"test\"}",
        "{\"act\":\"x\",\"alg\":\"None\",\"kid\":\"KID\",\"typ\":\"test\"}",
        "{\"act\":\"x\",\"alg\":\"HS256\",\"kid\":\"KID\",\"typ\":\"test\"}",
        "{\"act\":\"x\",\"alg\":\"ES384\",\"kid\":\"KID\",\"typ\":\"test\"}",
        "{\"act\":\"x\",\"alg\":\"ES256K\",\"kid\":\"KID\",\"typ\":\"test\"}",
        "{\"act\":\"x\",\"alg\":\"es256\",\"kid\":\"KID\",\"typ\":\"test\"}",
        "{\"act\":\"x\",\"alg\":[\"ES256\"],\"kid\":\"KID\",\"typ\":\"test\"}",
        "{\"act\":\"x\",\"kid\":\"KID\",\"typ\":\"test\"}",
        "{\"act\":\"x\",\"alg\":\"ES256\",\"kid\":\"KID\",\"typ\":\"test\",\"crit\":[]}",
        "{\"act\":\"x\",\"alg\":\"ES256\",\"kid\":\"KID\",\"typ\":\"test\",\"b64\":false}",
        "{\"act\":\"x\",\"alg\":\"ES256\",\"kid\":\"KID\",\"typ\":\"test\",\"jku\":\"http://a\"}",
        "{\"act\":\"x\",\"alg\":\"ES256\",\"kid\":\"KID\",\"typ\":\"test\",\"jwk\":{}}",
        "{\"act\":\"x\",\"alg\":\"ES256\",\"kid\":\"KID\",\"typ\":\"test\",\"cty\":\"a\"}",
        "{\"act\":\"x\",\"alg\":\"ES256\",\"alg\":\"ES256\",\"kid\":\"KID\",\"typ\":\"test\"}",
        "{\"act\":\"x\",\"alg\":\"none\",\"alg\":\"ES256\",\"kid\":\"KID\",\"typ\":\"test\"}",
        "{\"act\":\"x\",\"alg\":\"ES256\",\"kid\":\"KID\",\"typ\":\"other\"}",
        "{\"act\":\"x\",\"alg\":\"ES256\",\"kid\":\"KID\"}",
        "{\"alg\":\"ES256\",\"kid\":\"KID\",\"typ\":\"test\"}",
        "{\"act\":1,\"alg\":\"ES256\",\"kid\":\"KID\",\"typ\":\"test\"}",
        "{\"act\":\"x\",\"alg\":\"ES256\",\"typ\":\"test\"}",
        "{\"act\":\"x\",\"alg\":\"ES256\",\"kid\":\"KID00\",\"typ\":\"test\"}",
        "{\"act\":\"x\",\"alg\":\"ES256\",\"kid\":\"KID\\u0000\",\"typ\":\"test\"}",
        "{\"act\":\"x\",\"alg\":\"ES256\",\"kid\":\"KID\",\"typ\":\"test\"} x",
        "[\"act\",\"alg\",\"kid\",\"typ\"]",
        "",
        "{}",
    };
    struct keys *keys = *state;

    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        CLEANUP(cleanup_free) char *compact = craft_header(keys, headers[i], "{}");

        assert_int_equal(verify(keys, compact), ESCROW_ERR_MALFORMED);
    }
}

static void test_payloads_refused(void **state)
{
    static const char *const payloads[] = {
        "",
        "[]",
        "1",
        "{} ,",
        "{\"a\":1,\"a\":1}",
        "{\"a\":\"\\u0000\"}",
        "{\"a\":[[[[[[[[[1]]]]]]]]]}",
        "\xff",
    };
    struct keys *keys = *state;

    for (size_t i = 0; i < ARRAY_LEN(payloads); i++) {
        CLEANUP(cleanup_free) char *compact = craft_header(keys, HEADER, payloads[i]);

        assert_int_equal(verify(keys, compact), ESCROW_ERR_MALFORMED);
    }
}

static void test_unsigned(void **state)
{
    struct keys *keys = *state;
    CLEANUP(cleanup_free)
    char *compact = craft_header(keys,
                                 "{\"act\":\"x\",\"alg\":\"none\",\"kid\":\"KID\","
                                 "\"typ\":\"test\"}",
                                 "{}");

    strrchr(compact, '.')[1] = '\0';
    assert_int_equal(verify(keys, compact), ESCROW_ERR_MALFORMED);
}

#define PIECES_MAX 8

static char *join(const char *const pieces[static PIECES_MAX])
{
    char *text = strdup("");

    for (size_t i = 0; i < PIECES_MAX && pieces[i]; i++) {
        CLEANUP(cleanup_free) char *before = TAKE(text);

        assert_true(asprintf(&text, "%s%s", before, pieces[i]) >= 0);
    }
    return text;
}

static void test_parts(void **state)
{
    struct keys *keys = *state;
    CLEANUP(cleanup_free) char *compact = craft_header(keys, HEADER, "{}");
    CLEANUP(cleanup_free) char *copy = strdup(compact);
    const char *h = strtok(copy, "."), *p = strtok(NULL, "."), *s = strtok(NULL, ".");
    const char *const cases[][PIECES_MAX] = {
        {h},
        {h, ".", p},
        {h, ".", p, "."},
        {h, ".", p, ".", s, "."},
        {h, ".", p, ".", s, ".", s},
        {".", p, ".", s},
        {h, "..", s},
        {".."},
        {""},
        {h, ".", p, ".", s, " "},
        {h, ".", p, ".", s, "\n"},
        {" ", h, ".", p, ".", s},
        {h, ".", p, ".", s, "=="},
        {h, ".", p, ".", s, "AA"},
        {h, "=.", p, ".", s},
        {h, ".", p, "\n.", s},
        {"{\"payload\":\"", p, "\",\"protected\":\"", h, "\",\"signature\":\"", s, "\"}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(cleanup_free) char *text = join(cases[i]);

        assert_int_not_equal(verify(keys, text), ESCROW_OK);
    }
    assert_int_equal(verify_bytes(keys, compact, strlen(compact) + 1), ESCROW_ERR_MALFORMED);
    assert_int_equal(verify(keys, compact), ESCROW_OK);
}

/* 64 bytes end in a digit with four spare bits: two texts must not be one signature. */
static void test_one_text_per_signature(void **state)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct keys *keys = *state;
    CLEANUP(cleanup_free) char *compact = craft_header(keys, HEADER, "{}");
    char *last = compact + strlen(compact) - 1;
    size_t value = (size_t)(strchr(digits, *last) - digits);

    assert_int_equal(value % 16, 0);
    for (size_t spare = 1; spare < 16; spare++) {
        *last = digits[value + spare];
        assert_int_equal(verify(keys, compact), ESCROW_ERR_MALFORMED);
    }
}

static void test_kids(void **state)
{
    struct keys *keys = *state;
    CLEANUP(cleanup_free) char *compact = craft_header(keys, HEADER, "{}");
    CLEANUP(cleanup_free) char *swapped = NULL;
    CLEANUP(cleanup_free) char *strange = NULL;
    struct tpm_name one = keys->one_name, stranger = name_of(keys->stranger);

    keys->one_name = keys->two_name;
    swapped = craft_header(keys, HEADER, "{}");
    keys->one_name = stranger;
    strange = craft_header(keys, HEADER, "{}");
    keys->one_name = one;

    assert_int_equal(verify(keys, swapped), ESCROW_ERR_CRYPTO);
    assert_int_equal(verify(keys, strange), ESCROW_ERR_NOT_FOUND);
}

static void test_no_character_may_change(void **state)
{
    struct keys *keys = *state;
    CLEANUP(cleanup_free) char *compact = craft_header(keys, HEADER, "{\"v\":1}");

    for (size_t i = 0; compact[i]; i++) {
        char was = compact[i];

        compact[i] = was == 'A' ? 'B' : 'A';
        assert_int_not_equal(verify(keys, compact), ESCROW_OK);
        compact[i] = was;
    }
    for (size_t len = 0; len < strlen(compact); len++)
        assert_int_not_equal(verify_bytes(keys, compact, len), ESCROW_OK);
}

/* The order of P-256's group (FIPS 186-4, D.1.2.3): numbers that no signature has. */
static void test_numbers_out_of_range(void **state)
{
    static const char zero[] = "0000000000000000000000000000000000000000000000000000000000000000";
    static const char order[] = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    static const char most[] = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
    static const char one[] = "0000000000000000000000000000000000000000000000000000000000000001";
    static const char *const pairs[][2] = {{zero, zero}, {zero, one},  {one, zero}, {order, one},
                                           {one, order}, {most, most}, {one, one}};
    struct keys *keys = *state;
    CLEANUP(cleanup_free) char *compact = craft_header(keys, HEADER, "{}");
    int signed_len = (int)(strrchr(compact, '.') - compact);

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        CLEANUP(cleanup_free) char *signature_text = NULL;
        CLEANUP(cleanup_free) char *text = NULL;
        uint8_t signature[ECDSA_SIGNATURE_BYTES];

        assert_int_equal(hex_decode(pairs[i][0], signature, 32), ESCROW_OK);
        assert_int_equal(hex_decode(pairs[i][1], signature + 32, 32), ESCROW_OK);
        signature_text = b64url_encode(signature, sizeof(signature));
        assert_true(asprintf(&text, "%.*s.%s", signed_len, compact, signature_text) > 0);
        assert_int_equal(verify(keys, text), ESCROW_ERR_CRYPTO);
    }
}

static void test_sizes(void **state)
{
    struct keys *keys = *state;
    CLEANUP(json_free_p) json_t *header = json_pack("{s:s, s:s}", "typ", "test", "act", "x");
    CLEANUP(json_free_p) json_t *payload = NULL;
    CLEANUP(cleanup_free) char *text = malloc(JWS_BYTES_MAX);
    CLEANUP(cleanup_free) char *compact = NULL;
    struct jws_signer signer;

    assert_non_null(text);
    memset(text, 'a', JWS_BYTES_MAX);
    text[JWS_BYTES_MAX - 1] = '\0';
    payload = json_pack("{s:s}", "a", text);
    assert_int_equal(jws_signer_from_key(keys->one, &signer), ESCROW_OK);
    assert_int_equal(jws_sign(&signer, header, payload, &compact), ESCROW_ERR_MALFORMED);
    assert_null(compact);
    assert_int_equal(verify_bytes(keys, text, JWS_BYTES_MAX - 1), ESCROW_ERR_MALFORMED);

    /* A header has a bound of its own. */
    text[2048] = '\0';
    assert_int_equal(json_object_set_new(header, "act", json_string(text)), 0);
    json_decref(payload);
    payload = json_object();
    assert_int_equal(jws_sign(&signer, header, payload, &compact), ESCROW_OK);
    assert_int_equal(verify(keys, compact), ESCROW_ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sign_and_verify),
        cmocka_unit_test(test_craft_is_right),
        cmocka_unit_test(test_headers_refused),
        cmocka_unit_test(test_payloads_refused),
        cmocka_unit_test(test_unsigned),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_one_text_per_signature),
        cmocka_unit_test(test_kids),
        cmocka_unit_test(test_no_character_may_change),
        cmocka_unit_test(test_numbers_out_of_range),
        cmocka_unit_test(test_sizes),
    };

    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
