/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/reason.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Refusals that are counted instead of recorded, so that nobody can fill the log: those before an
 * identity is proved, and those of a proved identity beyond its quota. One summary for each source,
 * reason and minute. A source is what front says of the channel, "" where it has no identity. Front
 * counts what it refuses itself in one of these too, and tells the keeper once a second.
 */
#define REFUSALS_ROWS 256 /* sources and reasons counted apart; all others together */
#define REFUSALS_QUOTA 30 /* records of an identity in a minute */
#define REFUSALS_MINUTE_MS 60000

struct refusals;

/* One reason's minute, of one source. */
struct refusal_summary {
    const char *source; /* "": none is known, or they were too many to count apart */
    enum reason reason; /* of those that were too many the last */
    uint64_t count;
};

/* NULL without memory. */
struct refusals *refusals_new(void);
void refusals_free(struct refusals *refusals);

/* True if a refusal of this proved identity may have a record of its own; else count it. */
bool refusals_may_record(struct refusals *refusals, const char *source, int64_t now_ms);
/* Counts one, or as many as somebody else has counted. */
void refusals_count(struct refusals *refusals, const struct refusal_summary *summary,
                    int64_t now_ms);

/* Calls on_summary for every row whose minute is over (all: for every row), and forgets it. */
typedef void (*refusal_summary_fn)(const struct refusal_summary *summary, void *argument);
void refusals_flush(struct refusals *refusals, int64_t now_ms, bool all,
                    refusal_summary_fn on_summary, void *argument);
