/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/worker_run.h"
#include "libescrow/answer.h"
#include "libescrow/probe.h"
#include "libescrow/sql.h"

/*
 * The worker at SQL Server: is the master key closed, who are we (CONTEXT_INFO), open it with what
 * was granted and add the service master key, does it open by itself now. Two sessions, one after
 * the other: passwords go through the first, and the second, in which nothing was ever opened, is
 * asked for the proof. A password is wiped as soon as its batch is sent.
 */

struct worker_sql {
    struct worker_run *run;
    struct sql_instance instance;
    struct sql_connection *connection; /* for the batches; in the database */
    struct probe *probe;               /* for the proof, over a connection of its own */
    int32_t opens_error; /* of SQL Server, with the last answer of worker_sql_opens() */
};

/*
 * Connects to the instance, whatever its role is by then. What went wrong is in the run's result,
 * for this function and all below. Deinit also after a failure.
 */
MUST_CHECK enum escrow_err worker_sql_init(struct worker_sql *sql, struct worker_run *run);
void worker_sql_deinit(struct worker_sql *sql);

/* Enters the database; connects anew, once, if the connection has been ended since. */
MUST_CHECK enum escrow_err worker_sql_enter(struct worker_sql *sql);

/*
 * *ret_opens: whether the master key opens by itself. ESCROW_ERR_UNAVAILABLE if that cannot be
 * said.
 */
MUST_CHECK enum escrow_err worker_sql_opens(struct worker_sql *sql, bool *ret_opens);

/*
 * Commits the nonce of a challenge in the database, where a secondary reads it; once more in a new
 * session if that one has ended. A failure is logged and no more: escrowd then has its admins say.
 * An error: the connection was lost by that and cannot be had again. So this comes before
 * worker_sql_set_context.
 */
MUST_CHECK enum escrow_err worker_sql_commit_echo(struct worker_sql *sql,
                                                  const uint8_t nonce[static ACT_NONCE_BYTES]);

/* Ties the nonce of a challenge to our session, where escrowd looks for it. */
MUST_CHECK enum escrow_err worker_sql_set_context(struct worker_sql *sql,
                                                  const uint8_t nonce[static ACT_NONCE_BYTES]);

/*
 * Opens the objects of a grant with the recipient's private key and tries their passwords in
 * order, until one opens the master key; adds the service master key with it, closes, and ends the
 * session. *ret_index: which one. ESCROW_ERR_NOT_FOUND: every password was refused (15313).
 */
MUST_CHECK enum escrow_err worker_sql_open(struct worker_sql *sql, const struct answer *grant,
                                           EVP_PKEY *recipient, size_t *ret_index);

/*
 * EXEC catalog.startup on a new connection. Its failure is logged and changes nothing: the master
 * key is open.
 */
void worker_sql_catalog_startup(struct worker_sql *sql);
