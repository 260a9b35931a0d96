/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/reply.h"
#include "tests/sqlsim/session.h"

/*
 * A batch of several statements, as a DBA's script has them: each ends with a ;, and IF, ELSE,
 * BEGIN, END and RETURN choose among them; PRINT, RAISERROR, EXEC (text) and sp_executesql of a
 * database are its own. What does the rest is statements.h. As on a server a statement that fails
 * does not end its batch; other than there, what does not parse is noticed only when it is reached.
 */

/* false: it holds what is not understood, and the reply has 102. */
bool script_run(struct session *session, const char *text, struct reply *reply);

/* Whether a batch is more than one statement, as far as its words and ; say so. */
bool script_is(const char *text);
