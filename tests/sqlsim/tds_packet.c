/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/tds_packet.h"

#define STATUS_END_OF_MESSAGE 0x01
#define STATUS_RESET 0x18 /* RESETCONNECTION, RESETCONNECTIONSKIPTRAN */

const char *tds_packet_name(uint8_t type)
{
    switch (type) {
    case TDS_SQL_BATCH:
        return "SQLBatch";
    case TDS_RPC:
        return "RPC";
    case TDS_TABULAR:
        return "Tabular";
    case TDS_ATTENTION:
        return "Attention";
    case TDS_BULK_LOAD:
        return "BulkLoad";
    case TDS_TRANSACTION:
        return "TransactionManager";
    case TDS_LOGIN7:
        return "Login7";
    case TDS_SSPI:
        return "SSPI";
    case TDS_PRELOGIN:
        return "Prelogin";
    default:
        return "Unknown";
    }
}

enum tds_packet_result tds_packet_take(struct evbuffer *input, struct tds_message *message)
{
    uint8_t header[TDS_HEADER_LEN];

    while (evbuffer_copyout(input, header, sizeof(header)) == (ev_ssize_t)sizeof(header)) {
        size_t len = (size_t)header[2] << 8 | header[3];

        if (len < sizeof(header) || evbuffer_get_length(message->payload) + len > TDS_MESSAGE_MAX ||
            (evbuffer_get_length(message->payload) && message->type != header[0]))
            return TDS_PACKET_MALFORMED;
        if (evbuffer_get_length(input) < len)
            return TDS_PACKET_MORE;
        if (!evbuffer_get_length(message->payload))
            message->is_reset = header[1] & STATUS_RESET;
        message->type = header[0];
        if (message->packets)
            evbuffer_add(message->packets, evbuffer_pullup(input, (ev_ssize_t)len), len);
        evbuffer_drain(input, sizeof(header));
        evbuffer_remove_buffer(input, message->payload, len - sizeof(header));
        if (header[1] & STATUS_END_OF_MESSAGE)
            return TDS_PACKET_COMPLETE;
    }
    return TDS_PACKET_MORE;
}

void tds_packet_put(struct evbuffer *output, uint8_t type, const void *payload, size_t len,
                    size_t packet_size)
{
    const uint8_t *at = payload;
    size_t most = packet_size - TDS_HEADER_LEN;
    uint8_t packet = 1;

    do {
        size_t part = len < most ? len : most;
        size_t total = part + TDS_HEADER_LEN;
        uint8_t header[TDS_HEADER_LEN] = {type,
                                          part == len ? STATUS_END_OF_MESSAGE : 0,
                                          (uint8_t)(total >> 8),
                                          (uint8_t)total,
                                          0,
                                          0,
                                          packet++,
                                          0};

        evbuffer_add(output, header, sizeof(header));
        evbuffer_add(output, at, part);
        at += part;
        len -= part;
    } while (len);
}
