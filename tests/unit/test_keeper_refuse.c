/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/nonce.h"
#include "libescrow/encode.h"
#include "libescrow/json.h"
#include "libescrow/rpc.h"
#include "tests/unit/keeper_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What the keeper refuses whoever front says is asking, and whatever the replicas say. */

/* Signs, posts, and returns the reason; the act is the caller's. */
static enum reason post(struct keeper_fixture *fx, enum fx_who who, enum route route,
                        const struct answer *challenge, struct act *act)
{
    CLEANUP(cleanup_free) char *body = fx_sign(fx, who, challenge, act);

    return fx_reason(fx, route, who, body);
}

static enum reason publish(struct keeper_fixture *fx, json_t *payload)
{
    return fx_publish_roster(fx, payload, fx->authority);
}

static void test_roster(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *stranger = key_generate();
    json_t *payload;

    assert_int_equal(fx_publish_roster(fx, fx_roster_payload(fx, 2), stranger),
                     REASON_ROSTER_INVALID);
    assert_int_equal(publish(fx, fx_roster_payload(fx, 1)), REASON_ROSTER_OLD);
    payload = fx_roster_payload(fx, 2);
    json_object_set_new(payload, "more", json_true());
    assert_int_equal(publish(fx, payload), REASON_ROSTER_INVALID);
    assert_int_equal(publish(fx, fx_roster_payload(fx, 3)), REASON_NONE);
    assert_int_equal(publish(fx, fx_roster_payload(fx, 2)), REASON_ROSTER_OLD);
}

/* Somebody had the authority sign another storage key for this member: it does not serve by it. */
static void test_swapped_storage_key(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *other = key_generate();
    json_t *payload = fx_roster_payload(fx, 2);
    json_t *member = json_array_get(json_object_get(payload, "members"), 0);
    const char *text = json_string_value(json_object_get(member, "storage"));
    uint8_t bytes[KEY_PUBLIC_MAX];
    struct ec_point point;
    size_t len;

    assert_int_equal(key_point(other, &point), ESCROW_OK);
    assert_int_equal(b64url_decode(text, strlen(text), bytes, sizeof(bytes), &len), ESCROW_OK);
    memcpy(bytes + len - 32, point.y, 32);
    memcpy(bytes + len - 66, point.x, 32);
    json_object_set_new(member, "storage", json_bytes(bytes, len));
    assert_int_equal(publish(fx, payload), REASON_NONE);
    assert_true(fx_lacks(fx, REASON_MEMBER_UNKNOWN));
    fx_set_primary(fx, 1);
    assert_null(fx_release(fx, FX_AGENT_B, other));
    assert_int_equal(fx->reply.reason, REASON_MEMBER_UNKNOWN);
}

static void test_first_publish_needs_an_admin_of_its_roster(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(act_free_p) struct act *act = act_new(ACT_PUBLISH);
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_AGENT_A, ACT_PUBLISH, PURPOSE_PUBLISH);

    act->purpose = PURPOSE_PUBLISH;
    act->publish.roster = strdup(roster_compact(fx->roster));
    assert_int_equal(post(fx, FX_AGENT_A, ROUTE_PUBLISH, challenge, act), REASON_ROLE_NOT_ALLOWED);
    assert_true(fx_lacks(fx, REASON_NO_ROSTER));
    assert_null(fx_challenge(fx, FX_AGENT_A, ACT_RELEASE, PURPOSE_PROMOTE));
    assert_int_equal(fx->reply.reason, REASON_NO_ROSTER);
}

static void test_unknown_act_key(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    CLEANUP(key_free_p) EVP_PKEY *stranger = key_generate();
    CLEANUP(act_free_p) struct act *act = fx_release_act(fx, FX_AGENT_B, challenge, stranger);
    EVP_PKEY *own = fx->actors[FX_AGENT_B].key;

    fx->actors[FX_AGENT_B].key = stranger;
    assert_int_equal(post(fx, FX_AGENT_B, ROUTE_RELEASE, challenge, act), REASON_KEY_UNKNOWN);
    fx->actors[FX_AGENT_B].key = own;
}

static void test_identity_audience_nonce_act(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(act_free_p) struct act *act = fx_release_act(fx, FX_AGENT_B, challenge, recipient);
    CLEANUP(cleanup_free) char *body = fx_sign(fx, FX_AGENT_B, challenge, act);

    /* B's signed act over A's channel: a stolen act is worth nothing. */
    assert_int_equal(fx_reason(fx, ROUTE_RELEASE, FX_AGENT_A, body), REASON_IDENTITY_MISMATCH);
    assert_int_equal(fx_reason(fx, ROUTE_RECEIPT, FX_AGENT_B, body), REASON_ACT_MISMATCH);
    act->aud.bytes[9] ^= 1;
    assert_int_equal(post(fx, FX_AGENT_B, ROUTE_RELEASE, challenge, act), REASON_AUDIENCE_MISMATCH);
    act->aud.bytes[9] ^= 1;
    act->nonce[0] ^= 1;
    assert_int_equal(post(fx, FX_AGENT_B, ROUTE_RELEASE, challenge, act), REASON_NONCE_INVALID);
    act->nonce[0] ^= 1;
    act->purpose = PURPOSE_DRILL;
    assert_int_equal(post(fx, FX_AGENT_B, ROUTE_RELEASE, challenge, act), REASON_NONCE_INVALID);

    /* After all that the nonce is still good, once. */
    fx_set_primary(fx, 1);
    assert_int_equal(fx_reason(fx, ROUTE_RELEASE, FX_AGENT_B, body), REASON_NONE);
    assert_int_equal(fx_reason(fx, ROUTE_RELEASE, FX_AGENT_B, body), REASON_NONCE_INVALID);
}

static void test_altered_signature(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(act_free_p) struct act *act = fx_release_act(fx, FX_AGENT_B, challenge, recipient);
    CLEANUP(cleanup_free) char *body = fx_sign(fx, FX_AGENT_B, challenge, act);
    char *signature = strrchr(body, '.') + 1;

    signature[0] = signature[0] == 'A' ? 'B' : 'A';
    assert_int_equal(fx_reason(fx, ROUTE_RELEASE, FX_AGENT_B, body), REASON_SIGNATURE_INVALID);
    assert_int_equal(fx_reason(fx, ROUTE_RELEASE, FX_AGENT_B, "{\"act\":1}"), REASON_MALFORMED);
    assert_int_equal(fx_reason(fx, ROUTE_RELEASE, FX_AGENT_B, "{"), REASON_MALFORMED);
}

static void test_release_of_what_is_not_yours(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *challenge = NULL, *admins = NULL;
    CLEANUP(act_free_p) struct act *act = NULL, *object = NULL, *point = NULL, *foreign = NULL;

    fx_set_primary(fx, 1);
    challenge = fx_challenge(fx, FX_AGENT_A, ACT_RELEASE, PURPOSE_PROMOTE);
    assert_non_null(challenge);
    act = fx_release_act(fx, FX_AGENT_A, challenge, recipient);
    snprintf(act->release.replica, sizeof(act->release.replica), "node-b");
    assert_int_equal(post(fx, FX_AGENT_A, ROUTE_RELEASE, challenge, act), REASON_REPLICA_UNKNOWN);

    answer_free(challenge);
    challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    object = fx_release_act(fx, FX_AGENT_B, challenge, recipient);
    object->release.objects[0].object.bytes[7] ^= 1;
    assert_int_equal(act_sign_objects(fx->actors[FX_AGENT_B].key, &object->release.recipient,
                                      object->release.objects, 1),
                     ESCROW_OK);
    assert_int_equal(post(fx, FX_AGENT_B, ROUTE_RELEASE, challenge, object),
                     REASON_OBJECT_MISMATCH);
    /* It is known before the replicas are asked: nothing was granted, or decided. */
    assert_int_equal(fx_count(fx, "release", NULL), 0);

    answer_free(challenge);
    challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    point = fx_release_act(fx, FX_AGENT_B, challenge, recipient);
    point->release.recipient.y[31] ^= 1;
    assert_int_equal(post(fx, FX_AGENT_B, ROUTE_RELEASE, challenge, point),
                     REASON_RECIPIENT_INVALID);

    /* A TPM signature for another recipient than the one that the act names. */
    answer_free(challenge);
    challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    foreign = fx_release_act(fx, FX_AGENT_B, challenge, recipient);
    foreign->release.objects[0].signature[3] ^= 1;
    assert_int_equal(post(fx, FX_AGENT_B, ROUTE_RELEASE, challenge, foreign),
                     REASON_SIGNATURE_INVALID);

    admins = fx_challenge(fx, FX_ADMIN, ACT_RELEASE, PURPOSE_PROMOTE);
    assert_non_null(admins);
    snprintf(act->release.replica, sizeof(act->release.replica), "node-b");
    memcpy(act->nonce, admins->nonce, sizeof(act->nonce));
    assert_int_equal(post(fx, FX_ADMIN, ROUTE_RELEASE, admins, act), REASON_ROLE_NOT_ALLOWED);
}

/* The roster has it, the policy has not: there is nobody to ask. */
static void test_replica_that_the_policy_does_not_know(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(act_free_p) struct act *act = NULL;
    json_t *payload = fx_roster_payload(fx, 2);

    json_object_set_new(json_array_get(json_object_get(payload, "keys"), FX_AGENT_A), "instances",
                        json_pack("[s]", "node-z"));
    assert_int_equal(fx_publish_roster(fx, payload, fx->authority), REASON_NONE);
    challenge = fx_challenge(fx, FX_AGENT_A, ACT_RELEASE, PURPOSE_PROMOTE);
    assert_non_null(challenge);
    act = fx_release_act(fx, FX_AGENT_A, challenge, recipient);
    snprintf(act->release.replica, sizeof(act->release.replica), "node-z");
    assert_int_equal(post(fx, FX_AGENT_A, ROUTE_RELEASE, challenge, act), REASON_REPLICA_UNKNOWN);
    fx_wait_count(fx, "refusal", "replica_unknown", 1);
    assert_int_equal(fx_count(fx, "release", NULL), 0);
}

/* Bends a right deposit; returns the reason. */
static enum reason deposit(struct keeper_fixture *fx, enum fx_who who,
                           void (*bend)(struct act_deposit *deposit))
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, who, ACT_DEPOSIT, PURPOSE_DEPOSIT);
    CLEANUP(act_free_p) struct act *act = NULL;

    assert_non_null(challenge);
    act = fx_deposit_act(fx, challenge, FX_PASSWORD);
    bend(&act->deposit);
    return post(fx, who, ROUTE_DEPOSIT, challenge, act);
}

static void bend_nothing(struct act_deposit *deposit)
{
    (void)deposit;
}

/* An attribute: the object could leave without an inner wrapper. */
static void bend_attributes(struct act_deposit *deposit)
{
    deposit->public_area[6] ^= 0x08;
}

static void bend_policy(struct act_deposit *deposit)
{
    deposit->public_area[12] ^= 1;
}

static void bend_member_blob(struct act_deposit *deposit)
{
    deposit->blobs[0].blob.duplicate[40] ^= 1;
}

static void bend_missing_recovery(struct act_deposit *deposit)
{
    deposit->blob_count = 1;
}

static void bend_missing_member(struct act_deposit *deposit)
{
    deposit->blobs[0].to.bytes[5] ^= 1;
}

static void bend_version(struct act_deposit *deposit)
{
    deposit->version++;
}

/* The last deposit as it was, but for its number. */
static struct act_deposit last_deposit;

static void bend_remember(struct act_deposit *deposit)
{
    last_deposit = *deposit;
}

static void bend_same_object(struct act_deposit *deposit)
{
    const uint32_t version = deposit->version;

    *deposit = last_deposit;
    deposit->version = version;
}

static void test_deposit(void **state)
{
    static const struct {
        void (*bend)(struct act_deposit *deposit);
        enum reason reason;
    } cases[] = {
        {bend_attributes, REASON_TEMPLATE_MISMATCH}, {bend_policy, REASON_TEMPLATE_MISMATCH},
        {bend_member_blob, REASON_BLOB_INVALID},     {bend_missing_recovery, REASON_BLOB_MISSING},
        {bend_missing_member, REASON_BLOB_MISSING},  {bend_version, REASON_VERSION_MISMATCH},
    };
    struct keeper_fixture *fx = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(deposit(fx, FX_ADMIN, cases[i].bend), cases[i].reason);
    assert_int_equal(deposit(fx, FX_AGENT_A, bend_nothing), REASON_ROLE_NOT_ALLOWED);
    assert_int_equal(deposit(fx, FX_ADMIN, bend_nothing), REASON_NONE);
    assert_int_equal(fx_count(fx, "deposit", NULL), 2);
    assert_int_equal(fx_count(fx, "refusal", "template_mismatch"), 2);
}

/* An object that is a version already, at whatever secret: the log never has what the store cannot
 * take, and what is deposited next is. */
static void test_object_twice(void **state)
{
    struct keeper_fixture *fx = *state;

    assert_int_equal(deposit(fx, FX_ADMIN, bend_remember), REASON_NONE);
    assert_int_equal(deposit(fx, FX_ADMIN, bend_same_object), REASON_VERSION_MISMATCH);
    fx->subject = &(struct act_subject){FX_GROUP, "Other"};
    assert_int_equal(deposit(fx, FX_ADMIN, bend_same_object), REASON_VERSION_MISMATCH);
    fx->subject = NULL;
    assert_false(fx_lacks(fx, REASON_STORE_UNAVAILABLE));
    assert_int_equal(deposit(fx, FX_ADMIN, bend_nothing), REASON_NONE);
    fx_kill(fx);
    fx_run(fx);
    assert_int_equal(deposit(fx, FX_ADMIN, bend_nothing), REASON_NONE);
}

static void test_approvals(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(act_free_p) struct act *act = act_new(ACT_PUBLISH);
    CLEANUP(answer_free_p) struct answer *noted = NULL;

    assert_int_equal(publish(fx, fx_roster_payload(fx, 1)), REASON_NONE);
    fx_deposit(fx, FX_PASSWORD);
    fx_wait_primary(fx, "node-a");
    fx_set_primary(fx, 1);
    assert_null(fx_release(fx, FX_AGENT_B, recipient));
    assert_int_equal(fx->reply.reason, REASON_NO_HOST_APPROVAL);

    act->purpose = PURPOSE_PUBLISH;
    act->publish.approval_count = 1;
    act->publish.approvals = calloc(1, sizeof(*act->publish.approvals));
    act->publish.approvals[0] = (struct approval){.kind = TPM_APPROVAL_HOST,
                                                  .group = FX_GROUP,
                                                  .counter = fx->counter,
                                                  .epoch = fx->epoch,
                                                  .pcrs = fx->pcrs};
    assert_int_equal(approval_sign(fx->recovery, act->publish.approvals), ESCROW_OK);
    assert_null(fx_act(fx, FX_ADMIN, ROUTE_PUBLISH, act));
    assert_int_equal(fx->reply.reason, REASON_APPROVAL_INVALID);

    /* Another member's, rightly signed. */
    act->publish.approvals[0].counter.bytes[3] ^= 1;
    assert_int_equal(approval_sign(fx->authority, act->publish.approvals), ESCROW_OK);
    memset(act->nonce, 0, sizeof(act->nonce));
    assert_null(fx_act(fx, FX_ADMIN, ROUTE_PUBLISH, act));
    assert_int_equal(fx->reply.reason, REASON_APPROVAL_INVALID);

    act->publish.approvals[0].counter.bytes[3] ^= 1;
    assert_int_equal(approval_sign(fx->authority, act->publish.approvals), ESCROW_OK);
    memset(act->nonce, 0, sizeof(act->nonce));
    noted = fx_act(fx, FX_ADMIN, ROUTE_PUBLISH, act);
    assert_non_null(noted);
    assert_null(fx_release(fx, FX_AGENT_B, recipient));
    assert_int_equal(fx->reply.reason, REASON_NO_NODE_APPROVAL);
    /* Both are known before the replicas are asked: nothing was granted, or decided. */
    assert_int_equal(fx_count(fx, "release", NULL), 0);
}

static void test_challenge(void **state)
{
    struct keeper_fixture *fx = *state;
    struct rpc_challenge wanted = {.act = ACT_RELEASE,
                                   .purpose = PURPOSE_PROMOTE,
                                   .subject = {"nowhere", FX_DATABASE},
                                   .key = fx->actors[FX_AGENT_A].name};
    CLEANUP(cleanup_free) char *group = rpc_challenge_text(&wanted);
    CLEANUP(cleanup_free) char *database = NULL, *good = NULL;

    assert_int_equal(fx_reason(fx, ROUTE_CHALLENGE, FX_AGENT_A, group), REASON_GROUP_UNKNOWN);
    wanted.subject = (struct act_subject){FX_GROUP, "nothing"};
    database = rpc_challenge_text(&wanted);
    assert_int_equal(fx_reason(fx, ROUTE_CHALLENGE, FX_AGENT_A, database), REASON_DATABASE_UNKNOWN);
    wanted.subject = (struct act_subject){FX_GROUP, FX_DATABASE};
    good = rpc_challenge_text(&wanted);
    assert_int_equal(fx_reason(fx, ROUTE_CHALLENGE, FX_AGENT_B, good), REASON_IDENTITY_MISMATCH);
}

/* Whoever has the certificate alone asks for challenges without end: the key's holder gets through.
 */
static void test_stolen_certificate_locks_nobody_out(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = NULL;
    struct rpc_challenge wanted = {.act = ACT_RELEASE,
                                   .purpose = PURPOSE_PROMOTE,
                                   .subject = {FX_GROUP, FX_DATABASE},
                                   .key = fx->actors[FX_AGENT_B].name};
    CLEANUP(cleanup_free) char *body = rpc_challenge_text(&wanted);

    fx_set_primary(fx, 1);
    for (int i = 0; i < 2 * NONCES_PER_IDENTITY; i++)
        assert_int_equal(fx_reason(fx, ROUTE_CHALLENGE, FX_AGENT_B, body), REASON_NONE);
    grant = fx_release(fx, FX_AGENT_B, recipient);
    assert_non_null(grant);
}

/* Before an identity is proved nothing is recorded one by one. */
static void test_unproved_refusals_are_summed_up(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(json_free_p) json_t *records = NULL;
    bool is_found = false;

    for (int i = 0; i < 5; i++)
        assert_int_equal(fx_reason(fx, ROUTE_RELEASE, FX_AGENT_A, "{}"), REASON_MALFORMED);
    fx_shut_down(fx);
    fx_run(fx);
    records = fx_log(fx);
    for (size_t i = 0; i < json_array_size(records); i++) {
        const json_t *record = json_array_get(records, i);

        if (strcmp(json_string_value(json_object_get(record, "event")), "unproved") != 0)
            continue;
        is_found = true;
        assert_string_equal(json_string_value(json_object_get(record, "actor")),
                            fx->actors[FX_AGENT_A].identity);
        assert_int_equal(
            json_integer_value(json_object_get(json_object_get(record, "detail"), "count")), 5);
    }
    assert_true(is_found);
    assert_int_equal(fx_count(fx, "refusal", NULL), 0);
}

#define READY(test) cmocka_unit_test_setup_teardown(test, fx_setup_ready, fx_teardown)
#define FRESH(test) cmocka_unit_test_setup_teardown(test, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY(test_roster),
        READY(test_swapped_storage_key),
        FRESH(test_first_publish_needs_an_admin_of_its_roster),
        READY(test_unknown_act_key),
        READY(test_identity_audience_nonce_act),
        READY(test_altered_signature),
        READY(test_release_of_what_is_not_yours),
        READY(test_replica_that_the_policy_does_not_know),
        READY(test_deposit),
        cmocka_unit_test_setup_teardown(test_object_twice, fx_setup_others, fx_teardown),
        FRESH(test_approvals),
        READY(test_challenge),
        READY(test_stolen_certificate_locks_nobody_out),
        READY(test_unproved_refusals_are_summed_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
