/* SPDX-License-Identifier: Apache-2.0 */
#include "client/rpc_act.h"

#include "libescrow/rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Notes a failure that is not a refusal of escrowd. */
static enum escrow_err fail(struct rpc_session *session, enum escrow_err err, const char *text)
{
    session->problem = (struct rpc_reply){0};
    snprintf(session->problem.detail, sizeof(session->problem.detail), "%s", text);
    return err;
}

static enum escrow_err from_status(unsigned status)
{
    switch (status) {
    case 404:
        return ESCROW_ERR_NOT_FOUND;
    case 502:
    case 503:
    case 504:
        return ESCROW_ERR_UNAVAILABLE;
    default:
        return ESCROW_ERR_DENIED;
    }
}

/* Keeps what a refusal says, in one line. */
static enum escrow_err refuse(struct rpc_session *session, const struct rpc_reply *reply)
{
    struct rpc_reply *problem = &session->problem;

    *problem = *reply;
    problem->body = NULL;
    problem->len = 0;
    if (reply->reason == REASON_NONE)
        snprintf(problem->detail, sizeof(problem->detail), "HTTP status %u without a reason",
                 reply->status);
    else if (!reply->detail[0])
        snprintf(problem->detail, sizeof(problem->detail), "%s", reason_text(reply->reason));
    return from_status(reply->status);
}

static enum escrow_err exchange(struct rpc_session *session, const char *path, const char *body,
                                struct rpc_reply *ret_reply)
{
    CLEANUP(rpc_reply_deinit) struct rpc_reply reply = {0};
    enum escrow_err err = rpc_request(session->rpc, path, body, session->timeout_ms, &reply);

    if (err)
        return fail(session, err, reply.detail);
    if (reply.status != 200)
        return refuse(session, &reply);
    *ret_reply = reply;
    reply.body = NULL;
    return ESCROW_OK;
}

enum escrow_err rpc_session_get(struct rpc_session *session, const char *path, char **ret_body,
                                size_t *ret_len)
{
    struct rpc_reply reply;
    enum escrow_err err = exchange(session, path, NULL, &reply);

    if (err)
        return err;
    *ret_body = reply.body;
    *ret_len = reply.len;
    return ESCROW_OK;
}

static enum escrow_err asker_name(const struct rpc_session *session, struct tpm_name *ret_name)
{
    struct ec_point point;
    enum escrow_err err = key_point(session->act_key, &point);

    return err ? err : key_signer_name(&point, ret_name);
}

/* Posts and verifies a signed answer. body is NULL where there was no memory for it. */
static enum escrow_err ask(struct rpc_session *session, const char *path, const char *body,
                           const struct answer_expect *expect, struct answer **ret_answer)
{
    CLEANUP(rpc_reply_deinit) struct rpc_reply reply = {0};
    CLEANUP(cleanup_free) char *compact = NULL;
    const struct roster_member *member;
    enum escrow_err err = body ? exchange(session, path, body, &reply) : ESCROW_ERR_NO_MEMORY;

    if (err)
        return err;
    err = rpc_unwrap(reply.body, reply.len, "answer", &compact);
    if (err)
        return fail(session, err, "the answer does not have its form");
    err = answer_verify(compact, strlen(compact), session->roster, expect, ret_answer, &member);
    if (!err || err == ESCROW_ERR_NO_MEMORY)
        return err;
    /* Not a refusal but a forgery, or a roster that does not know this member. */
    return fail(session, ESCROW_ERR_CRYPTO,
                "the answer is not one that a member of the roster signed for this request");
}

static bool is_same_subject(const struct act_subject *one, const struct act_subject *other)
{
    return strcmp(one->group, other->group) == 0 && strcmp(one->database, other->database) == 0;
}

enum escrow_err rpc_act_challenge(struct rpc_session *session, const struct act *act,
                                  struct answer **ret_challenge)
{
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(cleanup_free) char *body = NULL;
    struct rpc_challenge question = {
        .act = act->kind, .purpose = act->purpose, .subject = act->subject};
    const struct answer_expect expect = {.kind = ANSWER_CHALLENGE, .asker = &question.key};
    enum escrow_err err = asker_name(session, &question.key);

    if (err)
        return err;
    body = rpc_challenge_text(&question);
    err = ask(session, "/v1/challenge", body, &expect, &challenge);
    if (err)
        return err;
    if (challenge->challenge.act != act->kind ||
        !is_same_subject(&challenge->subject, &act->subject))
        return fail(session, ESCROW_ERR_CRYPTO, "the challenge is for another act");
    *ret_challenge = TAKE(challenge);
    return ESCROW_OK;
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

static bool is_signed_for(const struct act_release *release, const struct tpm_name *object)
{
    for (size_t i = 0; i < release->object_count; i++) {
        if (tpm_name_equal(&release->objects[i].object, object))
            return true;
    }
    return false;
}

static bool is_about_release(const struct act *act, const struct answer *answer)
{
    if (!is_same_subject(&act->subject, &answer->subject) ||
        strcmp(act->release.replica, answer->grant.replica) != 0)
        return false;
    for (size_t i = 0; i < answer->object_count; i++) {
        if (!is_signed_for(&act->release, &answer->objects[i].name))
            return false;
    }
    return true;
}

/* A noted answer names nothing: the nonce alone binds it to its act. */
static bool is_about_nonce(const struct act *act, const struct answer *answer)
{
    return memcmp(act->nonce, answer->nonce, ACT_NONCE_BYTES) == 0;
}

/* Indexed by enum act_kind. */
static const struct {
    const char *path;
    enum answer_kind answer;
    bool (*is_about)(const struct act *act, const struct answer *answer);
} acts[] = {
    [ACT_DEPOSIT] = {"/v1/deposit", ANSWER_DURABLE, is_about_deposit},
    [ACT_RELEASE] = {"/v1/release", ANSWER_GRANT, is_about_release},
    [ACT_RECEIPT] = {"/v1/receipt", ANSWER_NOTED, is_about_nonce},
    [ACT_ORDER] = {"/v1/orders", ANSWER_NOTED, is_about_nonce},
    [ACT_APPROVE] = {"/v1/approve", ANSWER_NOTED, is_about_nonce},
    [ACT_PUBLISH] = {"/v1/publish", ANSWER_NOTED, is_about_nonce},
    [ACT_REBASELINE] = {"/v1/rebaseline", ANSWER_NOTED, is_about_nonce},
};

enum escrow_err rpc_act_send(struct rpc_session *session, const struct answer *challenge,
                             struct act *act, struct answer **ret_answer)
{
    CLEANUP(answer_free_p) struct answer *answer = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;
    CLEANUP(cleanup_free) char *body = NULL;
    struct tpm_name asker;
    const struct answer_expect expect = {
        .kind = acts[act->kind].answer, .asker = &asker, .nonce = challenge->nonce};
    enum escrow_err err = acts[act->kind].path ? asker_name(session, &asker) : ESCROW_ERR_USAGE;

    if (err)
        return err;
    act->aud = challenge->challenge.member;
    memcpy(act->nonce, challenge->nonce, sizeof(act->nonce));
    err = act_sign(act, session->act_key, &compact);
    if (err)
        return fail(session, err, "the act cannot be signed");
    body = rpc_wrap("act", compact);
    err = ask(session, acts[act->kind].path, body, &expect, &answer);
    if (err)
        return err;
    if (!tpm_name_equal(&answer->kid, &challenge->kid) || !acts[act->kind].is_about(act, answer))
        return fail(session, ESCROW_ERR_CRYPTO,
                    "the answer is another member's, or about another act");
    *ret_answer = TAKE(answer);
    return ESCROW_OK;
}
