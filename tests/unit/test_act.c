/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/act.h"
#include "libescrow/encode.h"
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
#define DATABASE "SSISDB \xc3\xa9"

static struct act *new_act(const struct fixture *fixture, enum act_kind kind)
{
    const struct roster_member *members;
    struct act *act = act_new(kind);

    assert_non_null(act);
    assert_int_equal(roster_members(fixture->roster, &members), FIXTURE_MEMBERS);
    act->aud = members[0].storage;
    memset(act->nonce, 0x5a, sizeof(act->nonce));
    if (kind != ACT_PUBLISH) {
        COPY_TEXT(act->subject.group, FIXTURE_GROUP);
        COPY_TEXT(act->subject.database, DATABASE);
    }
    return act;
}

static void fill_signatures(struct act_signature *objects, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        memset(objects[i].object.bytes, (int)i + 1, TPM_NAME_BYTES);
        memset(objects[i].signature, (int)i + 2, ECDSA_SIGNATURE_BYTES);
    }
}

static struct act *deposit(const struct fixture *fixture)
{
    struct act *act = new_act(fixture, ACT_DEPOSIT);
    struct act_deposit *deposit = &act->deposit;

    act->purpose = PURPOSE_DEPOSIT;
    deposit->version = 7;
    deposit->state = SECRET_PENDING;
    deposit->public_len = 78;
    memset(deposit->public_area, 3, deposit->public_len);
    memset(deposit->payload, 4, sizeof(deposit->payload));
    deposit->blob_count = 3;
    for (size_t i = 0; i < deposit->blob_count; i++) {
        memset(deposit->blobs[i].to.bytes, (int)i + 5, TPM_NAME_BYTES);
        deposit->blobs[i].blob.duplicate_len = 200;
        deposit->blobs[i].blob.seed_len = 68;
        memset(deposit->blobs[i].blob.duplicate, (int)i + 6, 200);
    }
    return act;
}

static struct act *release(const struct fixture *fixture)
{
    struct act *act = new_act(fixture, ACT_RELEASE);

    act->purpose = PURPOSE_PROMOTE;
    COPY_TEXT(act->release.replica, FIXTURE_INSTANCE);
    act->release.recipient = fixture_point(fixture->agent);
    act->release.object_count = ACT_OBJECTS_MAX;
    fill_signatures(act->release.objects, ACT_OBJECTS_MAX);
    return act;
}

static struct act *rotation(const struct fixture *fixture)
{
    struct act *act = release(fixture);

    act->purpose = PURPOSE_ROTATE;
    COPY_TEXT(act->release.order, "o-17");
    return act;
}

static struct act *receipt(const struct fixture *fixture)
{
    struct act *act = new_act(fixture, ACT_RECEIPT);

    act->purpose = PURPOSE_PROMOTE;
    COPY_TEXT(act->receipt.replica, FIXTURE_INSTANCE);
    act->receipt.grant = 12;
    act->receipt.outcome = OUTCOME_FAILED;
    act->receipt.sql_error = 15313;
    COPY_TEXT(act->receipt.detail, "The key is not encrypted using the specified decryptor.");
    return act;
}

static struct act *order(const struct fixture *fixture)
{
    struct act *act = new_act(fixture, ACT_ORDER);

    act->purpose = PURPOSE_DRILL;
    act->order.expires_in_s = 3600;
    return act;
}

static struct act *approve(const struct fixture *fixture)
{
    struct act *act = new_act(fixture, ACT_APPROVE);

    act->purpose = PURPOSE_PROMOTE;
    act->approve.request = 3;
    act->approve.object_count = 1;
    fill_signatures(act->approve.objects, 1);
    return act;
}

static struct act *publish(const struct fixture *fixture)
{
    struct act *act = new_act(fixture, ACT_PUBLISH);

    act->purpose = PURPOSE_PUBLISH;
    act->publish.roster = strdup(roster_compact(fixture->roster));
    act->publish.approvals = calloc(1, sizeof(struct approval));
    assert_non_null(act->publish.approvals);
    act->publish.approval_count = 1;
    act->publish.approvals[0] = (struct approval){.kind = TPM_APPROVAL_HOST, .epoch = 4};
    COPY_TEXT(act->publish.approvals[0].group, FIXTURE_GROUP);
    act->publish.approvals[0].pcrs.selection = 1U << 7;
    return act;
}

static struct act *rebaseline(const struct fixture *fixture)
{
    struct act *act = new_act(fixture, ACT_REBASELINE);

    act->purpose = PURPOSE_REBASELINE;
    COPY_TEXT(act->rebaseline.replica, "node-a");
    return act;
}

typedef struct act *(*make_fn)(const struct fixture *fixture);
static const make_fn makers[] = {deposit, release, receipt, order, approve, publish, rebaseline};

/* Signs an act and reads it back as the keeper does. */
static struct act *round_trip(struct fixture *fixture, const struct act *act)
{
    CLEANUP(cleanup_free) char *compact = NULL;
    struct tpm_name kid = fixture_name(fixture->agent);
    struct act *copy = NULL;

    assert_int_equal(act_sign(act, fixture->agent, &compact), ESCROW_OK);
    assert_int_equal(act_verify(compact, strlen(compact), fixture->roster, &copy), ESCROW_OK);
    assert_int_equal(copy->kind, act->kind);
    assert_int_equal(copy->purpose, act->purpose);
    assert_true(tpm_name_equal(&copy->kid, &kid));
    assert_true(tpm_name_equal(&copy->aud, &act->aud));
    assert_memory_equal(copy->nonce, act->nonce, ACT_NONCE_BYTES);
    assert_string_equal(copy->subject.group, act->subject.group);
    assert_string_equal(copy->subject.database, act->subject.database);
    assert_string_equal(copy->compact, compact);
    assert_int_equal(copy->compact_len, strlen(compact));
    return copy;
}

/* Everything but publish holds no pointer: the parts are compared as bytes. */
static void test_round_trips(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
        CLEANUP(act_free_p) struct act *act = makers[i](fixture);
        CLEANUP(act_free_p) struct act *copy = round_trip(fixture, act);

        if (act->kind != ACT_PUBLISH)
            assert_memory_equal(&copy->deposit, &act->deposit,
                                sizeof(*act) - offsetof(struct act, deposit));
    }
}

static void test_publish(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(act_free_p) struct act *act = publish(fixture);
    CLEANUP(act_free_p) struct act *whole = round_trip(fixture, act);
    CLEANUP(act_free_p) struct act *roster_only = NULL;
    CLEANUP(act_free_p) struct act *approvals_only = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;

    assert_string_equal(whole->publish.roster, act->publish.roster);
    assert_int_equal(whole->publish.approval_count, 1);
    assert_memory_equal(whole->publish.approvals, act->publish.approvals, sizeof(struct approval));

    act->publish.approval_count = 0;
    roster_only = round_trip(fixture, act);
    assert_int_equal(roster_only->publish.approval_count, 0);

    free(TAKE(act->publish.roster));
    assert_int_equal(act_sign(act, fixture->agent, &compact), ESCROW_ERR_MALFORMED);
    act->publish.approval_count = 1;
    approvals_only = round_trip(fixture, act);
    assert_null(approvals_only->publish.roster);
}

static void test_release_with_order(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(act_free_p) struct act *act = rotation(fixture);
    CLEANUP(act_free_p) struct act *copy = round_trip(fixture, act);

    assert_string_equal(copy->release.order, "o-17");
}

static void test_receipt_with_object(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(act_free_p) struct act *act = receipt(fixture);
    CLEANUP(act_free_p) struct act *copy = NULL;

    act->receipt.outcome = OUTCOME_OPENED;
    act->receipt.has_object = true;
    act->receipt.object.bytes[33] = 9;
    copy = round_trip(fixture, act);
    assert_true(copy->receipt.has_object);
    assert_true(tpm_name_equal(&copy->receipt.object, &act->receipt.object));
}

static json_t *header_of(const struct act *act, const char *header_act)
{
    return json_pack("{s:s, s:s, s:o, s:o}", "typ", "escrow-act", "act", header_act, "aud",
                     json_tpm_name(&act->aud), "nonce", json_bytes(act->nonce, ACT_NONCE_BYTES));
}

/* Signs a bent document as an honest act key would, so that only the bend can be refused. */
static enum escrow_err verify_parts(struct fixture *fixture, json_t *header, json_t *payload)
{
    CLEANUP(cleanup_free) char *compact = NULL;
    CLEANUP(act_free_p) struct act *copy = NULL;
    struct jws_signer signer;

    assert_int_equal(jws_signer_from_key(fixture->agent, &signer), ESCROW_OK);
    assert_int_equal(jws_sign(&signer, header, payload, &compact), ESCROW_OK);
    return act_verify(compact, strlen(compact), fixture->roster, &copy);
}

static enum escrow_err verify_payload(struct fixture *fixture, const struct act *act,
                                      const char *header_act, json_t *payload)
{
    CLEANUP(json_free_p) json_t *header = header_of(act, header_act);

    return verify_parts(fixture, header, payload);
}

/* Header and payload as the act key signs them; the header may be NULL. */
static json_t *signed_parts(struct fixture *fixture, const struct act *act, json_t **ret_header)
{
    static const char *const more[] = {"act", "aud", "nonce", NULL};
    CLEANUP(cleanup_free) char *compact = NULL;
    CLEANUP(jws_deinit) struct jws jws = {0};

    assert_int_equal(act_sign(act, fixture->agent, &compact), ESCROW_OK);
    assert_int_equal(jws_verify(compact, strlen(compact), "escrow-act", more, roster_act_key,
                                fixture->roster, &jws),
                     ESCROW_OK);
    if (ret_header)
        *ret_header = TAKE(jws.header);
    return TAKE(jws.payload);
}

static json_t *payload_of(struct fixture *fixture, const struct act *act)
{
    return signed_parts(fixture, act, NULL);
}

/* One of what there may be several of, and no key that is another one in every run. */
static void simplify(struct act *act)
{
    if (act->kind == ACT_DEPOSIT)
        act->deposit.blob_count = 1;
    if (act->kind == ACT_RELEASE) {
        memset(act->release.recipient.x, 7, sizeof(act->release.recipient.x));
        memset(act->release.recipient.y, 8, sizeof(act->release.recipient.y));
        act->release.object_count = 1;
    }
    if (act->kind == ACT_PUBLISH)
        COPY_TEXT(act->publish.approvals[0].group, "AG2");
    else
        COPY_TEXT(act->subject.database, "SSISDB");
}

/* What logs and backups hold for years is read by these names, and there are no others: no act
 * tells a time. */
static void test_forms(void **state)
{
    static const char *const forms[] = {
        "{'blobs':[{'duplicate':'BgYG<267>','key':'AAAAAAAAAAAAAAAAAAAAAA','seed':'AAAA<91>',"
        "'to':'0505<68>'}],'database':'SSISDB','group':'AG1','payload':'BAQE<875>',"
        "'public':'AwMD<104>','purpose':'deposit','state':'pending','v':1,'version':7}",
        "{'database':'SSISDB','group':'AG1','objects':[{'name':'0101<68>','signature':'AgIC<86>'}],"
        "'order':null,'purpose':'promote','recipient':{'x':'BwcH<43>','y':'CAgI<43>'},"
        "'replica':'sql1','v':1}",
        "{'database':'SSISDB','detail':'The <55>','grant':12,'group':'AG1','object':null,"
        "'outcome':'failed','purpose':'promote','replica':'sql1','sql_error':15313,'v':1}",
        "{'database':'SSISDB','expires_in':3600,'group':'AG1','purpose':'drill','v':1}",
        "{'database':'SSISDB','group':'AG1','objects':[{'name':'0101<68>','signature':'AgIC<86>'}],"
        "'purpose':'promote','request':3,'v':1}",
        "{'approvals':[{'counter':'0000<68>','epoch':4,'group':'AG2','kind':'host',"
        "'pcrs':{'digest':'AAAA<43>','selection':128},'signature':'AAAA<86>','v':1}],"
        "'purpose':'publish','roster':'ROSTER','v':1}",
        "{'database':'SSISDB','group':'AG1','purpose':'rebaseline','replica':'node-a','v':1}",
    };
    static const char head_form[] = "{'act':'%s','alg':'ES256','aud':'000b<68>','kid':'000b<68>',"
                                    "'nonce':'Wlpa<43>','typ':'escrow-act'}";
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
        CLEANUP(act_free_p) struct act *act = makers[i](fixture);
        CLEANUP(json_free_p) json_t *header = NULL, *payload = NULL;
        CLEANUP(cleanup_free) char *form = NULL, *head = NULL;
        char expected[256];

        simplify(act);
        payload = signed_parts(fixture, act, &header);
        if (act->kind == ACT_PUBLISH)
            json_object_set_new(payload, "roster", json_string("ROSTER"));
        form = fixture_form(payload);
        head = fixture_form(header);
        assert_string_equal(form, forms[i]);
        snprintf(expected, sizeof(expected), head_form, act_kind_word(act->kind));
        assert_string_equal(head, expected);
    }
}

/* Every member of every act, missing: refused. One more member: refused. */
static void test_exact_members(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
        CLEANUP(act_free_p) struct act *act = makers[i](fixture);
        CLEANUP(json_free_p) json_t *whole = payload_of(fixture, act);
        const char *word = act_kind_word(act->kind), *name;
        json_t *value;

        assert_int_equal(verify_payload(fixture, act, word, whole), ESCROW_OK);
        json_object_foreach(whole, name, value)
        {
            CLEANUP(json_free_p) json_t *bent = json_deep_copy(whole);

            assert_int_equal(json_object_del(bent, name), 0);
            assert_int_equal(verify_payload(fixture, act, word, bent), ESCROW_ERR_MALFORMED);
            assert_int_equal(json_object_set_new(bent, name, json_true()), 0);
            assert_int_equal(verify_payload(fixture, act, word, bent), ESCROW_ERR_MALFORMED);
        }
        assert_int_equal(json_object_set_new(whole, "extra", json_integer(1)), 0);
        assert_int_equal(verify_payload(fixture, act, word, whole), ESCROW_ERR_MALFORMED);
    }
}

/* Path of the member ("objects.0.name"), and the value that must be refused. */
static const struct bend {
    make_fn make;
    const char *path, *value;
} bends[] = {
    {deposit, "v", "2"},
    {deposit, "purpose", "\"promote\""},
    {deposit, "group", "\"A:G\""},
    {deposit, "group", "\"\""},
    {deposit, "group", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""},
    {deposit, "database", "\"\""},
    {deposit, "database", "\"a\\nb\""},
    {deposit, "version", "0"},
    {deposit, "version", "4294967296"},
    {deposit, "version", "-1"},
    {deposit, "state", "\"retired\""},
    {deposit, "state", "\"destroyed\""},
    {deposit, "payload", "\"AAAA\""},
    {deposit, "blobs", "{}"},
    {deposit, "blobs.0.key", "\"AAAA\""},
    {deposit, "blobs.0.extra", "1"},
    {deposit, "blobs.1.to",
     "\"0505050505050505050505050505050505050505050505050505050505050505"
     "0505\""},
    {release, "purpose", "\"deposit\""},
    {release, "purpose", "\"publish\""},
    {release, "purpose", "\"rebaseline\""}, /* which needs no session and no promotion */
    {release, "replica", "\"sql 1\""},
    {release, "replica", "null"},
    {rotation, "order", "\"\""},
    {rotation, "order", "\"a/b\""},
    {release, "order", "\"o-17\""}, /* of a promotion */
    {release, "recipient.z", "1"},
    {release, "recipient.x", "\"AA\""},
    {release, "objects", "[]"},
    {release, "objects.0.signature", "\"AAAA\""},
    {release, "objects.7.name",
     "\"0101010101010101010101010101010101010101010101010101010101010101"
     "0101\""},
    {receipt, "grant", "0"},
    {receipt, "sql_error", "-2147483649"},
    {receipt, "outcome", "\"\""},
    {receipt, "outcome", "\"perhaps\""},
    {receipt, "sql_error", "2147483648"},
    {receipt, "detail", "\"a\\u001bb\""},
    {order, "purpose", "\"promote\""},
    {order, "purpose", "\"rebaseline\""},
    {rebaseline, "purpose", "\"promote\""},
    {order, "expires_in", "0"},
    {order, "expires_in", "2678401"},
    {approve, "request", "0"},
    {publish, "purpose", "\"deposit\""},
    {publish, "group", "\"AG1\""},
    {publish, "roster", "\"\""},
    {publish, "approvals.0.kind", "\"node\""},
    {publish, "approvals.0.v", "2"},
    {publish, "approvals.0.pcrs.selection", "16777216"},
    {publish, "approvals.0.pcrs.selection", "0"},
};

static void test_bounds(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_LEN(bends); i++) {
        CLEANUP(act_free_p) struct act *act = bends[i].make(fixture);
        CLEANUP(json_free_p) json_t *payload = payload_of(fixture, act);

        json_path_set(payload, bends[i].path, json_loads(bends[i].value, JSON_DECODE_ANY, NULL));
        assert_int_equal(verify_payload(fixture, act, act_kind_word(act->kind), payload),
                         ESCROW_ERR_MALFORMED);
    }
}

static void test_header_bounds(void **state)
{
    static const struct {
        const char *name, *value;
    } rows[] = {
        {"nonce", ""},
        {"nonce", "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWl"},   /* 31 bytes */
        {"nonce", "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpa"}, /* 33 */
        {"nonce", "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWl="},
        {"aud", ""},
        {"aud", "000b"},
        {"act", ""},
        {"act", "Release"},
    };
    struct fixture *fixture = *state;
    CLEANUP(act_free_p) struct act *act = release(fixture);
    CLEANUP(json_free_p) json_t *payload = payload_of(fixture, act);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(json_free_p) json_t *header = header_of(act, "release");

        assert_int_equal(verify_parts(fixture, header, payload), ESCROW_OK);
        json_object_set_new(header, rows[i].name, json_string(rows[i].value));
        assert_int_equal(verify_parts(fixture, header, payload), ESCROW_ERR_MALFORMED);
    }
}

static void check_value(struct fixture *fixture, make_fn make, const char *path, json_t *value,
                        enum escrow_err expected)
{
    CLEANUP(act_free_p) struct act *act = make(fixture);
    CLEANUP(json_free_p) json_t *payload = payload_of(fixture, act);

    json_path_set(payload, path, value);
    if (verify_payload(fixture, act, act_kind_word(act->kind), payload) != expected)
        fail_msg("%s.%s", act_kind_word(act->kind), path);
}

/* What is still taken; what lies beyond is among the bends. */
static void test_numbers_at_their_bounds(void **state)
{
    static const struct {
        make_fn make;
        const char *path;
        json_int_t smallest, largest;
    } rows[] = {
        {deposit, "version", 1, UINT32_MAX},
        {receipt, "grant", 1, INT64_MAX},
        {receipt, "sql_error", INT32_MIN, INT32_MAX},
        {order, "expires_in", 1, ACT_ORDER_SECONDS_MAX},
        {approve, "request", 1, INT64_MAX},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_value(*state, rows[i].make, rows[i].path, json_integer(rows[i].smallest), ESCROW_OK);
        check_value(*state, rows[i].make, rows[i].path, json_integer(rows[i].largest), ESCROW_OK);
    }
    check_value(*state, deposit, "state", json_string("active"), ESCROW_OK);
}

/* The longest that there is room for, and one more. */
static void test_longest_texts(void **state)
{
    static const struct {
        make_fn make;
        const char *path;
        size_t longest;
    } rows[] = {
        {order, "group", NAME_MAX_BYTES},        {order, "database", ACT_DATABASE_MAX},
        {release, "replica", NAME_MAX_BYTES},    {rotation, "order", NAME_MAX_BYTES},
        {receipt, "replica", NAME_MAX_BYTES},    {receipt, "detail", ACT_DETAIL_MAX},
        {rebaseline, "replica", NAME_MAX_BYTES},
    };
    char text[ACT_DATABASE_MAX + 1];

    memset(text, 'a', sizeof(text));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_value(*state, rows[i].make, rows[i].path, json_stringn(text, rows[i].longest),
                    ESCROW_OK);
        check_value(*state, rows[i].make, rows[i].path, json_stringn(text, rows[i].longest + 1),
                    ESCROW_ERR_MALFORMED);
    }
}

static void test_longest_bytes(void **state)
{
    static const struct wrap_blob *const blob;
    static const struct {
        const char *path;
        size_t longest;
    } rows[] = {
        {"public", WRAP_PUBLIC_MAX},
        {"blobs.0.duplicate", sizeof(blob->duplicate)},
        {"blobs.0.seed", sizeof(blob->seed)},
    };
    uint8_t bytes[1024] = {0};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(rows[i].longest < sizeof(bytes));
        check_value(*state, deposit, rows[i].path, json_bytes(bytes, rows[i].longest), ESCROW_OK);
        check_value(*state, deposit, rows[i].path, json_bytes(bytes, rows[i].longest + 1),
                    ESCROW_ERR_MALFORMED);
    }
}

/* As many like the first, no two for the same Name. */
static json_t *repeated(struct fixture *fixture, make_fn make, const char *path, const char *name,
                        size_t count)
{
    CLEANUP(act_free_p) struct act *act = make(fixture);
    CLEANUP(json_free_p) json_t *payload = payload_of(fixture, act);
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++) {
        json_t *item = json_deep_copy(json_array_get(json_object_get(payload, path), 0));
        struct tpm_name other = {.bytes = {(uint8_t)(i >> 8), (uint8_t)i}};

        json_object_set_new(item, name, json_tpm_name(&other));
        json_array_append_new(array, item);
    }
    return array;
}

static void test_most_items(void **state)
{
    static const struct {
        make_fn make;
        const char *path, *name;
        size_t most;
    } rows[] = {
        {deposit, "blobs", "to", ACT_BLOBS_MAX},
        {release, "objects", "name", ACT_OBJECTS_MAX},
        {approve, "objects", "name", ACT_OBJECTS_MAX},
        {publish, "approvals", "counter", ACT_APPROVALS_MAX},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_value(*state, rows[i].make, rows[i].path,
                    repeated(*state, rows[i].make, rows[i].path, rows[i].name, rows[i].most),
                    ESCROW_OK);
        check_value(*state, rows[i].make, rows[i].path,
                    repeated(*state, rows[i].make, rows[i].path, rows[i].name, rows[i].most + 1),
                    ESCROW_ERR_MALFORMED);
    }
}

/* A signed payload of one act does not pass as another act. */
static void test_another_kind(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
        CLEANUP(act_free_p) struct act *act = makers[i](fixture);
        CLEANUP(json_free_p) json_t *payload = payload_of(fixture, act);

        for (enum act_kind kind = ACT_DEPOSIT; kind <= ACT_REBASELINE; kind++) {
            if (kind != act->kind)
                assert_int_equal(verify_payload(fixture, act, act_kind_word(kind), payload),
                                 ESCROW_ERR_MALFORMED);
        }
        assert_int_equal(verify_payload(fixture, act, "enroll", payload), ESCROW_ERR_MALFORMED);
    }
}

static void test_what_would_be_refused_is_not_signed(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(act_free_p) struct act *act = release(fixture);
    CLEANUP(cleanup_free) char *compact = NULL;

    act->subject.database[0] = '\0';
    assert_int_equal(act_sign(act, fixture->agent, &compact), ESCROW_ERR_MALFORMED);
    COPY_TEXT(act->subject.database, DATABASE);
    act->release.objects[1] = act->release.objects[0];
    assert_int_equal(act_sign(act, fixture->agent, &compact), ESCROW_ERR_MALFORMED);
    assert_null(compact);
}

/* Only keys of clients act: not the authority's, not a member's, not one that nobody knows. */
static void test_signers(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(key_free_p) EVP_PKEY *stranger = key_generate();
    EVP_PKEY *signers[] = {fixture->authority, fixture->answer[0], fixture->storage[0], stranger};
    CLEANUP(act_free_p) struct act *act = release(fixture);

    for (size_t i = 0; i < ARRAY_LEN(signers); i++) {
        CLEANUP(cleanup_free) char *compact = NULL;
        struct act *copy = NULL;

        assert_int_equal(act_sign(act, signers[i], &compact), ESCROW_OK);
        assert_int_equal(act_verify(compact, strlen(compact), fixture->roster, &copy),
                         ESCROW_ERR_NOT_FOUND);
        assert_null(copy);
    }
}

/* Without a roster, the one that the act brings along serves, if the authority signed it. */
static void test_first_publish(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(key_free_p) EVP_PKEY *stranger = key_generate();
    CLEANUP(act_free_p) struct act *act = publish(fixture);
    CLEANUP(act_free_p) struct act *other = order(fixture);
    CLEANUP(cleanup_free) char *right = NULL;
    CLEANUP(cleanup_free) char *by_stranger = NULL;
    CLEANUP(cleanup_free) char *without = NULL;
    CLEANUP(act_free_p) struct act *copy = NULL;
    CLEANUP(roster_free_p) struct roster *roster = NULL;

    assert_int_equal(act_sign(act, fixture->admin, &right), ESCROW_OK);
    assert_int_equal(act_sign(act, stranger, &by_stranger), ESCROW_OK);
    assert_int_equal(act_sign(other, fixture->admin, &without), ESCROW_OK);
    assert_int_equal(
        act_verify_first(by_stranger, strlen(by_stranger), fixture->authority, &copy, &roster),
        ESCROW_ERR_NOT_FOUND);
    assert_int_equal(act_verify_first(right, strlen(right), stranger, &copy, &roster),
                     ESCROW_ERR_CRYPTO);
    assert_int_equal(act_verify_first(without, strlen(without), fixture->authority, &copy, &roster),
                     ESCROW_ERR_MALFORMED);
    assert_null(copy);
    assert_null(roster);
    assert_int_equal(act_verify_first(right, strlen(right), fixture->authority, &copy, &roster),
                     ESCROW_OK);
    assert_int_equal(copy->kind, ACT_PUBLISH);
    assert_string_equal(roster_compact(roster), roster_compact(fixture->roster));
}

static void test_object_signatures(void **state)
{
    struct fixture *fixture = *state;
    struct ec_point one = fixture_point(fixture->agent), other = fixture_point(fixture->admin);
    struct act_signature objects[2];
    CLEANUP(key_free_p) EVP_PKEY *stranger = key_generate();

    fill_signatures(objects, 2);
    assert_int_equal(act_sign_objects(fixture->agent, &one, objects, 2), ESCROW_OK);
    assert_int_equal(act_verify_objects(fixture->agent, &one, objects, 2), ESCROW_OK);
    assert_int_equal(act_verify_objects(fixture->agent, &other, objects, 2), ESCROW_ERR_CRYPTO);
    assert_int_equal(act_verify_objects(stranger, &one, objects, 2), ESCROW_ERR_CRYPTO);
    /* One that is wrong is enough, wherever it stands. */
    for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
        const struct act_signature right = objects[i];

        objects[i].object = objects[1 - i].object;
        assert_int_equal(act_verify_objects(fixture->agent, &one, objects, 2), ESCROW_ERR_CRYPTO);
        objects[i] = right;
        objects[i].signature[5] ^= 1;
        assert_int_equal(act_verify_objects(fixture->agent, &one, objects, 2), ESCROW_ERR_CRYPTO);
        objects[i] = right;
    }
    assert_int_equal(act_verify_objects(fixture->agent, &one, objects, 2), ESCROW_OK);
}

/* The words of an enum from 1 on, as documents have them, and that each is read as its value. */
#define CHECK_WORDS(prefix, ...)                                                                   \
    do {                                                                                           \
        static const char *const words[] = {__VA_ARGS__};                                          \
                                                                                                   \
        for (unsigned i = 0; i < ARRAY_LEN(words); i++) {                                          \
            assert_string_equal(prefix##_word(i + 1), words[i]);                                   \
            assert_int_equal(prefix##_from_word(words[i]), i + 1);                                 \
        }                                                                                          \
        assert_string_equal(prefix##_word(0), "unknown");                                          \
        assert_string_equal(prefix##_word(ARRAY_LEN(words) + 1), "unknown");                       \
        assert_int_equal(prefix##_from_word("unknown"), 0);                                        \
        assert_int_equal(prefix##_from_word(""), 0);                                               \
        assert_int_equal(prefix##_from_word(NULL), 0);                                             \
    } while (0)

static void test_words(void **state)
{
    (void)state;
    CHECK_WORDS(act_kind, "deposit", "release", "receipt", "order", "approve", "publish",
                "rebaseline");
    CHECK_WORDS(act_purpose, "deposit", "promote", "rotate", "drill", "recover", "publish",
                "rebaseline");
    CHECK_WORDS(secret_state, "pending", "active", "retired", "destroyed");
    CHECK_WORDS(act_outcome, "opened", "already_open", "failed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_publish),
        cmocka_unit_test(test_release_with_order),
        cmocka_unit_test(test_receipt_with_object),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_exact_members),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_header_bounds),
        cmocka_unit_test(test_numbers_at_their_bounds),
        cmocka_unit_test(test_longest_texts),
        cmocka_unit_test(test_longest_bytes),
        cmocka_unit_test(test_most_items),
        cmocka_unit_test(test_another_kind),
        cmocka_unit_test(test_what_would_be_refused_is_not_signed),
        cmocka_unit_test(test_signers),
        cmocka_unit_test(test_first_publish),
        cmocka_unit_test(test_object_signatures),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
