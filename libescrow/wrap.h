/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/key.h"
#include "libescrow/secret.h"

#include <stddef.h>
#include <stdint.h>

/*
 * TPM 2.0 duplication blobs in software (Part 1, sections 22 and 23; Part 2, 12.3): makes a sealed
 * data object, wraps it to a P-256 storage key with inner and outer wrapper as TPM2_Import takes
 * it, and opens what TPM2_Duplicate returns. Never talks to a TPM.
 */

#define WRAP_DATA_MAX 128 /* bytes that a sealed data object can hold */
#define WRAP_DUPLICATE_MAX 512
#define WRAP_SEED_MAX 128
#define WRAP_PUBLIC_MAX 128
#define WRAP_INNER_KEY_BYTES 16
#define WRAP_SENSITIVE_MAX 256 /* a marshalled TPMT_SENSITIVE */

/* A sealed data object of the escrow template: KEYEDHASH, SHA256, adminWithPolicy |
 * encryptedDuplication | noDA, scheme NULL. Its Name follows from these two. */
struct wrap_object {
    uint8_t auth_policy[32];
    uint8_t unique[32];
    struct tpm_name name;
};

/* TPM2_Import's encryptionKey, duplicate and inSymSeed (contents of the TPM2Bs, without size). */
struct wrap_blob {
    uint8_t inner_key[WRAP_INNER_KEY_BYTES];
    size_t duplicate_len;
    uint8_t duplicate[WRAP_DUPLICATE_MAX];
    size_t seed_len;
    uint8_t seed[WRAP_SEED_MAX];
};

/*
 * Makes an object that seals data (1 ..= 128 bytes) under auth_policy. *ret_sensitive is its
 * marshalled TPMT_SENSITIVE, owned by the caller, the only thing that wrap_seal needs.
 */
MUST_CHECK enum escrow_err wrap_object_new(const uint8_t auth_policy[static 32],
                                           const struct secret *data,
                                           struct wrap_object *ret_object,
                                           struct secret **ret_sensitive);

/* Wraps it to the storage key with this point; a fresh inner key and ephemeral key each time. */
MUST_CHECK enum escrow_err wrap_seal(const struct wrap_object *object,
                                     const struct secret *sensitive, const struct ec_point *parent,
                                     struct wrap_blob *ret_blob);

/*
 * Opens a blob with the private key of its recipient; *ret_data is the sealed data, owned by the
 * caller. ESCROW_ERR_CRYPTO if an integrity value, the inner digest or the object's unique field
 * does not match: one altered bit anywhere, or another object.
 */
MUST_CHECK enum escrow_err wrap_open(const struct wrap_object *object, const struct wrap_blob *blob,
                                     EVP_PKEY *recipient, struct secret **ret_data);

/*
 * What can be said of a blob without its key, before a TPM sees it: ESCROW_ERR_CRYPTO unless its
 * sizes fit and its ephemeral point is on the curve.
 */
MUST_CHECK enum escrow_err wrap_blob_check(const struct wrap_blob *blob);

/* The marshalled TPMT_PUBLIC of the object (at most WRAP_PUBLIC_MAX bytes). */
MUST_CHECK enum escrow_err wrap_object_marshal(const struct wrap_object *object,
                                               uint8_t ret_public[static WRAP_PUBLIC_MAX],
                                               size_t *ret_len);
/* Parses a TPMT_PUBLIC that must be the template byte for byte, else ESCROW_ERR_MALFORMED. */
MUST_CHECK enum escrow_err wrap_object_parse(const uint8_t *public_area, size_t len,
                                             struct wrap_object *ret_object);
