/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/agent_config.h"

/*
 * The parent of escrow-agent: starts a prober for each instance, watches each database, and listens
 * for `escrow-agent notify`. It has neither keys nor passwords open and speaks to nobody but its
 * own children and that socket.
 */

/*
 * Runs until SIGTERM or SIGINT; a worker in flight then has 4 s to end. config_path is what the
 * children read for themselves. ESCROW_OK after an ordered end.
 */
MUST_CHECK enum escrow_err agent_run(const char *config_path, const struct agent_config *config);
