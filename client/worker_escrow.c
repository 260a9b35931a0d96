/* SPDX-License-Identifier: Apache-2.0 */
#include "client/worker_escrow.h"

#include "client/worker_roster.h"
#include "libescrow/json.h"
#include "libescrow/rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AWAIT_GRACE_S 10  /* of an answer, beyond what it is asked to be held back for */
#define HTTP_ACCEPTED 202 /* escrowd's admins must approve */

enum escrow_err worker_identity_init(struct worker_identity *identity, struct worker_run *run)
{
    const struct worker_task *task = run->task;
    enum escrow_err err;

    *identity = (struct worker_identity){0};
    err = key_read_public(task->config->authority_file, &identity->authority);
    if (!err)
        err = key_read_private(task->instance->act_key_file, &identity->act_key);
    if (err)
        worker_run_fail(run, WORKER_LOCAL, "%s or %s cannot be used: %s",
                        task->config->authority_file, task->instance->act_key_file,
                        escrow_err_name(err));
    return err;
}

void worker_identity_deinit(struct worker_identity *identity)
{
    key_free_p(&identity->authority);
    key_free_p(&identity->act_key);
}

static enum worker_outcome outcome_of(enum escrow_err err, const struct rpc_reply *problem)
{
    if (problem->status == HTTP_ACCEPTED)
        return WORKER_NEEDS_APPROVAL;
    switch (err) {
    case ESCROW_ERR_UNAVAILABLE:
    case ESCROW_ERR_TIMEOUT:
        return WORKER_UNAVAILABLE;
    case ESCROW_ERR_DENIED:
    case ESCROW_ERR_NOT_FOUND:
        return WORKER_DENIED;
    case ESCROW_ERR_CRYPTO:
    case ESCROW_ERR_MALFORMED:
        return WORKER_DISTRUSTED;
    default:
        return WORKER_LOCAL;
    }
}

/* Notes what the session's last call met; err is its result. */
static enum escrow_err fail(struct worker_escrow *escrow, enum escrow_err err)
{
    const struct rpc_reply *problem = &escrow->session.problem;
    struct worker_run *run = escrow->run;
    char request[64] = "";

    if (problem->request != 0)
        snprintf(request, sizeof(request), " (request %llu: escrowctl approve)",
                 (unsigned long long)problem->request);
    worker_run_fail(run, outcome_of(err, problem), "escrowd %s: %s%s", escrow->config->address,
                    problem->detail[0] ? problem->detail : escrow_err_name(err), request);
    run->result.reason = problem->reason;
    run->result.retry_after_s = problem->retry_after_s;
    return err;
}

/* Every request has its share of what is left: one escrowd that hangs leaves time for the next. */
static void set_patience(struct worker_escrow *escrow)
{
    int64_t left = escrow->left > 0 ? (int64_t)escrow->left : 1;

    escrow->session.timeout_ms = worker_run_left_ms(escrow->run) / left + 1;
}

/* In place of the one before. */
static enum escrow_err fetch_roster(struct worker_escrow *escrow)
{
    CLEANUP(cleanup_free) char *body = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    const char *what = "its roster does not have its form";
    size_t len = 0;
    enum escrow_err err;

    set_patience(escrow);
    err = rpc_session_get(&escrow->session, "/v1/roster", &body, &len);
    if (err)
        return fail(escrow, err);
    err = rpc_unwrap(body, len, "roster", &compact);
    if (!err)
        err = worker_roster_accept(compact, strlen(compact), escrow->identity->authority,
                                   escrow->run->task->config->state_file, &roster, &what);
    if (err) {
        worker_run_fail(escrow->run, WORKER_DISTRUSTED, "escrowd %s: %s", escrow->config->address,
                        what);
        return err;
    }
    roster_free(escrow->roster);
    escrow->session.roster = escrow->roster = TAKE(roster);
    return ESCROW_OK;
}

enum escrow_err worker_escrow_init(struct worker_escrow *escrow, struct worker_run *run,
                                   const struct worker_identity *identity,
                                   const struct rpc_server *config)
{
    enum escrow_err err;

    *escrow = (struct worker_escrow){.run = run,
                                     .config = config,
                                     .identity = identity,
                                     .session = {.act_key = identity->act_key},
                                     .left = escrow->left,
                                     .request = escrow->request,
                                     .told_request = escrow->told_request};
    worker_run_begin(run, WORKER_PART_CHALLENGE);
    err = rpc_server_tls(config, run->task->instance->certificate_file,
                         run->task->instance->key_file, &escrow->tls);
    if (!err)
        err = rpc_new(config->address, (uint16_t)config->port, escrow->tls, &escrow->session.rpc);
    if (err) {
        worker_run_fail(run, WORKER_LOCAL,
                        "the certificate files or the address for escrowd %s cannot be used: %s",
                        config->address, escrow_err_name(err));
        return err;
    }
    return fetch_roster(escrow);
}

void worker_escrow_deinit(struct worker_escrow *escrow)
{
    rpc_free(TAKE(escrow->session.rpc));
    tls_free(TAKE(escrow->tls));
    roster_free(TAKE(escrow->roster));
    escrow->config = NULL;
}

/* ESCROW_ERR_CONFIG if the text does not fit; the configuration bounds it to what does. */
static enum escrow_err copy_name(const char *name, char *ret_text, size_t cap)
{
    return snprintf(ret_text, cap, "%s", name) < (int)cap ? ESCROW_OK : ESCROW_ERR_CONFIG;
}

/* An act about the task's database; owned by the caller. */
static enum escrow_err new_act(const struct worker_escrow *escrow, enum act_kind kind,
                               struct act **ret_act)
{
    const struct worker_task *task = escrow->run->task;
    CLEANUP(act_free_p) struct act *act = act_new(kind);
    enum escrow_err err;

    if (!act)
        return ESCROW_ERR_NO_MEMORY;
    act->purpose = PURPOSE_PROMOTE;
    err = copy_name(task->instance->group, act->subject.group, sizeof(act->subject.group));
    if (!err)
        err = copy_name(task->database, act->subject.database, sizeof(act->subject.database));
    if (!err)
        *ret_act = TAKE(act);
    return err;
}

static enum escrow_err fail_locally(struct worker_escrow *escrow, enum escrow_err err)
{
    worker_run_fail(escrow->run, WORKER_LOCAL, "the act cannot be made: %s", escrow_err_name(err));
    return err;
}

static enum escrow_err ask_challenge(struct worker_escrow *escrow, struct answer **ret_challenge)
{
    CLEANUP(act_free_p) struct act *act = NULL;
    enum escrow_err err = new_act(escrow, ACT_RELEASE, &act);

    if (err)
        return fail_locally(escrow, err);
    set_patience(escrow);
    err = rpc_act_challenge(&escrow->session, act, ret_challenge);
    return err ? fail(escrow, err) : ESCROW_OK;
}

static bool is_overtaken(const struct worker_escrow *escrow, const struct answer *challenge)
{
    return challenge->challenge.roster_version > roster_version(escrow->roster);
}

enum escrow_err worker_escrow_challenge(struct worker_escrow *escrow, struct answer **ret_challenge)
{
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    enum escrow_err err = ask_challenge(escrow, &challenge);

    /* A member whose answer key is new is not in the old roster at all. */
    if (err == ESCROW_ERR_CRYPTO || (!err && is_overtaken(escrow, challenge))) {
        answer_free(TAKE(challenge));
        err = fetch_roster(escrow);
        if (!err)
            err = ask_challenge(escrow, &challenge);
    }
    if (err)
        return err;
    if (is_overtaken(escrow, challenge)) {
        worker_run_fail(escrow->run, WORKER_DISTRUSTED,
                        "escrowd %s: it goes by a newer roster than the one that it shows",
                        escrow->config->address);
        return ESCROW_ERR_CRYPTO;
    }
    *ret_challenge = TAKE(challenge);
    return ESCROW_OK;
}

static enum escrow_err new_release(const struct worker_escrow *escrow,
                                   const struct answer *challenge,
                                   const struct worker_choice *choice, EVP_PKEY *recipient,
                                   struct act **ret_act)
{
    CLEANUP(act_free_p) struct act *act = NULL;
    enum escrow_err err = new_act(escrow, ACT_RELEASE, &act);
    struct act_release *release;

    if (err)
        return err;
    release = &act->release;
    err = copy_name(escrow->run->task->instance->name, release->replica, sizeof(release->replica));
    if (!err)
        err = key_point(recipient, &release->recipient);
    if (err)
        return err;
    release->object_count = choice->count;
    for (size_t i = 0; i < choice->count; i++)
        release->objects[i].object = challenge->objects[choice->index[i]].name;
    err = act_sign_objects(escrow->session.act_key, &release->recipient, release->objects,
                           release->object_count);
    if (!err)
        *ret_act = TAKE(act);
    return err;
}

enum escrow_err worker_escrow_release(struct worker_escrow *escrow, const struct answer *challenge,
                                      const struct worker_choice *choice, EVP_PKEY *recipient,
                                      struct answer **ret_grant)
{
    CLEANUP(act_free_p) struct act *act = NULL;
    enum escrow_err err;

    worker_run_begin(escrow->run, WORKER_PART_RELEASE);
    err = new_release(escrow, challenge, choice, recipient, &act);
    if (err)
        return fail_locally(escrow, err);
    set_patience(escrow);
    err = rpc_act_send(&escrow->session, challenge, act, ret_grant);
    if (err)
        return fail(escrow, err);
    escrow->run->result.epoch = (*ret_grant)->grant.epoch;
    return ESCROW_OK;
}

/* Whether the request can still be approved; fails with the words for it if not. */
static enum escrow_err judge_state(struct worker_escrow *escrow, const char *state)
{
    bool is_expired = strcmp(state, "expired") == 0;

    if (strcmp(state, "approved") == 0)
        return ESCROW_OK;
    if (strcmp(state, "pending") == 0)
        return ESCROW_ERR_TIMEOUT;
    worker_run_fail(escrow->run, WORKER_NEEDS_APPROVAL, "escrowd %s: request %llu %s",
                    escrow->config->address, (unsigned long long)escrow->request,
                    is_expired ? "has expired: not enough admins have approved it in its time"
                               : "is closed: something else was asked for or granted since, the "
                                 "group has a new primary, or the master key opens by itself");
    escrow->run->result.reason = is_expired ? REASON_REQUEST_EXPIRED : REASON_REQUEST_UNKNOWN;
    escrow->request = 0;
    return ESCROW_ERR_NOT_FOUND;
}

enum escrow_err worker_escrow_await(struct worker_escrow *escrow, unsigned wait_s)
{
    CLEANUP(cleanup_free) char *body = NULL;
    CLEANUP(json_free_p) json_t *document = NULL;
    const char *state = "";
    char path[96];
    size_t len = 0;
    enum escrow_err err;

    snprintf(path, sizeof(path), "/v1/requests?number=%llu&wait=%u",
             (unsigned long long)escrow->request, wait_s);
    escrow->session.timeout_ms = ((int64_t)wait_s + AWAIT_GRACE_S) * 1000;
    rpc_interrupt_by(escrow->session.rpc, escrow->run->task->channel_fd);
    err = rpc_session_get(&escrow->session, path, &body, &len);
    rpc_interrupt_by(escrow->session.rpc, -1);
    if (!err)
        err = json_parse(body, len, RPC_BODY_MAX, &document);
    if (!err) {
        state = json_string_value(json_object_get(document, "state"));
        err = state ? ESCROW_OK : ESCROW_ERR_MALFORMED;
    }
    if (err == ESCROW_ERR_NOT_FOUND)
        state = "closed";
    else if (err)
        return err;
    return judge_state(escrow, state);
}

/* What may stand in an act: bounded, printable ASCII. */
static void copy_detail(const char *text, char *ret_detail, size_t cap)
{
    size_t i;

    for (i = 0; text[i] && i + 1 < cap; i++) {
        ret_detail[i] = text[i];
        if (text[i] < ' ' || text[i] > '~')
            ret_detail[i] = '?';
    }
    ret_detail[i] = '\0';
}

static enum escrow_err new_receipt(const struct worker_escrow *escrow,
                                   const struct worker_receipt *receipt, struct act **ret_act)
{
    CLEANUP(act_free_p) struct act *act = NULL;
    enum escrow_err err = new_act(escrow, ACT_RECEIPT, &act);

    if (err)
        return err;
    err = copy_name(receipt->grant->grant.replica, act->receipt.replica,
                    sizeof(act->receipt.replica));
    if (err)
        return err;
    act->receipt.grant = receipt->grant->sequence;
    act->receipt.outcome = receipt->object ? OUTCOME_OPENED : OUTCOME_FAILED;
    act->receipt.has_object = receipt->object != NULL;
    if (receipt->object)
        act->receipt.object = receipt->object->name;
    act->receipt.sql_error = receipt->sql_error;
    copy_detail(receipt->detail, act->receipt.detail, sizeof(act->receipt.detail));
    *ret_act = TAKE(act);
    return ESCROW_OK;
}

enum escrow_err worker_escrow_receipt(struct worker_escrow *escrow,
                                      const struct worker_receipt *receipt)
{
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(answer_free_p) struct answer *noted = NULL;
    CLEANUP(act_free_p) struct act *act = NULL;
    enum escrow_err err = new_receipt(escrow, receipt, &act);

    if (err)
        return fail_locally(escrow, err);
    set_patience(escrow);
    err = rpc_act_challenge(&escrow->session, act, &challenge);
    if (!err)
        err = rpc_act_send(&escrow->session, challenge, act, &noted);
    return err ? fail(escrow, err) : ESCROW_OK;
}
