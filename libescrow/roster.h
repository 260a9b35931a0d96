/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/identity.h"
#include "libescrow/key.h"

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The roster: who belongs to an escrow, in one document signed by the policy authority: a JWS with
 * typ "escrow-roster", kid = the authority's signer Name, payload
 *
 *   {"v": 1, "version": N, "authority": {"x","y"}, "recovery": {"x","y"},
 *    "members": [{"label", "storage": b64u TPMT_PUBLIC, "answer": {"x","y"},
 *                 "audit": b64u TPMT_PUBLIC, "counter": Name hex, "ek": "verified" | "none"}],
 *    "keys": [{"identity": SAN URI, "role": "agent" | "admin" | "auditor", "key": {"x","y"},
 *              "groups": [name | "*"], "instances": [name]}]}
 *
 * x and y are base64url of 32 bytes; an agent has at least one instance, the others have none. No
 * key stands in two places, no label, storage key or counter twice. Clients wrap only to keys found
 * here and believe only answers that a member's answer key signed. A roster is immutable once
 * parsed. Nothing is searched for by going through its keys: there may be thousands.
 */

enum roster_role { ROSTER_AGENT = 1, ROSTER_ADMIN, ROSTER_AUDITOR };

#define ROSTER_MEMBERS_MAX 16
#define ROSTER_KEYS_MAX 4096
#define ROSTER_BYTES_MAX (2 * 1024 * 1024) /* of the signed document */
#define ROSTER_GROUPS_MAX 64               /* groups, or instances, of one key */

struct roster_member {
    const char *label;
    uint8_t storage_public[KEY_PUBLIC_MAX]; /* marshalled TPMT_PUBLIC */
    size_t storage_public_len;
    struct ec_point storage_point;
    struct tpm_name storage; /* its Name: what acts name as aud */
    struct ec_point answer_point;
    struct tpm_name answer;
    uint8_t audit_public[KEY_PUBLIC_MAX];
    size_t audit_public_len;
    struct ec_point audit_point;
    struct tpm_name counter; /* Name of the epoch counter */
    bool is_ek_verified;
};

struct roster_key {
    struct tpm_name name;
    struct ec_point point;
    const char *identity; /* spiffe://... */
    enum roster_role role;
    size_t group_count;
    const char *const *groups; /* "*" covers all */
    size_t instance_count;
    const char *const *instances; /* of an agent: the instances it may act for */
};

struct roster;

/*
 * Parses and verifies against the pinned authority key. ESCROW_ERR_MALFORMED with a log line that
 * names the member of the document, ESCROW_ERR_CRYPTO (not signed by this authority).
 */
MUST_CHECK enum escrow_err roster_parse(const char *compact, size_t len, EVP_PKEY *authority,
                                        struct roster **ret_roster);
void roster_free(struct roster *roster);
CLEANUP_FUNCTION(roster_free_p, struct roster, roster_free)

/* What the document says; all of it is the roster's. The last two return how many there are. */
uint64_t roster_version(const struct roster *roster);
const char *roster_compact(const struct roster *roster); /* the document as parsed */
const struct tpm_name *roster_authority(const struct roster *roster);
const struct ec_point *roster_recovery(const struct roster *roster);
const struct tpm_name *roster_recovery_name(const struct roster *roster); /* as recipient */
size_t roster_members(const struct roster *roster, const struct roster_member **ret_members);
size_t roster_keys(const struct roster *roster, const struct roster_key **ret_keys);
/* NULL if there is none. */
const struct roster_member *roster_find_member(const struct roster *roster,
                                               const struct tpm_name *storage);
const struct roster_member *roster_find_answerer(const struct roster *roster,
                                                 const struct tpm_name *answer);
const struct roster_key *roster_find_key(const struct roster *roster, const struct tpm_name *kid);
/* How many keys have this identity; *ret_keys is theirs if that is not 0. */
size_t roster_identity_keys(const struct roster *roster, const char *identity,
                            const struct roster_key *const **ret_keys);
/* The group is one of the key's, or the key has "*". */
bool roster_key_covers(const struct roster_key *key, const char *group);

/* The key is of an agent and names the instance. */
bool roster_key_has_instance(const struct roster_key *key, const char *instance);

/* jws_key_fn over the act keys, and over the members' answer keys; argument is a struct roster. */
EVP_PKEY *roster_act_key(const struct tpm_name *kid, void *roster);
EVP_PKEY *roster_answer_key(const struct tpm_name *kid, void *roster);

/* On the authority's machine: the payload of a roster, to be edited; owned by the caller. */
json_t *roster_payload(const struct roster *roster);
/*
 * Signs a payload and parses the result, so that nothing is ever signed that would not be accepted:
 * ESCROW_ERR_MALFORMED with a log line that names the member of the document.
 */
MUST_CHECK enum escrow_err roster_sign(json_t *payload, EVP_PKEY *authority,
                                       struct roster **ret_roster);

/* "agent", "admin", "auditor"; never NULL. */
const char *roster_role_word(enum roster_role role);
