/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/tpm_context.h"
#include "libescrow/key.h"
#include "libescrow/tpm_policy.h"

#include <stddef.h>
#include <stdint.h>

/*
 * What a member's TPM says of itself: the facts that go into the roster and that host approvals are
 * made from. They are as good as the host that reads them; nothing here proves that a real TPM
 * speaks (that is what the EK certificate is for).
 */
struct tpm_member {
    struct tpm_names names;
    uint8_t storage_public[KEY_PUBLIC_MAX]; /* marshalled TPMT_PUBLIC */
    size_t storage_public_len;
    struct ec_point storage_point;
    uint8_t audit_public[KEY_PUBLIC_MAX];
    size_t audit_public_len;
    uint64_t epoch;       /* value of the epoch counter */
    struct tpm_pcrs pcrs; /* as they are now */
};

/*
 * Reads it all from an attached TPM. selection: bit n is PCR n of the SHA-256 bank (at least one,
 * n < TPM_PCRS), else ESCROW_ERR_CONFIG.
 */
MUST_CHECK enum escrow_err tpm_member_read(struct tpm *tpm, uint32_t selection,
                                           struct tpm_member *ret_member);

/* The digest over the selected PCRs, in ascending order of their numbers. */
MUST_CHECK enum escrow_err tpm_pcrs_read(struct tpm *tpm, uint32_t selection,
                                         struct tpm_pcrs *ret_pcrs);

/* The value of the epoch counter; an approval with a lower epoch is dead. */
MUST_CHECK enum escrow_err tpm_epoch_read(struct tpm *tpm, uint64_t *ret_epoch);
/* Kills every approval made so far: counts up by one and returns the new value. */
MUST_CHECK enum escrow_err tpm_epoch_increment(struct tpm *tpm, const struct secret *owner_auth,
                                               uint64_t *ret_epoch);

/* TPM2_ReadClock: milliseconds of the TPM's clock, and how often the TPM was reset. */
struct tpm_clock {
    uint64_t clock_ms;
    uint32_t reset_count;
};
MUST_CHECK enum escrow_err tpm_clock_read(struct tpm *tpm, struct tpm_clock *ret_clock);
