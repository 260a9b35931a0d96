/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/config.h"
#include "escrowd/ipc_messages.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * What this process uses of the machine, as metrics escrowd_ROLE_*. It opens one file, once: its
 * own /proc/self/statm, so that a role can do that before its sandbox closes.
 */
struct usage {
    int statm_fd;       /* -1: memory is not known */
    int64_t started_s;  /* Unix time */
    size_t descriptors; /* as many as the process may have open */
};

/* Of the process of a role. */
void usage_init(enum ipc_peer_kind kind, const struct escrowd_config *config,
                struct usage *ret_usage);
void usage_deinit(struct usage *usage);

/* Their families, as metric.h has them. */
void usage_write(FILE *out, const char *role, const struct usage *usage);
