/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/sandbox_table.h"

/*
 * seccomp: from now on this process makes the system calls of its profile; any other one kills it,
 * except for the few that libraries try and can do without. A kernel without seccomp gives a log
 * line. ESCROW_ERR_SYSTEM.
 */
MUST_CHECK enum escrow_err sandbox_restrict_calls(const struct sandbox_profile *profile);
