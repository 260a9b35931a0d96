/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/client_options.h"
#include "tests/sqlsim/connection_parts.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/statements.h"
#include "tests/sqlsim/tds_rpc.h"
#include "tests/sqlsim/tds_text.h"
#include "tests/sqlsim/tds_token.h"
#include "tests/sqlsim/transaction.h"

#include <openssl/crypto.h>

#include <stdlib.h>
#include <string.h>

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
        .login = memory_copy(session->login_name),
        .database = memory_copy(session_database_name(session)),
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

/* Whether the batch is to be executed; else the trouble has answered, silenced or ended it. */
static bool is_executed(struct connection *connection, const char *text, struct reply *reply)
{
    const char *login = connection->session->login_name;

    switch (connection_meet(connection, TROUBLE_QUERY, login, text)) {
    case TROUBLE_NONE:
        return true;
    case TROUBLE_ERROR:
        connection_trouble_error(connection, reply);
        break;
    case TROUBLE_BLOCK:
        connection->is_blocked = true;
        break;
    default:
        connection_stop(connection);
        break;
    }
    return false;
}

/* SET LOCK_TIMEOUT: milliseconds, -1 is for ever. false: something else. */
static bool set_lock_timeout(struct session *session, const char *text)
{
    struct lexer_parameters parameters = {0};
    bool is_match = lexer_match("SET LOCK_TIMEOUT $arguments", text, &parameters);

    if (is_match)
        session->lock_timeout_ms = strtoll(parameters.values[0], NULL, 10);
    lexer_parameters_deinit(&parameters);
    return is_match;
}

/* Whether the reply is that another transaction is in the way, and time to wait is left. */
static bool must_wait(const struct session *session, const struct reply *reply)
{
    return first_error(reply) == 1222 && session->lock_timeout_ms &&
           transaction_is_locked_out(session);
}

/* Keeps the batch until the lock is gone or the session's patience. */
static void wait_for_lock(struct connection *connection, const char *text)
{
    int64_t ms = connection->session->lock_timeout_ms;
    const struct timeval patience = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    connection->waiting = memory_copy(text);
    connection->instance->waiting++;
    connection->is_blocked = true;
    if (ms > 0 && !evtimer_pending(connection->patience, NULL))
        evtimer_add(connection->patience, &patience);
}

/* The batch that waited, no more; owned by the caller. */
static char *stop_waiting(struct connection *connection)
{
    char *text = connection->waiting;

    connection->waiting = NULL;
    connection->instance->waiting -= text != NULL;
    connection->is_blocked = false;
    return text;
}

/* Runs the batch; false: the model does not know it. */
static bool execute(struct connection *connection, const char *text, struct reply *reply)
{
    bool is_known;

    if (connection->session->is_killed) {
        reply_message(reply, 596, NULL, NULL);
        reply->is_last = true;
        return true;
    }
    is_known = set_lock_timeout(connection->session, text) || client_options_match(text) ||
               statements_run(connection->session, text, reply);
    if (must_wait(connection->session, reply))
        return is_known;
    if (connection_meet(connection, TROUBLE_ANSWER, connection->session->login_name, text) ==
        TROUBLE_ERROR)
        connection_trouble_error(connection, reply);
    return is_known;
}

static void run_batch(struct connection *connection, const char *text)
{
    struct reply reply = {.is_procedure = connection->message.type == TDS_RPC};
    bool is_answered = true, is_known = true;

    if (is_executed(connection, text, &reply))
        is_known = execute(connection, text, &reply);
    else
        is_answered = reply.message_count > 0;
    if (must_wait(connection->session, &reply)) {
        wait_for_lock(connection, text);
        reply_deinit(&reply);
        return;
    }
    evtimer_del(connection->patience);
    record(connection, text, is_known, first_error(&reply));
    if (is_answered)
        connection_send_reply(connection, &reply);
    reply_deinit(&reply);
    simulator_changed(connection->instance->simulator);
}

static void rerun(struct connection *connection, int64_t lock_timeout_ms)
{
    CLEANUP(cleanup_free) char *text = stop_waiting(connection);
    struct session *session = connection->session;
    int64_t own_ms = session->lock_timeout_ms;

    session->lock_timeout_ms = lock_timeout_ms;
    run_batch(connection, text);
    session->lock_timeout_ms = own_ms;
    OPENSSL_cleanse(text, strlen(text));
    if (connection->is_closing)
        connection_finish(connection);
}

void connection_retry(struct connection *connection)
{
    if (connection->waiting &&
        (connection->session->is_killed || !transaction_is_locked_out(connection->session)))
        rerun(connection, connection->session->lock_timeout_ms);
}

/* 1222 now: as if the session had never wanted to wait. */
void connection_on_patience(evutil_socket_t fd, short what, void *argument)
{
    struct connection *connection = argument;

    (void)fd;
    (void)what;
    if (connection->waiting)
        rerun(connection, 0);
}

static void handle_batch(struct connection *connection, const uint8_t *payload, size_t len)
{
    char *text = batch_text(payload, len);

    if (!text) {
        connection->is_closing = true;
        return;
    }
    run_batch(connection, text);
    OPENSSL_cleanse(text, strlen(text));
    free(text);
}

/* Of an outside client; false: not one that is understood. */
static bool handle_rpc(struct connection *connection, const uint8_t *payload, size_t len)
{
    char *text = NULL;

    if (connection->message.type != TDS_RPC || tds_rpc_statement(payload, len, &text))
        return false;
    run_batch(connection, text);
    OPENSSL_cleanse(text, strlen(text));
    free(text);
    return true;
}

/* Other RPCs and the like: recorded, never understood. */
static void handle_other(struct connection *connection)
{
    struct reply reply = {0};

    reply_message(&reply, 102, tds_packet_name(connection->message.type), NULL);
    record(connection, "", false, first_error(&reply));
    connection_send_reply(connection, &reply);
    reply_deinit(&reply);
    simulator_changed(connection->instance->simulator);
}

/*
 * MS-TDS 2.2.1.7: a DONE with the attention bit, whether or not something was running. Before it
 * the answer to the batch that it ends, in a message of its own: that is what tedious waits for.
 */
static void handle_attention(struct connection *connection)
{
    struct evbuffer *tokens = connection_buffer();

    connection->instance->attentions++;
    if (connection->is_blocked) {
        const struct reply nothing = {0};

        evtimer_del(connection->patience);
        free(stop_waiting(connection));
        connection_send_reply(connection, &nothing);
    }
    tds_token_attention(tokens);
    (void)connection_meet(connection, TROUBLE_ATTENTION, connection->session->login_name, NULL);
    connection_send(connection, TDS_TABULAR, tokens);
    evbuffer_free(tokens);
    simulator_changed(connection->instance->simulator);
}

void connection_request(struct connection *connection, const uint8_t *payload, size_t len)
{
    if (connection->message.is_reset)
        session_reset(connection->session);
    if (connection->message.type == TDS_ATTENTION)
        handle_attention(connection);
    else if (connection->message.type == TDS_SQL_BATCH)
        handle_batch(connection, payload, len);
    else if (!handle_rpc(connection, payload, len))
        handle_other(connection);
}
