/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/sandbox.h"

/*
 * Landlock: the files of a plan and nothing else of the file system, its TCP ports, and no abstract
 * Unix socket and no signal to a process outside (as far as this kernel's Landlock goes; log lines
 * name what it lacks). Two steps, because who opens the paths may be root, who is held to them not.
 */

#define SANDBOX_ABI_TCP 4 /* the first ABI of Landlock that knows TCP ports */

/* *ret_abi 0 and *ret_fd -1 where the kernel has no Landlock. ESCROW_ERR_SYSTEM. */
MUST_CHECK enum escrow_err sandbox_files_prepare(const struct sandbox_plan *plan, int *ret_abi,
                                                 int *ret_fd);
/* fd stays the caller's; -1 does nothing. ESCROW_ERR_SYSTEM. */
MUST_CHECK enum escrow_err sandbox_files_enforce(int fd);
