/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/keeper_roster.h"

#include "libescrow/json.h"
#include "libescrow/key.h"
#include "tests/unit/keeper_fixture.h"

#include <stdio.h>

static json_t *new_agent(size_t number)
{
    CLEANUP(key_free_p) EVP_PKEY *key = key_generate();
    char identity[64], instance[32];
    struct ec_point point;

    if (!key || key_point(key, &point) != ESCROW_OK)
        return NULL;
    snprintf(identity, sizeof(identity), "spiffe://corp.example/crowd-%zu", number);
    snprintf(instance, sizeof(instance), "crowd-%zu", number);
    return json_pack("{s:s, s:s, s:o, s:[s], s:[s]}", "identity", identity, "role", "agent", "key",
                     json_point(&point), "groups", "*", "instances", instance);
}

void keeper_roster_add(json_t *payload, size_t keys)
{
    json_t *array = json_object_get(payload, "keys");

    while (json_array_size(array) < keys) {
        if (json_array_append_new(array, new_agent(json_array_size(array))))
            fx_fail("a key of the roster", "cannot be made");
    }
}
