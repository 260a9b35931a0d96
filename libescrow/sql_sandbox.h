/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/sandbox.h"
#include "libescrow/sql.h"

/*
 * What a process that talks to one instance by sql.h still needs after sql_environment_new: to be
 * added to its plan. That has read and loaded everything else, so what is left is the instance's
 * port, and files only where a name has to be looked up or tickets have to be got.
 */
void sql_sandbox_allow(const struct sql_instance *instance, struct sandbox_plan *plan);

/* For a name that is not a numeric address: libc's files for it, and port 53. */
void sandbox_allow_lookup(const char *address, struct sandbox_plan *plan);

/* For whoever compares the lists with what is really called. */
extern const struct sandbox_rule sql_sandbox_rules[];
extern const size_t sql_sandbox_rule_count;
