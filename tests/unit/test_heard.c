/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/heard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_last(void **state)
{
    struct heard *heard = heard_new();

    (void)state;
    assert_non_null(heard);
    assert_int_equal(heard_last(heard, 7), 0);
    heard_note(heard, 7, 1000);
    heard_note(heard, 8, 2000);
    assert_int_equal(heard_last(heard, 7), 1000);
    heard_note(heard, 7, 3000);
    assert_int_equal(heard_last(heard, 7), 3000);
    assert_int_equal(heard_last(heard, 8), 2000);
    heard_free(heard);
}

/* Whoever is pushed out of its place is not known, and never taken for another. */
static void test_places(void **state)
{
    struct heard *heard = heard_new();

    (void)state;
    assert_non_null(heard);
    for (uint64_t i = 1; i <= 1000; i++)
        heard_note(heard, i, (int64_t)i);
    for (uint64_t i = 1; i <= 1000; i++)
        assert_int_equal(heard_last(heard, i), i > 1000 - 256 ? i : 0);
    heard_free(heard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_last), cmocka_unit_test(test_places)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
