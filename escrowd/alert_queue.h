/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Alerts that wait to be delivered. Those of one event, group and reason are one topic: at most one
 * of a topic in a minute, the latest one, with how many came before it. Bounded: where there are
 * too many topics, the one that has waited longest is lost. Each says how many before it were not
 * delivered. Knows no clock and no process; now_ms is any that never goes back.
 */

#define ALERT_TOPICS_MAX 256
#define ALERT_PERIOD_MS 60000

struct alert_queue;

struct alert_numbers {
    size_t waiting;
    uint64_t suppressed; /* so far: one of the same topic came after it */
    uint64_t lost;       /* so far: no room or no memory */
};

/* NULL without memory. */
struct alert_queue *alert_queue_new(void);
void alert_queue_free(struct alert_queue *queue);
CLEANUP_FUNCTION(alert_queue_free_p, struct alert_queue, alert_queue_free)

/* Takes an alert_json; NULL, for want of memory, is one that is lost. */
void alert_queue_add(struct alert_queue *queue, json_t *alert, int64_t now_ms);
/*
 * The text of the next one that is due, or with is_last of the next one at all; owned by the
 * caller. NULL: there is none. It has "suppressed" and "undelivered" more than alert_json gave it.
 */
char *alert_queue_take(struct alert_queue *queue, int64_t now_ms, bool is_last);
/* One that was taken was not delivered: the next one says so. */
void alert_queue_missed(struct alert_queue *queue);

void alert_queue_numbers(const struct alert_queue *queue, struct alert_numbers *ret_numbers);
