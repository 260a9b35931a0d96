/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/approval.h"
#include "libescrow/identity.h"
#include "libescrow/jws.h"
#include "libescrow/payload.h"
#include "libescrow/roster.h"
#include "libescrow/wrap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Acts: what a client signs with its act key. A JWS (jws.h) with typ "escrow-act", protected header
 * {act, aud, nonce}: aud = hex of the member's storage-key Name, nonce = base64url of 32 bytes from
 * a challenge (answer.h). Payload by act ("v": 1 always; hex = Name, b64u = bytes; unknown members
 * are refused):
 *
 *   deposit  {v, purpose: "deposit", group, database, version, state: "active" | "pending",
 *             public: b64u TPMT_PUBLIC, payload: b64u,
 *             blobs: [{to: hex Name of a member's storage key or of the recovery key,
 *                      key: b64u, duplicate: b64u, seed: b64u}]}
 *   release  {v, purpose: "promote" | "rotate" | "drill" | "recover", group, database, replica,
 *             order: name | null, recipient: {x, y}, objects: [{name: hex, signature: b64u}]}
 *   receipt  {v, purpose, group, database, replica, grant: number,
 *             outcome: "opened" | "already_open" | "failed", object: hex | null,
 *             sql_error: number, detail: text of at most 256 bytes}
 *   order    {v, purpose: "rotate" | "drill", group, database, expires_in: seconds}
 *   approve  {v, purpose, group, database, request: number, objects: [{name, signature}]}
 *   publish  {v, purpose: "publish", roster: text | null, approvals: [approval]}
 *   rebaseline {v, purpose: "rebaseline", group, database, replica}
 *
 * This module says that an act has its form and who signed it. It never says that the signer may:
 * role, groups, instances, audience, nonce and channel are the keeper's to check.
 */

#define ACT_NONCE_BYTES 32
#define ACT_OBJECTS_MAX 8    /* of one release, approval or grant */
#define ACT_DATABASE_MAX 512 /* bytes of a database name (sysname, 128 characters) */
#define ACT_DETAIL_MAX 256
#define ACT_BLOBS_MAX (ROSTER_MEMBERS_MAX + 1) /* every member and the recovery key */
#define ACT_APPROVALS_MAX 256
#define ACT_ORDER_SECONDS_MAX (31 * 24 * 3600)

enum act_kind {
    ACT_DEPOSIT = 1,
    ACT_RELEASE,
    ACT_RECEIPT,
    ACT_ORDER,
    ACT_APPROVE,
    ACT_PUBLISH,
    ACT_REBASELINE,
};

enum act_purpose {
    PURPOSE_DEPOSIT = 1,
    PURPOSE_PROMOTE,
    PURPOSE_ROTATE,
    PURPOSE_DRILL,
    PURPOSE_RECOVER,
    PURPOSE_PUBLISH,
    PURPOSE_REBASELINE,
};

enum secret_state { SECRET_PENDING = 1, SECRET_ACTIVE, SECRET_RETIRED, SECRET_DESTROYED };

enum act_outcome { OUTCOME_OPENED = 1, OUTCOME_ALREADY_OPEN, OUTCOME_FAILED };

/* Their words in documents ("deposit"); never NULL. */
const char *act_kind_word(enum act_kind kind);
const char *act_purpose_word(enum act_purpose purpose);
const char *secret_state_word(enum secret_state state);
const char *act_outcome_word(enum act_outcome outcome);
/* The value of a word; 0 if it is none. */
enum act_kind act_kind_from_word(const char *word);
enum act_purpose act_purpose_from_word(const char *word);
enum secret_state secret_state_from_word(const char *word);
enum act_outcome act_outcome_from_word(const char *word);

/* Which secret; every act but publish is about one. */
struct act_subject {
    char group[NAME_MAX_BYTES + 1];
    char database[ACT_DATABASE_MAX + 1];
};

/* A signature by which a TPM lets an object out to a recipient (tpm_policy_signed_digest). */
struct act_signature {
    struct tpm_name object;
    uint8_t signature[ECDSA_SIGNATURE_BYTES];
};

struct act_blob {
    struct tpm_name to;
    struct wrap_blob blob;
};

struct act_deposit {
    uint32_t version;
    enum secret_state state; /* SECRET_ACTIVE or SECRET_PENDING */
    uint8_t public_area[WRAP_PUBLIC_MAX];
    size_t public_len;
    uint8_t payload[PAYLOAD_CIPHERTEXT_BYTES];
    size_t blob_count;
    struct act_blob blobs[ACT_BLOBS_MAX]; /* no two to the same Name */
};

struct act_release {
    char replica[NAME_MAX_BYTES + 1]; /* instance of the policy */
    char order[NAME_MAX_BYTES + 1];   /* empty: none */
    struct ec_point recipient;        /* not checked to be on the curve */
    size_t object_count;              /* at least 1; no object twice */
    struct act_signature objects[ACT_OBJECTS_MAX];
};

struct act_receipt {
    char replica[NAME_MAX_BYTES + 1];
    uint64_t grant; /* sequence of the grant */
    enum act_outcome outcome;
    bool has_object;
    struct tpm_name object; /* the version that opened */
    int32_t sql_error;
    char detail[ACT_DETAIL_MAX + 1];
};

struct act_order {
    uint32_t expires_in_s; /* 1 ..= ACT_ORDER_SECONDS_MAX */
};

struct act_approve {
    uint64_t request;
    size_t object_count;
    struct act_signature objects[ACT_OBJECTS_MAX];
};

struct act_rebaseline {
    char replica[NAME_MAX_BYTES + 1]; /* the primary: instance of the policy */
};

struct act_publish {
    char *roster; /* compact JWS, not verified; NULL if none; owned by the act */
    size_t approval_count;
    struct approval *approvals; /* not verified; owned by the act */
};

struct act {
    enum act_kind kind;
    enum act_purpose purpose;
    struct tpm_name kid; /* who signed; act_sign sets nothing here, it follows from the key */
    struct tpm_name aud;
    uint8_t nonce[ACT_NONCE_BYTES];
    struct act_subject subject; /* empty for publish */
    char *compact;              /* the act as signed (evidence); NULL before act_verify */
    size_t compact_len;
    union {
        struct act_deposit deposit;
        struct act_release release;
        struct act_receipt receipt;
        struct act_order order;
        struct act_approve approve;
        struct act_publish publish;
        struct act_rebaseline rebaseline;
    };
};

/* A zeroed act of this kind, owned by the caller; NULL without memory. */
struct act *act_new(enum act_kind kind);
void act_free(struct act *act);
CLEANUP_FUNCTION(act_free_p, struct act, act_free)

/*
 * Signs an act. ESCROW_ERR_MALFORMED if it would not pass act_verify: a member is empty, too long
 * or out of bounds.
 */
MUST_CHECK enum escrow_err act_sign(const struct act *act, EVP_PKEY *act_key, char **ret_compact);

/*
 * Verifies and parses an act, with the act keys of a roster. ESCROW_ERR_MALFORMED,
 * ESCROW_ERR_NOT_FOUND (kid is no act key of the roster), ESCROW_ERR_CRYPTO (signature).
 */
MUST_CHECK enum escrow_err act_verify(const char *compact, size_t len, struct roster *roster,
                                      struct act **ret_act);

/*
 * For a keeper that has no roster yet: verifies a publish act by the roster that it carries, which
 * the policy authority must have signed. Both results are the caller's. As act_verify, and
 * ESCROW_ERR_MALFORMED if the act carries no roster, ESCROW_ERR_CRYPTO if the authority did not
 * sign it.
 */
MUST_CHECK enum escrow_err act_verify_first(const char *compact, size_t len, EVP_PKEY *authority,
                                            struct act **ret_act, struct roster **ret_roster);

/*
 * Signs, for each object, that it may be duplicated to the recipient and to nobody else: fills
 * object_count signatures from their object fields.
 */
MUST_CHECK enum escrow_err act_sign_objects(EVP_PKEY *act_key, const struct ec_point *recipient,
                                            struct act_signature *objects, size_t object_count);
/* ESCROW_ERR_CRYPTO unless every signature is this key's for this recipient. */
MUST_CHECK enum escrow_err act_verify_objects(EVP_PKEY *act_key, const struct ec_point *recipient,
                                              const struct act_signature *objects,
                                              size_t object_count);
