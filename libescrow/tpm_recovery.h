/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/key.h"
#include "libescrow/secret.h"

#include <stddef.h>

/*
 * The file recovery.json of a member: owner and lockout auth of its TPM, sealed to the recovery key
 * when `escrowd init` set them. Only the holder of that key can open it, on any machine and without
 * a TPM.
 *
 *   {"v": 1, "public": b64u TPMT_PUBLIC, "key": b64u, "duplicate": b64u, "seed": b64u}
 *
 * The object (wrap.h) holds owner auth || lockout auth. It never enters a TPM, so its authPolicy is
 * zero.
 */

#define TPM_AUTH_BYTES 32      /* of each auth value */
#define TPM_RECOVERY_MAX 4096U /* bytes of the file */

/* Seals both (TPM_AUTH_BYTES each); text owned by the caller. */
MUST_CHECK enum escrow_err tpm_recovery_seal(const struct secret *owner,
                                             const struct secret *lockout,
                                             const struct ec_point *recovery, char **ret_text);
/*
 * Opens it; both are the caller's. ESCROW_ERR_MALFORMED with a log line, ESCROW_ERR_CRYPTO (another
 * recovery key, or altered).
 */
MUST_CHECK enum escrow_err tpm_recovery_open(const char *text, size_t len, EVP_PKEY *recovery,
                                             struct secret **ret_owner,
                                             struct secret **ret_lockout);
