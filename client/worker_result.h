/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/ipc.h"
#include "libescrow/reason.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * What a worker tells the agent's parent about its one attempt: which part it is at, and in the end
 * how it ended, whose word that was, and how long each part took. It is all that ever goes from a
 * worker to the parent, and holds no secret: there is no field that could. The parent has two words
 * for the worker: go, before which it connects and waits and asks for nothing; and, while it waits
 * for admins, look.
 */

enum worker_message {
    WORKER_MESSAGE_PART = 0x300, /* the part that begins: one byte */
    WORKER_MESSAGE_RESULT,       /* struct worker_result, once, at the end */
    WORKER_MESSAGE_GO,           /* to the worker, once: empty */
    WORKER_MESSAGE_LOOK,         /* to one that waits for admins: look now; empty */
};

/* How long a worker may wait for its go. */
#define WORKER_READY_MS 60000
/* And for admins; escrowd's policy says how long they have, at most a day. */
#define WORKER_APPROVAL_MS (25 * 3600 * 1000)

enum worker_outcome {
    WORKER_DIED = 0,       /* no result came: it was killed, crashed or ran into its deadline */
    WORKER_OPENED,         /* the master key opens by itself now, seen by the worker */
    WORKER_ALREADY_OPEN,   /* it opened by itself before anything was asked */
    WORKER_NEEDS_APPROVAL, /* escrowd waits for its admins */
    WORKER_DENIED,         /* escrowd refused: see reason */
    WORKER_UNAVAILABLE,    /* no escrowd answered, or it cannot act now */
    WORKER_DISTRUSTED,     /* an answer was not signed by the roster, or did not open */
    WORKER_WRONG_PASSWORD, /* 15313 for every version that was granted */
    WORKER_LOGIN_REFUSED,  /* SQL Server refused the agent's login */
    WORKER_SQL_UNREACHABLE,
    WORKER_SQL_FAILED, /* SQL Server answered with an error: see sql_error */
    WORKER_NOT_PROVED, /* all was sent, and the master key still does not open by itself */
    WORKER_LOCAL,      /* configuration, key files or memory locking of this host */
    WORKER_OUTCOMES,
};

enum worker_part {
    WORKER_PART_CONNECT = 0, /* SQL connection and the first check */
    WORKER_PART_CHALLENGE,
    WORKER_PART_SESSION, /* SET CONTEXT_INFO */
    WORKER_PART_RELEASE,
    WORKER_PART_UNWRAP,
    WORKER_PART_OPEN,
    WORKER_PART_ADD,
    WORKER_PART_CHECK,
    WORKER_PART_RECEIPT,
    WORKER_PART_APPROVAL, /* waits for escrowd's admins */
    WORKER_PARTS,
};

#define WORKER_TEXT_MAX 512 /* bytes with NUL */

struct worker_result {
    enum worker_outcome outcome;
    enum reason reason;     /* escrowd's, REASON_NONE if it gave none */
    int32_t sql_error;      /* SQL Server's number, 0 if none */
    uint32_t retry_after_s; /* what escrowd asked for, 0 if nothing */
    uint32_t version;       /* of the secret that opened, 0 if none did */
    uint64_t epoch;         /* of the grant, 0 without one */
    bool is_behind;         /* an older version than the active one opened the database */
    bool is_receipted;      /* escrowd noted the receipt */
    uint32_t took_us[WORKER_PARTS];
    char text[WORKER_TEXT_MAX]; /* one line that says what went wrong; empty on success */
};

/* Stable words for log lines and hooks: "opened", "challenge". Never NULL. */
const char *worker_outcome_name(enum worker_outcome outcome);
const char *worker_part_name(enum worker_part part);

/* Each puts a whole payload; what fails shows when it is sent (ipc.h). */
void worker_put_part(struct ipc_writer *writer, enum worker_part part);
void worker_put_result(struct ipc_writer *writer, const struct worker_result *result);

/* ESCROW_ERR_MALFORMED unless the payload is exactly one. */
MUST_CHECK enum escrow_err worker_get_part(const struct ipc_message *message,
                                           enum worker_part *ret_part);
MUST_CHECK enum escrow_err worker_get_result(const struct ipc_message *message,
                                             struct worker_result *ret_result);
