/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

/*
 * What this program is when its parent starts it as a role: a prober that answers questions about
 * one instance until it is told to end, or a worker that makes one attempt and reports. Both read
 * the configuration for themselves and find the parent at AGENT_CHANNEL_FD.
 */
struct agent_role_arguments {
    const char *role; /* "prober", "worker" */
    const char *config_path;
    const char *instance;
    const char *database; /* worker */
};

/* The life of the role. ESCROW_ERR_USAGE for arguments that no parent gives. */
MUST_CHECK enum escrow_err agent_role_run(const struct agent_role_arguments *arguments);
