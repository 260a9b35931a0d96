/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/identity.h"
#include "libescrow/key.h"
#include "libescrow/tpm_policy.h"

#include <jansson.h>

#include <stdint.h>

/*
 * Host and node approvals: what the offline policy authority signs so that a member's TPM lets a
 * release happen. A host approval says "this boot state of this member may, for this group"; a node
 * approval says "these act keys together may, for this group, on this member": one agent's, or for
 * break-glass one k-subset of the admins. Both end when the member's epoch counter passes epoch.
 * The TPM checks them again by itself; verifying one here only tells early that it would be
 * refused.
 *
 *   {"v": 1, "kind": "host", "group", "counter": hex Name, "epoch": number,
 *    "pcrs": {"selection": number, "digest": b64u}, "signature": b64u}
 *   {"v": 1, "kind": "node", "group", "counter", "epoch", "act_keys": [hex Name], "signature"}
 */
struct approval {
    enum tpm_approval_kind kind;
    char group[NAME_MAX_BYTES + 1];
    struct tpm_name counter; /* of the member's epoch counter */
    uint64_t epoch;
    struct tpm_pcrs pcrs; /* host */
    size_t act_key_count; /* node: 1 ..= TPM_SIGNERS_MAX, strictly ascending */
    struct tpm_name act_keys[TPM_SIGNERS_MAX];
    uint8_t signature[ECDSA_SIGNATURE_BYTES];
};

/* Signs: fills signature from the other fields. ESCROW_ERR_MALFORMED if the keys do not ascend. */
MUST_CHECK enum escrow_err approval_sign(EVP_PKEY *authority, struct approval *approval);

/*
 * Verifies the signature. *ret_policy is the approved policy, as TPM2_PolicyAuthorize wants it.
 * ESCROW_ERR_CRYPTO unless this authority signed exactly this.
 */
MUST_CHECK enum escrow_err approval_verify(const struct approval *approval, EVP_PKEY *authority,
                                           struct tpm_digest *ret_policy);

/* The document; NULL without memory. */
json_t *approval_to_json(const struct approval *approval);
/* ESCROW_ERR_MALFORMED with a log line that names the member. The signature is not verified. */
MUST_CHECK enum escrow_err approval_from_json(const json_t *document,
                                              struct approval *ret_approval);

/* {"selection", "digest"}, as a member's statement holds it too. ESCROW_ERR_MALFORMED. */
json_t *approval_pcrs_to_json(const struct tpm_pcrs *pcrs);
MUST_CHECK enum escrow_err approval_pcrs_from_json(const json_t *document,
                                                   struct tpm_pcrs *ret_pcrs);
