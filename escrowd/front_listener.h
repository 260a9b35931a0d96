/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <stdint.h>

/*
 * The listening sockets. The supervisor makes them, so that front needs no right to bind, and they
 * outlive front: while front is started again, clients wait instead of being refused.
 */

/*
 * A non-blocking TCP socket that listens on an IPv4 or IPv6 address; port 0 takes a free one.
 * Accepted sockets inherit TCP_NODELAY. ESCROW_ERR_CONFIG with a log line.
 */
MUST_CHECK enum escrow_err front_listen(const char *address, uint16_t port, int *ret_fd,
                                        uint16_t *ret_port);

/*
 * The same as a Unix socket, which replaces an abandoned one at that path. Only its owner may
 * connect, and group (a name or a number) if that is not NULL. ESCROW_ERR_CONFIG with a log line.
 */
MUST_CHECK enum escrow_err front_listen_local(const char *path, const char *group, int *ret_fd);
