/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/worker_run.h"

/*
 * One attempt to open one master key, in a process of its own that ends with it: asks escrowd for
 * the password on proof of the promotion, opens, re-encrypts, proves, reports, and forgets. All
 * that is secret lives here, in locked memory, for some milliseconds.
 */

/*
 * Locks the memory, arms the deadline (SIGALRM ends the process), connects, waits for the parent's
 * go, makes the attempt and sends the result to the parent. Before the go nothing is asked of
 * escrowd but its roster. Once per process. An error only if the parent could not be told.
 */
MUST_CHECK enum escrow_err worker_attempt(const struct worker_task *task);

/*
 * What a worker needs of this host, tried out when the agent starts instead of at the failover:
 * locked memory, the instance's keys and certificates, the driver's configuration. Asks nobody.
 * ESCROW_OK, or an error after log lines that say what to mend.
 */
MUST_CHECK enum escrow_err worker_rehearse(const struct worker_task *task);
