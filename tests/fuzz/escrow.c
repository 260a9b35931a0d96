/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/escrow.h"

#include "libescrow/json.h"
#include "libescrow/jws.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 16

struct fixture *fuzz_escrow(void)
{
    static void *escrow;

    if (!escrow) {
        inject_hold(true);
        FUZZ_CHECK(fixture_setup(&escrow) == 0);
        inject_hold(false);
    }
    return escrow;
}

static json_t *name_of(const char *which)
{
    const struct fixture *escrow = fuzz_escrow();
    const struct roster_member *members;
    const struct roster_key *keys;
    const struct tpm_name *name = NULL;

    roster_members(escrow->roster, &members);
    roster_keys(escrow->roster, &keys);
    if (strcmp(which, "storage0") == 0)
        name = &members[0].storage;
    else if (strcmp(which, "storage1") == 0)
        name = &members[1].storage;
    else if (strcmp(which, "agent") == 0)
        name = &keys[0].name;
    else if (strcmp(which, "recovery") == 0)
        name = roster_recovery_name(escrow->roster);
    return name ? json_tpm_name(name) : json_null();
}

/* What stands in the roster's payload at a path of members and indexes. */
static json_t *find(const char *path)
{
    static json_t *payload;
    json_t *value;

    if (strncmp(path, "name/", 5) == 0)
        return name_of(path + 5);
    if (!payload)
        payload = fixture_roster_payload(fuzz_escrow());
    value = payload;
    while (value && *path) {
        const size_t len = strcspn(path, "/");
        char part[64] = "";

        if (len < sizeof(part))
            memcpy(part, path, len);
        value = json_is_array(value) ? json_array_get(value, strtoul(part, NULL, 10))
                                     : json_object_get(value, part);
        path += len + (path[len] == '/');
    }
    return value ? json_deep_copy(value) : json_null();
}

static json_t *replaced(json_t *value, unsigned depth);

static void replace_members(json_t *value, unsigned depth)
{
    const char *name;
    json_t *item;
    size_t i;

    if (depth == 0)
        return;
    json_array_foreach(value, i, item)
    {
        json_t *other = replaced(item, depth - 1);

        if (other)
            json_array_set_new(value, i, other);
    }
    json_object_foreach(value, name, item)
    {
        json_t *other = replaced(item, depth - 1);

        if (other)
            json_object_set_new(value, name, other);
    }
}

static json_t *replaced(json_t *value, unsigned depth)
{
    const char *text = json_string_value(value);

    if (text)
        return text[0] == '@' ? find(text + 1) : NULL;
    replace_members(value, depth);
    return NULL;
}

json_t *fuzz_document(const uint8_t *bytes, size_t len)
{
    json_t *document = fuzz_json(bytes, len);

    inject_hold(true);
    if (document)
        replace_members(document, DEPTH_MAX);
    inject_hold(false);
    return document;
}

struct tpm_name fuzz_name(EVP_PKEY *key)
{
    struct tpm_name name;

    inject_hold(true);
    name = fixture_name(key);
    inject_hold(false);
    return name;
}

char *fuzz_sign(EVP_PKEY *key, json_t *header, json_t *payload)
{
    struct jws_signer signer;
    char *compact = NULL;

    inject_hold(true);
    FUZZ_CHECK(jws_signer_from_key(key, &signer) == ESCROW_OK);
    if (jws_sign(&signer, header, payload, &compact) != ESCROW_OK)
        compact = NULL;
    inject_hold(false);
    return compact;
}

json_t *fuzz_payload(const char *compact)
{
    json_t *payload = NULL;

    inject_hold(true);
    FUZZ_CHECK(jws_unverified_payload(compact, strlen(compact), &payload) == ESCROW_OK);
    inject_hold(false);
    return payload;
}
