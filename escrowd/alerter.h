/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/config.h"

/*
 * The alerter: runs the command of `alert:` for what the keeper hands it, one at a time, and says
 * what became of each. It has no file, key or socket of escrowd's and decides nothing: what a
 * command could do to escrowd is to deliver nothing.
 */

/*
 * The role's life: called inside its sandbox with its end of the supervisor's channel (taken; see
 * role.h). Returns when the supervisor said shut down (ESCROW_OK) or when it cannot go on.
 */
MUST_CHECK enum escrow_err alerter_run(const struct escrowd_config *config, int supervisor_fd);

/*
 * `escrowd test-alert`: runs the command once, as the alerter would, with an alert that says that
 * it is a test. ESCROW_ERR_CONFIG: there is no `alert:`, or its command cannot be run;
 * ESCROW_ERR_UNAVAILABLE: it failed; both with a log line.
 */
MUST_CHECK enum escrow_err alerter_test(const struct escrowd_config *config);
