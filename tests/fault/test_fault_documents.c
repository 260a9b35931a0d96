/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/ledger_detail.h"
#include "libescrow/act.h"
#include "libescrow/answer.h"
#include "libescrow/audit_record.h"
#include "libescrow/json.h"
#include "policy/evidence.h"
#include "tests/fault/inject.h"
#include "tests/unit/policy_scene.h"

#include <stdlib.h>

/*
 * What is signed or stored under want of memory: whole, or not at all. A document that lacks a
 * member, an item or a rule would be believed for years.
 */

#define CALLS_MAX 3000

static EVP_PKEY *key;
static struct act *act;
static struct answer *answer;
static struct scene scene;

static void fill_act(enum act_kind kind, enum act_purpose purpose)
{
    act_free(act);
    act = act_new(kind);
    act->purpose = purpose;
    scene_text(act->subject.group, "AG1");
    scene_text(act->subject.database, "SSISDB");
}

static json_t *sign_act(void)
{
    CLEANUP(cleanup_free) char *compact = NULL;
    json_t *payload = NULL;
    struct inject_report report;

    if (act_sign(act, key, &compact))
        return NULL;
    inject_disarm(&report);
    assert_int_equal(jws_unverified_payload(compact, strlen(compact), &payload), ESCROW_OK);
    return payload;
}

static json_t *sign_answer(void)
{
    CLEANUP(cleanup_free) char *compact = NULL;
    json_t *payload = NULL;
    struct jws_signer signer;
    struct inject_report report;

    if (jws_signer_from_key(key, &signer) || answer_sign(answer, &signer, &compact))
        return NULL;
    inject_disarm(&report);
    assert_int_equal(jws_unverified_payload(compact, strlen(compact), &payload), ESCROW_OK);
    return payload;
}

/* As it is read again: without memory for a text as such it is written as hex. */
static json_t *write_evidence(void)
{
    CLEANUP(json_free_p)
    json_t *document =
        policy_evidence_to_json(&scene.rules, &scene.request, &scene.facts, &scene.ledger);
    CLEANUP(cleanup_free) struct policy_evidence *read = NULL;
    struct inject_report report;

    if (!document)
        return NULL;
    inject_disarm(&report);
    assert_int_equal(policy_evidence_from_json(document, &read), ESCROW_OK);
    return policy_evidence_to_json(&read->rules, &read->request, &read->facts, &read->ledger);
}

static json_t *write_verdict(void)
{
    return policy_verdict_to_json(&scene.verdict);
}

static json_t *write_record(void)
{
    static const struct audit_record record = {.sequence = 7,
                                               .event = AUDIT_RELEASE,
                                               .actor = "spiffe://corp.example/sql1",
                                               .group = "AG1",
                                               .database = "SSISDB",
                                               .epoch = 3};
    CLEANUP(cleanup_free) char *line = NULL;
    struct inject_report report;
    size_t len;

    if (audit_record_encode(&record, &line, &len))
        return NULL;
    inject_disarm(&report);
    return json_loadb(line, len, 0, NULL);
}

static json_t *write_detail(void)
{
    const struct ledger_release release = {
        .kind = POLICY_KIND_PROMOTION,
        .has_hints = true,
        .hints = {.recovery_lsn = "42", .has_sequence_number = true, .sequence_number = 5},
        .is_wanted = true,
        .wanted = {.rules = 1U << POLICY_RULE_RIVAL | 1U << POLICY_RULE_BRAKE, .expires_ms = 9}};

    return ledger_release_detail(&release);
}

/* Each allocation fails once; what is written all the same is what is written without. */
static void check(json_t *(*write)(void))
{
    CLEANUP(json_free_p) json_t *whole = write();
    unsigned at = 0, refused = 0;
    bool is_over = false;

    assert_non_null(whole);
    while (!is_over && at++ < CALLS_MAX) {
        const struct inject_order order = {.class = INJECT_MEMORY, .at = at, .span = 1};
        CLEANUP(json_free_p) json_t *document = NULL;
        struct inject_report report;

        inject_arm(&order);
        document = write();
        inject_disarm(&report);
        if (document)
            assert_true(json_equal(document, whole));
        refused += !document;
        is_over = report.failed == 0;
    }
    assert_true(is_over && refused > 5);
}

static void test_acts(void **state)
{
    (void)state;
    fill_act(ACT_DEPOSIT, PURPOSE_DEPOSIT);
    act->deposit.version = 1;
    act->deposit.state = SECRET_ACTIVE;
    act->deposit.public_len = 78;
    act->deposit.blob_count = 2;
    for (size_t i = 0; i < act->deposit.blob_count; i++) {
        act->deposit.blobs[i].to.bytes[0] = (uint8_t)i;
        act->deposit.blobs[i].blob.duplicate_len = act->deposit.blobs[i].blob.seed_len = 60;
    }
    check(sign_act);

    fill_act(ACT_RELEASE, PURPOSE_PROMOTE);
    scene_text(act->release.replica, "sql1");
    act->release.object_count = 2;
    act->release.objects[1].object.bytes[0] = 1;
    check(sign_act);

    fill_act(ACT_PUBLISH, PURPOSE_PUBLISH);
    act->publish.roster = strdup("header.payload.signature");
    act->publish.approvals = calloc(2, sizeof(struct approval));
    act->publish.approval_count = 2;
    for (size_t i = 0; i < 2; i++) {
        act->publish.approvals[i] = (struct approval){.kind = TPM_APPROVAL_NODE,
                                                      .act_key_count = 2,
                                                      .act_keys = {{.bytes = {1}}, {.bytes = {2}}}};
        scene_text(act->publish.approvals[i].group, "AG1");
    }
    check(sign_act);
}

static void test_answers(void **state)
{
    (void)state;
    answer->challenge.act = ACT_RELEASE;
    answer->challenge.expires_in_s = 60;
    answer->challenge.next_version = 1;
    scene_text(answer->subject.group, "AG1");
    scene_text(answer->subject.database, "SSISDB");
    check(sign_answer);
}

static void test_decisions(void **state)
{
    (void)state;
    scene_init(&scene, 3, WSFC);
    scene.rules.wants_echo = true;
    scene.request.approval = (struct policy_approval){
        .count = 2, .epoch = 8, .rules = 1U << POLICY_RULE_RIVAL | 1U << POLICY_RULE_BRAKE};
    scene_decide(&scene);
    check(write_evidence);
    check(write_verdict);
}

static void test_records(void **state)
{
    (void)state;
    check(write_record);
    check(write_detail);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acts),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_records),
    };
    int failed;

    inject_init();
    inject_here();
    key = key_generate();
    answer = answer_new(ANSWER_CHALLENGE);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    EVP_PKEY_free(key);
    act_free(act);
    answer_free(answer);
    return failed;
}
