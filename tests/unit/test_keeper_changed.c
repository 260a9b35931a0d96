/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/json.h"
#include "tests/unit/keeper_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/*
 * What a roster takes away from who has a release under way: the act was accepted by the one
 * before, and what counts is the one of now.
 */

/* A member of the agent's entry, and its new value; NULL: the entry goes. */
struct change {
    const char *name, *value;
    enum reason reason;
};

static json_t *changed_roster(struct keeper_fixture *fx, unsigned version,
                              const struct change *change)
{
    json_t *payload = fx_roster_payload(fx, version);
    json_t *keys = json_object_get(payload, "keys");
    json_t *entry = json_array_get(keys, FX_AGENT_B);

    if (!change->name) {
        json_array_remove(keys, FX_AGENT_B);
        return payload;
    }
    json_object_set_new(entry, change->name, json_loads(change->value, JSON_DECODE_ANY, NULL));
    if (strcmp(change->name, "role") == 0)
        json_object_set_new(entry, "instances", json_array());
    return payload;
}

/* The body of a publish act of this roster, signed and ready. */
static char *publish_body(struct keeper_fixture *fx, json_t *payload)
{
    CLEANUP(json_free_p) json_t *owned = payload;
    CLEANUP(act_free_p) struct act *act = act_new(ACT_PUBLISH);
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    CLEANUP(answer_free_p) struct answer *challenge = NULL;

    assert_int_equal(roster_sign(owned, fx->authority, &roster), ESCROW_OK);
    act->purpose = PURPOSE_PUBLISH;
    act->publish.roster = strdup(roster_compact(roster));
    challenge = fx_challenge(fx, FX_ADMIN, ACT_PUBLISH, PURPOSE_PUBLISH);
    return fx_sign(fx, FX_ADMIN, challenge, act);
}

/* The reason of a release by node-b's agent that waits for its replicas while the roster comes. */
static enum reason release_meanwhile(struct keeper_fixture *fx, const char *publishing)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    CLEANUP(act_free_p) struct act *act = fx_release_act(fx, FX_AGENT_B, challenge, recipient);
    CLEANUP(cleanup_free) char *body = fx_sign(fx, FX_AGENT_B, challenge, act);
    uint64_t release;

    fx->replicas[0].is_hung = fx->replicas[2].is_hung = true;
    release = fx_send(fx, ROUTE_RELEASE, fx->actors[FX_AGENT_B].identity, body);
    fx_send(fx, ROUTE_PUBLISH, fx->actors[FX_ADMIN].identity, publishing);
    fx->replicas[0].is_hung = fx->replicas[2].is_hung = false;
    return fx_wait(fx, release)->reason;
}

static void test_taken_from_the_agent(void **state)
{
    static const struct change changes[] = {
        {NULL, NULL, REASON_KEY_UNKNOWN},
        {"identity", "\"spiffe://corp.example/successor\"", REASON_KEY_UNKNOWN},
        {"role", "\"auditor\"", REASON_ROLE_NOT_ALLOWED},
        {"groups", "[\"other\"]", REASON_ROLE_NOT_ALLOWED},
        {"instances", "[\"node-c\"]", REASON_REPLICA_UNKNOWN},
    };
    struct keeper_fixture *fx = *state;
    unsigned version = 2;

    fx_set_primary(fx, 1);
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        CLEANUP(cleanup_free)
        char *body = publish_body(fx, changed_roster(fx, version++, &changes[i]));

        if (release_meanwhile(fx, body) != changes[i].reason)
            fail_msg("%s: %s", changes[i].name, reason_code(fx->reply.reason));
        assert_int_equal(fx_publish_roster(fx, fx_roster_payload(fx, version++), fx->authority),
                         REASON_NONE);
    }
    /* None was even decided about. */
    assert_int_equal(fx_count(fx, "release", NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_taken_from_the_agent, fx_setup_ready, fx_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
