/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/ipc_channel.h"

#include "libescrow/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define PAUSE_US 10000

struct queued {
    STAILQ_ENTRY(queued) entries;
    struct ipc_header header;
    int fd;
    uint8_t payload[];
};

STAILQ_HEAD(queue, queued);

struct ipc_channel {
    struct ipc_channel_config config;
    int fd;
    struct event *readable;
    struct event *writable;
    struct event *pause; /* pending: the kernel could not do what it said it could */
    struct ipc_buffer *buffer;
    struct queue queue;
    size_t queued;
    size_t queued_bytes;
    bool is_closed;
    bool is_dispatching; /* a callback of the owner runs: free is put off until it returns */
    bool is_freed;
};

static void queued_free(struct queued *entry)
{
    cleanup_close(&entry->fd);
    free(entry);
}

static void disconnect(struct ipc_channel *channel)
{
    struct queued *entry;

    channel->is_closed = true;
    if (channel->readable)
        event_del(channel->readable);
    if (channel->writable)
        event_del(channel->writable);
    if (channel->pause)
        event_del(channel->pause);
    while ((entry = STAILQ_FIRST(&channel->queue)) != NULL) {
        STAILQ_REMOVE_HEAD(&channel->queue, entries);
        queued_free(entry);
    }
    channel->queued = 0;
    channel->queued_bytes = 0;
    cleanup_close(&channel->fd);
}

void ipc_channel_free(struct ipc_channel *channel)
{
    if (!channel)
        return;
    disconnect(channel);
    if (channel->is_dispatching) {
        channel->is_freed = true;
        return;
    }
    if (channel->readable)
        event_free(channel->readable);
    if (channel->writable)
        event_free(channel->writable);
    if (channel->pause)
        event_free(channel->pause);
    ipc_buffer_free(channel->buffer);
    free(channel);
}

/* After a callback of the owner: true if the channel is gone. */
static bool end_dispatch(struct ipc_channel *channel)
{
    channel->is_dispatching = false;
    if (!channel->is_freed)
        return false;
    ipc_channel_free(channel);
    return true;
}

static void close_channel(struct ipc_channel *channel, enum ipc_closed why)
{
    if (channel->is_closed)
        return;
    if (why != IPC_CLOSED_BY_PEER)
        log_error("channel to %s closed: %s", channel->config.name, ipc_closed_text(why));
    disconnect(channel);
    channel->is_dispatching = true;
    channel->config.on_close(channel, why, channel->config.argument);
    end_dispatch(channel);
}

static enum ipc_closed closed_by(enum escrow_err err)
{
    switch (err) {
    case ESCROW_ERR_UNAVAILABLE:
        return IPC_CLOSED_BY_PEER;
    case ESCROW_ERR_MALFORMED:
        return IPC_CLOSED_MALFORMED;
    default:
        return IPC_CLOSED_BROKEN;
    }
}

/*
 * Waits for what there is to be done. An event that cannot be added would leave a channel that is
 * open and deaf.
 */
static void watch(struct ipc_channel *channel)
{
    bool is_sending = !STAILQ_EMPTY(&channel->queue);
    bool is_reading = !is_sending || !channel->config.is_in_turn;

    if ((is_sending && event_add(channel->writable, NULL) < 0) ||
        (is_reading && event_add(channel->readable, NULL) < 0))
        close_channel(channel, IPC_CLOSED_BROKEN);
}

static void on_pause_over(evutil_socket_t fd, short events, void *argument)
{
    (void)fd;
    (void)events;
    watch(argument);
}

/* The kernel lacks memory: the socket stays ready, and the loop would do nothing but ask again. */
static void rest(struct ipc_channel *channel)
{
    const struct timeval pause = {.tv_usec = PAUSE_US};

    if (event_add(channel->pause, &pause) < 0)
        return;
    event_del(channel->readable);
    event_del(channel->writable);
}

static const struct ipc_permit *find_permit(const struct ipc_channel *channel,
                                            const struct ipc_message *message)
{
    for (size_t i = 0; i < channel->config.permit_count; i++) {
        const struct ipc_permit *permit = &channel->config.permits[i];

        if (permit->type == message->type && (permit->states & channel->config.state) != 0 &&
            permit->takes_fd == (message->fd >= 0))
            return permit;
    }
    return NULL;
}

/* One message a call: the loop comes back at once while there are more, and others get a turn. */
static void on_readable(evutil_socket_t fd, short events, void *argument)
{
    struct ipc_channel *channel = argument;
    const struct ipc_permit *permit;
    struct ipc_message message;
    enum escrow_err err;

    (void)fd;
    (void)events;
    err = ipc_try_receive(channel->fd, channel->buffer, &message);
    if (err == ESCROW_ERR_TIMEOUT) {
        rest(channel);
        return;
    }
    if (err) {
        close_channel(channel, closed_by(err));
        return;
    }
    permit = find_permit(channel, &message);
    if (!permit) {
        log_error("message %u from %s is not permitted in state %#x", message.type,
                  channel->config.name, channel->config.state);
        cleanup_close(&message.fd);
        close_channel(channel, IPC_CLOSED_NOT_PERMITTED);
        return;
    }
    channel->is_dispatching = true;
    err = permit->handler(channel, &message, channel->config.argument);
    if (end_dispatch(channel) || !err)
        return;
    log_error("message %u from %s: %s", message.type, channel->config.name, escrow_err_name(err));
    close_channel(channel, IPC_CLOSED_MALFORMED);
}

static void on_writable(evutil_socket_t fd, short events, void *argument)
{
    struct ipc_channel *channel = argument;
    struct queued *entry;
    bool has_sent = false;

    (void)fd;
    (void)events;
    while ((entry = STAILQ_FIRST(&channel->queue)) != NULL) {
        enum escrow_err err = ipc_try_send(channel->fd, &entry->header, entry->payload, entry->fd);

        if (err == ESCROW_ERR_TIMEOUT && !has_sent)
            rest(channel);
        if (err == ESCROW_ERR_TIMEOUT)
            return;
        if (err) {
            close_channel(channel, closed_by(err));
            return;
        }
        has_sent = true;
        STAILQ_REMOVE_HEAD(&channel->queue, entries);
        channel->queued--;
        channel->queued_bytes -= entry->header.length;
        queued_free(entry);
    }
    event_del(channel->writable);
    watch(channel);
}

static enum escrow_err channel_init(struct ipc_channel *channel)
{
    channel->buffer = ipc_buffer_new();
    if (!channel->buffer)
        return ESCROW_ERR_NO_MEMORY;
    channel->readable =
        event_new(channel->config.base, channel->fd, EV_READ | EV_PERSIST, on_readable, channel);
    channel->writable =
        event_new(channel->config.base, channel->fd, EV_WRITE | EV_PERSIST, on_writable, channel);
    channel->pause = evtimer_new(channel->config.base, on_pause_over, channel);
    if (!channel->readable || !channel->writable || !channel->pause)
        return ESCROW_ERR_NO_MEMORY;
    return event_add(channel->readable, NULL) < 0 ? ESCROW_ERR_SYSTEM : ESCROW_OK;
}

enum escrow_err ipc_channel_new(const struct ipc_channel_config *config, int fd,
                                struct ipc_channel **ret_channel)
{
    CLEANUP(ipc_channel_free_p) struct ipc_channel *channel = calloc(1, sizeof(*channel));
    enum escrow_err err;

    if (!channel) {
        cleanup_close(&fd);
        return ESCROW_ERR_NO_MEMORY;
    }
    channel->config = *config;
    channel->fd = fd;
    STAILQ_INIT(&channel->queue);
    err = channel_init(channel);
    if (err)
        return err;
    *ret_channel = TAKE(channel);
    return ESCROW_OK;
}

void ipc_channel_set_state(struct ipc_channel *channel, uint32_t state)
{
    channel->config.state = state;
}

/* Takes fd on success only. */
static enum escrow_err enqueue(struct ipc_channel *channel, const struct ipc_header *header,
                               const uint8_t *payload, int fd)
{
    struct queued *entry;

    if (channel->queued >= IPC_QUEUE_MESSAGES ||
        header->length > IPC_QUEUE_BYTES - channel->queued_bytes)
        return ESCROW_ERR_UNAVAILABLE;
    entry = malloc(sizeof(*entry) + header->length);
    if (!entry)
        return ESCROW_ERR_NO_MEMORY;
    if (event_add(channel->writable, NULL) < 0) {
        free(entry);
        return ESCROW_ERR_SYSTEM;
    }
    if (channel->config.is_in_turn)
        event_del(channel->readable);
    entry->header = *header;
    entry->fd = fd;
    if (header->length > 0)
        memcpy(entry->payload, payload, header->length);
    STAILQ_INSERT_TAIL(&channel->queue, entry, entries);
    channel->queued++;
    channel->queued_bytes += header->length;
    return ESCROW_OK;
}

static enum escrow_err send_or_queue(struct ipc_channel *channel, const struct ipc_header *header,
                                     const uint8_t *payload, int *fd)
{
    enum escrow_err err = ESCROW_ERR_TIMEOUT;

    if (channel->is_closed)
        return ESCROW_ERR_UNAVAILABLE;
    if (STAILQ_EMPTY(&channel->queue))
        err = ipc_try_send(channel->fd, header, payload, *fd);
    if (err != ESCROW_ERR_TIMEOUT)
        return err; /* a broken channel becomes readable, and on_readable closes it */
    err = enqueue(channel, header, payload, *fd);
    if (!err)
        *fd = -1;
    return err;
}

enum escrow_err ipc_channel_send_fd(struct ipc_channel *channel, uint32_t type, uint64_t id,
                                    const struct ipc_writer *payload, int fd)
{
    CLEANUP(cleanup_close) int owned = fd;
    struct ipc_header header = {.type = type, .id = id};

    if (payload && payload->err)
        return payload->err;
    if (payload)
        header.length = (uint32_t)payload->len;
    return send_or_queue(channel, &header, payload ? payload->bytes : NULL, &owned);
}

enum escrow_err ipc_channel_send(struct ipc_channel *channel, uint32_t type, uint64_t id,
                                 const struct ipc_writer *payload)
{
    return ipc_channel_send_fd(channel, type, id, payload, -1);
}

size_t ipc_channel_queued(const struct ipc_channel *channel)
{
    return channel->queued;
}

const char *ipc_closed_text(enum ipc_closed why)
{
    switch (why) {
    case IPC_CLOSED_BY_PEER:
        return "closed by the peer";
    case IPC_CLOSED_NOT_PERMITTED:
        return "message not permitted";
    case IPC_CLOSED_MALFORMED:
        return "malformed message";
    case IPC_CLOSED_BROKEN:
        return "broken";
    }
    return "unknown";
}
