/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/ipc_messages.h"
#include "libescrow/ipc_channel.h"

/*
 * Bodies of requests and replies that one message cannot hold: its first IPC_BODY_MAX bytes are in
 * the message, the rest is in the descriptor that comes with it (sealed.h). The first part is never
 * left out: the kernel bounds what waits in a socket by the bytes of its packets and does not look
 * at descriptors, so whoever asks without end and takes no answer would be sent one memory after
 * the other. A body is joined or refused; nobody waits for the rest of one.
 */

/*
 * What is sent of a request: the payload, and the descriptor of the rest of its body (the
 * caller's), or -1 where the payload has all of it. ESCROW_ERR_MALFORMED for more than
 * IPC_LARGE_MAX bytes, ESCROW_ERR_SYSTEM.
 */
MUST_CHECK enum escrow_err ipc_split_request(const struct ipc_request *request,
                                             struct ipc_writer *writer, int *ret_rest_fd);

/*
 * Send as IPC_REQUEST or IPC_REPLY, or as the _LARGE one where the body needs it. As
 * ipc_channel_send, and as ipc_split_request.
 */
MUST_CHECK enum escrow_err ipc_send_request(struct ipc_channel *channel, uint64_t id,
                                            const struct ipc_request *request);
MUST_CHECK enum escrow_err ipc_send_reply(struct ipc_channel *channel, uint64_t id,
                                          const struct ipc_reply *reply);

/*
 * What came as IPC_REQUEST_LARGE or IPC_REPLY_LARGE; the message's descriptor is closed. The body
 * of *ret_ is *ret_body, with a NUL behind it, owned by the caller. ESCROW_ERR_MALFORMED, which no
 * right peer makes happen: a request that is no ROUTE_PUBLISH, a first part that is not full, a
 * descriptor that sealed_size refuses. ESCROW_ERR_NO_MEMORY, ESCROW_ERR_SYSTEM.
 */
MUST_CHECK enum escrow_err ipc_get_large_request(const struct ipc_message *message,
                                                 struct ipc_request *ret_request,
                                                 uint8_t **ret_body);
MUST_CHECK enum escrow_err ipc_get_large_reply(const struct ipc_message *message,
                                               struct ipc_reply *ret_reply, uint8_t **ret_body);
