/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/connection_parts.h"
#include "tests/sqlsim/memory.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PACKET_SIZE_INITIAL 4096

struct evbuffer *connection_buffer(void)
{
    struct evbuffer *buffer = evbuffer_new();

    if (!buffer)
        abort();
    return buffer;
}

const struct model_instance *connection_model(const struct connection *connection)
{
    const struct instance *instance = connection->instance;

    return &instance->simulator->model.instances[instance->index];
}

static void handle_prelogin(struct connection *connection, const uint8_t *payload, size_t len)
{
    enum tds_encryption client;
    struct evbuffer *answer;

    if (connection->message.type != TDS_PRELOGIN || tds_prelogin_parse(payload, len, &client)) {
        connection->is_closing = true;
        return;
    }
    connection->encryption = tds_prelogin_negotiate(connection->instance->encryption, client);
    answer = connection_buffer();
    tds_prelogin_put(answer, connection_model(connection)->version, connection->encryption);
    (void)connection_meet(connection, TROUBLE_PRELOGIN, NULL, NULL);
    connection_send(connection, TDS_TABULAR, answer);
    evbuffer_free(answer);
    if (connection->encryption == TDS_ENCRYPT_NOT_SUP) {
        connection->stage = STAGE_LOGIN;
    } else if (client != TDS_ENCRYPT_NOT_SUP) {
        connection->tls = tds_tls_new(connection->instance->tls);
        connection->stage = STAGE_HANDSHAKE;
    } else {
        connection->is_closing = true;
    }
}

/* MS-TDS 2.2.6.5: handshake records travel as the payload of PRELOGIN packets, ours too. */
static void handle_handshake(struct connection *connection)
{
    struct evbuffer *records = connection_buffer();
    enum tds_tls_result result = TDS_TLS_FAILED;

    if (connection->message.type == TDS_PRELOGIN)
        result = tds_tls_handshake(connection->tls, connection->message.payload, records);
    if (evbuffer_get_length(records)) {
        (void)connection_meet(connection, TROUBLE_TLS, NULL, NULL);
        connection_send(connection, TDS_PRELOGIN, records);
    }
    evbuffer_free(records);
    if (result == TDS_TLS_DONE) {
        connection->stage = STAGE_LOGIN;
        connection->is_encrypted = true;
    } else if (result == TDS_TLS_FAILED) {
        connection->is_closing = true;
    }
}

static void handle_message(struct connection *connection)
{
    struct evbuffer *payload = connection->message.payload;
    size_t len = evbuffer_get_length(payload);
    uint8_t *bytes = evbuffer_pullup(payload, -1);

    switch (connection->stage) {
    case STAGE_PRELOGIN:
        handle_prelogin(connection, bytes, len);
        break;
    case STAGE_HANDSHAKE:
        handle_handshake(connection);
        break;
    case STAGE_LOGIN:
        connection_login(connection, bytes, len);
        break;
    case STAGE_SSPI:
        connection_login_token(connection, bytes, len);
        break;
    case STAGE_READY:
        connection_request(connection, bytes, len);
        break;
    }
    evbuffer_drain(payload, evbuffer_get_length(payload));
}

/* The packets of the message that was taken go to the capture file, if there is one. */
static void capture(struct connection *connection)
{
    struct evbuffer *packets = connection->message.packets;

    if (!packets)
        return;
    if (connection->stage != STAGE_HANDSHAKE)
        pcap_data(connection->instance->simulator->pcap, &connection->flow, PCAP_CLIENT,
                  evbuffer_pullup(packets, -1), evbuffer_get_length(packets));
    evbuffer_drain(packets, evbuffer_get_length(packets));
}

static enum tds_packet_result take_message(struct connection *connection)
{
    struct evbuffer *input = bufferevent_get_input(connection->stream);

    if (connection->is_encrypted) {
        if (tds_tls_read(connection->tls, input, connection->plain) == TDS_TLS_FAILED)
            return TDS_PACKET_MALFORMED;
        input = connection->plain;
    }
    return tds_packet_take(input, &connection->message);
}

static void count_clear(struct connection *connection)
{
    size_t waiting = evbuffer_get_length(bufferevent_get_input(connection->stream));

    if (connection->stage == STAGE_READY && !connection->is_encrypted)
        connection->instance->clear_bytes += waiting - connection->counted_clear;
}

static void on_event(struct bufferevent *stream, short what, void *argument)
{
    (void)stream;
    (void)what; /* end of file or an error; no time-outs are set */
    connection_free(argument, false);
}

static void on_sent(struct bufferevent *stream, void *argument)
{
    struct connection *connection = argument;

    (void)stream;
    connection_free(connection, connection->is_reset);
}

void connection_finish(struct connection *connection)
{
    bufferevent_disable(connection->stream, EV_READ);
    if (evbuffer_get_length(connection->late))
        return; /* connection_on_pace comes again */
    if (evbuffer_get_length(bufferevent_get_output(connection->stream)))
        bufferevent_setcb(connection->stream, NULL, on_sent, on_event, connection);
    else
        connection_free(connection, connection->is_reset);
}

/* Takes messages until the connection ends or falls silent. */
static enum tds_packet_result take_messages(struct connection *connection)
{
    enum tds_packet_result result = TDS_PACKET_MORE;

    while (!connection->is_closing && !connection->is_silent) {
        result = take_message(connection);
        if (result != TDS_PACKET_COMPLETE)
            break;
        capture(connection);
        handle_message(connection);
    }
    return result;
}

static void on_read(struct bufferevent *stream, void *argument)
{
    struct connection *connection = argument;
    struct evbuffer *input = bufferevent_get_input(stream);
    enum tds_packet_result result;

    simulator_advance(connection->instance->simulator);
    count_clear(connection);
    result = take_messages(connection);
    if (connection->is_silent)
        evbuffer_drain(input, evbuffer_get_length(input));
    connection->counted_clear = evbuffer_get_length(input);
    if (result == TDS_PACKET_MALFORMED || connection->is_closing)
        connection_finish(connection);
}

static void on_ending(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    connection_free(argument, true);
}

static struct connection *new_connection(struct instance *instance, evutil_socket_t fd)
{
    struct event_base *base = instance->simulator->base;
    struct connection *connection = memory_new(sizeof(*connection));
    socklen_t len = sizeof(connection->peer);

    (void)getpeername(fd, (struct sockaddr *)&connection->peer, &len); /* stays 0.0.0.0 if gone */
    connection->instance = instance;
    connection->flow.ends[PCAP_CLIENT] = connection->peer;
    connection->flow.ends[PCAP_SERVER] = instance_address(instance);
    if (instance->simulator->pcap)
        connection->message.packets = connection_buffer();
    connection->packet_size = PACKET_SIZE_INITIAL;
    connection->plain = connection_buffer();
    connection->late = connection_buffer();
    connection->message.payload = connection_buffer();
    connection->ending = evtimer_new(base, on_ending, connection);
    connection->pace = evtimer_new(base, connection_on_pace, connection);
    connection->stream = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    connection->patience = evtimer_new(base, connection_on_patience, connection);
    if (!connection->ending || !connection->pace || !connection->patience || !connection->stream)
        abort();
    bufferevent_setcb(connection->stream, on_read, NULL, on_event, connection);
    return connection;
}

void connection_new(struct instance *instance, evutil_socket_t fd,
                    const struct model_group *listener)
{
    struct connection *connection = new_connection(instance, fd);
    int on = 1;

    connection->listener = listener;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    LIST_INSERT_HEAD(&instance->connections, connection, entry);
    instance->connection_count++;
    pcap_begin(instance->simulator->pcap, &connection->flow);
    (void)connection_meet(connection, TROUBLE_ACCEPT, NULL, NULL);
    connection_stop(connection);
    if (connection->is_closing)
        connection_free(connection, connection->is_reset);
    else if (connection_model(connection)->is_hung)
        connection_hang(connection);
    else
        bufferevent_enable(connection->stream, EV_READ | EV_WRITE);
    simulator_changed(instance->simulator);
}

void connection_free(struct connection *connection, bool is_reset)
{
    struct instance *instance = connection->instance;
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    if (is_reset)
        setsockopt(bufferevent_getfd(connection->stream), SOL_SOCKET, SO_LINGER, &linger,
                   sizeof(linger));
    pcap_end(instance->simulator->pcap, &connection->flow, is_reset);
    LIST_REMOVE(connection, entry);
    if (connection->session)
        session_free(connection->session);
    bufferevent_free(connection->stream);
    event_free(connection->ending);
    event_free(connection->pace);
    event_free(connection->patience);
    if (connection->waiting)
        instance->waiting--;
    free(connection->waiting);
    tds_tls_free(connection->tls);
    kerberos_free(connection->kerberos);
    tds_login_deinit(&connection->login);
    evbuffer_free(connection->plain);
    evbuffer_free(connection->late);
    evbuffer_free(connection->message.payload);
    if (connection->message.packets)
        evbuffer_free(connection->message.packets);
    free(connection);
    simulator_changed(instance->simulator);
}

struct connection *connection_next(const struct connection *connection)
{
    return LIST_NEXT(connection, entry);
}

void connection_hang(struct connection *connection)
{
    bufferevent_disable(connection->stream, EV_READ | EV_WRITE);
}

void connection_resume(struct connection *connection)
{
    bufferevent_enable(connection->stream, EV_READ | EV_WRITE);
}
