/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/json.h"
#include "libescrow/jws.h"
#include "tests/unit/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_members(void **state)
{
    struct fixture *fixture = *state;
    const struct roster_member *members;
    struct ec_point point = fixture_point(fixture->storage[1]);
    struct tpm_name answer = fixture_name(fixture->answer[1]), unknown = {{0}};

    assert_int_equal(roster_version(fixture->roster), 1);
    assert_int_equal(roster_members(fixture->roster, &members), FIXTURE_MEMBERS);
    assert_string_equal(members[1].label, "m1");
    assert_memory_equal(&members[1].storage_point, &point, sizeof(point));
    assert_true(tpm_name_equal(&members[1].answer, &answer));
    assert_false(members[1].is_ek_verified);
    assert_ptr_equal(roster_find_member(fixture->roster, &members[1].storage), &members[1]);
    assert_ptr_equal(roster_find_answerer(fixture->roster, &answer), &members[1]);
    assert_null(roster_find_member(fixture->roster, &unknown));
    assert_null(roster_find_member(fixture->roster, &answer));
    assert_int_equal(EVP_PKEY_eq(roster_answer_key(&answer, fixture->roster), fixture->answer[1]),
                     1);
    assert_null(roster_act_key(&answer, fixture->roster));
}

static void test_keys(void **state)
{
    struct fixture *fixture = *state;
    struct tpm_name agent = fixture_name(fixture->agent), admin = fixture_name(fixture->admin);
    const struct roster_key *keys, *key = roster_find_key(fixture->roster, &agent);
    const struct roster_key *const *of_identity;

    assert_int_equal(roster_keys(fixture->roster, &keys), 3);
    assert_non_null(key);
    assert_string_equal(key->identity, FIXTURE_AGENT);
    assert_int_equal(key->role, ROSTER_AGENT);
    assert_true(roster_key_covers(key, FIXTURE_GROUP));
    assert_false(roster_key_covers(key, "AG2"));
    assert_true(roster_key_has_instance(key, FIXTURE_INSTANCE));
    assert_false(roster_key_has_instance(key, "sql2"));
    key = roster_find_key(fixture->roster, &admin);
    assert_true(roster_key_covers(key, "AG2"));
    assert_false(roster_key_has_instance(key, FIXTURE_INSTANCE));
    assert_int_equal(roster_identity_keys(fixture->roster, FIXTURE_ADMIN, &of_identity), 1);
    assert_string_equal(of_identity[0]->identity, FIXTURE_ADMIN);
    assert_int_equal(
        roster_identity_keys(fixture->roster, "spiffe://corp.example/mallory", &of_identity), 0);
    assert_int_equal(EVP_PKEY_eq(roster_act_key(&agent, fixture->roster), fixture->agent), 1);
    assert_null(roster_answer_key(&agent, fixture->roster));
}

static void test_recovery_and_authority(void **state)
{
    struct fixture *fixture = *state;
    struct ec_point point = fixture_point(fixture->recovery);
    struct tpm_name recovery, authority = fixture_name(fixture->authority);

    assert_int_equal(key_recipient_name(&point, &recovery), ESCROW_OK);
    assert_true(tpm_name_equal(roster_recovery_name(fixture->roster), &recovery));
    assert_memory_equal(roster_recovery(fixture->roster), &point, sizeof(point));
    assert_true(tpm_name_equal(roster_authority(fixture->roster), &authority));
}

static void test_signature(void **state)
{
    struct fixture *fixture = *state;
    const char *compact = roster_compact(fixture->roster);
    CLEANUP(cleanup_free) char *unsigned_text = strdup(compact);
    struct roster *roster = NULL;

    assert_int_equal(roster_parse(compact, strlen(compact), fixture->admin, &roster),
                     ESCROW_ERR_CRYPTO);
    strrchr(unsigned_text, '.')[1] = '\0';
    assert_int_equal(
        roster_parse(unsigned_text, strlen(unsigned_text), fixture->authority, &roster),
        ESCROW_ERR_MALFORMED);
    assert_null(roster);
}

/* An honest signature of another kind of document is no roster. */
static void test_another_type(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(json_free_p) json_t *header = json_pack("{s:s}", "typ", "escrow-answer");
    CLEANUP(json_free_p) json_t *payload = fixture_roster_payload(fixture);
    CLEANUP(cleanup_free) char *compact = NULL;
    struct roster *roster = NULL;
    struct jws_signer signer;

    assert_int_equal(jws_signer_from_key(fixture->authority, &signer), ESCROW_OK);
    assert_int_equal(jws_sign(&signer, header, payload, &compact), ESCROW_OK);
    assert_int_equal(roster_parse(compact, strlen(compact), fixture->authority, &roster),
                     ESCROW_ERR_MALFORMED);
    assert_null(roster);
}

/* Whoever swaps a key signs with a key of his own, or puts an honest signature under it. */
static void test_swapped_storage_key(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(json_free_p) json_t *payload = fixture_roster_payload(fixture);
    CLEANUP(roster_free_p) struct roster *other = NULL;
    CLEANUP(cleanup_free) char *mixed = NULL;
    json_t *members = json_object_get(payload, "members");
    json_t *swapped = json_object_get(json_array_get(members, 1), "storage");
    const char *right = roster_compact(fixture->roster);
    struct ec_point attacker = fixture_point(fixture->admin);
    struct roster *roster = NULL;

    assert_int_equal(json_object_set(json_array_get(members, 0), "storage", swapped), 0);
    assert_int_equal(json_array_remove(members, 1), 0);
    assert_int_equal(json_object_set_new(payload, "authority", json_point(&attacker)), 0);
    assert_int_equal(json_array_remove(json_object_get(payload, "keys"), 1), 0);
    assert_int_equal(roster_sign(payload, fixture->admin, &other), ESCROW_OK);

    assert_int_equal(roster_parse(roster_compact(other), strlen(roster_compact(other)),
                                  fixture->authority, &roster),
                     ESCROW_ERR_CRYPTO);
    assert_true(asprintf(&mixed, "%.*s.%s",
                         (int)(strrchr(roster_compact(other), '.') - roster_compact(other)),
                         roster_compact(other), strrchr(right, '.') + 1) > 0);
    assert_int_equal(roster_parse(mixed, strlen(mixed), fixture->authority, &roster),
                     ESCROW_ERR_CRYPTO);
    assert_null(roster);
}

typedef void (*bend_fn)(json_t *payload);

static json_t *item(json_t *payload, const char *list, size_t index)
{
    return json_array_get(json_object_get(payload, list), index);
}

static void set(json_t *object, const char *name, json_t *value)
{
    assert_int_equal(json_object_set_new(object, name, value), 0);
}

static void bend_version(json_t *payload)
{
    set(payload, "v", json_integer(2));
}

static void bend_number(json_t *payload)
{
    set(payload, "version", json_integer(0));
}

static void bend_unknown_member(json_t *payload)
{
    set(payload, "comment", json_string("x"));
}

static void bend_unknown_key_member(json_t *payload)
{
    set(item(payload, "keys", 0), "expires", json_integer(1));
}

static void bend_missing(json_t *payload)
{
    assert_int_equal(json_object_del(item(payload, "members", 0), "ek"), 0);
}

static void bend_role(json_t *payload)
{
    set(item(payload, "keys", 0), "role", json_string("root"));
}

static void bend_identity(json_t *payload)
{
    set(item(payload, "keys", 0), "identity", json_string("https://corp.example/agent"));
}

static void bend_group_name(json_t *payload)
{
    set(item(payload, "keys", 0), "groups", json_pack("[s]", "A:G"));
}

static void bend_instance_star(json_t *payload)
{
    set(item(payload, "keys", 0), "instances", json_pack("[s]", "*"));
}

static void bend_agent_without_instance(json_t *payload)
{
    set(item(payload, "keys", 0), "instances", json_array());
}

static void bend_admin_with_instance(json_t *payload)
{
    set(item(payload, "keys", 1), "instances", json_pack("[s]", "sql1"));
}

static void bend_label_twice(json_t *payload)
{
    set(item(payload, "members", 1), "label", json_string("m0"));
}

static void copy_member(json_t *payload, const char *name)
{
    assert_int_equal(json_object_set(item(payload, "members", 1), name,
                                     json_object_get(item(payload, "members", 0), name)),
                     0);
}

static void bend_storage_twice(json_t *payload)
{
    copy_member(payload, "storage");
}

static void bend_answer_twice(json_t *payload)
{
    copy_member(payload, "answer");
}

static void bend_counter_twice(json_t *payload)
{
    copy_member(payload, "counter");
}

static void bend_audit_as_storage(json_t *payload)
{
    json_t *member = item(payload, "members", 0);

    assert_int_equal(json_object_set(member, "storage", json_object_get(member, "audit")), 0);
}

static void bend_act_key_twice(json_t *payload)
{
    assert_int_equal(json_object_set(item(payload, "keys", 1), "key",
                                     json_object_get(item(payload, "keys", 0), "key")),
                     0);
}

static void bend_answer_as_act_key(json_t *payload)
{
    assert_int_equal(json_object_set(item(payload, "keys", 1), "key",
                                     json_object_get(item(payload, "members", 0), "answer")),
                     0);
}

static void bend_authority_as_act_key(json_t *payload)
{
    assert_int_equal(
        json_object_set(item(payload, "keys", 1), "key", json_object_get(payload, "authority")), 0);
}

static void bend_authority_as_recovery(json_t *payload)
{
    assert_int_equal(json_object_set(payload, "recovery", json_object_get(payload, "authority")),
                     0);
}

static void bend_recovery_as_act_key(json_t *payload)
{
    assert_int_equal(
        json_object_set(item(payload, "keys", 1), "key", json_object_get(payload, "recovery")), 0);
}

static void bend_recovery_as_answer(json_t *payload)
{
    assert_int_equal(json_object_set(item(payload, "members", 0), "answer",
                                     json_object_get(payload, "recovery")),
                     0);
}

static void bend_audit_twice(json_t *payload)
{
    copy_member(payload, "audit");
}

static void bend_another_authority(json_t *payload)
{
    assert_int_equal(json_object_set(payload, "authority", json_object_get(payload, "recovery")),
                     0);
}

static void bend_off_curve(json_t *payload)
{
    set(json_object_get(item(payload, "keys", 0), "key"), "x",
        json_string("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"));
}

static void bend_off_curve_recovery(json_t *payload)
{
    set(json_object_get(payload, "recovery"), "x",
        json_string("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"));
}

static void bend_too_many_members(json_t *payload)
{
    while (json_array_size(json_object_get(payload, "members")) <= ROSTER_MEMBERS_MAX)
        assert_int_equal(
            json_array_append(json_object_get(payload, "members"), item(payload, "members", 0)), 0);
}

/* The authority itself never signs one of these. */
static void test_refused(void **state)
{
    static const bend_fn bends[] = {
        bend_version,
        bend_number,
        bend_unknown_member,
        bend_unknown_key_member,
        bend_missing,
        bend_role,
        bend_identity,
        bend_group_name,
        bend_instance_star,
        bend_agent_without_instance,
        bend_label_twice,
        bend_admin_with_instance,
        bend_storage_twice,
        bend_answer_twice,
        bend_counter_twice,
        bend_audit_as_storage,
        bend_act_key_twice,
        bend_answer_as_act_key,
        bend_off_curve,
        bend_authority_as_act_key,
        bend_audit_twice,
        bend_recovery_as_act_key,
        bend_recovery_as_answer,
        bend_too_many_members,
        bend_authority_as_recovery,
        bend_another_authority,
        bend_off_curve_recovery,
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_LEN(bends); i++) {
        CLEANUP(json_free_p) json_t *payload = fixture_roster_payload(fixture);
        struct roster *roster = NULL;

        bends[i](payload);
        assert_int_equal(roster_sign(payload, fixture->authority, &roster), ESCROW_ERR_MALFORMED);
        assert_null(roster);
    }
}

/* Of the fixture's keys and as many more agents as it takes; two of them have each identity. */
static void add_agents(json_t *payload, size_t count)
{
    json_t *keys = json_object_get(payload, "keys");

    while (json_array_size(keys) < count) {
        CLEANUP(key_free_p) EVP_PKEY *key = key_generate();
        const struct ec_point point = fixture_point(key);
        char identity[64];

        snprintf(identity, sizeof(identity), "spiffe://corp.example/node-%zu",
                 json_array_size(keys) / 2);
        assert_int_equal(json_array_append_new(
                             keys, json_pack("{s:s, s:s, s:o, s:[s], s:[s]}", "identity", identity,
                                             "role", "agent", "key", json_point(&point), "groups",
                                             "AG1", "instances", "sql1")),
                         0);
    }
}

/* Every key of the largest roster is found by its Name and its identity; one more is too many. */
static void test_largest(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(json_free_p) json_t *payload = fixture_roster_payload(fixture);
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    const struct roster_key *const *of_identity = NULL;
    const struct roster_key *keys;
    json_t *first, *last;

    add_agents(payload, ROSTER_KEYS_MAX);
    assert_int_equal(roster_sign(payload, fixture->authority, &roster), ESCROW_OK);
    assert_int_equal(roster_keys(roster, &keys), ROSTER_KEYS_MAX);
    for (size_t i = 0; i < ROSTER_KEYS_MAX; i++) {
        size_t count = roster_identity_keys(roster, keys[i].identity, &of_identity);

        assert_ptr_equal(roster_find_key(roster, &keys[i].name), &keys[i]);
        assert_int_equal(count, i < 4 || i == ROSTER_KEYS_MAX - 1 ? count : 2);
        assert_true(of_identity[0] == &keys[i] || of_identity[count - 1] == &keys[i]);
    }
    assert_int_equal(roster_identity_keys(roster, "spiffe://corp.example/node-1000", &of_identity),
                     2);
    assert_ptr_not_equal(of_identity[0], of_identity[1]);
    roster_free(TAKE(roster));
    first = item(payload, "keys", 3), last = item(payload, "keys", ROSTER_KEYS_MAX - 1);
    assert_int_equal(json_object_set(last, "key", json_object_get(first, "key")), 0);
    assert_int_equal(roster_sign(payload, fixture->authority, &roster), ESCROW_ERR_MALFORMED);
    assert_int_equal(json_array_remove(json_object_get(payload, "keys"), ROSTER_KEYS_MAX - 1), 0);
    add_agents(payload, ROSTER_KEYS_MAX + 1);
    assert_int_equal(roster_sign(payload, fixture->authority, &roster), ESCROW_ERR_MALFORMED);
}

static void test_too_long(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(json_free_p) json_t *payload = fixture_roster_payload(fixture);
    CLEANUP(json_free_p) json_t *groups = json_array();
    struct roster *roster = NULL;
    char name[NAME_MAX_BYTES + 1];

    memset(name, 'g', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    while (json_array_size(groups) < ROSTER_GROUPS_MAX)
        assert_int_equal(json_array_append_new(groups, json_string(name)), 0);
    add_agents(payload, 400);
    for (size_t i = 0; i < 400; i++)
        assert_int_equal(json_object_set(item(payload, "keys", i), "groups", groups), 0);
    assert_int_equal(roster_sign(payload, fixture->authority, &roster), ESCROW_ERR_MALFORMED);
    while (json_array_size(json_object_get(payload, "keys")) > 300)
        assert_int_equal(json_array_remove(json_object_get(payload, "keys"), 300), 0);
    assert_int_equal(roster_sign(payload, fixture->authority, &roster), ESCROW_OK);
    roster_free(roster);
}

static void test_edit(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(json_free_p) json_t *payload = roster_payload(fixture->roster);
    CLEANUP(roster_free_p) struct roster *next = NULL;
    const struct roster_key *keys;

    set(payload, "version", json_integer(2));
    assert_int_equal(json_array_remove(json_object_get(payload, "keys"), 0), 0);
    assert_int_equal(roster_sign(payload, fixture->authority, &next), ESCROW_OK);
    assert_int_equal(roster_version(next), 2);
    assert_int_equal(roster_keys(next, &keys), 2);
    assert_int_equal(roster_keys(fixture->roster, &keys), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_recovery_and_authority),
        cmocka_unit_test(test_signature),
        cmocka_unit_test(test_another_type),
        cmocka_unit_test(test_swapped_storage_key),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_edit),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
