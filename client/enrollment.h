/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/key.h"

#include <jansson.h>

/*
 * Enrollment requests: who wants to be in the roster, as a JWS with typ "escrow-enrollment" that
 * the act key in it has signed (proof of possession, no more: that the identity is the one it
 * claims is for the authority to know). Payload: {v: 1} and the entry of the roster,
 * {identity, role, key: {x, y}, groups, instances}.
 */

/* Signs an entry; "key" is added to a copy. Text owned by the caller. */
MUST_CHECK enum escrow_err enrollment_sign(json_t *entry, EVP_PKEY *act_key, char **ret_compact);

/*
 * Verifies a request. *ret_entry is the entry for roster_sign, owned by the caller; its members are
 * only checked there. ESCROW_ERR_MALFORMED, ESCROW_ERR_CRYPTO (not signed by the key in it).
 */
MUST_CHECK enum escrow_err enrollment_read(const char *compact, size_t len, json_t **ret_entry);
