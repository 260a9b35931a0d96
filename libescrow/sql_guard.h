/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <stdbool.h>

/*
 * The last gate before the network. FreeTDS up to its present versions drops TLS after the login
 * when the server's unauthenticated PRELOGIN answer says ENCRYPT_OFF, even where encryption is
 * required and the certificate was verified, and would then send the master key's password in clear
 * text. So the executable defines send() itself, exported so that the driver binds to it, and
 * once armed lets out on any TCP socket nothing but whole TDS packets of type PRELOGIN (0x12, the
 * carrier of the TLS handshake) and TLS records, application data only as TLS 1.2 or later. A
 * refused send fails with EPERM and sends nothing.
 *
 * The driver compares the certificate with the name it connects to, and takes no other. So
 * getaddrinfo() is defined too: it answers for the instance's TLS name with the instance's address,
 * and leaves all other names alone.
 *
 * Linking escrow_sql exports both. For single-threaded processes.
 */

/*
 * Guards this process from now on and for ever. ESCROW_ERR_SYSTEM if the driver would not bind to
 * the functions here, because the executable does not export them.
 */
MUST_CHECK enum escrow_err sql_guard_arm(void);

/*
 * Lets name resolve to a numeric address, or with "" to none, until the next call.
 * ESCROW_ERR_CONFIG if one is too long.
 */
MUST_CHECK enum escrow_err sql_guard_map(const char *name, const char *numeric_address);

/* What send() has done since sql_guard_watch. */
struct sql_guard_watch {
    bool has_passed; /* let something out: the driver does send through here */
    bool has_refused;
};
void sql_guard_watch(void);
struct sql_guard_watch sql_guard_seen(void);
