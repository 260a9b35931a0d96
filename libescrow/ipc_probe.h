/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/ipc.h"
#include "libescrow/probe.h"

/*
 * The messages between a prober and who asks it (escrowd's keeper, the agent's parent): the fixed
 * questions of probe.h and their answers, never SQL text. An answer has the id of its question. A
 * decoder refuses any value that its enum does not have; whether a fact is believed is not decided
 * here.
 */
enum ipc_probe_type {
    IPC_PROBE_ASK_STATE = 0x200, /* target */
    IPC_PROBE_ASK_LOCAL,         /* target */
    IPC_PROBE_ASK_SESSION,       /* target, nonce, login */
    IPC_PROBE_ASK_OPENS,         /* target */
    IPC_PROBE_STATE,             /* answers ASK_STATE and ASK_LOCAL: struct probe_state */
    IPC_PROBE_SESSION,           /* struct ipc_probe_session */
    IPC_PROBE_OPENS,             /* struct ipc_probe_opens */
    IPC_PROBE_ASK_MEMBERS,       /* target: its group counts */
    IPC_PROBE_MEMBERS,           /* struct probe_members */
    IPC_PROBE_ASK_ECHO,          /* target, nonce */
    IPC_PROBE_ECHO,              /* struct probe_echo */
    IPC_PROBE_ASK_STATES,        /* target: the first, count: so many from there on */
    IPC_PROBE_STATES,            /* struct ipc_probe_states, of as many */
};

/*
 * A question; nonce counts only in IPC_PROBE_ASK_SESSION and _ECHO, login in the first, count in
 * IPC_PROBE_ASK_STATES.
 */
struct ipc_probe_question {
    uint32_t target; /* which (group, database) of the prober's own list, from 0 */
    uint8_t nonce[TSQL_NONCE_BYTES];
    const char *login; /* borrowed from the message */
    uint32_t count;    /* 1 ..= PROBE_STATES_MAX */
};

struct ipc_probe_session {
    enum probe_outcome outcome;
    bool is_found;
};

struct ipc_probe_opens {
    enum probe_opens opens;
    int32_t sql_error;
};

struct ipc_probe_states {
    size_t count; /* 1 ..= PROBE_STATES_MAX */
    struct probe_state items[];
};

/* Each puts a whole payload; what fails shows when it is sent (ipc.h). */
void ipc_put_probe_question(struct ipc_writer *writer, enum ipc_probe_type type,
                            const struct ipc_probe_question *question);
void ipc_put_probe_state(struct ipc_writer *writer, const struct probe_state *state);
void ipc_put_probe_session(struct ipc_writer *writer, const struct ipc_probe_session *session);
void ipc_put_probe_opens(struct ipc_writer *writer, const struct ipc_probe_opens *opens);
void ipc_put_probe_echo(struct ipc_writer *writer, const struct probe_echo *echo);
void ipc_put_probe_states(struct ipc_writer *writer, const struct ipc_probe_states *states);
void ipc_put_probe_members(struct ipc_writer *writer, const struct probe_members *members);

/* Decode a whole payload into *ret_; ESCROW_ERR_MALFORMED if it is not exactly one. */
MUST_CHECK enum escrow_err ipc_get_probe_question(const struct ipc_message *message,
                                                  struct ipc_probe_question *ret_question);
MUST_CHECK enum escrow_err ipc_get_probe_state(const struct ipc_message *message,
                                               struct probe_state *ret_state);
MUST_CHECK enum escrow_err ipc_get_probe_session(const struct ipc_message *message,
                                                 struct ipc_probe_session *ret_session);
MUST_CHECK enum escrow_err ipc_get_probe_opens(const struct ipc_message *message,
                                               struct ipc_probe_opens *ret_opens);
MUST_CHECK enum escrow_err ipc_get_probe_echo(const struct ipc_message *message,
                                              struct probe_echo *ret_echo);
/* The states are owned by the caller (free). Also ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err ipc_get_probe_states(const struct ipc_message *message,
                                                struct ipc_probe_states **ret_states);
MUST_CHECK enum escrow_err ipc_get_probe_members(const struct ipc_message *message,
                                                 struct probe_members *ret_members);
