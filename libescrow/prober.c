/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/prober.h"

#include "libescrow/cleanup.h"
#include "libescrow/ipc_probe.h"
#include "libescrow/log.h"
#include "libescrow/probe_hold.h"

#include <stdlib.h>

#define SEND_TIMEOUT_MS 5000

struct prober {
    struct probe **probes; /* one for each target */
    size_t count;
    struct probe_hold hold;            /* one account for all of them */
    struct sql_connection *connection; /* and one session */
    struct sql_connection *reading;    /* and one with read intent, once it is asked for */
};

static void prober_deinit(struct prober *prober)
{
    for (size_t i = 0; i < prober->count; i++)
        probe_free(prober->probes[i]);
    free(prober->probes);
    sql_close(prober->connection);
    sql_close(prober->reading);
}

static enum escrow_err prober_init(struct prober *prober, const struct prober_config *config)
{
    prober->probes = calloc(config->target_count, sizeof(struct probe *));
    if (!prober->probes)
        return ESCROW_ERR_NO_MEMORY;
    for (size_t i = 0; i < config->target_count; i++) {
        const struct probe_config probe = {
            .instance = *config->instance,
            .availability_group = config->targets[i].availability_group,
            .database = config->targets[i].database,
            .hold = &prober->hold,
            .connection = &prober->connection,
            .reading = &prober->reading,
        };
        enum escrow_err err = probe_new(&probe, &prober->probes[i]);

        if (err)
            return err;
        prober->count++;
    }
    return ESCROW_OK;
}

/* Asks the instance and writes the answer. ESCROW_ERR_MALFORMED for a type that is no question. */
static enum escrow_err answer(struct probe *probe, uint32_t type,
                              const struct ipc_probe_question *question, uint32_t *ret_type,
                              struct ipc_writer *writer)
{
    struct ipc_probe_session session = {0};
    struct ipc_probe_opens opens = {0};
    struct probe_echo echo;
    struct probe_members members;
    struct probe_state state;

    switch (type) {
    case IPC_PROBE_ASK_STATE:
    case IPC_PROBE_ASK_LOCAL:
        if (type == IPC_PROBE_ASK_STATE)
            probe_ask_state(probe, &state);
        else
            probe_ask_local(probe, &state);
        *ret_type = IPC_PROBE_STATE;
        ipc_put_probe_state(writer, &state);
        return ESCROW_OK;
    case IPC_PROBE_ASK_SESSION:
        session.outcome =
            probe_ask_session(probe, question->nonce, question->login, &session.is_found);
        *ret_type = IPC_PROBE_SESSION;
        ipc_put_probe_session(writer, &session);
        return ESCROW_OK;
    case IPC_PROBE_ASK_OPENS:
        opens.opens = probe_ask_opens(probe, &opens.sql_error);
        *ret_type = IPC_PROBE_OPENS;
        ipc_put_probe_opens(writer, &opens);
        return ESCROW_OK;
    case IPC_PROBE_ASK_ECHO:
        probe_ask_echo(probe, question->nonce, &echo);
        *ret_type = IPC_PROBE_ECHO;
        ipc_put_probe_echo(writer, &echo);
        return ESCROW_OK;
    case IPC_PROBE_ASK_MEMBERS:
        probe_ask_members(probe, &members);
        *ret_type = IPC_PROBE_MEMBERS;
        ipc_put_probe_members(writer, &members);
        return ESCROW_OK;
    default:
        return ESCROW_ERR_MALFORMED;
    }
}

/* The same of many at once. */
static enum escrow_err answer_states(const struct prober *prober,
                                     const struct ipc_probe_question *question,
                                     struct ipc_writer *writer)
{
    CLEANUP(cleanup_free) struct ipc_probe_states *states = NULL;

    if (question->count > prober->count - question->target)
        return ESCROW_ERR_MALFORMED;
    states = calloc(1, sizeof(*states) + question->count * sizeof(states->items[0]));
    if (!states)
        return ESCROW_ERR_NO_MEMORY;
    states->count = question->count;
    probe_ask_states(&prober->probes[question->target], states->count, states->items);
    ipc_put_probe_states(writer, states);
    return ESCROW_OK;
}

static enum escrow_err serve_one(const struct prober *prober, int fd,
                                 const struct ipc_message *message)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    struct ipc_probe_question question;
    uint32_t type = IPC_PROBE_STATES;
    enum escrow_err err = ipc_get_probe_question(message, &question);

    if (err)
        return err;
    if (question.target >= prober->count)
        return ESCROW_ERR_MALFORMED;
    if (message->type == IPC_PROBE_ASK_STATES)
        err = answer_states(prober, &question, &writer);
    else
        err = answer(prober->probes[question.target], message->type, &question, &type, &writer);
    if (err)
        return err;
    return ipc_send(fd, type, message->id, &writer, SEND_TIMEOUT_MS);
}

static enum escrow_err serve(const struct prober *prober, int fd)
{
    CLEANUP(ipc_buffer_free_p) struct ipc_buffer *buffer = ipc_buffer_new();

    if (!buffer)
        return ESCROW_ERR_NO_MEMORY;
    for (;;) {
        struct ipc_message message;
        enum escrow_err err = ipc_receive(fd, buffer, IPC_NO_DEADLINE, &message);

        if (!err) {
            cleanup_close(&message.fd);
            err = serve_one(prober, fd, &message);
        }
        if (err == ESCROW_ERR_UNAVAILABLE)
            return ESCROW_OK;
        if (err)
            return err;
    }
}

enum escrow_err prober_run(int fd, const struct prober_config *config)
{
    CLEANUP(prober_deinit) struct prober prober = {0};
    enum escrow_err err = prober_init(&prober, config);

    if (!err)
        err = serve(&prober, fd);
    if (err)
        log_error("prober: %s: ended: %s", config->instance->name, escrow_err_name(err));
    return err;
}
