/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/act.h"
#include "libescrow/reason.h"

/*
 * Answers: what a member of the roster signs with its answer key, so that a client believes the
 * keeper and not the process or the wire in between. A JWS with typ "escrow-answer", protected
 * header {answer, aud, nonce}: aud = hex of the asker's act-key Name, nonce = that of the
 * challenge. Payload by answer ("v": 1 always):
 *
 *   challenge {v, act, group, database, expires_in: seconds, member: hex, roster: version,
 *              next_version, echo, objects: [{name, version, state, public}]}   (active,
 *              pending, retired newest first; for publish group and database are null and
 *              objects is empty; roster is the member's, 0 without one; echo is there, and true,
 *              only where a release has to commit its nonce)
 *   durable   {v, sequence, group, database, version, object: hex, state}
 *   grant     {v, sequence, epoch, reason, group, database, replica,
 *              objects: [{name, version, state, public, payload, key, duplicate, seed}]}
 *   noted     {v, sequence, reason}           (all others)
 */

#define ANSWER_EXPIRES_SECONDS_MAX 3600

enum answer_kind { ANSWER_CHALLENGE = 1, ANSWER_DURABLE, ANSWER_GRANT, ANSWER_NOTED };

/* The header's word: "challenge". Never NULL. */
const char *answer_kind_word(enum answer_kind kind);

/* One version of a secret, as a challenge names it; a grant carries the rest. */
struct answer_object {
    struct tpm_name name;
    uint32_t version;
    enum secret_state state;
    uint8_t public_area[WRAP_PUBLIC_MAX];
    size_t public_len;
    /* Grant only. */
    uint8_t payload[PAYLOAD_CIPHERTEXT_BYTES];
    struct wrap_blob blob;
};

struct answer {
    enum answer_kind kind;
    struct tpm_name kid; /* the member's answer key; answer_sign takes it from the signer */
    struct tpm_name aud;
    uint8_t nonce[ACT_NONCE_BYTES];
    struct act_subject subject; /* not of noted */
    uint64_t sequence;          /* of the log record; not of a challenge */
    union {
        struct {
            enum act_kind act;
            uint32_t expires_in_s;
            struct tpm_name member;  /* its storage key's Name: the aud of the act */
            uint64_t roster_version; /* of the roster that the member goes by; 0: it has none */
            uint32_t next_version;
            bool wants_echo; /* of a release: commit the nonce in the database before */
        } challenge;
        struct {
            uint32_t version;
            struct tpm_name object;
            enum secret_state state;
        } durable;
        struct {
            uint64_t epoch;
            enum reason reason;
            char replica[NAME_MAX_BYTES + 1];
        } grant;
        struct {
            enum reason reason; /* REASON_NONE: nothing to add */
        } noted;
    };
    size_t object_count; /* of challenge and grant */
    struct answer_object objects[ACT_OBJECTS_MAX];
};

/* A zeroed answer of this kind, owned by the caller; NULL without memory. */
struct answer *answer_new(enum answer_kind kind);
void answer_free(struct answer *answer);
CLEANUP_FUNCTION(answer_free_p, struct answer, answer_free)

/* Signs. ESCROW_ERR_MALFORMED if it would not pass answer_verify. */
MUST_CHECK enum escrow_err answer_sign(const struct answer *answer, const struct jws_signer *signer,
                                       char **ret_compact);

/*
 * Verifies and parses an answer of this kind to this asker. A member's answer key of the roster
 * must have signed it; that member is *ret_member (borrowed from the roster). nonce: the one of the
 * challenge that the act answered; NULL where the answer is the challenge. A challenge must name
 * the member that signed it, and every object must be the escrow template and have its Name.
 * ESCROW_ERR_MALFORMED, ESCROW_ERR_NOT_FOUND (no member's key), ESCROW_ERR_CRYPTO (signature),
 * ESCROW_ERR_DENIED (another kind, asker or nonce).
 */
struct answer_expect {
    enum answer_kind kind;
    const struct tpm_name *asker;
    const uint8_t *nonce; /* ACT_NONCE_BYTES */
};
MUST_CHECK enum escrow_err answer_verify(const char *compact, size_t len, struct roster *roster,
                                         const struct answer_expect *expect,
                                         struct answer **ret_answer,
                                         const struct roster_member **ret_member);
