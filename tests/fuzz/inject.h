/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Failures of the functions that our code calls in other libraries: memory that is not there,
 * OpenSSL that refuses. The linker leads each call of a function F that has a line INJECT(F, ...)
 * to __wrap_F (ld's --wrap; CMake reads the names from those lines), which counts it and then fails
 * it as F would, or calls F. Calls from inside another shared library are not seen. Which calls
 * fail follows from the plan alone, so a run with the same input fails again in the same way.
 *
 * Not the injector of tests/fault, which is for roles that a test forks and steers while they run:
 * its order lies in shared memory, names a class of calls and a variant of their failure, and
 * reaches the libraries' own allocations. Here a call costs a counter, thousands of inputs a second
 * run in one process, and nothing of one may be left for the next. One core for both would be the
 * sum of both; common would be only the numbers drawn from a seed.
 */

#define INJECT_NEVER UINT64_MAX

struct inject_plan {
    uint64_t first;  /* this call fails, counted from 0; INJECT_NEVER: none, calls are counted */
    unsigned one_in; /* after it one call in so many fails; 0: no more */
    uint64_t seed;   /* of the numbers that choose them */
};

/* From here on calls count and fail by the plan, in all threads, until inject_stop. */
void inject_start(const struct inject_plan *plan);
/* Ends it; how many calls there were. */
uint64_t inject_stop(void);

/* While held, calls neither count nor fail: for what a target needs and does not test. */
void inject_hold(bool is_held);

/* How many calls failed since inject_start, and the name of the last one; NULL if none did. */
uint64_t inject_failures(void);
const char *inject_last(void);

/* The wraps ask: whether this call must fail. */
bool inject_now(const char *function);

/*
 * malloc for jansson (json_set_alloc_funcs), whose own calls are not seen: fails by the plan, but
 * for its parser, which does not survive that and which fails as a whole instead (json_loadb).
 */
void *inject_json_malloc(size_t len);

/* A number that follows from another one (splitmix64), and one from bytes (FNV-1a). */
uint64_t inject_mix(uint64_t number);
uint64_t inject_hash(const void *bytes, uint64_t len);

/*
 * INJECT(function, what a failure returns, type of the result, (parameters), (arguments)), for one
 * that has a prototype in a header. A name must stand on the line of its INJECT.
 */
#define INJECT(function, failure, result, parameters, arguments)                                   \
    result __wrap_##function parameters;                                                           \
    result __real_##function parameters;                                                           \
    result __wrap_##function parameters                                                            \
    {                                                                                              \
        return inject_now(#function) ? (failure) : __real_##function arguments;                    \
    }
