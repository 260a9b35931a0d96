/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/session.h"

/*
 * BEGIN, COMMIT and ROLLBACK TRANSACTION of one session, as far as keys are concerned: what a
 * transaction changed in one database comes back with a rollback, and so does what the instance
 * notes of it; a master key that was opened stays open (sqlserver-facts 1.3). Other sessions cannot
 * change the keys of that database meanwhile.
 */

void transaction_begin(struct session *session);
int32_t transaction_commit(struct session *session); /* 0, or 3902: none is open */
/* All levels of it, with its application locks; without one nothing happens. */
void transaction_rollback(struct session *session);
/* @@TRANCOUNT */
size_t transaction_depth(const struct session *session);

/*
 * Before the keys of the session's database are changed. 0, or 1222: another transaction has
 * changed them, or this one those of another database, which the model leaves out.
 */
int32_t transaction_touch(struct session *session);
/* Whether a change that was refused is one that waits for another session's transaction. */
bool transaction_is_locked_out(const struct session *session);
