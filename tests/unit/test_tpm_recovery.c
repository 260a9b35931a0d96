/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/json.h"
#include "libescrow/tpm_recovery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct sealed {
    struct secret *owner, *lockout;
    EVP_PKEY *recovery;
    char *text;
};

static int setup(void **state)
{
    struct sealed *sealed = calloc(1, sizeof(*sealed));
    struct ec_point point;

    assert_non_null(sealed);
    sealed->owner = secret_random(TPM_AUTH_BYTES);
    sealed->lockout = secret_random(TPM_AUTH_BYTES);
    sealed->recovery = key_generate();
    assert_int_equal(key_point(sealed->recovery, &point), ESCROW_OK);
    assert_int_equal(tpm_recovery_seal(sealed->owner, sealed->lockout, &point, &sealed->text),
                     ESCROW_OK);
    *state = sealed;
    return 0;
}

static int teardown(void **state)
{
    struct sealed *sealed = *state;

    secret_free(sealed->owner);
    secret_free(sealed->lockout);
    EVP_PKEY_free(sealed->recovery);
    free(sealed->text);
    free(sealed);
    return 0;
}

static enum escrow_err open_text(const char *text, size_t len, EVP_PKEY *key)
{
    CLEANUP(secret_free_p) struct secret *owner = NULL;
    CLEANUP(secret_free_p) struct secret *lockout = NULL;
    enum escrow_err err = tpm_recovery_open(text, len, key, &owner, &lockout);

    assert_true((err == ESCROW_OK) == (owner != NULL && lockout != NULL));
    return err;
}

static void test_opens(void **state)
{
    const struct sealed *sealed = *state;
    CLEANUP(secret_free_p) struct secret *owner = NULL;
    CLEANUP(secret_free_p) struct secret *lockout = NULL;

    assert_true(strlen(sealed->text) < TPM_RECOVERY_MAX);
    assert_int_equal(
        tpm_recovery_open(sealed->text, strlen(sealed->text), sealed->recovery, &owner, &lockout),
        ESCROW_OK);
    assert_true(secret_equal(owner, sealed->owner));
    assert_true(secret_equal(lockout, sealed->lockout));
}

static void test_another_key(void **state)
{
    const struct sealed *sealed = *state;
    CLEANUP(key_free_p) EVP_PKEY *stranger = key_generate();

    assert_int_equal(open_text(sealed->text, strlen(sealed->text), stranger), ESCROW_ERR_CRYPTO);
}

/* Every byte is covered, by an integrity value or by the strictness of the form. */
static void test_every_altered_byte(void **state)
{
    const struct sealed *sealed = *state;

    for (size_t i = 0; sealed->text[i]; i++) {
        CLEANUP(cleanup_free) char *text = strdup(sealed->text);

        text[i] = text[i] == 'A' ? 'B' : 'A';
        assert_int_not_equal(open_text(text, strlen(text), sealed->recovery), ESCROW_OK);
    }
}

static void test_form(void **state)
{
    const struct sealed *sealed = *state;
    CLEANUP(json_free_p) json_t *document = NULL;
    CLEANUP(cleanup_free) char *more = NULL;

    assert_int_equal(open_text("{}", 2, sealed->recovery), ESCROW_ERR_MALFORMED);
    assert_int_equal(open_text(sealed->text, strlen(sealed->text) - 1, sealed->recovery),
                     ESCROW_ERR_MALFORMED);
    assert_int_equal(json_parse(sealed->text, strlen(sealed->text), TPM_RECOVERY_MAX, &document),
                     ESCROW_OK);
    assert_int_equal(json_object_set_new(document, "more", json_true()), 0);
    more = json_text(document);
    assert_int_equal(open_text(more, strlen(more), sealed->recovery), ESCROW_ERR_MALFORMED);
}

static void test_sizes(void **state)
{
    const struct sealed *sealed = *state;
    CLEANUP(secret_free_p) struct secret *other = secret_random(TPM_AUTH_BYTES - 1);
    CLEANUP(cleanup_free) char *text = NULL;
    struct ec_point point;

    assert_int_equal(key_point(sealed->recovery, &point), ESCROW_OK);
    assert_int_equal(tpm_recovery_seal(sealed->owner, other, &point, &text), ESCROW_ERR_MALFORMED);
    assert_int_equal(tpm_recovery_seal(other, sealed->lockout, &point, &text),
                     ESCROW_ERR_MALFORMED);
    assert_null(text);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_opens), TEST(test_another_key), TEST(test_every_altered_byte),
        TEST(test_form),  TEST(test_sizes),
    };

    if (secret_heap_init() != ESCROW_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
