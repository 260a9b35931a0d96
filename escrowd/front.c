/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front.h"

#include "escrowd/clock.h"
#include "escrowd/credentials.h"
#include "escrowd/front_connection.h"
#include "escrowd/front_exchange.h"
#include "escrowd/front_order.h"
#include "escrowd/front_pages.h"
#include "escrowd/front_route.h"
#include "escrowd/refusals.h"
#include "escrowd/role.h"
#include "escrowd/sandbox.h"
#include "libescrow/log.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/http_struct.h>

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ALL_METHODS                                                                                \
    (EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |     \
     EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE | EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH)

struct front {
    struct event_base *base;
    struct tls *tls;
    int64_t loaded_ms; /* Unix time at which tls was loaded */
    struct evhttp *http;
    struct event *second_timer;
    struct refusals *refusals; /* since the keeper was told the last time */
    struct log_limit refusal_lines;
    struct front_connections *connections;
    struct front_exchanges *exchanges;
    struct front_counts counts;
    struct front_pages *pages; /* NULL: nobody may watch */
    struct role *role;
    bool is_answer_due; /* the supervisor waits for what became of its offer */
    bool is_taken;      /* that answer */
    bool is_broken;
};

/* ---- one request ---- */

static void pass_on(struct front *front, struct front_connection *connection,
                    struct evhttp_request *http, const struct tls_peer *peer)
{
    struct evbuffer *body = evhttp_request_get_input_buffer(http);
    const struct front_head head = {.method = evhttp_request_get_command(http),
                                    .target = evhttp_request_get_uri(http),
                                    .major = http->major,
                                    .minor = http->minor,
                                    .headers = evhttp_request_get_input_headers(http),
                                    .body_len = evbuffer_get_length(body)};
    struct ipc_request request = {.identity = peer->identity, .body_len = head.body_len};
    const char *allow = NULL;
    enum reason reason = front_route(&head, &request, &allow);

    if (reason != REASON_NONE) {
        if (allow && evhttp_add_header(evhttp_request_get_output_headers(http), "Allow", allow) < 0)
            log_error("header Allow: no memory");
        front_refuse(connection, http, reason, reason == REASON_MALFORMED);
        return;
    }
    connection->route = request.route;
    memcpy(request.fingerprint, peer->fingerprint, sizeof(request.fingerprint));
    request.body = head.body_len > 0 ? evbuffer_pullup(body, -1) : NULL;
    if (head.body_len > 0 && !request.body)
        front_refuse(connection, http, REASON_OVERLOADED, true);
    else
        front_exchange_start(front->exchanges, connection, http, &request);
}

/* Everything that evhttp could parse comes here. */
static void on_request(struct evhttp_request *http, void *argument)
{
    struct front *front = argument;
    struct front_connection *connection;
    struct tls_peer peer;
    enum reason reason;
    SSL *ssl;

    connection = front_connection_of(front->connections, http, &ssl);
    if (!connection) {
        log_error("a connection without TLS is closed without a reply");
        evhttp_connection_free(evhttp_request_get_connection(http));
        return;
    }
    connection->route = 0;
    connection->began_us = metric_now_us();
    reason = tls_peer_check(front->tls, ssl, &connection->verified, &peer);
    if (reason != REASON_NONE) {
        front_refuse(connection, http, reason, true);
    } else if (!front_connection_identify(connection, peer.identity)) {
        front_refuse(connection, http, REASON_OVERLOADED, true);
    } else if (connection->head_len > FRONT_HEAD_MAX) {
        front_refuse(connection, http, REASON_TOO_LARGE, true);
    } else if (connection->scan != FRONT_SCAN_DONE || front_connection_unread(connection) > 0) {
        front_refuse(connection, http, REASON_MALFORMED, true);
    } else {
        pass_on(front, connection, http, &peer);
    }
}

static void on_late(struct front_connection *connection, void *argument)
{
    (void)argument;
    front_exchange_expire(connection->pending);
}

static void on_yield(struct front_connection *connection, void *argument)
{
    (void)argument;
    front_exchange_yield(connection->pending);
}

static void on_lost(struct front_connection *connection, void *argument)
{
    (void)argument;
    front_exchange_lose(connection->pending);
}

/* ---- what was refused ---- */

static void on_refused(const char *identity, enum reason reason, void *argument)
{
    struct front *front = argument;

    refusals_count(front->refusals, &(struct refusal_summary){identity, reason, 1},
                   clock_boot_ms());
}

static void tell_one(const struct refusal_summary *summary, void *argument)
{
    struct front *front = argument;
    const struct ipc_refused refused = {
        .identity = summary->source, .reason = summary->reason, .count = (uint32_t)summary->count};

    if (log_may(&front->refusal_lines))
        log_warning("refused %u times: %s: %s", refused.count,
                    summary->source[0] ? summary->source : "clients without a verified certificate",
                    reason_code(summary->reason));
    if (front_exchanges_tell(front->exchanges, &refused) != ESCROW_OK)
        log_error("the keeper could not be told");
}

/* While the keeper is away it is kept for the next one. */
static void tell(struct front *front)
{
    if (front_exchanges_have_keeper(front->exchanges))
        refusals_flush(front->refusals, clock_boot_ms(), true, tell_one, front);
}

/* The supervisor makes no other offer before it knows: where memory is lacking, again later. */
static void answer_offer(struct front *front)
{
    if (front->is_answer_due)
        front->is_answer_due = !role_reloaded(front->role, front->is_taken);
}

static void settle_offer(struct front *front, bool is_taken)
{
    front->is_answer_due = true;
    front->is_taken = is_taken;
    answer_offer(front);
}

static void on_second(evutil_socket_t fd, short events, void *argument)
{
    struct front *front = argument;

    (void)fd;
    (void)events;
    tell(front);
    answer_offer(front);
    front_connections_tick(front->connections);
}

/* ---- the role ---- */

static void on_none(void *argument)
{
    struct front *front = argument;

    event_base_loopexit(front->base, NULL);
}

/* The supervisor starts front again, with a new channel to the keeper. */
static void on_broken(void *argument)
{
    struct front *front = argument;

    front->is_broken = true;
    event_base_loopexit(front->base, NULL);
}

static enum escrow_err on_observed(const struct ipc_message *message, void *argument)
{
    struct front *front = argument;

    return front_pages_keeper(front->pages, message);
}

/* Again to each keeper: what the one before knew is gone with it. */
static void tell_served(struct front *front)
{
    struct ipc_served served = {.loaded_ms = front->loaded_ms};

    served.count = tls_describe(front->tls, served.items);
    front_exchanges_tell_served(front->exchanges, &served);
}

static void on_peer(const struct ipc_peer *peer, int fd, void *argument)
{
    struct front *front = argument;

    if (peer->kind == IPC_PEER_KEEPER) {
        front_exchanges_connect(front->exchanges, fd);
        tell_served(front);
        return;
    }
    log_error("a channel to a role that front must not talk to is closed");
    close(fd);
}

static void on_shutdown(void *argument)
{
    struct front *front = argument;

    front_exchanges_stop(front->exchanges);
    tell(front);
    front_connections_stop(front->connections);
}

/* Of a client that waits: also what its next request would be refused for ends the wait now. */
static enum reason recheck(struct front_connection *connection, void *argument)
{
    struct front *front = argument;
    struct tls_peer peer;

    return tls_peer_check(front->tls, connection->ssl, &connection->verified, &peer);
}

/* Everything is built and checked before anything is replaced. */
static void on_reload(int fd, void *argument)
{
    CLEANUP(cleanup_close) int copy = fd;
    struct front *front = argument;
    struct tls *fresh = NULL;

    if (credentials_renew(copy, front->tls, &fresh) != ESCROW_OK) {
        log_warning("certificate, key, CAs and revocation lists in use stay until all of the new "
                    "ones are right");
        settle_offer(front, false);
        return;
    }
    front_connections_renew(front->connections, fresh);
    tls_free(front->tls);
    front->tls = fresh;
    front->loaded_ms = clock_wall_ms();
    log_notice("new certificate, key, CAs and revocation lists are in use");
    settle_offer(front, true);
    tell_served(front);
    front_exchanges_recheck(front->exchanges, recheck, front);
}

static const struct role_events role_events = {
    .on_peer = on_peer, .on_shutdown = on_shutdown, .on_reload = on_reload};

static enum escrow_err set_up_http(struct front *front, const struct escrowd_config *config,
                                   int listener_fd)
{
    const struct front_connections_config connections = {
        .base = front->base,
        .tls = front->tls,
        .counts = &front->counts,
        .limit = (size_t)config->limits.connections,
        .limit_per_identity = (size_t)config->limits.connections_per_identity,
        .deadline_ms = config->limits.request_ms,
        .on_late = on_late,
        .on_yield = on_yield,
        .on_lost = on_lost,
        .on_refused = on_refused,
        .on_none = on_none,
        .argument = front};
    const struct front_exchanges_config exchanges = {.base = front->base,
                                                     .counts = &front->counts,
                                                     .on_observed = on_observed,
                                                     .limit = (size_t)config->limits.requests,
                                                     .on_broken = on_broken,
                                                     .argument = front};
    enum escrow_err err;

    front->http = evhttp_new(front->base);
    if (!front->http)
        return ESCROW_ERR_NO_MEMORY;
    evhttp_set_max_headers_size(front->http, FRONT_HEAD_MAX);
    evhttp_set_max_body_size(front->http, IPC_BODY_MAX);
    evhttp_set_allowed_methods(front->http, ALL_METHODS); /* front_route refuses, with a reason */
    evhttp_set_default_content_type(front->http, NULL);
    evhttp_set_gencb(front->http, on_request, front);
    err = front_exchanges_new(&exchanges, &front->exchanges);
    if (err)
        return err;
    return front_connections_new(&connections, front->http, listener_fd, &front->connections);
}

static enum escrow_err set_up_pages(struct front *front, int monitor_fd, struct usage *usage)
{
    const struct front_pages_config pages = {.base = front->base,
                                             .exchanges = front->exchanges,
                                             .counts = &front->counts,
                                             .tls = &front->tls,
                                             .usage = *usage};

    return monitor_fd < 0 ? ESCROW_OK : front_pages_new(&pages, monitor_fd, &front->pages);
}

static enum escrow_err set_up(struct front *front, const struct escrowd_config *config,
                              const struct front_descriptors *descriptors)
{
    const struct timeval second = {.tv_sec = 1};
    struct usage usage = {.statm_fd = -1};
    enum escrow_err err = credentials_read(descriptors->credentials, &front->tls);

    close(descriptors->credentials);
    front->loaded_ms = clock_wall_ms();
    if (!err && descriptors->monitor >= 0)
        usage_init(IPC_PEER_FRONT, config, &usage); /* before the sandbox closes */
    if (!err)
        err = sandbox_enter(IPC_PEER_FRONT, config, "");
    if (err)
        return err;
    front->base = front_order_base_new();
    front->second_timer =
        front->base ? event_new(front->base, -1, EV_PERSIST, on_second, front) : NULL;
    front->refusals = refusals_new();
    if (!front->second_timer || event_add(front->second_timer, &second) < 0 || !front->refusals)
        return ESCROW_ERR_NO_MEMORY;
    err = set_up_http(front, config, descriptors->listener);
    if (!err)
        err = set_up_pages(front, descriptors->monitor, &usage);
    return err ? err
               : role_new(front->base, descriptors->supervisor, &role_events, front, &front->role);
}

static void deinit(struct front *front)
{
    role_free(front->role);
    front_pages_free(front->pages);
    front_exchanges_free(front->exchanges);
    if (front->connections)
        front_connections_stop(front->connections);
    if (front->http)
        evhttp_free(front->http);
    if (front->second_timer)
        event_free(front->second_timer);
    if (front->base)
        event_base_loop(front->base, EVLOOP_NONBLOCK); /* libevent closes connections there */
    front_connections_free(front->connections);
    refusals_free(front->refusals);
    if (front->base)
        event_base_free(front->base);
    tls_free(front->tls);
}

static uint16_t port_of(int listener_fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
    } bound = {0};
    socklen_t len = sizeof(bound);

    if (getsockname(listener_fd, &bound.any, &len) < 0)
        return 0;
    return ntohs(bound.any.sa_family == AF_INET6 ? bound.ipv6.sin6_port : bound.ipv4.sin_port);
}

enum escrow_err front_run(const struct escrowd_config *config,
                          const struct front_descriptors *descriptors)
{
    CLEANUP(deinit) struct front front = {0};
    enum escrow_err err = set_up(&front, config, descriptors);

    if (!err)
        err = role_ready(front.role, port_of(descriptors->listener));
    if (err)
        return err;
    if (event_base_dispatch(front.base) < 0)
        return ESCROW_ERR_SYSTEM;
    if (front.is_broken)
        return ESCROW_ERR_MALFORMED;
    return role_is_orphaned(front.role) ? ESCROW_ERR_UNAVAILABLE : ESCROW_OK;
}
