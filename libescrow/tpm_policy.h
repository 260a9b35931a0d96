/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/key.h"

#include <stddef.h>
#include <stdint.h>

/*
 * The policy digests of a secret and of a storage key, computed in software (TPM 2.0 Part 1,
 * section 19.7; Part 3, 23.x), so that authority, admins, agents and keeper agree without a TPM.
 * Never talks to one. A label of an approval (policyRef) is SHA-256("host:GROUP") or
 * SHA-256("node:GROUP"): the texts themselves could be longer than the nonce of a TPM whose longest
 * digest is SHA-256. A release session runs PolicySigned(act key, cpHash) PolicyNV(counter <=
 * epoch) PolicyAuthorize(authority, node:GROUP) PolicyPCR PolicyNV(counter <= epoch)
 * PolicyAuthorize(authority, host:GROUP) PolicyCommandCode(Duplicate)
 *
 * A member's storage key has a policy of its own, the same for all: PolicyAuthValue and then Load
 * or Import. TPM2_Rewrap needs nothing but the authorization of the old parent, so with an auth
 * value alone whoever runs the host could wrap a deposited blob to himself, past every approval.
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

enum tpm_approval_kind { TPM_APPROVAL_HOST = 1, TPM_APPROVAL_NODE };

/* The authPolicy of every object of a group: PolicyAuthorize(host:GROUP), PolicyCommandCode. */
MUST_CHECK enum escrow_err tpm_policy_object(const struct tpm_name *authority, const char *group,
                                             struct tpm_digest *ret_policy);

/* What a node approval approves: this act key while the counter is at most epoch. */
MUST_CHECK enum escrow_err tpm_policy_node(const struct tpm_name *act_key,
                                           const struct tpm_name *counter, uint64_t epoch,
                                           struct tpm_digest *ret_policy);
/*
 * The same for 1 ..= TPM_SIGNERS_MAX keys that must all sign (one k-subset of the admins).
 * ESCROW_ERR_MALFORMED unless the Names ascend strictly, so that no key counts twice.
 */
#define TPM_SIGNERS_MAX 8
MUST_CHECK enum escrow_err tpm_policy_quorum(const struct tpm_name *keys, size_t count,
                                             const struct tpm_name *counter, uint64_t epoch,
                                             struct tpm_digest *ret_policy);
/* What a host approval approves: after a node approval of the group, these PCRs, the counter. */
MUST_CHECK enum escrow_err tpm_policy_host(const struct tpm_name *authority, const char *group,
                                           const struct tpm_pcrs *pcrs,
                                           const struct tpm_name *counter, uint64_t epoch,
                                           struct tpm_digest *ret_policy);

/* The two branches of a storage key's policy, in the order of its PolicyOR, and that policy. */
enum tpm_storage_use { TPM_STORAGE_LOAD, TPM_STORAGE_IMPORT, TPM_STORAGE_USES };
MUST_CHECK enum escrow_err
tpm_policy_storage_branches(struct tpm_digest ret_branches[static TPM_STORAGE_USES]);
MUST_CHECK enum escrow_err tpm_policy_storage(struct tpm_digest *ret_policy);

/* aHash of TPM2_PolicyAuthorize: H(approvedPolicy || policyRef): what the authority signs. */
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

/*
 * The single steps: *digest, that of the session so far (all zero at its start), becomes the digest
 * after one more policy command; unchanged on failure.
 */
MUST_CHECK enum escrow_err tpm_policy_extend_signed(struct tpm_digest *digest,
                                                    const struct tpm_name *key);
MUST_CHECK enum escrow_err tpm_policy_extend_counter(struct tpm_digest *digest,
                                                     const struct tpm_name *counter,
                                                     uint64_t epoch);
MUST_CHECK enum escrow_err tpm_policy_extend_pcrs(struct tpm_digest *digest,
                                                  const struct tpm_pcrs *pcrs);
MUST_CHECK enum escrow_err tpm_policy_extend_duplicate(struct tpm_digest *digest);
/* PolicyAuthorize replaces the digest: nothing of the session before it stays. */
MUST_CHECK enum escrow_err tpm_policy_authorized(const struct tpm_name *authority,
                                                 enum tpm_approval_kind kind, const char *group,
                                                 struct tpm_digest *ret_digest);

/* policyRef of an approval. */
MUST_CHECK enum escrow_err tpm_policy_label(enum tpm_approval_kind kind, const char *group,
                                            struct tpm_digest *ret_label);
