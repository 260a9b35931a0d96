/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/tpm_jobs.h"
#include "libescrow/reason.h"

/*
 * Which approvals of the policy authority a release runs on, in the form that the TPM takes, with
 * the tickets of those that it has verified. The documents are the store's; this is a cache.
 */
struct keeper;
struct approval_cache;

/* So many are held. After a failover of many groups each is needed within a second or so. */
#define APPROVALS_HELD 4096

/* NULL without memory. */
struct approval_cache *approval_cache_new(void);
void approval_cache_free(struct approval_cache *cache);

/* Whether a release by this act key has both kinds, for what is said before it is decided. */
MUST_CHECK enum reason keeper_approvals_lack(const struct keeper *keeper, const char *group,
                                             const struct tpm_name *act_key);
/*
 * The node approval for an act key in a group, and the host approvals of the group, into a job; the
 * TPM finds out which of these is of its boot state. REASON_NO_HOST_APPROVAL,
 * REASON_NO_NODE_APPROVAL, REASON_STORE_UNAVAILABLE.
 */
MUST_CHECK enum reason keeper_approvals(struct keeper *keeper, const char *group,
                                        const struct tpm_name *act_key,
                                        struct tpm_release_job *job);
/* Keeps the tickets that the TPM gave for them. */
void keeper_approvals_keep(struct keeper *keeper, const struct tpm_release_job *job);
