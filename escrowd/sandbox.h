/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/config.h"
#include "escrowd/ipc_messages.h"

/*
 * What a role may do from now on, by one table per role (sandbox_table.c): its own user, no new
 * privileges, not dumpable, no core file, resource limits, the files it needs (Landlock) and the
 * system calls it needs (seccomp); a call beyond them kills the process. Nothing of it can be taken
 * back. Where the kernel lacks a part, the role runs without it and a log line says so; every other
 * failure stops the role.
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
