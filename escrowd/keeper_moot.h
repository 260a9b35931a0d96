/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <stddef.h>

/*
 * Requests for an approval that nobody needs any more: another escrowd has served their requester,
 * or a person has opened the master key by hand. The replica of each request that has waited for a
 * while is asked whether its master key opens by itself; if it does, the request ends, and a record
 * says so. It lets nothing out, and it approves nothing: who still wants a release asks anew.
 * Releases that an admin ordered are not meant: their master key may well open.
 */
struct keeper;
struct moot;

/* The keeper is borrowed. ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err moot_new(struct keeper *keeper, struct moot **ret_moot);
/* Nobody is called any more. */
void moot_free(struct moot *moot);
CLEANUP_FUNCTION(moot_free_p, struct moot, moot_free)

/* Once a second: asks about one request at most, and may queue a record. */
void moot_tick(struct moot *moot);
