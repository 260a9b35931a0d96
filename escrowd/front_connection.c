/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front_connection.h"

#include "escrowd/clock.h"
#include "escrowd/front_metrics.h"
#include "escrowd/front_problem.h"
#include "escrowd/front_route.h"
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

TAILQ_HEAD(connection_list, front_connection);

struct front_connections {
    struct front_connections_config config;
    struct evhttp *http;
    struct evhttp_bound_socket *listener;
    struct event *retry;
    struct front_order *order;
    struct event *place; /* runs after connections were accepted */
    int ssl_index;
    struct front_connection *spare; /* the TLS of the next connection */
    struct connection_list open;    /* the newest first */
    size_t count;                   /* of open */
    struct front_bodies bodies;
    struct log_limit full_lines;
    bool is_stopping;
};

static void close_now(struct front_connection *connection)
{
    int fd = bufferevent_getfd(connection->bufferevent);

    connection->is_closing = true;
    /* evhttp then finds the end of the connection and frees all of it, in whatever state it is. */
    if (fd >= 0)
        shutdown(fd, SHUT_RDWR);
}

void front_connection_refused(struct front_connection *connection, enum reason reason)
{
    struct front_connections *owner = connection->owner;
    const char *identity = connection->identity;
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
    if (!connection->identity[0] || connection->scan != FRONT_SCAN_FIRST)
        front_connection_refused(connection, REASON_DEADLINE);
    close_now(connection);
}

void front_connection_arm(struct front_connection *connection, uint64_t later_ms)
{
    int64_t ms = connection->owner->config.deadline_ms + (int64_t)later_ms;
    const struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

    if (event_add(connection->deadline, &delay) < 0)
        close_now(connection);
}

static bool take_body_place(struct front_connection *connection)
{
    struct front_connections *owner = connection->owner;
    struct tls_peer peer;

    return tls_peer_check(owner->config.tls, connection->ssl, &connection->verified, &peer) ==
               REASON_NONE &&
           front_bodies_take(&owner->bodies, connection, peer.identity);
}

/*
 * The head is complete, and evhttp has not seen its end. evhttp hands its connection to nobody, but
 * the callbacks of the bufferevent get it.
 */
static void bound_body(struct front_connection *connection)
{
    bool is_large = front_body_is_large(connection->line), has_place;
    void *http = NULL;

    bufferevent_getcb(connection->bufferevent, NULL, NULL, NULL, &http);
    if (!http)
        return;
    has_place = is_large && take_body_place(connection);
    connection->lacks_place = is_large && !has_place;
    evhttp_connection_set_max_body_size(http,
                                        (ev_ssize_t)(has_place ? FRONT_BODY_MAX : IPC_BODY_MAX));
}

/* Sees every byte that arrives before evhttp does. */
static void on_input(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *argument)
{
    struct front_connection *connection = argument;
    size_t at = evbuffer_get_length(buffer) - info->n_added;
    struct evbuffer_ptr position;
    uint8_t bytes[1024];
    ev_ssize_t got;

    if (info->n_added == 0 || connection->scan == FRONT_SCAN_DONE ||
        evbuffer_ptr_set(buffer, &position, at, EVBUFFER_PTR_SET) < 0)
        return;
    while ((got = evbuffer_copyout_from(buffer, &position, bytes, sizeof(bytes))) > 0) {
        front_body_line(connection->line, connection->head_len, bytes, (size_t)got);
        connection->head_len += front_scan(&connection->scan, bytes, (size_t)got);
        if (connection->scan == FRONT_SCAN_DONE) {
            bound_body(connection);
            return;
        }
        if (evbuffer_ptr_set(buffer, &position, (size_t)got, EVBUFFER_PTR_ADD) < 0)
            return;
    }
}

/* Instead of evhttp's page, and with the end of the connection that evhttp has in mind. */
static void write_problem(struct front_connection *connection, struct evbuffer *output,
                          enum reason reason)
{
    CLEANUP(cleanup_free) char *problem = front_problem(reason, NULL);
    const char *body = problem ? problem : "";
    const int status = reason_http_status(reason);

    connection->is_answering = true;
    if (evbuffer_add_printf(output,
                            "HTTP/1.1 %d Refused\r\nContent-Type: application/problem+json\r\n"
                            "Cache-Control: no-store\r\nConnection: close\r\n%s"
                            "Content-Length: %zu\r\n\r\n%s",
                            status, status == HTTP_SERVUNAVAIL ? "Retry-After: 1\r\n" : "",
                            strlen(body), body) < 0)
        log_error("reply: no memory");
    connection->is_answering = false;
}

/*
 * Sees every byte before it is sent. Of evhttp's own only "100 Continue" may pass; the first piece
 * of a page is its status line, and after our problem has taken its place the buffer takes no more.
 */
static void on_output(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *argument)
{
    static const char may_continue[] = "HTTP/1.1 100 ", too_large[] = "HTTP/1.1 413 ";
    struct front_connection *connection = argument;
    char line[sizeof(may_continue)] = "";
    enum reason reason = REASON_MALFORMED;

    if (info->n_added == 0 || connection->is_answering)
        return;
    if (info->orig_size > 0) {
        close_now(connection); /* behind a reply that is still on its way there must be nothing */
        return;
    }
    evbuffer_copyout(buffer, line, sizeof(line) - 1);
    if (strcmp(line, may_continue) == 0)
        return;
    if (strcmp(line, too_large) == 0 && connection->lacks_place)
        reason = REASON_OVERLOADED;
    else if (strcmp(line, too_large) == 0 || connection->head_len > FRONT_HEAD_MAX)
        reason = REASON_TOO_LARGE;
    evbuffer_drain(buffer, info->n_added);
    write_problem(connection, buffer, reason);
    evbuffer_freeze(buffer, 0);
    front_connection_refused(connection, reason);
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
    was_open = connection->is_open;
    if (connection->pending)
        owner->config.on_lost(connection, owner->config.argument);
    if (was_open) {
        /* Who only looks whether the port is open is not refused. */
        if (!connection->is_refused && !SSL_is_init_finished(connection->ssl) &&
            BIO_number_read(SSL_get_rbio(connection->ssl)) > 0)
            front_connection_refused(connection, tls_handshake_reason(connection->ssl));
        if (!SSL_is_init_finished(connection->ssl))
            owner->config.counts->handshake_failures++;
        TAILQ_REMOVE(&owner->open, connection, entries);
        owner->config.counts->open = --owner->count;
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
    else if (was_open && owner->count == 0)
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
    if (!evbuffer_add_cb(bufferevent_get_input(connection->bufferevent), on_input, connection) ||
        !evbuffer_add_cb(bufferevent_get_output(connection->bufferevent), on_output, connection)) {
        bufferevent_free(connection->bufferevent);
        return NULL;
    }
    return connection;
}

static struct front_connection *oldest_stranger(const struct front_connections *owner)
{
    struct front_connection *connection = TAILQ_LAST(&owner->open, connection_list);

    while (connection && (connection->identity[0] || connection->is_closing))
        connection = TAILQ_PREV(connection, connection_list, entries);
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
    const struct front_connection *stranger = oldest_stranger(owner);
    int64_t age_ms;

    if (owner->count != owner->config.limit)
        return owner->count < owner->config.limit;
    if (!stranger) {
        if (log_may(&owner->full_lines))
            log_warning("%zu clients are connected: no more are accepted", owner->count);
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
    close_now(connection);
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
    connection->is_open = true;
    connection->since_ms = clock_boot_ms();
    TAILQ_INSERT_HEAD(&owner->open, connection, entries);
    owner->config.counts->open = ++owner->count;
    owner->config.counts->accepted++;
    front_connection_arm(connection, 0);
    if (owner->count > owner->config.limit)
        give_way(oldest_stranger(owner)); /* this one is a stranger too, so there is one */
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
    struct front_connection *connection = TAILQ_FIRST(&owner->open), *next;

    (void)fd;
    (void)events;
    for (; connection && !connection->has_place; connection = next) {
        struct bufferevent *bufferevent = connection->bufferevent;
        bufferevent_data_cb reader = NULL;

        next = TAILQ_NEXT(connection, entries);
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
    TAILQ_INIT(&owner->open);
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

/* Room for one more of this identity: its oldest one whose client waits for nothing gives way. */
static bool make_room(struct front_connections *owner, const char *identity)
{
    struct front_connection *oldest = NULL;
    size_t count = 0;

    for (struct front_connection *other = TAILQ_FIRST(&owner->open); other;
         other = TAILQ_NEXT(other, entries)) {
        if (other->is_closing || strcmp(other->identity, identity) != 0)
            continue;
        count++;
        if (is_idle(other))
            oldest = other;
    }
    if (count < owner->config.limit_per_identity)
        return true;
    if (oldest)
        give_way(oldest);
    return oldest != NULL;
}

bool front_connection_identify(struct front_connection *connection, const char *identity)
{
    front_order_ask(connection->owner->order, &connection->place, connection->bufferevent,
                    clock_boot_ms());
    if (connection->identity[0])
        return strcmp(connection->identity, identity) == 0;
    if (!make_room(connection->owner, identity))
        return false;
    snprintf(connection->identity, sizeof(connection->identity), "%s", identity);
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
        close_now(connection);
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
    struct front_connection *connection;

    if (connections->is_stopping)
        return;
    connections->is_stopping = true;
    evhttp_del_accept_socket(connections->http, connections->listener);
    if (connections->spare)
        bufferevent_free(connections->spare->bufferevent);
    connections->spare = NULL;
    TAILQ_FOREACH(connection, &connections->open, entries)
    {
        if (is_idle(connection))
            close_now(connection);
    }
    if (connections->count == 0)
        connections->config.on_none(connections->config.argument);
}
