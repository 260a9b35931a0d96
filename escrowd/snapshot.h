/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/config.h"
#include "policy/policy.h"

/*
 * Configuration and policy as the supervisor read them: sealed copies in memory, from which every
 * role reads, whenever it is started. So keeper and probers always count the same targets
 * (target.h), however the files have changed since; a change counts from the next SIGHUP, whole or
 * not at all.
 */
struct snapshot {
    struct escrowd_config *config;
    struct policy *policy;
    int config_fd;
    int policy_fd;
    int credentials_fd; /* of front (credentials.h), which may change by themselves */
};

#define SNAPSHOT_EMPTY                                                                             \
    {                                                                                              \
        .config_fd = -1, .policy_fd = -1, .credentials_fd = -1                                     \
    }

/*
 * Reads and checks configuration and policy, and takes no credentials. ESCROW_ERR_CONFIG:
 * everything that is wrong was logged, with file, line and column. ESCROW_ERR_SYSTEM,
 * ESCROW_ERR_NO_MEMORY.
 */
MUST_CHECK enum escrow_err snapshot_take(const char *config_path, struct snapshot *ret_snapshot);
void snapshot_deinit(struct snapshot *snapshot);
bool snapshot_equal(const struct snapshot *a, const struct snapshot *b);

/* A sealed copy to be read from its start, for one role; close-on-exec, the caller's to close. */
MUST_CHECK enum escrow_err snapshot_open(int sealed_fd, int *ret_fd);
