/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/agent_config.h"
#include "libescrow/sandbox.h"

/*
 * The sandboxes of the agent's roles (libescrow/sandbox.h): a prober reaches its instance, a worker
 * its instance and the escrowds, and neither anything else; the files of other entries of the
 * configuration, other programs and the rest of this host are closed to both. They come after
 * sql_environment_new. The parent has none: it starts processes and runs hooks.
 */

/* ESCROW_ERR_SYSTEM with a log line: the role must end. */
MUST_CHECK enum escrow_err agent_sandbox_prober(const struct agent_instance *instance);
MUST_CHECK enum escrow_err agent_sandbox_worker(const struct agent_config *config,
                                                const struct agent_instance *instance);

/* For whoever compares the lists with what is really called. */
extern const struct sandbox_rule agent_worker_rules[];
extern const size_t agent_worker_rule_count;
