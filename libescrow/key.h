/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"
#include "libescrow/secret.h"

#include <openssl/evp.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* A key of this curve, with or without its private half; nothing else is used anywhere. */
bool key_is_p256(const EVP_PKEY *key);

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
/* The same from the text of such a file; path is only a name for messages. */
MUST_CHECK enum escrow_err key_parse_private(const char *path, const struct secret *text,
                                             EVP_PKEY **ret_key);
#define KEY_PEM_MAX 8192 /* bytes of a key file */
/* SubjectPublicKeyInfo PEM. */
MUST_CHECK enum escrow_err key_write_public(EVP_PKEY *key, const char *path);
MUST_CHECK enum escrow_err key_read_public(const char *path, EVP_PKEY **ret_key);

/* The point of a P-256 key. */
MUST_CHECK enum escrow_err key_point(const EVP_PKEY *key, struct ec_point *ret_point);
/* ESCROW_ERR_CRYPTO unless the point is on the curve (SP 800-56A 5.6.2.3). */
MUST_CHECK enum escrow_err key_check_point(const struct ec_point *point);
/* A public key from a point. ESCROW_ERR_CRYPTO as above. */
MUST_CHECK enum escrow_err key_from_point(const struct ec_point *point, EVP_PKEY **ret_key);

/*
 * The public areas (TPMT_PUBLIC) in which a TPM loads the public part of a software key:
 * a *signer* {ECC, SHA256, attributes sign only, empty authPolicy, symmetric NULL, scheme
 * ECDSA-SHA256, NIST_P256, kdf NULL, point}; a *recipient* of a duplication (also the recovery
 * key) {ECC, SHA256, restricted | decrypt | userWithAuth, empty authPolicy, AES-128-CFB, scheme
 * NULL, NIST_P256, kdf NULL, point}.
 */
enum key_kind { KEY_SIGNER = 1, KEY_RECIPIENT };
#define KEY_PUBLIC_MAX 256 /* bytes of a marshalled TPMT_PUBLIC, ours or a member's */
MUST_CHECK enum escrow_err key_public_marshal(enum key_kind kind, const struct ec_point *point,
                                              uint8_t ret_public[static KEY_PUBLIC_MAX],
                                              size_t *ret_len);

/* The Names of those public areas. */
MUST_CHECK enum escrow_err key_signer_name(const struct ec_point *point, struct tpm_name *ret_name);
MUST_CHECK enum escrow_err key_recipient_name(const struct ec_point *point,
                                              struct tpm_name *ret_name);

/* The Name of any marshalled public area with nameAlg SHA-256 (TPM 2.0 Part 1, 16). */
MUST_CHECK enum escrow_err key_public_name(const uint8_t *public_area, size_t len,
                                           struct tpm_name *ret_name);
/*
 * Point and Name of a member's key, from its marshalled TPMT_PUBLIC: P-256, SHA-256, fixedTPM,
 * fixedParent, restricted, and decrypt with AES-128-CFB (storage) or sign (audit). A storage key
 * must have the policy of tpm_policy_storage and no userWithAuth, or its TPM would rewrap what is
 * wrapped to it.
 * ESCROW_ERR_MALFORMED for anything else or trailing bytes, ESCROW_ERR_CRYPTO for a bad point.
 */
enum key_tpm_kind { KEY_TPM_STORAGE = 1, KEY_TPM_AUDIT };
MUST_CHECK enum escrow_err key_public_parse(enum key_tpm_kind kind, const uint8_t *public_area,
                                            size_t len, struct ec_point *ret_point,
                                            struct tpm_name *ret_name);

/* ECDSA P-256 over a SHA-256 digest; r || s, 64 bytes, as JWS and the TPM want them. */
#define ECDSA_SIGNATURE_BYTES 64
MUST_CHECK enum escrow_err key_sign_digest(EVP_PKEY *key, const uint8_t digest[static 32],
                                           uint8_t ret_signature[static ECDSA_SIGNATURE_BYTES]);
/* ESCROW_ERR_CRYPTO unless the signature is right. */
MUST_CHECK enum escrow_err key_verify_digest(EVP_PKEY *key, const uint8_t digest[static 32],
                                             const uint8_t signature[static ECDSA_SIGNATURE_BYTES]);
