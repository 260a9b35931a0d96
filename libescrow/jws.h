/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/key.h"

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * JSON Web Signatures, compact serialization (RFC 7515), one algorithm: ES256 (RFC 7518, 3.4).
 * Strict where the RFCs leave room: exactly three parts of strict base64url; header and payload are
 * JSON objects without duplicate members, NUL or trailing bytes; alg must be ES256; "crit" and
 * every header member not in the caller's list is refused; kid is the TPM Name of the signing key.
 */

/* That of a roster of ROSTER_KEYS_MAX keys inside a publish act; others are small by their bodies.
 */
#define JWS_BYTES_MAX (3 * 1024 * 1024)

struct jws {
    json_t *header;
    json_t *payload;
    struct tpm_name kid;
};

/* Frees header and payload. {0} is allowed. */
void jws_deinit(struct jws *jws);

/*
 * Who signs: a private key that is somewhere else (a TPM), as its Name and a function that signs a
 * SHA-256 digest as r || s.
 */
struct jws_signer {
    struct tpm_name kid;
    enum escrow_err (*sign)(const uint8_t digest[static 32],
                            uint8_t ret_signature[static ECDSA_SIGNATURE_BYTES], void *argument);
    void *argument;
};
/* The signer of a key in memory; it borrows the key. */
MUST_CHECK enum escrow_err jws_signer_from_key(EVP_PKEY *key, struct jws_signer *ret_signer);

/*
 * Signs. header gets alg and kid added and must hold typ. Both are only read. Text owned by the
 * caller; JSON is written compact with sorted members.
 */
MUST_CHECK enum escrow_err jws_sign(const struct jws_signer *signer, json_t *header,
                                    json_t *payload, char **ret_compact);

/* The public key for a kid; borrowed until the lookup's owner changes. NULL if it is not known. */
typedef EVP_PKEY *(*jws_key_fn)(const struct tpm_name *kid, void *argument);

/*
 * Verifies a compact JWS of len bytes whose header's typ is typ and whose header members are among
 * alg, kid, typ and the NULL-terminated list more (each of those must be present, as a string).
 * ESCROW_ERR_MALFORMED (form), ESCROW_ERR_NOT_FOUND (key), ESCROW_ERR_CRYPTO (signature). *ret_jws
 * is filled only on success; jws_deinit it.
 */
MUST_CHECK enum escrow_err jws_verify(const char *compact, size_t len, const char *typ,
                                      const char *const *more, jws_key_fn find, void *argument,
                                      struct jws *ret_jws);

/*
 * The payload of a compact JWS whose signature nobody has verified: for the one case where the key
 * to verify it with stands, signed by somebody else, in the payload itself. Owned by the caller.
 * ESCROW_ERR_MALFORMED.
 */
MUST_CHECK enum escrow_err jws_unverified_payload(const char *compact, size_t len,
                                                  json_t **ret_payload);
