/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/ipc_probe.h"
#include "libescrow/json.h"
#include "tests/unit/keeper_fixture.h"
#include "tests/unit/wall_clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* What admins approve, whose approval counts, and for what. node-a is primary and asks again. */

/* A release that was asked for and waits for admins. */
struct asked {
    EVP_PKEY *recipient;
    struct tpm_name object;
    uint64_t number;
};

static void asked_deinit(struct asked *asked)
{
    EVP_PKEY_free(asked->recipient);
}

static uint64_t number_of(const struct fx_reply *reply)
{
    CLEANUP(json_free_p) json_t *document = NULL;

    if (reply->status != 202)
        return 0;
    assert_int_equal(json_parse(reply->body, strlen(reply->body), 4096, &document), ESCROW_OK);
    return (uint64_t)json_integer_value(json_object_get(document, "request"));
}

/* node-a's agent asks; the request's number is 0 if admins are not asked. */
static struct asked ask(struct keeper_fixture *fx)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_AGENT_A, ACT_RELEASE, PURPOSE_PROMOTE);
    struct asked asked = {.recipient = key_generate()};
    CLEANUP(answer_free_p) struct answer *grant = NULL;

    assert_non_null(challenge);
    asked.object = challenge->objects[0].name;
    grant = fx_release(fx, FX_AGENT_A, asked.recipient);
    assert_null(grant);
    asked.number = number_of(&fx->reply);
    return asked;
}

static struct act *approve_act(struct keeper_fixture *fx, enum fx_who who,
                               const struct asked *asked)
{
    struct act *act = act_new(ACT_APPROVE);
    struct ec_point recipient;

    assert_int_equal(key_point(asked->recipient, &recipient), ESCROW_OK);
    act->purpose = PURPOSE_PROMOTE;
    act->approve.request = asked->number;
    act->approve.object_count = 1;
    act->approve.objects[0].object = asked->object;
    assert_int_equal(act_sign_objects(fx->actors[who].key, &recipient, act->approve.objects, 1),
                     ESCROW_OK);
    return act;
}

static enum reason send(struct keeper_fixture *fx, enum fx_who who, struct act *act)
{
    CLEANUP(answer_free_p) struct answer *noted = fx_act(fx, who, ROUTE_APPROVE, act);

    return noted ? REASON_NONE : fx->reply.reason;
}

static enum reason approve(struct keeper_fixture *fx, enum fx_who who, const struct asked *asked)
{
    CLEANUP(act_free_p) struct act *act = approve_act(fx, who, asked);

    return send(fx, who, act);
}

/* The same agent asks again for the same; REASON_NONE: it still waits. */
static enum reason again(struct keeper_fixture *fx, const struct asked *asked)
{
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, FX_AGENT_A, asked->recipient);
    CLEANUP(secret_free_p) struct secret *password = NULL;

    if (!grant)
        return fx->reply.reason;
    password = fx_open(grant, asked->recipient);
    assert_memory_equal(password->bytes, FX_PASSWORD, password->len);
    return grant->grant.reason;
}

/* GET /v1/requests, without waiting: a member of the answer. */
static const char *member(struct keeper_fixture *fx, uint64_t number, const char *name)
{
    static char text[8192];
    const struct ipc_request request = {
        .route = ROUTE_REQUEST, .identity = fx->actors[FX_AUDITOR].identity, .from = number};
    CLEANUP(json_free_p) json_t *document = NULL;
    const json_t *value;

    assert_int_equal(fx_try_request(fx, ++fx->last_id, &request), ESCROW_OK);
    fx_wait(fx, fx->last_id);
    if (fx->reply.status != 200)
        return reason_code(fx->reply.reason);
    assert_int_equal(json_parse(fx->reply.body, strlen(fx->reply.body), 65536, &document),
                     ESCROW_OK);
    value = json_object_get(document, name);
    if (json_is_integer(value))
        snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
        snprintf(text, sizeof(text), "%s", json_is_string(value) ? json_string_value(value) : "-");
    return text;
}

static void test_two_admins(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);
    CLEANUP(act_free_p) struct act *replayed = NULL;

    assert_int_not_equal(asked.number, 0);
    assert_string_equal(member(fx, asked.number, "state"), "pending");
    assert_string_equal(member(fx, asked.number, "approvals_needed"), "2");
    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_string_equal(member(fx, asked.number, "approvals"), "1");
    assert_string_equal(member(fx, asked.number, "state"), "pending");
    /* One is not enough; asked again, it is the same request. */
    assert_int_equal(again(fx, &asked), REASON_NONE);
    assert_int_equal(number_of(&fx->reply), asked.number);
    assert_int_equal(approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    assert_string_equal(member(fx, asked.number, "state"), "approved");
    assert_int_equal(again(fx, &asked), REASON_APPROVED);
    assert_int_equal(fx_count(fx, "approve", "restart"), 2);
    assert_int_equal(fx_count(fx, "release", "approved"), 1);
    /* It is used up. */
    assert_string_equal(member(fx, asked.number, "state"), "closed");
    assert_string_equal(member(fx, asked.number, "act"), "-");
    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_REQUEST_UNKNOWN);
}

/* An admin is a person, not a key, and nobody approves what the own agent asks for. */
static void test_who_counts(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);

    assert_int_equal(approve(fx, FX_AGENT_B, &asked), REASON_ROLE_NOT_ALLOWED);
    assert_int_equal(approve(fx, FX_AUDITOR, &asked), REASON_ROLE_NOT_ALLOWED);
    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_ALREADY_APPROVED);
    assert_int_equal(approve(fx, FX_ADMIN_SPARE, &asked), REASON_ALREADY_APPROVED);
    assert_string_equal(member(fx, asked.number, "approvals"), "1");
    assert_int_equal(again(fx, &asked), REASON_NONE);
    fx_wait_count(fx, "refusal", "already_approved", 2);
}

/* One object more than was asked for, with a signature that is right. */
static void test_more_objects(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);
    CLEANUP(act_free_p) struct act *act = approve_act(fx, FX_ADMIN, &asked);
    struct ec_point recipient;

    assert_int_equal(key_point(asked.recipient, &recipient), ESCROW_OK);
    act->approve.object_count = 2;
    act->approve.objects[1].object = fx->actors[FX_ADMIN].name;
    assert_int_equal(
        act_sign_objects(fx->actors[FX_ADMIN].key, &recipient, act->approve.objects, 2), ESCROW_OK);
    assert_int_equal(send(fx, FX_ADMIN, act), REASON_OBJECT_MISMATCH);
}

/* Of an approve act whatever could be another's. */
static void test_what_is_signed(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);
    CLEANUP(act_free_p)
    struct act *other_recipient = NULL, *by_other = NULL, *object = NULL, *number = NULL,
               *purpose = NULL;
    CLEANUP(key_free_p) EVP_PKEY *stranger = key_generate();
    struct asked theirs = {stranger, asked.object, asked.number};

    other_recipient = approve_act(fx, FX_ADMIN, &theirs);
    assert_int_equal(send(fx, FX_ADMIN, other_recipient), REASON_SIGNATURE_INVALID);
    by_other = approve_act(fx, FX_ADMIN_2, &asked);
    assert_int_equal(send(fx, FX_ADMIN, by_other), REASON_SIGNATURE_INVALID);
    object = approve_act(fx, FX_ADMIN, &asked);
    object->approve.objects[0].object.bytes[9] ^= 1;
    assert_int_equal(send(fx, FX_ADMIN, object), REASON_OBJECT_MISMATCH);
    number = approve_act(fx, FX_ADMIN, &asked);
    number->approve.request++;
    assert_int_equal(send(fx, FX_ADMIN, number), REASON_REQUEST_UNKNOWN);
    purpose = approve_act(fx, FX_ADMIN, &asked);
    purpose->purpose = PURPOSE_ROTATE;
    assert_int_equal(send(fx, FX_ADMIN, purpose), REASON_REQUEST_UNKNOWN);
    assert_string_equal(member(fx, asked.number, "approvals"), "0");
    assert_string_equal(member(fx, asked.number + 7, "state"), "request_unknown");
}

/* What is approved is the request of that group and database, though its number is right. */
static void test_of_another_place(void **state)
{
    static const struct act_subject places[] = {{"other", FX_DATABASE}, {FX_GROUP, "Other"}};
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);

    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        fx->subject = &places[i];
        assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_REQUEST_UNKNOWN);
    }
    fx->subject = NULL;
    assert_string_equal(member(fx, asked.number, "approvals"), "0");
    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_string_equal(member(fx, asked.number, "approvals"), "1");
}

/* An act that was taken once is not taken again, whoever brings it. */
static void test_replayed(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_ADMIN, ACT_APPROVE, PURPOSE_PROMOTE);
    CLEANUP(act_free_p) struct act *act = approve_act(fx, FX_ADMIN, &asked);
    CLEANUP(cleanup_free) char *body = fx_sign(fx, FX_ADMIN, challenge, act);

    assert_int_equal(fx_reason(fx, ROUTE_APPROVE, FX_ADMIN_2, body), REASON_IDENTITY_MISMATCH);
    assert_int_equal(fx_reason(fx, ROUTE_ORDER, FX_ADMIN, body), REASON_ACT_MISMATCH);
    assert_int_equal(fx_reason(fx, ROUTE_APPROVE, FX_ADMIN, body), REASON_NONE);
    assert_int_equal(fx_reason(fx, ROUTE_APPROVE, FX_ADMIN, body), REASON_NONCE_INVALID);
    assert_string_equal(member(fx, asked.number, "approvals"), "1");
}

/* Another key to wrap to is another request, and nobody waits for the first any more. */
static void test_another_recipient(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);
    CLEANUP(asked_deinit) struct asked other = {0};

    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    other = ask(fx);
    assert_int_not_equal(other.number, asked.number);
    assert_string_equal(member(fx, asked.number, "state"), "closed");
    assert_string_equal(member(fx, other.number, "approvals"), "0");
    assert_int_equal(again(fx, &asked), REASON_NONE);
}

/* Approved, and then there is another primary: nothing is left of it. */
static void test_promoted_elsewhere(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);

    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    fx_set_primary(fx, 1);
    assert_int_equal(again(fx, &asked), REASON_CANDIDATE_NOT_PRIMARY);
    fx_wait_primary(fx, "node-b");
    fx_set_primary(fx, 0);
    fx_wait_primary(fx, "node-a");
    /* Served as what it is, a promotion. */
    assert_int_equal(again(fx, &asked), REASON_PROMOTION);
    assert_int_equal(fx_count(fx, "release", "approved"), 0);
}

/* What the admins have not seen they have not approved. */
static void test_second_primary_since(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);

    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    fx->replicas[2].state.role = 1;
    assert_int_equal(again(fx, &asked), REASON_NONE);
    assert_int_not_equal(number_of(&fx->reply), asked.number);
    assert_string_equal(member(fx, number_of(&fx->reply), "reason"), "rival_primary");
}

/* An admin who is gone from the roster does not count any more, nor one of other groups. */
static void test_roster_changed_since(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);
    json_t *without = fx_roster_payload(fx, 2), *limited = fx_roster_payload(fx, 3);

    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    json_array_remove(json_object_get(without, "keys"), FX_ADMIN_2);
    assert_int_equal(fx_publish_roster(fx, without, fx->authority), REASON_NONE);
    assert_string_equal(member(fx, asked.number, "approvals"), "1");
    assert_int_equal(again(fx, &asked), REASON_NONE);
    json_object_set_new(json_array_get(json_object_get(limited, "keys"), FX_ADMIN_2), "groups",
                        json_pack("[s]", "other"));
    assert_int_equal(fx_publish_roster(fx, limited, fx->authority), REASON_NONE);
    assert_string_equal(member(fx, asked.number, "approvals"), "1");
    assert_int_equal(approve(fx, FX_ADMIN_2, &asked), REASON_ROLE_NOT_ALLOWED);
    assert_int_equal(again(fx, &asked), REASON_NONE);
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
    CLEANUP(asked_deinit) struct asked asked = ask(fx);

    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    change_key(fx, 2, FX_ADMIN_2, "role", "auditor");
    assert_string_equal(member(fx, asked.number, "approvals"), "1");
    change_key(fx, 3, FX_ADMIN_2, "identity", "spiffe://corp.example/successor");
    assert_string_equal(member(fx, asked.number, "approvals"), "1");
    assert_int_equal(again(fx, &asked), REASON_NONE);
}

/* Who has an agent's key and an admin's does not approve what the own agent asks for. */
static void test_own_request(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);

    change_key(fx, 2, FX_ADMIN_SPARE, "identity", fx->actors[FX_AGENT_A].identity);
    fx->actors[FX_ADMIN_SPARE].identity = fx->actors[FX_AGENT_A].identity;
    assert_int_equal(approve(fx, FX_ADMIN_SPARE, &asked), REASON_ROLE_NOT_ALLOWED);
    assert_string_equal(member(fx, asked.number, "approvals"), "0");
}

/* It is in the log: a keeper that was killed, without its store, still has it. */
static void test_keeper_killed(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);
    char path[400];

    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    fx_kill(fx);
    snprintf(path, sizeof(path), "%s/store.sqlite", fx->config.state_folder);
    assert_int_equal(unlink(path), 0);
    fx_run(fx);
    assert_string_equal(member(fx, asked.number, "state"), "approved");
    assert_int_equal(again(fx, &asked), REASON_APPROVED);
}

/* Who waits hears of it when the last admin that is needed has approved. */
static void test_waiting(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);
    const struct ipc_request request = {.route = ROUTE_REQUEST,
                                        .identity = fx->actors[FX_AGENT_A].identity,
                                        .from = asked.number,
                                        .wait_ms = FX_DEADLINE_MS};
    struct timespec begun, now;
    uint64_t waiting;

    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_NONE);
    clock_gettime(CLOCK_BOOTTIME, &begun);
    assert_int_equal(fx_try_request(fx, waiting = ++fx->last_id, &request), ESCROW_OK);
    /* Only one reply is kept, so the approval's own is not looked at. */
    {
        CLEANUP(answer_free_p)
        struct answer *challenge = fx_challenge(fx, FX_ADMIN_2, ACT_APPROVE, PURPOSE_PROMOTE);
        CLEANUP(act_free_p) struct act *act = approve_act(fx, FX_ADMIN_2, &asked);
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

static int set_up_short(void **state)
{
    struct keeper_fixture *fx;
    int result = fx_setup_ready(state);

    fx = *state;
    fx_shut_down(fx);
    fx_run_with(fx, "    approval_expiry: 1s\n");
    fx_wait_primary(fx, "node-a");
    return result;
}

/* Who waits hears of that too; nobody approves any more, and what was approved counts no more. */
static void test_expired(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);
    struct asked later;
    const struct ipc_request request = {.route = ROUTE_REQUEST,
                                        .identity = fx->actors[FX_AGENT_A].identity,
                                        .from = asked.number,
                                        .wait_ms = FX_DEADLINE_MS};

    assert_int_equal(fx_try_request(fx, ++fx->last_id, &request), ESCROW_OK);
    fx_wait(fx, fx->last_id);
    assert_non_null(strstr(fx->reply.body, "\"state\":\"expired\""));
    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_REQUEST_EXPIRED);
    assert_int_equal(again(fx, &asked), REASON_NONE);
    later = (struct asked){asked.recipient, asked.object, number_of(&fx->reply)};
    assert_int_not_equal(later.number, asked.number);
    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_REQUEST_UNKNOWN);
    fx_wait_count(fx, "expired", "request_expired", 2);
    fx_kill(fx);
    fx_run(fx);
    assert_string_equal(member(fx, later.number, "state"), "expired");
    assert_string_equal(member(fx, later.number, "act"), "-");
    assert_int_equal(fx_count(fx, "expired", NULL), 2);
}

#define SECOND_MS 1000

static int set_up_clock(void **state)
{
    wall_clock_move(0);
    return fx_setup_ready(state);
}

/* Another escrowd has served the agent, or a person has opened the key: there is nothing to do. */
static void test_key_opens_meanwhile(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);

    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_NONE);
    wall_clock_move(16 * SECOND_MS);
    fx_wait_count(fx, "expired", "master_key_opens", 1);
    assert_string_equal(member(fx, asked.number, "state"), "closed");
    assert_string_equal(member(fx, asked.number, "act"), "-");
    assert_int_equal(approve(fx, FX_ADMIN_2, &asked), REASON_REQUEST_UNKNOWN);
    fx_kill(fx);
    fx_run(fx);
    fx_wait_primary(fx, "node-a");
    assert_string_equal(member(fx, asked.number, "state"), "closed");
    /* Whoever still wants it asks anew, and what was approved is gone. */
    assert_int_equal(again(fx, &asked), REASON_NONE);
    assert_int_not_equal(number_of(&fx->reply), asked.number);
    assert_string_equal(member(fx, number_of(&fx->reply), "approvals"), "0");
    assert_int_equal(fx_count(fx, "expired", NULL), 1);
}

/* The number of an order to drill, which another replica that says PRIMARY makes admins approve. */
static uint64_t ask_by_order(struct keeper_fixture *fx)
{
    CLEANUP(act_free_p) struct act *order = act_new(ACT_ORDER), *act = NULL;
    CLEANUP(answer_free_p) struct answer *noted = NULL, *challenge = NULL, *grant = NULL;
    CLEANUP(json_free_p) json_t *orders = NULL;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();

    order->purpose = PURPOSE_DRILL;
    order->order.expires_in_s = 600;
    noted = fx_act(fx, FX_ADMIN, ROUTE_ORDER, order);
    assert_non_null(noted);
    fx_ask(fx, ROUTE_ORDERS, fx->actors[FX_AGENT_A].identity, "");
    assert_int_equal(json_parse(fx->reply.body, strlen(fx->reply.body), 4096, &orders), ESCROW_OK);
    fx->replicas[2].state.role = 1;
    challenge = fx_challenge(fx, FX_AGENT_A, ACT_RELEASE, PURPOSE_DRILL);
    act = fx_release_act(fx, FX_AGENT_A, challenge, recipient);
    act->purpose = PURPOSE_DRILL;
    snprintf(act->release.order, sizeof(act->release.order), "%s",
             json_string_value(
                 json_object_get(json_array_get(json_object_get(orders, "orders"), 0), "order")));
    grant = fx_act(fx, FX_AGENT_A, ROUTE_RELEASE, act);
    assert_null(grant);
    fx->replicas[2].state.role = 2;
    return number_of(&fx->reply);
}

/* To rotate or to drill the master key may well open: only the younger request ends. */
static void test_key_opens_for_an_order(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t ordered = ask_by_order(fx);
    CLEANUP(asked_deinit) struct asked asked = ask(fx);

    assert_int_not_equal(ordered, 0);
    assert_true(ordered < asked.number);
    wall_clock_move(16 * SECOND_MS);
    fx_wait_count(fx, "expired", "master_key_opens", 1);
    assert_string_equal(member(fx, asked.number, "state"), "closed");
    assert_string_equal(member(fx, ordered, "state"), "pending");
}

static unsigned opens_awaited;

static bool is_asked_whether_it_opens(struct keeper_fixture *fx)
{
    return fx->replicas[0].opens_asked >= opens_awaited;
}

static void still_waits(struct keeper_fixture *fx, uint64_t number, enum probe_opens opens)
{
    fx->replicas[0].opens = opens;
    opens_awaited = fx->replicas[0].opens_asked + 3; /* others ask too, but not so often */
    fx_until(fx, is_asked_whether_it_opens);
    assert_string_equal(member(fx, number, "state"), "pending");
}

/* No answer but a yes ends a request. */
static void test_key_that_does_not_open(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);

    fx->replicas[0].opens = PROBE_OPENS_NO;
    wall_clock_move(16 * SECOND_MS);
    still_waits(fx, asked.number, PROBE_OPENS_NO);
    still_waits(fx, asked.number, PROBE_OPENS_NO_CERTIFICATE);
    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    assert_int_equal(again(fx, &asked), REASON_APPROVED);
    assert_int_equal(fx_count(fx, "expired", NULL), 0);
}

/* Who waits asks again and again: the log has one record of it, and one of each change. */
static void test_asked_again(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);
    unsigned releases = fx_count(fx, "release", NULL);

    for (int i = 0; i < 3; i++) {
        assert_int_equal(again(fx, &asked), REASON_NONE);
        assert_int_equal(number_of(&fx->reply), asked.number);
    }
    assert_int_equal(fx_count(fx, "release", NULL), releases);
    fx->replicas[2].state.role = 1;
    assert_int_equal(again(fx, &asked), REASON_NONE);
    assert_int_equal(again(fx, &asked), REASON_NONE);
    assert_int_equal(fx_count(fx, "release", NULL), releases + 1);
    assert_int_equal(fx_count(fx, "release", "rival_primary"), 1);
}

/* Both admins approve, and it is let out: the request is the one that is decided on. */
static void served(struct keeper_fixture *fx, const struct asked *asked)
{
    assert_string_equal(member(fx, asked->number, "approvals"), "0");
    assert_int_equal(approve(fx, FX_ADMIN, asked), REASON_NONE);
    assert_int_equal(approve(fx, FX_ADMIN_2, asked), REASON_NONE);
    assert_int_equal(again(fx, asked), REASON_APPROVED);
}

/* The first rule that needs admins is the same, and there is one more: they see that too. */
static void test_more_to_approve(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = {0};
    struct asked more;

    fx->replicas[0].state.quorum_state = 2; /* forced */
    asked = ask(fx);
    assert_string_equal(member(fx, asked.number, "reason"), "forced_quorum");
    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    fx->replicas[2].state.role = 1;
    assert_int_equal(again(fx, &asked), REASON_NONE);
    more = (struct asked){asked.recipient, asked.object, number_of(&fx->reply)};
    assert_int_not_equal(more.number, asked.number);
    assert_string_equal(member(fx, asked.number, "state"), "closed");
    assert_string_equal(member(fx, more.number, "reason"), "forced_quorum");
    served(fx, &more);
}

/* What was approved was of another epoch: since then the group has a new baseline. */
static void test_new_baseline(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);
    CLEANUP(act_free_p) struct act *act = act_new(ACT_REBASELINE);
    CLEANUP(answer_free_p) struct answer *noted = NULL;
    struct asked later;

    assert_int_equal(approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    act->purpose = PURPOSE_REBASELINE;
    snprintf(act->rebaseline.replica, sizeof(act->rebaseline.replica), "node-a");
    noted = fx_act(fx, FX_ADMIN, ROUTE_REBASELINE, act);
    assert_non_null(noted);
    assert_int_equal(again(fx, &asked), REASON_NONE);
    later = (struct asked){asked.recipient, asked.object, number_of(&fx->reply)};
    assert_int_not_equal(later.number, asked.number);
    assert_string_equal(member(fx, asked.number, "state"), "closed");
    assert_int_equal(fx_count(fx, "release", "approved"), 0);
    served(fx, &later);
}

/* Refused or counted with this reason, and nothing of it is among what admins see. */
static void refused(struct keeper_fixture *fx, enum reason reason)
{
    CLEANUP(asked_deinit) struct asked asked = ask(fx);

    assert_int_equal(asked.number, 0);
    assert_int_equal(fx->reply.reason, reason);
}

/* A stolen act key makes requests without end: ten a minute are recorded, the first among them. */
static void test_flood_of_requests(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked last = {0};

    for (int i = 0; i < 10; i++) {
        asked_deinit(&last);
        last = ask(fx);
        assert_int_not_equal(last.number, 0);
    }
    for (int i = 0; i < 40; i++)
        refused(fx, REASON_OVERLOADED);
    assert_int_equal(fx_count(fx, "release", "restart"), 10);
    assert_true(fx_count(fx, "refusal", "overloaded") <= 30);
    /* The next keeper knows of them too; a minute later one is heard again. */
    fx_kill(fx);
    fx_run(fx);
    fx_wait_primary(fx, "node-a");
    refused(fx, REASON_OVERLOADED);
    assert_string_equal(member(fx, last.number, "state"), "pending");
    wall_clock_move(62 * SECOND_MS);
    asked_deinit(&last);
    last = ask(fx);
    assert_int_not_equal(last.number, 0);
    assert_int_equal(approve(fx, FX_ADMIN, &last), REASON_NONE);
    assert_int_equal(approve(fx, FX_ADMIN_2, &last), REASON_NONE);
    assert_int_equal(again(fx, &last), REASON_APPROVED);
}

/* Nor does a flood keep from being recorded what somebody else asks for. */
static void test_flood_beside_another(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = NULL;

    for (int i = 0; i < 10; i++) {
        CLEANUP(asked_deinit) struct asked asked = ask(fx);

        assert_int_not_equal(asked.number, 0);
    }
    refused(fx, REASON_OVERLOADED);
    fx_set_primary(fx, 1);
    fx->replicas[2].state.role = 1;
    grant = fx_release(fx, FX_AGENT_B, recipient);
    assert_null(grant);
    assert_int_not_equal(number_of(&fx->reply), 0);
    assert_int_equal(fx_count(fx, "release", "rival_primary"), 1);
}

/* A front that was taken over has what admins and agents sent: nothing of it can be bent. */
static void test_hostile_front(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = ask(fx);
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_ADMIN, ACT_APPROVE, PURPOSE_PROMOTE);
    CLEANUP(act_free_p)
    struct act *act = approve_act(fx, FX_ADMIN, &asked), *elsewhere = NULL, *other = NULL;
    CLEANUP(cleanup_free) char *body = fx_sign(fx, FX_ADMIN, challenge, act);
    const struct ipc_request stranger = {
        .route = ROUTE_REQUEST, .identity = "spiffe://corp.example/nobody", .from = asked.number};

    for (size_t i = strlen("{\"act\":\""); i + 40 < strlen(body); i += 37) {
        char was = body[i];

        body[i] = was == 'A' ? 'B' : 'A';
        assert_int_not_equal(fx_reason(fx, ROUTE_APPROVE, FX_ADMIN, body), REASON_NONE);
        body[i] = was;
    }
    assert_string_equal(member(fx, asked.number, "approvals"), "0");
    /* For a request of this number at another escrowd. */
    elsewhere = approve_act(fx, FX_ADMIN, &asked);
    elsewhere->aud = fx->actors[FX_ADMIN].name;
    assert_int_equal(send(fx, FX_ADMIN, elsewhere), REASON_AUDIENCE_MISMATCH);
    /* With a nonce that was given for something else. */
    other = approve_act(fx, FX_ADMIN, &asked);
    {
        CLEANUP(answer_free_p)
        struct answer *order = fx_challenge(fx, FX_ADMIN, ACT_ORDER, PURPOSE_DRILL);
        CLEANUP(cleanup_free) char *mixed = fx_sign(fx, FX_ADMIN, order, other);

        assert_int_equal(fx_reason(fx, ROUTE_APPROVE, FX_ADMIN, mixed), REASON_NONCE_INVALID);
    }
    assert_int_equal(fx_try_request(fx, ++fx->last_id, &stranger), ESCROW_OK);
    assert_int_equal(fx_wait(fx, fx->last_id)->reason, REASON_IDENTITY_UNKNOWN);
    assert_string_equal(member(fx, asked.number, "approvals"), "0");
    assert_int_equal(fx_reason(fx, ROUTE_APPROVE, FX_ADMIN, body), REASON_NONE);
    assert_string_equal(member(fx, asked.number, "approvals"), "1");
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
        READY(test_another_recipient),
        READY(test_promoted_elsewhere),
        READY(test_second_primary_since),
        READY(test_roster_changed_since),
        READY(test_key_changed_since),
        READY(test_own_request),
        READY(test_keeper_killed),
        READY(test_waiting),
        READY(test_asked_again),
        READY(test_more_to_approve),
        READY(test_new_baseline),
        READY(test_hostile_front),
        cmocka_unit_test_setup_teardown(test_expired, set_up_short, fx_teardown),
        cmocka_unit_test_setup_teardown(test_flood_of_requests, set_up_clock, fx_teardown),
        READY(test_flood_beside_another),
        cmocka_unit_test_setup_teardown(test_key_opens_meanwhile, set_up_clock, fx_teardown),
        cmocka_unit_test_setup_teardown(test_key_opens_for_an_order, set_up_clock, fx_teardown),
        cmocka_unit_test_setup_teardown(test_key_that_does_not_open, set_up_clock, fx_teardown),
    };

    wall_clock_share();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
