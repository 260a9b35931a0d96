/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front_monitor.h"

#include "escrowd/front_scan.h"
#include "escrowd/metric.h"
#include "libescrow/cleanup.h"
#include "libescrow/log.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define RETRY_AFTER_S 5

struct connection {
    LIST_ENTRY(connection) entries;
    struct front_monitor *owner;
    struct bufferevent *bufferevent;
    struct event *deadline;
    enum front_scan_state scan;
    size_t scanned;         /* bytes of the input */
    enum monitor_page page; /* that it waits for; 0: none */
    bool is_head;
    bool is_answered;
};

LIST_HEAD(connection_list, connection);

struct front_monitor {
    struct front_monitor_config config;
    struct evconnlistener *listener;
    struct connection_list open;
    size_t count;
};

static const struct {
    const char *path;
    enum monitor_page page;
    const char *content_type;
} pages[] = {
    {"/livez", MONITOR_LIVEZ, "application/json"},
    {"/readyz", MONITOR_READYZ, "application/json"},
    {"/metrics", MONITOR_METRICS, METRIC_CONTENT_TYPE},
};

static void end(struct connection *connection)
{
    struct front_monitor *owner = connection->owner;

    LIST_REMOVE(connection, entries);
    owner->count--;
    bufferevent_free(connection->bufferevent);
    if (connection->deadline)
        event_free(connection->deadline);
    free(connection);
    evconnlistener_enable(owner->listener);
}

/* ---- answers ---- */

struct answer {
    int status;
    const char *content_type;
    char *body;
    size_t len;
};

static const char *phrase(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    default:
        return "Service Unavailable";
    }
}

/* on_written ends the connection. */
static void send_answer(struct connection *connection, const struct answer *answer)
{
    struct evbuffer *out = bufferevent_get_output(connection->bufferevent);

    connection->is_answered = true;
    connection->page = 0;
    bufferevent_disable(connection->bufferevent, EV_READ);
    evbuffer_add_printf(out,
                        "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                        "Cache-Control: no-store\r\nConnection: close\r\n",
                        answer->status, phrase(answer->status), answer->content_type, answer->len);
    if (answer->status == 405)
        evbuffer_add_printf(out, "Allow: GET, HEAD\r\n");
    if (answer->status == 503)
        evbuffer_add_printf(out, "Retry-After: %d\r\n", RETRY_AFTER_S);
    evbuffer_add(out, "\r\n", 2);
    if (!connection->is_head)
        evbuffer_add(out, answer->body, answer->len);
}

static void send_page(struct connection *connection)
{
    CLEANUP(cleanup_free) char *body = NULL;
    struct answer answer = {.status = 503, .content_type = "text/plain"};
    FILE *out = open_memstream(&body, &answer.len);

    for (size_t i = 0; i < ARRAY_LEN(pages) && out; i++) {
        if (pages[i].page != connection->page)
            continue;
        answer.status = connection->owner->config.write_page(pages[i].page, out,
                                                             connection->owner->config.argument);
        answer.content_type = pages[i].content_type;
    }
    if (out && fclose(out) != 0)
        answer = (struct answer){.status = 503, .content_type = "text/plain"};
    answer.body = body;
    send_answer(connection, &answer);
}

static void refuse(struct connection *connection, int status)
{
    send_answer(connection, &(struct answer){.status = status, .content_type = "text/plain"});
}

void front_monitor_answer(struct front_monitor *monitor)
{
    struct connection *connection = LIST_FIRST(&monitor->open);

    for (; connection; connection = LIST_NEXT(connection, entries)) {
        if (connection->page)
            send_page(connection);
    }
}

/* ---- requests ---- */

/* METHOD SP TARGET SP HTTP/1.x; a query is not looked at. */
static void serve(struct connection *connection, const char *line, size_t len)
{
    const char *space = memchr(line, ' ', len);
    const char *target = space ? space + 1 : line + len;
    size_t rest = len - (size_t)(target - line);
    const char *version = memchr(target, ' ', rest);
    size_t path_len;

    if (!version || len - (size_t)(version - line) != sizeof(" HTTP/1.x") - 1 ||
        strncmp(version, " HTTP/1.", sizeof(" HTTP/1.") - 1) != 0) {
        refuse(connection, 400);
        return;
    }
    path_len = strcspn(target, "? ");
    connection->is_head = strncmp(line, "HEAD ", 5) == 0;
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (strlen(pages[i].path) == path_len && strncmp(pages[i].path, target, path_len) == 0)
            connection->page = pages[i].page;
    }
    if (!connection->page)
        refuse(connection, 404);
    else if (!connection->is_head && strncmp(line, "GET ", 4) != 0)
        refuse(connection, 405);
    else if (connection->page == MONITOR_LIVEZ)
        send_page(connection);
    else
        connection->owner->config.on_ask(connection->owner->config.argument);
}

static void on_readable(struct bufferevent *bufferevent, void *argument)
{
    struct connection *connection = argument;
    struct evbuffer *in = bufferevent_get_input(bufferevent);
    size_t len = evbuffer_get_length(in);
    const unsigned char *bytes = evbuffer_pullup(in, -1);

    if (!bytes || connection->page || connection->is_answered)
        return;
    front_scan(&connection->scan, bytes + connection->scanned, len - connection->scanned);
    connection->scanned = len;
    if (connection->scan == FRONT_SCAN_DONE)
        serve(connection, (const char *)bytes, strcspn((const char *)bytes, "\r"));
    else if (connection->scan == FRONT_SCAN_BAD || len >= MONITOR_HEAD_MAX)
        refuse(connection, 400);
}

static void on_written(struct bufferevent *bufferevent, void *argument)
{
    const struct connection *connection = argument;

    (void)bufferevent;
    if (connection->is_answered)
        end(argument);
}

static void on_event(struct bufferevent *bufferevent, short events, void *argument)
{
    (void)bufferevent;
    (void)events;
    end(argument);
}

static void on_deadline(evutil_socket_t fd, short events, void *argument)
{
    (void)fd;
    (void)events;
    end(argument);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int len, void *argument)
{
    struct front_monitor *owner = argument;
    const struct timeval delay = {.tv_sec = owner->config.deadline_ms / 1000,
                                  .tv_usec = (owner->config.deadline_ms % 1000) * 1000};
    struct connection *connection = calloc(1, sizeof(*connection));

    (void)address;
    (void)len;
    if (connection)
        connection->bufferevent =
            bufferevent_socket_new(owner->config.base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!connection || !connection->bufferevent) {
        log_error("monitor: no memory for a connection");
        cleanup_close(&fd);
        free(connection);
        return;
    }
    connection->owner = owner;
    LIST_INSERT_HEAD(&owner->open, connection, entries);
    if (++owner->count >= MONITOR_CONNECTIONS)
        evconnlistener_disable(listener);
    connection->deadline = evtimer_new(owner->config.base, on_deadline, connection);
    if (!connection->deadline || event_add(connection->deadline, &delay) < 0) {
        end(connection);
        return;
    }
    bufferevent_setcb(connection->bufferevent, on_readable, on_written, on_event, connection);
    bufferevent_setwatermark(connection->bufferevent, EV_READ, 0, MONITOR_HEAD_MAX);
    bufferevent_enable(connection->bufferevent, EV_READ | EV_WRITE);
}

enum escrow_err front_monitor_new(const struct front_monitor_config *config, int listener_fd,
                                  struct front_monitor **ret_monitor)
{
    struct front_monitor *monitor = calloc(1, sizeof(*monitor));

    if (!monitor)
        return ESCROW_ERR_NO_MEMORY;
    monitor->config = *config;
    LIST_INIT(&monitor->open);
    monitor->listener =
        evconnlistener_new(config->base, on_accept, monitor,
                           LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, listener_fd);
    if (!monitor->listener) {
        free(monitor);
        return ESCROW_ERR_NO_MEMORY;
    }
    *ret_monitor = monitor;
    return ESCROW_OK;
}

void front_monitor_free(struct front_monitor *monitor)
{
    if (!monitor)
        return;
    while (!LIST_EMPTY(&monitor->open))
        end(LIST_FIRST(&monitor->open));
    evconnlistener_free(monitor->listener);
    free(monitor);
}
