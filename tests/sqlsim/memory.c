/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *pointer)
{
    if (!pointer) {
        fputs("sqlsim: no memory\n", stderr);
        abort();
    }
    return pointer;
}

void *memory_new(size_t size)
{
    return checked(calloc(1, size));
}

void *memory_grow(void *pointer, size_t count, size_t size)
{
    return checked(reallocarray(pointer, count, size));
}

char *memory_copy(const char *text)
{
    return checked(strdup(text));
}

char *memory_copy_part(const char *text, size_t len)
{
    return checked(strndup(text, len));
}

char *memory_format(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;

    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    return checked(text);
}
