/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/pcap.h"

#include "libescrow/log.h"
#include "tests/sqlsim/memory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0xa1b2c3d4U /* times in microseconds */
#define LINK_RAW_IP 101
#define SEGMENT_MAX 1460
#define WINDOW 65535
#define TIME_TO_LIVE 64

struct pcap {
    FILE *file;
};

struct file_header {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t zone, accuracy, longest, link;
};

struct frame_header {
    uint32_t seconds, microseconds, kept, whole;
};

struct segment {
    struct iphdr ip;
    struct tcphdr tcp;
    uint8_t data[SEGMENT_MAX];
};

/* What TCP's checksum covers before the segment itself (RFC 9293 3.1). */
struct pseudo_header {
    uint32_t from, to;
    uint8_t zero, protocol;
    uint16_t len;
};

enum escrow_err pcap_open(const char *path, struct pcap **ret_pcap)
{
    const struct file_header header = {
        .magic = MAGIC, .major = 2, .minor = 4, .longest = UINT16_MAX, .link = LINK_RAW_IP};
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

    if (!file || fchmod(fd, 0600)) {
        log_error("%s: %s", path, strerror(errno));
        if (file)
            (void)fclose(file);
        else if (fd >= 0)
            close(fd);
        return ESCROW_ERR_SYSTEM;
    }
    *ret_pcap = memory_new(sizeof(**ret_pcap));
    (*ret_pcap)->file = file;
    (void)fwrite(&header, sizeof(header), 1, file); /* pcap_close looks at the error flag */
    return ESCROW_OK;
}

bool pcap_close(struct pcap *pcap)
{
    bool is_whole = true;

    if (pcap) {
        is_whole = !ferror(pcap->file);
        is_whole = fclose(pcap->file) == 0 && is_whole;
        free(pcap);
    }
    return is_whole;
}

/* Adds to the internet checksum (RFC 1071); only the last part may have an odd length. */
static uint32_t sum(uint32_t so_far, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;

    for (size_t i = 0; i + 1 < len; i += 2)
        so_far += (uint32_t)at[i] << 8 | at[i + 1];
    if (len % 2)
        so_far += (uint32_t)at[len - 1] << 8;
    return so_far;
}

static uint16_t folded(uint32_t total)
{
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return htons((uint16_t)~total);
}

static void put_checksums(struct segment *segment, size_t len)
{
    const size_t tcp_len = sizeof(segment->tcp) + len;
    const struct pseudo_header pseudo = {
        .from = segment->ip.saddr,
        .to = segment->ip.daddr,
        .protocol = IPPROTO_TCP,
        .len = htons((uint16_t)tcp_len),
    };

    segment->ip.check = folded(sum(0, &segment->ip, sizeof(segment->ip)));
    segment->tcp.check = folded(sum(sum(0, &pseudo, sizeof(pseudo)),
                                    (const uint8_t *)segment + sizeof(segment->ip), tcp_len));
}

static void write_frame(struct pcap *pcap, const struct segment *segment, size_t len)
{
    struct timespec now;
    struct frame_header header;

    clock_gettime(CLOCK_REALTIME, &now);
    header = (struct frame_header){
        .seconds = (uint32_t)now.tv_sec,
        .microseconds = (uint32_t)(now.tv_nsec / 1000),
        .kept = (uint32_t)len,
        .whole = (uint32_t)len,
    };
    (void)fwrite(&header, sizeof(header), 1, pcap->file);
    (void)fwrite(segment, len, 1, pcap->file);
}

static void put_segment(struct pcap *pcap, struct pcap_flow *flow, enum pcap_end sender,
                        uint8_t flags, const void *bytes, size_t len)
{
    const enum pcap_end receiver = sender == PCAP_CLIENT ? PCAP_SERVER : PCAP_CLIENT;
    struct segment segment;

    memset(&segment, 0, sizeof(segment));
    segment.ip.version = 4;
    segment.ip.ihl = sizeof(segment.ip) / 4;
    segment.ip.tot_len = htons((uint16_t)(sizeof(segment.ip) + sizeof(segment.tcp) + len));
    segment.ip.ttl = TIME_TO_LIVE;
    segment.ip.protocol = IPPROTO_TCP;
    segment.ip.saddr = flow->ends[sender].sin_addr.s_addr;
    segment.ip.daddr = flow->ends[receiver].sin_addr.s_addr;
    segment.tcp.th_flags = flags;
    segment.tcp.source = flow->ends[sender].sin_port;
    segment.tcp.dest = flow->ends[receiver].sin_port;
    segment.tcp.seq = htonl(flow->sent[sender]);
    segment.tcp.ack_seq = flags & TH_ACK ? htonl(flow->sent[receiver]) : 0;
    segment.tcp.doff = sizeof(segment.tcp) / 4;
    segment.tcp.window = htons(WINDOW);
    if (len)
        memcpy(segment.data, bytes, len);
    put_checksums(&segment, len);
    write_frame(pcap, &segment, sizeof(segment.ip) + sizeof(segment.tcp) + len);
    flow->sent[sender] += (uint32_t)len + (flags & (TH_SYN | TH_FIN) ? 1 : 0);
}

void pcap_begin(struct pcap *pcap, struct pcap_flow *flow)
{
    if (!pcap)
        return;
    put_segment(pcap, flow, PCAP_CLIENT, TH_SYN, NULL, 0);
    put_segment(pcap, flow, PCAP_SERVER, TH_SYN | TH_ACK, NULL, 0);
    put_segment(pcap, flow, PCAP_CLIENT, TH_ACK, NULL, 0);
}

void pcap_data(struct pcap *pcap, struct pcap_flow *flow, enum pcap_end sender, const void *bytes,
               size_t len)
{
    const uint8_t *at = bytes;

    if (!pcap)
        return;
    while (len) {
        size_t part = len < SEGMENT_MAX ? len : SEGMENT_MAX;

        put_segment(pcap, flow, sender, part == len ? TH_ACK | TH_PUSH : TH_ACK, at, part);
        at += part;
        len -= part;
    }
    (void)fflush(pcap->file);
}

void pcap_end(struct pcap *pcap, struct pcap_flow *flow, bool is_reset)
{
    if (!pcap)
        return;
    if (is_reset) {
        put_segment(pcap, flow, PCAP_SERVER, TH_RST | TH_ACK, NULL, 0);
    } else {
        put_segment(pcap, flow, PCAP_SERVER, TH_FIN | TH_ACK, NULL, 0);
        put_segment(pcap, flow, PCAP_CLIENT, TH_FIN | TH_ACK, NULL, 0);
        put_segment(pcap, flow, PCAP_SERVER, TH_ACK, NULL, 0);
    }
    (void)fflush(pcap->file);
}
