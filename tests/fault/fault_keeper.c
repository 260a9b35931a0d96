/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/fault_keeper.h"

#include "libescrow/json.h"
#include "tests/fault/sanitizer_exit.h"
#include "tests/unit/wall_clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Longer than a keeper needs for any work here that it answers at all. */
#define FRONT_MS 4000
/* The keeper takes ten new requests for an approval within a minute. */
#define REQUEST_MS (60000 / 8)

/* ---- the work ---- */

static void acknowledge(struct fault_world *world, const struct answer *answer, const char *event)
{
    oracle_acknowledge(world->oracle, answer->sequence, event, world->fx.last_act, inject_synced());
    world->served++;
}

bool fault_deposit(struct fault_world *world)
{
    struct keeper_fixture *fx = &world->fx;
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_ADMIN, ACT_DEPOSIT, PURPOSE_DEPOSIT);
    CLEANUP(act_free_p) struct act *act = NULL;
    CLEANUP(answer_free_p) struct answer *durable = NULL;
    CLEANUP(cleanup_free) char *body = NULL;

    if (!challenge)
        return false;
    act = fx_deposit_act(fx, challenge, FX_PASSWORD);
    body = fx_sign(fx, FX_ADMIN, challenge, act);
    durable = fx_finish(fx, FX_ADMIN, ROUTE_DEPOSIT, body, act);
    if (!durable)
        return false;
    if (durable->durable.version != challenge->challenge.next_version)
        fx_fail("another version was acknowledged", "");
    acknowledge(world, durable, "deposit");
    return true;
}

/* What the TPM does with the new version before anybody asks for it is a part of this. */
bool fault_warm_up(struct fault_world *world)
{
    return fault_deposit(world) && fx_try_warm(&world->fx, FRONT_MS);
}

static enum fx_who agent_of(int primary)
{
    return primary == 0 ? FX_AGENT_A : FX_AGENT_B;
}

/* A release to the primary, opened; NULL if it was not granted. */
static struct answer *release(struct fault_world *world)
{
    struct keeper_fixture *fx = &world->fx;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    struct answer *grant = fx_release(fx, agent_of(world->primary), recipient);
    CLEANUP(secret_free_p) struct secret *password = NULL;

    if (!grant)
        return NULL;
    acknowledge(world, grant, "release");
    world->is_granted = true;
    password = fx_open(grant, recipient);
    if (password->len != strlen(FX_PASSWORD) ||
        memcmp(password->bytes, FX_PASSWORD, password->len) != 0)
        fx_fail("released", "another password");
    return grant;
}

/* A failover, unless the primary still waits for its grant. */
static void promote_other(struct fault_world *world)
{
    if (!world->is_granted)
        return;
    world->is_granted = false;
    world->primary = 1 - world->primary;
    fx_set_primary(&world->fx, world->primary);
}

bool fault_release(struct fault_world *world)
{
    CLEANUP(answer_free_p) struct answer *grant = NULL;

    promote_other(world);
    grant = release(world);
    return grant != NULL;
}

bool fault_receipt(struct fault_world *world)
{
    struct keeper_fixture *fx = &world->fx;
    CLEANUP(act_free_p) struct act *act = act_new(ACT_RECEIPT);
    CLEANUP(answer_free_p) struct answer *grant = NULL;
    CLEANUP(answer_free_p) struct answer *noted = NULL;

    promote_other(world);
    grant = release(world);
    if (!grant)
        return false;
    act->purpose = PURPOSE_PROMOTE;
    memcpy(act->receipt.replica, grant->grant.replica, sizeof(act->receipt.replica));
    act->receipt.grant = grant->sequence;
    act->receipt.outcome = OUTCOME_OPENED;
    noted = fx_act(fx, agent_of(world->primary), ROUTE_RECEIPT, act);
    if (noted)
        acknowledge(world, noted, "receipt");
    return noted != NULL;
}

bool fault_order(struct fault_world *world)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_ORDER);
    CLEANUP(answer_free_p) struct answer *noted = NULL;

    act->purpose = PURPOSE_DRILL;
    act->order.expires_in_s = 600;
    noted = fx_act(&world->fx, FX_ADMIN, ROUTE_ORDER, act);
    if (noted)
        acknowledge(world, noted, "order");
    return noted != NULL;
}

/* Admins are asked for it; false: they are not, or not as they should be. */
static bool approve(struct fault_world *world, EVP_PKEY *recipient, const struct answer *challenge)
{
    static const enum fx_who admins[] = {FX_ADMIN, FX_ADMIN_2};
    struct keeper_fixture *fx = &world->fx;
    CLEANUP(json_free_p) json_t *said = NULL;
    struct ec_point point;

    if (fx->reply.status != 202 || key_point(recipient, &point) ||
        json_parse(fx->reply.body, strlen(fx->reply.body), 4096, &said))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(admins); i++) {
        CLEANUP(act_free_p) struct act *act = act_new(ACT_APPROVE);
        CLEANUP(answer_free_p) struct answer *noted = NULL;

        act->purpose = PURPOSE_PROMOTE;
        act->approve.request = (uint64_t)json_integer_value(json_object_get(said, "request"));
        act->approve.object_count = 1;
        act->approve.objects[0].object = challenge->objects[0].name;
        if (act_sign_objects(fx->actors[admins[i]].key, &point, act->approve.objects, 1))
            fx_fail("act_sign_objects", "failed");
        noted = fx_act(fx, admins[i], ROUTE_APPROVE, act);
        if (!noted)
            return false;
        acknowledge(world, noted, "approve");
    }
    return true;
}

/* The other one says that it is primary too, so that every release is the admins' to approve. */
bool fault_approve(struct fault_world *world)
{
    struct keeper_fixture *fx = &world->fx;
    const int rival = 1 - world->primary;
    const enum fx_who agent = agent_of(world->primary);
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(answer_free_p) struct answer *grant = NULL;
    const int32_t role = fx->replicas[rival].state.role;

    wall_clock_move(++world->requests * REQUEST_MS);
    fx->replicas[rival].state.role = 1;
    challenge = fx_challenge(fx, agent, ACT_RELEASE, PURPOSE_PROMOTE);
    if (challenge)
        grant = fx_release(fx, agent, recipient);
    if (grant)
        fx_fail("released", "without the approval that it needs");
    if (challenge && approve(world, recipient, challenge))
        grant = fx_release(fx, agent, recipient);
    fx->replicas[rival].state.role = role;
    if (!grant)
        return false;
    acknowledge(world, grant, "release");
    world->is_granted = true;
    return true;
}

bool fault_rebaseline(struct fault_world *world)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_REBASELINE);
    CLEANUP(answer_free_p) struct answer *noted = NULL;

    act->purpose = PURPOSE_REBASELINE;
    snprintf(act->rebaseline.replica, sizeof(act->rebaseline.replica), "%s",
             world->fx.replicas[world->primary].instance);
    noted = fx_act(&world->fx, FX_ADMIN, ROUTE_REBASELINE, act);
    if (!noted)
        return false;
    acknowledge(world, noted, "rebaseline");
    /* Nothing is owed for the promotion of before. */
    world->is_granted = true;
    return true;
}

bool fault_publish(struct fault_world *world)
{
    struct keeper_fixture *fx = &world->fx;
    CLEANUP(json_free_p) json_t *payload = fx_roster_payload(fx, ++world->rosters);
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    CLEANUP(act_free_p) struct act *act = act_new(ACT_PUBLISH);
    CLEANUP(answer_free_p) struct answer *noted = NULL;

    if (roster_sign(payload, fx->authority, &roster))
        fx_fail("roster_sign", "failed");
    act->purpose = PURPOSE_PUBLISH;
    act->publish.roster = strdup(roster_compact(roster));
    noted = fx_act(fx, FX_ADMIN, ROUTE_PUBLISH, act);
    if (noted)
        acknowledge(world, noted, "publish");
    return noted != NULL;
}

bool fault_queries(struct fault_world *world)
{
    static const enum route routes[] = {ROUTE_HEALTH, ROUTE_ROSTER, ROUTE_SECRETS, ROUTE_STATUS,
                                        ROUTE_AUDIT};
    struct keeper_fixture *fx = &world->fx;
    bool is_served = true;

    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        fx_ask(fx, routes[i], fx->actors[FX_AUDITOR].identity, "");
        is_served = is_served && fx->reply.status == 200;
    }
    return is_served;
}

/* ---- the world ---- */

/*
 * Where every call on a socket fails the keeper cannot say that it is ready, as a kernel without
 * memory would have it. It goes on trying, and the supervisor (which has two minutes for it) waits;
 * so do we, and then there is memory again.
 */
static void end_failures(void)
{
    struct inject_report report;

    inject_disarm(&report);
}

void fault_world_open(struct fault_world *world)
{
    const struct fx_options options = {
        .limits = "    brake: 1000\n    retries: 100\n",
        .in_keeper = inject_here,
        .on_slow = end_failures,
        .front_ms = FRONT_MS,
        .may_lose = true,
    };

    memset(world, 0, sizeof(*world));
    inject_forget_synced();
    fx_start_with(&world->fx, &options);
    world->oracle = oracle_new(world->fx.config.audit_folder);
    world->is_granted = true;
}

void fault_world_start(struct fault_world *world)
{
    fault_world_open(world);
    world->rosters = 1;
    fx_publish(&world->fx);
    if (!fault_deposit(world))
        fx_fail("the first deposit was refused", reason_code(world->fx.reply.reason));
    fx_wait_primary(&world->fx, "node-a");
}

void fault_world_close(struct fault_world *world)
{
    fx_stop(&world->fx);
    oracle_free(world->oracle);
}

void fault_world_stop(struct fault_world *world)
{
    fault_judge(world);
    fault_world_close(world);
}

/* The supervisor's view of a keeper that ended by itself: it may, but not by a fault of its own. */
static void check_exit(struct fault_world *world)
{
    struct keeper_fixture *fx = &world->fx;

    if (!WIFEXITED(fx->exit_status))
        fx_fail("the keeper died", strsignal(WTERMSIG(fx->exit_status)));
    if (WEXITSTATUS(fx->exit_status) >= SANITIZER_EXIT || WEXITSTATUS(fx->exit_status) == 0)
        fx_fail("the keeper ended", "with a sanitizer's report, or as if told to");
}

static void restart(struct fault_world *world)
{
    if (world->fx.pid)
        fx_shut_down(&world->fx);
    fx_run(&world->fx);
}

static void wait_well(struct fault_world *world)
{
    struct keeper_fixture *fx = &world->fx;

    for (int i = 0; i < 200; i++) {
        if (!fx->pid) {
            check_exit(world);
            fx_run(fx);
        }
        fx_ask(fx, ROUTE_HEALTH, fx->actors[FX_AUDITOR].identity, "");
        if (fx->reply.status == 200)
            return;
        fx_serve(fx, 50);
    }
    fx_fail("the keeper is not ready again", fx->status);
}

/* Nothing fails any more. */
static void recover(struct fault_world *world, fault_work work)
{
    struct keeper_fixture *fx = &world->fx;

    wait_well(world);
    if (!work(world))
        fx_fail("honest work was refused", reason_code(fx->reply.reason));
}

struct inject_report fault_try(struct fault_world *world, fault_work work,
                               const struct inject_order *order)
{
    const unsigned late = world->fx.late;
    struct inject_report report;

    inject_arm(order);
    (void)work(world);
    inject_disarm(&report);
    if (world->fx.late != late && order->at && order->span == 1)
        fx_fail("no answer after one failure of", report.last);
    recover(world, work);
    return report;
}

struct inject_report fault_try_start(struct fault_world *world, const struct inject_order *order)
{
    struct inject_report report;
    bool is_up;

    fx_shut_down(&world->fx);
    inject_arm(order);
    is_up = fx_try_run(&world->fx);
    inject_disarm(&report);
    if (!is_up)
        check_exit(world);
    recover(world, fault_queries);
    return report;
}

void fault_judge(struct fault_world *world)
{
    struct keeper_fixture *fx = &world->fx;
    const char *wrong;
    CLEANUP(answer_free_p) struct answer *challenge = NULL;

    wait_well(world);
    wrong = oracle_check(world->oracle);
    if (wrong)
        fx_fail("the log", wrong);
    restart(world);
    challenge = fx_challenge(fx, FX_ADMIN, ACT_DEPOSIT, PURPOSE_DEPOSIT);
    if (!challenge ||
        challenge->challenge.next_version != oracle_count(world->oracle, "deposit") + 1)
        fx_fail("after a restart", "not every deposit is held");
}
