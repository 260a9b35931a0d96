/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front_connection.h"

#include "escrowd/clock.h"
#include "escrowd/front_metrics.h"
#include "escrowd/front_route.h"
#include "escrowd/front_wire.h"
#include "libescrow/cleanup.h"
#include "libescrow/log.h"

#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <openssl/err.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RETRY_MS 100
#define GRACE_MS 250 /* less than a second */

struct front_connections {
    struct front_connections_config config;
    struct evhttp *http;
    struct evhttp_bound_socket *listener;
    struct event *retry;
    struct front_order *order;
    struct event *place; /* runs after connections were accepted */
    int ssl_index;
    struct front_connection *spare; /* the TLS of the next connection */
    struct front_crowd crowd;
    struct front_bodies bodies;
    struct log_limit full_lines;
    bool is_stopping;
};

void front_connection_close(struct front_connection *connection)
{
    int fd = bufferevent_getfd(connection->bufferevent);

    front_crowd_leave(&connection->owner->crowd, &connection->member);
    /* evhttp then finds the end of the connection and frees all of it, in whatever state it is. */
    if (fd >= 0)
        shutdown(fd, SHUT_RDWR);
}

void front_connection_refused(struct front_connection *connection, enum reason reason)
{
    struct front_connections *owner = connection->owner;
    const char *identity = connection->member.identity;
    struct tls_peer peer;

    connection->is_refused = true;
    if (!identity[0] && tls_peer_check(owner->config.tls, connection->ssl, &connection->verified,
                                       &peer) == REASON_NONE)
        identity = peer.identity;
    owner->config.on_refused(identity, reason, owner->config.argument);
}

static void on_deadline(evutil_socket_t fd, short events, void *argument)
{
    struct front_connection *connection = argument;
    struct front_connections *owner = connection->owner;

    (void)fd;
    (void)events;
    if (connection->pending) {
        owner->config.on_late(connection, owner->config.argument);
        return;
    }
    /* One that is idle between two requests has done nothing wrong. */
    if (!connection->member.identity[0] || connection->scan != FRONT_SCAN_FIRST)
        front_connection_refused(connection, REASON_DEADLINE);
    front_connection_close(connection);
}

void front_connection_arm(struct front_connection *connection, uint64_t later_ms)
{
    int64_t ms = connection->owner->config.deadline_ms + (int64_t)later_ms;
    const struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

    if (event_add(connection->deadline, &delay) < 0)
        front_connection_close(connection);
}

bool front_connection_take_body(struct front_connection *connection)
{
    struct front_connections *owner = connection->owner;
    struct tls_peer peer;

    return tls_peer_check(owner->config.tls, connection->ssl, &connection->verified, &peer) ==
               REASON_NONE &&
           front_bodies_take(&owner->bodies, connection, peer.identity);
}

static void prepare(struct front_connections *owner);

static void connection_free(struct front_connection *connection)
{
    tls_verified_deinit(&connection->verified);
    tls_free(connection->tls);
    free(connection);
}

/* Of the SSL's ex_data: called when the SSL is freed, that is, whenever a connection ends. */
static void on_ssl_freed(void *parent, void *pointer, CRYPTO_EX_DATA *data, int index, long argl,
                         void *argp)
{
    struct front_connection *connection = pointer;
    struct front_connections *owner;
    bool was_open;

    (void)parent;
    (void)data;
    (void)index;
    (void)argl;
    (void)argp;
    if (!connection)
        return;
    owner = connection->owner;
    was_open = connection->member.is_open;
    if (connection->pending)
        owner->config.on_lost(connection, owner->config.argument);
    if (was_open) {
        /* Who only looks whether the port is open is not refused. */
        if (!connection->is_refused && !SSL_is_init_finished(connection->ssl) &&
            BIO_number_read(SSL_get_rbio(connection->ssl)) > 0)
            front_connection_refused(connection, tls_handshake_reason(connection->ssl));
        if (!SSL_is_init_finished(connection->ssl))
            owner->config.counts->handshake_failures++;
        front_crowd_remove(&owner->crowd, &connection->member);
        owner->config.counts->open = owner->crowd.count;
    }
    /* libevent closes what it finds in the SSL, and has not looked whether it could put it there.
     */
    if (connection->fd >= 0 && !SSL_get_wbio(connection->ssl))
        close(connection->fd);
    front_order_leave(owner->order, &connection->place);
    front_bodies_leave(&owner->bodies, connection);
    event_free(connection->deadline);
    connection_free(connection);
    if (was_open && !owner->is_stopping)
        prepare(owner);
    else if (was_open && owner->crowd.count == 0)
        owner->config.on_none(owner->config.argument);
}

/* Only a mark: of those that evhttp has not taken. */
static void on_forgotten(struct bufferevent *bufferevent, void *argument)
{
    (void)bufferevent;
    (void)argument;
}

/* The bufferevent has no descriptor yet: evhttp sets it. */
static struct front_connection *connection_new(struct front_connections *owner)
{
    struct front_connection *connection = calloc(1, sizeof(*connection));
    SSL *ssl = connection ? SSL_new(tls_context(owner->config.tls)) : NULL;
    struct bufferevent *bufferevent;

    if (!ssl) {
        free(connection);
        return NULL;
    }
    connection->member.connection = connection;
    connection->owner = owner;
    connection->fd = -1;
    connection->ssl = ssl;
    connection->tls = tls_share(owner->config.tls);
    connection->deadline = evtimer_new(owner->config.base, on_deadline, connection);
    if (!connection->deadline || SSL_set_ex_data(ssl, owner->ssl_index, connection) != 1) {
        if (connection->deadline)
            event_free(connection->deadline);
        SSL_free(ssl);
        connection_free(connection);
        return NULL;
    }
    /* From here on the connection goes with the SSL, which goes even if this fails. */
    bufferevent = bufferevent_openssl_socket_new(owner->config.base, -1, ssl,
                                                 BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    if (!bufferevent)
        return NULL;
    connection->bufferevent = bufferevent;
    bufferevent_setcb(bufferevent, on_forgotten, NULL, NULL, NULL);
    if (!front_wire_watch(connection)) {
        bufferevent_free(connection->bufferevent);
        return NULL;
    }
    return connection;
}

static void try_again(struct front_connections *owner, int64_t after_ms)
{
    const struct timeval delay = {.tv_usec = after_ms * 1000};

    if (event_add(owner->retry, &delay) < 0)
        log_error("no timer");
}

/* Whether there may be a next one now. At most one is over the limit, until a stranger is freed. */
static bool has_place(struct front_connections *owner)
{
    const struct front_member *stranger = front_crowd_oldest_stranger(&owner->crowd);
    int64_t age_ms;

    if (owner->crowd.count != owner->config.limit)
        return owner->crowd.count < owner->config.limit;
    if (!stranger) {
        if (log_may(&owner->full_lines))
            log_warning("%zu clients are connected: no more are accepted", owner->crowd.count);
        owner->config.counts->full++;
        return false;
    }
    age_ms = clock_boot_ms() - stranger->since_ms;
    if (age_ms < GRACE_MS)
        try_again(owner, GRACE_MS - age_ms);
    return age_ms >= GRACE_MS;
}

/* Makes the next connection's TLS if there may be a next one, and lets it in, or tries again. */
static void prepare(struct front_connections *owner)
{
    struct evconnlistener *listener = evhttp_bound_socket_get_listener(owner->listener);

    if (!has_place(owner)) {
        evconnlistener_disable(listener);
        return;
    }
    if (!owner->spare)
        owner->spare = connection_new(owner);
    if (owner->spare) {
        evconnlistener_enable(listener);
        return;
    }
    log_openssl("TLS of the next connection");
    log_error("cannot make the TLS of the next connection: nothing is accepted until it is there");
    evconnlistener_disable(listener);
    try_again(owner, RETRY_MS);
}

void front_connections_tick(struct front_connections *connections)
{
    if (!connections->is_stopping)
        prepare(connections);
}

static void on_retry(evutil_socket_t fd, short events, void *argument)
{
    (void)fd;
    (void)events;
    front_connections_tick(argument);
}

static void give_way(struct front_connection *connection)
{
    front_connection_refused(connection, REASON_OVERLOADED);
    front_connection_close(connection);
}

static void make_way(struct front_connections *owner)
{
    struct front_member *stranger = front_crowd_oldest_stranger(&owner->crowd);

    if (stranger) /* the newcomer is one, unless it could not even get a deadline */
        give_way(stranger->connection);
}

/* evhttp asks for the bufferevent of a connection that it has just accepted. */
static struct bufferevent *on_accept(struct event_base *base, void *argument)
{
    struct front_connections *owner = argument;
    struct front_connection *connection = owner->spare;

    (void)base;
    if (!connection)
        return NULL; /* cannot be: the listener is off; its requests would get no answer */
    owner->spare = NULL;
    front_crowd_enter(&owner->crowd, &connection->member, clock_boot_ms());
    owner->config.counts->open = owner->crowd.count;
    owner->config.counts->accepted++;
    front_connection_arm(connection, 0);
    if (owner->crowd.count > owner->config.limit)
        make_way(owner);
    event_active(owner->place, EV_TIMEOUT, 0);
    prepare(owner);
    return connection->bufferevent;
}

/*
 * By now evhttp has given them their descriptors and its own callbacks, and nothing of them was
 * read yet. Where it had no memory for one it has freed it, or forgotten it as it was made.
 */
static void on_place(evutil_socket_t fd, short events, void *argument)
{
    struct front_connections *owner = argument;
    struct front_member *member = TAILQ_FIRST(&owner->crowd.open), *next;

    (void)fd;
    (void)events;
    for (; member && !member->connection->has_place; member = next) {
        struct front_connection *connection = member->connection;
        struct bufferevent *bufferevent = connection->bufferevent;
        bufferevent_data_cb reader = NULL;

        next = TAILQ_NEXT(member, open);
        connection->has_place = true;
        bufferevent_getcb(bufferevent, &reader, NULL, NULL, NULL);
        if (reader == on_forgotten) {
            bufferevent_free(bufferevent);
        } else if (reader) {
            connection->fd = bufferevent_getfd(bufferevent);
            front_order_enter(owner->order, &connection->place, bufferevent);
        }
    }
}

enum escrow_err front_connections_new(const struct front_connections_config *config,
                                      struct evhttp *http, int listener_fd,
                                      struct front_connections **ret_connections)
{
    struct front_connections *owner = calloc(1, sizeof(*owner));

    if (!owner)
        return ESCROW_ERR_NO_MEMORY;
    owner->config = *config;
    owner->http = http;
    front_crowd_init(&owner->crowd);
    owner->ssl_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, on_ssl_freed);
    owner->retry = evtimer_new(config->base, on_retry, owner);
    owner->order = front_order_new();
    owner->place = evtimer_new(config->base, on_place, owner);
    owner->listener = evhttp_accept_socket_with_handle(http, listener_fd);
    if (owner->ssl_index < 0 || !owner->retry || !owner->order || !owner->place ||
        !owner->listener) {
        front_connections_free(owner);
        return ESCROW_ERR_NO_MEMORY;
    }
    evhttp_set_bevcb(http, on_accept, owner);
    prepare(owner);
    *ret_connections = owner;
    return ESCROW_OK;
}

void front_connections_free(struct front_connections *connections)
{
    if (!connections)
        return;
    if (connections->retry)
        event_free(connections->retry);
    if (connections->place)
        event_free(connections->place);
    front_order_free(connections->order);
    free(connections);
}

struct front_connection *front_connection_of(struct front_connections *connections,
                                             struct evhttp_request *request, SSL **ret_ssl)
{
    struct evhttp_connection *http = evhttp_request_get_connection(request);
    SSL *ssl = bufferevent_openssl_get_ssl(evhttp_connection_get_bufferevent(http));

    if (!ssl)
        return NULL;
    *ret_ssl = ssl;
    return SSL_get_ex_data(ssl, connections->ssl_index);
}

void front_connections_renew(struct front_connections *connections, struct tls *tls)
{
    connections->config.tls = tls;
    if (!connections->spare)
        return;
    bufferevent_free(connections->spare->bufferevent);
    connections->spare = NULL;
    prepare(connections);
}

/* Between two requests, the last reply sent. */
static bool is_idle(const struct front_connection *connection)
{
    return !connection->pending &&
           evbuffer_get_length(bufferevent_get_output(connection->bufferevent)) == 0;
}

/* One that ends with the reply that is on its way has given way already. */
static bool may_end(const struct front_member *member)
{
    return is_idle(member->connection) && !member->connection->is_ending;
}

static bool waits_for_people(const struct front_member *member)
{
    return member->connection->pending && front_route_waits(member->connection->route);
}

/*
 * The same where none is idle. Those that have given way count until they are gone, so that whoever
 * does not take the reply has twice as many at most.
 */
static bool make_room_among_waiting(struct front_connections *owner, const char *identity)
{
    struct front_member *oldest;

    if (front_crowd_of(&owner->crowd, identity, waits_for_people, &oldest) >=
            2 * owner->config.limit_per_identity ||
        !oldest)
        return false;
    owner->config.on_yield(oldest->connection, owner->config.argument);
    return true;
}

/* Room for one more of this identity: its oldest one whose client waits for nothing gives way. */
static bool make_room(struct front_connections *owner, const char *identity)
{
    struct front_member *oldest;

    if (front_crowd_of(&owner->crowd, identity, may_end, &oldest) <
        owner->config.limit_per_identity)
        return true;
    if (!oldest)
        return make_room_among_waiting(owner, identity);
    give_way(oldest->connection);
    return true;
}

bool front_connection_identify(struct front_connection *connection, const char *identity)
{
    front_order_ask(connection->owner->order, &connection->place, connection->bufferevent,
                    clock_boot_ms());
    if (connection->member.identity[0])
        return strcmp(connection->member.identity, identity) == 0;
    if (!make_room(connection->owner, identity))
        return false;
    front_crowd_identify(&connection->owner->crowd, &connection->member, identity);
    if (!connection->owner->is_stopping)
        prepare(connection->owner); /* one stranger less */
    return true;
}

void front_connection_count(const struct front_connection *connection, int status,
                            enum reason reason)
{
    front_counts_answer(connection->owner->config.counts, connection->route, status, reason,
                        connection->began_us);
}

void front_connection_next(struct front_connection *connection)
{
    connection->scan = FRONT_SCAN_FIRST;
    connection->head_len = 0;
    front_bodies_leave(&connection->owner->bodies, connection);
    if (connection->owner->is_stopping || connection->is_ending)
        front_connection_close(connection);
}

size_t front_connection_unread(const struct front_connection *connection)
{
    return evbuffer_get_length(bufferevent_get_input(connection->bufferevent));
}

bool front_connection_has_more(const struct front_connection *connection)
{
    uint8_t byte;
    /* evhttp does not read while a request waits: the bytes are still with the kernel. */
    bool has_more = SSL_peek(connection->ssl, &byte, sizeof(byte)) > 0;

    ERR_clear_error();
    return has_more;
}

void front_connections_stop(struct front_connections *connections)
{
    struct front_member *member;

    if (connections->is_stopping)
        return;
    connections->is_stopping = true;
    evhttp_del_accept_socket(connections->http, connections->listener);
    if (connections->spare)
        bufferevent_free(connections->spare->bufferevent);
    connections->spare = NULL;
    TAILQ_FOREACH(member, &connections->crowd.open, open)
    {
        if (is_idle(member->connection))
            front_connection_close(member->connection);
    }
    if (connections->crowd.count == 0)
        connections->config.on_none(connections->config.argument);
}
