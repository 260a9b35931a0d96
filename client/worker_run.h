/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/agent_config.h"
#include "client/worker_result.h"

/*
 * What the parts of a worker share: its task, its result in the making, and its clock. A part that
 * fails says so here once, in words for the operator, and returns an error; the attempt ends then.
 */

struct worker_task {
    const struct agent_config *config;
    const struct agent_instance *instance;
    const char *database;
    int channel_fd; /* to the parent; -1: nobody is told */
};

struct worker_run {
    const struct worker_task *task;
    struct worker_result result;
    enum worker_part part;
    int64_t part_since_us;
    int64_t deadline_ms; /* of everything but the report, CLOCK_BOOTTIME */
    int64_t wait_by_ms;  /* for admins, CLOCK_BOOTTIME; 0: it has not waited for them yet */
    bool has_begun;      /* the parent has said go */
};

/* The clock starts with the first part. */
void worker_run_init(struct worker_run *run, const struct worker_task *task);

/*
 * Waits for the parent's go, unless it has come already; then the attempt begins: its clock starts,
 * what was noted before is forgotten, and SIGALRM ends the process at its deadline.
 * ESCROW_ERR_TIMEOUT, ESCROW_ERR_UNAVAILABLE (the parent is gone), ESCROW_ERR_MALFORMED (it said
 * something else), ESCROW_ERR_SYSTEM.
 */
MUST_CHECK enum escrow_err worker_run_await_go(struct worker_run *run, int timeout_ms);

/*
 * The attempt waits for admins from now on, or goes on with its own time. However often it waits,
 * all that ends WORKER_APPROVAL_MS after it first did: ESCROW_ERR_TIMEOUT. ESCROW_ERR_SYSTEM.
 */
MUST_CHECK enum escrow_err worker_run_wait_begin(struct worker_run *run);
MUST_CHECK enum escrow_err worker_run_wait_end(struct worker_run *run);
/*
 * Lets so much time pass. ESCROW_OK: the parent asks to look now; ESCROW_ERR_TIMEOUT: it has not;
 * everything else: it is gone, or not itself.
 */
MUST_CHECK enum escrow_err worker_run_pause(const struct worker_run *run, int timeout_ms);

/* SIGALRM ends the process after so long. ESCROW_ERR_SYSTEM. */
MUST_CHECK enum escrow_err worker_run_alarm(int64_t ms);

/* The deadline is so far from now, for what is done before the attempt. */
void worker_run_limit(struct worker_run *run, int64_t ms);

/* The part before ends now, this one begins; the parent is told, so that it knows what hangs. */
void worker_run_begin(struct worker_run *run, enum worker_part part);
/* The last part ends now. */
void worker_run_end(struct worker_run *run);

/* Milliseconds to the deadline, at least 1. */
int64_t worker_run_left_ms(const struct worker_run *run);

/*
 * Notes how the attempt failed, in place of what was noted before: reason, SQL error and the time
 * to wait are cleared, and the caller's to set after this.
 */
__attribute__((format(printf, 3, 4))) void
worker_run_fail(struct worker_run *run, enum worker_outcome outcome, const char *format, ...);
