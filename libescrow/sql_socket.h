/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Blocking-looking TCP with one absolute deadline over all of it, on a non-blocking socket. Only a
 * name look-up can take longer (the resolver's own time-outs): configure addresses.
 */
#define SQL_SOCKET_NUMERIC_CAP 64

/* Milliseconds of a clock that no one sets; a deadline is such a time. */
int64_t sql_socket_now_ms(void);

struct sql_socket_dialled {
    int fd;                               /* connected, non-blocking; the caller closes it */
    char numeric[SQL_SOCKET_NUMERIC_CAP]; /* the address that accepted, without the port */
};

/*
 * Connects to the first address of a host that accepts. ESCROW_ERR_NOT_FOUND (the name has no
 * address), ESCROW_ERR_DENIED (every address refused), ESCROW_ERR_TIMEOUT, ESCROW_ERR_UNAVAILABLE
 * (no route, or the like). *ret_errno is the last errno of connect, or 0.
 */
MUST_CHECK enum escrow_err sql_socket_dial(const char *address, uint16_t port, int64_t deadline_ms,
                                           struct sql_socket_dialled *ret_dialled, int *ret_errno);

/* All of it. ESCROW_ERR_TIMEOUT, or ESCROW_ERR_UNAVAILABLE if the connection broke. */
MUST_CHECK enum escrow_err sql_socket_write(int fd, const void *bytes, size_t len,
                                            int64_t deadline_ms);
/* Exactly len bytes. As above; ESCROW_ERR_UNAVAILABLE also at the end of the stream. */
MUST_CHECK enum escrow_err sql_socket_read(int fd, void *ret_bytes, size_t len,
                                           int64_t deadline_ms);
