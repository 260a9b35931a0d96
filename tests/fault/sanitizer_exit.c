/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/sanitizer_exit.h"

#define OPTIONS_OF(number) "exitcode=" #number
#define OPTIONS(number) OPTIONS_OF(number)

/* NOLINTBEGIN(readability-identifier-naming): the sanitizers call them by these names */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return OPTIONS(SANITIZER_EXIT);
}

const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
    return OPTIONS(SANITIZER_EXIT);
}

const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return OPTIONS(SANITIZER_EXIT);
}

/* NOLINTEND(readability-identifier-naming) */
