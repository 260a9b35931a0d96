/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/unit/tpm_fixture.h"

#include <tss2/tss2_sys.h>

/*
 * Single TPM commands on a member's TPM, as an attacker on the host would send them: past all
 * checks of escrowd. Each returns the TPM's own response code, so that a test can name the refusal.
 */

/* Response codes of the refusals (Part 2, 6.6), with the parameter or session that they name. */
#define RAW_POLICY_FAIL 0x99d /* session 1: the policy is not the object's */
#define RAW_POLICY_CC 0x9a4   /* session 1: the policy is for another command */
#define RAW_BAD_AUTH 0x9a2    /* session 1: a wrong password, without dictionary-attack counting */
#define RAW_VALUE 0x1c4       /* parameter 1: a value, or an approval, that does not hold */
#define RAW_NO_PASSWORD 0x12f /* the object has no usable auth value */
#define RAW_NO_PARENT 0x285   /* TPM_RH_NULL as parent of an object with encryptedDuplication */
#define RAW_NO_INNER 0x2d6    /* no inner wrapper for an object with encryptedDuplication */
#define RAW_COUNTER 0x126     /* PolicyNV: the comparison is false */
#define RAW_PCR_CHANGED 0x128 /* a PCR was extended after PolicyPCR */
#define RAW_EXPIRED 0x4e3     /* PolicySigned: parameter 4 is in the past */
#define RAW_DISABLED 0x120    /* TPM2_Clear is disabled */
#define RAW_SIGNATURE 0x5db   /* parameter 5: not the signature of that */
#define RAW_SESSION_MEMORY 0x903

struct raw {
    struct member *member;
    TPM2_HANDLE session;
    TPM2_HANDLE object;
    TPM2_HANDLE recipient;
};

/* A policy session, or a trial session; the other two handles stay 0. */
void raw_start(struct raw *raw, struct member *member);
void raw_start_trial(struct raw *raw, struct member *member);
/* Flushes what there is. */
void raw_stop(struct raw *raw);
/* Loads a deposit's object and recipient; ends the program on failure. */
void raw_load(struct raw *raw, const struct deposit *deposit);

TSS2_RC raw_digest(struct raw *raw, struct tpm_digest *ret_digest);
TSS2_RC raw_policy_signed(struct raw *raw, const struct tpm_signer *signer,
                          const struct tpm_digest *cphash, INT32 expiration);
TSS2_RC raw_policy_counter(struct raw *raw, uint64_t epoch);
TSS2_RC raw_policy_pcrs(struct raw *raw, const struct tpm_pcrs *pcrs);
TSS2_RC raw_policy_command(struct raw *raw, TPM2_CC command);
TSS2_RC raw_policy_or(struct raw *raw, const struct tpm_digest *a, const struct tpm_digest *b);
/* PolicyAuthorize by an approval that has a ticket. */
TSS2_RC raw_policy_authorize(struct raw *raw, const struct deposit *deposit,
                             const struct tpm_approval *approval);

/* With the raw session as authorization, or with an empty password. */
TSS2_RC raw_unseal(struct raw *raw);
TSS2_RC raw_unseal_by_password(struct raw *raw);
/* Duplicate to the recipient or TPM_RH_NULL, with or without inner wrapper. */
TSS2_RC raw_duplicate(struct raw *raw, TPM2_HANDLE parent, bool has_inner);
/*
 * A session for one use of the storage key, with an auth value: PolicyPassword, PolicyCommandCode,
 * PolicyOR. The response code is that of PolicyOR; flush the session.
 */
TSS2_RC raw_storage_session(struct raw *raw, TPM2_CC command, const struct secret *auth,
                            TSS2L_SYS_AUTH_COMMAND *ret_auths);
/* Load with some auth value for the storage key. */
TSS2_RC raw_load_by(struct raw *raw, const struct deposit *deposit, const struct secret *auth);
/* Rewrap of the deposit's blob, from the storage key to the recipient that is loaded. */
TSS2_RC raw_rewrap(struct raw *raw, const struct deposit *deposit,
                   const TSS2L_SYS_AUTH_COMMAND *auths);
TSS2_RC raw_clear(struct member *member, const struct secret *lockout_auth);
