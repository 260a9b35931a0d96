/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

/*
 * What each process of the agent gives up before it reads anything: core dumps, being traced or
 * read by its own user, and every gain of privileges. A worker also locks its memory.
 */

/* ESCROW_ERR_SYSTEM with a log line; do not go on then. */
MUST_CHECK enum escrow_err agent_harden(void);

/*
 * No page of this process, now or later, reaches swap. ESCROW_ERR_SYSTEM with a log line that names
 * the limit, if the limit on locked memory (RLIMIT_MEMLOCK) leaves too little room.
 */
MUST_CHECK enum escrow_err agent_harden_memory(void);
