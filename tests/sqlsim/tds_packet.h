/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <event2/buffer.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * TDS packets (MS-TDS 2.2.3): an 8-byte header and a payload; a message is a run of packets up to
 * the one with the end flag. What a peer sends is bounded here.
 */
#define TDS_HEADER_LEN 8
#define TDS_MESSAGE_MAX (1024 * 1024)

enum tds_packet_type {
    TDS_SQL_BATCH = 0x01,
    TDS_RPC = 0x03,
    TDS_TABULAR = 0x04,
    TDS_ATTENTION = 0x06,
    TDS_BULK_LOAD = 0x07,
    TDS_TRANSACTION = 0x0e,
    TDS_LOGIN7 = 0x10,
    TDS_SSPI = 0x11,
    TDS_PRELOGIN = 0x12, /* and TLS handshake records inside TDS */
};

/* The name of a packet type for the record ("SQLBatch"). */
const char *tds_packet_name(uint8_t type);

struct tds_message {
    uint8_t type;
    bool is_reset;            /* RESETCONNECTION in the first packet */
    struct evbuffer *payload; /* owned */
    struct evbuffer *packets; /* owned; NULL: not wanted: its packets as they came */
};

enum tds_packet_result { TDS_PACKET_MORE, TDS_PACKET_COMPLETE, TDS_PACKET_MALFORMED };

/*
 * Takes whole packets off the input into *message until its end flag. A message longer than
 * TDS_MESSAGE_MAX, a type that changes within it or a length below 8 is malformed.
 */
enum tds_packet_result tds_packet_take(struct evbuffer *input, struct tds_message *message);

/* Appends payload as packets of at most packet_size bytes, the last one with the end flag. */
void tds_packet_put(struct evbuffer *output, uint8_t type, const void *payload, size_t len,
                    size_t packet_size);
