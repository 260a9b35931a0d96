/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/agent_config.h"
#include "libescrow/file_watch.h"

/*
 * The files that the agent's processes read, by what they are for: so that whoever uses one begins
 * anew when it has changed. Looks at them as file_watch.h does, and never reads one.
 */

/* Watches all but state_file, which workers write. As file_watch_set. */
MUST_CHECK enum escrow_err agent_files_watch(struct file_watch *files,
                                             const struct agent_config *config,
                                             const char *config_path);

/* When last looked, has a file changed by which this instance knows us, or we know it? */
bool agent_files_has_login(const struct file_watch *files, const struct agent_instance *instance);
/* By which escrowds know who acts for this instance? */
bool agent_files_has_identity(const struct file_watch *files,
                              const struct agent_instance *instance);
/* By which escrowds are known? */
bool agent_files_has_trust(const struct file_watch *files, const struct agent_config *config);
