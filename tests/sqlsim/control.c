/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/control.h"

#include "libescrow/log.h"
#include "tests/sqlsim/memory.h"

#include <event2/bufferevent.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_MAX_BYTES 65536

struct client {
    LIST_ENTRY(client) entry;
    struct control *control;
    struct bufferevent *stream;
    struct event *deadline; /* of its wait, NULL while it does not wait */
    struct control_condition condition;
};

struct control {
    struct simulator *simulator;
    struct evconnlistener *listener;
    LIST_HEAD(control_clients, client) clients;
};

static void client_free(struct client *client)
{
    LIST_REMOVE(client, entry);
    if (client->deadline)
        event_free(client->deadline);
    free(client->condition.text);
    bufferevent_free(client->stream);
    free(client);
}

static void answer(struct client *client, json_t *reply)
{
    CLEANUP(cleanup_free) char *text = json_dumps(reply, JSON_COMPACT);

    if (!text)
        abort();
    bufferevent_write(client->stream, text, strlen(text));
    bufferevent_write(client->stream, "\n", 1);
    json_decref(reply);
}

static void stop_waiting(struct client *client)
{
    event_free(client->deadline);
    client->deadline = NULL;
    free(client->condition.text);
    client->condition = (struct control_condition){0};
}

static void on_deadline(evutil_socket_t fd, short what, void *argument)
{
    struct client *client = argument;

    (void)fd;
    (void)what;
    stop_waiting(client);
    answer(client, control_error("timeout"));
}

static void start_waiting(struct client *client, const struct control_condition *condition)
{
    struct timeval wait = {.tv_sec = condition->timeout_ms / 1000,
                           .tv_usec = condition->timeout_ms % 1000 * 1000};

    client->condition = *condition;
    client->deadline = evtimer_new(client->control->simulator->base, on_deadline, client);
    if (!client->deadline || event_add(client->deadline, &wait))
        abort();
}

static void run_line(struct client *client, const char *line)
{
    struct simulator *simulator = client->control->simulator;
    struct control_condition condition = {0};
    struct control_words words = {0};
    json_t *array = json_loads(line, 0, NULL), *reply, *word;
    size_t i;

    json_array_foreach(array, i, word)
    {
        if (words.count < ARRAY_LEN(words.words) && json_is_string(word))
            words.words[words.count++] = json_string_value(word);
    }
    simulator_advance(simulator);
    if (client->deadline)
        reply = control_error("already waiting");
    else if (!words.count || words.count != json_array_size(array))
        reply = control_error("not a JSON array of at most 24 words");
    else
        reply = control_run(simulator, &words, &condition);
    json_decref(array);
    if (reply)
        answer(client, reply);
    else
        start_waiting(client, &condition);
    simulator_changed(simulator);
}

static void on_client_read(struct bufferevent *stream, void *argument)
{
    struct evbuffer *input = bufferevent_get_input(stream);
    char *line;

    while ((line = evbuffer_readln(input, NULL, EVBUFFER_EOL_LF))) {
        run_line(argument, line);
        OPENSSL_cleanse(line, strlen(line));
        free(line);
    }
    if (evbuffer_get_length(input) > LINE_MAX_BYTES)
        client_free(argument);
}

static void on_client_event(struct bufferevent *stream, short what, void *argument)
{
    (void)stream;
    (void)what;
    client_free(argument);
}

static void on_client(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int len, void *argument)
{
    struct control *control = argument;
    struct client *client = memory_new(sizeof(*client));

    (void)listener;
    (void)address;
    (void)len;
    client->control = control;
    client->stream = bufferevent_socket_new(control->simulator->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!client->stream)
        abort();
    bufferevent_setcb(client->stream, on_client_read, NULL, on_client_event, client);
    bufferevent_enable(client->stream, EV_READ | EV_WRITE);
    LIST_INSERT_HEAD(&control->clients, client, entry);
}

void control_check_waiters(struct control *control)
{
    struct client *client = control ? LIST_FIRST(&control->clients) : NULL;

    for (; client; client = LIST_NEXT(client, entry)) {
        if (!client->deadline || !client->condition.is_true(control->simulator, &client->condition))
            continue;
        stop_waiting(client);
        answer(client, json_pack("{s:b, s:I}", "ok", 1, "now_ms",
                                 (json_int_t)control->simulator->model.now_ms));
    }
}

static enum escrow_err listen_on(struct control *control, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;

    if (strlen(path) >= sizeof(address.sun_path)) {
        log_error("control socket: the path is longer than %zu bytes: %s",
                  sizeof(address.sun_path) - 1, path);
        return ESCROW_ERR_CONFIG;
    }
    memcpy(address.sun_path, path, strlen(path));
    /* One left over by a process that was killed; never anything but a socket. */
    if (lstat(path, &status) == 0 && S_ISSOCK(status.st_mode))
        unlink(path);
    control->listener = evconnlistener_new_bind(control->simulator->base, on_client, control,
                                                LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, -1,
                                                (struct sockaddr *)&address, sizeof(address));
    if (!control->listener) {
        log_error("control socket %s: %s", path, strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    return ESCROW_OK;
}

enum escrow_err control_open(struct simulator *simulator, struct control **ret_control)
{
    struct control *control = memory_new(sizeof(*control));
    enum escrow_err err;

    control->simulator = simulator;
    LIST_INIT(&control->clients);
    err = simulator->control_path ? listen_on(control, simulator->control_path) : ESCROW_OK;
    if (err) {
        free(control);
        return err;
    }
    *ret_control = control;
    return ESCROW_OK;
}

void control_close(struct control *control)
{
    struct client *client;

    if (!control)
        return;
    while ((client = LIST_FIRST(&control->clients)))
        client_free(client);
    if (control->listener) {
        evconnlistener_free(control->listener);
        unlink(control->simulator->control_path);
    }
    free(control);
}
