/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A test for each row of a table, named after it, all with one fixture. */

/* What such a test finds in *state. */
struct row_state {
    void *fixture;
    size_t index; /* of the row */
};

__attribute__((format(printf, 3, 4))) void row_test_add(CMUnitTestFunction function, size_t index,
                                                        const char *format, ...);
/* setup and teardown as of cmocka, of the fixture. Returns what main returns. */
int row_test_run(int (*setup)(void **state), int (*teardown)(void **state));
