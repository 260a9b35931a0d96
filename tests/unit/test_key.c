/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/encode.h"
#include "libescrow/file.h"
#include "libescrow/key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/sha.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* The key of RFC 7515, A.3.1. */
static const char example_x[] = "7fcdce2770f6c45d4183cbee6fdb4b7b580733357be9ef13bacf6e3c7bd15445";
static const char example_y[] = "c7f144cd1bbd9b7e872cdfedb9eeb9f4b3695d6ea90b24ad8a4623288588e5ad";

/* Part 2 of the specification, 12.2.4, written out by hand. */
#define ECC_SHA256 "0023000b"
#define SIGNER_HEAD                                                                                \
    ECC_SHA256 "00040000"                                                                          \
               "0000"                                                                              \
               "0010"                                                                              \
               "0018000b"                                                                          \
               "0003"                                                                              \
               "0010"
#define RECIPIENT_HEAD                                                                             \
    ECC_SHA256 "00030040"                                                                          \
               "0000"                                                                              \
               "000600800043"                                                                      \
               "0010"                                                                              \
               "0003"                                                                              \
               "0010"
#define STORAGE_HEAD                                                                               \
    ECC_SHA256 "00030032"                                                                          \
               "0020"                                                                              \
               "b5e22d4af1244db634c43bac0d110a16b0dfb3c549d34d3b53b2b150684cbe59"                  \
               "000600800043"                                                                      \
               "0010"                                                                              \
               "0003"                                                                              \
               "0010"
#define STORAGE_HEAD_WITHOUT_POLICY                                                                \
    ECC_SHA256 "00030032"                                                                          \
               "0000"                                                                              \
               "000600800043"                                                                      \
               "0010"                                                                              \
               "0003"                                                                              \
               "0010"
#define AUDIT_HEAD                                                                                 \
    ECC_SHA256 "00050072"                                                                          \
               "0000"                                                                              \
               "0010"                                                                              \
               "0018000b"                                                                          \
               "0003"                                                                              \
               "0010"

static struct ec_point example_point(void)
{
    struct ec_point point = {{0}, {0}};

    assert_int_equal(hex_decode(example_x, point.x, sizeof(point.x)), ESCROW_OK);
    assert_int_equal(hex_decode(example_y, point.y, sizeof(point.y)), ESCROW_OK);
    return point;
}

static size_t public_bytes(const char *head, uint8_t ret_bytes[static KEY_PUBLIC_MAX])
{
    char text[2 * KEY_PUBLIC_MAX];
    int len = snprintf(text, sizeof(text), "%s0020%s0020%s", head, example_x, example_y);

    assert_int_equal(hex_decode(text, ret_bytes, (size_t)len / 2), ESCROW_OK);
    return (size_t)len / 2;
}

static void check_name(const char *head, enum key_kind kind,
                       enum escrow_err (*name_of)(const struct ec_point *, struct tpm_name *))
{
    struct ec_point point = example_point();
    uint8_t wanted[KEY_PUBLIC_MAX], bytes[KEY_PUBLIC_MAX], digest[SHA256_DIGEST_LENGTH];
    size_t wanted_len = public_bytes(head, wanted), len;
    struct tpm_name name;

    assert_int_equal(key_public_marshal(kind, &point, bytes, &len), ESCROW_OK);
    assert_int_equal(len, wanted_len);
    assert_memory_equal(bytes, wanted, len);
    SHA256(wanted, wanted_len, digest);
    assert_int_equal(name_of(&point, &name), ESCROW_OK);
    assert_memory_equal(name.bytes, "\x00\x0b", 2);
    assert_memory_equal(name.bytes + 2, digest, sizeof(digest));
}

static void test_names(void **state)
{
    (void)state;
    check_name(SIGNER_HEAD, KEY_SIGNER, key_signer_name);
    check_name(RECIPIENT_HEAD, KEY_RECIPIENT, key_recipient_name);
}

static void test_member_keys(void **state)
{
    struct ec_point wanted = example_point(), point;
    uint8_t bytes[KEY_PUBLIC_MAX];
    struct tpm_name name, again;
    size_t len = public_bytes(STORAGE_HEAD, bytes);

    (void)state;
    assert_int_equal(key_public_parse(KEY_TPM_STORAGE, bytes, len, &point, &name), ESCROW_OK);
    assert_memory_equal(&point, &wanted, sizeof(point));
    assert_int_equal(key_public_name(bytes, len, &again), ESCROW_OK);
    assert_true(tpm_name_equal(&name, &again));

    assert_int_equal(key_public_parse(KEY_TPM_AUDIT, bytes, len, &point, &name),
                     ESCROW_ERR_MALFORMED);
    assert_int_equal(key_public_parse(KEY_TPM_STORAGE, bytes, len - 1, &point, &name),
                     ESCROW_ERR_MALFORMED);
    assert_int_equal(key_public_parse(KEY_TPM_STORAGE, bytes, len + 1, &point, &name),
                     ESCROW_ERR_MALFORMED);
    bytes[len - 1] ^= 1;
    assert_int_equal(key_public_parse(KEY_TPM_STORAGE, bytes, len, &point, &name),
                     ESCROW_ERR_CRYPTO);

    len = public_bytes(AUDIT_HEAD, bytes);
    assert_int_equal(key_public_parse(KEY_TPM_AUDIT, bytes, len, &point, &name), ESCROW_OK);
    /* A key with two uses is nobody's. */
    len = public_bytes(ECC_SHA256 "00070072"
                                  "0000"
                                  "0010"
                                  "0018000b"
                                  "0003"
                                  "0010",
                       bytes);
    assert_int_equal(key_public_parse(KEY_TPM_AUDIT, bytes, len, &point, &name),
                     ESCROW_ERR_MALFORMED);
    /* A key whose auth value alone opens it: its TPM rewraps what is wrapped to it. */
    len = public_bytes(STORAGE_HEAD, bytes);
    bytes[7] |= 0x40;
    assert_int_equal(key_public_parse(KEY_TPM_STORAGE, bytes, len, &point, &name),
                     ESCROW_ERR_MALFORMED);
    bytes[7] &= (uint8_t)~0x40;
    bytes[10] ^= 1; /* of the policy */
    assert_int_equal(key_public_parse(KEY_TPM_STORAGE, bytes, len, &point, &name),
                     ESCROW_ERR_MALFORMED);
    len = public_bytes(STORAGE_HEAD_WITHOUT_POLICY, bytes);
    assert_int_equal(key_public_parse(KEY_TPM_STORAGE, bytes, len, &point, &name),
                     ESCROW_ERR_MALFORMED);
    /* A key that could leave its TPM is no member's. */
    len = public_bytes(RECIPIENT_HEAD, bytes);
    assert_int_equal(key_public_parse(KEY_TPM_STORAGE, bytes, len, &point, &name),
                     ESCROW_ERR_MALFORMED);
}

static void test_point_round_trip(void **state)
{
    CLEANUP(key_free_p) EVP_PKEY *key = key_generate();
    CLEANUP(key_free_p) EVP_PKEY *copy = NULL;
    struct ec_point point, again;

    (void)state;
    assert_int_equal(key_point(key, &point), ESCROW_OK);
    assert_int_equal(key_check_point(&point), ESCROW_OK);
    assert_int_equal(key_from_point(&point, &copy), ESCROW_OK);
    assert_int_equal(EVP_PKEY_eq(key, copy), 1);
    assert_int_equal(key_point(copy, &again), ESCROW_OK);
    assert_memory_equal(&point, &again, sizeof(point));
}

static void test_bad_points(void **state)
{
    struct ec_point off_curve = example_point(), zero = {{0}, {0}}, too_large;
    EVP_PKEY *key = NULL;

    (void)state;
    off_curve.y[31] ^= 1;
    memset(&too_large, 0xff, sizeof(too_large));
    assert_int_equal(key_from_point(&off_curve, &key), ESCROW_ERR_CRYPTO);
    assert_int_equal(key_from_point(&zero, &key), ESCROW_ERR_CRYPTO);
    assert_int_equal(key_from_point(&too_large, &key), ESCROW_ERR_CRYPTO);
    assert_null(key);
    assert_int_equal(key_check_point(&off_curve), ESCROW_ERR_CRYPTO);
    assert_int_equal(key_check_point(&zero), ESCROW_ERR_CRYPTO);
    assert_int_equal(key_check_point(&too_large), ESCROW_ERR_CRYPTO);
}

static void test_signature(void **state)
{
    CLEANUP(key_free_p) EVP_PKEY *key = key_generate();
    CLEANUP(key_free_p) EVP_PKEY *other = key_generate();
    uint8_t digest[32] = {1}, signature[ECDSA_SIGNATURE_BYTES], zero[ECDSA_SIGNATURE_BYTES] = {0};

    (void)state;
    assert_int_equal(key_sign_digest(key, digest, signature), ESCROW_OK);
    assert_int_equal(key_verify_digest(key, digest, signature), ESCROW_OK);
    assert_int_equal(key_verify_digest(other, digest, signature), ESCROW_ERR_CRYPTO);
    assert_int_equal(key_verify_digest(key, digest, zero), ESCROW_ERR_CRYPTO);
    for (size_t i = 0; i < sizeof(signature); i++) {
        signature[i] ^= 1;
        assert_int_equal(key_verify_digest(key, digest, signature), ESCROW_ERR_CRYPTO);
        signature[i] ^= 1;
    }
    digest[31] ^= 1;
    assert_int_equal(key_verify_digest(key, digest, signature), ESCROW_ERR_CRYPTO);
}

static int make_folder(void **state)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/key.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    return mkdtemp(path) && chdir(path) == 0 && (*state = strdup(path)) ? 0 : -1;
}

static int remove_folder(void **state)
{
    static const char *const files[] = {"private", "public", "loose", "other", "state", "kept"};

    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlink(files[i]);
    rmdir(*state);
    free(*state);
    return 0;
}

static void test_private_file(void **state)
{
    CLEANUP(key_free_p) EVP_PKEY *key = key_generate();
    CLEANUP(key_free_p) EVP_PKEY *copy = NULL;
    EVP_PKEY *none = NULL;
    struct stat status;

    (void)state;
    umask(0);
    assert_int_equal(key_write_private(key, "private"), ESCROW_OK);
    assert_int_equal(stat("private", &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(key_write_private(key, "private"), ESCROW_ERR_EXISTS);
    assert_int_equal(key_read_private("private", &copy), ESCROW_OK);
    assert_int_equal(EVP_PKEY_eq(key, copy), 1);

    assert_int_equal(chmod("private", 0640), 0);
    assert_int_equal(key_read_private("private", &none), ESCROW_ERR_CONFIG);
    assert_int_equal(key_read_private("missing", &none), ESCROW_ERR_CONFIG);
    assert_null(none);
}

static void test_public_file(void **state)
{
    CLEANUP(key_free_p) EVP_PKEY *key = key_generate();
    CLEANUP(key_free_p) EVP_PKEY *copy = NULL;
    EVP_PKEY *none = NULL;

    (void)state;
    assert_int_equal(key_write_public(key, "public"), ESCROW_OK);
    assert_int_equal(key_read_public("public", &copy), ESCROW_OK);
    assert_int_equal(EVP_PKEY_eq(key, copy), 1);
    assert_int_equal(chmod("public", 0600), 0);
    assert_int_equal(key_read_private("public", &none), ESCROW_ERR_CONFIG);
}

static void test_another_curve_is_no_key(void **state)
{
    CLEANUP(key_free_p) EVP_PKEY *p384 = EVP_EC_gen("P-384");
    EVP_PKEY *none = NULL;
    struct ec_point point;
    uint8_t digest[32] = {0}, signature[ECDSA_SIGNATURE_BYTES];

    (void)state;
    assert_int_equal(key_point(p384, &point), ESCROW_ERR_CRYPTO);
    assert_int_equal(key_sign_digest(p384, digest, signature), ESCROW_ERR_CRYPTO);
    assert_int_equal(key_write_private(p384, "other"), ESCROW_OK);
    assert_int_equal(key_read_private("other", &none), ESCROW_ERR_CONFIG);
    assert_null(none);
}

static void test_small_files(void **state)
{
    CLEANUP(cleanup_free) char *text = NULL;
    char *none = NULL;
    struct stat status;
    size_t len;

    (void)state;
    assert_int_equal(file_replace("state", 0600, "one", 3), ESCROW_OK);
    assert_int_equal(file_replace("state", 0644, "two!", 4), ESCROW_OK);
    assert_int_equal(file_read("state", 4, &text, &len), ESCROW_OK);
    assert_int_equal(len, 4);
    assert_string_equal(text, "two!");
    assert_int_equal(stat("state", &status), 0);
    assert_int_equal(status.st_mode & 07777, 0644);
    assert_int_equal(file_read("state", 3, &none, &len), ESCROW_ERR_CONFIG);
    assert_int_equal(file_read("missing", 3, &none, &len), ESCROW_ERR_NOT_FOUND);
    assert_int_equal(file_read(".", 4096, &none, &len), ESCROW_ERR_CONFIG);
    assert_int_equal(file_replace("missing/state", 0600, "x", 1), ESCROW_ERR_SYSTEM);
    assert_null(none);
}

/* Copies of the needle in one part of this process, outside of the secure heap. */
static size_t copies_in(const struct secret *part, unsigned long address,
                        const struct secret *needle)
{
    const uint8_t *next = part->bytes, *end = part->bytes + part->len, *found;
    size_t copies = 0;

    while ((found = memmem(next, (size_t)(end - next), needle->bytes, needle->len)) != NULL) {
        const uint8_t *where = (const uint8_t *)address + (found - part->bytes);

        copies += CRYPTO_secure_allocated(where) == 0;
        next = found + 1;
    }
    return copies;
}

static size_t plain_copies(const struct secret *needle)
{
    CLEANUP(secret_free_p) struct secret *part = secret_new(32768);
    const size_t step = part->len - needle->len;
    FILE *maps = fopen("/proc/self/maps", "re");
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    unsigned long from, to;
    size_t copies = 0;
    char line[512], *rest;

    assert_non_null(maps);
    assert_true(memory >= 0);
    while (fgets(line, sizeof(line), maps)) {
        /* What is larger is the sanitizer's own bookkeeping. */
        from = strtoul(line, &rest, 16);
        to = strtoul(rest + 1, NULL, 16);
        if (to - from > 1UL << 28)
            continue;
        for (; from < to; from += step) {
            ssize_t len = pread(memory, part->bytes, step + needle->len, (off_t)from);

            if (len <= 0)
                break;
            part->len = (size_t)len;
            copies += copies_in(part, from, needle);
        }
    }
    fclose(maps);
    close(memory);
    return copies;
}

/* The private scalar, big-endian, and as OpenSSL's numbers hold it on this machine. */
static void learn_scalar(const EVP_PKEY *key, struct secret *ret_big, struct secret *ret_little)
{
    BIGNUM *scalar = BN_secure_new();

    assert_int_equal(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &scalar), 1);
    assert_int_equal(BN_bn2binpad(scalar, ret_big->bytes, (int)ret_big->len), ret_big->len);
    assert_int_equal(BN_bn2nativepad(scalar, ret_little->bytes, (int)ret_little->len),
                     ret_little->len);
    BN_clear_free(scalar);
}

/* Not in the decoder's buffers, not in freed blocks: one copy, in the secure heap. */
static void test_private_keys_leave_no_copy(void **state)
{
    CLEANUP(secret_free_p) struct secret *big = secret_new(EC_COORDINATE_BYTES);
    CLEANUP(secret_free_p) struct secret *little = secret_new(EC_COORDINATE_BYTES);
    CLEANUP(key_free_p) EVP_PKEY *key = key_generate();
    CLEANUP(key_free_p) EVP_PKEY *copy = NULL;
    uint8_t digest[32] = {1}, signature[ECDSA_SIGNATURE_BYTES];
    void *leaked;

    (void)state;
    assert_int_equal(key_write_private(key, "kept"), ESCROW_OK);
    assert_int_equal(key_read_private("kept", &copy), ESCROW_OK);
    assert_int_equal(key_sign_digest(copy, digest, signature), ESCROW_OK);
    learn_scalar(copy, big, little);
    assert_int_equal(plain_copies(big), 0);
    assert_int_equal(plain_copies(little), 0);

    leaked = malloc(EC_COORDINATE_BYTES); /* the search does find one */
    memcpy(leaked, big->bytes, EC_COORDINATE_BYTES);
    assert_int_equal(plain_copies(big), 1);
    free(leaked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_member_keys),
        cmocka_unit_test(test_point_round_trip),
        cmocka_unit_test(test_bad_points),
        cmocka_unit_test(test_signature),
        cmocka_unit_test(test_private_file),
        cmocka_unit_test(test_private_keys_leave_no_copy),
        cmocka_unit_test(test_public_file),
        cmocka_unit_test(test_another_curve_is_no_key),
        cmocka_unit_test(test_small_files),
    };

    if (secret_heap_init() != ESCROW_OK)
        return 1;
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
