/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/agent_config.h"
#include "client/agent_hook.h"
#include "client/agent_places.h"
#include "client/agent_prober.h"
#include "client/agent_state.h"

#include <event2/event.h>

/*
 * One database of one instance: carries out what agent_state decides, and writes the line that a
 * reader at 3 a.m. needs for each change: what was seen, what failed in whose words, and what
 * happens next and when.
 */

struct agent_watch;

struct agent_watch_config {
    struct event_base *base;
    const char *config_path;
    const struct agent_config *agent;
    const struct agent_target *target; /* the database */
    size_t index;                      /* by which the prober knows it */
    struct agent_prober *prober;
    struct agent_login *login;   /* of the instance, for all of its databases */
    struct agent_places *places; /* of all databases with this one's identity */
    struct agent_hooks *hooks;
    void (*on_idle)(void *argument); /* the last worker of a stopped watch has ended */
    void *argument;
};

/* What config points to must outlive it. ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err agent_watch_new(const struct agent_watch_config *config,
                                           struct agent_watch **ret_watch);
/* Kills a worker that still runs. NULL is allowed. */
void agent_watch_free(struct agent_watch *watch);

/* Events of the instance's prober that concern this database. */
void agent_watch_on_up(struct agent_watch *watch, bool is_up);
void agent_watch_on_local(struct agent_watch *watch, const struct probe_state *answer);
void agent_watch_on_opens(struct agent_watch *watch, const struct ipc_probe_opens *answer);

/* Checks now. */
void agent_watch_on_notify(struct agent_watch *watch);

/* Files that a worker reads have changed; is_login: those for the instance too. */
void agent_watch_on_files(struct agent_watch *watch, bool is_login);

/* Begins nothing more; a worker that runs may end, which on_idle tells. */
void agent_watch_stop(struct agent_watch *watch);
bool agent_watch_is_working(const struct agent_watch *watch);
