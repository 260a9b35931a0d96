/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

/*
 * The parent of escrow-agent: starts a prober for each instance, watches each database, and listens
 * for `escrow-agent notify`. It has neither keys nor passwords open and speaks to nobody but its
 * own children and that socket.
 */

/*
 * Runs until SIGTERM or SIGINT; a worker in flight then has 4 s to end. The configuration is read
 * again at SIGHUP and when it has changed; a wrong one changes nothing. Until then the children
 * read the parent's copy of it, on their standard input, which is taken for that. ESCROW_ERR_CONFIG
 * if it is wrong at first, ESCROW_OK after an ordered end.
 */
MUST_CHECK enum escrow_err agent_run(const char *config_path);
