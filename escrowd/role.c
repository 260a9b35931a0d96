/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/role.h"

#include "libescrow/ipc_channel.h"
#include "libescrow/log.h"

#include <stdlib.h>
#include <unistd.h>

struct role {
    struct event_base *base;
    const struct role_events *events;
    void *argument;
    struct ipc_channel *channel;
    bool is_orphaned;
};

static enum escrow_err on_peer(struct ipc_channel *channel, const struct ipc_message *message,
                               void *argument)
{
    struct role *role = argument;
    struct ipc_peer peer;
    enum escrow_err err = ipc_get_peer(message, &peer);

    (void)channel;
    if (err) {
        close(message->fd);
        return err;
    }
    role->events->on_peer(&peer, message->fd, role->argument);
    return ESCROW_OK;
}

static enum escrow_err on_ping(struct ipc_channel *channel, const struct ipc_message *message,
                               void *argument)
{
    (void)argument;
    if (message->len > 0)
        return ESCROW_ERR_MALFORMED;
    if (ipc_channel_send(channel, IPC_PONG, message->id, NULL) != ESCROW_OK)
        log_warning("the supervisor does not take answers");
    return ESCROW_OK;
}

static enum escrow_err on_shutdown(struct ipc_channel *channel, const struct ipc_message *message,
                                   void *argument)
{
    struct role *role = argument;

    (void)channel;
    if (message->len > 0)
        return ESCROW_ERR_MALFORMED;
    role->events->on_shutdown(role->argument);
    return ESCROW_OK;
}

static enum escrow_err on_reload(struct ipc_channel *channel, const struct ipc_message *message,
                                 void *argument)
{
    struct role *role = argument;

    (void)channel;
    if (message->len > 0 || !role->events->on_reload) {
        close(message->fd);
        return ESCROW_ERR_MALFORMED;
    }
    role->events->on_reload(message->fd, role->argument);
    return ESCROW_OK;
}

static void on_close(struct ipc_channel *channel, enum ipc_closed why, void *argument)
{
    struct role *role = argument;

    (void)channel;
    log_error("the supervisor is gone (%s)", ipc_closed_text(why));
    role->is_orphaned = true;
    event_base_loopbreak(role->base);
}

static const struct ipc_permit permits[] = {
    {.type = IPC_PEER, .states = IPC_ANY_STATE, .handler = on_peer, .takes_fd = true},
    {.type = IPC_PING, .states = IPC_ANY_STATE, .handler = on_ping},
    {.type = IPC_SHUTDOWN, .states = IPC_ANY_STATE, .handler = on_shutdown},
    {.type = IPC_RELOAD, .states = IPC_ANY_STATE, .handler = on_reload, .takes_fd = true},
};

enum escrow_err role_new(struct event_base *base, int fd, const struct role_events *events,
                         void *argument, struct role **ret_role)
{
    struct ipc_channel_config config = {.base = base,
                                        .name = "supervisor",
                                        .permits = permits,
                                        .permit_count = ARRAY_LEN(permits),
                                        .state = 1,
                                        .on_close = on_close};
    CLEANUP(role_free_p) struct role *role = calloc(1, sizeof(*role));
    enum escrow_err err;

    if (!role) {
        cleanup_close(&fd);
        return ESCROW_ERR_NO_MEMORY;
    }
    role->base = base;
    role->events = events;
    role->argument = argument;
    config.argument = role;
    err = ipc_channel_new(&config, fd, &role->channel);
    if (err)
        return err;
    *ret_role = TAKE(role);
    return ESCROW_OK;
}

void role_free(struct role *role)
{
    if (!role)
        return;
    ipc_channel_free(role->channel);
    free(role);
}

enum escrow_err role_ready(struct role *role, uint16_t port)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    ipc_put_u32(&writer, port);
    return ipc_channel_send(role->channel, IPC_READY, 0, &writer);
}

bool role_reloaded(struct role *role, bool is_taken)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    ipc_put_bool(&writer, is_taken);
    if (ipc_channel_send(role->channel, IPC_RELOADED, 0, &writer) == ESCROW_OK)
        return true;
    log_warning("the supervisor does not take messages");
    return false;
}

bool role_status(struct role *role, const char *text)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    ipc_put_string(&writer, text);
    if (ipc_channel_send(role->channel, IPC_STATUS, 0, &writer) == ESCROW_OK)
        return true;
    log_warning("the supervisor does not take messages");
    return false;
}

void role_restart_peer(struct role *role, const struct ipc_peer *peer)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    ipc_put_peer(&writer, peer);
    if (ipc_channel_send(role->channel, IPC_RESTART_ROLE, 0, &writer) != ESCROW_OK)
        log_warning("the supervisor does not take messages");
}

bool role_is_orphaned(const struct role *role)
{
    return role->is_orphaned;
}
