/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <event2/bufferevent.h>
#include <event2/event.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * In which order front's one thread serves its connections. A handshake takes it ten times as long
 * as a request, so whoever makes new connections without end must not hold up those that are there:
 *
 *  1. connections that are known to be somebody's and ask little, and all that is no connection;
 *  2. handshakes of sources that have few of them in progress;
 *  3. the other handshakes, and connections that ask much: else these could keep handshakes out.
 *
 * Of 2 and 3 one step is done at a time before 1 is looked at again. Nobody is refused for it: many
 * may stand behind one address. A source is an IPv4 address or the /64 of an IPv6 one. Sources that
 * fall into the same row of a table are counted as one; which do is random and not to be foreseen.
 */
#define FRONT_ORDER_FEW 16    /* handshakes of a source in progress */
#define FRONT_ORDER_LITTLE 32 /* requests of a connection in a second */

struct front_order;

/* A connection's; {0} before front_order_enter. */
struct front_place {
    size_t row;
    bool is_counted; /* among the handshakes of its row */
    int64_t second_ms;
    unsigned asked; /* in that second */
};

/* The loop that such an order needs; NULL without memory. */
struct event_base *front_order_base_new(void);

/* NULL without memory or randomness. */
struct front_order *front_order_new(void);
void front_order_free(struct front_order *order);

/* A connection was accepted and nothing of it was read yet. */
void front_order_enter(struct front_order *order, struct front_place *place,
                       struct bufferevent *bufferevent);
/* It is known whose it is, and it asks for something; now is CLOCK_BOOTTIME. */
void front_order_ask(struct front_order *order, struct front_place *place,
                     struct bufferevent *bufferevent, int64_t now_ms);
/* It ends. */
void front_order_leave(struct front_order *order, struct front_place *place);
