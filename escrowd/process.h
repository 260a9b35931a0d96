/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/ipc_messages.h"
#include "escrowd/snapshot.h"

#include <event2/event.h>

/*
 * One role as the supervisor sees it: its process, its channel, its pings, and the growing pause
 * before it is started again. A role that is overdue, or says what it must not, is killed; what its
 * end means is the supervisor's to decide.
 */

struct process;

struct process_events {
    void (*on_ready)(struct process *process, uint16_t port, void *argument);
    /* It has ended and was reaped; status is that of waitpid(2). */
    void (*on_ended)(struct process *process, int status, void *argument);
    /* The pause is over: start it. */
    void (*on_due)(struct process *process, void *argument);
    /* From front: whether it uses the credentials of the last process_reload. */
    void (*on_reloaded)(bool is_taken, void *argument);
    /* From the keeper. */
    void (*on_status)(const char *text, void *argument);
    void (*on_restart_peer)(const struct ipc_peer *peer, void *argument);
};

struct process_config {
    struct event_base *base;
    enum ipc_peer_kind kind;
    const char *instance;            /* of a prober, else ""; copied */
    const char *config_path;         /* must outlive the process, as must the next */
    const struct snapshot *snapshot; /* what the role reads when it is started */
    int listener_fd;                 /* front's, stays the caller's; else -1 */
    int monitor_fd;                  /* the same, for health and metrics */
    int64_t ping_ms;                 /* all but probers: the longest silence */
    const struct process_events *events;
    void *argument;
};

/* Of a role that does not run yet. config is copied. ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err process_new(const struct process_config *config,
                                       struct process **ret_process);
/* Kills and reaps it if it runs; calls no event. */
void process_free(struct process *process);

/* Starts the role, which must not be running. After a failure it is due again later. */
void process_start(struct process *process);
/* Calls on_due after the pause, which grows unless the role was ready for a while. */
void process_start_later(struct process *process);
/* on_ended follows. Nothing happens if it does not run. */
void process_kill(struct process *process, const char *why);
/* Asks the role to end; it is killed if it has not within limit_ms. */
void process_shut_down(struct process *process, int64_t limit_ms);
/*
 * Front's: offers it new credentials (the descriptor stays the caller's); on_reloaded follows
 * unless it ends before, which it is made to after ping_ms. False: it does not run.
 */
bool process_reload(struct process *process, int credentials_fd);

/*
 * Connects two running roles, the first of them new: each gets one end of a new socketpair. The new
 * one is killed if it does not take it; the other one is on its way to its end then.
 */
void process_link(struct process *a, struct process *b);

/* As configured. */
enum ipc_peer_kind process_kind(const struct process *process);
const char *process_instance(const struct process *process);
const char *process_name(const struct process *process); /* "prober sql1" */
bool process_is_running(const struct process *process);
/* process_shut_down was called since it was started. */
bool process_was_told(const struct process *process);
/* It runs and has said that it is ready. */
bool process_is_ready(const struct process *process);
