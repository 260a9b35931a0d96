/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/tpm_command.h"

/*
 * Looks around in a TPM: which handles there are, and which of them belongs to a Name. A handle is
 * never trusted for what it is: whoever owns the TPM can put anything at any handle.
 */
#define TPM_HANDLES_MAX 256

/* First handles of each kind (Part 2, 7.5); the TSS's macros for them shift into a sign bit. */
#define TPM_FIRST_INDEX 0x01000000U
#define TPM_FIRST_LOADED_SESSION 0x02000000U
#define TPM_FIRST_SAVED_SESSION 0x03000000U
#define TPM_FIRST_TRANSIENT 0x80000000U
#define TPM_FIRST_PERSISTENT 0x81000000U

struct tpm_handles {
    size_t count;
    TPM2_HANDLE handles[TPM_HANDLES_MAX];
};

/* All handles of the kind that first begins, in ascending order. */
MUST_CHECK enum escrow_err tpm_list(struct tpm *tpm, TPM2_HANDLE first,
                                    struct tpm_handles *ret_handles);
/* The lowest handle from first on that is not in the list. */
TPM2_HANDLE tpm_free_handle(const struct tpm_handles *handles, TPM2_HANDLE first);

/* The persistent key, and the NV index, with this Name. ESCROW_ERR_NOT_FOUND without a log line. */
MUST_CHECK enum escrow_err tpm_find_key(struct tpm *tpm, const struct tpm_name *name,
                                        TPM2_HANDLE *ret_handle);
MUST_CHECK enum escrow_err tpm_find_index(struct tpm *tpm, const struct tpm_name *name,
                                          TPM2_HANDLE *ret_handle);

/* What is at the handle, and its Name. ESCROW_ERR_TPM with a log line. */
MUST_CHECK enum escrow_err tpm_read_key(struct tpm *tpm, TPM2_HANDLE handle,
                                        TPM2B_PUBLIC *ret_public, struct tpm_name *ret_name);
MUST_CHECK enum escrow_err tpm_read_index(struct tpm *tpm, TPM2_HANDLE handle,
                                          TPM2B_NV_PUBLIC *ret_public, struct tpm_name *ret_name);
