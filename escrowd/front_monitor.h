/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <event2/event.h>

#include <stdint.h>
#include <stdio.h>

/*
 * Health and metrics in plain HTTP, on a socket of this machine alone: GET or HEAD of three paths,
 * one request a connection, no body. Not by evhttp: without TLS it offers nothing to hang an
 * absolute deadline and a count of connections on, and strict reading of so little is short. It
 * knows nothing of /v1 and holds no channel: what the pages say is its owner's.
 */
#define MONITOR_CONNECTIONS 16 /* at once; more wait in the kernel */
#define MONITOR_HEAD_MAX 4096  /* bytes of a request */

enum monitor_page { MONITOR_LIVEZ = 1, MONITOR_READYZ, MONITOR_METRICS };

struct front_monitor;

struct front_monitor_config {
    struct event_base *base;
    int64_t deadline_ms; /* of a connection, from its beginning to its end */
    /* Somebody waits for a page other than /livez: front_monitor_answer must follow, soon. */
    void (*on_ask)(void *argument);
    /* Writes a page; returns the status of the answer. */
    int (*write_page)(enum monitor_page page, FILE *out, void *argument);
    void *argument;
};

/* Serves listener_fd (taken). */
MUST_CHECK enum escrow_err front_monitor_new(const struct front_monitor_config *config,
                                             int listener_fd, struct front_monitor **ret_monitor);
/* Closes every connection. NULL is allowed. */
void front_monitor_free(struct front_monitor *monitor);

/* Answers all who wait. */
void front_monitor_answer(struct front_monitor *monitor);
