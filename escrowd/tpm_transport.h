/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/metric.h"
#include "libescrow/err.h"
#include "libescrow/log.h"

#include <tss2/tss2_tcti.h>

#include <stdbool.h>
#include <stdint.h>

/*
 * Carries command and response bytes to a TPM (the TCTI of the TSS), for the two kinds of TPM that
 * escrowd knows: the socket of a swtpm and a device node. It is ours because neither stock TCTI has
 * a deadline on a socket, and both leave the TSS context unusable after one failure. Never looks
 * into what it carries, except for the size of a response.
 *
 * A swtpm serves one connection at a time, so each command makes its own, unless it is held: tools
 * can talk to it in between. A device stays open: sessions and objects belong to the descriptor.
 *
 * Everything here belongs to the thread that talks to the TPM; tpm_transport_stop alone may be
 * called by another one.
 */
struct tpm_transport {
    TSS2_TCTI_CONTEXT_COMMON_V1 tcti; /* first: the TSS hands back a pointer to it */
    bool is_device;
    char path[108];
    int fd;
    bool is_held;
    int timeout_ms; /* for one command */
    int stop_fd;    /* readable: give up */
    uint64_t commands;
    uint64_t failures; /* of the transport: no connection, no answer */
    int64_t sent_us;   /* the last command */
    struct metric_times times;
    struct log_limit losses; /* lines about a TPM that is away, and asked every second */
};

/* Parses the setting; connects to nothing. ESCROW_ERR_CONFIG with a log line, ESCROW_ERR_SYSTEM. */
MUST_CHECK enum escrow_err tpm_transport_init(const char *setting, int timeout_ms,
                                              struct tpm_transport *ret_transport);
void tpm_transport_deinit(struct tpm_transport *transport);

/* For good: the command that waits for its answer fails now, and every later one at once. */
void tpm_transport_stop(struct tpm_transport *transport);
/* Closes the connection; the next command makes a new one. */
void tpm_transport_disconnect(struct tpm_transport *transport);

/* Commands that follow closely take one connection, until they are done. */
void tpm_transport_hold(struct tpm_transport *transport);
void tpm_transport_let_go(struct tpm_transport *transport);

TSS2_TCTI_CONTEXT *tpm_transport_tcti(struct tpm_transport *transport);
