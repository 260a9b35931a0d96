/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/simulator.h"

#include <event2/util.h>

/*
 * One TCP connection of a client: PRELOGIN, TLS, LOGIN7, then batches. It parses what a peer sends
 * and knows no SQL. It lives in its instance's list until it is closed.
 */

/* Takes the socket. A connection of a hung instance is not read. listener: of the group whose
 * listener it came by, or NULL. */
void connection_new(struct instance *instance, evutil_socket_t fd,
                    const struct model_group *listener);
/* Closes it at once; is_reset: by a TCP reset. */
void connection_free(struct connection *connection, bool is_reset);
/* Tries a batch again that waits for a lock; may close the connection. */
void connection_retry(struct connection *connection);
struct connection *connection_next(const struct connection *connection);
/* Stops or resumes reading and writing. */
void connection_hang(struct connection *connection);
void connection_resume(struct connection *connection);
