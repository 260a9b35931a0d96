/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/nonce.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define START_MS 1000

static const struct nonce_binding binding = {
    .identity = "spiffe://corp.example/sql1",
    .act = ACT_RELEASE,
    .purpose = PURPOSE_PROMOTE,
    .subject = {.group = "AG1", .database = "SSISDB"},
};

static int set_up(void **state)
{
    *state = nonces_new();
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    nonces_free(*state);
    return 0;
}

static void test_good_once(void **state)
{
    uint8_t nonce[ACT_NONCE_BYTES], other[ACT_NONCE_BYTES];

    assert_int_equal(nonces_issue(*state, &binding, START_MS, nonce), ESCROW_OK);
    assert_int_equal(nonces_issue(*state, &binding, START_MS, other), ESCROW_OK);
    assert_memory_not_equal(nonce, other, sizeof(nonce));
    assert_int_equal(nonces_take(*state, nonce, &binding, START_MS), ESCROW_OK);
    assert_int_equal(nonces_take(*state, nonce, &binding, START_MS), ESCROW_ERR_DENIED);
    assert_int_equal(nonces_take(*state, other, &binding, START_MS), ESCROW_OK);
}

static void test_expires(void **state)
{
    uint8_t nonce[ACT_NONCE_BYTES];

    assert_int_equal(nonces_issue(*state, &binding, START_MS, nonce), ESCROW_OK);
    assert_int_equal(nonces_take(*state, nonce, &binding, START_MS + NONCE_TTL_MS),
                     ESCROW_ERR_DENIED);
    assert_int_equal(nonces_issue(*state, &binding, START_MS, nonce), ESCROW_OK);
    assert_int_equal(nonces_take(*state, nonce, &binding, START_MS + NONCE_TTL_MS - 1), ESCROW_OK);
}

static void test_bound_to_everything(void **state)
{
    struct nonce_binding others[5];
    uint8_t nonce[ACT_NONCE_BYTES];

    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        others[i] = binding;
    others[0].identity = "spiffe://corp.example/sql2";
    others[1].act = ACT_RECEIPT;
    others[2].purpose = PURPOSE_DRILL;
    others[3].subject.group[0] = 'B';
    others[4].subject.database[0] = 'T';
    assert_int_equal(nonces_issue(*state, &binding, START_MS, nonce), ESCROW_OK);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_int_equal(nonces_take(*state, nonce, &others[i], START_MS), ESCROW_ERR_DENIED);
    assert_int_equal(nonces_take(*state, nonce, &binding, START_MS), ESCROW_OK);
}

/* Whoever asks for many ends his own oldest ones, and nobody is refused for it. */
static void test_the_oldest_gives_way(void **state)
{
    uint8_t first[ACT_NONCE_BYTES], second[ACT_NONCE_BYTES], nonce[ACT_NONCE_BYTES];
    struct nonce_binding other = binding;
    uint8_t others[ACT_NONCE_BYTES];

    other.identity = "spiffe://corp.example/sql2";
    assert_int_equal(nonces_issue(*state, &other, START_MS, others), ESCROW_OK);
    assert_int_equal(nonces_issue(*state, &binding, START_MS, first), ESCROW_OK);
    assert_int_equal(nonces_issue(*state, &binding, START_MS, second), ESCROW_OK);
    for (int i = 2; i <= NONCES_PER_IDENTITY; i++)
        assert_int_equal(nonces_issue(*state, &binding, START_MS, nonce), ESCROW_OK);
    assert_int_equal(nonces_take(*state, first, &binding, START_MS), ESCROW_ERR_DENIED);
    assert_int_equal(nonces_take(*state, second, &binding, START_MS), ESCROW_OK);
    assert_int_equal(nonces_take(*state, nonce, &binding, START_MS), ESCROW_OK);
    assert_int_equal(nonces_take(*state, others, &other, START_MS), ESCROW_OK);
}

static void test_bounded(void **state)
{
    uint8_t nonce[ACT_NONCE_BYTES];
    char identity[64];
    struct nonce_binding other = binding;

    other.identity = identity;
    for (int i = 0; i < NONCES_MAX; i++) {
        snprintf(identity, sizeof(identity), "spiffe://corp.example/%d", i);
        assert_int_equal(nonces_issue(*state, &other, START_MS + i, nonce), ESCROW_OK);
    }
    other.identity = "spiffe://corp.example/one-more";
    assert_int_equal(nonces_issue(*state, &other, START_MS, nonce), ESCROW_ERR_UNAVAILABLE);
    assert_int_equal(nonces_issue(*state, &other, START_MS + NONCE_TTL_MS, nonce), ESCROW_OK);
    assert_int_equal(nonces_issue(*state, &other, START_MS + NONCE_TTL_MS, nonce),
                     ESCROW_ERR_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_expires, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bound_to_everything, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_oldest_gives_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bounded, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
