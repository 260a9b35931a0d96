/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/store.h"
#include "libescrow/approval.h"

/*
 * What the policy authority signed: the roster in force, and the approvals. Kept as the documents
 * that were published; whoever reads them verifies them again.
 */

/* The roster's compact text, owned by the caller; ESCROW_ERR_NOT_FOUND before the first one. */
MUST_CHECK enum escrow_err store_roster(struct store *store, char **ret_compact);
MUST_CHECK enum escrow_err store_set_roster(struct store *store, uint64_t version,
                                            const char *compact);

/*
 * An approval replaces the one for the same group, member and subject (act key, or PCR values)
 * unless that one has a higher epoch.
 */
MUST_CHECK enum escrow_err store_add_approval(struct store *store, const struct approval *approval);
/* The approval of an act key for a group on the member with this counter; ESCROW_ERR_NOT_FOUND. */
MUST_CHECK enum escrow_err store_node_approval(struct store *store, const char *group,
                                               const struct tpm_name *counter,
                                               const struct tpm_name *act_key,
                                               struct approval *ret_approval);
/* The next act key, by its Name, that alone is approved for a group there; ESCROW_ERR_NOT_FOUND. */
MUST_CHECK enum escrow_err store_next_node(struct store *store, const char *group,
                                           const struct tpm_name *counter,
                                           const struct tpm_name *after,
                                           struct tpm_name *ret_act_key);
/* The host approvals of a group for that member, highest epoch first; at most cap. */
MUST_CHECK enum escrow_err store_host_approvals(struct store *store, const char *group,
                                                const struct tpm_name *counter,
                                                struct approval *ret_approvals, size_t cap,
                                                size_t *ret_count);
/* Whether there are any of each, unread: what a release needs before it is decided. */
MUST_CHECK enum escrow_err store_has_approvals(struct store *store, const char *group,
                                               const struct tpm_name *counter,
                                               const struct tpm_name *act_key, bool *ret_host,
                                               bool *ret_node);
