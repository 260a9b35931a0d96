/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/metric.h"

#include "libescrow/encode.h"

#include <openssl/sha.h>

#include <inttypes.h>
#include <string.h>
#include <time.h>

static const struct {
    int64_t microseconds;
    const char *seconds;
} bounds[METRIC_BOUNDS] = {
    {500, "0.0005"}, {1000, "0.001"}, {2500, "0.0025"}, {5000, "0.005"}, {10000, "0.01"},
    {50000, "0.05"}, {100000, "0.1"}, {500000, "0.5"},  {2000000, "2"},  {10000000, "10"},
};

void metric_family(FILE *out, const char *name, enum metric_type type, const char *help)
{
    static const char *const words[] = {"counter", "gauge", "histogram"};

    fprintf(out, "# HELP escrowd_%s %s\n# TYPE escrowd_%s %s\n", name, help, name, words[type]);
}

static void begin(FILE *out, const char *name, const char *labels)
{
    if (*labels)
        fprintf(out, "escrowd_%s{%s} ", name, labels);
    else
        fprintf(out, "escrowd_%s ", name);
}

void metric_number(FILE *out, const char *name, const char *labels, int64_t value)
{
    begin(out, name, labels);
    fprintf(out, "%" PRId64 "\n", value);
}

void metric_seconds(FILE *out, const char *name, const char *labels, uint64_t microseconds)
{
    begin(out, name, labels);
    fprintf(out, "%" PRIu64 ".%06" PRIu64 "\n", microseconds / 1000000, microseconds % 1000000);
}

void metric_single(FILE *out, const char *name, enum metric_type type, const char *help,
                   int64_t value)
{
    metric_family(out, name, type, help);
    metric_number(out, name, "", value);
}

void metric_observe(struct metric_times *times, int64_t microseconds)
{
    size_t bound = 0;

    while (bound < METRIC_BOUNDS && microseconds > bounds[bound].microseconds)
        bound++;
    times->counts[bound]++;
    times->sum_us += microseconds > 0 ? (uint64_t)microseconds : 0;
}

void metric_times_write(FILE *out, const char *name, const char *labels,
                        const struct metric_times *times)
{
    const char *comma = *labels ? "," : "";
    uint64_t count = 0;
    char sample[64];

    for (size_t i = 0; i <= METRIC_BOUNDS; i++) {
        count += times->counts[i];
        fprintf(out, "escrowd_%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", name, labels, comma,
                i < METRIC_BOUNDS ? bounds[i].seconds : "+Inf", count);
    }
    snprintf(sample, sizeof(sample), "%s_sum", name);
    metric_seconds(out, sample, labels, times->sum_us);
    snprintf(sample, sizeof(sample), "%s_count", name);
    metric_number(out, sample, labels, (int64_t)count);
}

void metric_id(const char *name, char ret_id[static METRIC_ID + 1])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];

    SHA256((const uint8_t *)name, strlen(name), digest);
    hex_encode(digest, METRIC_ID / 2, ret_id);
}

int64_t metric_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
