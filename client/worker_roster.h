/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/roster.h"

/*
 * Which roster a worker believes: one that the pinned authority signed, and never an older one than
 * was seen before, on this host, from whichever escrowd. The highest version is kept in a file, so
 * that an escrowd that was set back cannot bring back a key that was taken out.
 */

/*
 * Verifies a roster and notes its version in state_file (made if it is missing). ESCROW_ERR_DENIED:
 * older than one seen before. Else as roster_parse; ESCROW_ERR_CONFIG or ESCROW_ERR_SYSTEM: the
 * state file cannot be read or written. *ret_text says what was wrong, a static text.
 */
MUST_CHECK enum escrow_err worker_roster_accept(const char *compact, size_t len,
                                                EVP_PKEY *authority, const char *state_file,
                                                struct roster **ret_roster, const char **ret_text);
