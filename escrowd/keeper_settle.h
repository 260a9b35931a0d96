/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <stddef.h>

/*
 * What becomes of grants. An agent's word settles nothing: after a receipt that says that the
 * master key opens, the replica itself is asked, by the prober of its instance, until it says yes,
 * or no for certain, or the time for it is over; a record says which. Only a yes settles. What is
 * to be asked stands in the ledger, so a keeper that ended goes on where it was. It lets nothing
 * out, and what it finds out only ever makes the next decision the stricter one of two.
 */
struct keeper;
struct settle;

/* The keeper is borrowed. ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err settle_new(struct keeper *keeper, struct settle **ret_settle);
/* Nobody is called any more. */
void settle_free(struct settle *settle);
CLEANUP_FUNCTION(settle_free_p, struct settle, settle_free)

/* Both queue records, and commit none. Once a second; and at once when a receipt is durable. */
void settle_tick(struct settle *settle);
void settle_look(struct settle *settle);
