/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/deposit: takes a new version of a secret, sealed, and lets the TPM import it. */
#include "escrowd/keeper_state.h"
#include "escrowd/store_secrets.h"
#include "libescrow/json.h"

#include <stdlib.h>
#include <string.h>

#define DEPOSIT_DEADLINE_MS 6000 /* until the TPM is free for it */

/* The object is the template, and under the policy of its group (libescrow/tpm_policy.h). */
static enum reason check_object(const struct keeper *keeper, const struct act *act,
                                struct wrap_object *ret_object)
{
    struct tpm_digest policy;

    if (wrap_object_parse(act->deposit.public_area, act->deposit.public_len, ret_object))
        return REASON_TEMPLATE_MISMATCH;
    if (tpm_policy_object(&keeper->authority_name, act->subject.group, &policy))
        return REASON_INTERNAL;
    return memcmp(policy.bytes, ret_object->auth_policy, TPM_DIGEST_BYTES) == 0
               ? REASON_NONE
               : REASON_TEMPLATE_MISMATCH;
}

static const struct wrap_blob *find_blob(const struct act_deposit *deposit,
                                         const struct tpm_name *to)
{
    for (size_t i = 0; i < deposit->blob_count; i++) {
        if (tpm_name_equal(&deposit->blobs[i].to, to))
            return &deposit->blobs[i].blob;
    }
    return NULL;
}

/* One blob for each member and the recovery key, and for nobody else. */
static enum reason check_blobs(const struct roster *roster, const struct act_deposit *deposit)
{
    const struct roster_member *members;
    size_t count = roster_members(roster, &members);

    if (deposit->blob_count != count + 1 || !find_blob(deposit, roster_recovery_name(roster)))
        return REASON_BLOB_MISSING;
    for (size_t i = 0; i < count; i++) {
        if (!find_blob(deposit, &members[i].storage))
            return REASON_BLOB_MISSING;
    }
    return REASON_NONE;
}

static enum reason check_place(const struct keeper *keeper, const struct act *act)
{
    struct target target;
    enum reason reason = target_find(keeper->policy, &act->subject, &target);
    uint32_t next;

    if (reason)
        return reason;
    if (store_next_version(keeper->store, &act->subject, &next))
        return REASON_STORE_UNAVAILABLE;
    return act->deposit.version == next ? REASON_NONE : REASON_VERSION_MISMATCH;
}

/* Everything about the act but its blob, by the roster, policy and versions of now. */
static enum reason check(const struct request *request, struct wrap_object *ret_object)
{
    const struct keeper *keeper = request->keeper;
    enum reason reason = request_recheck(request, ROSTER_ADMIN);

    if (!reason)
        reason = check_place(keeper, request->act);
    if (!reason)
        reason = check_object(keeper, request->act, ret_object);
    if (!reason)
        reason = check_blobs(ledger_roster(keeper->ledger), &request->act->deposit);
    return reason;
}

static void record_deposit(struct request *request)
{
    char kid[TPM_NAME_HEX + 1];
    struct audit_record record;
    CLEANUP(json_free_p) json_t *objects = json_pack("[o]", json_tpm_name(&request->object));
    CLEANUP(json_free_p)
    json_t *versions = json_pack("[I]", (json_int_t)request->act->deposit.version);
    CLEANUP(json_free_p)
    json_t *detail = json_pack("{s:s}", "state", secret_state_word(request->act->deposit.state));

    if (!objects || !versions || !detail) {
        request_fail(request, REASON_INTERNAL);
        return;
    }
    request_describe(request, AUDIT_DEPOSIT, &record, kid);
    record.objects = objects;
    record.versions = versions;
    record.detail = detail;
    request_record(request, &record);
}

void deposit_start(struct request *request)
{
    struct wrap_object object;
    enum reason reason;

    /* What is on its way to the log counts for the next version. */
    keeper_flush(request->keeper);
    if (!request_accept(request, ACT_DEPOSIT, ROSTER_ADMIN))
        return;
    reason = check(request, &object);
    if (reason)
        request_refuse(request, reason);
    else
        keeper_tpm_wait(request, DEPOSIT_DEADLINE_MS);
}

void deposit_turn(struct request *request)
{
    CLEANUP(cleanup_free) struct tpm_import_job *job = calloc(1, sizeof(*job));
    const struct keeper *keeper = request->keeper;
    enum reason reason = keeper_tpm_refuses(request);

    if (!reason && !job)
        reason = REASON_INTERNAL;
    if (reason) {
        request_fail(request, reason);
        return;
    }
    reason = check(request, &job->object);
    if (reason) {
        request_refuse(request, reason);
        return;
    }
    job->job.work = tpm_import_job;
    job->blob = *find_blob(&request->act->deposit, &keeper->member->names.storage);
    request->object = job->object.name;
    keeper_tpm_do(request, &TAKE(job)->job);
}

/* A version is known by its object: one that is a version already would never come into the store,
 * and its record would stand in the log. */
static enum reason check_is_new(const struct keeper *keeper, const struct tpm_name *object)
{
    bool is_known = true;

    if (store_has_object(keeper->store, object, &is_known))
        return REASON_STORE_UNAVAILABLE;
    return is_known ? REASON_VERSION_MISMATCH : REASON_NONE;
}

void deposit_back(struct request *request)
{
    const enum escrow_err err = request->job->err;
    struct wrap_object object;
    enum reason reason = err == ESCROW_ERR_CRYPTO ? REASON_BLOB_INVALID : keeper_tpm_reason(err);

    /* Another deposit, or another roster, may have come before it. */
    keeper_flush(request->keeper);
    if (!reason)
        reason = check(request, &object);
    if (!reason)
        reason = check_is_new(request->keeper, &object.name);
    if (reason)
        request_refuse(request, reason);
    else
        record_deposit(request);
}

void deposit_finish(struct request *request)
{
    struct keeper *keeper = request->keeper;
    CLEANUP(answer_free_p) struct answer *answer = answer_new(ANSWER_DURABLE);

    /* Without it the version is imported again from its blob. */
    keeper_tpm_imported(keeper, &request->object,
                        &((const struct tpm_import_job *)request->job)->private_area);
    warm_object(keeper->warm, &request->act->subject);
    if (!answer) {
        request_fail(request, REASON_INTERNAL);
        return;
    }
    answer->subject = request->act->subject;
    answer->durable.version = request->act->deposit.version;
    answer->durable.object = request->object;
    answer->durable.state = request->act->deposit.state;
    request_sign(request, answer);
}
