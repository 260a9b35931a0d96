/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/agent_config.h"

#include <event2/event.h>
#include <jansson.h>

/*
 * Executables that are told of an event, as one JSON object on standard input. They run beside the
 * agent and never hold it up: each has its own time, after which it is killed, and how each ended
 * is in the log. They get no secret and none of the agent's descriptors.
 */

struct agent_hooks;

/* base and config are borrowed. ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err agent_hooks_new(struct event_base *base,
                                           const struct agent_config *config,
                                           struct agent_hooks **ret_hooks);
/* Kills what still runs. NULL is allowed. */
void agent_hooks_free(struct agent_hooks *hooks);

/* Starts every configured hook for this event; failures are logged. event stays the caller's. */
void agent_hooks_run(struct agent_hooks *hooks, const json_t *event);
