/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/key.h"
#include "libescrow/secret.h"

#include <stddef.h>
#include <stdint.h>

/*
 * What is escrowed: the password and what belongs to it, as AES-256-GCM under a 32-byte data key
 * that a sealed data object holds. A data key is used once, so the IV is fixed at zero (SP 800-38D
 * 8.2.1 demands uniqueness per key) and not stored. The associated data binds group, database,
 * version and object Name.
 *
 * Plaintext: "escrow-payload-1\n" || u16 big-endian length of the password || password (UTF-8)
 * || zero bytes up to PAYLOAD_PLAINTEXT_BYTES, so that the ciphertext does not tell the length.
 */

#define PAYLOAD_DATA_KEY_BYTES 32
#define PAYLOAD_PASSWORD_MAX 512 /* bytes of UTF-8 */
#define PAYLOAD_PLAINTEXT_BYTES 640
#define PAYLOAD_CIPHERTEXT_BYTES (PAYLOAD_PLAINTEXT_BYTES + 16) /* with the tag */

struct payload_binding {
    const char *group;
    const char *database;
    uint32_t version;
    struct tpm_name object;
};

/* ESCROW_ERR_MALFORMED if data key or password has not its size (password: 1 at least). */
MUST_CHECK enum escrow_err payload_seal(const struct payload_binding *binding,
                                        const struct secret *data_key,
                                        const struct secret *password,
                                        uint8_t ret_ciphertext[static PAYLOAD_CIPHERTEXT_BYTES]);
/* ESCROW_ERR_CRYPTO if ciphertext, key or binding is not the one that was sealed. */
MUST_CHECK enum escrow_err payload_open(const struct payload_binding *binding,
                                        const struct secret *data_key,
                                        const uint8_t ciphertext[static PAYLOAD_CIPHERTEXT_BYTES],
                                        struct secret **ret_password);
