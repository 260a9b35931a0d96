/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/tpm_context.h"
#include "libescrow/key.h"
#include "libescrow/tpm_policy.h"
#include "libescrow/wrap.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Deposit and release in the TPM. An object enters by TPM2_Import and leaves by TPM2_Duplicate to
 * the recipient that the act key signed for; there is no other way out, and this module knows no
 * other command that touches an object. It decides nothing: the TPM enforces approvals, boot state,
 * epoch, signer, object and recipient, and whether a release is due at all the keeper has decided
 * before.
 */

#define TPM_PRIVATE_MAX 512

/* An object's private area, encrypted by the storage key: what the store keeps. */
struct tpm_private {
    size_t len;
    uint8_t bytes[TPM_PRIVATE_MAX];
};

/*
 * Imports a blob that was wrapped to this member's storage key. That the object is the template and
 * of the right group is the caller's to check (wrap_object_parse, tpm_policy_object).
 * ESCROW_ERR_CRYPTO if the blob is damaged, or is another object's or another member's.
 */
MUST_CHECK enum escrow_err tpm_import(struct tpm *tpm, const struct wrap_object *object,
                                      const struct wrap_blob *blob,
                                      struct tpm_private *ret_private);

/*
 * An approval of the policy authority, for this member and one group. policy is what it approves
 * (tpm_policy_host, tpm_policy_node or tpm_policy_quorum with this member's counter). The ticket is
 * this module's own: it is filled at the first verification and good as long as the TPM is not
 * cleared. Start with ticket_len = 0.
 */
struct tpm_approval {
    enum tpm_approval_kind kind;
    uint64_t epoch;
    struct tpm_pcrs pcrs; /* of a host approval */
    struct tpm_digest policy;
    uint8_t signature[ECDSA_SIGNATURE_BYTES]; /* over tpm_policy_approval_digest */
    uint16_t ticket_len;
    uint8_t ticket[64];
};

/*
 * Lets the TPM verify an approval, once (3 commands; none if it has a ticket).
 * ESCROW_ERR_CRYPTO if the authority did not sign exactly this.
 */
MUST_CHECK enum escrow_err tpm_approval_verify(struct tpm *tpm, const struct ec_point *authority,
                                               const char *group, struct tpm_approval *approval);

/*
 * What a release does of which nobody has to sign anything, ahead of it: loads the object and keeps
 * it (tpm_kept.h), with 6 commands, 7 if there is no session; none if it is kept. Nothing is
 * duplicated. Errors as those that its release would have.
 */
MUST_CHECK enum escrow_err tpm_prepare(struct tpm *tpm, const struct wrap_object *object,
                                       const struct tpm_private *private_area);

/* An act key and its signature over tpm_policy_signed_digest of object and recipient. */
struct tpm_signer {
    struct ec_point key;
    uint8_t signature[ECDSA_SIGNATURE_BYTES];
};

struct tpm_release_request {
    const struct wrap_object *object;
    const struct tpm_private *private_area;
    const struct ec_point *recipient;
    const struct ec_point *authority;
    const char *group;
    const struct tpm_signer *signers; /* those of the node approval, in ascending order of Name */
    size_t signer_count;              /* 1 ..= TPM_SIGNERS_MAX */
    struct tpm_approval *node;        /* verified first if they have no ticket yet */
    struct tpm_approval *host;
};

/*
 * Duplicates one object to the recipient: 14 commands with one signer, kept tickets and the object
 * kept (tpm_kept.h); with an object that is not it takes 18, and 3 more for each ticket that it
 * lacks.
 * ESCROW_ERR_CRYPTO if a point is not on the curve (the TPM is not asked), or if a signature does
 * not fit object and recipient; ESCROW_ERR_TPM if boot state, epoch or approval do not hold
 * (REASON_TPM_REFUSED).
 */
MUST_CHECK enum escrow_err tpm_release(struct tpm *tpm, const struct tpm_release_request *request,
                                       struct wrap_blob *ret_blob);
