/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/wrap.h"

#include <tss2/tss2_mu.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct sealed {
    EVP_PKEY *recipient;
    struct ec_point point;
    struct secret *data;
    struct secret *sensitive;
    struct wrap_object object;
    struct wrap_blob blob;
};

static const uint8_t policy[32] = {1, 2, 3};
static struct sealed sealed;

static int setup(void **state)
{
    sealed.recipient = key_generate();
    sealed.data = secret_random(32);
    assert_int_equal(key_point(sealed.recipient, &sealed.point), ESCROW_OK);
    assert_int_equal(wrap_object_new(policy, sealed.data, &sealed.object, &sealed.sensitive),
                     ESCROW_OK);
    assert_int_equal(wrap_seal(&sealed.object, sealed.sensitive, &sealed.point, &sealed.blob),
                     ESCROW_OK);
    *state = &sealed;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(sealed.recipient);
    secret_free(sealed.data);
    secret_free(sealed.sensitive);
    return 0;
}

static void assert_refused(const struct wrap_object *object, const struct wrap_blob *blob,
                           EVP_PKEY *recipient)
{
    struct secret *data = NULL;

    assert_int_equal(wrap_open(object, blob, recipient, &data), ESCROW_ERR_CRYPTO);
    assert_null(data);
}

static void test_every_size_opens(void **state)
{
    struct sealed *s = *state;

    for (size_t len = 1; len <= WRAP_DATA_MAX; len++) {
        CLEANUP(secret_free_p) struct secret *data = secret_random(len);
        CLEANUP(secret_free_p) struct secret *sensitive = NULL;
        CLEANUP(secret_free_p) struct secret *opened = NULL;
        struct wrap_object object;
        struct wrap_blob blob;

        assert_int_equal(wrap_object_new(policy, data, &object, &sensitive), ESCROW_OK);
        assert_int_equal(wrap_seal(&object, sensitive, &s->point, &blob), ESCROW_OK);
        assert_int_equal(wrap_open(&object, &blob, s->recipient, &opened), ESCROW_OK);
        assert_true(secret_equal(opened, data));
    }
}

static void test_sizes_that_no_object_has(void **state)
{
    CLEANUP(secret_free_p) struct secret *data = secret_random(WRAP_DATA_MAX + 1);
    struct secret *sensitive = NULL;
    struct wrap_object object;

    (void)state;
    assert_int_equal(wrap_object_new(policy, data, &object, &sensitive), ESCROW_ERR_MALFORMED);
    data->len = 0;
    assert_int_equal(wrap_object_new(policy, data, &object, &sensitive), ESCROW_ERR_MALFORMED);
    assert_null(sensitive);
}

static void test_no_two_blobs_are_alike(void **state)
{
    struct sealed *s = *state;
    struct wrap_blob other;

    assert_int_equal(wrap_seal(&s->object, s->sensitive, &s->point, &other), ESCROW_OK);
    assert_memory_not_equal(other.inner_key, s->blob.inner_key, sizeof(other.inner_key));
    assert_memory_not_equal(other.seed, s->blob.seed, other.seed_len);
    assert_memory_not_equal(other.duplicate + 2, s->blob.duplicate + 2, other.duplicate_len - 2);
}

static void test_every_bit_counts(void **state)
{
    struct sealed *s = *state;

    for (size_t bit = 0; bit < 8 * sizeof(s->blob.inner_key); bit++) {
        struct wrap_blob blob = s->blob;

        blob.inner_key[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_refused(&s->object, &blob, s->recipient);
    }
    for (size_t bit = 0; bit < 8 * s->blob.duplicate_len; bit++) {
        struct wrap_blob blob = s->blob;

        blob.duplicate[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_refused(&s->object, &blob, s->recipient);
    }
    for (size_t bit = 0; bit < 8 * s->blob.seed_len; bit++) {
        struct wrap_blob blob = s->blob;

        blob.seed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_refused(&s->object, &blob, s->recipient);
    }
}

static void test_every_length_counts(void **state)
{
    struct sealed *s = *state;

    for (size_t len = 0; len <= WRAP_DUPLICATE_MAX + 1; len++) {
        struct wrap_blob blob = s->blob;

        blob.duplicate_len = len;
        if (len != s->blob.duplicate_len)
            assert_refused(&s->object, &blob, s->recipient);
    }
    for (size_t len = 0; len <= WRAP_SEED_MAX + 1; len++) {
        struct wrap_blob blob = s->blob;

        blob.seed_len = len;
        if (len != s->blob.seed_len)
            assert_refused(&s->object, &blob, s->recipient);
    }
}

/* Whoever knows the recipient's point can make a blob with right integrity values around nonsense.
 */
static void test_nonsense_inside_a_right_wrapper(void **state)
{
    struct sealed *s = *state;
    const size_t full = s->sensitive->len;

    for (size_t len = 0; len < full; len++) {
        CLEANUP(secret_free_p) struct secret *part = secret_from(s->sensitive->bytes, full);
        struct wrap_blob blob;

        part->len = len;
        assert_int_equal(wrap_seal(&s->object, part, &s->point, &blob), ESCROW_OK);
        assert_refused(&s->object, &blob, s->recipient);
    }
    {
        CLEANUP(secret_free_p) struct secret *longer = secret_new(full + 1);
        struct wrap_blob blob;

        memcpy(longer->bytes, s->sensitive->bytes, full);
        assert_int_equal(wrap_seal(&s->object, longer, &s->point, &blob), ESCROW_OK);
        assert_refused(&s->object, &blob, s->recipient);
    }
    for (size_t i = 0; i < full; i++) {
        CLEANUP(secret_free_p) struct secret *altered = secret_from(s->sensitive->bytes, full);
        struct wrap_blob blob;

        /* The auth value (2 bytes of size 0 here) is not part of the object's unique field. */
        altered->bytes[i] ^= 1;
        assert_int_equal(wrap_seal(&s->object, altered, &s->point, &blob), ESCROW_OK);
        assert_refused(&s->object, &blob, s->recipient);
    }
}

static void test_another_object_or_recipient(void **state)
{
    struct sealed *s = *state;
    CLEANUP(key_free_p) EVP_PKEY *stranger = key_generate();
    CLEANUP(secret_free_p) struct secret *sensitive = NULL;
    struct wrap_object other = s->object;

    assert_refused(&s->object, &s->blob, stranger);
    other.unique[0] ^= 1;
    assert_refused(&other, &s->blob, s->recipient);
    assert_int_equal(wrap_object_new(policy, s->data, &other, &sensitive), ESCROW_OK);
    assert_refused(&other, &s->blob, s->recipient);
}

static void test_points_off_the_curve(void **state)
{
    struct sealed *s = *state;
    struct ec_point bad = s->point;
    struct wrap_blob blob = s->blob, untouched = {0};

    bad.y[31] ^= 1;
    blob.seed[2] ^= 1; /* first byte of x */
    assert_int_equal(wrap_seal(&s->object, s->sensitive, &bad, &untouched), ESCROW_ERR_CRYPTO);
    assert_int_equal(untouched.duplicate_len, 0);
    assert_int_equal(wrap_blob_check(&s->blob), ESCROW_OK);
    assert_int_equal(wrap_blob_check(&blob), ESCROW_ERR_CRYPTO);
    memset(blob.seed + 2, 0, 32);
    memset(blob.seed + 36, 0, 32);
    assert_int_equal(wrap_blob_check(&blob), ESCROW_ERR_CRYPTO);
}

static void test_public_area(void **state)
{
    struct sealed *s = *state;
    uint8_t bytes[WRAP_PUBLIC_MAX + 1] = {0};
    struct wrap_object parsed;
    size_t len;

    assert_int_equal(wrap_object_marshal(&s->object, bytes, &len), ESCROW_OK);
    assert_int_equal(wrap_object_parse(bytes, len, &parsed), ESCROW_OK);
    assert_memory_equal(&parsed, &s->object, sizeof(parsed));
    assert_int_equal(wrap_object_parse(bytes, len + 1, &parsed), ESCROW_ERR_MALFORMED);
    for (size_t part = 0; part < len; part++)
        assert_int_equal(wrap_object_parse(bytes, part, &parsed), ESCROW_ERR_MALFORMED);
}

/* An object that a TPM would take, and that could be unsealed, loses the policy, or is weaker. */
static void test_off_the_template(void **state)
{
    struct sealed *s = *state;
    uint8_t bytes[WRAP_PUBLIC_MAX];
    size_t len;

    assert_int_equal(wrap_object_marshal(&s->object, bytes, &len), ESCROW_OK);
    for (int bit = 0; bit < 32; bit++) {
        struct wrap_object parsed;
        TPMT_PUBLIC public = {0};
        uint8_t altered[WRAP_PUBLIC_MAX];
        size_t offset = 0, altered_len = 0;

        assert_int_equal(Tss2_MU_TPMT_PUBLIC_Unmarshal(bytes, len, &offset, &public), 0);
        public.objectAttributes ^= 1U << bit;
        if (Tss2_MU_TPMT_PUBLIC_Marshal(&public, altered, sizeof(altered), &altered_len) == 0)
            assert_int_equal(wrap_object_parse(altered, altered_len, &parsed),
                             ESCROW_ERR_MALFORMED);
    }
    for (size_t byte = 0; byte < 10; byte++) { /* type, nameAlg, attributes, size of the policy */
        struct wrap_object parsed;
        uint8_t altered[WRAP_PUBLIC_MAX];

        memcpy(altered, bytes, len);
        altered[byte] ^= 1;
        assert_int_equal(wrap_object_parse(altered, len, &parsed), ESCROW_ERR_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_size_opens, setup, teardown),
        cmocka_unit_test(test_sizes_that_no_object_has),
        cmocka_unit_test_setup_teardown(test_no_two_blobs_are_alike, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_bit_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_length_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nonsense_inside_a_right_wrapper, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_object_or_recipient, setup, teardown),
        cmocka_unit_test_setup_teardown(test_points_off_the_curve, setup, teardown),
        cmocka_unit_test_setup_teardown(test_public_area, setup, teardown),
        cmocka_unit_test_setup_teardown(test_off_the_template, setup, teardown),
    };

    if (secret_heap_init() != ESCROW_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
