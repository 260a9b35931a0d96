/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_places.h"

#include <stdlib.h>

struct agent_places {
    size_t taken;
    TAILQ_HEAD(agent_place_list, agent_place) waiting; /* who came first is the first */
    struct event *give;
};

static bool is_free(const struct agent_places *places)
{
    return places->taken < AGENT_PLACES;
}

static void take(struct agent_places *places, struct agent_place *place)
{
    place->is_taken = true;
    places->taken++;
}

static void stop_waiting(struct agent_places *places, struct agent_place *place)
{
    place->is_waiting = false;
    TAILQ_REMOVE(&places->waiting, place, next);
}

static void on_give(evutil_socket_t fd, short what, void *argument)
{
    struct agent_places *places = argument;
    struct agent_place *place;

    (void)fd;
    (void)what;
    while (is_free(places) && (place = TAILQ_FIRST(&places->waiting))) {
        stop_waiting(places, place);
        take(places, place);
        place->on_given(place->argument);
    }
}

enum escrow_err agent_places_new(struct event_base *base, struct agent_places **ret_places)
{
    struct agent_places *places = calloc(1, sizeof(*places));

    if (!places)
        return ESCROW_ERR_NO_MEMORY;
    TAILQ_INIT(&places->waiting);
    places->give = event_new(base, -1, 0, on_give, places);
    if (!places->give) {
        free(places);
        return ESCROW_ERR_NO_MEMORY;
    }
    *ret_places = places;
    return ESCROW_OK;
}

void agent_places_free(struct agent_places *places)
{
    if (!places)
        return;
    event_free(places->give);
    free(places);
}

bool agent_places_take(struct agent_places *places, struct agent_place *place)
{
    if (place->is_taken || place->is_waiting)
        return place->is_taken;
    if (is_free(places) && TAILQ_EMPTY(&places->waiting)) {
        take(places, place);
    } else {
        place->is_waiting = true;
        TAILQ_INSERT_TAIL(&places->waiting, place, next);
    }
    return place->is_taken;
}

void agent_places_leave(struct agent_places *places, struct agent_place *place)
{
    if (place->is_waiting)
        stop_waiting(places, place);
    if (!place->is_taken)
        return;
    place->is_taken = false;
    places->taken--;
    /* Not from here: whoever leaves may be one of several who are told to. */
    if (!TAILQ_EMPTY(&places->waiting))
        event_active(places->give, EV_TIMEOUT, 0);
}

bool agent_places_have_room(const struct agent_places *places)
{
    return places->taken < AGENT_PLACES / 2 && TAILQ_EMPTY(&places->waiting);
}
