/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/log.h"
#include "libescrow/secret.h"

#include <openssl/crypto.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_lives_in_the_secure_heap(void **state)
{
    CLEANUP(secret_free_p) struct secret *secret = secret_from("correct horse", 13);

    (void)state;
    assert_non_null(secret);
    assert_int_equal(secret->len, 13);
    assert_true(CRYPTO_secure_allocated(secret));
}

static void test_full_heap_gives_null_not_plain_memory(void **state)
{
    struct secret *taken[16] = {NULL};
    size_t count = 0;

    (void)state;
    while (count < ARRAY_LEN(taken) && (taken[count] = secret_new(65000)) != NULL)
        count++;
    assert_true(count > 0 && count < ARRAY_LEN(taken));
    for (size_t i = 0; i < count; i++)
        secret_free(taken[i]);
}

static void test_freed_bytes_are_wiped(void **state)
{
    struct secret *secret = secret_from("correct horse battery staple", 28);
    const uint8_t *where = secret->bytes + 16; /* past what the free list writes */
    uint8_t zero[12] = {0};

    (void)state;
    assert_memory_equal(where, "ttery staple", 12);
    secret_free(secret);
    /* The block stays mapped: the secure heap is one arena. */
    assert_memory_equal(where, zero, sizeof(zero));
}

static void test_equal(void **state)
{
    CLEANUP(secret_free_p) struct secret *a = secret_from("one", 3);
    CLEANUP(secret_free_p) struct secret *b = secret_from("one", 3);
    CLEANUP(secret_free_p) struct secret *c = secret_from("two", 3);
    CLEANUP(secret_free_p) struct secret *d = secret_from("on", 2);

    (void)state;
    assert_true(secret_equal(a, b));
    assert_false(secret_equal(a, c));
    assert_false(secret_equal(a, d));
}

static void test_sizes(void **state)
{
    CLEANUP(secret_free_p) struct secret *random = secret_random(32);
    uint8_t zero[32] = {0};

    (void)state;
    assert_non_null(random);
    assert_memory_not_equal(random->bytes, zero, 32);
    assert_null(secret_new(0));
    assert_null(secret_new(65537));
}

/* In a process that may lock no memory: the first answer, and the second one. */
static int without_memlock(void)
{
    const struct rlimit nothing = {0, 0};
    pid_t pid = fork();
    enum escrow_err first, second;
    int status;

    if (pid == 0) {
        /* Root could lock in spite of the limit. */
        if (setrlimit(RLIMIT_MEMLOCK, &nothing) != 0 || (geteuid() == 0 && setuid(65534) != 0))
            _exit(2);
        log_init("test", 0);
        first = secret_heap_init();
        second = secret_heap_init();
        _exit(first == ESCROW_ERR_SYSTEM && second == ESCROW_ERR_SYSTEM && !secret_new(1) ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status)
                                                                           : -1;
}

static int unlocked_status; /* of the above, which must run before this process has its heap */

static void test_a_heap_that_cannot_be_locked_is_none(void **state)
{
    (void)state;
    assert_int_equal(unlocked_status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lives_in_the_secure_heap),
        cmocka_unit_test(test_full_heap_gives_null_not_plain_memory),
        cmocka_unit_test(test_freed_bytes_are_wiped),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_a_heap_that_cannot_be_locked_is_none),
    };

    unlocked_status = without_memlock();
    if (secret_heap_init() != ESCROW_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
