/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/ipc_probe.h"
#include "libescrow/json.h"
#include "tests/unit/keeper_fixture.h"
#include "tests/unit/wall_clock.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/*
 * A decision rests on what replicas said a moment ago. What came into the ledger since, the watch
 * or another request has seen later: who was primary before is not who has just become it.
 */

enum { A, B, C }; /* fx->replicas */

/* The question of a request, answered or kept back; questions of the watch are answered. */
struct kept {
    bool is_kept;
    uint64_t id; /* 0: it has not come yet */
    struct probe_state state;
};

static struct kept kept[FX_REPLICAS];

static bool keep(struct fx_replica *replica, const struct ipc_message *question, void *argument)
{
    struct kept *mine = argument;

    if (question->type != IPC_PROBE_ASK_STATE || mine->id)
        return false;
    mine->id = question->id;
    mine->state = replica->state;
    return mine->is_kept;
}

static bool are_asked(struct keeper_fixture *fx)
{
    (void)fx;
    return kept[A].id && kept[B].id && kept[C].id;
}

static char *release_body(struct keeper_fixture *fx, enum fx_who who)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, who, ACT_RELEASE, PURPOSE_PROMOTE);
    CLEANUP(act_free_p) struct act *act = NULL;

    assert_non_null(challenge);
    act = fx_release_act(fx, who, challenge, recipient);
    return fx_sign(fx, who, challenge, act);
}

static void begin_release(struct keeper_fixture *fx, enum fx_who who)
{
    CLEANUP(cleanup_free) char *body = release_body(fx, who);

    fx_send(fx, ROUTE_RELEASE, fx->actors[who].identity, body);
}

static struct act *rebaseline_act(const char *replica)
{
    struct act *act = act_new(ACT_REBASELINE);

    assert_non_null(act);
    act->purpose = PURPOSE_REBASELINE;
    snprintf(act->rebaseline.replica, sizeof(act->rebaseline.replica), "%s", replica);
    return act;
}

static void begin_rebaseline(struct keeper_fixture *fx, enum fx_who who)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, who, ACT_REBASELINE, PURPOSE_REBASELINE);
    CLEANUP(act_free_p) struct act *act = rebaseline_act("node-a");
    CLEANUP(cleanup_free) char *body = fx_sign(fx, who, challenge, act);

    fx_send(fx, ROUTE_REBASELINE, fx->actors[who].identity, body);
}

static void granted(struct keeper_fixture *fx, enum fx_who who, enum reason reason, uint64_t epoch)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, who, recipient);

    if (!grant)
        fx_fail("refused", reason_code(fx->reply.reason));
    assert_string_equal(reason_code(grant->grant.reason), reason_code(reason));
    assert_int_equal(grant->grant.epoch, epoch);
}

/* node-a is asked about, and says yes, as does node-c; node-b's answer is under way while it
 * becomes primary and is served. Then that answer comes, as it was. */
static void ask_during_a_failover(struct keeper_fixture *fx, enum fx_who who,
                                  void (*begin)(struct keeper_fixture *fx, enum fx_who who))
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    fx_run_with(fx, "    rival_wait: 10s\n");
    fx_wait_primary(fx, "node-a");
    memset(kept, 0, sizeof(kept));
    kept[B].is_kept = true;
    for (int i = A; i <= C; i++) {
        fx->replicas[i].argument = &kept[i];
        fx->replicas[i].lie = keep;
    }
    begin(fx, who);
    fx_until(fx, are_asked);
    fx_set_primary(fx, B);
    granted(fx, FX_AGENT_B, REASON_PROMOTION, 2);
    ipc_put_probe_state(&writer, &kept[B].state);
    assert_int_equal(
        ipc_send(fx->replicas[B].fd, IPC_PROBE_STATE, kept[B].id, &writer, FX_DEADLINE_MS),
        ESCROW_OK);
}

static void test_old_primary_asks_during_a_failover(void **state)
{
    struct keeper_fixture *fx = *state;

    ask_during_a_failover(fx, FX_AGENT_A, begin_release);
    fx_wait_count(fx, "release", "candidate_not_primary", 1);
    assert_int_equal(fx_count(fx, "release", NULL), 2);
    granted(fx, FX_AGENT_B, REASON_PROMOTION_REPEAT, 2);
}

/* Nor does an admin's word take the promotion away from who has just become primary. */
static void test_rebaseline_during_a_failover(void **state)
{
    struct keeper_fixture *fx = *state;

    ask_during_a_failover(fx, FX_ADMIN, begin_rebaseline);
    fx_wait_count(fx, "rebaseline", "candidate_not_primary", 1);
    assert_int_equal(fx_count(fx, "rebaseline", NULL), 1);
    granted(fx, FX_AGENT_B, REASON_PROMOTION_REPEAT, 2);
}

#define AT_WORK 2 /* requests that the TPM's thread has; one more waits */

static unsigned refused_count, granted_count;

static void on_reply(struct keeper_fixture *fx, uint64_t id, const struct ipc_reply *reply)
{
    (void)fx;
    (void)id;
    granted_count += reply->http_status == 200 && memmem(reply->body, reply->body_len, "answer", 6);
    refused_count += reply->http_status == 403 || reply->http_status == 503;
}

static bool are_refused(struct keeper_fixture *fx)
{
    (void)fx;
    return refused_count > AT_WORK;
}

/* node-b's releases are decided, and wait for the TPM or are with it, while node-a follows it. */
static void test_followed_while_the_tpm_works(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(act_free_p) struct act *act = rebaseline_act("node-a");
    CLEANUP(answer_free_p) struct answer *noted = NULL;
    char *bodies[AT_WORK + 1];

    fx_run_with(fx, "    rival_wait: 10s\n");
    fx_set_primary(fx, B);
    granted(fx, FX_AGENT_B, REASON_PROMOTION, 2);
    fx_wait_warm(fx);
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        bodies[i] = release_body(fx, FX_AGENT_B);
    assert_int_equal(kill(fx->swtpm.pid, SIGSTOP), 0);
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        fx_send(fx, ROUTE_RELEASE, fx->actors[FX_AGENT_B].identity, bodies[i]);
        free(bodies[i]);
    }
    fx_wait_count(fx, "release", "promotion_repeat", AT_WORK + 1);
    fx_set_primary(fx, A);
    noted = fx_act(fx, FX_ADMIN, ROUTE_REBASELINE, act);
    assert_non_null(noted);
    refused_count = granted_count = 0;
    fx->on_reply = on_reply;
    assert_int_equal(kill(fx->swtpm.pid, SIGCONT), 0);
    fx_until(fx, are_refused);
    assert_int_equal(granted_count, 0);
    fx->on_reply = NULL;
    fx_wait_count(fx, "unfinished", NULL, AT_WORK + 1);
}

/* An order is for whoever is primary; where that is not who is on record, its release begins an
 * epoch, as a promotion's does: in one epoch only one replica is granted anything. */
static bool hide_from_the_watch(struct fx_replica *replica, const struct ipc_message *question,
                                void *argument)
{
    (void)replica;
    (void)argument;
    return question->type == IPC_PROBE_ASK_STATES;
}

static void test_order_after_an_unseen_failover(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(act_free_p) struct act *order = act_new(ACT_ORDER);
    CLEANUP(act_free_p) struct act *drill = NULL;
    CLEANUP(answer_free_p) struct answer *noted = NULL, *challenge = NULL, *grant = NULL;
    CLEANUP(json_free_p) json_t *orders = NULL;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    const char *id = NULL;

    order->purpose = PURPOSE_DRILL;
    order->order.expires_in_s = 600;
    noted = fx_act(fx, FX_ADMIN, ROUTE_ORDER, order);
    assert_non_null(noted);
    fx_ask(fx, ROUTE_ORDERS, fx->actors[FX_AGENT_B].identity, "");
    orders = json_loads(fx->reply.body, 0, NULL);
    assert_int_equal(json_unpack(orders, "{s:[{s:s}]}", "orders", "order", &id), 0);

    fx->replicas[B].lie = hide_from_the_watch;
    fx_set_primary(fx, B);
    challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_DRILL);
    assert_non_null(challenge);
    drill = fx_release_act(fx, FX_AGENT_B, challenge, recipient);
    drill->purpose = PURPOSE_DRILL;
    snprintf(drill->release.order, sizeof(drill->release.order), "%s", id);
    grant = fx_act(fx, FX_AGENT_B, ROUTE_RELEASE, drill);
    assert_non_null(grant);
    assert_int_equal(grant->grant.reason, REASON_ORDERED);
    assert_int_equal(grant->grant.epoch, 2);
    granted(fx, FX_AGENT_B, REASON_PROMOTION, 2);
}

/* Until the probers are back that the keeper has lost by its sleep. */
static bool is_unproven(struct keeper_fixture *fx)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, FX_AGENT_B, recipient);

    assert_null(grant);
    return fx->reply.reason == REASON_SILENCE_UNPROVEN;
}

/* The keeper's host slept for an hour, or its keeper was held up: nobody was asked, and so nobody
 * has been silent. */
static void test_sleep_is_no_silence(void **state)
{
    struct keeper_fixture *fx = *state;

    boot_clock_move(3600000);
    fx_set_primary(fx, B);
    fx->replicas[A].is_hung = true;
    fx_until(fx, is_unproven);
}

static int set_up(void **state)
{
    boot_clock_move(0);
    return fx_setup_ready(state);
}

static int set_up_patient_pair(void **state)
{
    static const struct fx_options options = {
        .is_pair = true, .limits = "    dead_for: 60s\n", .may_lose = true};
    static struct keeper_fixture fixture;

    boot_clock_move(0);
    fx_start_with(&fixture, &options);
    *state = &fixture;
    fx_publish(&fixture);
    fx_deposit(&fixture, FX_PASSWORD);
    fx_wait_primary(&fixture, "node-a");
    return 0;
}

#define READY(test) cmocka_unit_test_setup_teardown(test, set_up, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY(test_old_primary_asks_during_a_failover),
        READY(test_rebaseline_during_a_failover),
        READY(test_followed_while_the_tpm_works),
        READY(test_order_after_an_unseen_failover),
        cmocka_unit_test_setup_teardown(test_sleep_is_no_silence, set_up_patient_pair, fx_teardown),
    };

    wall_clock_share();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
