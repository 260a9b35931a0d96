/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/keeper_probers.h"

/*
 * One replica is asked whether it has read what a candidate committed (escrow-policy(5), echo), and
 * asked again until it has: its redo may be late, or it may not be readable yet. One question at a
 * time, ECHO_PAUSE_MS after the answer to the one before. It ends by itself where the next answer
 * would be the same: a login is refused, which holds back the next one (probe_hold.h); the question
 * hangs, which keeps the prober from those of other groups; or the replica is set up to be read by
 * nobody. What one replica says of itself ends its own echo only. Otherwise when to stop is the
 * owner's to say.
 */
#define ECHO_PAUSE_MS 50

struct echo;

struct echo_config {
    struct probers *probers;
    struct event_base *base;
    struct prober_ask ask; /* instance, asker, target and nonce; the texts outlive the echo */
    /* It was found, or it is not asked for any more. From the event loop, once; the echo may be
     * freed in it. */
    void (*on_end)(bool is_found, void *argument);
    void *argument;
};

/* Asks. A replica that cannot be asked now is asked again as well. ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err echo_new(const struct echo_config *config, struct echo **ret_echo);
/* NULL is allowed. */
void echo_free(struct echo *echo);
CLEANUP_FUNCTION(echo_free_p, struct echo, echo_free)

/* The last answer that was none: outcome and sql_error. PROBE_ANSWERED: there has been no such. */
struct probe_echo echo_last_failure(const struct echo *echo);
