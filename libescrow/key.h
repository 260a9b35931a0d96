/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <openssl/evp.h>

#include <stdbool.h>
#include <stdint.h>

#include "libescrow/err.h"

/*
 * P-256 keys and TPM Names. A key is known by its Name: nameAlg (SHA-256, 0x000b) and the hash of
 * its TPMT_PUBLIC (TPM 2.0 Part 1, section 16). Software keys get the public area that a TPM would
 * load them with: a *signer* (act, answer, authority key) or a *storage* key (recipient of a
 * duplication, recovery key). Private keys live in PEM files of mode 0600 and, in memory, in the
 * secure heap.
 */

#define TPM_NAME_BYTES 34
#define TPM_NAME_HEX (2 * TPM_NAME_BYTES)
#define EC_COORDINATE_BYTES 32

struct tpm_name {
    uint8_t bytes[TPM_NAME_BYTES];
};

/* An affine point of P-256, big-endian coordinates with leading zeros. */
struct ec_point {
    uint8_t x[EC_COORDINATE_BYTES];
    uint8_t y[EC_COORDINATE_BYTES];
};

CLEANUP_FUNCTION(key_free_p, EVP_PKEY, EVP_PKEY_free)

bool tpm_name_equal(const struct tpm_name *a, const struct tpm_name *b);

/* A new P-256 key pair; NULL on failure. */
EVP_PKEY *key_generate(void);

/*
 * Writes PKCS #8 PEM into a new file of mode 0600 from its first instant (O_EXCL, fsync).
 * ESCROW_ERR_EXISTS if the file is there.
 */
MUST_CHECK enum escrow_err key_write_private(EVP_PKEY *key, const char *path);
/*
 * Reads a private key. ESCROW_ERR_CONFIG with a log line if the file is missing, is readable by
 * others than its owner, or holds no P-256 key.
 */
MUST_CHECK enum escrow_err key_read_private(const char *path, EVP_PKEY **ret_key);
/* SubjectPublicKeyInfo PEM. */
MUST_CHECK enum escrow_err key_write_public(EVP_PKEY *key, const char *path);
MUST_CHECK enum escrow_err key_read_public(const char *path, EVP_PKEY **ret_key);

/* The point of a P-256 key. */
MUST_CHECK enum escrow_err key_point(const EVP_PKEY *key, struct ec_point *ret_point);
/* A public key from a point. ESCROW_ERR_CRYPTO unless the point is on the curve (SP 800-56A 5.6.2.3). */
MUST_CHECK enum escrow_err key_from_point(const struct ec_point *point, EVP_PKEY **ret_key);

/*
 * The Name of a signer: TPMT_PUBLIC {ECC, SHA256, attributes sign only, empty authPolicy,
 * symmetric NULL, scheme ECDSA-SHA256, NIST_P256, kdf NULL, point}.
 */
MUST_CHECK enum escrow_err key_signer_name(const struct ec_point *point, struct tpm_name *ret_name);
/*
 * The Name of a storage key that only has a point: TPMT_PUBLIC {ECC, SHA256, attributes
 * restricted | decrypt | userWithAuth, empty authPolicy, AES-128-CFB, scheme NULL, NIST_P256,
 * kdf NULL, point}: how recipients and the recovery key are dressed.
 */
MUST_CHECK enum escrow_err key_recipient_name(const struct ec_point *point,
                                              struct tpm_name *ret_name);

/* ECDSA P-256 over a SHA-256 digest; r || s, 64 bytes, as JWS and the TPM want them. */
#define ECDSA_SIGNATURE_BYTES 64
MUST_CHECK enum escrow_err key_sign_digest(EVP_PKEY *key, const uint8_t digest[static 32],
                                           uint8_t ret_signature[static ECDSA_SIGNATURE_BYTES]);
/* ESCROW_ERR_CRYPTO unless the signature is right. */
MUST_CHECK enum escrow_err
key_verify_digest(EVP_PKEY *key, const uint8_t digest[static 32],
                  const uint8_t signature[static ECDSA_SIGNATURE_BYTES]);
