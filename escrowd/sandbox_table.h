/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/config.h"
#include "escrowd/ipc_messages.h"
#include "libescrow/sandbox.h"

/*
 * What each role of escrowd may do, one function a role: sandbox_table.c is the page to audit. The
 * lists of system calls were measured on real runs (tests/tools/measure-calls); what is in them
 * otherwise says why.
 */

/* The plan of a role but for its user. instance: of a prober, else NULL. */
void sandbox_plan_of(enum ipc_peer_kind kind, const struct escrowd_config *config,
                     const struct escrowd_instance *instance, struct sandbox_plan *ret_plan);

/* The name of the role's user in the configuration; NULL if it has none. */
const char *sandbox_user_of(enum ipc_peer_kind kind, const struct escrowd_config *config);
