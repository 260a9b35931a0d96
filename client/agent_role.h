/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

/*
 * What this program is when its parent starts it as a role: a prober that answers questions about
 * one instance until it is told to end, a worker that makes one attempt and reports, or a rehearsal
 * that tries out what a worker will need and tells by its exit status. They read the configuration
 * for themselves; prober and worker find the parent at AGENT_CHANNEL_FD.
 */
struct agent_role_arguments {
    const char *role; /* "prober", "worker", "rehearsal" */
    const char *config_path;
    const char *instance;
    const char *group;    /* worker, rehearsal */
    const char *database; /* worker */
};

/* The life of the role. ESCROW_ERR_USAGE for arguments that no parent gives. */
MUST_CHECK enum escrow_err agent_role_run(const struct agent_role_arguments *arguments);
