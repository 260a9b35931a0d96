/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/sandbox_table.h"

/*
 * Landlock: from now on this process reaches the files of its profile and no others, and TCP only
 * if the profile says so. Descriptors that are open stay as they are. A kernel without Landlock, or
 * with an older one, gives less: a log line says what is missing.
 */

/* instance is NULL unless a prober's. ESCROW_ERR_SYSTEM. */
MUST_CHECK enum escrow_err sandbox_restrict_files(const struct sandbox_profile *profile,
                                                  const struct escrowd_config *config,
                                                  const struct escrowd_instance *instance);
