/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/stopwatch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int64_t read_us(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t stopwatch_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t stopwatch_cpu_us(void)
{
    return read_us(CLOCK_PROCESS_CPUTIME_ID);
}

static int compare(const void *one, const void *other)
{
    const int64_t *a = one, *b = other;

    return (*a > *b) - (*a < *b);
}

/* The smallest time that this share of all (in percent) does not exceed. */
static int64_t percentile(const int64_t *sorted_us, size_t count, size_t percent)
{
    size_t rank = (count * percent + 99) / 100;

    return sorted_us[rank > 0 ? rank - 1 : 0];
}

void stopwatch_print(int64_t *times_us, size_t count, int64_t total_us)
{
    double seconds = (double)total_us / 1e6;

    if (count == 0) {
        puts("{\"count\": 0}");
        return;
    }
    qsort(times_us, count, sizeof(*times_us), compare);
    printf("{\"count\": %zu, \"seconds\": %.6f, \"per_s\": %.3f, \"p50_us\": %" PRId64
           ", \"p99_us\": %" PRId64 "}\n",
           count, seconds, (double)count / seconds, percentile(times_us, count, 50),
           percentile(times_us, count, 99));
}
