/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/nonce.h"

#include <openssl/rand.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define START_MS 1000
/* Of names, for one issue or use with NONCES_MAX identities in the table: a few walks of a tree. */
#define COMPARISONS_MAX 100

/* The linker puts these in the place of the real ones (--wrap, CMakeLists.txt). */
int __real_RAND_bytes(unsigned char *bytes, int count);
int __wrap_RAND_bytes(unsigned char *bytes, int count);
int __real_strcmp(const char *a, const char *b);
int __wrap_strcmp(const char *a, const char *b);

static bool is_without_randomness;
static size_t comparisons;

int __wrap_RAND_bytes(unsigned char *bytes, int count)
{
    return is_without_randomness ? 0 : __real_RAND_bytes(bytes, count);
}

int __wrap_strcmp(const char *a, const char *b)
{
    comparisons++;
    return __real_strcmp(a, b);
}

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
    for (size_t i = 0; i < sizeof(nonce); i++) {
        nonce[i] ^= 1;
        assert_int_equal(nonces_take(*state, nonce, &binding, START_MS), ESCROW_ERR_DENIED);
        nonce[i] ^= 1;
    }
    assert_int_equal(nonces_take(*state, nonce, &binding, START_MS), ESCROW_OK);
    assert_int_equal(nonces_take(*state, nonce, &binding, START_MS), ESCROW_ERR_DENIED);
    assert_int_equal(nonces_take(*state, other, &binding, START_MS), ESCROW_OK);
}

/* All 256 bits are random: over many nonces no byte stays zero. */
static void test_every_byte_is_random(void **state)
{
    uint8_t nonce[ACT_NONCE_BYTES], seen[ACT_NONCE_BYTES] = {0};

    for (int i = 0; i < 16; i++) {
        assert_int_equal(nonces_issue(*state, &binding, START_MS, nonce), ESCROW_OK);
        for (size_t j = 0; j < sizeof(nonce); j++)
            seen[j] |= nonce[j];
    }
    for (size_t j = 0; j < sizeof(seen); j++)
        assert_int_not_equal(seen[j], 0);
}

static void test_longest_identity(void **state)
{
    char identity[IDENTITY_MAX + 2];
    struct nonce_binding other = binding;
    uint8_t nonce[ACT_NONCE_BYTES];

    other.identity = identity;
    memset(identity, 'a', sizeof(identity));
    identity[IDENTITY_MAX] = '\0';
    assert_int_equal(nonces_issue(*state, &other, START_MS, nonce), ESCROW_OK);
    assert_int_equal(nonces_take(*state, nonce, &other, START_MS), ESCROW_OK);
    identity[IDENTITY_MAX] = 'a';
    identity[IDENTITY_MAX + 1] = '\0';
    assert_int_equal(nonces_issue(*state, &other, START_MS, nonce), ESCROW_ERR_MALFORMED);
    assert_int_equal(nonces_take(*state, nonce, &other, START_MS), ESCROW_ERR_DENIED);
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

static struct nonce_binding binding_of(int identity, char ret_identity[static 64])
{
    struct nonce_binding other = binding;

    snprintf(ret_identity, 64, "spiffe://corp.example/%d", identity);
    other.identity = ret_identity;
    return other;
}

static enum escrow_err issue(struct nonces *nonces, int identity, int64_t now_ms,
                             uint8_t ret_nonce[static ACT_NONCE_BYTES])
{
    char name[64];
    const struct nonce_binding other = binding_of(identity, name);

    return nonces_issue(nonces, &other, now_ms, ret_nonce);
}

static enum escrow_err take(struct nonces *nonces, int identity, int64_t now_ms,
                            const uint8_t nonce[static ACT_NONCE_BYTES])
{
    char name[64];
    const struct nonce_binding other = binding_of(identity, name);

    return nonces_take(nonces, nonce, &other, now_ms);
}

/* Many identities that ask without end fill the table, and nobody else is refused or loses one. */
static void test_many_identities_keep_nobody_out(void **state)
{
    uint8_t mine[2][ACT_NONCE_BYTES], nonce[ACT_NONCE_BYTES];

    assert_int_equal(nonces_issue(*state, &binding, START_MS, mine[0]), ESCROW_OK);
    for (int i = 0; i < NONCES_MAX; i++)
        assert_int_equal(issue(*state, i % (NONCES_MAX / NONCES_PER_IDENTITY), START_MS, nonce),
                         ESCROW_OK);
    assert_int_equal(nonces_issue(*state, &binding, START_MS, mine[1]), ESCROW_OK);
    for (int i = 0; i < NONCES_MAX / NONCES_PER_IDENTITY; i++)
        assert_int_equal(issue(*state, i % (NONCES_MAX / NONCES_PER_IDENTITY), START_MS, nonce),
                         ESCROW_OK);
    assert_int_equal(nonces_take(*state, mine[0], &binding, START_MS), ESCROW_OK);
    assert_int_equal(nonces_take(*state, mine[1], &binding, START_MS), ESCROW_OK);
}

/* One each: the oldest of all gives way. */
static void test_bounded(void **state)
{
    uint8_t first[ACT_NONCE_BYTES], second[ACT_NONCE_BYTES], nonce[ACT_NONCE_BYTES];

    assert_int_equal(issue(*state, 0, START_MS, first), ESCROW_OK);
    assert_int_equal(issue(*state, 1, START_MS, second), ESCROW_OK);
    for (int i = 2; i <= NONCES_MAX; i++)
        assert_int_equal(issue(*state, i, START_MS, nonce), ESCROW_OK);
    assert_int_equal(take(*state, 0, START_MS, first), ESCROW_ERR_DENIED);
    assert_int_equal(take(*state, 1, START_MS, second), ESCROW_OK);
    assert_int_equal(take(*state, NONCES_MAX, START_MS, nonce), ESCROW_OK);
}

/* What was used takes no room: not after a year of challenges either. */
static void test_room_is_given_back(void **state)
{
    uint8_t nonce[ACT_NONCE_BYTES];

    for (int i = 0; i < NONCES_MAX + 2; i++) {
        assert_int_equal(nonces_issue(*state, &binding, START_MS, nonce), ESCROW_OK);
        assert_int_equal(nonces_take(*state, nonce, &binding, START_MS), ESCROW_OK);
    }
}

/* Nor does what has expired: one that is still good does not give way beside it. */
static void test_expired_gives_way_first(void **state)
{
    const int64_t later_ms = START_MS + NONCE_TTL_MS;
    uint8_t mine[2][ACT_NONCE_BYTES], nonce[ACT_NONCE_BYTES];

    for (int i = 2; i < NONCES_MAX; i++)
        assert_int_equal(issue(*state, i, START_MS, nonce), ESCROW_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(nonces_issue(*state, &binding, later_ms - 1, mine[i]), ESCROW_OK);
    assert_int_equal(issue(*state, 0, later_ms, nonce), ESCROW_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(nonces_take(*state, mine[i], &binding, later_ms), ESCROW_OK);
}

/* The identity's oldest gives way to a nonce that there is, not to one that could not be made. */
static void test_without_randomness_none_gives_way(void **state)
{
    uint8_t first[ACT_NONCE_BYTES], nonce[ACT_NONCE_BYTES];
    enum escrow_err err;

    assert_int_equal(nonces_issue(*state, &binding, START_MS, first), ESCROW_OK);
    for (int i = 1; i < NONCES_PER_IDENTITY; i++)
        assert_int_equal(nonces_issue(*state, &binding, START_MS, nonce), ESCROW_OK);
    is_without_randomness = true;
    err = nonces_issue(*state, &binding, START_MS, nonce);
    is_without_randomness = false;
    assert_int_equal(err, ESCROW_ERR_CRYPTO);
    assert_int_equal(nonces_take(*state, first, &binding, START_MS), ESCROW_OK);
}

/* The worst table: as many identities as it has room for, with one nonce each. */
static void test_a_full_table_is_not_slow(void **state)
{
    uint8_t nonce[ACT_NONCE_BYTES];

    for (int i = 0; i < NONCES_MAX; i++)
        assert_int_equal(issue(*state, i, START_MS, nonce), ESCROW_OK);
    for (int i = NONCES_MAX; i < NONCES_MAX + 100; i++) {
        comparisons = 0;
        assert_int_equal(issue(*state, i, START_MS, nonce), ESCROW_OK);
        assert_in_range(comparisons, 1, COMPARISONS_MAX);
        comparisons = 0;
        assert_int_equal(take(*state, i, START_MS, nonce), ESCROW_OK);
        assert_in_range(comparisons, 1, COMPARISONS_MAX);
        assert_int_equal(issue(*state, i, START_MS, nonce), ESCROW_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_byte_is_random, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_longest_identity, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_expires, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bound_to_everything, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_oldest_gives_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_identities_keep_nobody_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_room_is_given_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_expired_gives_way_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_randomness_none_gives_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_full_table_is_not_slow, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
