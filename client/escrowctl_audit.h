/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/escrowctl.h"
#include "libescrow/audit_reader.h"

/* The log of one escrowd, asked for over the network or read from a copy of its folder. */

struct ctl_audit {
    const char *folder;  /* of the copy; NULL: over the network */
    const char *escrowd; /* address or identity; NULL: the only one of the configuration */
    uint64_t from;       /* sequence of the first record that on_line gets */
    uint64_t most;       /* records; 0: all */
    audit_line_fn on_line;
    void *argument;
    struct audit_chain end; /* filled: of what was checked */
    uint64_t read;          /* filled: records that on_line got */
};

/*
 * Hands out records, each checked against the one before it. ESCROW_ERR_USAGE (folder and escrowd
 * exclude each other), ESCROW_ERR_MALFORMED with a log line where the chain breaks, or why the log
 * cannot be read.
 */
MUST_CHECK enum escrow_err ctl_audit_read(struct ctl *ctl, struct ctl_audit *audit);
