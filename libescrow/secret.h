/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Plaintext and key material, as a type of its own, so that it cannot be handed to a log or a JSON
 * function by accident. It lives in OpenSSL's secure heap (locked, not dumped), is wiped when it is
 * freed, and is never grown. Nothing here ever prints or copies a secret outside that heap.
 */
struct secret {
    size_t len; /* bytes in use; a producer may shorten it */
    uint8_t bytes[];
};

/*
 * Makes the secure heap of this process (256 KiB, locked), and lets OpenSSL wipe what it frees on
 * the plain one: its decoders and curves leave copies of private keys there. Once, before anything
 * else of OpenSSL. ESCROW_ERR_SYSTEM if the heap cannot be made or locked, or if OpenSSL was in use
 * already; a later call says the same.
 */
MUST_CHECK enum escrow_err secret_heap_init(void);

/* A zeroed secret of len bytes (1 ..= 65536), owned by the caller; NULL if the heap is full. */
struct secret *secret_new(size_t len);
/* A secret with a copy of len bytes. The source is the caller's to wipe. NULL if the heap is full.
 */
struct secret *secret_from(const void *bytes, size_t len);
/* A secret of len random bytes (RAND_priv_bytes); NULL on failure. */
struct secret *secret_random(size_t len);
/* Wipes header and bytes and frees; NULL is allowed. */
void secret_free(struct secret *secret);
/* Equal length and bytes, in constant time over the bytes. */
bool secret_equal(const struct secret *a, const struct secret *b);

CLEANUP_FUNCTION(secret_free_p, struct secret, secret_free)

/* Wipes a buffer on the stack; the compiler does not drop it. */
void secret_wipe(void *bytes, size_t len);
