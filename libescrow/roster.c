/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/roster.h"

#include "libescrow/json.h"
#include "libescrow/jws.h"
#include "libescrow/log.h"
#include "libescrow/roster_parts.h"

#include <stdlib.h>
#include <string.h>

#define TYP "escrow-roster"

void roster_free(struct roster *roster)
{
    if (!roster)
        return;
    for (size_t i = 0; i < roster->member_count; i++)
        EVP_PKEY_free(roster->answer_keys[i]);
    for (size_t i = 0; i < roster->key_count; i++) {
        EVP_PKEY_free(roster->parts[i].key);
        free(roster->parts[i].names);
    }
    free(roster->keys);
    free(roster->parts);
    free(roster->by_name);
    free(roster->by_identity);
    json_decref(roster->payload);
    free(roster->compact);
    free(roster);
}

static EVP_PKEY *only_authority(const struct tpm_name *kid, void *argument)
{
    EVP_PKEY *authority = argument;
    struct jws_signer signer;

    if (jws_signer_from_key(authority, &signer) != ESCROW_OK)
        return NULL;
    return tpm_name_equal(kid, &signer.kid) ? authority : NULL;
}

enum escrow_err roster_parse(const char *compact, size_t len, EVP_PKEY *authority,
                             struct roster **ret_roster)
{
    static const char *const more[] = {NULL};
    CLEANUP(roster_free_p) struct roster *roster = calloc(1, sizeof(*roster));
    struct jws jws;
    enum escrow_err err;

    if (!roster)
        return ESCROW_ERR_NO_MEMORY;
    if (len > ROSTER_BYTES_MAX) {
        log_notice("roster: %zu bytes are more than %d", len, ROSTER_BYTES_MAX);
        return ESCROW_ERR_MALFORMED;
    }
    err = jws_verify(compact, len, TYP, more, only_authority, authority, &jws);
    if (err == ESCROW_ERR_NOT_FOUND || err == ESCROW_ERR_CRYPTO) {
        log_notice("roster: is not signed by the policy authority");
        return ESCROW_ERR_CRYPTO;
    }
    if (err) {
        log_notice("roster: is not a signed document of type " TYP);
        return err;
    }
    roster->payload = TAKE(jws.payload);
    jws_deinit(&jws);
    roster->compact = strndup(compact, len);
    if (!roster->compact)
        return ESCROW_ERR_NO_MEMORY;
    err = roster_fill(roster, authority);
    if (!err)
        *ret_roster = TAKE(roster);
    return err;
}

enum escrow_err roster_sign(json_t *payload, EVP_PKEY *authority, struct roster **ret_roster)
{
    CLEANUP(json_free_p) json_t *header = json_pack("{s:s}", "typ", TYP);
    CLEANUP(cleanup_free) char *compact = NULL;
    struct jws_signer signer;
    enum escrow_err err;

    if (!header)
        return ESCROW_ERR_NO_MEMORY;
    err = jws_signer_from_key(authority, &signer);
    if (!err)
        err = jws_sign(&signer, header, payload, &compact);
    return err ? err : roster_parse(compact, strlen(compact), authority, ret_roster);
}

json_t *roster_payload(const struct roster *roster)
{
    return json_copy_whole(roster->payload);
}

uint64_t roster_version(const struct roster *roster)
{
    return roster->version;
}

const char *roster_compact(const struct roster *roster)
{
    return roster->compact;
}

const struct tpm_name *roster_authority(const struct roster *roster)
{
    return &roster->authority;
}

const struct ec_point *roster_recovery(const struct roster *roster)
{
    return &roster->recovery;
}

const struct tpm_name *roster_recovery_name(const struct roster *roster)
{
    return &roster->recovery_name;
}

size_t roster_members(const struct roster *roster, const struct roster_member **ret_members)
{
    *ret_members = roster->members;
    return roster->member_count;
}

size_t roster_keys(const struct roster *roster, const struct roster_key **ret_keys)
{
    *ret_keys = roster->keys;
    return roster->key_count;
}

const struct roster_member *roster_find_member(const struct roster *roster,
                                               const struct tpm_name *storage)
{
    for (size_t i = 0; i < roster->member_count; i++) {
        if (tpm_name_equal(&roster->members[i].storage, storage))
            return &roster->members[i];
    }
    return NULL;
}

const struct roster_member *roster_find_answerer(const struct roster *roster,
                                                 const struct tpm_name *answer)
{
    for (size_t i = 0; i < roster->member_count; i++) {
        if (tpm_name_equal(&roster->members[i].answer, answer))
            return &roster->members[i];
    }
    return NULL;
}

const struct roster_key *roster_find_key(const struct roster *roster, const struct tpm_name *kid)
{
    const struct roster_key wanted = {.name = *kid}, *pointer = &wanted;
    const struct roster_key **found =
        bsearch(&pointer, roster->by_name, roster->key_count, sizeof(const struct roster_key *),
                roster_compare_names);

    return found ? *found : NULL;
}

size_t roster_identity_keys(const struct roster *roster, const char *identity,
                            const struct roster_key *const **ret_keys)
{
    const struct roster_key wanted = {.identity = identity}, *pointer = &wanted;
    const struct roster_key **end = roster->by_identity + roster->key_count;
    const struct roster_key **first =
        bsearch(&pointer, roster->by_identity, roster->key_count, sizeof(const struct roster_key *),
                roster_compare_identities);
    size_t count = 0;

    if (!first)
        return 0;
    while (first > roster->by_identity && strcmp(first[-1]->identity, identity) == 0)
        first--;
    while (first + count < end && strcmp(first[count]->identity, identity) == 0)
        count++;
    *ret_keys = first;
    return count;
}

bool roster_key_covers(const struct roster_key *key, const char *group)
{
    for (size_t i = 0; i < key->group_count; i++) {
        if (strcmp(key->groups[i], "*") == 0 || strcmp(key->groups[i], group) == 0)
            return true;
    }
    return false;
}

bool roster_key_has_instance(const struct roster_key *key, const char *instance)
{
    for (size_t i = 0; i < key->instance_count; i++) {
        if (strcmp(key->instances[i], instance) == 0)
            return true;
    }
    return false;
}

EVP_PKEY *roster_act_key(const struct tpm_name *kid, void *roster)
{
    const struct roster *from = roster;
    const struct roster_key *key = roster_find_key(from, kid);
    struct roster_key_parts *parts = key ? &from->parts[key - from->keys] : NULL;

    /* The point was checked with the roster: only memory can lack. */
    if (parts && !parts->key && key_from_point(&key->point, &parts->key) != ESCROW_OK)
        log_error("roster: no memory for the act key of %s", key->identity);
    return parts ? parts->key : NULL;
}

EVP_PKEY *roster_answer_key(const struct tpm_name *kid, void *roster)
{
    const struct roster *from = roster;
    const struct roster_member *member = roster_find_answerer(from, kid);

    return member ? from->answer_keys[member - from->members] : NULL;
}
