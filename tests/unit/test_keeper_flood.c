/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_probers.h"
#include "libescrow/ipc_channel.h"
#include "libescrow/ipc_probe.h"
#include "libescrow/json.h"
#include "tests/unit/keeper_fixture.h"
#include "tests/unit/keeper_roster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/*
 * One identity asks for as much as it can, and another one for its release. What the other waits
 * for is counted in turns: questions that a prober answers, not time.
 */

#define FLOOD 32 /* challenges of one identity: NONCES_PER_IDENTITY */
#define B 1      /* the primary whose agent asks once */
#define AT_ONCE 2
#define MANY 64        /* requests of one identity at once */
#define LONG_MS 300000 /* longer than any test */

/* A release that is ready to be sent. */
struct prepared {
    enum fx_who who;
    EVP_PKEY *recipient;
    struct act *act;
    char *body;
};

static void prepared_deinit(struct prepared *prepared)
{
    EVP_PKEY_free(prepared->recipient);
    act_free(prepared->act);
    free(prepared->body);
}

static struct prepared prepare(struct keeper_fixture *fx, enum fx_who who)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, who, ACT_RELEASE, PURPOSE_PROMOTE);
    struct prepared prepared = {.who = who, .recipient = key_generate()};

    assert_non_null(challenge);
    prepared.act = fx_release_act(fx, who, challenge, prepared.recipient);
    prepared.body = fx_sign(fx, who, challenge, prepared.act);
    return prepared;
}

static uint64_t send_release(struct keeper_fixture *fx, const struct prepared *prepared)
{
    return fx_send(fx, ROUTE_RELEASE, fx->actors[prepared->who].identity, prepared->body);
}

/* What the keeper had been asked for when it answers this, it has asked its probers for. */
static void wait_until_asked(struct keeper_fixture *fx)
{
    fx_ask(fx, ROUTE_HEALTH, fx->actors[FX_ADMIN].identity, "");
    assert_int_equal(fx->reply.status, 200);
}

/* The probers answer nothing meanwhile, so that everything is open at once. */
static void hold_probers(struct keeper_fixture *fx, int held[static FX_REPLICAS])
{
    for (int i = 0; i < FX_REPLICAS; i++) {
        held[i] = fx->replicas[i].fd;
        fx->replicas[i].fd = -1;
    }
}

static void let_probers_go(struct keeper_fixture *fx, const int held[static FX_REPLICAS])
{
    for (int i = 0; i < FX_REPLICAS; i++)
        fx->replicas[i].fd = held[i];
}

/* Which question of the candidate's prober was the one for the session, the only one of its kind
 * there; 0: it has not come. */
static unsigned session_place;

static bool note_session(struct fx_replica *replica, const struct ipc_message *question,
                         void *argument)
{
    const unsigned *before = argument;

    if (question->type == IPC_PROBE_ASK_SESSION)
        session_place = replica->asked - *before;
    return false;
}

/*
 * Every prober has a question of each of many releases before it. The other's two come after those
 * at work, and each after one turn of the flood and of the watch.
 */
static void test_releases_of_one_do_not_delay_another(void **state)
{
    struct keeper_fixture *fx = *state;
    struct prepared flood[FLOOD];
    CLEANUP(prepared_deinit) struct prepared other = {0};
    int held[FX_REPLICAS];
    unsigned before;
    uint64_t id;

    for (int i = 0; i < FLOOD; i++)
        flood[i] = prepare(fx, FX_AGENT_A);
    other = prepare(fx, FX_AGENT_B);
    fx_set_primary(fx, B);
    hold_probers(fx, held);
    for (int i = 0; i < FLOOD; i++)
        send_release(fx, &flood[i]);
    id = send_release(fx, &other);
    wait_until_asked(fx);
    let_probers_go(fx, held);
    before = fx->replicas[B].asked;
    fx->replicas[B].argument = &before;
    fx->replicas[B].lie = note_session;
    fx_wait(fx, id);
    fx->replicas[B].lie = NULL;
    assert_int_equal(fx->reply.status, 200);
    assert_in_range(session_place, 2, AT_ONCE + 2 * (1 + 1 + 1));
    for (int i = 0; i < FLOOD; i++)
        prepared_deinit(&flood[i]);
}

static unsigned opened, answered, overloaded;

static void count_replies(struct keeper_fixture *fx, uint64_t id, const struct ipc_reply *reply)
{
    (void)fx;
    (void)id;
    answered += reply->content == IPC_CONTENT_PROBLEM;
    overloaded += reply->reason == REASON_OVERLOADED;
}

static bool are_all_answered(struct keeper_fixture *fx)
{
    (void)fx;
    return answered == opened;
}

/* Releases whose candidate answers nothing, as many as there are challenges for at once. */
static void open_releases(struct keeper_fixture *fx, unsigned count)
{
    struct prepared flood[FLOOD];

    for (unsigned i = 0; i < count; i++)
        flood[i] = prepare(fx, FX_AGENT_A);
    for (unsigned i = 0; i < count; i++) {
        send_release(fx, &flood[i]);
        prepared_deinit(&flood[i]);
    }
    opened += count;
}

/*
 * Each of them has two questions for its candidate. Once there are too many they are refused, with
 * the reason, and another identity is still asked for.
 */
static void test_questions_of_one_identity_are_bounded(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(prepared_deinit) struct prepared other = prepare(fx, FX_AGENT_B);

    opened = answered = overloaded = 0;
    fx->on_reply = count_replies;
    fx_set_primary(fx, B);
    fx->replicas[0].is_hung = true;
    /*
     * They come to their turn a few at a time, and give their questions up after a while: on a slow
     * machine those that were first are gone when the last one comes.
     */
    for (int i = 0; i < 20 && overloaded == 0; i++) {
        open_releases(fx, PROBERS_PER_ASKER / 2);
        open_releases(fx, 1);
        fx_until(fx, are_all_answered);
    }
    assert_in_range(overloaded, 1, UINT32_MAX);
    fx_wait(fx, send_release(fx, &other));
    assert_int_equal(fx->reply.status, 200);
}

/* As many requests at once as the keeper takes of one identity, for what is there to be read. */
static void flood_with_reading(struct keeper_fixture *fx)
{
    static const enum route routes[] = {ROUTE_EXPLAIN, ROUTE_REQUEST, ROUTE_STATUS, ROUTE_AUDIT};

    for (int i = 0; i < MANY; i++)
        fx_send(fx, routes[i % (int)ARRAY_LEN(routes)], fx->actors[FX_AUDITOR].identity, "");
}

/* And approvals of what is not there, each with a nonce of its own. */
static void flood_with_approvals(struct keeper_fixture *fx)
{
    for (int i = 0; i < FLOOD; i++) {
        CLEANUP(answer_free_p)
        struct answer *challenge = fx_challenge(fx, FX_ADMIN, ACT_APPROVE, PURPOSE_PROMOTE);
        CLEANUP(act_free_p) struct act *act = act_new(ACT_APPROVE);
        CLEANUP(cleanup_free) char *body = NULL;

        assert_non_null(challenge);
        act->purpose = PURPOSE_PROMOTE;
        act->approve.request = 1;
        act->approve.object_count = 1;
        body = fx_sign(fx, FX_ADMIN, challenge, act);
        fx_send(fx, ROUTE_APPROVE, fx->actors[FX_ADMIN].identity, body);
    }
}

/*
 * What readers and approvers ask for takes no turn at a prober or at the TPM: the release needs of
 * both what it needs alone, with the watch's questions and the keeper's look at its TPM in between.
 */
static void test_readers_and_approvers_take_no_turn(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(prepared_deinit) struct prepared other = {0};
    uint64_t commands, id;
    unsigned asked;
    int held[FX_REPLICAS];

    fx_set_primary(fx, B);
    fx_wait_primary(fx, "node-b");
    other = prepare(fx, FX_AGENT_B);
    commands = fx_tpm_commands(fx);
    hold_probers(fx, held);
    flood_with_reading(fx);
    flood_with_approvals(fx);
    id = send_release(fx, &other);
    wait_until_asked(fx);
    let_probers_go(fx, held);
    asked = fx->asked;
    fx_wait(fx, id);
    assert_int_equal(fx->reply.status, 200);
    assert_in_range(fx->asked - asked, 1, MANY / 2);
    assert_in_range(fx_tpm_commands(fx) - commands, 1, MANY / 2);
}

/* node-a's agent asks again, which is for admins; the number of the request. */
static uint64_t ask_admins(struct keeper_fixture *fx)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, FX_AGENT_A, recipient);
    CLEANUP(json_free_p) json_t *document = NULL;

    assert_null(grant);
    assert_int_equal(fx->reply.status, 202);
    assert_int_equal(json_parse(fx->reply.body, strlen(fx->reply.body), 4096, &document),
                     ESCROW_OK);
    return (uint64_t)json_integer_value(json_object_get(document, "request"));
}

/* Waits as this identity for what becomes of the request, or asks only; the id. */
static uint64_t look(struct keeper_fixture *fx, const char *identity, uint64_t from,
                     uint64_t wait_ms)
{
    const struct ipc_request request = {
        .route = ROUTE_REQUEST, .identity = identity, .from = from, .wait_ms = wait_ms};

    fx->last_id++;
    while (fx_try_request(fx, fx->last_id, &request) == ESCROW_ERR_TIMEOUT)
        fx_serve(fx, 10);
    return fx->last_id;
}

static void send_gone(struct keeper_fixture *fx, uint64_t id)
{
    const struct ipc_header gone = {.type = IPC_GONE, .id = id};

    while (ipc_try_send(fx->front_fd, &gone, NULL, -1) == ESCROW_ERR_TIMEOUT)
        fx_serve(fx, 10);
}

/* One identity waits in as many places as it may, and in no more; others ask meanwhile. Whose
 * client has gone takes no place. */
static void test_too_many_wait(void **state)
{
    struct keeper_fixture *fx = *state;
    const char *identity = fx->actors[FX_AUDITOR].identity;
    const uint64_t from = ask_admins(fx);
    uint64_t first;

    overloaded = 0;
    fx->on_reply = count_replies;
    first = look(fx, identity, from, LONG_MS);
    for (int i = 1; i <= MANY; i++)
        look(fx, identity, from, LONG_MS);
    fx_wait(fx, fx->last_id);
    assert_int_equal(fx->reply.reason, REASON_OVERLOADED);
    assert_int_not_equal(ask_admins(fx), 0);
    assert_int_equal(overloaded, 1);
    assert_int_equal(fx_wait(fx, look(fx, identity, from, 0))->reason, REASON_OVERLOADED);
    send_gone(fx, first);
    assert_int_equal(fx_wait(fx, look(fx, identity, from, 0))->status, 200);
}

/* And all of them together no more than front's channel has room for answers to. */
static void test_too_many_in_all(void **state)
{
    struct keeper_fixture *fx = *state;
    const char *auditor = fx->actors[FX_AUDITOR].identity;
    const uint64_t from = ask_admins(fx);
    json_t *payload = fx_roster_payload(fx, 2);

    keeper_roster_add(payload, FX_ACTORS + IPC_QUEUE_MESSAGES / MANY);
    assert_int_equal(fx_publish_roster(fx, payload, fx->authority), REASON_NONE);
    overloaded = 0;
    fx->on_reply = count_replies;
    for (size_t i = 0; i < IPC_QUEUE_MESSAGES; i++) {
        char identity[64];

        snprintf(identity, sizeof(identity), "spiffe://corp.example/crowd-%zu",
                 FX_ACTORS + i / MANY);
        look(fx, identity, from, LONG_MS);
    }
    assert_int_equal(fx_wait(fx, look(fx, auditor, from, 0))->reason, REASON_OVERLOADED);
    assert_int_equal(overloaded, 1);
    send_gone(fx, fx->last_id - 1);
    assert_int_equal(fx_wait(fx, look(fx, auditor, from, 0))->status, 200);
}

#define READY(test) cmocka_unit_test_setup_teardown(test, fx_setup_ready, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY(test_releases_of_one_do_not_delay_another),
        READY(test_questions_of_one_identity_are_bounded),
        READY(test_readers_and_approvers_take_no_turn),
        READY(test_too_many_wait),
        READY(test_too_many_in_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
