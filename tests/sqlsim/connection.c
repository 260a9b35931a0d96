/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/connection.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/garble.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/session.h"
#include "tests/sqlsim/statements.h"
#include "tests/sqlsim/tds_packet.h"
#include "tests/sqlsim/tds_text.h"
#include "tests/sqlsim/tds_tls.h"
#include "tests/sqlsim/tds_token.h"

#include <event2/bufferevent.h>

#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PACKET_SIZE_INITIAL 4096
#define PACKET_SIZE_MIN 512
#define PACKET_SIZE_MAX 8000 /* sqlserver-facts 8: 8192 is capped to 8000 */

enum connection_stage { STAGE_PRELOGIN, STAGE_HANDSHAKE, STAGE_LOGIN, STAGE_READY, STAGE_CLOSING };

struct connection {
    LIST_ENTRY(connection) entry;
    struct instance *instance;
    struct bufferevent *stream;
    struct event *ending; /* activated to close it from outside its own callbacks */
    enum connection_stage stage;
    enum tds_encryption encryption;
    bool is_encrypted; /* now */
    struct tds_tls *tls;
    struct evbuffer *plain; /* decrypted, not yet parsed */
    struct tds_message message;
    size_t packet_size;
    size_t counted_clear; /* bytes of the input that clear_bytes has counted */
    struct session *session;
    unsigned replies; /* sent so far */
};

static struct evbuffer *new_buffer(void)
{
    struct evbuffer *buffer = evbuffer_new();

    if (!buffer)
        abort();
    return buffer;
}

static const struct model_replica *replica_of(const struct connection *connection)
{
    const struct instance *instance = connection->instance;

    return &instance->simulator->model.replicas[instance->replica];
}

/* Sends a message, encrypted or not as the connection is now; empties the payload. */
static void send_message(struct connection *connection, uint8_t type, struct evbuffer *payload)
{
    struct evbuffer *output = bufferevent_get_output(connection->stream);
    struct evbuffer *packets = new_buffer();
    size_t len = evbuffer_get_length(payload);

    tds_packet_put(packets, type, evbuffer_pullup(payload, -1), len, connection->packet_size);
    evbuffer_drain(payload, len);
    if (!connection->is_encrypted)
        evbuffer_add_buffer(output, packets);
    else if (tds_tls_write(connection->tls, packets, output) == TDS_TLS_FAILED)
        connection->stage = STAGE_CLOSING;
    evbuffer_free(packets);
}

static void send_reply(struct connection *connection, const struct reply *reply)
{
    struct evbuffer *tokens = new_buffer();

    tds_token_reply(tokens, reply, replica_of(connection)->name);
    garble(tokens, connection->instance->simulator->model.switches.garble, connection->replies++);
    send_message(connection, TDS_TABULAR, tokens);
    evbuffer_free(tokens);
    if (reply->is_last)
        connection->stage = STAGE_CLOSING;
}

static void handle_prelogin(struct connection *connection, const uint8_t *payload, size_t len)
{
    enum tds_encryption client;
    struct evbuffer *answer;

    connection->stage = STAGE_CLOSING;
    if (connection->message.type != TDS_PRELOGIN || tds_prelogin_parse(payload, len, &client))
        return;
    connection->encryption = tds_prelogin_negotiate(connection->instance->encryption, client);
    answer = new_buffer();
    tds_prelogin_put(answer, replica_of(connection)->version, connection->encryption);
    send_message(connection, TDS_TABULAR, answer);
    evbuffer_free(answer);
    if (connection->encryption == TDS_ENCRYPT_NOT_SUP) {
        connection->stage = STAGE_LOGIN;
    } else if (client != TDS_ENCRYPT_NOT_SUP) {
        connection->tls = tds_tls_new(connection->instance->tls);
        connection->stage = STAGE_HANDSHAKE;
    }
}

/* MS-TDS 2.2.6.5: handshake records travel as the payload of PRELOGIN packets, ours too. */
static void handle_handshake(struct connection *connection)
{
    struct evbuffer *records = new_buffer();
    enum tds_tls_result result = TDS_TLS_FAILED;

    if (connection->message.type == TDS_PRELOGIN)
        result = tds_tls_handshake(connection->tls, connection->message.payload, records);
    if (evbuffer_get_length(records))
        send_message(connection, TDS_PRELOGIN, records);
    evbuffer_free(records);
    if (result == TDS_TLS_DONE) {
        connection->stage = STAGE_LOGIN;
        connection->is_encrypted = true;
    } else if (result == TDS_TLS_FAILED) {
        connection->stage = STAGE_CLOSING;
    }
}

/* 10.9: the connection breaks at once, or the next batch is answered with 596. */
static void on_kill(struct session *session, void *argument)
{
    struct connection *connection = argument;

    if (session->model->switches.session_kill == SWITCH_KILL_CLOSE)
        event_active(connection->ending, EV_TIMEOUT, 0);
}

static void send_login_ack(struct connection *connection, const struct reply *reply,
                           uint32_t client_version)
{
    struct evbuffer *tokens = new_buffer();
    struct tds_login_ack ack = {
        .tds_version = client_version < TDS_VERSION_74 ? client_version : TDS_VERSION_74,
        .server_name = replica_of(connection)->name,
        .version = replica_of(connection)->version,
        .packet_size = connection->packet_size,
    };

    tds_token_login(tokens, reply, &ack);
    send_message(connection, TDS_TABULAR, tokens);
    evbuffer_free(tokens);
}

static void log_in(struct connection *connection, const struct tds_login *login)
{
    struct instance *instance = connection->instance;
    struct session_login wanted = {
        .name = login->user,
        .password = login->password,
        .database = login->database,
        .has_read_intent = login->has_read_intent,
    };
    struct reply reply = {0};

    connection->session =
        session_new(&instance->simulator->model, instance->replica, &wanted, &reply);
    if (connection->session) {
        connection->session->on_kill = on_kill;
        connection->session->argument = connection;
        connection->stage = STAGE_READY;
        send_login_ack(connection, &reply, login->tds_version);
    } else {
        reply.is_last = true;
        send_reply(connection, &reply);
    }
    reply_deinit(&reply);
    simulator_changed(instance->simulator);
}

static void handle_login(struct connection *connection, const uint8_t *payload, size_t len)
{
    struct tds_login login = {0};

    connection->stage = STAGE_CLOSING;
    if (connection->message.type != TDS_LOGIN7 || tds_login_parse(payload, len, &login))
        return;
    /* TDS 7.2 is the oldest whose tokens tds_token.c writes. */
    if (login.tds_version >= TDS_VERSION_72 && !login.has_sspi) {
        if (connection->encryption == TDS_ENCRYPT_OFF)
            connection->is_encrypted = false; /* it was for the login only */
        if (login.packet_size >= PACKET_SIZE_MIN)
            connection->packet_size =
                login.packet_size < PACKET_SIZE_MAX ? login.packet_size : PACKET_SIZE_MAX;
        log_in(connection, &login);
    }
    tds_login_deinit(&login);
}

static void record(struct connection *connection, const char *text, bool is_known, int32_t error)
{
    struct session *session = connection->session;
    struct model *model = session->model;
    bool is_verbatim = model->switches.log_statements == SWITCH_LOG_VERBATIM;
    struct journal_entry entry = {
        .at_ms = model->now_ms,
        .session_id = session->id,
        .is_tls = connection->is_encrypted,
        .is_known = is_known,
        .packet = tds_packet_name(connection->message.type),
        .bytes = evbuffer_get_length(connection->message.payload),
        .login = memory_copy(session->login->name),
        .database = memory_copy(session->is_in_database ? model->database : "master"),
        .statement = is_verbatim ? memory_copy(text) : lexer_redact(text),
        .error = error,
    };

    journal_add(&connection->instance->journal, &entry);
}

static int32_t first_error(const struct reply *reply)
{
    return reply_failed(reply) ? reply->messages[0].number : 0;
}

/* The text after ALL_HEADERS (MS-TDS 2.2.5.3), owned by the caller, or NULL. */
static char *batch_text(const uint8_t *payload, size_t len)
{
    uint32_t headers;

    if (len < sizeof(headers))
        return NULL;
    headers = (uint32_t)payload[0] | (uint32_t)payload[1] << 8 | (uint32_t)payload[2] << 16 |
              (uint32_t)payload[3] << 24;
    if (headers < sizeof(headers) || headers > len)
        return NULL;
    return tds_text_decode(payload + headers, len - headers);
}

static void handle_batch(struct connection *connection, const uint8_t *payload, size_t len)
{
    char *text = batch_text(payload, len);
    struct reply reply = {0};
    bool is_known = true;

    if (!text) {
        connection->stage = STAGE_CLOSING;
        return;
    }
    if (connection->session->is_killed) {
        reply_message(&reply, 596, NULL, NULL);
        reply.is_last = true;
    } else {
        is_known = statements_run(connection->session, text, &reply);
    }
    record(connection, text, is_known, first_error(&reply));
    OPENSSL_cleanse(text, strlen(text));
    free(text);
    send_reply(connection, &reply);
    reply_deinit(&reply);
    simulator_changed(connection->instance->simulator);
}

/* RPC and the like: recorded, never understood. */
static void handle_other(struct connection *connection)
{
    struct reply reply = {0};

    reply_message(&reply, 102, tds_packet_name(connection->message.type), NULL);
    record(connection, "", false, first_error(&reply));
    send_reply(connection, &reply);
    reply_deinit(&reply);
    simulator_changed(connection->instance->simulator);
}

static void handle_request(struct connection *connection, const uint8_t *payload, size_t len)
{
    if (connection->message.is_reset)
        session_reset(connection->session);
    if (connection->message.type == TDS_ATTENTION) {
        struct evbuffer *tokens = new_buffer();

        tds_token_attention(tokens);
        send_message(connection, TDS_TABULAR, tokens);
        evbuffer_free(tokens);
    } else if (connection->message.type == TDS_SQL_BATCH) {
        handle_batch(connection, payload, len);
    } else {
        handle_other(connection);
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
        handle_login(connection, bytes, len);
        break;
    case STAGE_READY:
        handle_request(connection, bytes, len);
        break;
    case STAGE_CLOSING:
        break;
    }
    evbuffer_drain(payload, evbuffer_get_length(payload));
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

static void on_sent(struct bufferevent *stream, void *argument)
{
    (void)stream;
    connection_free(argument, false);
}

/* Ends the connection when what was answered is on its way. */
static void finish(struct connection *connection)
{
    bufferevent_disable(connection->stream, EV_READ);
    if (evbuffer_get_length(bufferevent_get_output(connection->stream)))
        bufferevent_setcb(connection->stream, NULL, on_sent, NULL, connection);
    else
        connection_free(connection, false);
}

static void on_read(struct bufferevent *stream, void *argument)
{
    struct connection *connection = argument;
    enum tds_packet_result result = TDS_PACKET_MORE;

    simulator_advance(connection->instance->simulator);
    count_clear(connection);
    while (connection->stage != STAGE_CLOSING) {
        result = take_message(connection);
        if (result != TDS_PACKET_COMPLETE)
            break;
        handle_message(connection);
    }
    connection->counted_clear = evbuffer_get_length(bufferevent_get_input(stream));
    if (result == TDS_PACKET_MALFORMED || connection->stage == STAGE_CLOSING)
        finish(connection);
}

static void on_event(struct bufferevent *stream, short what, void *argument)
{
    (void)stream;
    (void)what; /* end of file or an error; no time-outs are set */
    connection_free(argument, false);
}

static void on_ending(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    connection_free(argument, true);
}

void connection_new(struct instance *instance, evutil_socket_t fd)
{
    struct connection *connection = memory_new(sizeof(*connection));
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    connection->instance = instance;
    connection->packet_size = PACKET_SIZE_INITIAL;
    connection->plain = new_buffer();
    connection->message.payload = new_buffer();
    connection->ending = evtimer_new(instance->simulator->base, on_ending, connection);
    connection->stream =
        bufferevent_socket_new(instance->simulator->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!connection->ending || !connection->stream)
        abort();
    bufferevent_setcb(connection->stream, on_read, NULL, on_event, connection);
    LIST_INSERT_HEAD(&instance->connections, connection, entry);
    instance->connection_count++;
    if (replica_of(connection)->is_hung)
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
    LIST_REMOVE(connection, entry);
    if (connection->session)
        session_free(connection->session);
    bufferevent_free(connection->stream);
    event_free(connection->ending);
    tds_tls_free(connection->tls);
    evbuffer_free(connection->plain);
    evbuffer_free(connection->message.payload);
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
