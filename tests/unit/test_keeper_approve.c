/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/json.h"
#include "tests/unit/keeper_asked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* Whose approval counts, and for what is signed. node-a is primary and asks again. */

static void test_two_admins(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);

    assert_int_not_equal(asked.number, 0);
    assert_string_equal(asked_member(fx, asked.number, "state"), "pending");
    assert_string_equal(asked_member(fx, asked.number, "approvals_needed"), "2");
    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_string_equal(asked_member(fx, asked.number, "approvals"), "1");
    assert_string_equal(asked_member(fx, asked.number, "state"), "pending");
    /* One is not enough; asked again, it is the same request. */
    assert_int_equal(asked_again(fx, &asked), REASON_NONE);
    assert_int_equal(asked_number(&fx->reply), asked.number);
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    assert_string_equal(asked_member(fx, asked.number, "state"), "approved");
    assert_int_equal(asked_again(fx, &asked), REASON_APPROVED);
    assert_int_equal(fx_count(fx, "approve", "restart"), 2);
    assert_int_equal(fx_count(fx, "release", "approved"), 1);
    /* It is used up. */
    assert_string_equal(asked_member(fx, asked.number, "state"), "closed");
    assert_string_equal(asked_member(fx, asked.number, "act"), "-");
    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_REQUEST_UNKNOWN);
}

/* An admin is a person, not a key, and nobody approves what the own agent asks for. */
static void test_who_counts(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);

    assert_int_equal(asked_approve(fx, FX_AGENT_B, &asked), REASON_ROLE_NOT_ALLOWED);
    assert_int_equal(asked_approve(fx, FX_AUDITOR, &asked), REASON_ROLE_NOT_ALLOWED);
    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_ALREADY_APPROVED);
    assert_int_equal(asked_approve(fx, FX_ADMIN_SPARE, &asked), REASON_ALREADY_APPROVED);
    assert_string_equal(asked_member(fx, asked.number, "approvals"), "1");
    assert_int_equal(asked_again(fx, &asked), REASON_NONE);
    fx_wait_count(fx, "refusal", "already_approved", 2);
}

/* One object more than was asked for, with a signature that is right. */
static void test_more_objects(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);
    CLEANUP(act_free_p) struct act *act = asked_approve_act(fx, FX_ADMIN, &asked);
    struct ec_point recipient;

    assert_int_equal(key_point(asked.recipient, &recipient), ESCROW_OK);
    act->approve.object_count = 2;
    act->approve.objects[1].object = fx->actors[FX_ADMIN].name;
    assert_int_equal(
        act_sign_objects(fx->actors[FX_ADMIN].key, &recipient, act->approve.objects, 2), ESCROW_OK);
    assert_int_equal(asked_send(fx, FX_ADMIN, act), REASON_OBJECT_MISMATCH);
}

/* Of an approve act whatever could be another's. */
static void test_what_is_signed(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);
    CLEANUP(act_free_p)
    struct act *other_recipient = NULL, *by_other = NULL, *object = NULL, *number = NULL,
               *purpose = NULL;
    CLEANUP(key_free_p) EVP_PKEY *stranger = key_generate();
    struct asked theirs = {stranger, asked.object, asked.number};

    other_recipient = asked_approve_act(fx, FX_ADMIN, &theirs);
    assert_int_equal(asked_send(fx, FX_ADMIN, other_recipient), REASON_SIGNATURE_INVALID);
    by_other = asked_approve_act(fx, FX_ADMIN_2, &asked);
    assert_int_equal(asked_send(fx, FX_ADMIN, by_other), REASON_SIGNATURE_INVALID);
    object = asked_approve_act(fx, FX_ADMIN, &asked);
    object->approve.objects[0].object.bytes[9] ^= 1;
    assert_int_equal(asked_send(fx, FX_ADMIN, object), REASON_OBJECT_MISMATCH);
    number = asked_approve_act(fx, FX_ADMIN, &asked);
    number->approve.request++;
    assert_int_equal(asked_send(fx, FX_ADMIN, number), REASON_REQUEST_UNKNOWN);
    purpose = asked_approve_act(fx, FX_ADMIN, &asked);
    purpose->purpose = PURPOSE_ROTATE;
    assert_int_equal(asked_send(fx, FX_ADMIN, purpose), REASON_REQUEST_UNKNOWN);
    assert_string_equal(asked_member(fx, asked.number, "approvals"), "0");
    assert_string_equal(asked_member(fx, asked.number + 7, "state"), "request_unknown");
}

/* What is approved is the request of that group and database, though its number is right. */
static void test_of_another_place(void **state)
{
    static const struct act_subject places[] = {{"other", FX_DATABASE}, {FX_GROUP, "Other"}};
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);

    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        fx->subject = &places[i];
        assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_REQUEST_UNKNOWN);
    }
    fx->subject = NULL;
    assert_string_equal(asked_member(fx, asked.number, "approvals"), "0");
    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_string_equal(asked_member(fx, asked.number, "approvals"), "1");
}

/*
 * What admins let pass for one database is no promotion that serves the next one. Both may wait at
 * the same time: what is approved of one is good though the other has begun an epoch.
 */
static void test_each_database_for_itself(void **state)
{
    static const struct act_subject other = {FX_GROUP, "Other"};
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked first = asked_ask(fx);
    CLEANUP(asked_deinit) struct asked second = {0};

    fx->subject = &other;
    fx_deposit(fx, FX_PASSWORD);
    second = asked_ask(fx);
    assert_int_not_equal(second.number, 0);
    assert_int_equal(asked_approve(fx, FX_ADMIN, &second), REASON_NONE);
    fx->subject = NULL;
    assert_int_equal(asked_approve(fx, FX_ADMIN, &first), REASON_NONE);
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, &first), REASON_NONE);
    assert_int_equal(asked_again(fx, &first), REASON_APPROVED);
    fx->subject = &other;
    assert_int_equal(asked_again(fx, &second), REASON_NONE);
    assert_int_equal(asked_number(&fx->reply), second.number);
    assert_string_equal(asked_member(fx, second.number, "reason"), "restart");
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, &second), REASON_NONE);
    assert_int_equal(asked_again(fx, &second), REASON_APPROVED);
}

/* An act that was taken once is not taken again, whoever brings it. */
static void test_replayed(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_ADMIN, ACT_APPROVE, PURPOSE_PROMOTE);
    CLEANUP(act_free_p) struct act *act = asked_approve_act(fx, FX_ADMIN, &asked);
    CLEANUP(cleanup_free) char *body = fx_sign(fx, FX_ADMIN, challenge, act);

    assert_int_equal(fx_reason(fx, ROUTE_APPROVE, FX_ADMIN_2, body), REASON_IDENTITY_MISMATCH);
    assert_int_equal(fx_reason(fx, ROUTE_ORDER, FX_ADMIN, body), REASON_ACT_MISMATCH);
    assert_int_equal(fx_reason(fx, ROUTE_APPROVE, FX_ADMIN, body), REASON_NONE);
    assert_int_equal(fx_reason(fx, ROUTE_APPROVE, FX_ADMIN, body), REASON_NONCE_INVALID);
    assert_string_equal(asked_member(fx, asked.number, "approvals"), "1");
}

/* An admin who is gone from the roster does not count any more, nor one of other groups. */
static void test_roster_changed_since(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);
    json_t *without = fx_roster_payload(fx, 2), *limited = fx_roster_payload(fx, 3);

    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    json_array_remove(json_object_get(without, "keys"), FX_ADMIN_2);
    assert_int_equal(fx_publish_roster(fx, without, fx->authority), REASON_NONE);
    assert_string_equal(asked_member(fx, asked.number, "approvals"), "1");
    assert_int_equal(asked_again(fx, &asked), REASON_NONE);
    json_object_set_new(json_array_get(json_object_get(limited, "keys"), FX_ADMIN_2), "groups",
                        json_pack("[s]", "other"));
    assert_int_equal(fx_publish_roster(fx, limited, fx->authority), REASON_NONE);
    assert_string_equal(asked_member(fx, asked.number, "approvals"), "1");
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, &asked), REASON_ROLE_NOT_ALLOWED);
    assert_int_equal(asked_again(fx, &asked), REASON_NONE);
}

/* Sets a member of an actor's key in a roster of this version, and publishes that. */
static void change_key(struct keeper_fixture *fx, unsigned version, enum fx_who who,
                       const char *name, const char *value)
{
    json_t *payload = fx_roster_payload(fx, version);

    json_object_set_new(json_array_get(json_object_get(payload, "keys"), who), name,
                        json_string(value));
    assert_int_equal(fx_publish_roster(fx, payload, fx->authority), REASON_NONE);
}

/* Nor one who is no admin any more, or whose key is somebody else's now. */
static void test_key_changed_since(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);

    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    change_key(fx, 2, FX_ADMIN_2, "role", "auditor");
    assert_string_equal(asked_member(fx, asked.number, "approvals"), "1");
    change_key(fx, 3, FX_ADMIN_2, "identity", "spiffe://corp.example/successor");
    assert_string_equal(asked_member(fx, asked.number, "approvals"), "1");
    assert_int_equal(asked_again(fx, &asked), REASON_NONE);
}

/* Who has an agent's key and an admin's does not approve what the own agent asks for. */
static void test_own_request(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);

    change_key(fx, 2, FX_ADMIN_SPARE, "identity", fx->actors[FX_AGENT_A].identity);
    fx->actors[FX_ADMIN_SPARE].identity = fx->actors[FX_AGENT_A].identity;
    assert_int_equal(asked_approve(fx, FX_ADMIN_SPARE, &asked), REASON_ROLE_NOT_ALLOWED);
    assert_string_equal(asked_member(fx, asked.number, "approvals"), "0");
}

/* It is in the log: a keeper that was killed, without its store, still has it. */
static void test_keeper_killed(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);
    char path[400];

    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    fx_kill(fx);
    snprintf(path, sizeof(path), "%s/store.sqlite", fx->config.state_folder);
    assert_int_equal(unlink(path), 0);
    fx_run(fx);
    assert_string_equal(asked_member(fx, asked.number, "state"), "approved");
    assert_int_equal(asked_again(fx, &asked), REASON_APPROVED);
}

/* Who waits hears of it when the last admin that is needed has approved. */
static void test_waiting(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);
    const struct ipc_request request = {.route = ROUTE_REQUEST,
                                        .identity = fx->actors[FX_AGENT_A].identity,
                                        .from = asked.number,
                                        .wait_ms = FX_DEADLINE_MS};
    struct timespec begun, now;
    uint64_t waiting;

    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_NONE);
    clock_gettime(CLOCK_BOOTTIME, &begun);
    assert_int_equal(fx_try_request(fx, waiting = ++fx->last_id, &request), ESCROW_OK);
    /* Only one reply is kept, so the approval's own is not looked at. */
    {
        CLEANUP(answer_free_p)
        struct answer *challenge = fx_challenge(fx, FX_ADMIN_2, ACT_APPROVE, PURPOSE_PROMOTE);
        CLEANUP(act_free_p) struct act *act = asked_approve_act(fx, FX_ADMIN_2, &asked);
        CLEANUP(cleanup_free) char *body = fx_sign(fx, FX_ADMIN_2, challenge, act);

        fx_send(fx, ROUTE_APPROVE, fx->actors[FX_ADMIN_2].identity, body);
    }
    fx_wait(fx, waiting);
    assert_int_equal(fx->reply.status, 200);
    assert_non_null(strstr(fx->reply.body, "\"state\":\"approved\""));
    /* Not by the end of its wait. */
    clock_gettime(CLOCK_BOOTTIME, &now);
    assert_in_range(now.tv_sec - begun.tv_sec, 0, FX_DEADLINE_MS / 1000 / 2);
}

/* A front that was taken over has what admins and agents sent: nothing of it can be bent. */
static void test_hostile_front(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_ADMIN, ACT_APPROVE, PURPOSE_PROMOTE);
    CLEANUP(act_free_p)
    struct act *act = asked_approve_act(fx, FX_ADMIN, &asked), *elsewhere = NULL, *other = NULL;
    CLEANUP(cleanup_free) char *body = fx_sign(fx, FX_ADMIN, challenge, act);
    const struct ipc_request stranger = {
        .route = ROUTE_REQUEST, .identity = "spiffe://corp.example/nobody", .from = asked.number};

    for (size_t i = strlen("{\"act\":\""); i + 40 < strlen(body); i += 37) {
        char was = body[i];

        body[i] = was == 'A' ? 'B' : 'A';
        assert_int_not_equal(fx_reason(fx, ROUTE_APPROVE, FX_ADMIN, body), REASON_NONE);
        body[i] = was;
    }
    assert_string_equal(asked_member(fx, asked.number, "approvals"), "0");
    /* For a request of this number at another escrowd. */
    elsewhere = asked_approve_act(fx, FX_ADMIN, &asked);
    elsewhere->aud = fx->actors[FX_ADMIN].name;
    assert_int_equal(asked_send(fx, FX_ADMIN, elsewhere), REASON_AUDIENCE_MISMATCH);
    /* With a nonce that was given for something else. */
    other = asked_approve_act(fx, FX_ADMIN, &asked);
    {
        CLEANUP(answer_free_p)
        struct answer *order = fx_challenge(fx, FX_ADMIN, ACT_ORDER, PURPOSE_DRILL);
        CLEANUP(cleanup_free) char *mixed = fx_sign(fx, FX_ADMIN, order, other);

        assert_int_equal(fx_reason(fx, ROUTE_APPROVE, FX_ADMIN, mixed), REASON_NONCE_INVALID);
    }
    assert_int_equal(fx_try_request(fx, ++fx->last_id, &stranger), ESCROW_OK);
    assert_int_equal(fx_wait(fx, fx->last_id)->reason, REASON_IDENTITY_UNKNOWN);
    assert_string_equal(asked_member(fx, asked.number, "approvals"), "0");
    assert_int_equal(fx_reason(fx, ROUTE_APPROVE, FX_ADMIN, body), REASON_NONE);
    assert_string_equal(asked_member(fx, asked.number, "approvals"), "1");
}

#define READY(test) cmocka_unit_test_setup_teardown(test, fx_setup_ready, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY(test_two_admins),
        READY(test_who_counts),
        READY(test_what_is_signed),
        READY(test_more_objects),
        READY(test_replayed),
        cmocka_unit_test_setup_teardown(test_of_another_place, fx_setup_others, fx_teardown),
        cmocka_unit_test_setup_teardown(test_each_database_for_itself, fx_setup_others,
                                        fx_teardown),
        READY(test_roster_changed_since),
        READY(test_key_changed_since),
        READY(test_own_request),
        READY(test_keeper_killed),
        READY(test_waiting),
        READY(test_hostile_front),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
