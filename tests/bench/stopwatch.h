/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Times of repeated operations, for benches: taken one by one, printed as one JSON object. */

/* Microseconds of CLOCK_MONOTONIC. */
int64_t stopwatch_us(void);
/* Microseconds of processor time that this process has had. */
int64_t stopwatch_cpu_us(void);

/*
 * Prints {"count", "seconds", "per_s", "p50_us", "p99_us"} of count times; seconds is how long all
 * of them took together, which is less than their sum where they overlapped. Sorts times.
 */
void stopwatch_print(int64_t *times_us, size_t count, int64_t total_us);
