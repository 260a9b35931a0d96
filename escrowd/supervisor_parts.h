/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/process.h"
#include "libescrow/file_watch.h"

/*
 * What the two halves of the supervisor share: supervisor.c keeps the roles running, and
 * supervisor_reload.c replaces what they run on when files have changed. Of nobody else's concern.
 */

#define SUPERVISOR_SIGNALS 3
/* A prober holds nothing that would have to be finished. */
#define SUPERVISOR_PROBER_END_MS 2000

struct supervisor {
    const char *config_path;
    struct snapshot snapshot; /* configuration and policy in force */
    struct event_base *base;
    struct event *signals[SUPERVISOR_SIGNALS];
    struct file_watch *watch; /* of every file that may change while we run */
    int offered_fd;           /* credentials that front was offered and has not answered, or -1 */
    bool is_offer_due;        /* the files are to be offered when front can take an offer */
    int listener_fd, monitor_fd;
    uint16_t port, monitor_port; /* 0: none */
    struct process *keeper, *front;
    struct process *alerter; /* runs only where the configuration has an alert */
    struct process *probers[ESCROWD_INSTANCES_MAX];
    size_t prober_count;
    bool was_ready;     /* all of them, once */
    bool is_reloading;  /* keeper and probers end, to be started with a new snapshot */
    bool is_reload_due; /* files may have changed meanwhile */
    bool is_stopping;
    struct event *stop_timer;
    enum escrow_err result;
};

/* ---- supervisor.c ---- */

/* Starts a role and connects it to the running roles that it has an edge to. */
void supervisor_start(struct supervisor *supervisor, struct process *process);
/* Ends everything; result is what supervisor_run then returns. */
void supervisor_stop(struct supervisor *supervisor, enum escrow_err result);
bool supervisor_any_prober_runs(const struct supervisor *supervisor);
void supervisor_shut_down_probers(struct supervisor *supervisor);
/* Probers that are not started, for the instances of the configuration, in the place of all. */
MUST_CHECK enum escrow_err supervisor_new_probers(struct supervisor *supervisor);

/* `alert:` has changed: ends the alerter if it runs, and starts one if it is wanted now. Nobody
 * waits for what the old one has still to deliver. */
void supervisor_replace_alerter(struct supervisor *supervisor);

/* ---- supervisor_reload.c ---- */

/* SIGHUP: takes everything anew, whether it looks changed or not. */
void supervisor_reload(struct supervisor *supervisor);
/* A file_watch_fn: takes anew what has changed. */
void supervisor_on_change(void *argument);
/* While is_reloading: the next step, after a keeper or a prober has ended. */
void supervisor_advance_reload(struct supervisor *supervisor);
/* Offers front the files of the certificate, now or when it can take an offer. */
void supervisor_offer_credentials(struct supervisor *supervisor);
/* Front's answer to an offer. */
void supervisor_settle_offer(struct supervisor *supervisor, bool is_taken);
