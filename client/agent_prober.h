/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/ipc_probe.h"

#include <event2/event.h>

/*
 * The parent's hold on the prober of one instance: a child that answers the questions of probe.h
 * about each of its targets (agent_config_targets). One that dies, says what it must not, or is
 * overdue (some hangs of a driver end no other way) is killed and started again, with a growing
 * pause. Nothing that a prober says is more than a fact about its own instance.
 */

struct agent_prober;

struct agent_prober_config {
    struct event_base *base;
    const char *config_path;
    const char *name; /* of the instance */
    size_t target_count;
    int64_t overdue_ms; /* a question that takes longer has met a hang */
    /* It may be asked from now on, or no more: what was asked will not be answered. */
    void (*on_up)(bool is_up, void *argument);
    void (*on_local)(size_t target, const struct probe_state *answer, void *argument);
    void (*on_opens)(size_t target, const struct ipc_probe_opens *answer, void *argument);
    void *argument;
};

/*
 * Starts the prober; the first on_up comes from the event loop. What config points to must outlive
 * it. ESCROW_ERR_NO_MEMORY.
 */
MUST_CHECK enum escrow_err agent_prober_new(const struct agent_prober_config *config,
                                            struct agent_prober **ret_prober);
/*
 * Ends the child, of which nothing more is heard, and starts another one, with what its files hold
 * by then. on_up tells of both.
 */
void agent_prober_restart(struct agent_prober *prober);
/* Ends the child. NULL is allowed. */
void agent_prober_free(struct agent_prober *prober);

/*
 * Asks about the target with this index; type is IPC_PROBE_ASK_LOCAL or IPC_PROBE_ASK_OPENS. One
 * question per target at a time. If it cannot be sent the prober is
 * started again, which on_up tells.
 */
void agent_prober_ask(struct agent_prober *prober, enum ipc_probe_type type, size_t target);
