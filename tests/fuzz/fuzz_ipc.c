/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between roles and processes, as a hostile one would send them: a payload that is taken
 * is, byte for byte, what we would send for the message that it was taken for. The first byte of
 * the input chooses the decoder, the rest is the payload.
 */
#include "client/worker_result.h"
#include "escrowd/ipc_messages.h"
#include "libescrow/ipc_probe.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* Decodes the message and, if it is one, encodes it again. */
typedef enum escrow_err (*again_fn)(const struct ipc_message *message, struct ipc_writer *writer);

static enum escrow_err request(const struct ipc_message *message, struct ipc_writer *writer)
{
    struct ipc_request request;
    enum escrow_err err = ipc_get_request(message, &request);

    if (!err)
        ipc_put_request(writer, &request);
    return err;
}

static enum escrow_err reply(const struct ipc_message *message, struct ipc_writer *writer)
{
    struct ipc_reply reply;
    enum escrow_err err = ipc_get_reply(message, &reply);

    if (!err) {
        FUZZ_CHECK(reply.http_status >= 200 && reply.http_status < 600);
        ipc_put_reply(writer, &reply);
    }
    return err;
}

static enum escrow_err peer(const struct ipc_message *message, struct ipc_writer *writer)
{
    struct ipc_peer peer;
    enum escrow_err err = ipc_get_peer(message, &peer);

    if (!err)
        ipc_put_peer(writer, &peer);
    return err;
}

static enum escrow_err question_of(const struct ipc_message *message, struct ipc_writer *writer,
                                   enum ipc_probe_type type)
{
    struct ipc_message typed = *message;
    struct ipc_probe_question question;
    enum escrow_err err;

    typed.type = type;
    err = ipc_get_probe_question(&typed, &question);
    if (!err)
        ipc_put_probe_question(writer, type, &question);
    return err;
}

static enum escrow_err ask_state(const struct ipc_message *message, struct ipc_writer *writer)
{
    return question_of(message, writer, IPC_PROBE_ASK_STATE);
}

static enum escrow_err ask_session(const struct ipc_message *message, struct ipc_writer *writer)
{
    return question_of(message, writer, IPC_PROBE_ASK_SESSION);
}

static enum escrow_err ask_echo(const struct ipc_message *message, struct ipc_writer *writer)
{
    return question_of(message, writer, IPC_PROBE_ASK_ECHO);
}

static enum escrow_err echo(const struct ipc_message *message, struct ipc_writer *writer)
{
    struct probe_echo echo;
    enum escrow_err err = ipc_get_probe_echo(message, &echo);

    if (!err)
        ipc_put_probe_echo(writer, &echo);
    return err;
}

static enum escrow_err state(const struct ipc_message *message, struct ipc_writer *writer)
{
    struct probe_state state;
    enum escrow_err err = ipc_get_probe_state(message, &state);

    if (!err)
        ipc_put_probe_state(writer, &state);
    return err;
}

static enum escrow_err ask_states(const struct ipc_message *message, struct ipc_writer *writer)
{
    return question_of(message, writer, IPC_PROBE_ASK_STATES);
}

static enum escrow_err states(const struct ipc_message *message, struct ipc_writer *writer)
{
    CLEANUP(cleanup_free) struct ipc_probe_states *states = NULL;
    enum escrow_err err = ipc_get_probe_states(message, &states);

    if (!err) {
        FUZZ_CHECK(states->count > 0 && states->count <= PROBE_STATES_MAX);
        ipc_put_probe_states(writer, states);
    }
    return err;
}

static enum escrow_err session(const struct ipc_message *message, struct ipc_writer *writer)
{
    struct ipc_probe_session session;
    enum escrow_err err = ipc_get_probe_session(message, &session);

    if (!err)
        ipc_put_probe_session(writer, &session);
    return err;
}

static enum escrow_err opens(const struct ipc_message *message, struct ipc_writer *writer)
{
    struct ipc_probe_opens opens;
    enum escrow_err err = ipc_get_probe_opens(message, &opens);

    if (!err)
        ipc_put_probe_opens(writer, &opens);
    return err;
}

static enum escrow_err part(const struct ipc_message *message, struct ipc_writer *writer)
{
    enum worker_part part;
    enum escrow_err err = worker_get_part(message, &part);

    if (!err) {
        FUZZ_CHECK(strcmp(worker_part_name(part), "unknown") != 0);
        worker_put_part(writer, part);
    }
    return err;
}

static enum escrow_err result(const struct ipc_message *message, struct ipc_writer *writer)
{
    struct worker_result result;
    enum escrow_err err = worker_get_result(message, &result);

    if (!err) {
        FUZZ_CHECK(result.outcome != WORKER_DIED);
        worker_put_result(writer, &result);
    }
    return err;
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    static const again_fn decoders[] = {request,  reply,   peer,       ask_state, ask_session,
                                        state,    session, opens,      part,      result,
                                        ask_echo, echo,    ask_states, states};
    struct fuzz_source source = {bytes, len};
    const again_fn again = decoders[fuzz_take_byte(&source) % ARRAY_LEN(decoders)];
    const struct ipc_message message = {.payload = source.bytes, .len = source.len, .fd = -1};
    struct ipc_writer writer = {0};
    enum escrow_err err = again(&message, &writer);

    /* Without memory for it a message is taken for none. */
    FUZZ_CHECK(err == ESCROW_OK || err == ESCROW_ERR_MALFORMED ||
               !fuzz_went_well(err != ESCROW_ERR_NO_MEMORY));
    if (!err && fuzz_went_well(writer.err == ESCROW_OK))
        FUZZ_CHECK(writer.len == source.len &&
                   (writer.len == 0 || memcmp(writer.bytes, source.bytes, writer.len) == 0));
    ipc_writer_deinit(&writer);
}
