/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/plain/row_test.h"

#include <stdio.h>
#include <stdlib.h>

#define TESTS_MAX 192

static struct row_state states[TESTS_MAX];
static char names[TESTS_MAX][96];
static struct CMUnitTest tests[TESTS_MAX];
static size_t test_count;
static int (*make)(void **state), (*discard)(void **state);

void row_test_add(CMUnitTestFunction function, size_t index, const char *format, ...)
{
    va_list arguments;

    if (test_count == TESTS_MAX)
        abort();
    va_start(arguments, format);
    vsnprintf(names[test_count], sizeof(names[0]), format, arguments);
    va_end(arguments);
    states[test_count].index = index;
    tests[test_count] = (struct CMUnitTest){
        .name = names[test_count], .test_func = function, .initial_state = &states[test_count]};
    test_count++;
}

/* The group itself has no state: cmocka would hand that over instead of the tests' own. */
static int set_up(void **state)
{
    void *fixture = NULL;

    (void)state;
    if (make(&fixture) != 0)
        return -1;
    for (size_t i = 0; i < test_count; i++)
        states[i].fixture = fixture;
    return 0;
}

static int tear_down(void **state)
{
    void *fixture = states[0].fixture;

    (void)state;
    return discard(&fixture);
}

int row_test_run(int (*setup)(void **state), int (*teardown)(void **state))
{
    make = setup;
    discard = teardown;
    return _cmocka_run_group_tests("sandbox", tests, test_count, set_up, tear_down);
}
