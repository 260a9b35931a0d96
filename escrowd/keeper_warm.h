/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/act.h"

#include <stddef.h>

/*
 * What the TPM can do of releases before anybody asks for them, so that the first one after a start
 * takes as few TPM commands as the second: the approvals are verified (their tickets are kept,
 * keeper_approvals.h), and the object of each database that an agent would ask for first is loaded
 * (and kept, tpm_kept.h). A release uses both as it would if an earlier release had left them
 * there; what makes those stale makes these stale. It decides nothing, records nothing, duplicates
 * nothing, and nobody waits for it: a keeper is ready without it.
 *
 * - Only while the TPM has nothing to do and nobody waits for it, and one item at a time: the two
 *   approvals for one act key (tpm_approvals_job), or one object (tpm_prepare_job). Whoever comes
 *   meanwhile waits for that item and no other.
 * - In the order of the policy: of each group the approvals of its agents, in the order of the
 *   Names of their act keys, then its databases. At most TPM_PREPARED_MAX objects, and act keys so
 *   many that their approvals have places.
 * - Approvals are due after a start and after a publish; objects after a start, when the TPM was
 *   lost and is back, and after a deposit or imports. Nothing is done when nothing is due.
 * - What the TPM refuses, its release would be refused for too: one line in the log says so, and it
 *   is left alone, an object until there is a newer version of it. It makes nothing else wait, and
 *   only a TPM that does not answer keeper_tpm's own question counts as lost. What the TPM was lost
 *   with twice is left alone as well.
 */
struct keeper;
struct warm;

/* All of the keeper's policy is due. The keeper is borrowed. ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err warm_new(struct keeper *keeper, struct warm **ret_warm);
/* After the TPM's thread has ended. NULL is allowed. */
void warm_free(struct warm *warm);
CLEANUP_FUNCTION(warm_free_p, struct warm, warm_free)

/* The TPM may have nothing to do: whatever it was given is back, or time has passed. */
void warm_go(struct warm *warm);

/* There are other approvals, or another roster. */
void warm_approvals(struct warm *warm);
/* There are other objects: of one database, or of any. */
void warm_object(struct warm *warm, const struct act_subject *subject);
void warm_objects(struct warm *warm);

/* The thread has an item: a keeper that stops waits for it. NULL: no. */
bool warm_is_busy(const struct warm *warm);
/* For metrics: groups whose approvals are due, and objects that are. */
size_t warm_left(const struct warm *warm);
