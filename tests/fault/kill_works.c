/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/kill_works.h"

#include "escrowd/keeper_member.h"
#include "libescrow/audit_reader.h"
#include "libescrow/file.h"
#include "libescrow/json.h"
#include "tests/fault/kill_judge.h"
#include "tests/fault/steps.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WELL_TRIES 200 /* of 50 ms */
#define JUDGE_TRIES 5

static bool acknowledge(struct kill_world *world, const struct answer *answer, const char *event)
{
    if (!answer)
        return false;
    oracle_acknowledge(world->oracle, answer->sequence, event, world->fx.last_act, INT64_MAX);
    world->promises++;
    return true;
}

static enum fx_who agent_of(int primary)
{
    return primary == 0 ? FX_AGENT_A : FX_AGENT_B;
}

/* What was granted opens, and is the password. */
static void check_password(const struct answer *grant, EVP_PKEY *recipient)
{
    CLEANUP(secret_free_p) struct secret *password = fx_open(grant, recipient);

    if (password->len != strlen(FX_PASSWORD) ||
        memcmp(password->bytes, FX_PASSWORD, password->len) != 0)
        fx_fail("released", "another password");
}

/* A promotion's release; its reason, or REASON_NONE if there was none. */
static enum reason promote(struct kill_world *world, EVP_PKEY *recipient)
{
    CLEANUP(answer_free_p)
    struct answer *grant = fx_release(&world->fx, agent_of(world->primary), recipient);

    if (!acknowledge(world, grant, "release"))
        return REASON_NONE;
    check_password(grant, recipient);
    world->grant = grant->sequence;
    return grant->grant.reason;
}

/* ---- the work ---- */

static bool run_deposit(struct kill_world *world, bool is_again)
{
    struct keeper_fixture *fx = &world->fx;
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_ADMIN, ACT_DEPOSIT, PURPOSE_DEPOSIT);
    CLEANUP(act_free_p) struct act *act = NULL;
    CLEANUP(answer_free_p) struct answer *durable = NULL;
    CLEANUP(cleanup_free) char *body = NULL;

    (void)is_again;
    if (!challenge)
        return false;
    act = fx_deposit_act(fx, challenge, FX_PASSWORD);
    body = fx_sign(fx, FX_ADMIN, challenge, act);
    durable = fx_finish(fx, FX_ADMIN, ROUTE_DEPOSIT, body, act);
    if (durable && durable->durable.version != challenge->challenge.next_version)
        fx_fail("another version was acknowledged", "");
    return acknowledge(world, durable, "deposit");
}

/* A failover. */
static bool run_promotion(struct kill_world *world, bool is_again)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    enum reason reason;

    if (!is_again) {
        world->primary = 1 - world->primary;
        fx_set_primary(&world->fx, world->primary);
    }
    reason = promote(world, recipient);
    return reason == REASON_PROMOTION || (is_again && reason == REASON_PROMOTION_REPEAT);
}

static bool run_repeat(struct kill_world *world, bool is_again)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();

    (void)is_again;
    return promote(world, recipient) == REASON_PROMOTION_REPEAT;
}

static bool send_receipt(struct kill_world *world, enum act_purpose purpose, uint64_t grant,
                         enum act_outcome outcome)
{
    const enum fx_who who = agent_of(world->primary);
    CLEANUP(act_free_p) struct act *act = act_new(ACT_RECEIPT);
    CLEANUP(answer_free_p) struct answer *noted = NULL;

    act->purpose = purpose;
    snprintf(act->receipt.replica, sizeof(act->receipt.replica), "%s",
             world->fx.actors[who].instance);
    act->receipt.grant = grant;
    act->receipt.outcome = outcome;
    noted = fx_act(&world->fx, who, ROUTE_RECEIPT, act);
    return acknowledge(world, noted, "receipt");
}

static bool is_settled(struct kill_world *world, uint64_t grant)
{
    const json_t *record;

    if (oracle_check(world->oracle))
        return false;
    for (size_t i = grant; (record = oracle_record(world->oracle, i)) != NULL; i++) {
        if (strcmp(json_string_value(json_object_get(record, "event")), "settle") == 0 &&
            (uint64_t)json_integer_value(json_object_get(record, "grant")) == grant)
            return true;
    }
    return false;
}

/* The receipt, and the replica's word for it. */
static bool succeed(struct kill_world *world, enum act_purpose purpose, uint64_t grant)
{
    if (!send_receipt(world, purpose, grant, OUTCOME_OPENED))
        return false;
    for (int i = 0; i < WELL_TRIES && kill_settle(world); i++) {
        if (is_settled(world, grant))
            return true;
        fx_serve(&world->fx, 50);
    }
    return false;
}

static bool run_failure(struct kill_world *world, bool is_again)
{
    (void)is_again;
    return send_receipt(world, PURPOSE_PROMOTE, world->grant, OUTCOME_FAILED);
}

static bool run_success(struct kill_world *world, bool is_again)
{
    (void)is_again;
    return succeed(world, PURPOSE_PROMOTE, world->grant);
}

/* The grant is settled, and nothing happened since: admins are asked. */
static bool run_restart(struct kill_world *world, bool is_again)
{
    struct keeper_fixture *fx = &world->fx;
    CLEANUP(json_free_p) json_t *document = NULL;
    uint64_t number;

    if (!is_again) {
        EVP_PKEY_free(world->recipient);
        world->recipient = key_generate();
    }
    if (promote(world, world->recipient) != REASON_NONE)
        fx_fail("a settled grant", "was granted again without approval");
    if (fx->reply.status != 202 ||
        json_parse(fx->reply.body, strlen(fx->reply.body), 4096, &document))
        return false;
    number = (uint64_t)json_integer_value(json_object_get(document, "request"));
    /* The client was told its number: the same stays open. */
    if (is_again && world->request && number != world->request)
        fx_fail("a request that was told of", "is not the one that waits");
    world->request = number;
    return true;
}

static bool approve(struct kill_world *world, enum fx_who who, bool is_again)
{
    struct keeper_fixture *fx = &world->fx;
    CLEANUP(act_free_p) struct act *act = act_new(ACT_APPROVE);
    CLEANUP(answer_free_p) struct answer *noted = NULL;
    struct ec_point recipient;

    if (key_point(world->recipient, &recipient))
        fx_fail("key_point", "failed");
    act->purpose = PURPOSE_PROMOTE;
    act->approve.request = world->request;
    act->approve.object_count = 1;
    act->approve.objects[0].object = world->asked;
    if (act_sign_objects(fx->actors[who].key, &recipient, act->approve.objects, 1))
        fx_fail("act_sign_objects", "failed");
    noted = fx_act(fx, who, ROUTE_APPROVE, act);
    return acknowledge(world, noted, "approve") ||
           (is_again && fx->reply.reason == REASON_ALREADY_APPROVED);
}

static bool run_approve(struct kill_world *world, bool is_again)
{
    CLEANUP(answer_free_p)
    struct answer *challenge =
        fx_challenge(&world->fx, agent_of(world->primary), ACT_RELEASE, PURPOSE_PROMOTE);

    if (!challenge)
        return false;
    world->asked = challenge->objects[0].name;
    return approve(world, FX_ADMIN, is_again);
}

static bool run_approve_2(struct kill_world *world, bool is_again)
{
    return approve(world, FX_ADMIN_2, is_again);
}

static bool run_approved(struct kill_world *world, bool is_again)
{
    enum reason reason = promote(world, world->recipient);

    world->request = 0;
    return reason == REASON_APPROVED || (is_again && reason == REASON_PROMOTION_REPEAT);
}

/* Drills and rotations in turn. */
static enum act_purpose ordered(const struct kill_world *world)
{
    return world->round % 2 ? PURPOSE_ROTATE : PURPOSE_DRILL;
}

static bool run_order(struct kill_world *world, bool is_again)
{
    struct keeper_fixture *fx = &world->fx;
    CLEANUP(act_free_p) struct act *act = act_new(ACT_ORDER);
    CLEANUP(answer_free_p) struct answer *noted = NULL;
    CLEANUP(json_free_p) json_t *document = NULL;
    const json_t *orders;

    (void)is_again;
    act->purpose = ordered(world);
    act->order.expires_in_s = 3600;
    noted = fx_act(fx, FX_ADMIN, ROUTE_ORDER, act);
    if (!acknowledge(world, noted, "order"))
        return false;
    fx_ask(fx, ROUTE_ORDERS, fx->actors[agent_of(world->primary)].identity, "");
    if (fx->reply.status != 200 ||
        json_parse(fx->reply.body, strlen(fx->reply.body), 65536, &document))
        return false;
    orders = json_object_get(document, "orders");
    snprintf(world->order, sizeof(world->order), "%s",
             json_string_value(
                 json_object_get(json_array_get(orders, json_array_size(orders) - 1), "order")));
    return true;
}

static bool run_ordered(struct kill_world *world, bool is_again)
{
    struct keeper_fixture *fx = &world->fx;
    const enum fx_who who = agent_of(world->primary);
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, who, ACT_RELEASE, ordered(world));
    CLEANUP(act_free_p) struct act *act = NULL;
    CLEANUP(answer_free_p) struct answer *grant = NULL;

    (void)is_again;
    if (!challenge)
        return false;
    act = fx_release_act(fx, who, challenge, recipient);
    act->purpose = ordered(world);
    snprintf(act->release.order, sizeof(act->release.order), "%s", world->order);
    grant = fx_act(fx, who, ROUTE_RELEASE, act);
    if (!acknowledge(world, grant, "release"))
        return false;
    check_password(grant, recipient);
    world->drill = grant->sequence;
    return grant->grant.reason == REASON_ORDERED;
}

static bool run_ordered_success(struct kill_world *world, bool is_again)
{
    (void)is_again;
    return succeed(world, ordered(world), world->drill);
}

static bool run_publish(struct kill_world *world, bool is_again)
{
    struct keeper_fixture *fx = &world->fx;
    CLEANUP(json_free_p) json_t *payload = fx_roster_payload(fx, ++world->rosters);
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    CLEANUP(act_free_p) struct act *act = act_new(ACT_PUBLISH);
    CLEANUP(answer_free_p) struct answer *noted = NULL;

    (void)is_again;
    if (roster_sign(payload, fx->authority, &roster))
        fx_fail("roster_sign", "failed");
    act->purpose = PURPOSE_PUBLISH;
    act->publish.roster = strdup(roster_compact(roster));
    noted = fx_act(fx, FX_ADMIN, ROUTE_PUBLISH, act);
    return acknowledge(world, noted, "publish");
}

/* The agent of a secondary asks. */
static bool run_refused(struct kill_world *world, bool is_again)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p)
    struct answer *grant = fx_release(&world->fx, agent_of(1 - world->primary), recipient);

    (void)is_again;
    return !grant && world->fx.reply.reason == REASON_CANDIDATE_NOT_PRIMARY;
}

/* The service is restarted. */
static bool start_again(struct kill_world *world)
{
    return world->fx.pid != 0 || fx_try_run(&world->fx);
}

static bool run_service_restart(struct kill_world *world, bool is_again)
{
    if (!is_again && !fx_try_shut_down(&world->fx))
        return false;
    return start_again(world);
}

static bool run_policy(struct kill_world *world, bool is_again)
{
    CLEANUP(cleanup_free) char *text = NULL, *changed = NULL;
    const char *path = world->fx.config.policy_file;
    char *line;
    size_t len;

    if (is_again)
        return start_again(world);
    if (!fx_try_shut_down(&world->fx))
        return false;
    if (file_read(path, 65536, &text, &len))
        fx_fail(path, "cannot be read");
    line = strstr(text, "    window: ");
    if (line)
        *line = '\0';
    if (asprintf(&changed, "%s    window: %uh\n", text, 12 + world->round % 12) < 0 ||
        unlink(path) != 0 || file_create(path, 0600, changed, strlen(changed)))
        fx_fail(path, "cannot be changed");
    return start_again(world);
}

static void store_path(const struct kill_world *world, char ret_path[static 400])
{
    snprintf(ret_path, 400, "%s/%s", world->fx.config.state_folder, MEMBER_STORE);
}

static bool run_rebuild(struct kill_world *world, bool is_again)
{
    static const char *const suffixes[] = {"", "-wal", "-journal"};
    char store[400], path[420];

    if (is_again)
        return start_again(world);
    if (!fx_try_shut_down(&world->fx))
        return false;
    disk_feed(world->disk);
    store_path(world, store);
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        snprintf(path, sizeof(path), "%s%s", store, suffixes[i]);
        disk_remove(world->disk, path);
    }
    return start_again(world);
}

static const struct kill_work works[] = {
    {"deposit", run_deposit},
    {"promotion", run_promotion},
    {"repeat", run_repeat},
    {"receipt of failure", run_failure},
    {"receipt of success", run_success},
    {"request for approval", run_restart},
    {"first approval", run_approve},
    {"second approval", run_approve_2},
    {"approved release", run_approved},
    {"order", run_order},
    {"ordered release", run_ordered},
    {"ordered receipt", run_ordered_success},
    {"publish", run_publish},
    {"refused release", run_refused},
    {"service restart", run_service_restart},
    {"policy change", run_policy},
    {"store rebuilt", run_rebuild},
};

const struct kill_work *kill_works(size_t *ret_count)
{
    *ret_count = ARRAY_LEN(works);
    return works;
}

/* ---- the world ---- */

void kill_world_start(struct kill_world *world, const struct keeper_fixture *sibling)
{
    const struct fx_options options = {.sibling = sibling,
                                       .limits = "    brake: 1000\n    retries: 6\n",
                                       .in_keeper = steps_here,
                                       .may_lose = true,
                                       .only_ends = true};

    memset(world, 0, sizeof(*world));
    steps_forget();
    world->disk = disk_new();
    world->rosters = 1;
    fx_start_with(&world->fx, &options);
    world->oracle = oracle_new(world->fx.config.audit_folder);
    fx_publish(&world->fx);
    fx_wait_primary(&world->fx, "node-a");
}

void kill_world_stop(struct kill_world *world)
{
    EVP_PKEY_free(world->recipient);
    disk_free(world->disk);
    oracle_free(world->oracle);
    fx_stop(&world->fx);
}

bool kill_settle(struct kill_world *world)
{
    if (world->fx.pid)
        fx_ask(&world->fx, ROUTE_HEALTH, world->fx.actors[FX_AUDITOR].identity, "");
    return world->fx.pid != 0;
}

void kill_wait_well(struct kill_world *world)
{
    struct keeper_fixture *fx = &world->fx;

    for (int i = 0; i < WELL_TRIES; i++) {
        fx_ask(fx, ROUTE_HEALTH, fx->actors[FX_AUDITOR].identity, "");
        if (fx->reply.status == 200)
            return;
        fx_serve(fx, 50);
    }
    fx_fail("the keeper is not ready", fx->status);
}

void kill_exhaust(struct kill_world *world)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    unsigned asked = 0;

    if (!run_promotion(world, false))
        fx_fail("a promotion", reason_code(world->fx.reply.reason));
    while (promote(world, recipient) == REASON_PROMOTION_REPEAT) {
        if (++asked > KILL_RETRIES)
            fx_fail("an agent may ask", "more often than the policy says");
    }
    if (world->fx.reply.status != 202 || asked != KILL_RETRIES)
        fx_fail("after its retries an agent gets", reason_code(world->fx.reply.reason));
}

static const char *judge_log(const struct kill_world *world)
{
    static const struct kill_rules rules = {.retries = KILL_RETRIES};
    struct audit_reading reading = {0};
    const char *wrong = oracle_check(world->oracle);

    if (!wrong && audit_read(world->fx.config.audit_folder, 1, NULL, NULL, &reading))
        wrong = "it does not verify";
    return wrong ? wrong : judge_epochs(world->oracle, &rules);
}

void kill_judge(struct kill_world *world)
{
    const char *wrong, *differs = NULL;
    char store[400], copy[400];

    store_path(world, store);
    snprintf(copy, sizeof(copy), "%s/judged.sqlite", world->fx.folder);
    /* A record of the keeper's own may come while it is looked at. */
    for (int i = 0; i < JUDGE_TRIES; i++) {
        wrong = judge_log(world);
        if (wrong)
            fx_fail("the log", wrong);
        differs = judge_ledger(world->oracle, store, copy);
        if (!differs)
            return;
        if (!kill_settle(world))
            fx_fail("while it was judged", "the keeper ended");
    }
    fx_fail("the ledger", differs);
}
