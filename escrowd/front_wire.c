/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front_wire.h"

#include "escrowd/front_body.h"
#include "escrowd/front_connection.h"
#include "escrowd/front_problem.h"
#include "escrowd/front_route.h"
#include "libescrow/cleanup.h"
#include "libescrow/log.h"

#include <event2/buffer.h>

#include <string.h>

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
    has_place = is_large && front_connection_take_body(connection);
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
        front_connection_close(
            connection); /* behind a reply that is still on its way there must be nothing */
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

bool front_wire_watch(struct front_connection *connection)
{
    struct evbuffer *input = bufferevent_get_input(connection->bufferevent);
    struct evbuffer *output = bufferevent_get_output(connection->bufferevent);

    return evbuffer_add_cb(input, on_input, connection) &&
           evbuffer_add_cb(output, on_output, connection);
}
