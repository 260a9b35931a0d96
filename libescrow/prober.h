/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/sql.h"

#include <stddef.h>

/*
 * The body of a prober process, of escrowd and of the agent alike: answers the fixed questions of
 * ipc_probe.h about one instance, one at a time and blocking, and never runs text from the channel.
 * It believes nothing that it is asked and decides nothing, and after a refused login it tries none
 * for a while, however often it is asked (probe_hold.h). Whoever asks kills it when it is
 * overdue: ODBC has no other end for some hangs.
 */
struct prober_target {
    const char *availability_group;
    const char *database;
};

struct prober_config {
    const struct sql_instance *instance;
    const struct prober_target *targets; /* a question names one by its index */
    size_t target_count;
};

/*
 * Serves the channel, within the SQL environment that was made for the instance (sql.h), until the
 * other end closes it: ESCROW_OK. Else what ended it: ESCROW_ERR_MALFORMED for a message that is no
 * question. fd stays the caller's.
 */
MUST_CHECK enum escrow_err prober_run(int fd, const struct prober_config *config);
