/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/ipc_body.h"

#include "libescrow/sealed.h"

#include <stdlib.h>
#include <string.h>

/* The rest of a body that does not go into the message; -1 where all of it does. */
static enum escrow_err seal_rest(const uint8_t *body, size_t len, int *ret_fd)
{
    *ret_fd = -1;
    if (len <= IPC_BODY_MAX)
        return ESCROW_OK;
    if (len > IPC_LARGE_MAX)
        return ESCROW_ERR_MALFORMED;
    return sealed_from("body", body + IPC_BODY_MAX, len - IPC_BODY_MAX, ret_fd);
}

enum escrow_err ipc_split_request(const struct ipc_request *request, struct ipc_writer *writer,
                                  int *ret_rest_fd)
{
    struct ipc_request first = *request;
    enum escrow_err err = seal_rest(request->body, request->body_len, ret_rest_fd);

    if (err)
        return err;
    if (*ret_rest_fd >= 0)
        first.body_len = IPC_BODY_MAX;
    ipc_put_request(writer, &first);
    return ESCROW_OK;
}

enum escrow_err ipc_send_request(struct ipc_channel *channel, uint64_t id,
                                 const struct ipc_request *request)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    int rest_fd;
    enum escrow_err err = ipc_split_request(request, &writer, &rest_fd);

    if (err)
        return err;
    return ipc_channel_send_fd(channel, rest_fd < 0 ? IPC_REQUEST : IPC_REQUEST_LARGE, id, &writer,
                               rest_fd);
}

enum escrow_err ipc_send_reply(struct ipc_channel *channel, uint64_t id,
                               const struct ipc_reply *reply)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    struct ipc_reply first = *reply;
    int rest_fd;
    enum escrow_err err = seal_rest(reply->body, reply->body_len, &rest_fd);

    if (err)
        return err;
    if (rest_fd >= 0)
        first.body_len = IPC_BODY_MAX;
    ipc_put_reply(&writer, &first);
    return ipc_channel_send_fd(channel, rest_fd < 0 ? IPC_REPLY : IPC_REPLY_LARGE, id, &writer,
                               rest_fd);
}

/* Both parts in one, with a NUL behind them. */
static enum escrow_err join(const uint8_t *first, size_t first_len, int rest_fd, uint8_t **ret_body,
                            size_t *ret_len)
{
    CLEANUP(cleanup_free) uint8_t *body = NULL;
    size_t rest_len;
    enum escrow_err err = first_len == IPC_BODY_MAX ? ESCROW_OK : ESCROW_ERR_MALFORMED;

    if (!err)
        err = sealed_size(rest_fd, IPC_LARGE_MAX - IPC_BODY_MAX, &rest_len);
    if (err)
        return err;
    body = malloc(first_len + rest_len + 1);
    if (!body)
        return ESCROW_ERR_NO_MEMORY;
    memcpy(body, first, first_len);
    err = sealed_read(rest_fd, body + first_len, rest_len, 0);
    if (err)
        return err;
    body[first_len + rest_len] = '\0';
    *ret_body = TAKE(body);
    *ret_len = first_len + rest_len;
    return ESCROW_OK;
}

enum escrow_err ipc_get_large_request(const struct ipc_message *message,
                                      struct ipc_request *ret_request, uint8_t **ret_body)
{
    CLEANUP(cleanup_close) int rest_fd = message->fd;
    struct ipc_request request;
    enum escrow_err err = ipc_get_request(message, &request);

    if (!err && request.route != ROUTE_PUBLISH)
        err = ESCROW_ERR_MALFORMED;
    if (!err)
        err = join(request.body, request.body_len, rest_fd, ret_body, &request.body_len);
    if (err)
        return err;
    request.body = *ret_body;
    *ret_request = request;
    return ESCROW_OK;
}

enum escrow_err ipc_get_large_reply(const struct ipc_message *message, struct ipc_reply *ret_reply,
                                    uint8_t **ret_body)
{
    CLEANUP(cleanup_close) int rest_fd = message->fd;
    struct ipc_reply reply;
    enum escrow_err err = ipc_get_reply(message, &reply);

    if (!err)
        err = join(reply.body, reply.body_len, rest_fd, ret_body, &reply.body_len);
    if (err)
        return err;
    reply.body = *ret_body;
    *ret_reply = reply;
    return ESCROW_OK;
}
