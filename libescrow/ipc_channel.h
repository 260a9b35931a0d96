/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/ipc.h"

#include <event2/event.h>

/*
 * One end of a socketpair in an event loop. Its permit table says which message may arrive in which
 * state and who handles it; the table is the state machine. Anything else (a type without a row, a
 * row of another state, a descriptor where none belongs, a payload that its handler finds
 * malformed) closes the channel, and on_close says why so that the owner can kill the peer. Never
 * blocks; what cannot be sent now waits in a bounded queue.
 */

#define IPC_ANY_STATE UINT32_MAX
#define IPC_QUEUE_MESSAGES 4096
#define IPC_QUEUE_BYTES ((size_t)8 * 1024 * 1024)

struct ipc_channel;

/*
 * The descriptor of a message (only in a row with takes_fd) is the handler's to keep or close.
 * Any error but ESCROW_OK closes the channel as IPC_CLOSED_MALFORMED: return one only for what a
 * right peer never sends. A handler may free the channel.
 */
typedef enum escrow_err (*ipc_handler_fn)(struct ipc_channel *channel,
                                          const struct ipc_message *message, void *argument);

struct ipc_permit {
    uint32_t type;
    uint32_t states; /* bits of the states in which it may arrive, or IPC_ANY_STATE */
    ipc_handler_fn handler;
    bool takes_fd; /* the message must carry a descriptor; others must not */
};

enum ipc_closed {
    IPC_CLOSED_BY_PEER,       /* the peer closed its end or died */
    IPC_CLOSED_NOT_PERMITTED, /* a message that the permit table does not allow now */
    IPC_CLOSED_MALFORMED,     /* a frame or payload without its form */
    IPC_CLOSED_BROKEN,        /* a system call failed */
};

/* Called once; the channel sends and receives nothing more. It may free the channel. */
typedef void (*ipc_close_fn)(struct ipc_channel *channel, enum ipc_closed why, void *argument);

struct ipc_channel_config {
    struct event_base *base;
    const char *name; /* of the peer, for log lines; must outlive the channel */
    const struct ipc_permit *permits;
    size_t permit_count;
    uint32_t state; /* the first state, one bit */
    /*
     * While the peer does not take what it is sent, nothing is taken from it: who asks without end
     * and reads no answer stops itself. On one end of a channel only, or both may wait for ever.
     */
    bool is_in_turn;
    ipc_close_fn on_close;
    void *argument; /* of handlers and on_close */
};

/* Takes fd (also on failure). ESCROW_ERR_NO_MEMORY, ESCROW_ERR_SYSTEM. */
MUST_CHECK enum escrow_err ipc_channel_new(const struct ipc_channel_config *config, int fd,
                                           struct ipc_channel **ret_channel);
/* Drops what is queued. NULL is allowed. */
void ipc_channel_free(struct ipc_channel *channel);
CLEANUP_FUNCTION(ipc_channel_free_p, struct ipc_channel, ipc_channel_free)

/* From now on only rows with this bit are permitted. */
void ipc_channel_set_state(struct ipc_channel *channel, uint32_t state);

/*
 * Sends or queues; payload may be NULL (empty) and stays the caller's. ESCROW_ERR_UNAVAILABLE if
 * the channel is closed or its queue is full, the writer's error, ESCROW_ERR_NO_MEMORY. A channel
 * that breaks here is reported by on_close from the event loop, never from inside this call.
 */
MUST_CHECK enum escrow_err ipc_channel_send(struct ipc_channel *channel, uint32_t type, uint64_t id,
                                            const struct ipc_writer *payload);
/* The same with a descriptor, which is taken (closed here once sent, or on failure). */
MUST_CHECK enum escrow_err ipc_channel_send_fd(struct ipc_channel *channel, uint32_t type,
                                               uint64_t id, const struct ipc_writer *payload,
                                               int fd);

/* Messages waiting to be sent. */
size_t ipc_channel_queued(const struct ipc_channel *channel);

/* "not permitted", for log lines. */
const char *ipc_closed_text(enum ipc_closed why);
