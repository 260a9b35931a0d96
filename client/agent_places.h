/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <event2/event.h>

#include <stdbool.h>
#include <sys/queue.h>

/*
 * How many workers of one identity are at work at once. An escrowd takes 16 connections of an
 * identity by default (escrowd(8)), closes the oldest idle one for the next, and refuses it where
 * none is idle: the workers of twenty databases that are promoted together would take their
 * connections from each other. So the others wait here, in the order in which they came, and each
 * begins when one ends. Nobody has or keeps a place who does not need it; that is for the caller.
 */
#define AGENT_PLACES 12 /* the rest is for connections that escrowd has not seen end yet */

struct agent_places;

/* Of one who may need a place; all zero but the last two at first. */
struct agent_place {
    TAILQ_ENTRY(agent_place) next;
    bool is_taken;
    bool is_waiting;
    void (*on_given)(void *argument); /* from the event loop: it has waited, and has a place now */
    void *argument;
};

/* All are free. ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err agent_places_new(struct event_base *base,
                                            struct agent_places **ret_places);
/* After the last one has left. NULL is allowed. */
void agent_places_free(struct agent_places *places);

/* True: it has one. Else it waits for one, at its old place if it did before. */
bool agent_places_take(struct agent_places *places, struct agent_place *place);
/* It needs none any more, whether or not it had one. */
void agent_places_leave(struct agent_places *places, struct agent_place *place);
/*
 * Whether one may be taken for what is not needed yet: half of them are kept for those who are at
 * work.
 */
bool agent_places_have_room(const struct agent_places *places);
