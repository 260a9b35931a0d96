/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/ipc_messages.h"

#include <string.h>

#define TIME_MAX_S 253402300799 /* 9999-12-31T23:59:59Z */

void ipc_put_request(struct ipc_writer *writer, const struct ipc_request *request)
{
    ipc_put_u32(writer, request->route);
    ipc_put_string(writer, request->identity);
    ipc_put_bytes(writer, request->fingerprint, sizeof(request->fingerprint));
    ipc_put_u64(writer, request->wait_ms);
    ipc_put_u64(writer, request->from);
    ipc_put_u64(writer, request->limit);
    ipc_put_bytes(writer, request->body, request->body_len);
}

enum escrow_err ipc_get_request(const struct ipc_message *message, struct ipc_request *ret_request)
{
    struct ipc_request request = {0};
    struct ipc_reader reader;
    const uint8_t *fingerprint;
    enum escrow_err err;
    size_t len;

    ipc_reader_init(&reader, message);
    request.route = (enum route)ipc_get_enum(&reader, ROUTE_HEALTH, ROUTE_COUNT - 1);
    request.identity = ipc_get_string(&reader, IPC_IDENTITY_MAX);
    fingerprint = ipc_get_bytes(&reader, sizeof(request.fingerprint), &len);
    request.wait_ms = ipc_get_u64(&reader);
    request.from = ipc_get_u64(&reader);
    request.limit = ipc_get_u64(&reader);
    request.body = ipc_get_bytes(&reader, IPC_BODY_MAX, &request.body_len);
    err = ipc_reader_end(&reader);
    if (err)
        return err;
    if (len != sizeof(request.fingerprint))
        return ESCROW_ERR_MALFORMED;
    memcpy(request.fingerprint, fingerprint, len);
    *ret_request = request;
    return ESCROW_OK;
}

void ipc_put_reply(struct ipc_writer *writer, const struct ipc_reply *reply)
{
    ipc_put_u32(writer, reply->reason);
    ipc_put_u32(writer, reply->http_status);
    ipc_put_u32(writer, reply->retry_after_s);
    ipc_put_u32(writer, reply->content);
    ipc_put_bytes(writer, reply->body, reply->body_len);
}

enum escrow_err ipc_get_reply(const struct ipc_message *message, struct ipc_reply *ret_reply)
{
    struct ipc_reply reply = {0};
    struct ipc_reader reader;
    enum escrow_err err;

    ipc_reader_init(&reader, message);
    reply.reason = (enum reason)ipc_get_enum(&reader, REASON_NONE, REASON_COUNT - 1);
    reply.http_status = ipc_get_enum(&reader, 200, 599);
    reply.retry_after_s = ipc_get_enum(&reader, 0, 3600);
    reply.content = (enum ipc_content)ipc_get_enum(&reader, IPC_CONTENT_JSON, IPC_CONTENT_LINES);
    reply.body = ipc_get_bytes(&reader, IPC_PAYLOAD_MAX, &reply.body_len);
    err = ipc_reader_end(&reader);
    if (!err)
        *ret_reply = reply;
    return err;
}

void ipc_put_refused(struct ipc_writer *writer, const struct ipc_refused *refused)
{
    ipc_put_string(writer, refused->identity);
    ipc_put_u32(writer, refused->reason);
    ipc_put_u32(writer, refused->count);
}

enum escrow_err ipc_get_refused(const struct ipc_message *message, struct ipc_refused *ret_refused)
{
    struct ipc_refused refused = {0};
    struct ipc_reader reader;
    enum escrow_err err;

    ipc_reader_init(&reader, message);
    refused.identity = ipc_get_string(&reader, IPC_IDENTITY_MAX);
    refused.reason = (enum reason)ipc_get_enum(&reader, REASON_NONE + 1, REASON_COUNT - 1);
    refused.count = ipc_get_enum(&reader, 1, UINT32_MAX);
    err = ipc_reader_end(&reader);
    if (!err)
        *ret_refused = refused;
    return err;
}

void ipc_put_served(struct ipc_writer *writer, const struct ipc_served *served)
{
    ipc_put_i64(writer, served->loaded_ms);
    ipc_put_u32(writer, (uint32_t)served->count);
    for (size_t i = 0; i < served->count; i++) {
        const struct tls_item *item = &served->items[i];

        ipc_put_u32(writer, item->kind);
        ipc_put_string(writer, item->name);
        ipc_put_string(writer, item->serial);
        ipc_put_i64(writer, item->from_s);
        ipc_put_i64(writer, item->until_s);
    }
}

static void get_printable(struct ipc_reader *reader, size_t max, char *ret_text)
{
    const char *text = ipc_get_string(reader, max);
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++) {
        if (text[i] < 0x20 || text[i] > 0x7e)
            reader->is_bad = true;
    }
    memcpy(ret_text, text, len + 1);
}

static int64_t get_time(struct ipc_reader *reader, int64_t units)
{
    int64_t time = ipc_get_i64(reader);

    if (time < 0 || time > TIME_MAX_S * units)
        reader->is_bad = true;
    return time;
}

enum escrow_err ipc_get_served(const struct ipc_message *message, struct ipc_served *ret_served)
{
    struct ipc_served served = {0};
    struct ipc_reader reader;
    enum escrow_err err;

    ipc_reader_init(&reader, message);
    served.loaded_ms = get_time(&reader, 1000);
    served.count = ipc_get_enum(&reader, 1, TLS_ITEMS_MAX);
    for (size_t i = 0; i < served.count; i++) {
        struct tls_item *item = &served.items[i];

        item->kind =
            (enum tls_item_kind)ipc_get_enum(&reader, i == 0 ? TLS_ITEM_CERTIFICATE : TLS_ITEM_CA,
                                             i == 0 ? TLS_ITEM_CERTIFICATE : TLS_ITEM_CRL);
        get_printable(&reader, TLS_ITEM_NAME_MAX, item->name);
        get_printable(&reader, sizeof(item->serial) - 1, item->serial);
        item->from_s = get_time(&reader, 1);
        item->until_s = get_time(&reader, 1);
    }
    err = ipc_reader_end(&reader);
    if (!err)
        *ret_served = served;
    return err;
}

void ipc_put_peer(struct ipc_writer *writer, const struct ipc_peer *peer)
{
    ipc_put_u32(writer, peer->kind);
    ipc_put_string(writer, peer->instance);
}

enum escrow_err ipc_get_peer(const struct ipc_message *message, struct ipc_peer *ret_peer)
{
    struct ipc_peer peer = {0};
    struct ipc_reader reader;
    enum escrow_err err;

    ipc_reader_init(&reader, message);
    peer.kind = (enum ipc_peer_kind)ipc_get_enum(&reader, IPC_PEER_KEEPER, IPC_PEER_LAST);
    peer.instance = ipc_get_string(&reader, IPC_INSTANCE_MAX);
    err = ipc_reader_end(&reader);
    if (!err)
        *ret_peer = peer;
    return err;
}

void ipc_put_alert_done(struct ipc_writer *writer, const struct ipc_alert_done *done)
{
    ipc_put_u32(writer, done->outcome);
    ipc_put_u32(writer, done->number);
}

enum escrow_err ipc_get_alert_done(const struct ipc_message *message,
                                   struct ipc_alert_done *ret_done)
{
    struct ipc_alert_done done;
    struct ipc_reader reader;
    enum escrow_err err;

    ipc_reader_init(&reader, message);
    done.outcome =
        (enum ipc_alert_outcome)ipc_get_enum(&reader, IPC_ALERT_FAILED, IPC_ALERT_DELIVERED);
    done.number = ipc_get_enum(&reader, 0, UINT8_MAX);
    err = ipc_reader_end(&reader);
    if (!err)
        *ret_done = done;
    return err;
}
