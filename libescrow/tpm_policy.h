/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "libescrow/key.h"

/*
 * The policy digests of the design, computed in software (TPM 2.0 Part 1, section 19.7; Part 3,
 * 23.x), so that authority, admins, agents and keeper agree without a TPM. Labels of approvals are
 * "host:GROUP" and "node:GROUP". A release session runs
 *   PolicySigned(act key, cpHash) PolicyNV(counter <= epoch) PolicyAuthorize(authority, node:GROUP)
 *   PolicyPCR PolicyNV(counter <= epoch) PolicyAuthorize(authority, host:GROUP)
 *   PolicyCommandCode(Duplicate)
 */

#define TPM_DIGEST_BYTES 32
#define TPM_PCRS 24

struct tpm_digest {
    uint8_t bytes[TPM_DIGEST_BYTES];
};

/* Which PCRs of the SHA-256 bank, bit n = PCR n, and the digest over their values in order. */
struct tpm_pcrs {
    uint32_t selection;
    struct tpm_digest digest;
};

/* The authPolicy of every object of a group: PolicyAuthorize(host:GROUP), PolicyCommandCode. */
MUST_CHECK enum escrow_err tpm_policy_object(const struct tpm_name *authority, const char *group,
                                             struct tpm_digest *ret_policy);

/* What a node approval approves: this act key while the counter is at most epoch. */
MUST_CHECK enum escrow_err tpm_policy_node(const struct tpm_name *act_key,
                                           const struct tpm_name *counter, uint64_t epoch,
                                           struct tpm_digest *ret_policy);
/* What a host approval approves: after a node approval of the group, these PCRs, the counter. */
MUST_CHECK enum escrow_err tpm_policy_host(const struct tpm_name *authority, const char *group,
                                           const struct tpm_pcrs *pcrs,
                                           const struct tpm_name *counter, uint64_t epoch,
                                           struct tpm_digest *ret_policy);

/* aHash of TPM2_PolicyAuthorize: H(approvedPolicy || policyRef): what the authority signs. */
enum tpm_approval_kind { TPM_APPROVAL_HOST, TPM_APPROVAL_NODE };
MUST_CHECK enum escrow_err tpm_policy_approval_digest(enum tpm_approval_kind kind,
                                                      const char *group,
                                                      const struct tpm_digest *approved_policy,
                                                      struct tpm_digest *ret_digest);

/* cpHash of TPM2_Duplicate(object, recipient, no encryptionKeyIn, AES-128-CFB). */
MUST_CHECK enum escrow_err tpm_policy_duplicate_cphash(const struct tpm_name *object,
                                                       const struct tpm_name *recipient,
                                                       struct tpm_digest *ret_cphash);
/* aHash of TPM2_PolicySigned(empty nonceTPM, expiration 0, cpHash, empty policyRef): what an act
 * key signs for one object and one recipient. */
MUST_CHECK enum escrow_err tpm_policy_signed_digest(const struct tpm_digest *cphash,
                                                    struct tpm_digest *ret_digest);
