/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/connection_parts.h"
#include "tests/sqlsim/tds_token.h"

#define PACKET_SIZE_MIN 512
#define PACKET_SIZE_MAX 32767
#define PACKET_SIZE_MAX_TLS 8000 /* sqlserver-facts 8: 8192 is capped to 8000 */

/* 10.9: the connection breaks at once, or the next batch is answered with 596. */
static void on_kill(struct session *session, void *argument)
{
    struct connection *connection = argument;

    /* Over a line that is cut no reset arrives. */
    if (session->model->switches.session_kill == SWITCH_KILL_CLOSE && !connection->is_silent)
        event_active(connection->ending, EV_TIMEOUT, 0);
}

static void send_login_ack(struct connection *connection, const struct reply *reply,
                           uint32_t client_version)
{
    struct evbuffer *tokens = connection_buffer();
    struct tds_login_ack ack = {
        .tds_version = client_version < TDS_VERSION_74 ? client_version : TDS_VERSION_74,
        .server_name = connection_model(connection)->server_name,
        .version = connection_model(connection)->version,
        .packet_size = connection->packet_size,
    };

    tds_token_login(tokens, reply, &ack);
    connection_send(connection, TDS_TABULAR, tokens);
    evbuffer_free(tokens);
}

/* Whether the login is refused by a trouble before its name and password are looked at. */
static bool is_refused(struct connection *connection, const char *login)
{
    struct reply reply = {0};

    if (connection_meet(connection, TROUBLE_LOGIN, login, NULL) != TROUBLE_ERROR)
        return false;
    connection_trouble_error(connection, &reply);
    reply.is_last = true;
    connection_send_reply(connection, &reply);
    reply_deinit(&reply);
    return true;
}

/* account NULL: by name and password. */
static void log_in(struct connection *connection, const char *account)
{
    const struct tds_login *login = &connection->login;
    struct instance *instance = connection->instance;
    struct session_login wanted = {
        .name = account ? account : login->user,
        .password = account ? NULL : login->password,
        .database = login->database,
        .has_read_intent = login->has_read_intent,
        .listener = connection->listener,
    };
    struct reply reply = {0};

    if (is_refused(connection, wanted.name))
        return;
    connection->session =
        session_new(&instance->simulator->model, instance->index, &wanted, &reply);
    if (connection->session) {
        connection->session->on_kill = on_kill;
        connection->session->argument = connection;
        connection->session->is_encrypted = connection->is_encrypted;
        connection->stage = STAGE_READY;
        send_login_ack(connection, &reply, login->tds_version);
    } else {
        reply.is_last = true;
        connection_send_reply(connection, &reply);
    }
    reply_deinit(&reply);
    simulator_changed(instance->simulator);
}

static void negotiate_size(struct connection *connection, uint32_t wanted)
{
    const size_t most = connection->is_encrypted ? PACKET_SIZE_MAX_TLS : PACKET_SIZE_MAX;

    if (wanted >= PACKET_SIZE_MIN)
        connection->packet_size = wanted < most ? wanted : most;
}

/* 2.2: whatever is wrong with a ticket, the client is not told. */
static void refuse_ticket(struct connection *connection)
{
    struct reply reply = {0};

    reply_message(&reply, 18452, NULL, NULL);
    reply.is_last = true;
    connection_send_reply(connection, &reply);
    reply_deinit(&reply);
}

static void send_token(struct connection *connection, struct evbuffer *token)
{
    struct evbuffer *tokens = connection_buffer();

    tds_token_sspi(tokens, token);
    connection_send(connection, TDS_TABULAR, tokens);
    evbuffer_free(tokens);
}

static void accept_token(struct connection *connection, const uint8_t *token, size_t len)
{
    struct evbuffer *answer = connection_buffer();

    switch (kerberos_accept(connection->kerberos, token, len, answer)) {
    case KERBEROS_MORE:
        connection->stage = STAGE_SSPI;
        send_token(connection, answer);
        break;
    case KERBEROS_DONE:
        if (evbuffer_get_length(answer))
            send_token(connection, answer);
        log_in(connection, kerberos_account(connection->kerberos));
        break;
    case KERBEROS_FAILED:
        refuse_ticket(connection);
        break;
    }
    evbuffer_free(answer);
}

void connection_login(struct connection *connection, const uint8_t *payload, size_t len)
{
    struct tds_login *login = &connection->login;

    /* TDS 7.2 is the oldest whose tokens tds_token.c writes. */
    if (connection->message.type != TDS_LOGIN7 || tds_login_parse(payload, len, login) ||
        login->tds_version < TDS_VERSION_72) {
        connection->is_closing = true;
        return;
    }
    if (connection->encryption == TDS_ENCRYPT_OFF)
        connection->is_encrypted = false; /* it was for the login only */
    negotiate_size(connection, login->packet_size);
    if (login->has_sspi) {
        connection->kerberos = kerberos_new(connection->instance->keytab);
        accept_token(connection, login->token, login->token_len);
    } else {
        log_in(connection, NULL);
    }
}

void connection_login_token(struct connection *connection, const uint8_t *payload, size_t len)
{
    if (connection->message.type == TDS_SSPI)
        accept_token(connection, payload, len);
    else
        connection->is_closing = true;
}
