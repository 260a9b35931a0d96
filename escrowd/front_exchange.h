/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/front_connection.h"
#include "escrowd/front_metrics.h"
#include "escrowd/ipc_messages.h"

#include <event2/event.h>
#include <event2/http.h>

/*
 * Requests on their way to the keeper and back. Each gets exactly one reply: the keeper's, or 503
 * when the keeper is away, cannot take more, or did not answer in time. A reply that comes too late
 * has nobody to go to and is dropped.
 */

struct front_exchanges;
struct front_exchange;

struct front_exchanges_config {
    struct event_base *base;
    struct front_counts *counts;
    size_t limit; /* requests waiting at once */
    /* The answer to front_exchanges_observe; NULL: the keeper is away. */
    enum escrow_err (*on_observed)(const struct ipc_message *message, void *argument);
    /* The keeper sent what it must not: front cannot go on with it. */
    void (*on_broken)(void *argument);
    void *argument;
};

/* config is copied. ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err front_exchanges_new(const struct front_exchanges_config *config,
                                               struct front_exchanges **ret_exchanges);
/* Forgets what waits, without a reply: before evhttp_free. */
void front_exchanges_free(struct front_exchanges *exchanges);

/* The channel to a keeper that was just started (fd is taken); what waits for an older one ends. */
void front_exchanges_connect(struct front_exchanges *exchanges, int fd);

/* Tells the keeper what front serves with, if it is there. */
void front_exchanges_tell_served(struct front_exchanges *exchanges,
                                 const struct ipc_served *served);

/* Sends the request to the keeper, or replies with the reason why not. */
void front_exchange_start(struct front_exchanges *exchanges, struct front_connection *connection,
                          struct evhttp_request *http, const struct ipc_request *request);
/* Its deadline passed: 503. */
void front_exchange_expire(struct front_exchange *exchange);
/* Another one needs its place: 503, and the connection ends. */
void front_exchange_yield(struct front_exchange *exchange);
/* Its connection broke: no reply. */
void front_exchange_lose(struct front_exchange *exchange);
/*
 * Asks about the connection of every request that waits; one whose answer is not REASON_NONE is
 * refused with that reason, and its connection ends.
 */
void front_exchanges_recheck(struct front_exchanges *exchanges,
                             enum reason (*check)(struct front_connection *connection,
                                                  void *argument),
                             void *argument);
/* Ends the long polls, so that only what is being decided is waited for. */
void front_exchanges_stop(struct front_exchanges *exchanges);

bool front_exchanges_have_keeper(const struct front_exchanges *exchanges);
/*
 * Tells the keeper, which must be there, what was refused here. Errors as of ipc_channel_send: it
 * was not told.
 */
MUST_CHECK enum escrow_err front_exchanges_tell(struct front_exchanges *exchanges,
                                                const struct ipc_refused *refused);

/*
 * Asks the keeper how it is, unless it has not answered that yet; on_observed follows, if it ever
 * does. False: it is away.
 */
bool front_exchanges_observe(struct front_exchanges *exchanges);

/* Replies at once, without the keeper, and closes the connection if is_last. */
void front_refuse(struct front_connection *connection, struct evhttp_request *http,
                  enum reason reason, bool is_last);
