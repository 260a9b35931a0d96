/* SPDX-License-Identifier: Apache-2.0 */
/* The acts of keeper_fixture.h, the log, and the metrics. */
#include "escrowd/check.h"
#include "libescrow/json.h"
#include "libescrow/rpc.h"
#include "tests/unit/keeper_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The verified answer in the last reply; NULL if there is none. */
static struct answer *read_answer(struct keeper_fixture *fx, const struct answer_expect *expect)
{
    CLEANUP(cleanup_free) char *compact = NULL;
    const struct roster_member *member;
    struct answer *answer;

    if (fx->reply.status != 200)
        return NULL;
    OK(rpc_unwrap(fx->reply.body, strlen(fx->reply.body), "answer", &compact));
    OK(answer_verify(compact, strlen(compact), fx->roster, expect, &answer, &member));
    return answer;
}

struct answer *fx_challenge(struct keeper_fixture *fx, enum fx_who who, enum act_kind kind,
                            enum act_purpose purpose)
{
    const struct fx_actor *actor = &fx->actors[who];
    const struct answer_expect expect = {ANSWER_CHALLENGE, &actor->name, NULL};
    struct rpc_challenge challenge = {.act = kind, .purpose = purpose, .key = actor->name};
    CLEANUP(cleanup_free) char *body = NULL;

    if (kind != ACT_PUBLISH)
        challenge.subject =
            fx->subject ? *fx->subject : (struct act_subject){FX_GROUP, FX_DATABASE};
    body = rpc_challenge_text(&challenge);
    fx_ask(fx, ROUTE_CHALLENGE, actor->identity, body);
    return read_answer(fx, &expect);
}

char *fx_sign(struct keeper_fixture *fx, enum fx_who who, const struct answer *challenge,
              struct act *act)
{
    static const uint8_t unset[ACT_NONCE_BYTES];
    CLEANUP(cleanup_free) char *compact = NULL;

    if (memcmp(act->nonce, unset, sizeof(unset)) == 0)
        memcpy(act->nonce, challenge->nonce, sizeof(act->nonce));
    if (memcmp(act->aud.bytes, unset, sizeof(unset)) == 0)
        act->aud = challenge->challenge.member;
    if (!act->subject.group[0])
        act->subject = challenge->subject;
    OK(act_sign(act, fx->actors[who].key, &compact));
    free(fx->last_act);
    fx->last_act = TAKE(compact);
    return rpc_wrap("act", fx->last_act);
}

struct answer *fx_finish(struct keeper_fixture *fx, enum fx_who who, enum route route,
                         const char *body, const struct act *act)
{
    static const enum answer_kind kinds[] = {
        [ROUTE_DEPOSIT] = ANSWER_DURABLE,  [ROUTE_RELEASE] = ANSWER_GRANT,
        [ROUTE_RECEIPT] = ANSWER_NOTED,    [ROUTE_ORDER] = ANSWER_NOTED,
        [ROUTE_PUBLISH] = ANSWER_NOTED,    [ROUTE_APPROVE] = ANSWER_NOTED,
        [ROUTE_REBASELINE] = ANSWER_NOTED,
    };
    const struct answer_expect expect = {kinds[route], &fx->actors[who].name, act->nonce};

    fx_ask(fx, route, fx->actors[who].identity, body);
    return read_answer(fx, &expect);
}

struct answer *fx_act(struct keeper_fixture *fx, enum fx_who who, enum route route, struct act *act)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, who, act->kind, act->purpose);
    CLEANUP(cleanup_free) char *body = NULL;

    if (!challenge)
        return NULL;
    body = fx_sign(fx, who, challenge, act);
    return fx_finish(fx, who, route, body, act);
}

static void approve_node(struct keeper_fixture *fx, enum fx_who who, struct approval *approval)
{
    *approval = (struct approval){.kind = TPM_APPROVAL_NODE,
                                  .group = FX_GROUP,
                                  .counter = fx->counter,
                                  .epoch = fx->epoch,
                                  .act_key_count = 1,
                                  .act_keys = {fx->actors[who].name}};
    OK(approval_sign(fx->authority, approval));
}

void fx_publish(struct keeper_fixture *fx)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_PUBLISH);
    CLEANUP(answer_free_p) struct answer *answer = NULL;
    struct approval *approvals = calloc(3, sizeof(*approvals));

    approve_node(fx, FX_AGENT_A, &approvals[0]);
    approve_node(fx, FX_AGENT_B, &approvals[1]);
    approvals[2] = (struct approval){.kind = TPM_APPROVAL_HOST,
                                     .group = FX_GROUP,
                                     .counter = fx->counter,
                                     .epoch = fx->epoch,
                                     .pcrs = fx->pcrs};
    OK(approval_sign(fx->authority, &approvals[2]));
    act->purpose = PURPOSE_PUBLISH;
    act->publish.roster = strdup(roster_compact(fx->roster));
    act->publish.approvals = approvals;
    act->publish.approval_count = 3;
    answer = fx_act(fx, FX_ADMIN, ROUTE_PUBLISH, act);
    if (!answer)
        fx_fail("the roster was refused", reason_code(fx->reply.reason));
}

enum reason fx_publish_roster(struct keeper_fixture *fx, json_t *payload, EVP_PKEY *authority)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_PUBLISH);
    CLEANUP(answer_free_p) struct answer *answer = NULL;
    CLEANUP(json_free_p) json_t *bent = payload;
    CLEANUP(json_free_p) json_t *header = json_pack("{s:s}", "typ", "escrow-roster");
    struct jws_signer signer;

    OK(jws_signer_from_key(authority, &signer));
    act->purpose = PURPOSE_PUBLISH;
    OK(jws_sign(&signer, header, bent, &act->publish.roster));
    answer = fx_act(fx, FX_ADMIN, ROUTE_PUBLISH, act);
    if (!answer)
        return fx->reply.reason;
    roster_free(fx->roster);
    OK(roster_parse(act->publish.roster, strlen(act->publish.roster), fx->authority, &fx->roster));
    return REASON_NONE;
}

static void add_blob(struct act_deposit *deposit, const struct wrap_object *object,
                     const struct secret *sensitive, const struct tpm_name *to,
                     const struct ec_point *point)
{
    struct act_blob *blob = &deposit->blobs[deposit->blob_count++];

    blob->to = *to;
    OK(wrap_seal(object, sensitive, point, &blob->blob));
}

struct act *fx_deposit_act(struct keeper_fixture *fx, const struct answer *challenge,
                           const char *password)
{
    struct act *act = act_new(ACT_DEPOSIT);
    CLEANUP(secret_free_p) struct secret *data_key = secret_random(PAYLOAD_DATA_KEY_BYTES);
    CLEANUP(secret_free_p) struct secret *secret = secret_from(password, strlen(password));
    CLEANUP(secret_free_p) struct secret *sensitive = NULL;
    struct payload_binding binding = {.group = FX_GROUP, .database = FX_DATABASE};
    const struct roster_member *members;
    struct wrap_object object;
    struct tpm_digest policy;

    OK(tpm_policy_object(roster_authority(fx->roster), FX_GROUP, &policy));
    OK(wrap_object_new(policy.bytes, data_key, &object, &sensitive));
    act->purpose = PURPOSE_DEPOSIT;
    act->deposit.version = binding.version = challenge->challenge.next_version;
    act->deposit.state = SECRET_ACTIVE;
    binding.object = object.name;
    OK(payload_seal(&binding, data_key, secret, act->deposit.payload));
    OK(wrap_object_marshal(&object, act->deposit.public_area, &act->deposit.public_len));
    roster_members(fx->roster, &members);
    add_blob(&act->deposit, &object, sensitive, &members[0].storage, &members[0].storage_point);
    add_blob(&act->deposit, &object, sensitive, roster_recovery_name(fx->roster),
             roster_recovery(fx->roster));
    return act;
}

void fx_deposit(struct keeper_fixture *fx, const char *password)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_ADMIN, ACT_DEPOSIT, PURPOSE_DEPOSIT);
    CLEANUP(act_free_p) struct act *act = NULL;
    CLEANUP(cleanup_free) char *body = NULL;

    if (!challenge)
        fx_fail("no challenge", reason_code(fx->reply.reason));
    act = fx_deposit_act(fx, challenge, password);
    body = fx_sign(fx, FX_ADMIN, challenge, act);
    fx_ask(fx, ROUTE_DEPOSIT, fx->actors[FX_ADMIN].identity, body);
    if (fx->reply.status != 200)
        fx_fail("the deposit was refused", reason_code(fx->reply.reason));
}

struct act *fx_release_act(struct keeper_fixture *fx, enum fx_who who,
                           const struct answer *challenge, EVP_PKEY *recipient)
{
    struct act *act = act_new(ACT_RELEASE);

    act->purpose = PURPOSE_PROMOTE;
    snprintf(act->release.replica, sizeof(act->release.replica), "%s", fx->actors[who].instance);
    OK(key_point(recipient, &act->release.recipient));
    act->release.object_count = 1;
    act->release.objects[0].object = challenge->objects[0].name;
    OK(act_sign_objects(fx->actors[who].key, &act->release.recipient, act->release.objects, 1));
    return act;
}

struct answer *fx_release(struct keeper_fixture *fx, enum fx_who who, EVP_PKEY *recipient)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, who, ACT_RELEASE, PURPOSE_PROMOTE);
    CLEANUP(act_free_p) struct act *act = NULL;
    CLEANUP(cleanup_free) char *body = NULL;

    if (!challenge || challenge->object_count == 0)
        return NULL;
    act = fx_release_act(fx, who, challenge, recipient);
    body = fx_sign(fx, who, challenge, act);
    return fx_finish(fx, who, ROUTE_RELEASE, body, act);
}

struct secret *fx_open(const struct answer *grant, EVP_PKEY *recipient)
{
    const struct answer_object *object = &grant->objects[0];
    struct payload_binding binding = {.group = FX_GROUP,
                                      .database = FX_DATABASE,
                                      .version = object->version,
                                      .object = object->name};
    CLEANUP(secret_free_p) struct secret *data_key = NULL;
    struct secret *password;
    struct wrap_object parsed;

    OK(wrap_object_parse(object->public_area, object->public_len, &parsed));
    OK(wrap_open(&parsed, &object->blob, recipient, &data_key));
    OK(payload_open(&binding, data_key, object->payload, &password));
    return password;
}

/* Appends the records from this sequence number on that fit one reply; how many came. */
static size_t read_page(struct keeper_fixture *fx, uint64_t from, json_t *records)
{
    const struct ipc_request request = {.route = ROUTE_AUDIT,
                                        .identity = fx->actors[FX_AUDITOR].identity,
                                        .from = from,
                                        .limit = 1000};
    size_t before = json_array_size(records);
    char *line, *rest;

    OK(fx_try_request(fx, ++fx->last_id, &request));
    fx_wait(fx, fx->last_id);
    if (fx->reply.status != 200)
        fx_fail("no log", reason_code(fx->reply.reason));
    rest = fx->reply.body;
    while ((line = strsep(&rest, "\n")) != NULL && line[0])
        json_array_append_new(records, json_loads(line, 0, NULL));
    return json_array_size(records) - before;
}

json_t *fx_log_from(struct keeper_fixture *fx, uint64_t sequence)
{
    json_t *records = json_array();

    while (read_page(fx, sequence + json_array_size(records), records) > 0)
        continue;
    return records;
}

json_t *fx_log(struct keeper_fixture *fx)
{
    return fx_log_from(fx, 1);
}

unsigned fx_count(struct keeper_fixture *fx, const char *event, const char *reason)
{
    CLEANUP(json_free_p) json_t *records = fx_log(fx);
    unsigned count = 0;

    for (size_t i = 0; i < json_array_size(records); i++) {
        const json_t *record = json_array_get(records, i);
        const char *found = json_string_value(json_object_get(record, "reason"));

        count += strcmp(json_string_value(json_object_get(record, "event")), event) == 0 &&
                 (!reason || (found && strcmp(found, reason) == 0));
    }
    return count;
}

/* name: with the end of the line before it. A keeper that has no memory says nothing. */
static uint64_t read_metric(const struct keeper_fixture *fx, const char *metrics, const char *name)
{
    const char *found = strstr(metrics, name);

    if (!found && !fx->options.may_lose)
        fx_fail("the metrics lack", name);
    return found ? strtoull(found + strlen(name), NULL, 10) : UINT64_MAX;
}

void fx_note_observed(struct keeper_fixture *fx, const struct ipc_message *message)
{
    struct check checks[CHECK_OF_KEEPER];
    CLEANUP(cleanup_free) char *metrics = NULL;
    const char *text;
    size_t len;

    OK(ipc_get_observed(message, checks, &text, &len));
    metrics = strndup(text, len);
    if (!metrics)
        fx_fail("the metrics", "no memory");
    fx->tpm_commands = read_metric(fx, metrics, "\nescrowd_tpm_commands_total ");
    fx->warm_up_left = read_metric(fx, metrics, "\nescrowd_tpm_warm_up_left ");
    fx->commits = read_metric(fx, metrics, "\nescrowd_audit_commit_duration_seconds_count ");
    fx->observed++;
}

static bool is_observed(struct keeper_fixture *fx)
{
    return fx->observed > 0;
}

static void observe(struct keeper_fixture *fx)
{
    fx->observed = 0;
    OK(ipc_send(fx->front_fd, IPC_OBSERVE, 0, NULL, FX_DEADLINE_MS));
    fx_until(fx, is_observed);
}

uint64_t fx_tpm_commands(struct keeper_fixture *fx)
{
    observe(fx);
    return fx->tpm_commands;
}

uint64_t fx_commits(struct keeper_fixture *fx)
{
    observe(fx);
    return fx->commits;
}

void fx_wait_warm(struct keeper_fixture *fx)
{
    const int64_t deadline_ms = fx_now_ms() + FX_DEADLINE_MS;

    for (observe(fx); fx->warm_up_left > 0; observe(fx)) {
        if (fx_now_ms() >= deadline_ms)
            fx_fail("the keeper's warm-up does not end", "");
        fx_serve(fx, 10);
    }
}

bool fx_try_warm(struct keeper_fixture *fx, int64_t within_ms)
{
    const int64_t deadline_ms = fx_now_ms() + within_ms;

    fx->warm_up_left = UINT64_MAX;
    while (fx->pid && fx->warm_up_left > 0 && fx_now_ms() < deadline_ms) {
        if (fx->front_fd >= 0)
            (void)!ipc_send(fx->front_fd, IPC_OBSERVE, 0, NULL, FX_DEADLINE_MS);
        fx_serve(fx, 50);
    }
    return fx->warm_up_left == 0;
}

void fx_wait_count(struct keeper_fixture *fx, const char *event, const char *reason, unsigned count)
{
    const int64_t deadline_ms = fx_now_ms() + FX_DEADLINE_MS;
    unsigned found;

    while ((found = fx_count(fx, event, reason)) < count && fx_now_ms() < deadline_ms)
        fx_serve(fx, 10);
    if (found != count)
        fx_fail("another number of records than expected", event);
}
