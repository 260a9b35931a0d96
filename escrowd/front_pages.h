/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/front_exchange.h"
#include "escrowd/front_metrics.h"
#include "escrowd/usage.h"
#include "libescrow/tls.h"

/*
 * What /livez, /readyz and /metrics say (front_monitor.h serves them): what front knows of itself,
 * and what the keeper says of itself within PAGES_KEEPER_MS. They change nothing.
 */
#define PAGES_KEEPER_MS 2000

struct front_pages;

struct front_pages_config {
    struct event_base *base;
    struct front_exchanges *exchanges;
    const struct front_counts *counts;
    struct tls *const *tls; /* whichever is in use when it is asked */
    struct usage usage;     /* closed by front_pages_free */
};

/* Serves listener_fd (taken, as is the usage). */
MUST_CHECK enum escrow_err front_pages_new(const struct front_pages_config *config, int listener_fd,
                                           struct front_pages **ret_pages);
/* NULL is allowed. */
void front_pages_free(struct front_pages *pages);

/* The keeper answered (message), or is away (NULL). ESCROW_ERR_MALFORMED if it is no answer. */
MUST_CHECK enum escrow_err front_pages_keeper(struct front_pages *pages,
                                              const struct ipc_message *message);
