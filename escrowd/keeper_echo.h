/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/keeper_probers.h"

/*
 * One replica is asked whether it has read what a candidate committed (escrow-policy(5), echo), and
 * asked again until it has: its redo may be late, or it may not be readable yet. One question at a
 * time, ECHO_PAUSE_MS after the answer to the one before. When to stop is the owner's to say.
 */
#define ECHO_PAUSE_MS 50

struct echo;

struct echo_config {
    struct probers *probers;
    struct event_base *base;
    struct prober_ask ask; /* instance, asker, target and nonce; the texts outlive the echo */
    void (*on_found)(void *argument); /* from the event loop; the echo may be freed in it */
    void *argument;
};

/* Asks. A replica that cannot be asked now is asked again as well. ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err echo_new(const struct echo_config *config, struct echo **ret_echo);
/* NULL is allowed. */
void echo_free(struct echo *echo);
CLEANUP_FUNCTION(echo_free_p, struct echo, echo_free)

/* What SQL Server said to the last question that it refused; 0: it has not refused any. */
int32_t echo_sql_error(const struct echo *echo);
