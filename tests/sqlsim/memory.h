/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/*
 * Allocation for sqlsim only. A test double that has no memory has no meaningful answer, so these
 * end the process instead of returning NULL, and its other modules stay free of that case.
 */
void *memory_new(size_t size); /* zeroed; free() it */
void *memory_grow(void *pointer, size_t count, size_t size);
char *memory_copy(const char *text);
char *memory_copy_part(const char *text, size_t len); /* adds the NUL */
__attribute__((format(printf, 1, 2))) char *memory_format(const char *format, ...);
