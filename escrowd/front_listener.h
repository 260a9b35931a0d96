/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <stdint.h>

/*
 * The listening socket. The supervisor makes it, so that front needs no right to bind, and it
 * outlives front: while front is started again, clients wait instead of being refused.
 */

/*
 * A non-blocking TCP socket that listens on an IPv4 or IPv6 address; port 0 takes a free one.
 * Accepted sockets inherit TCP_NODELAY. ESCROW_ERR_CONFIG with a log line.
 */
MUST_CHECK enum escrow_err front_listen(const char *address, uint16_t port, int *ret_fd,
                                        uint16_t *ret_port);
