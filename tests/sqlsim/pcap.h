/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Writes what clients and instances said to each other, decrypted, as a capture file for outside
 * dissectors: each connection is a TCP flow with made-up IPv4 and TCP headers (sequence numbers and
 * checksums right). The file holds passwords in clear: its mode is 0600, and tests only make one.
 */
struct pcap;

/* One TCP connection in the file; kept by the caller, zeroed before pcap_begin. */
struct pcap_flow {
    struct sockaddr_in ends[2]; /* client, server */
    uint32_t sent[2];           /* the next sequence number of each */
};

enum pcap_end { PCAP_CLIENT, PCAP_SERVER };

/* Creates or empties the file. ESCROW_ERR_SYSTEM. */
MUST_CHECK enum escrow_err pcap_open(const char *path, struct pcap **ret_pcap);
/* Ends the file; false if something could not be written. NULL is allowed (true). */
bool pcap_close(struct pcap *pcap);

/* In these, a NULL pcap does nothing. */

/* The three segments of a TCP connection's start. */
void pcap_begin(struct pcap *pcap, struct pcap_flow *flow);
/* Bytes that this end sent, in as many segments as they need. */
void pcap_data(struct pcap *pcap, struct pcap_flow *flow, enum pcap_end sender, const void *bytes,
               size_t len);
/* The server ends the connection: FIN, or RST. */
void pcap_end(struct pcap *pcap, struct pcap_flow *flow, bool is_reset);
