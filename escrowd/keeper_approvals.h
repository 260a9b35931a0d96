/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/tpm_release.h"
#include "libescrow/reason.h"

/*
 * Which approvals of the policy authority a release runs on, in the form that the TPM takes, with
 * the tickets of those that it has verified. The documents are the store's; this is a cache.
 */
struct keeper;
struct approval_cache;

/* NULL without memory. */
struct approval_cache *approval_cache_new(void);
void approval_cache_free(struct approval_cache *cache);

/*
 * The host and the node approval for an act key in a group, borrowed until the next call.
 * REASON_NO_HOST_APPROVAL, REASON_NO_NODE_APPROVAL, REASON_STORE_UNAVAILABLE,
 * REASON_TPM_UNAVAILABLE (boot state cannot be read where several host approvals are there).
 */
MUST_CHECK enum reason keeper_approvals(struct keeper *keeper, const char *group,
                                        const struct tpm_name *act_key,
                                        struct tpm_approval **ret_host,
                                        struct tpm_approval **ret_node);
