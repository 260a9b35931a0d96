/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/ipc_probe.h"

#include "libescrow/cleanup.h"

#include <stdlib.h>
#include <string.h>

#define LOGIN_MAX 512 /* bytes of a sysname */

static bool has_nonce(uint32_t type)
{
    return type == IPC_PROBE_ASK_SESSION || type == IPC_PROBE_ASK_ECHO;
}

/* With a length in front of each of its five texts. */
_Static_assert(sizeof(uint32_t) +
                       PROBE_STATES_MAX * (sizeof(struct probe_state) + 5 * sizeof(uint32_t)) <=
                   IPC_PAYLOAD_MAX,
               "so many states do not fit in a message");

void ipc_put_probe_question(struct ipc_writer *writer, enum ipc_probe_type type,
                            const struct ipc_probe_question *question)
{
    ipc_put_u32(writer, question->target);
    if (type == IPC_PROBE_ASK_STATES)
        ipc_put_u32(writer, question->count);
    if (has_nonce(type))
        ipc_put_bytes(writer, question->nonce, sizeof(question->nonce));
    if (type == IPC_PROBE_ASK_SESSION)
        ipc_put_string(writer, question->login);
}

enum escrow_err ipc_get_probe_question(const struct ipc_message *message,
                                       struct ipc_probe_question *ret_question)
{
    struct ipc_probe_question question = {.login = ""};
    struct ipc_reader reader;
    const uint8_t *nonce;
    enum escrow_err err;
    size_t len;

    ipc_reader_init(&reader, message);
    question.target = ipc_get_u32(&reader);
    if (has_nonce(message->type)) {
        nonce = ipc_get_bytes(&reader, sizeof(question.nonce), &len);
        if (len != sizeof(question.nonce))
            return ESCROW_ERR_MALFORMED;
        memcpy(question.nonce, nonce, len);
    }
    if (message->type == IPC_PROBE_ASK_SESSION)
        question.login = ipc_get_string(&reader, LOGIN_MAX);
    if (message->type == IPC_PROBE_ASK_STATES)
        question.count = ipc_get_enum(&reader, 1, PROBE_STATES_MAX);
    err = ipc_reader_end(&reader);
    if (!err)
        *ret_question = question;
    return err;
}

static void get_text(struct ipc_reader *reader, char *ret_text, size_t cap)
{
    const char *text = ipc_get_string(reader, cap - 1);

    memcpy(ret_text, text, strlen(text) + 1);
}

void ipc_put_probe_state(struct ipc_writer *writer, const struct probe_state *state)
{
    ipc_put_u32(writer, state->outcome);
    ipc_put_i32(writer, state->sql_error);
    ipc_put_string(writer, state->diagnosis);
    ipc_put_string(writer, state->server_name);
    ipc_put_i32(writer, state->cluster_type);
    ipc_put_i32(writer, state->role);
    ipc_put_i32(writer, state->operational_state);
    ipc_put_i32(writer, state->recovery_health);
    ipc_put_i32(writer, state->synchronization_health);
    ipc_put_i32(writer, state->synchronization_state);
    ipc_put_i32(writer, state->database_state);
    ipc_put_bool(writer, state->is_read_write);
    ipc_put_bool(writer, state->is_forwarder);
    ipc_put_bool(writer, state->has_quorum_row);
    ipc_put_i32(writer, state->quorum_state);
    ipc_put_string(writer, state->primary_replica);
    ipc_put_bool(writer, state->has_sequence_number);
    ipc_put_i64(writer, state->sequence_number);
    ipc_put_string(writer, state->recovery_lsn);
}

static void get_state(struct ipc_reader *reader, struct probe_state *state)
{
    state->outcome = (enum probe_outcome)ipc_get_enum(reader, PROBE_ANSWERED, PROBE_NO_ROW);
    state->sql_error = ipc_get_i32(reader);
    get_text(reader, state->diagnosis, sizeof(state->diagnosis));
    get_text(reader, state->server_name, sizeof(state->server_name));
    state->cluster_type = ipc_get_i32(reader);
    state->role = ipc_get_i32(reader);
    state->operational_state = ipc_get_i32(reader);
    state->recovery_health = ipc_get_i32(reader);
    state->synchronization_health = ipc_get_i32(reader);
    state->synchronization_state = ipc_get_i32(reader);
    state->database_state = ipc_get_i32(reader);
    state->is_read_write = ipc_get_bool(reader);
    state->is_forwarder = ipc_get_bool(reader);
    state->has_quorum_row = ipc_get_bool(reader);
    state->quorum_state = ipc_get_i32(reader);
    get_text(reader, state->primary_replica, sizeof(state->primary_replica));
    state->has_sequence_number = ipc_get_bool(reader);
    state->sequence_number = ipc_get_i64(reader);
    get_text(reader, state->recovery_lsn, sizeof(state->recovery_lsn));
}

enum escrow_err ipc_get_probe_state(const struct ipc_message *message,
                                    struct probe_state *ret_state)
{
    struct probe_state state = {0};
    struct ipc_reader reader;
    enum escrow_err err;

    ipc_reader_init(&reader, message);
    get_state(&reader, &state);
    err = ipc_reader_end(&reader);
    if (!err)
        *ret_state = state;
    return err;
}

void ipc_put_probe_states(struct ipc_writer *writer, const struct ipc_probe_states *states)
{
    ipc_put_u32(writer, (uint32_t)states->count);
    for (size_t i = 0; i < states->count; i++)
        ipc_put_probe_state(writer, &states->items[i]);
}

enum escrow_err ipc_get_probe_states(const struct ipc_message *message,
                                     struct ipc_probe_states **ret_states)
{
    CLEANUP(cleanup_free) struct ipc_probe_states *states = NULL;
    struct ipc_reader reader;
    enum escrow_err err;
    size_t count;

    ipc_reader_init(&reader, message);
    count = ipc_get_enum(&reader, 1, PROBE_STATES_MAX);
    states = calloc(1, sizeof(*states) + count * sizeof(states->items[0]));
    if (!states)
        return ESCROW_ERR_NO_MEMORY;
    states->count = count;
    for (size_t i = 0; i < count; i++)
        get_state(&reader, &states->items[i]);
    err = ipc_reader_end(&reader);
    if (!err)
        *ret_states = TAKE(states);
    return err;
}

void ipc_put_probe_session(struct ipc_writer *writer, const struct ipc_probe_session *session)
{
    ipc_put_u32(writer, session->outcome);
    ipc_put_bool(writer, session->is_found);
}

enum escrow_err ipc_get_probe_session(const struct ipc_message *message,
                                      struct ipc_probe_session *ret_session)
{
    struct ipc_probe_session session = {0};
    struct ipc_reader reader;
    enum escrow_err err;

    ipc_reader_init(&reader, message);
    session.outcome = (enum probe_outcome)ipc_get_enum(&reader, PROBE_ANSWERED, PROBE_NO_ROW);
    session.is_found = ipc_get_bool(&reader);
    err = ipc_reader_end(&reader);
    if (!err)
        *ret_session = session;
    return err;
}

void ipc_put_probe_opens(struct ipc_writer *writer, const struct ipc_probe_opens *opens)
{
    ipc_put_u32(writer, opens->opens);
    ipc_put_i32(writer, opens->sql_error);
}

enum escrow_err ipc_get_probe_opens(const struct ipc_message *message,
                                    struct ipc_probe_opens *ret_opens)
{
    struct ipc_probe_opens opens = {0};
    struct ipc_reader reader;
    enum escrow_err err;

    ipc_reader_init(&reader, message);
    opens.opens =
        (enum probe_opens)ipc_get_enum(&reader, PROBE_OPENS_UNKNOWN, PROBE_OPENS_NO_CERTIFICATE);
    opens.sql_error = ipc_get_i32(&reader);
    err = ipc_reader_end(&reader);
    if (!err)
        *ret_opens = opens;
    return err;
}

void ipc_put_probe_echo(struct ipc_writer *writer, const struct probe_echo *echo)
{
    ipc_put_u32(writer, echo->outcome);
    ipc_put_bool(writer, echo->is_found);
    ipc_put_bool(writer, echo->is_late);
    ipc_put_i32(writer, echo->sql_error);
    ipc_put_bool(writer, echo->is_closed);
}

enum escrow_err ipc_get_probe_echo(const struct ipc_message *message, struct probe_echo *ret_echo)
{
    struct probe_echo echo = {0};
    struct ipc_reader reader;
    enum escrow_err err;

    ipc_reader_init(&reader, message);
    echo.outcome = (enum probe_outcome)ipc_get_enum(&reader, PROBE_ANSWERED, PROBE_NO_ROW);
    echo.is_found = ipc_get_bool(&reader);
    echo.is_late = ipc_get_bool(&reader);
    echo.sql_error = ipc_get_i32(&reader);
    echo.is_closed = ipc_get_bool(&reader);
    err = ipc_reader_end(&reader);
    if (!err)
        *ret_echo = echo;
    return err;
}

void ipc_put_probe_members(struct ipc_writer *writer, const struct probe_members *members)
{
    ipc_put_u32(writer, members->outcome);
    ipc_put_u32(writer, (uint32_t)members->count);
    for (size_t i = 0; i < members->count; i++)
        ipc_put_string(writer, members->names[i]);
}

enum escrow_err ipc_get_probe_members(const struct ipc_message *message,
                                      struct probe_members *ret_members)
{
    struct probe_members members = {0};
    struct ipc_reader reader;
    enum escrow_err err;

    ipc_reader_init(&reader, message);
    members.outcome = (enum probe_outcome)ipc_get_enum(&reader, PROBE_ANSWERED, PROBE_NO_ROW);
    members.count = ipc_get_u32(&reader);
    if (members.count > PROBE_MEMBERS_MAX)
        return ESCROW_ERR_MALFORMED;
    for (size_t i = 0; i < members.count; i++)
        get_text(&reader, members.names[i], PROBE_NAME_MAX);
    err = ipc_reader_end(&reader);
    for (size_t i = 0; !err && i < members.count; i++)
        err = members.names[i][0] ? ESCROW_OK : ESCROW_ERR_MALFORMED;
    if (!err)
        *ret_members = members;
    return err;
}
