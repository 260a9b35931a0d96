/* SPDX-License-Identifier: Apache-2.0 */
#include "client/rpc.h"

#include "libescrow/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_MAX_BYTES 128

struct rpc {
    struct rpc_http *http;
    int64_t timeout_ms;
    struct rpc_problem problem;
};

enum escrow_err rpc_new(const struct rpc_http_config *config, struct rpc **ret_rpc)
{
    CLEANUP(rpc_free_p) struct rpc *rpc = calloc(1, sizeof(*rpc));
    enum escrow_err err;

    if (!rpc)
        return ESCROW_ERR_NO_MEMORY;
    rpc->timeout_ms = config->timeout_ms;
    err = rpc_http_new(config, &rpc->http);
    if (!err)
        *ret_rpc = TAKE(rpc);
    return err;
}

void rpc_free(struct rpc *rpc)
{
    if (!rpc)
        return;
    rpc_http_free(rpc->http);
    free(rpc);
}

void rpc_set_timeout(struct rpc *rpc, int64_t timeout_ms)
{
    rpc->timeout_ms = timeout_ms;
    rpc_http_set_timeout(rpc->http, timeout_ms);
}

const struct rpc_problem *rpc_problem(const struct rpc *rpc)
{
    return &rpc->problem;
}

/* Notes a failure that has no HTTP answer behind it, or none that is believed. */
static enum escrow_err fail(struct rpc *rpc, enum escrow_err err, const char *text)
{
    snprintf(rpc->problem.text, sizeof(rpc->problem.text), "%s", text);
    return err;
}

static enum escrow_err from_status(long status)
{
    switch (status) {
    case 404:
        return ESCROW_ERR_NOT_FOUND;
    case 429:
    case 502:
    case 503:
    case 504:
        return ESCROW_ERR_UNAVAILABLE;
    default:
        return ESCROW_ERR_DENIED;
    }
}

/*
 * RFC 9457, and the body of a 202. Lenient on purpose: it decides nothing, and a proxy in between
 * answers in a form of its own.
 */
static enum escrow_err read_problem(struct rpc *rpc, const struct rpc_http_answer *answer)
{
    CLEANUP(json_free_p) json_t *document = NULL;
    struct rpc_problem *problem = &rpc->problem;
    const char *code = NULL, *detail = NULL;
    json_int_t request;

    problem->http_status = answer->status;
    problem->retry_after_s = answer->retry_after_s;
    if (json_parse(answer->body, answer->body_len, RPC_HTTP_BODY_MAX, &document) == ESCROW_OK) {
        code = json_string_value(json_object_get(document, "reason"));
        detail = json_string_value(json_object_get(document, "detail"));
        request = json_integer_value(json_object_get(document, "request"));
        problem->request = request > 0 ? (uint64_t)request : 0;
    }
    problem->reason = code ? reason_from_code(code) : REASON_NONE;
    if (problem->reason == REASON_NONE)
        snprintf(problem->text, sizeof(problem->text), "HTTP status %ld without a known reason",
                 answer->status);
    else
        snprintf(problem->text, sizeof(problem->text), "%s%s%.400s", reason_text(problem->reason),
                 detail && *detail ? " " : "", detail ? detail : "");
    return from_status(answer->status);
}

/* One request; ESCROW_OK only for status 200, with its body. */
static enum escrow_err exchange(struct rpc *rpc, const char *path, const char *body,
                                char **ret_body, size_t *ret_len)
{
    struct rpc_http_answer answer = {0};
    CLEANUP(cleanup_free) char *answer_body = NULL;
    enum escrow_err err;

    memset(&rpc->problem, 0, sizeof(rpc->problem));
    err = rpc_http_request(rpc->http, path, body, &answer, rpc->problem.text);
    if (err)
        return err;
    answer_body = answer.body;
    if (answer.status != 200)
        return read_problem(rpc, &answer);
    *ret_body = TAKE(answer_body);
    *ret_len = answer.body_len;
    return ESCROW_OK;
}

static enum escrow_err exchange_json(struct rpc *rpc, const char *path, const char *body,
                                     json_t **ret_object)
{
    CLEANUP(cleanup_free) char *text = NULL;
    size_t len = 0;
    enum escrow_err err = exchange(rpc, path, body, &text, &len);

    if (err)
        return err;
    err = json_parse(text, len, RPC_HTTP_BODY_MAX, ret_object);
    return err ? fail(rpc, err, "the answer is not a JSON object") : ESCROW_OK;
}

/* An object with one text member. */
static enum escrow_err exchange_text(struct rpc *rpc, const char *path, const char *body,
                                     const char *name, char **ret_text)
{
    CLEANUP(json_free_p) json_t *object = NULL;
    struct json_reader reader;
    const char *text;
    char *copy;
    enum escrow_err err = exchange_json(rpc, path, body, &object);

    if (err)
        return err;
    json_reader_init(&reader, object, "answer to %s", path);
    text = json_borrow_text(&reader, name, JWS_BYTES_MAX);
    err = json_reader_end(&reader);
    if (err)
        return fail(rpc, err, "the answer does not have its form");
    copy = strdup(text);
    if (!copy)
        return ESCROW_ERR_NO_MEMORY;
    *ret_text = copy;
    return ESCROW_OK;
}

enum escrow_err rpc_fetch_roster(struct rpc *rpc, char **ret_compact)
{
    return exchange_text(rpc, "/v1/roster", NULL, "roster", ret_compact);
}

static enum escrow_err actor_name(const struct rpc_actor *actor, struct tpm_name *ret_name)
{
    struct ec_point point;
    enum escrow_err err = key_point(actor->act_key, &point);

    return err ? err : key_signer_name(&point, ret_name);
}

/* Posts and verifies a signed answer. */
static enum escrow_err ask(struct rpc *rpc, const struct rpc_actor *actor, const char *path,
                           const char *body, const struct answer_expect *expect,
                           struct answer **ret_answer)
{
    CLEANUP(cleanup_free) char *compact = NULL;
    const struct roster_member *member;
    enum escrow_err err = exchange_text(rpc, path, body, "answer", &compact);

    if (err)
        return err;
    err = answer_verify(compact, strlen(compact), actor->roster, expect, ret_answer, &member);
    if (!err || err == ESCROW_ERR_NO_MEMORY)
        return err;
    /* Not a refusal of escrowd but a forgery, or a roster that does not know this member. */
    return fail(rpc, ESCROW_ERR_CRYPTO,
                "the answer is not one that a member of the roster signed for this request");
}

static bool is_same_text(const char *one, const char *other)
{
    return strcmp(one, other ? other : "") == 0;
}

static char *question_body(const struct rpc_question *question, const struct tpm_name *kid)
{
    CLEANUP(json_free_p)
    json_t *document =
        json_pack("{s:s, s:s, s:o, s:s?, s:s?}", "act", act_kind_word(question->act), "purpose",
                  act_purpose_word(question->purpose), "kid", json_tpm_name(kid), "group",
                  question->group, "database", question->database);

    return document ? json_text(document) : NULL;
}

enum escrow_err rpc_challenge(struct rpc *rpc, const struct rpc_actor *actor,
                              const struct rpc_question *question, struct answer **ret_challenge)
{
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(cleanup_free) char *body = NULL;
    struct tpm_name asker;
    const struct answer_expect expect = {.kind = ANSWER_CHALLENGE, .asker = &asker};
    enum escrow_err err = actor_name(actor, &asker);

    if (err)
        return err;
    body = question_body(question, &asker);
    if (!body)
        return ESCROW_ERR_NO_MEMORY;
    err = ask(rpc, actor, "/v1/challenge", body, &expect, &challenge);
    if (err)
        return err;
    if (challenge->challenge.act != question->act ||
        !is_same_text(challenge->subject.group, question->group) ||
        !is_same_text(challenge->subject.database, question->database))
        return fail(rpc, ESCROW_ERR_CRYPTO, "the challenge is for another act");
    *ret_challenge = TAKE(challenge);
    return ESCROW_OK;
}

static bool is_same_subject(const struct act_subject *one, const struct act_subject *other)
{
    return strcmp(one->group, other->group) == 0 && strcmp(one->database, other->database) == 0;
}

static bool is_about_deposit(const struct act *act, const struct answer *answer)
{
    struct tpm_name object;

    return key_public_name(act->deposit.public_area, act->deposit.public_len, &object) ==
               ESCROW_OK &&
           is_same_subject(&act->subject, &answer->subject) &&
           answer->durable.version == act->deposit.version &&
           answer->durable.state == act->deposit.state &&
           tpm_name_equal(&answer->durable.object, &object);
}

/* Only objects that this act has signed for, for this replica. */
static bool is_about_release(const struct act *act, const struct answer *answer)
{
    if (!is_same_subject(&act->subject, &answer->subject) ||
        strcmp(act->release.replica, answer->grant.replica) != 0)
        return false;
    for (size_t i = 0; i < answer->object_count; i++) {
        bool is_signed = false;

        for (size_t j = 0; j < act->release.object_count; j++)
            is_signed = is_signed ||
                        tpm_name_equal(&answer->objects[i].name, &act->release.objects[j].object);
        if (!is_signed)
            return false;
    }
    return true;
}

static bool is_about_anything(const struct act *act, const struct answer *answer)
{
    (void)act;
    (void)answer;
    return true; /* noted: the nonce alone binds it */
}

/* Indexed by enum act_kind. */
static const struct {
    const char *path;
    enum answer_kind answer;
    bool (*is_about)(const struct act *act, const struct answer *answer);
} acts[] = {
    [ACT_DEPOSIT] = {"/v1/deposit", ANSWER_DURABLE, is_about_deposit},
    [ACT_RELEASE] = {"/v1/release", ANSWER_GRANT, is_about_release},
    [ACT_RECEIPT] = {"/v1/receipt", ANSWER_NOTED, is_about_anything},
    [ACT_ORDER] = {"/v1/orders", ANSWER_NOTED, is_about_anything},
    [ACT_APPROVE] = {NULL, 0, NULL},
    [ACT_PUBLISH] = {"/v1/publish", ANSWER_NOTED, is_about_anything},
};

static char *act_body(const char *compact)
{
    CLEANUP(json_free_p) json_t *document = json_pack("{s:s}", "act", compact);

    return document ? json_text(document) : NULL;
}

enum escrow_err rpc_act(struct rpc *rpc, const struct rpc_actor *actor,
                        const struct answer *challenge, struct act *act, struct answer **ret_answer)
{
    CLEANUP(answer_free_p) struct answer *answer = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;
    CLEANUP(cleanup_free) char *body = NULL;
    struct tpm_name asker;
    const struct answer_expect expect = {
        .kind = acts[act->kind].answer, .asker = &asker, .nonce = challenge->nonce};
    enum escrow_err err = actor_name(actor, &asker);

    if (!acts[act->kind].path)
        return ESCROW_ERR_USAGE;
    act->aud = challenge->challenge.member;
    act->subject = challenge->subject;
    memcpy(act->nonce, challenge->nonce, sizeof(act->nonce));
    if (!err)
        err = act_sign(act, actor->act_key, &compact);
    if (err)
        return err;
    body = act_body(compact);
    if (!body)
        return ESCROW_ERR_NO_MEMORY;
    err = ask(rpc, actor, acts[act->kind].path, body, &expect, &answer);
    if (err)
        return err;
    if (!tpm_name_equal(&answer->kid, &challenge->kid) || !acts[act->kind].is_about(act, answer))
        return fail(rpc, ESCROW_ERR_CRYPTO, "the answer is another member's or about another act");
    *ret_answer = TAKE(answer);
    return ESCROW_OK;
}

enum escrow_err rpc_orders(struct rpc *rpc, unsigned wait_s, json_t **ret_orders)
{
    char path[PATH_MAX_BYTES];
    enum escrow_err err;

    snprintf(path, sizeof(path), "/v1/orders?wait=%u", wait_s);
    rpc_http_set_timeout(rpc->http, rpc->timeout_ms + (int64_t)wait_s * 1000);
    err = exchange_json(rpc, path, NULL, ret_orders);
    rpc_http_set_timeout(rpc->http, rpc->timeout_ms);
    return err;
}

enum escrow_err rpc_secrets(struct rpc *rpc, json_t **ret_secrets)
{
    return exchange_json(rpc, "/v1/secrets", NULL, ret_secrets);
}

enum escrow_err rpc_status(struct rpc *rpc, json_t **ret_status)
{
    return exchange_json(rpc, "/v1/status", NULL, ret_status);
}

enum escrow_err rpc_audit(struct rpc *rpc, uint64_t from, unsigned limit, char **ret_lines,
                          size_t *ret_len)
{
    char path[PATH_MAX_BYTES];

    snprintf(path, sizeof(path), "/v1/audit?from=%" PRIu64 "&limit=%u", from, limit);
    return exchange(rpc, path, NULL, ret_lines, ret_len);
}
