/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Ownership by scope (gcc and clang): a variable declared with CLEANUP(f) is handed to f by address
 * when it goes out of scope; TAKE moves a pointer out, so that the cleanup finds NULL.
 */
#define CLEANUP(function) __attribute__((cleanup(function)))
#define MUST_CHECK __attribute__((warn_unused_result))
#define TAKE(pointer)                                                                              \
    __extension__({                                                                                \
        __typeof__(pointer) taken_ = (pointer);                                                    \
        (pointer) = NULL;                                                                          \
        taken_;                                                                                    \
    })

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* CLEANUP_FUNCTION(name_p, type, free): defines name_p(type **), which frees and is safe on NULL.
 */
#define CLEANUP_FUNCTION(name, type, release)                                                      \
    static inline void name(type **pointer)                                                        \
    {                                                                                              \
        if (*pointer)                                                                              \
            release(*pointer);                                                                     \
        *pointer = NULL;                                                                           \
    }

void cleanup_free(void *pointer_to_pointer); /* free(), for any pointer type */
void cleanup_close(int *fd);                 /* close() unless it is negative */
