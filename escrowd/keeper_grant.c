/* SPDX-License-Identifier: Apache-2.0 */
/* The second half of POST /v1/release: what follows from a decision that is on disk. */
#include "escrowd/clock.h"
#include "escrowd/keeper_approvals.h"
#include "escrowd/keeper_approve.h"
#include "escrowd/keeper_denials.h"
#include "escrowd/keeper_release.h"
#include "escrowd/store_secrets.h"
#include "libescrow/json.h"
#include "libescrow/log.h"

#include <stdlib.h>
#include <string.h>

static struct store_version *find_version(struct store_version *versions, size_t count,
                                          const struct tpm_name *object)
{
    for (size_t i = 0; i < count; i++) {
        if (tpm_name_equal(&versions[i].object, object))
            return &versions[i];
    }
    return NULL;
}

/* The live versions of the secret, owned by the caller. */
static enum reason load_versions(const struct request *request, struct store_version **ret_versions,
                                 size_t *ret_count)
{
    struct store_version *versions = calloc(ACT_OBJECTS_MAX, sizeof(*versions));

    if (!versions)
        return REASON_INTERNAL;
    if (store_live_versions(request->keeper->store, &request->act->subject, versions,
                            ACT_OBJECTS_MAX, ret_count)) {
        free(versions);
        return REASON_STORE_UNAVAILABLE;
    }
    *ret_versions = versions;
    return *ret_count ? REASON_NONE : REASON_SECRET_UNKNOWN;
}

enum reason release_check_grantable(struct request *request)
{
    const struct act_release *wanted = &request->act->release;
    CLEANUP(cleanup_free) struct store_version *versions = NULL;
    size_t count;
    enum reason reason = load_versions(request, &versions, &count);

    json_decref(request->release->versions);
    request->release->versions = json_array();
    for (size_t i = 0; !reason && i < wanted->object_count; i++) {
        const struct store_version *version =
            find_version(versions, count, &wanted->objects[i].object);

        if (!version)
            reason = REASON_OBJECT_MISMATCH;
        else if (json_array_append_new(request->release->versions,
                                       json_integer((json_int_t)version->version)))
            reason = REASON_INTERNAL;
    }
    if (!reason)
        reason = keeper_approvals_lack(request->keeper, request->act->subject.group, &request->kid);
    return reason;
}

/* Says in the log that nothing was let out for the grant that was recorded. */
static void record_unfinished(const struct request *request, enum reason reason)
{
    char kid[TPM_NAME_HEX + 1];
    struct audit_record record;

    request_describe(request, AUDIT_UNFINISHED, &record, kid);
    record.act = NULL;
    record.replica = request->release->replica->instance;
    record.epoch = request->release->epoch;
    record.grant = request->sequence;
    record.reason = reason_code(reason);
    if (keeper_append(request->keeper, &record, NULL, NULL))
        log_warning("that grant %llu let nothing out could not be recorded",
                    (unsigned long long)request->sequence);
}

/* The grant that is recorded lets nothing out. */
static void end_unfinished(struct request *request, enum reason reason)
{
    record_unfinished(request, reason);
    request_fail(request, reason);
}

/* What one object needs in the TPM, and what is said of it in the answer already. */
static enum reason fill_object(const struct keeper *keeper, const struct store_version *version,
                               const struct act_signature *wanted,
                               struct tpm_release_object *object, struct answer_object *answer)
{
    if (wrap_object_parse(version->public_area, version->public_len, &object->object))
        return REASON_STORE_UNAVAILABLE;
    object->private_area = version->private_area;
    if (version->private_area.len == 0 &&
        store_blob(keeper->store, &version->object, &keeper->member->names.storage, &object->blob))
        return REASON_STORE_UNAVAILABLE;
    memcpy(object->signature, wanted->signature, sizeof(object->signature));
    answer->name = version->object;
    answer->version = version->version;
    answer->state = version->state;
    answer->public_len = version->public_len;
    memcpy(answer->public_area, version->public_area, version->public_len);
    memcpy(answer->payload, version->payload, sizeof(answer->payload));
    return REASON_NONE;
}

static enum reason fill_objects(const struct request *request, struct tpm_release_job *job,
                                struct answer *answer)
{
    const struct act_release *wanted = &request->act->release;
    CLEANUP(cleanup_free) struct store_version *versions = NULL;
    size_t count;
    enum reason reason = load_versions(request, &versions, &count);

    for (size_t i = 0; !reason && i < wanted->object_count; i++) {
        const struct store_version *version =
            find_version(versions, count, &wanted->objects[i].object);

        reason = version ? fill_object(request->keeper, version, &wanted->objects[i],
                                       &job->objects[i], &answer->objects[i])
                         : REASON_OBJECT_MISMATCH;
    }
    job->object_count = answer->object_count = wanted->object_count;
    return reason;
}

static enum reason fill_job(struct request *request, struct tpm_release_job *job)
{
    const struct act *act = request->act;
    struct release *release = request->release;

    job->job.work = tpm_release_job;
    job->start_by_ms = clock_boot_ms() + release_fresh_for_ms(request);
    job->authority = request->keeper->authority_point;
    job->recipient = act->release.recipient;
    job->signer = release->key_point;
    memcpy(job->group, act->subject.group, sizeof(job->group));
    answer_free(release->answer);
    release->answer = answer_new(ANSWER_GRANT);
    if (!release->answer)
        return REASON_INTERNAL;
    release->answer->subject = act->subject;
    release->answer->grant.epoch = release->epoch;
    release->answer->grant.reason = release->verdict.reason;
    memcpy(release->answer->grant.replica, act->release.replica,
           sizeof(release->answer->grant.replica));
    return fill_objects(request, job, release->answer);
}

/* REASON_NONE, or what has come into force since the decision: a roster, or an epoch. */
static enum reason overtaken(const struct request *request)
{
    const struct release *release = request->release;

    if (!release_is_by_roster(request))
        return REASON_ROSTER_CHANGED;
    return store_epoch(request->keeper->store, release->target.group->name) == release->epoch
               ? REASON_NONE
               : REASON_FACTS_OLD;
}

/* What was decided is not true any more, or was too long ago. */
static bool is_outdated(struct request *request)
{
    enum reason reason = overtaken(request);

    if (!reason && release_fresh_for_ms(request) < 0)
        reason = REASON_FACTS_OLD;
    if (!reason)
        return false;
    record_unfinished(request, reason);
    release_ask_again(request);
    return true;
}

void release_turn(struct request *request)
{
    CLEANUP(cleanup_free) struct tpm_release_job *job = NULL;
    enum reason reason = keeper_tpm_refuses(request);

    if (!reason && is_outdated(request))
        return;
    job = calloc(1, sizeof(*job));
    if (!reason && !job)
        reason = REASON_INTERNAL;
    if (!reason)
        reason = keeper_approvals(request->keeper, request->act->subject.group, &request->kid, job);
    if (!reason)
        reason = fill_job(request, job);
    if (reason)
        end_unfinished(request, reason);
    else
        keeper_tpm_do(request, &TAKE(job)->job);
}

/* What the TPM made is of use whatever becomes of the request. */
static void keep_results(struct request *request, const struct tpm_release_job *job)
{
    keeper_approvals_keep(request->keeper, job);
    for (size_t i = 0; i < job->object_count; i++) {
        const struct tpm_release_object *object = &job->objects[i];

        if (object->blob.duplicate_len && object->private_area.len)
            keeper_tpm_imported(request->keeper, &object->object.name, &object->private_area);
    }
}

void release_back(struct request *request)
{
    const struct tpm_release_job *job = (const struct tpm_release_job *)request->job;
    struct answer *answer = request->release->answer;
    enum reason reason = keeper_tpm_reason(job->job.err);

    keep_results(request, job);
    if (!job->job.err)
        admission_learn(request->keeper->admission, job->job.took_us);
    if (!reason && request->is_gone)
        reason = REASON_ROLE_DOWN;
    /* A key that was revoked while the TPM worked for it, or a replica that another one has
     * followed, gets nothing of what came of that. */
    if (!reason)
        reason = overtaken(request);
    if (reason == REASON_FACTS_OLD || reason == REASON_ROSTER_CHANGED) {
        record_unfinished(request, reason);
        release_ask_again(request);
        return;
    }
    if (reason) {
        end_unfinished(request, reason);
        return;
    }
    for (size_t i = 0; i < job->object_count; i++)
        answer->objects[i].blob = job->objects[i].released;
    request_sign(request, answer);
}

/* The number by which admins approve. */
static void reply_needs_approval(struct request *request)
{
    const struct release *release = request->release;
    struct store_request wanted, pending = {0};
    CLEANUP(json_free_p) json_t *document = NULL;

    approve_wanted(request, &wanted);
    if (store_find_request(request->keeper->store, &wanted, clock_wall_ms(), &pending)) {
        request_fail(request, REASON_STORE_UNAVAILABLE);
        return;
    }
    heard_note(request->keeper->heard, pending.sequence, clock_boot_ms());
    document = json_pack("{s:I, s:s}", "request", (json_int_t)pending.sequence, "reason",
                         reason_code(release->verdict.reason));
    request_reply_json(request, HTTP_ACCEPTED, document);
}

/* The rule that trusts silence let it happen: a person should look. */
static void record_alert(const struct request *request)
{
    const struct release *release = request->release;
    struct audit_record record;

    keeper_record(request->keeper, AUDIT_ALERT, &record);
    record.group = request->act->subject.group;
    record.database = request->act->subject.database;
    record.replica = release->replica->instance;
    record.epoch = release->epoch;
    record.grant = request->sequence;
    record.reason = reason_code(release->verdict.reason);
    if (keeper_append(request->keeper, &record, NULL, NULL))
        log_warning("an alert could not be recorded");
}

void release_finish(struct request *request)
{
    const struct release *release = request->release;

    if (release->verdict.outcome == POLICY_ALLOW && release->verdict.is_by_silence)
        record_alert(request);
    switch (release->verdict.outcome) {
    case POLICY_DENY:
        denial_is_recorded(request);
        request_fail(request, release->verdict.reason);
        return;
    case POLICY_NEEDS_APPROVAL:
        reply_needs_approval(request);
        return;
    case POLICY_ALLOW:
        keeper_tpm_wait(request, release->deadline_ms - clock_boot_ms());
        return;
    case POLICY_WAIT:
        break;
    }
    request_fail(request, REASON_INTERNAL);
}
