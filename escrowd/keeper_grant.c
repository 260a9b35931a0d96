/* SPDX-License-Identifier: Apache-2.0 */
/* The second half of POST /v1/release: what follows from a decision that is on disk. */
#include "escrowd/keeper_approvals.h"
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

static enum reason tpm_reason(struct keeper *keeper, enum escrow_err err)
{
    if (!err)
        return REASON_NONE;
    if (err == ESCROW_ERR_UNAVAILABLE) {
        keeper->is_tpm_well = false;
        return REASON_TPM_UNAVAILABLE;
    }
    return err == ESCROW_ERR_STORE ? REASON_STORE_UNAVAILABLE : REASON_TPM_REFUSED;
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
    struct tpm_approval *host, *node;
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
        reason = keeper_approvals(request->keeper, request->act->subject.group, &request->kid,
                                  &host, &node);
    return reason;
}

/* One object from the TPM into the answer. */
static enum reason duplicate(struct request *request, struct store_version *version,
                             const struct act_signature *signature, struct answer_object *object)
{
    struct keeper *keeper = request->keeper;
    struct wrap_object parsed;
    struct tpm_signer signer = {.key = request->release->key_point};
    struct tpm_release_request wanted = {
        .object = &parsed,
        .private_area = &version->private_area,
        .recipient = &request->act->release.recipient,
        .authority = &keeper->authority_point,
        .group = request->act->subject.group,
        .signers = &signer,
        .signer_count = 1,
    };
    enum reason reason = keeper_approvals(keeper, request->act->subject.group, &request->kid,
                                          &wanted.host, &wanted.node);

    if (!reason && wrap_object_parse(version->public_area, version->public_len, &parsed))
        reason = REASON_STORE_UNAVAILABLE;
    if (!reason)
        reason = tpm_reason(keeper, keeper_import(keeper, version));
    if (reason)
        return reason;
    memcpy(signer.signature, signature->signature, sizeof(signer.signature));
    reason = tpm_reason(keeper, tpm_release(keeper->tpm, &wanted, &object->blob));
    if (reason)
        return reason;
    object->name = version->object;
    object->version = version->version;
    object->state = version->state;
    object->public_len = version->public_len;
    memcpy(object->public_area, version->public_area, version->public_len);
    memcpy(object->payload, version->payload, sizeof(object->payload));
    return REASON_NONE;
}

static enum reason duplicate_all(struct request *request, struct answer *answer)
{
    const struct act_release *wanted = &request->act->release;
    CLEANUP(cleanup_free) struct store_version *versions = NULL;
    size_t count;
    enum reason reason = load_versions(request, &versions, &count);

    for (size_t i = 0; !reason && i < wanted->object_count; i++) {
        struct store_version *version = find_version(versions, count, &wanted->objects[i].object);

        reason = version ? duplicate(request, version, &wanted->objects[i], &answer->objects[i])
                         : REASON_OBJECT_MISMATCH;
    }
    answer->object_count = wanted->object_count;
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

static void grant(struct request *request)
{
    const struct release *release = request->release;
    CLEANUP(answer_free_p) struct answer *answer = answer_new(ANSWER_GRANT);
    enum reason reason = answer ? REASON_NONE : REASON_INTERNAL;

    if (!reason && request->is_gone)
        reason = REASON_ROLE_DOWN;
    if (!reason)
        reason = duplicate_all(request, answer);
    if (reason) {
        record_unfinished(request, reason);
        request_fail(request, reason);
        return;
    }
    answer->subject = request->act->subject;
    answer->grant.epoch = release->epoch;
    answer->grant.reason = release->verdict.reason;
    memcpy(answer->grant.replica, request->act->release.replica, sizeof(answer->grant.replica));
    request_sign(request, answer);
}

/* 202: the number by which admins approve. */
static void reply_needs_approval(struct request *request)
{
    const struct release *release = request->release;
    struct store_request wanted = {.subject = request->act->subject,
                                   .purpose = request->act->purpose,
                                   .epoch = release->epoch,
                                   .reason = release->verdict.reason};
    CLEANUP(json_free_p) json_t *document = NULL;
    uint64_t number;

    memcpy(wanted.replica, request->act->release.replica, sizeof(wanted.replica));
    if (store_request_number(request->keeper->store, &wanted, &number)) {
        request_fail(request, REASON_STORE_UNAVAILABLE);
        return;
    }
    document = json_pack("{s:I, s:s}", "request", (json_int_t)number, "reason",
                         reason_code(release->verdict.reason));
    request_reply_json(request, 202, document);
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
        request_fail(request, release->verdict.reason);
        return;
    case POLICY_NEEDS_APPROVAL:
        reply_needs_approval(request);
        return;
    case POLICY_ALLOW:
        if (release_is_fresh(request) && release_is_by_roster(request)) {
            grant(request);
            return;
        }
        record_unfinished(request, REASON_DEADLINE);
        release_ask_again(request);
        return;
    case POLICY_WAIT:
        break;
    }
    request_fail(request, REASON_INTERNAL);
}
