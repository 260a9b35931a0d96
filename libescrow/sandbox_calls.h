/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/sandbox.h"

/*
 * seccomp: from now on this process makes the system calls of its plan and those that every process
 * needs; any other one, one of another architecture's table or of x32 kills it. A kernel without
 * seccomp gives a log line and *ret_is_on false. ESCROW_ERR_SYSTEM.
 */
MUST_CHECK enum escrow_err sandbox_restrict_calls(const struct sandbox_plan *plan, bool *ret_is_on);

/* What every process needs, for whoever compares the lists with what is really called. */
extern const struct sandbox_rule sandbox_common_rules[];
extern const size_t sandbox_common_rule_count;
