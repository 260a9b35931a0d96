/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/kill_works.h"

#include "escrowd/keeper_member.h"
#include "libescrow/file.h"
#include "libescrow/json.h"
#include "tests/fault/kill_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAITED_MS ((int64_t)16 * 1000) /* longer than a requester is left alone */
#define PASSING_MS                                                                                 \
    ((int64_t)11 * 60 * 1000) /* longer than receipts and requests are waited for                  \
                               */

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

/* Whose agent is to ask now. */
static enum fx_who fail_over(struct kill_world *world)
{
    world->primary = 1 - world->primary;
    fx_set_primary(&world->fx, world->primary);
    return agent_of(world->primary);
}

static bool run_promotion(struct kill_world *world, bool is_again)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    enum reason reason;

    if (!is_again)
        fail_over(world);
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

/* Whether the record is the one that a piece of work waits for. */
typedef bool (*is_awaited_fn)(const struct kill_world *world, const json_t *record);

static bool has_record(struct kill_world *world, is_awaited_fn is_awaited)
{
    const json_t *record;

    if (oracle_check(world->oracle))
        return false;
    for (size_t i = 0; (record = oracle_record(world->oracle, i)) != NULL; i++) {
        if (is_awaited(world, record))
            return true;
    }
    return false;
}

/* What the keeper records by itself; false: it is gone, or does not. */
static bool wait_record(struct kill_world *world, is_awaited_fn is_awaited)
{
    for (int i = 0; i < KILL_TRIES && kill_settle(world); i++) {
        if (has_record(world, is_awaited))
            return true;
        fx_serve(&world->fx, KILL_TRY_MS);
    }
    return false;
}

static bool is_word(const json_t *record, const char *key, const char *word)
{
    const char *text = json_string_value(json_object_get(record, key));

    return text && strcmp(text, word) == 0;
}

static bool is_number(const json_t *record, const char *key, uint64_t number)
{
    return (uint64_t)json_integer_value(json_object_get(record, key)) == number;
}

static bool is_settled(const struct kill_world *world, const json_t *record)
{
    return is_word(record, "event", "settle") && is_number(record, "grant", world->proving);
}

/* The receipt, and the replica's word for it. */
static bool succeed(struct kill_world *world, enum act_purpose purpose, uint64_t grant)
{
    world->fx.replicas[world->primary].opens = PROBE_OPENS_YES;
    if (!send_receipt(world, purpose, grant, OUTCOME_OPENED))
        return false;
    world->proving = grant;
    return wait_record(world, is_settled);
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
        world->request = 0;
        fx->replicas[world->primary].opens = PROBE_OPENS_NO;
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

static bool run_rebuild(struct kill_world *world, bool is_again)
{
    static const char *const suffixes[] = {"", "-wal", "-journal"};
    char store[400], path[420];

    if (is_again)
        return start_again(world);
    if (!fx_try_shut_down(&world->fx))
        return false;
    disk_feed(world->disk);
    kill_store_path(world, store);
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        snprintf(path, sizeof(path), "%s%s", store, suffixes[i]);
        disk_remove(world->disk, path);
    }
    return start_again(world);
}

/* ---- the rarer work ---- */

/* Else the TPM has something to do, and its loss is known before the decision. */
static bool wait_imported(struct kill_world *world)
{
    struct keeper_fixture *fx = &world->fx;

    for (int i = 0; i < KILL_TRIES && kill_settle(world); i++) {
        fx_ask(fx, ROUTE_STATUS, fx->actors[FX_AUDITOR].identity, "");
        if (fx->reply.status == 200 && strstr(fx->reply.body, "\"unimported\":0"))
            return true;
        fx_serve(fx, KILL_TRY_MS);
    }
    return false;
}

/* The TPM is lost when it is needed, after the decision is on disk. */
static bool run_unfinished(struct kill_world *world, bool is_again)
{
    struct keeper_fixture *fx = &world->fx;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(answer_free_p) struct answer *grant = NULL;
    CLEANUP(act_free_p) struct act *act = NULL;
    CLEANUP(cleanup_free) char *body = NULL;
    enum reason reason;

    if (!is_again) {
        const enum fx_who who = fail_over(world);

        challenge = fx_challenge(fx, who, ACT_RELEASE, PURPOSE_PROMOTE);
        if (!challenge || !wait_imported(world))
            return false;
        act = fx_release_act(fx, who, challenge, recipient);
        body = fx_sign(fx, who, challenge, act);
        swtpm_kill(&fx->swtpm);
        grant = fx_finish(fx, who, ROUTE_RELEASE, body, act);
        swtpm_restart(&fx->swtpm);
        if (grant)
            fx_fail("released", "without a TPM");
        if (fx->reply.reason != REASON_TPM_UNAVAILABLE || !kill_is_well(world))
            return false;
    }
    reason = promote(world, recipient);
    return reason == REASON_PROMOTION_REPEAT || (is_again && reason == REASON_PROMOTION);
}

static struct answer *rebaseline(struct kill_world *world, int replica)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_REBASELINE);

    act->purpose = PURPOSE_REBASELINE;
    snprintf(act->rebaseline.replica, sizeof(act->rebaseline.replica), "%s",
             world->fx.replicas[replica].instance);
    return fx_act(&world->fx, FX_ADMIN, ROUTE_REBASELINE, act);
}

/* An admin names the secondary, and then the primary. */
static bool run_rebaseline(struct kill_world *world, bool is_again)
{
    CLEANUP(answer_free_p) struct answer *wrong = rebaseline(world, 1 - world->primary);
    CLEANUP(answer_free_p) struct answer *noted = NULL;

    (void)is_again;
    if (wrong)
        fx_fail("an epoch", "of a replica that is not primary");
    if (world->fx.reply.reason != REASON_CANDIDATE_NOT_PRIMARY)
        return false;
    noted = rebaseline(world, world->primary);
    return acknowledge(world, noted, "rebaseline");
}

static bool is_expired(const struct kill_world *world, const json_t *record)
{
    return is_word(record, "event", "expired") &&
           is_number(json_object_get(record, "detail"), "request", world->request);
}

static bool is_missed(const struct kill_world *world, const json_t *record)
{
    return is_settled(world, record) && is_word(record, "reason", "receipt_missing");
}

static bool is_moot(const struct kill_world *world, const json_t *record)
{
    return is_expired(world, record) && is_word(record, "reason", "master_key_opens");
}

/* Somebody opens the master key without it. */
static bool run_moot(struct kill_world *world, bool is_again)
{
    if (!is_again)
        kill_pass_time(world, WAITED_MS);
    world->fx.replicas[world->primary].opens = PROBE_OPENS_YES;
    return wait_record(world, is_moot);
}

/* Nobody approves, and nobody says what became of the grant before. */
static bool run_passing(struct kill_world *world, bool is_again)
{
    if (!is_again)
        kill_pass_time(world, PASSING_MS);
    world->proving = world->grant;
    return wait_record(world, is_expired) && wait_record(world, is_missed);
}

/* The last epoch that the log knows is the primary's. */
static bool is_epoch_of_primary(const struct kill_world *world, const json_t *record)
{
    return is_word(record, "event", "epoch") &&
           is_word(record, "replica", world->fx.replicas[world->primary].instance) &&
           (uint64_t)json_integer_value(json_object_get(record, "sequence")) > world->grant;
}

/* A failover of which only the watch knows. */
static bool run_observed(struct kill_world *world, bool is_again)
{
    if (!is_again)
        fail_over(world);
    return wait_record(world, is_epoch_of_primary);
}

static bool run_observed_promotion(struct kill_world *world, bool is_again)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    const enum reason reason = promote(world, recipient);

    return reason == REASON_PROMOTION || (is_again && reason == REASON_PROMOTION_REPEAT);
}

/* The replica cannot say whether it opened. */
static bool run_unproven(struct kill_world *world, bool is_again)
{
    (void)is_again;
    world->fx.replicas[world->primary].opens = PROBE_OPENS_UNKNOWN;
    return send_receipt(world, PURPOSE_PROMOTE, world->grant, OUTCOME_OPENED);
}

static bool is_unproven(const struct kill_world *world, const json_t *record)
{
    return is_settled(world, record) && is_word(record, "reason", "grant_unproven");
}

/* And then it is not primary any more. */
static bool run_past(struct kill_world *world, bool is_again)
{
    if (!is_again)
        world->proving = world->grant;
    if (!run_promotion(world, is_again) || !wait_record(world, is_unproven))
        return false;
    world->fx.replicas[1 - world->primary].opens = PROBE_OPENS_YES;
    return true;
}

static const struct kill_work works[] = {
    {"deposit", run_deposit, false},
    {"promotion", run_promotion, false},
    {"repeat", run_repeat, false},
    {"receipt of failure", run_failure, false},
    {"receipt of success", run_success, false},
    {"request for approval", run_restart, false},
    {"first approval", run_approve, false},
    {"second approval", run_approve_2, false},
    {"approved release", run_approved, false},
    {"order", run_order, false},
    {"ordered release", run_ordered, false},
    {"ordered receipt", run_ordered_success, false},
    {"publish", run_publish, false},
    {"refused release", run_refused, false},
    {"service restart", run_service_restart, false},
    {"policy change", run_policy, false},
    {"store rebuilt", run_rebuild, false},
    {"release without a TPM", run_unfinished, true},
    {"rebaseline", run_rebaseline, true},
    {"request for nothing", run_restart, true},
    {"key that opens", run_moot, true},
    {"another request for nothing", run_restart, true},
    {"time passes", run_passing, true},
    {"failover that is seen", run_observed, true},
    {"promotion that was seen", run_observed_promotion, true},
    {"receipt without a proof", run_unproven, true},
    {"failover before the proof", run_past, true},
};

const struct kill_work *kill_works(size_t *ret_count)
{
    *ret_count = ARRAY_LEN(works);
    return works;
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
