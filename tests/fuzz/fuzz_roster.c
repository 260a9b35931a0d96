/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A roster: whatever payload the authority signs, one that is taken keeps every rule between its
 * keys, is found again by its own names, and is taken only as it was signed and by this authority.
 * The input is the payload.
 */
#include "libescrow/identity.h"
#include "libescrow/json.h"
#include "tests/fuzz/escrow.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static bool is_never_taken(const char *compact, EVP_PKEY *authority)
{
    struct roster *roster = FUZZ_UNTOUCHED;
    enum escrow_err err = roster_parse(compact, strlen(compact), authority, &roster);

    fuzz_check_err(err);
    if (!err)
        roster_free(roster);
    return err && roster == FUZZ_UNTOUCHED;
}

static void check_members(const struct roster *roster)
{
    const struct roster_member *members;
    const size_t count = roster_members(roster, &members);

    FUZZ_CHECK(count <= ROSTER_MEMBERS_MAX);
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(name_is_valid(members[i].label));
        FUZZ_CHECK(roster_find_member(roster, &members[i].storage) == &members[i]);
        FUZZ_CHECK(roster_find_answerer(roster, &members[i].answer) == &members[i]);
        FUZZ_CHECK(!roster_find_key(roster, &members[i].answer));
        for (size_t j = 0; j < i; j++)
            FUZZ_CHECK(strcmp(members[i].label, members[j].label) != 0 &&
                       !tpm_name_equal(&members[i].counter, &members[j].counter));
    }
}

static bool has_identity(const struct roster *roster, const struct roster_key *key)
{
    const struct roster_key *const *of_identity;
    const size_t count = roster_identity_keys(roster, key->identity, &of_identity);
    bool is_there = false;

    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(strcmp(of_identity[i]->identity, key->identity) == 0);
        is_there |= of_identity[i] == key;
    }
    return is_there;
}

static void check_keys(const struct roster *roster)
{
    const struct roster_key *keys;
    const size_t count = roster_keys(roster, &keys);

    FUZZ_CHECK(count <= ROSTER_KEYS_MAX);
    FUZZ_CHECK(!roster_find_key(roster, roster_authority(roster)));
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(identity_is_valid(keys[i].identity));
        FUZZ_CHECK(has_identity(roster, &keys[i]));
        FUZZ_CHECK(roster_find_key(roster, &keys[i].name) == &keys[i]);
        FUZZ_CHECK(!roster_find_answerer(roster, &keys[i].name));
        FUZZ_CHECK((keys[i].role == ROSTER_AGENT) == (keys[i].instance_count > 0));
        FUZZ_CHECK(keys[i].group_count <= ROSTER_GROUPS_MAX &&
                   keys[i].instance_count <= ROSTER_GROUPS_MAX);
        for (size_t j = 0; j < keys[i].group_count; j++)
            FUZZ_CHECK(roster_key_covers(&keys[i], keys[i].groups[j]));
    }
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    const struct fixture *escrow = fuzz_escrow();
    CLEANUP(json_free_p) json_t *payload = fuzz_document(bytes, len);
    CLEANUP(json_free_p) json_t *again = NULL;
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    char compact[8192];
    enum escrow_err err;

    if (!payload)
        return;
    err = roster_sign(payload, escrow->authority, &roster);
    fuzz_check_err(err);
    FUZZ_CHECK(!err == !!roster);
    if (err)
        return;
    check_members(roster);
    check_keys(roster);
    again = roster_payload(roster);
    if (fuzz_went_well(again != NULL))
        FUZZ_CHECK(json_equal(again, payload));
    if (strlen(roster_compact(roster)) >= sizeof(compact))
        return;
    memcpy(compact, roster_compact(roster), strlen(roster_compact(roster)) + 1);
    FUZZ_CHECK(is_never_taken(compact, escrow->admin));
    fuzz_alter(compact);
    FUZZ_CHECK(is_never_taken(compact, escrow->authority));
}
