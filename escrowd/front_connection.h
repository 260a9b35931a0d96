/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/front_body.h"
#include "escrowd/front_crowd.h"
#include "escrowd/front_order.h"
#include "escrowd/front_scan.h"
#include "escrowd/ipc_messages.h"
#include "libescrow/tls.h"

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>

/*
 * The TLS connections of clients: how many there may be, and until when. evhttp has neither limit,
 * and it serves plaintext when it gets no bufferevent for a new connection. So the TLS of the next
 * connection is always made beforehand, and the listener is enabled only while it is there: what
 * has no TLS ready is not accepted, and waits in the kernel.
 *
 * Where all places are taken, the oldest stranger (escrowd/front_crowd.h) gives way to the next
 * connection, so that those who connect and say nothing keep nobody out. Each has a quarter of a
 * second for its handshake before that; until then, and where there is no stranger, the next
 * connection waits. The same among the connections of one identity, which may be in two hands:
 * where it has too many, the oldest one whose client waits for no reply gives way; where all wait,
 * the oldest one that waits for people (front_route_waits), so that no release waits behind those.
 *
 * Who is served before whom: escrowd/front_order.h. What may come and go: escrowd/front_wire.h.
 */

struct front_connections;
struct front_counts;
struct front_exchange;

struct front_connection {
    struct front_member member; /* its identity: later requests must have it too */
    struct front_connections *owner;
    struct bufferevent *bufferevent;
    int fd;                       /* of the bufferevent, or -1 */
    SSL *ssl;                     /* of the bufferevent; lives exactly as long as this struct */
    struct tls *tls;              /* that the SSL was made from */
    struct tls_verified verified; /* the peer, by what came after that */
    struct event *deadline;
    struct front_place place;
    enum front_scan_state scan;
    size_t head_len;                /* bytes of the request's head so far */
    char line[FRONT_LINE_BYTES];    /* the first of them */
    struct front_exchange *pending; /* the request that waits for its reply, or NULL */
    enum route route;               /* of the current request; 0: none of ours */
    int64_t began_us;               /* when it was there, by metric_now_us */
    bool lacks_place;               /* for a large body */
    bool has_place;                 /* in the order in which connections are served */
    bool is_ending;                 /* with this reply; evhttp would go on after CONNECT */
    bool is_refused;                /* and counted */
    bool is_answering;              /* what is written now is ours, not evhttp's */
};

struct front_connections_config {
    struct event_base *base;
    struct tls *tls; /* of the first connections: front_connections_renew */
    struct front_counts *counts;
    size_t limit;
    size_t limit_per_identity;
    int64_t deadline_ms;
    /* The deadline passed while a request waits for its reply: reply now. */
    void (*on_late)(struct front_connection *connection, void *argument);
    /* Its request, which waits for people, is to give way: reply now, as the last one. */
    void (*on_yield)(struct front_connection *connection, void *argument);
    /* It broke while a request waits. */
    void (*on_lost)(struct front_connection *connection, void *argument);
    /* Something was refused; identity is "" where no certificate was verified. */
    void (*on_refused)(const char *identity, enum reason reason, void *argument);
    /* No connection is left after front_connections_stop. */
    void (*on_none)(void *argument);
    void *argument;
};

/*
 * Serves listener_fd (taken) through http. At the end: front_connections_stop, evhttp_free, one
 * turn of the loop, front_connections_free, event_base_free.
 */
MUST_CHECK enum escrow_err front_connections_new(const struct front_connections_config *config,
                                                 struct evhttp *http, int listener_fd,
                                                 struct front_connections **ret_connections);
void front_connections_free(struct front_connections *connections);

/* The connection of a request and its TLS; NULL if it has none: then nothing may be answered. */
struct front_connection *front_connection_of(struct front_connections *connections,
                                             struct evhttp_request *request, SSL **ret_ssl);

/* From now on connections are made from tls, which the owner may free then. */
void front_connections_renew(struct front_connections *connections, struct tls *tls);

/* Now and then: lets the next connection in, where even a timer to try that again was lacking. */
void front_connections_tick(struct front_connections *connections);

/*
 * False if this identity has too many connections whose clients wait for replies, and none of them
 * for people, or this connection had another identity.
 */
bool front_connection_identify(struct front_connection *connection, const char *identity);

/* Ends it, in whatever state it is; it goes when evhttp has found out. */
void front_connection_close(struct front_connection *connection);

/* A place for a large body, if its client has shown a good certificate and there is one. */
bool front_connection_take_body(struct front_connection *connection);

/* Counts a refusal. */
void front_connection_refused(struct front_connection *connection, enum reason reason);

/* The absolute deadline, from now: as configured, and later than that. */
void front_connection_arm(struct front_connection *connection, uint64_t later_ms);

/* An answer to the current request is on its way. */
void front_connection_count(const struct front_connection *connection, int status,
                            enum reason reason);

/* The reply was sent; the next request may come. */
void front_connection_next(struct front_connection *connection);

/* Bytes that came behind the current request before its reply: nobody of ours sends any. */
size_t front_connection_unread(const struct front_connection *connection);

/* The client has sent on while its request waits, and not just said goodbye. */
bool front_connection_has_more(const struct front_connection *connection);

/* Accepts no more; closes what is idle, the others when their reply has been sent. */
void front_connections_stop(struct front_connections *connections);
