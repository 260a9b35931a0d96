/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/key.h"

/*
 * A second store, folded from the log by the keeper's own code and by nothing else: never killed,
 * never cut. What a keeper's store says after all that happened to it is what this one says, in
 * every table and column, but for what only the TPM made. What the fold should say is not judged
 * here (kill_judge.h).
 */

/* NULL, or how they differ (until the next call). The store is a copy; path: of the second one,
 * which is kept from one call to the next, or begun anew if it is not there. */
const char *shadow_judge(const char *audit_folder, EVP_PKEY *authority, const char *store_path,
                         const char *path);
/* The log lost what was not on disk: the second store is begun anew. */
void shadow_forget(const char *path);
