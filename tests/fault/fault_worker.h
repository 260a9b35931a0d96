/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/worker_run.h"
#include "libescrow/payload.h"
#include "libescrow/wrap.h"
#include "tests/fault/inject.h"
#include "tests/unit/fixture.h"
#include "tests/unit/https_server.h"

#include <sys/types.h>

/*
 * A worker of the agent in a process of its own, between a modelled SQL Server (sqlsim) and an
 * escrowd of the test's that grants whatever is asked for, over real TDS and real TLS. A failure
 * ends the program with the order that led to it.
 */

#define FAULT_WORKER_DEADLINE_MS 3000
#define FAULT_PASSWORD "Looked-For-Everywhere-5519" /* opens the master key */

/* What escrowd has heard in the current attempt, and what it is to do; shared with its process. */
struct fault_heard {
    unsigned requests, opened, failed; /* opened, failed: receipts */
    bool has_password;                 /* some request held it */
    unsigned cut_at;                   /* this request ends the connection instead; 0: none does */
    bool is_cut_late;                  /* after it was carried out */
    unsigned hang_at;                  /* this request is answered after the deadline */
    bool wants_echo;                   /* of every attempt, until it is taken back */
};

struct fault_worker {
    struct fixture *fixture;
    struct fault_heard *heard;
    char folder[200];
    struct rpc_server server;
    struct agent_instance instance;
    struct agent_config config;
    struct worker_task task;
    struct https_server escrowd;
    pid_t sqlsim;
    const char *what;            /* is tried, for messages */
    struct worker_result result; /* of the last try */
    /* The one version there is. */
    struct secret *sensitive;
    struct wrap_object object;
    uint8_t payload[PAYLOAD_CIPHERTEXT_BYTES];
};

/* In a new folder, which becomes the current one. */
void fault_worker_start(struct fault_worker *world);
void fault_worker_stop(struct fault_worker *world);

/* The instance was sent a statement with this text. */
void fault_worker_expect_statement(const char *text);

/*
 * Closes the master key and lets a worker try under the order: what it then says, to its parent, to
 * escrowd and in its log, must be true, tell something, and not hold the password; and it ends in
 * time. Then, with nothing failing, the next one has to open it. Returns what the failures were.
 */
struct inject_report fault_worker_try(struct fault_worker *world, const struct inject_order *order);
