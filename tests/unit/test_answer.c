/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/answer.h"
#include "libescrow/json.h"
#include "tests/unit/fixture.h"
#include "tests/unit/json_path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COPY_TEXT(array, text) snprintf(array, sizeof(array), "%s", text)

static const uint8_t nonce[ACT_NONCE_BYTES] = {7, 7, 7};

static void fill_object(struct answer_object *object, uint32_t version, bool is_grant)
{
    uint8_t auth_policy[32] = {(uint8_t)version};
    CLEANUP(secret_free_p) struct secret *data = secret_random(32);
    CLEANUP(secret_free_p) struct secret *sensitive = NULL;
    struct wrap_object sealed;

    assert_int_equal(wrap_object_new(auth_policy, data, &sealed, &sensitive), ESCROW_OK);
    assert_int_equal(wrap_object_marshal(&sealed, object->public_area, &object->public_len),
                     ESCROW_OK);
    object->name = sealed.name;
    object->version = version;
    object->state = SECRET_ACTIVE;
    if (!is_grant)
        return;
    memset(object->payload, 1, sizeof(object->payload));
    object->blob.duplicate_len = 100;
    object->blob.seed_len = 68;
    memset(object->blob.duplicate, 2, 100);
}

static struct answer *new_answer(const struct fixture *fixture, enum answer_kind kind)
{
    struct answer *answer = answer_new(kind);

    assert_non_null(answer);
    answer->aud = fixture_name(fixture->agent);
    memcpy(answer->nonce, nonce, sizeof(nonce));
    answer->sequence = kind == ANSWER_CHALLENGE ? 0 : 42;
    if (kind != ANSWER_NOTED) {
        COPY_TEXT(answer->subject.group, FIXTURE_GROUP);
        COPY_TEXT(answer->subject.database, "SSISDB");
    }
    return answer;
}

static struct answer *challenge(const struct fixture *fixture)
{
    struct answer *answer = new_answer(fixture, ANSWER_CHALLENGE);
    const struct roster_member *members;

    roster_members(fixture->roster, &members);
    answer->challenge.act = ACT_RELEASE;
    answer->challenge.expires_in_s = 30;
    answer->challenge.member = members[1].storage;
    answer->challenge.roster_version = 4;
    answer->challenge.next_version = 3;
    answer->object_count = 2;
    fill_object(&answer->objects[0], 2, false);
    fill_object(&answer->objects[1], 1, false);
    return answer;
}

static struct answer *durable(const struct fixture *fixture)
{
    struct answer *answer = new_answer(fixture, ANSWER_DURABLE);

    answer->durable.version = 3;
    answer->durable.object.bytes[0] = 9;
    answer->durable.state = SECRET_ACTIVE;
    return answer;
}

static struct answer *grant(const struct fixture *fixture)
{
    struct answer *answer = new_answer(fixture, ANSWER_GRANT);

    answer->grant.epoch = 5;
    answer->grant.reason = REASON_PROMOTION;
    COPY_TEXT(answer->grant.replica, FIXTURE_INSTANCE);
    answer->object_count = 1;
    fill_object(&answer->objects[0], 2, true);
    return answer;
}

static struct answer *noted(const struct fixture *fixture)
{
    struct answer *answer = new_answer(fixture, ANSWER_NOTED);

    answer->noted.reason = REASON_NONE;
    return answer;
}

static struct answer *(*const makers[])(const struct fixture *fixture) = {challenge, durable, grant,
                                                                          noted};

static char *sign(const struct answer *answer, EVP_PKEY *key)
{
    struct jws_signer signer;
    char *compact = NULL;

    assert_int_equal(jws_signer_from_key(key, &signer), ESCROW_OK);
    assert_int_equal(answer_sign(answer, &signer, &compact), ESCROW_OK);
    return compact;
}

static enum escrow_err verify(struct fixture *fixture, const char *compact, enum answer_kind kind,
                              struct answer **ret_answer)
{
    struct tpm_name asker = fixture_name(fixture->agent);
    const struct answer_expect expect = {.kind = kind, .asker = &asker, .nonce = nonce};
    const struct roster_member *member, *members;
    enum escrow_err err =
        answer_verify(compact, strlen(compact), fixture->roster, &expect, ret_answer, &member);

    roster_members(fixture->roster, &members);
    if (!err)
        assert_ptr_equal(member, &members[1]);
    return err;
}

static void test_round_trips(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
        CLEANUP(answer_free_p) struct answer *answer = makers[i](fixture);
        CLEANUP(answer_free_p) struct answer *copy = NULL;
        CLEANUP(cleanup_free) char *compact = sign(answer, fixture->answer[1]);

        assert_int_equal(verify(fixture, compact, answer->kind, &copy), ESCROW_OK);
        copy->kid = answer->kid;
        assert_memory_equal(copy, answer, sizeof(*answer));
    }
}

/* Header and payload as a member signs them. */
static void signed_parts(struct fixture *fixture, const struct answer *answer, struct jws *ret_jws)
{
    static const char *const more[] = {"answer", "aud", "nonce", NULL};
    CLEANUP(cleanup_free) char *compact = sign(answer, fixture->answer[1]);

    assert_int_equal(jws_verify(compact, strlen(compact), "escrow-answer", more, roster_answer_key,
                                fixture->roster, ret_jws),
                     ESCROW_OK);
}

/* An escrowd and a client of two times must read each other. */
static void test_forms(void **state)
{
    static const char *const forms[] = {
        "{'act':'release','database':'SSISDB','expires_in':30,'group':'AG1','member':'000b<68>',"
        "'next_version':3,'objects':[{'name':'000b<68>','public':'AAgA<104>','state':'active',"
        "'version':2},{'name':'000b<68>','public':'AAgA<104>','state':'active','version':1}],"
        "'roster':4,'v':1}",
        "{'database':'SSISDB','group':'AG1','object':'0900<68>','sequence':42,'state':'active',"
        "'v':1,'version':3}",
        "{'database':'SSISDB','epoch':5,'group':'AG1','objects':[{'duplicate':'AgIC<134>',"
        "'key':'AAAAAAAAAAAAAAAAAAAAAA','name':'000b<68>','payload':'AQEB<875>',"
        "'public':'AAgA<104>','seed':'AAAA<91>','state':'active','version':2}],"
        "'reason':'promotion','replica':'sql1','sequence':42,'v':1}",
        "{'reason':'none','sequence':42,'v':1}",
    };
    static const char head_form[] = "{'alg':'ES256','answer':'%s','aud':'000b<68>',"
                                    "'kid':'000b<68>','nonce':'BwcH<43>','typ':'escrow-answer'}";
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
        CLEANUP(answer_free_p) struct answer *answer = makers[i](fixture);
        CLEANUP(jws_deinit) struct jws jws = {0};
        CLEANUP(cleanup_free) char *form = NULL, *head = NULL;
        char expected[256];

        signed_parts(fixture, answer, &jws);
        form = fixture_form(jws.payload);
        head = fixture_form(jws.header);
        assert_string_equal(form, forms[i]);
        snprintf(expected, sizeof(expected), head_form, answer_kind_word(answer->kind));
        assert_string_equal(head, expected);
    }
}

/* Signs a bent document as an honest member would, so that only the bend can be refused. */
static enum escrow_err verify_parts(struct fixture *fixture, const struct answer *answer,
                                    json_t *header, json_t *payload)
{
    CLEANUP(cleanup_free) char *compact = NULL;
    CLEANUP(answer_free_p) struct answer *copy = NULL;
    struct jws_signer signer;

    assert_int_equal(jws_signer_from_key(fixture->answer[1], &signer), ESCROW_OK);
    assert_int_equal(jws_sign(&signer, header, payload, &compact), ESCROW_OK);
    return verify(fixture, compact, answer->kind, &copy);
}

/* Every member of every answer, missing or of another type: refused. One more member: refused. */
static void test_exact_members(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
        CLEANUP(answer_free_p) struct answer *answer = makers[i](fixture);
        CLEANUP(jws_deinit) struct jws whole = {0};
        const char *name;
        json_t *value;

        signed_parts(fixture, answer, &whole);
        assert_int_equal(verify_parts(fixture, answer, whole.header, whole.payload), ESCROW_OK);
        json_object_foreach(whole.payload, name, value)
        {
            CLEANUP(json_free_p) json_t *bent = json_deep_copy(whole.payload);

            assert_int_equal(json_object_del(bent, name), 0);
            assert_int_equal(verify_parts(fixture, answer, whole.header, bent),
                             ESCROW_ERR_MALFORMED);
            json_object_set_new(bent, name, json_true());
            assert_int_equal(verify_parts(fixture, answer, whole.header, bent),
                             ESCROW_ERR_MALFORMED);
        }
        json_object_set_new(whole.payload, "extra", json_integer(1));
        assert_int_equal(verify_parts(fixture, answer, whole.header, whole.payload),
                         ESCROW_ERR_MALFORMED);
    }
}

static void test_header_bounds(void **state)
{
    static const struct {
        const char *name, *value;
    } rows[] = {
        {"nonce", ""},
        {"nonce", "BwcHAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},   /* 31 bytes */
        {"nonce", "BwcHAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, /* 33 */
        {"aud", ""},
        {"aud", "000b"},
        {"answer", ""},
        {"answer", "granted"},
    };
    struct fixture *fixture = *state;
    CLEANUP(answer_free_p) struct answer *answer = grant(fixture);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(jws_deinit) struct jws jws = {0};

        signed_parts(fixture, answer, &jws);
        json_object_set_new(jws.header, rows[i].name, json_string(rows[i].value));
        assert_int_equal(verify_parts(fixture, answer, jws.header, jws.payload),
                         ESCROW_ERR_MALFORMED);
    }
}

/* The value of a member, as a client takes it. */
static void check_value(struct fixture *fixture, struct answer *(*make)(const struct fixture *),
                        const char *name, json_t *value, enum escrow_err expected)
{
    CLEANUP(answer_free_p) struct answer *answer = make(fixture);
    CLEANUP(jws_deinit) struct jws jws = {0};

    signed_parts(fixture, answer, &jws);
    json_path_set(jws.payload, name, value);
    if (verify_parts(fixture, answer, jws.header, jws.payload) != expected)
        fail_msg("%s.%s", answer_kind_word(answer->kind), name);
}

static void test_numbers_at_their_bounds(void **state)
{
    static const struct {
        struct answer *(*make)(const struct fixture *);
        const char *name;
        json_int_t smallest, largest;
    } rows[] = {
        {challenge, "expires_in", 1, ANSWER_EXPIRES_SECONDS_MAX},
        {challenge, "roster", 0, INT64_MAX},
        {challenge, "next_version", 1, UINT32_MAX},
        {durable, "sequence", 1, INT64_MAX},
        {durable, "version", 1, UINT32_MAX},
        {grant, "sequence", 1, INT64_MAX},
        {grant, "epoch", 0, INT64_MAX},
        {grant, "objects.0.version", 1, UINT32_MAX},
        {noted, "sequence", 1, INT64_MAX},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_value(*state, rows[i].make, rows[i].name, json_integer(rows[i].smallest), ESCROW_OK);
        check_value(*state, rows[i].make, rows[i].name, json_integer(rows[i].largest), ESCROW_OK);
        check_value(*state, rows[i].make, rows[i].name, json_integer(rows[i].smallest - 1),
                    ESCROW_ERR_MALFORMED);
        if (rows[i].largest < INT64_MAX)
            check_value(*state, rows[i].make, rows[i].name, json_integer(rows[i].largest + 1),
                        ESCROW_ERR_MALFORMED);
    }
}

static void test_words_and_names(void **state)
{
    char name[NAME_MAX_BYTES + 2];

    assert_string_equal(answer_kind_word(ANSWER_CHALLENGE), "challenge");
    assert_string_equal(answer_kind_word(ANSWER_DURABLE), "durable");
    assert_string_equal(answer_kind_word(ANSWER_GRANT), "grant");
    assert_string_equal(answer_kind_word(ANSWER_NOTED), "noted");
    assert_string_equal(answer_kind_word(0), "unknown");
    assert_string_equal(answer_kind_word(ANSWER_NOTED + 1), "unknown");
    memset(name, 'a', sizeof(name));
    check_value(*state, grant, "replica", json_stringn(name, NAME_MAX_BYTES), ESCROW_OK);
    check_value(*state, grant, "replica", json_stringn(name, NAME_MAX_BYTES + 1),
                ESCROW_ERR_MALFORMED);
    check_value(*state, grant, "reason", json_string("because"), ESCROW_ERR_MALFORMED);
    check_value(*state, noted, "reason", json_string("restart"), ESCROW_OK);
    check_value(*state, noted, "reason", json_string(""), ESCROW_ERR_MALFORMED);
    check_value(*state, durable, "state", json_string("pending"), ESCROW_OK);
    check_value(*state, durable, "state", json_string("lost"), ESCROW_ERR_MALFORMED);
    check_value(*state, challenge, "act", json_string("dance"), ESCROW_ERR_MALFORMED);
    check_value(*state, challenge, "act", json_string("publish"), ESCROW_ERR_MALFORMED);
    check_value(*state, grant, "objects.0.state", json_string("retired"), ESCROW_OK);
    check_value(*state, grant, "objects.0.state", json_string("destroyed"), ESCROW_ERR_MALFORMED);
    check_value(*state, grant, "objects.0.state", json_string("lost"), ESCROW_ERR_MALFORMED);
    check_value(*state, grant, "objects.0.extra", json_true(), ESCROW_ERR_MALFORMED);
    /* It is there only where it is so. */
    check_value(*state, challenge, "echo", json_true(), ESCROW_OK);
    check_value(*state, challenge, "echo", json_false(), ESCROW_ERR_MALFORMED);
    check_value(*state, grant, "echo", json_true(), ESCROW_ERR_MALFORMED);
}

/* As many versions as one grant can hold, and one more. */
static void test_most_objects(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(answer_free_p) struct answer *answer = grant(fixture);
    CLEANUP(jws_deinit) struct jws jws = {0};
    json_t *objects;

    signed_parts(fixture, answer, &jws);
    objects = json_object_get(jws.payload, "objects");
    while (json_array_size(objects) < ACT_OBJECTS_MAX)
        json_array_append(objects, json_array_get(objects, 0));
    assert_int_equal(verify_parts(fixture, answer, jws.header, jws.payload), ESCROW_OK);
    json_array_append(objects, json_array_get(objects, 0));
    assert_int_equal(verify_parts(fixture, answer, jws.header, jws.payload), ESCROW_ERR_MALFORMED);
}

static void test_challenge_that_wants_an_echo(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(answer_free_p) struct answer *answer = challenge(fixture);
    CLEANUP(answer_free_p) struct answer *copy = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;

    answer->challenge.wants_echo = true;
    compact = sign(answer, fixture->answer[1]);
    assert_int_equal(verify(fixture, compact, ANSWER_CHALLENGE, &copy), ESCROW_OK);
    assert_true(copy->challenge.wants_echo);
    copy->kid = answer->kid;
    assert_memory_equal(copy, answer, sizeof(*answer));
}

static void test_challenge_for_publish(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(answer_free_p) struct answer *answer = challenge(fixture);
    CLEANUP(answer_free_p) struct answer *copy = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;

    answer->challenge.act = ACT_PUBLISH;
    answer->object_count = 0;
    memset(&answer->subject, 0, sizeof(answer->subject));
    compact = sign(answer, fixture->answer[1]);
    assert_int_equal(verify(fixture, compact, ANSWER_CHALLENGE, &copy), ESCROW_OK);
    assert_int_equal(copy->challenge.act, ACT_PUBLISH);
    assert_string_equal(copy->subject.group, "");
}

static void test_only_members_answer(void **state)
{
    struct fixture *fixture = *state;
    EVP_PKEY *signers[] = {fixture->authority, fixture->agent, fixture->admin, fixture->storage[1]};
    CLEANUP(answer_free_p) struct answer *answer = grant(fixture);

    for (size_t i = 0; i < ARRAY_LEN(signers); i++) {
        CLEANUP(cleanup_free) char *compact = sign(answer, signers[i]);
        struct answer *copy = NULL;

        assert_int_equal(verify(fixture, compact, ANSWER_GRANT, &copy), ESCROW_ERR_NOT_FOUND);
        assert_null(copy);
    }
}

static void test_expectations(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(answer_free_p) struct answer *answer = durable(fixture);
    CLEANUP(cleanup_free) char *right = sign(answer, fixture->answer[1]);
    CLEANUP(cleanup_free) char *other_asker = NULL;
    CLEANUP(cleanup_free) char *other_nonce = NULL;
    struct answer *copy = NULL;

    assert_int_equal(verify(fixture, right, ANSWER_GRANT, &copy), ESCROW_ERR_DENIED);
    assert_int_equal(verify(fixture, right, ANSWER_NOTED, &copy), ESCROW_ERR_DENIED);
    answer->nonce[31] ^= 1;
    other_nonce = sign(answer, fixture->answer[1]);
    assert_int_equal(verify(fixture, other_nonce, ANSWER_DURABLE, &copy), ESCROW_ERR_DENIED);
    answer->nonce[31] ^= 1;
    answer->aud = fixture_name(fixture->admin);
    other_asker = sign(answer, fixture->answer[1]);
    assert_int_equal(verify(fixture, other_asker, ANSWER_DURABLE, &copy), ESCROW_ERR_DENIED);
    assert_null(copy);
}

/* A challenge answers nothing: its nonce is its own. */
static void test_challenge_of_any_nonce(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(answer_free_p) struct answer *answer = challenge(fixture);
    CLEANUP(answer_free_p) struct answer *copy = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;
    const struct tpm_name asker = fixture_name(fixture->agent);
    const struct answer_expect expect = {.kind = ANSWER_CHALLENGE, .asker = &asker};
    const struct roster_member *member;

    answer->nonce[31] = 9;
    compact = sign(answer, fixture->answer[1]);
    assert_int_equal(
        answer_verify(compact, strlen(compact), fixture->roster, &expect, &copy, &member),
        ESCROW_OK);
    assert_memory_equal(copy->nonce, answer->nonce, ACT_NONCE_BYTES);
}

/* One member cannot send the client's act to another. */
static void test_challenge_of_another_member(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(answer_free_p) struct answer *answer = challenge(fixture);
    CLEANUP(cleanup_free) char *compact = sign(answer, fixture->answer[0]);
    struct answer *copy = NULL;

    assert_int_equal(verify(fixture, compact, ANSWER_CHALLENGE, &copy), ESCROW_ERR_DENIED);
    assert_null(copy);
}

/* answer_sign refuses what answer_verify refuses: they share the reader. */
static void check_not_signed(struct fixture *fixture, const struct answer *answer)
{
    struct jws_signer signer;
    char *compact = NULL;

    assert_int_equal(jws_signer_from_key(fixture->answer[1], &signer), ESCROW_OK);
    assert_int_equal(answer_sign(answer, &signer, &compact), ESCROW_ERR_MALFORMED);
    assert_null(compact);
}

static void test_objects_refused(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(answer_free_p) struct answer *answer = grant(fixture);
    struct answer_object right = answer->objects[0];

    answer->objects[0].name.bytes[33] ^= 1;
    check_not_signed(fixture, answer);
    answer->objects[0] = right;
    answer->objects[0].public_area[7] ^= 1; /* an attribute off the template */
    check_not_signed(fixture, answer);
    answer->objects[0] = right;
    answer->objects[0].state = SECRET_DESTROYED;
    check_not_signed(fixture, answer);
    answer->objects[0] = right;
    answer->objects[0].version = 0;
    check_not_signed(fixture, answer);
    answer->objects[0] = right;
    answer->objects[0].blob.seed_len = 0;
    check_not_signed(fixture, answer);
    answer->object_count = 0;
    check_not_signed(fixture, answer);
}

static void test_members_refused(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(answer_free_p) struct answer *asked = challenge(fixture);
    CLEANUP(answer_free_p) struct answer *held = durable(fixture);
    CLEANUP(answer_free_p) struct answer *given = grant(fixture);

    asked->challenge.expires_in_s = ANSWER_EXPIRES_SECONDS_MAX + 1;
    check_not_signed(fixture, asked);
    asked->challenge.expires_in_s = 1;
    asked->challenge.next_version = 0;
    check_not_signed(fixture, asked);
    held->sequence = 0;
    check_not_signed(fixture, held);
    held->sequence = 1;
    held->subject.group[0] = ' ';
    check_not_signed(fixture, held);
    given->grant.replica[0] = '\0';
    check_not_signed(fixture, given);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_exact_members),
        cmocka_unit_test(test_header_bounds),
        cmocka_unit_test(test_numbers_at_their_bounds),
        cmocka_unit_test(test_words_and_names),
        cmocka_unit_test(test_most_objects),
        cmocka_unit_test(test_challenge_that_wants_an_echo),
        cmocka_unit_test(test_challenge_for_publish),
        cmocka_unit_test(test_only_members_answer),
        cmocka_unit_test(test_expectations),
        cmocka_unit_test(test_challenge_of_any_nonce),
        cmocka_unit_test(test_challenge_of_another_member),
        cmocka_unit_test(test_objects_refused),
        cmocka_unit_test(test_members_refused),
    };

    if (secret_heap_init() != ESCROW_OK)
        return 1;
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
