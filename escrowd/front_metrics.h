/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/ipc_messages.h"
#include "escrowd/metric.h"

/*
 * What front counts of its own work. The counters live as long as the process; a restart of front
 * begins them anew, as Prometheus expects. Zeroed memory is a good start.
 */

#define FRONT_CLASSES 6 /* of the status: 200 is class 2 */

struct front_counts {
    /* By route; 0: a request that is none of our routes. */
    uint64_t answers[ROUTE_COUNT][FRONT_CLASSES];
    struct metric_times times[ROUTE_COUNT];
    uint64_t refusals[REASON_COUNT]; /* answers that were not what the client hoped for */

    uint64_t accepted;
    uint64_t open;
    uint64_t full;               /* how often the limit was reached */
    uint64_t handshake_failures; /* connections that ended before their handshake did */
    uint64_t keepers;            /* channels to a keeper so far */
};

/* An answer was sent; began_us: metric_now_us when its request was there. */
void front_counts_answer(struct front_counts *counts, enum route route, int status,
                         enum reason reason, int64_t began_us);

/* Their families, as metric.h has them. */
void front_metrics_write(FILE *out, const struct front_counts *counts);
