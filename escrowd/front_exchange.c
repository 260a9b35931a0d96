/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front_exchange.h"

#include "escrowd/front_problem.h"
#include "escrowd/front_route.h"
#include "escrowd/ipc_body.h"
#include "libescrow/ipc_channel.h"
#include "libescrow/log.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_AFTER_S 1
#define RECORD_BYTES 16384 /* what a record of TLS holds */

struct front_exchange {
    LIST_ENTRY(front_exchange) entries;
    struct front_exchanges *owner;
    struct front_connection *connection;
    struct evhttp_request *http;
    struct event *disturbed; /* the client sends or closes instead of waiting */
    uint64_t id;
    enum route route;
};

LIST_HEAD(exchange_list, front_exchange);

struct front_exchanges {
    struct front_exchanges_config config;
    struct ipc_channel *keeper; /* NULL while it is away */
    struct exchange_list waiting;
    size_t count;
    uint64_t last_id;
    bool is_observing; /* OBSERVE is not answered yet */
};

/* ---- replies ---- */

static void on_sent(struct evhttp_request *http, void *argument)
{
    (void)http;
    front_connection_next(argument);
}

static void add_header(struct evhttp_request *http, const char *name, const char *value)
{
    if (evhttp_add_header(evhttp_request_get_output_headers(http), name, value) < 0)
        log_error("header %s: no memory", name);
}

/*
 * evhttp puts the head of a reply and its body into pieces of their own, and each piece would go
 * out as a record, a write and a segment by itself.
 */
static void join_pieces(struct evbuffer *output)
{
    size_t len = evbuffer_get_length(output);

    if (!evbuffer_pullup(output, (ev_ssize_t)(len < RECORD_BYTES ? len : RECORD_BYTES)))
        log_warning("reply: no memory to send it in one piece");
}

struct answer {
    int status;
    enum reason reason; /* REASON_NONE: of none to be counted */
    const char *content_type;
    const void *body;
    size_t body_len;
    unsigned retry_after_s; /* 0: none */
    bool is_last;           /* the connection ends after it */
};

static void send_answer(struct front_connection *connection, struct evhttp_request *http,
                        const struct answer *answer)
{
    struct evbuffer *body = evbuffer_new();
    char seconds[16], length[32];

    add_header(http, "Content-Type", answer->content_type);
    add_header(http, "Cache-Control", "no-store");
    if (answer->retry_after_s > 0) {
        snprintf(seconds, sizeof(seconds), "%u", answer->retry_after_s);
        add_header(http, "Retry-After", seconds);
    }
    connection->is_ending = answer->is_last;
    if (answer->is_last)
        add_header(http, "Connection", "close");
    /* evhttp would send one to HEAD as well, and not always say how long it is. */
    if (evhttp_request_get_command(http) != EVHTTP_REQ_HEAD) {
        snprintf(length, sizeof(length), "%zu", answer->body_len);
        add_header(http, "Content-Length", length);
        if (!body || evbuffer_add(body, answer->body, answer->body_len) < 0)
            log_error("reply: no memory");
    }
    front_connection_count(connection, answer->status, answer->reason);
    /* The same deadline again: to take the reply and to send the next request. */
    front_connection_arm(connection, 0);
    evhttp_request_set_on_complete_cb(http, on_sent, connection);
    connection->is_answering = true;
    evhttp_send_reply(http, answer->status, NULL, body);
    connection->is_answering = false;
    join_pieces(bufferevent_get_output(connection->bufferevent));
    if (body)
        evbuffer_free(body);
}

static void send_problem(struct front_connection *connection, struct evhttp_request *http,
                         enum reason reason, const char *detail, struct answer *answer)
{
    CLEANUP(cleanup_free) char *problem = front_problem(reason, detail);

    answer->status = reason_http_status(reason);
    answer->reason = reason;
    answer->content_type = "application/problem+json";
    answer->body = problem ? problem : "";
    answer->body_len = strlen(answer->body);
    if (answer->status == HTTP_SERVUNAVAIL && answer->retry_after_s == 0)
        answer->retry_after_s = RETRY_AFTER_S;
    send_answer(connection, http, answer);
}

void front_refuse(struct front_connection *connection, struct evhttp_request *http,
                  enum reason reason, bool is_last)
{
    front_connection_refused(connection, reason);
    send_problem(connection, http, reason, NULL, &(struct answer){.is_last = is_last});
}

/* ---- requests that wait ---- */

static void forget(struct front_exchange *exchange)
{
    LIST_REMOVE(exchange, entries);
    exchange->owner->count--;
    exchange->connection->pending = NULL;
    if (exchange->disturbed)
        event_free(exchange->disturbed);
    free(exchange);
}

static void end(struct front_exchange *exchange, enum reason reason, bool is_last)
{
    struct front_connection *connection = exchange->connection;
    struct evhttp_request *http = exchange->http;

    forget(exchange);
    front_refuse(connection, http, reason, is_last);
}

/* The keeper need not go on for it. */
static void tell_keeper(const struct front_exchange *exchange)
{
    struct ipc_channel *keeper = exchange->owner->keeper;

    if (keeper && ipc_channel_send(keeper, IPC_GONE, exchange->id, NULL) != ESCROW_OK)
        log_warning("the keeper does not take messages");
}

void front_exchange_expire(struct front_exchange *exchange)
{
    log_warning("a request of %s was not answered in time", exchange->connection->member.identity);
    tell_keeper(exchange);
    end(exchange, REASON_DEADLINE, false);
}

/* No refusal to be counted: the client loses nothing by asking again. */
void front_exchange_yield(struct front_exchange *exchange)
{
    struct front_connection *connection = exchange->connection;
    struct evhttp_request *http = exchange->http;

    tell_keeper(exchange);
    forget(exchange);
    send_problem(connection, http, REASON_OVERLOADED, NULL, &(struct answer){.is_last = true});
}

void front_exchange_lose(struct front_exchange *exchange)
{
    struct evhttp_request *http = exchange->http;

    tell_keeper(exchange);
    forget(exchange);
    evhttp_request_free(http); /* evhttp let go of it when the connection broke */
}

/* A client that waits for its reply sends nothing: it has gone, or pipelines, which we refuse. */
static void on_disturbed(evutil_socket_t fd, short events, void *argument)
{
    struct front_exchange *exchange = argument;
    struct front_connection *connection = exchange->connection;
    struct evhttp_request *http = exchange->http;

    (void)fd;
    (void)events;
    tell_keeper(exchange);
    forget(exchange);
    if (front_connection_has_more(connection))
        front_connection_refused(connection, REASON_MALFORMED);
    send_problem(connection, http, REASON_MALFORMED, NULL, &(struct answer){.is_last = true});
}

static void end_all(struct front_exchanges *exchanges, enum reason reason)
{
    struct front_exchange *exchange, *next;

    for (exchange = LIST_FIRST(&exchanges->waiting); exchange; exchange = next) {
        next = LIST_NEXT(exchange, entries);
        end(exchange, reason, false);
    }
}

void front_exchanges_recheck(struct front_exchanges *exchanges,
                             enum reason (*check)(struct front_connection *connection,
                                                  void *argument),
                             void *argument)
{
    struct front_exchange *exchange, *next;

    for (exchange = LIST_FIRST(&exchanges->waiting); exchange; exchange = next) {
        enum reason reason = check(exchange->connection, argument);

        next = LIST_NEXT(exchange, entries);
        if (reason == REASON_NONE)
            continue;
        log_warning("%s is refused while it waits: %s", exchange->connection->member.identity,
                    reason_code(reason));
        tell_keeper(exchange);
        end(exchange, reason, true);
    }
}

void front_exchanges_stop(struct front_exchanges *exchanges)
{
    struct front_exchange *exchange, *next;

    for (exchange = LIST_FIRST(&exchanges->waiting); exchange; exchange = next) {
        next = LIST_NEXT(exchange, entries);
        if (front_route_waits(exchange->route))
            end(exchange, REASON_ROLE_DOWN, true);
    }
}

/* evhttp reads nothing while a request waits; without this the deadline must do. */
static void watch(struct front_exchange *exchange)
{
    int fd = bufferevent_getfd(exchange->connection->bufferevent);

    exchange->disturbed =
        event_new(exchange->owner->config.base, fd, EV_READ, on_disturbed, exchange);
    if (!exchange->disturbed || event_add(exchange->disturbed, NULL) < 0)
        log_warning("cannot watch for the end of a connection");
}

static enum reason send_request(struct front_exchanges *exchanges,
                                const struct ipc_request *request)
{
    enum escrow_err err;

    if (!exchanges->keeper)
        return REASON_ROLE_DOWN;
    if (exchanges->count >= exchanges->config.limit)
        return REASON_OVERLOADED;
    err = ipc_send_request(exchanges->keeper, exchanges->last_id + 1, request);
    /* Nothing waits before it: the keeper has died, and on_close comes next. */
    if (err == ESCROW_ERR_UNAVAILABLE && ipc_channel_queued(exchanges->keeper) == 0)
        return REASON_ROLE_DOWN;
    return err ? REASON_OVERLOADED : REASON_NONE;
}

bool front_exchanges_have_keeper(const struct front_exchanges *exchanges)
{
    return exchanges->keeper != NULL;
}

enum escrow_err front_exchanges_tell(struct front_exchanges *exchanges,
                                     const struct ipc_refused *refused)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    ipc_put_refused(&writer, refused);
    return ipc_channel_send(exchanges->keeper, IPC_REFUSED, 0, &writer);
}

void front_exchanges_tell_served(struct front_exchanges *exchanges, const struct ipc_served *served)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    if (!exchanges->keeper)
        return;
    ipc_put_served(&writer, served);
    if (ipc_channel_send(exchanges->keeper, IPC_SERVED, 0, &writer) != ESCROW_OK)
        log_warning("the keeper does not take messages");
}

void front_exchange_start(struct front_exchanges *exchanges, struct front_connection *connection,
                          struct evhttp_request *http, const struct ipc_request *request)
{
    struct front_exchange *exchange = calloc(1, sizeof(*exchange));
    enum reason reason = exchange ? send_request(exchanges, request) : REASON_OVERLOADED;

    if (reason != REASON_NONE) {
        free(exchange);
        front_refuse(connection, http, reason, false);
        return;
    }
    exchange->owner = exchanges;
    exchange->connection = connection;
    exchange->http = http;
    exchange->id = ++exchanges->last_id;
    exchange->route = request->route;
    connection->pending = exchange;
    LIST_INSERT_HEAD(&exchanges->waiting, exchange, entries);
    exchanges->count++;
    watch(exchange);
    front_connection_arm(connection, request->wait_ms);
}

/* ---- the keeper's side ---- */

static void answer_with(struct front_exchange *exchange, const struct ipc_reply *reply)
{
    struct front_connection *connection = exchange->connection;
    struct evhttp_request *http = exchange->http;
    struct answer answer = {.status = (int)reply->http_status,
                            .reason = reply->reason,
                            .content_type = reply->content == IPC_CONTENT_LINES
                                                ? "application/x-ndjson"
                                                : "application/json",
                            .body = reply->body,
                            .body_len = reply->body_len,
                            .retry_after_s = reply->retry_after_s};
    CLEANUP(cleanup_free) char *detail = NULL;

    forget(exchange);
    if (reply->content != IPC_CONTENT_PROBLEM) {
        send_answer(connection, http, &answer);
        return;
    }
    detail = strndup((const char *)reply->body, reply->body_len);
    send_problem(connection, http, reply->reason, detail, &answer);
}

/* NULL if nobody waits for it any more. */
static struct front_exchange *find_waiting(const struct front_exchanges *exchanges, uint64_t id)
{
    struct front_exchange *exchange = LIST_FIRST(&exchanges->waiting);

    while (exchange && exchange->id != id)
        exchange = LIST_NEXT(exchange, entries);
    return exchange;
}

static enum escrow_err take_reply(struct front_exchanges *exchanges, uint64_t id,
                                  const struct ipc_reply *reply)
{
    struct front_exchange *exchange = find_waiting(exchanges, id);

    if (id == 0 || id > exchanges->last_id)
        return ESCROW_ERR_MALFORMED;
    if (exchange)
        answer_with(exchange, reply);
    return ESCROW_OK;
}

static enum escrow_err on_reply(struct ipc_channel *channel, const struct ipc_message *message,
                                void *argument)
{
    struct ipc_reply reply;
    enum escrow_err err = ipc_get_reply(message, &reply);

    (void)channel;
    return err ? err : take_reply(argument, message->id, &reply);
}

static enum escrow_err on_large_reply(struct ipc_channel *channel,
                                      const struct ipc_message *message, void *argument)
{
    static const struct ipc_reply no_memory = {
        .reason = REASON_OVERLOADED, .content = IPC_CONTENT_PROBLEM, .body = (const uint8_t *)""};
    CLEANUP(cleanup_free) uint8_t *body = NULL;
    struct ipc_reply reply;
    enum escrow_err err = ipc_get_large_reply(message, &reply, &body);

    (void)channel;
    if (err == ESCROW_ERR_MALFORMED)
        return err;
    return take_reply(argument, message->id, err ? &no_memory : &reply);
}

bool front_exchanges_observe(struct front_exchanges *exchanges)
{
    if (!exchanges->keeper)
        return false;
    if (!exchanges->is_observing)
        exchanges->is_observing =
            ipc_channel_send(exchanges->keeper, IPC_OBSERVE, 0, NULL) == ESCROW_OK;
    return exchanges->is_observing;
}

static enum escrow_err on_observed(struct ipc_channel *channel, const struct ipc_message *message,
                                   void *argument)
{
    struct front_exchanges *exchanges = argument;

    (void)channel;
    if (!exchanges->is_observing)
        return ESCROW_ERR_MALFORMED;
    exchanges->is_observing = false;
    return exchanges->config.on_observed(message, exchanges->config.argument);
}

static void drop_keeper(struct front_exchanges *exchanges)
{
    ipc_channel_free(exchanges->keeper);
    exchanges->keeper = NULL;
    end_all(exchanges, REASON_ROLE_DOWN);
    if (exchanges->is_observing)
        (void)!exchanges->config.on_observed(NULL, exchanges->config.argument);
    exchanges->is_observing = false;
}

/* If the keeper is not itself, neither does the supervisor believe that it is: wait for a new one.
 */
static void on_close(struct ipc_channel *channel, enum ipc_closed why, void *argument)
{
    struct front_exchanges *exchanges = argument;

    (void)channel;
    log_warning("the keeper is away (%s)", ipc_closed_text(why));
    drop_keeper(exchanges);
    if (why != IPC_CLOSED_BY_PEER)
        exchanges->config.on_broken(exchanges->config.argument);
}

static const struct ipc_permit permits[] = {
    {.type = IPC_REPLY, .states = IPC_ANY_STATE, .handler = on_reply},
    {.type = IPC_REPLY_LARGE, .states = IPC_ANY_STATE, .handler = on_large_reply, .takes_fd = true},
    {.type = IPC_OBSERVED, .states = IPC_ANY_STATE, .handler = on_observed},
};

void front_exchanges_connect(struct front_exchanges *exchanges, int fd)
{
    const struct ipc_channel_config config = {.base = exchanges->config.base,
                                              .name = "keeper",
                                              .permits = permits,
                                              .permit_count = ARRAY_LEN(permits),
                                              .state = 1,
                                              .on_close = on_close,
                                              .argument = exchanges};

    drop_keeper(exchanges);
    exchanges->config.counts->keepers++;
    if (ipc_channel_new(&config, fd, &exchanges->keeper) != ESCROW_OK)
        log_error("cannot talk to the keeper");
}

enum escrow_err front_exchanges_new(const struct front_exchanges_config *config,
                                    struct front_exchanges **ret_exchanges)
{
    struct front_exchanges *exchanges = calloc(1, sizeof(*exchanges));

    if (!exchanges)
        return ESCROW_ERR_NO_MEMORY;
    exchanges->config = *config;
    LIST_INIT(&exchanges->waiting);
    *ret_exchanges = exchanges;
    return ESCROW_OK;
}

void front_exchanges_free(struct front_exchanges *exchanges)
{
    struct front_exchange *exchange, *next;

    if (!exchanges)
        return;
    for (exchange = LIST_FIRST(&exchanges->waiting); exchange; exchange = next) {
        next = LIST_NEXT(exchange, entries);
        forget(exchange);
    }
    ipc_channel_free(exchanges->keeper);
    free(exchanges);
}
