/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/ipc_probe.h"
#include "policy/policy.h"

#include <event2/event.h>

#include <stdbool.h>

/*
 * The keeper's channels to the probers, one for each instance of the policy. An answer counts only
 * for the instance whose channel it came on, and only for a question that was asked there. A prober
 * that dies, says what it was not asked, or does not answer, is one silent replica.
 */
struct probers;

/* An answer, or that none will come (everything NULL). Called from the event loop, once. */
struct prober_answer {
    const struct probe_state *state;         /* to IPC_PROBE_ASK_STATE */
    const struct ipc_probe_session *session; /* to IPC_PROBE_ASK_SESSION */
    const struct ipc_probe_opens *opens;     /* to IPC_PROBE_ASK_OPENS */
    const struct probe_members *members;     /* to IPC_PROBE_ASK_MEMBERS */
    const struct probe_echo *echo;           /* to IPC_PROBE_ASK_ECHO */
    const struct ipc_probe_states *states;   /* to IPC_PROBE_ASK_STATES: as many as were asked */
};
typedef void (*prober_answer_fn)(const struct prober_answer *answer, void *argument);

struct probers_config {
    struct event_base *base;
    const struct policy *policy;
    /* The prober of this instance must be ended and started again. */
    void (*on_overdue)(const char *instance, void *argument);
    void *argument;
};

/* No channels yet. config is copied, its policy borrowed. ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err probers_new(const struct probers_config *config,
                                       struct probers **ret_probers);
/* Closes the channels; no open question is answered any more. */
void probers_free(struct probers *probers);
CLEANUP_FUNCTION(probers_free_p, struct probers, probers_free)

/* The channel to the prober of an instance (taken); it replaces an earlier one. */
void probers_attach(struct probers *probers, const char *instance, int fd);

/*
 * What one prober may have to do for whoever asks, sent or waiting: for one identity, and for all
 * together. The watch's questions (PROBERS_WATCH) are a few an instance, and count for nobody.
 */
#define PROBERS_WATCH ""
#define PROBERS_PER_ASKER 64
#define PROBERS_WAITING_MAX 1024

struct prober_ask {
    const char *instance;
    const char *asker; /* the identity that it is done for, or a part of the keeper's. Copied */
    enum ipc_probe_type type;
    struct ipc_probe_question question;
    prober_answer_fn on_answer;
    void *argument;
};

/*
 * Asks, when it is the asker's turn (turns.h): a prober has at most two questions at once, so that
 * nobody's many delay another's one. The watch has every other turn, however many others there
 * are: what it does not hear for long would count as gone. *ret_id names the question, for
 * probers_forget. ESCROW_ERR_UNAVAILABLE: there is no prober of this instance now.
 * ESCROW_ERR_DENIED: it has too much to do for this asker, or in all. on_answer is not called then.
 */
MUST_CHECK enum escrow_err probers_ask(struct probers *probers, const struct prober_ask *ask,
                                       uint64_t *ret_id);
/* Not asked any more, or its answer is nobody's. Ids of the past are ignored. */
void probers_forget(struct probers *probers, uint64_t id);

/* For checks and metrics. */
struct prober_numbers {
    const char *instance;
    bool is_connected;
    uint64_t connections; /* channels so far */
};
/* The index-th of the policy's instances; false after the last. */
bool probers_numbers(const struct probers *probers, size_t index,
                     struct prober_numbers *ret_numbers);

/* Gives up probers that have not answered, or have had no channel, for overdue_ms; once a second.
 * Longer than the supervisor's longest pause before it starts one again. */
void probers_check(struct probers *probers, int64_t overdue_ms);
