/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/session.h"

/*
 * What statements about keys ask before they do anything, in this order. Each adds SQL Server's
 * error to the reply and is false if the answer is no.
 */

/* The session may be in its database, and may CONTROL it (1.2); else 976, ..., or 15151. */
bool key_check_control(const struct session *session, struct reply *reply);
/* The same, and the database has a master key. */
bool key_check_exists(const struct session *session, struct reply *reply);
/* The master key is open in this session, or opens by itself here; else 15581 (1.4). */
bool key_check_opens(struct session *session, struct reply *reply);
/* The database can be written here, and no other transaction holds its keys; else 3906, 1222. */
bool key_check_write(struct session *session, struct reply *reply);
/* A new password is not too long (15156), and what Windows demands if it does (15116, 15118). */
bool key_check_new_password(const struct session *session, const char *password,
                            struct reply *reply);

/* Without an error: whether the master key can be used, which lets a stored password wrap it. */
bool key_opens(struct session *session);
bool key_is_writable(const struct session *session);
void key_reply_15581(const struct session *session, struct reply *reply);
