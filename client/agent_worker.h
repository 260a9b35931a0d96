/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/agent_config.h"
#include "client/worker_result.h"

#include <event2/event.h>

/*
 * The parent's hold on one worker: starts it, lets it go, hears its result, and kills it when its
 * time is over. The parent never has anything of the work itself.
 */

struct agent_worker;

/* Once, from the event loop, when the worker has ended; it is freed after this returns. */
typedef void (*agent_worker_end_fn)(const struct worker_result *result, void *argument);

struct agent_worker_config {
    struct event_base *base;
    const char *config_path;
    const char *instance;
    const char *group;
    const char *database;
    int64_t ready_ms;                  /* how long it may wait for its go */
    int64_t deadline_ms;               /* from its go */
    void (*on_admins)(void *argument); /* it has begun to wait for admins, or waits no longer */
    agent_worker_end_fn on_end;
    void *argument;
};

/*
 * It makes itself ready and waits for its go. config's texts must outlive it. ESCROW_ERR_NO_MEMORY,
 * ESCROW_ERR_SYSTEM.
 */
MUST_CHECK enum escrow_err agent_worker_start(const struct agent_worker_config *config,
                                              struct agent_worker **ret_worker);
/* Its attempt begins; once. One that cannot be told is killed, which on_end tells. */
void agent_worker_go(struct agent_worker *worker);
/* One that waits for escrowd's admins looks now what they have decided; others go on as they do. */
void agent_worker_look(struct agent_worker *worker);
/* Whether it waits for escrowd's admins, which may take an hour. */
bool agent_worker_awaits_admins(const struct agent_worker *worker);
/* Kills it without calling on_end. NULL is allowed. */
void agent_worker_free(struct agent_worker *worker);
