/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/worker_result.h"
#include "libescrow/probe.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * When the agent asks, acts and waits, for one database of one instance: a pure module, whose clock
 * and randomness come from the caller. It is level-triggered: what counts is what the instance says
 * now, so an event that was missed costs one poll and never a promotion.
 *
 *   PRIMARY and READ_WRITE, and the master key does not open by itself  ->  a worker
 *
 * While a replica that was no primary is on its way to be one, a worker is made ready, so that its
 * start and its connections are over by then: one for each such way, however long it is.
 *
 * It never gives up while that holds and never hammers: attempts are spaced by a backoff with
 * jitter, by how soon what stopped the last one may change. A refused login holds back every
 * question to the instance, because the account may be locked by too many of them.
 */

enum agent_step {
    AGENT_WAIT,           /* nothing to do until until_ms */
    AGENT_ASK_LOCAL,      /* role and updateability */
    AGENT_ASK_OPENS,      /* does the master key open by itself? */
    AGENT_READY_WORKER,   /* start one that waits */
    AGENT_DISMISS_WORKER, /* the one that waits, if there still is one, is not needed */
    AGENT_START_WORKER,   /* let the one that waits begin; without one, start one */
};

struct agent_next {
    enum agent_step step;
    int64_t until_ms; /* of AGENT_WAIT; INT64_MAX: until the next event */
};

/* Whether the agent's database should open here. */
enum agent_role {
    AGENT_ROLE_UNKNOWN, /* the instance did not say */
    AGENT_ROLE_OTHER,   /* not primary, or not writable */
    AGENT_ROLE_PRIMARY, /* primary and READ_WRITE */
};

/*
 * What refused logins hold back: one for each instance, because the account is one for all of its
 * databases. All zero is right at first.
 */
struct agent_login {
    int64_t not_before_ms;       /* no question, no worker */
    int64_t ready_not_before_ms; /* no worker that is only made ready */
    unsigned refused;            /* in a row */
};

/* Read freely; written only by the functions below. Times are milliseconds of one clock. */
struct agent_state {
    struct agent_login *login; /* of the instance; borrowed */
    int64_t poll_ms;           /* between questions for the role */
    int64_t recheck_ms;        /* between checks of a primary whose master key opens */
    uint32_t random;
    bool is_prober_up;
    bool is_asking;       /* a question is out */
    bool is_working;      /* a worker runs */
    bool is_held;         /* none may be started now */
    bool is_outrun;       /* role or files changed under the worker: its end says nothing of now */
    bool has_old_login;   /* the worker logs in as before its files changed */
    bool is_notified;     /* a check was asked for while one of both was out */
    enum agent_role role; /* now */
    enum agent_role last_known; /* the last that was not unknown */
    enum agent_role settled;    /* the last that was primary, or secondary for certain */
    bool is_expected;           /* a promotion is under way: a worker will be needed */
    bool is_ready;              /* one was made ready for it, whether or not it still waits */
    enum probe_opens opens;     /* last answer; unknown after a change */
    int64_t local_due_ms;
    int64_t check_due_ms;         /* when a primary is next asked whether it opens */
    int64_t worker_not_before_ms; /* the spacing of attempts */
    unsigned attempts;            /* since the master key last opened or the role changed */
};

/* seed spreads the agents of one group; any value. Everything is due at now_ms. */
void agent_state_init(struct agent_state *state, struct agent_login *login, int64_t poll_ms,
                      int64_t recheck_ms, uint32_t seed, int64_t now_ms);

/*
 * The next step. A step other than AGENT_WAIT counts as begun: the caller carries it out and
 * reports its end by one of the functions below. Call again until it is AGENT_WAIT.
 */
struct agent_next agent_state_next(struct agent_state *state, int64_t now_ms);

/*
 * Whether a worker is needed and only waits to be let start. While it is held, the instance is
 * asked for its role alone: the worker looks for itself whether the master key opens.
 */
bool agent_state_wants_worker(const struct agent_state *state);
void agent_state_hold(struct agent_state *state, bool is_held);

/* A prober started (it may be asked), or ended (an open question will not be answered). */
void agent_state_on_prober(struct agent_state *state, bool is_up, int64_t now_ms);

/* The answers to AGENT_ASK_LOCAL and AGENT_ASK_OPENS. */
void agent_state_on_local(struct agent_state *state, const struct probe_state *answer,
                          int64_t now_ms);
void agent_state_on_opens(struct agent_state *state, enum probe_opens answer, int64_t now_ms);

/* The end of AGENT_START_WORKER, whatever it was. */
void agent_state_on_worker(struct agent_state *state, const struct worker_result *result,
                           int64_t now_ms);

/* A worker that was made ready has ended before it was needed: another one is started then. */
void agent_state_on_ready_ended(struct agent_state *state, const struct worker_result *result,
                                int64_t now_ms);

/*
 * Somebody asks for an immediate check (escrow-agent notify). The spacing of attempts gives way;
 * that of refused logins does not. While a question or a worker is out, the check follows its end.
 */
void agent_state_on_notify(struct agent_state *state, int64_t now_ms);

/*
 * Files that workers read have changed: somebody may have mended what stopped the last attempt, so
 * the next is due now, and a worker that was made ready with the files of before has been ended:
 * another one is made ready. is_login: so have those that the instance knows us by, and refused
 * logins hold back nothing any more; nor does a refusal that is still on its way.
 */
void agent_state_on_files(struct agent_state *state, bool is_login, int64_t now_ms);
