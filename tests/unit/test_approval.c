/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/approval.h"
#include "libescrow/json.h"
#include "tests/unit/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct approval host_approval(void)
{
    struct approval approval = {.kind = TPM_APPROVAL_HOST, .group = FIXTURE_GROUP, .epoch = 8};

    memset(approval.counter.bytes, 1, TPM_NAME_BYTES);
    approval.pcrs.selection = 1U << 7 | 1U << 11;
    memset(approval.pcrs.digest.bytes, 2, TPM_DIGEST_BYTES);
    return approval;
}

static struct approval node_approval(size_t act_keys)
{
    struct approval approval = {.kind = TPM_APPROVAL_NODE, .group = FIXTURE_GROUP, .epoch = 8};

    memset(approval.counter.bytes, 1, TPM_NAME_BYTES);
    approval.act_key_count = act_keys;
    for (size_t i = 0; i < act_keys; i++)
        memset(approval.act_keys[i].bytes, (int)i + 3, TPM_NAME_BYTES);
    return approval;
}

/* Signs, writes, reads, verifies. */
static void check_round_trip(const struct fixture *fixture, struct approval approval)
{
    CLEANUP(json_free_p) json_t *document = NULL;
    struct approval copy;
    struct tpm_digest policy;

    assert_int_equal(approval_sign(fixture->authority, &approval), ESCROW_OK);
    document = approval_to_json(&approval);
    assert_non_null(document);
    assert_int_equal(approval_from_json(document, &copy), ESCROW_OK);
    assert_memory_equal(&copy, &approval, sizeof(copy));
    assert_int_equal(approval_verify(&copy, fixture->authority, &policy), ESCROW_OK);
    assert_int_equal(approval_verify(&copy, fixture->admin, &policy), ESCROW_ERR_CRYPTO);
}

static void test_round_trips(void **state)
{
    struct fixture *fixture = *state;

    check_round_trip(fixture, host_approval());
    check_round_trip(fixture, node_approval(1));
    check_round_trip(fixture, node_approval(TPM_SIGNERS_MAX));
}

/* What TPM2_PolicyAuthorize is told is approved is what the fields say, and nothing if the
 * signature is not the authority's. */
static void test_approved_policy(void **state)
{
    struct fixture *fixture = *state;
    struct tpm_name authority = fixture_name(fixture->authority);
    struct approval host = host_approval(), node = node_approval(2);
    struct tpm_digest wanted, policy, untouched;

    assert_int_equal(approval_sign(fixture->authority, &host), ESCROW_OK);
    assert_int_equal(
        tpm_policy_host(&authority, FIXTURE_GROUP, &host.pcrs, &host.counter, 8, &wanted),
        ESCROW_OK);
    assert_int_equal(approval_verify(&host, fixture->authority, &policy), ESCROW_OK);
    assert_memory_equal(&policy, &wanted, sizeof(policy));

    assert_int_equal(approval_sign(fixture->authority, &node), ESCROW_OK);
    assert_int_equal(tpm_policy_quorum(node.act_keys, 2, &node.counter, 8, &wanted), ESCROW_OK);
    assert_int_equal(approval_verify(&node, fixture->authority, &policy), ESCROW_OK);
    assert_memory_equal(&policy, &wanted, sizeof(policy));

    memset(&policy, 0x5a, sizeof(policy));
    untouched = policy;
    node.signature[9] ^= 1;
    assert_int_equal(approval_verify(&node, fixture->authority, &policy), ESCROW_ERR_CRYPTO);
    assert_memory_equal(&policy, &untouched, sizeof(policy));
}

/* Every byte of a Name counts for their order, and there are no more of them than there is room. */
static void test_act_keys_at_their_bounds(void **state)
{
    struct approval most = node_approval(TPM_SIGNERS_MAX), last_byte = node_approval(2), copy;
    CLEANUP(json_free_p) json_t *document = approval_to_json(&most), *close = NULL;
    struct tpm_name one_more;

    (void)state;
    assert_int_equal(approval_from_json(document, &copy), ESCROW_OK);
    memset(one_more.bytes, TPM_SIGNERS_MAX + 3, sizeof(one_more.bytes));
    json_array_append_new(json_object_get(document, "act_keys"), json_tpm_name(&one_more));
    assert_int_equal(approval_from_json(document, &copy), ESCROW_ERR_MALFORMED);

    last_byte.act_keys[1] = last_byte.act_keys[0];
    last_byte.act_keys[1].bytes[TPM_NAME_BYTES - 1]++;
    close = approval_to_json(&last_byte);
    assert_int_equal(approval_from_json(close, &copy), ESCROW_OK);
    assert_int_equal(copy.act_key_count, 2);
}

static void test_members_at_their_bounds(void **state)
{
    struct approval approval = node_approval(1), copy;
    CLEANUP(json_free_p) json_t *document = approval_to_json(&approval);
    char name[NAME_MAX_BYTES + 2];

    (void)state;
    json_object_set_new(document, "epoch", json_integer(0));
    assert_int_equal(approval_from_json(document, &copy), ESCROW_OK);
    json_object_set_new(document, "epoch", json_integer(INT64_MAX));
    assert_int_equal(approval_from_json(document, &copy), ESCROW_OK);
    assert_true(copy.epoch == INT64_MAX);
    memset(name, 'a', sizeof(name));
    json_object_set_new(document, "group", json_stringn(name, NAME_MAX_BYTES));
    assert_int_equal(approval_from_json(document, &copy), ESCROW_OK);
    json_object_set_new(document, "group", json_stringn(name, NAME_MAX_BYTES + 1));
    assert_int_equal(approval_from_json(document, &copy), ESCROW_ERR_MALFORMED);
}

static void test_pcrs_at_their_bounds(void **state)
{
    static const struct {
        json_int_t selection;
        enum escrow_err err;
    } rows[] = {{0, ESCROW_ERR_MALFORMED},
                {1, ESCROW_OK},
                {(1 << TPM_PCRS) - 1, ESCROW_OK},
                {1 << TPM_PCRS, ESCROW_ERR_MALFORMED}};
    const struct approval host = host_approval();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(json_free_p) json_t *document = approval_pcrs_to_json(&host.pcrs);
        struct tpm_pcrs pcrs = {.selection = 77};

        json_object_set_new(document, "selection", json_integer(rows[i].selection));
        assert_int_equal(approval_pcrs_from_json(document, &pcrs), rows[i].err);
        assert_int_equal(pcrs.selection, rows[i].err ? 77 : rows[i].selection);
    }
}

static void test_forms(void **state)
{
    static const char host_form[] =
        "{'counter':'0101<68>','epoch':8,'group':'AG1','kind':'host',"
        "'pcrs':{'digest':'AgIC<43>','selection':2176},'signature':'AAAA<86>','v':1}";
    static const char node_form[] =
        "{'act_keys':['0303<68>','0404<68>'],'counter':'0101<68>','epoch':8,'group':'AG1',"
        "'kind':'node','signature':'AAAA<86>','v':1}";
    const struct approval host = host_approval(), node = node_approval(2);
    CLEANUP(json_free_p) json_t *host_document = approval_to_json(&host);
    CLEANUP(json_free_p) json_t *node_document = approval_to_json(&node);
    CLEANUP(cleanup_free) char *host_text = fixture_form(host_document);
    CLEANUP(cleanup_free) char *node_text = fixture_form(node_document);

    (void)state;
    assert_string_equal(host_text, host_form);
    assert_string_equal(node_text, node_form);
}

#define CHECK_BOUND(approval, change)                                                              \
    do {                                                                                           \
        bent = (approval);                                                                         \
        bent.change;                                                                               \
        assert_int_equal(approval_verify(&bent, fixture->authority, &policy), ESCROW_ERR_CRYPTO);  \
    } while (0)

/* A signature is for exactly one approval: whatever is changed, it does not verify. */
static void test_bound_to_every_field(void **state)
{
    struct fixture *fixture = *state;
    struct approval host = host_approval(), node = node_approval(2), bent;
    struct tpm_digest policy;

    assert_int_equal(approval_sign(fixture->authority, &host), ESCROW_OK);
    assert_int_equal(approval_sign(fixture->authority, &node), ESCROW_OK);
    CHECK_BOUND(host, group[2] = '2');
    CHECK_BOUND(host, counter.bytes[3]++);
    CHECK_BOUND(host, epoch++);
    CHECK_BOUND(host, pcrs.selection = 1U << 7);
    CHECK_BOUND(host, pcrs.digest.bytes[0]++);
    CHECK_BOUND(host, signature[0]++);
    CHECK_BOUND(node, group[2] = '2');
    CHECK_BOUND(node, counter.bytes[3]++);
    CHECK_BOUND(node, epoch--);
    CHECK_BOUND(node, act_keys[0].bytes[0]--);
    CHECK_BOUND(node, act_key_count--);
}

/* One admin must not count twice. */
static void test_keys_ascend(void **state)
{
    struct fixture *fixture = *state;
    struct approval twice = node_approval(2), descending = node_approval(2);
    struct approval none = node_approval(0), copy;
    CLEANUP(json_free_p) json_t *document = NULL;

    twice.act_keys[1] = twice.act_keys[0];
    assert_int_equal(approval_sign(fixture->authority, &twice), ESCROW_ERR_MALFORMED);
    descending.act_keys[1].bytes[0] = 0;
    assert_int_equal(approval_sign(fixture->authority, &descending), ESCROW_ERR_MALFORMED);
    assert_int_equal(approval_sign(fixture->authority, &none), ESCROW_ERR_MALFORMED);
    document = approval_to_json(&twice);
    assert_int_equal(approval_from_json(document, &copy), ESCROW_ERR_MALFORMED);
}

static void test_documents_refused(void **state)
{
    static const struct {
        const char *name, *value; /* NULL: the member is taken away */
    } bends[] = {
        {"v", "2"},          {"v", NULL},           {"kind", "\"both\""},    {"group", "\"*\""},
        {"group", NULL},     {"counter", "\"00\""}, {"epoch", "-1"},         {"epoch", "\"8\""},
        {"act_keys", "[]"},  {"act_keys", "\"a\""}, {"act_keys", "[\"a\"]"}, {"act_keys", NULL},
        {"act_keys", "[1]"}, {"pcrs", "{}"},        {"extra", "1"},          {"signature", "\"\""},
        {"signature", NULL}, {"kind", "\"host\""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bends); i++) {
        struct approval approval = node_approval(1), copy;
        CLEANUP(json_free_p) json_t *document = approval_to_json(&approval);
        json_t *value = bends[i].value ? json_loads(bends[i].value, JSON_DECODE_ANY, NULL) : NULL;

        assert_int_equal(approval_from_json(document, &copy), ESCROW_OK);
        if (value)
            assert_int_equal(json_object_set_new(document, bends[i].name, value), 0);
        else
            assert_int_equal(json_object_del(document, bends[i].name), 0);
        assert_int_equal(approval_from_json(document, &copy), ESCROW_ERR_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_approved_policy),
        cmocka_unit_test(test_act_keys_at_their_bounds),
        cmocka_unit_test(test_members_at_their_bounds),
        cmocka_unit_test(test_pcrs_at_their_bounds),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_bound_to_every_field),
        cmocka_unit_test(test_keys_ascend),
        cmocka_unit_test(test_documents_refused),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
