/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/act.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Challenges that are open: random 256-bit nonces, each good once, for a minute, for one identity
 * and one intention. They live in memory only: a restart ends them all. Bounded in all, so that
 * nobody can fill the memory, and for each identity, so that nobody can fill it up for the others.
 * A challenge proves nothing yet: whoever has stolen a certificate can ask for as many as he likes.
 * So one too many is not refused, it ends the identity's oldest; where there is no room at all, the
 * oldest of the identity that has the most: the holder of an act key is never locked out. Neither a
 * full table nor many identities make an issue or a use slow: both take O(log n) comparisons.
 */

#define NONCE_TTL_MS 60000
#define NONCES_PER_IDENTITY 32
#define NONCES_MAX 4096

struct nonces;

/* What a nonce is good for; everything must be the same when it is used. */
struct nonce_binding {
    const char *identity; /* of the channel */
    enum act_kind act;
    enum act_purpose purpose;
    struct act_subject subject; /* empty for publish */
};

/* None open yet. NULL without memory. */
struct nonces *nonces_new(void);
void nonces_free(struct nonces *nonces);
CLEANUP_FUNCTION(nonces_free_p, struct nonces, nonces_free)

/*
 * A new nonce; now_ms by CLOCK_BOOTTIME. ESCROW_ERR_MALFORMED (no identity is so long),
 * ESCROW_ERR_CRYPTO (no randomness), ESCROW_ERR_NO_MEMORY; then none gives way.
 */
MUST_CHECK enum escrow_err nonces_issue(struct nonces *nonces, const struct nonce_binding *binding,
                                        int64_t now_ms, uint8_t ret_nonce[static ACT_NONCE_BYTES]);

/* Uses a nonce up. ESCROW_ERR_DENIED unless it is open and bound to exactly this. */
MUST_CHECK enum escrow_err nonces_take(struct nonces *nonces,
                                       const uint8_t nonce[static ACT_NONCE_BYTES],
                                       const struct nonce_binding *binding, int64_t now_ms);
