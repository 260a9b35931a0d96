/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/config.h"
#include "escrowd/ipc_messages.h"

/*
 * A role of escrowd enters its sandbox (libescrow/sandbox.h): its own user, and what the table of
 * sandbox_table.c leaves it. Which protections are on stands in one log line of the role.
 */

/*
 * instance: of a prober, else "". ESCROW_ERR_CONFIG (a user is missing or unknown),
 * ESCROW_ERR_SYSTEM.
 */
MUST_CHECK enum escrow_err sandbox_enter(enum ipc_peer_kind kind,
                                         const struct escrowd_config *config, const char *instance);

/*
 * For `escrowd init`, where it is started as root: makes the folder, if it is not there yet, for
 * the user of a role; then becomes that user for good. Otherwise the folder is made, and nothing
 * more.
 */
MUST_CHECK enum escrow_err
sandbox_make_folder(enum ipc_peer_kind kind, const struct escrowd_config *config, const char *path);
MUST_CHECK enum escrow_err sandbox_become(enum ipc_peer_kind kind,
                                          const struct escrowd_config *config);
