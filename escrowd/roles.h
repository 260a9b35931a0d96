/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

/*
 * Where a role's process begins: what every role does first, and the table of the roles' own
 * entries.
 */

/*
 * Runs the role of this name to its end, with the descriptors of spawn.h; config_path is only a
 * name for messages.
 */
MUST_CHECK enum escrow_err roles_run(const char *name, const char *config_path,
                                     const char *instance);
