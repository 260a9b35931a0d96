/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Numbers for Prometheus, in its text format 0.0.4. Each process counts its own events and writes
 * its own families, so that two texts one after the other are one text. What stands in a label is a
 * word of one of our tables or a metric_id: nothing that a peer chose, so their number is bounded,
 * and no name of a group, an instance or a database.
 */

#define METRIC_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* Begins a family; its samples follow. name without the "escrowd_" that all of them have. */
void metric_family(FILE *out, const char *name, enum metric_type type, const char *help);
/* A sample. labels as key="value",key="value"; "" for none. */
void metric_number(FILE *out, const char *name, const char *labels, int64_t value);
void metric_seconds(FILE *out, const char *name, const char *labels, uint64_t microseconds);
/* A family of a single sample without labels. */
void metric_single(FILE *out, const char *name, enum metric_type type, const char *help,
                   int64_t value);

/* How long something took. Starts from {0}. */
#define METRIC_BOUNDS 10
struct metric_times {
    uint64_t counts[METRIC_BOUNDS + 1]; /* not cumulative; the last one is beyond all bounds */
    uint64_t sum_us;
};

/* One more that took so long. */
void metric_observe(struct metric_times *times, int64_t microseconds);
/* The samples of a histogram, whose family was begun. */
void metric_times_write(FILE *out, const char *name, const char *labels,
                        const struct metric_times *times);

#define METRIC_ID 8
/* The first eight hex digits of the name's SHA-256: printf %s NAME | sha256sum | cut -c 1-8 */
void metric_id(const char *name, char ret_id[static METRIC_ID + 1]);

/* CLOCK_MONOTONIC, for metric_observe. */
int64_t metric_now_us(void);
