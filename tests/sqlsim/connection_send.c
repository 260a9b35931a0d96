/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/connection_parts.h"
#include "tests/sqlsim/garble.h"
#include "tests/sqlsim/tds_token.h"

#include <stdio.h>

#define DEADLOCK 1205  /* its text names the session, others the database */
#define CLASS_FATAL 20 /* from here on SQL Server closes the connection */

enum trouble_kind connection_meet(struct connection *connection, enum trouble_stage stage,
                                  const char *login, const char *statement)
{
    const struct trouble_occasion occasion = {
        .stage = stage,
        .login = login,
        .statement = statement,
        .from = connection->peer.sin_addr.s_addr,
    };
    const struct trouble *met = troubles_meet(&connection->instance->troubles, &occasion);

    /* A copy: `trouble NODE off` may come before the answer leaves. */
    connection->trouble = met ? *met : (struct trouble){0};
    connection->trouble.login = NULL;
    connection->trouble.statement = NULL;
    return connection->trouble.kind;
}

void connection_trouble_error(struct connection *connection, struct reply *reply)
{
    const struct trouble *trouble = &connection->trouble;
    const struct session *session = connection->session;
    char id[16] = "";
    const bool is_procedure = reply->is_procedure;

    if (session)
        snprintf(id, sizeof(id), "%d", (int)session->id);
    reply_deinit(reply);
    reply->is_procedure = is_procedure;
    reply_error(reply, (int32_t)trouble->arguments[0],
                trouble->argument_count > 1 ? (uint8_t)trouble->arguments[1] : 0,
                trouble->argument_count > 2 ? (uint8_t)trouble->arguments[2] : 0,
                trouble->arguments[0] == DEADLOCK || !session ? id
                                                              : session_database_name(session));
    reply->is_last = reply->messages[0].level >= CLASS_FATAL;
    connection->trouble.kind = TROUBLE_NONE;
}

void connection_stop(struct connection *connection)
{
    switch (connection->trouble.kind) {
    case TROUBLE_HANG:
        connection->is_silent = true;
        break;
    case TROUBLE_RESET:
        connection->is_reset = true;
        connection->is_closing = true;
        break;
    case TROUBLE_CLOSE:
        connection->is_closing = true;
        break;
    default:
        break;
    }
    connection->trouble.kind = TROUBLE_NONE;
}

/* Leaves the first bytes. */
static void cut(struct evbuffer *packets, size_t bytes)
{
    struct evbuffer *head = connection_buffer();

    evbuffer_remove_buffer(packets, head, bytes);
    evbuffer_drain(packets, evbuffer_get_length(packets));
    evbuffer_add_buffer(packets, head);
    evbuffer_free(head);
}

/* What the trouble makes of an answer, before TLS. */
static void alter(struct connection *connection, struct evbuffer *packets)
{
    const struct trouble *trouble = &connection->trouble;

    switch (trouble->kind) {
    case TROUBLE_HANG:
    case TROUBLE_CLOSE:
    case TROUBLE_RESET:
        cut(packets, trouble->argument_count ? (size_t)trouble->arguments[0] : 0);
        break;
    case TROUBLE_GARBAGE:
        garbage(packets, trouble->arguments[0]);
        break;
    case TROUBLE_SLOW:
        connection->pace_bytes = SIZE_MAX;
        connection->pace_ms = trouble->arguments[0];
        break;
    case TROUBLE_DRIP:
        connection->pace_bytes = (size_t)trouble->arguments[0];
        connection->pace_ms = trouble->arguments[1];
        break;
    default:
        break;
    }
}

static void arm_pace(struct connection *connection)
{
    struct timeval wait = {.tv_sec = connection->pace_ms / 1000,
                           .tv_usec = connection->pace_ms % 1000 * 1000};

    if (!evtimer_pending(connection->pace, NULL))
        evtimer_add(connection->pace, &wait);
}

void connection_on_pace(evutil_socket_t fd, short what, void *argument)
{
    struct connection *connection = argument;
    size_t left = evbuffer_get_length(connection->late);
    size_t part = left < connection->pace_bytes ? left : connection->pace_bytes;

    (void)fd;
    (void)what;
    evbuffer_remove_buffer(connection->late, bufferevent_get_output(connection->stream), part);
    if (part < left) {
        arm_pace(connection);
        return;
    }
    connection->pace_bytes = 0;
    if (connection->is_closing)
        connection_finish(connection);
}

static void transmit(struct connection *connection, struct evbuffer *wire)
{
    if (!connection->pace_bytes) {
        evbuffer_add_buffer(bufferevent_get_output(connection->stream), wire);
        return;
    }
    evbuffer_add_buffer(connection->late, wire);
    arm_pace(connection);
}

void connection_send(struct connection *connection, uint8_t type, struct evbuffer *payload)
{
    struct evbuffer *packets = connection_buffer(), *wire = connection_buffer();
    size_t len = evbuffer_get_length(payload);

    tds_packet_put(packets, type, evbuffer_pullup(payload, -1), len, connection->packet_size);
    evbuffer_drain(payload, len);
    alter(connection, packets);
    /* The handshake is left out: what it protects stands there in clear. */
    if (connection->stage != STAGE_HANDSHAKE)
        pcap_data(connection->instance->simulator->pcap, &connection->flow, PCAP_SERVER,
                  evbuffer_pullup(packets, -1), evbuffer_get_length(packets));
    if (!connection->is_encrypted)
        evbuffer_add_buffer(wire, packets);
    else if (tds_tls_write(connection->tls, packets, wire) == TDS_TLS_FAILED)
        connection->is_closing = true;
    transmit(connection, wire);
    connection_stop(connection);
    evbuffer_free(packets);
    evbuffer_free(wire);
}

/* A server of another language has the same numbers and classes; what its texts say is not ours to
 * know. */
static struct reply in_another_language(const struct reply *reply,
                                        char texts[REPLY_MESSAGES_MAX][16])
{
    struct reply other = *reply;

    for (size_t i = 0; i < reply->message_count; i++) {
        snprintf(texts[i], sizeof(texts[i]), "Meldung %d", (int)reply->messages[i].number);
        other.messages[i].text = texts[i];
    }
    return other;
}

void connection_send_reply(struct connection *connection, const struct reply *reply)
{
    const struct switches *switches = &connection->instance->simulator->model.switches;
    struct evbuffer *tokens = connection_buffer();
    char texts[REPLY_MESSAGES_MAX][16];
    const struct reply sent =
        switches->language == SWITCH_LANGUAGE_ENGLISH ? *reply : in_another_language(reply, texts);

    if (connection->trouble.kind == TROUBLE_EXTRA)
        tds_token_extra(tokens, (size_t)connection->trouble.arguments[0],
                        connection_model(connection)->name);
    tds_token_reply(tokens, &sent, connection_model(connection)->name);
    garble(tokens, switches->garble, connection->replies++);
    connection_send(connection, TDS_TABULAR, tokens);
    evbuffer_free(tokens);
    if (reply->is_last)
        connection->is_closing = true;
}
