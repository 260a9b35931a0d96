/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/config.h"
#include "libescrow/file_watch.h"

/* Which of the files that may change while escrowd runs concern whom. */

/* Watches all that the configuration names, and itself. As file_watch_set. */
MUST_CHECK enum escrow_err watched_set(struct file_watch *watch, const char *config_path,
                                       const struct escrowd_config *config);

/* What had changed when last looked: configuration or policy; a file of front; one of a prober. */
bool watched_has_new_rules(const struct file_watch *watch, const char *config_path,
                           const struct escrowd_config *config);
bool watched_has_new_credentials(const struct file_watch *watch,
                                 const struct escrowd_config *config);
bool watched_has_new_login(const struct file_watch *watch, const struct escrowd_config *config,
                           const char *instance);
