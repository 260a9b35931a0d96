/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/config.h"

/*
 * The keeper: the reference monitor. Only it decides, writes the log, has the store and talks to
 * the TPM; it has no network and never a plaintext.
 */

/*
 * The role's life: called inside its sandbox with the policy (read here, the caller's to close) and
 * its end of the supervisor's channel (taken; see role.h). The channels to front and to the probers
 * arrive there. Returns when the supervisor said shut down (ESCROW_OK) or when it cannot go on.
 */
MUST_CHECK enum escrow_err keeper_run(const struct escrowd_config *config, int policy_fd,
                                      int supervisor_fd);

/*
 * `escrowd init`: provisions TPM and state once, in folders that exist. ESCROW_ERR_EXISTS if that
 * was done before.
 */
MUST_CHECK enum escrow_err keeper_init(const struct escrowd_config *config);
