/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <event2/event.h>

/*
 * "Check now", by a socket of this host: what `escrow-agent notify` sends, for a script that knows
 * of a failover earlier than the next poll. Only root and the agent's own user are heard
 * (SO_PEERCRED); a message carries nothing, so a caller can make the agent look, and no more.
 */

struct agent_notify;

typedef void (*agent_notify_fn)(void *argument);

/*
 * Listens at path (mode 0600; what an earlier run left there is replaced, anything but a socket is
 * not). on_notify is called from the event loop. ESCROW_ERR_CONFIG or ESCROW_ERR_SYSTEM with a log
 * line.
 */
MUST_CHECK enum escrow_err agent_notify_new(struct event_base *base, const char *path,
                                            agent_notify_fn on_notify, void *argument,
                                            struct agent_notify **ret_notify);
/* Stops listening and removes the socket. NULL is allowed. */
void agent_notify_free(struct agent_notify *notify);

/*
 * The other side: asks the agent at path, and waits until it has taken note, at most timeout_ms.
 * ESCROW_ERR_UNAVAILABLE (no agent there), ESCROW_ERR_DENIED (not heard), ESCROW_ERR_TIMEOUT.
 */
MUST_CHECK enum escrow_err agent_notify_send(const char *path, int timeout_ms);
