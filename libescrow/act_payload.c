/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/act_payload.h"

#include "libescrow/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void act_read_subject(struct json_reader *reader, struct act_subject *ret_subject)
{
    const char *database = json_borrow_text(reader, "database", ACT_DATABASE_MAX);

    json_read_name(reader, "group", ret_subject->group, sizeof(ret_subject->group));
    snprintf(ret_subject->database, sizeof(ret_subject->database), "%s", database);
}

void act_read_blob(struct json_reader *reader, struct wrap_blob *ret_blob)
{
    json_read_bytes(reader, "key", ret_blob->inner_key, sizeof(ret_blob->inner_key));
    ret_blob->duplicate_len = json_read_bytes_up_to(reader, "duplicate", ret_blob->duplicate,
                                                    sizeof(ret_blob->duplicate));
    ret_blob->seed_len =
        json_read_bytes_up_to(reader, "seed", ret_blob->seed, sizeof(ret_blob->seed));
}

static bool set(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0;
}

bool act_write_subject(json_t *object, const struct act_subject *subject)
{
    return set(object, "group", json_string(subject->group)) &&
           set(object, "database", json_string(subject->database));
}

bool act_write_blob(json_t *object, const struct wrap_blob *blob)
{
    return set(object, "key", json_bytes(blob->inner_key, sizeof(blob->inner_key))) &&
           set(object, "duplicate", json_bytes(blob->duplicate, blob->duplicate_len)) &&
           set(object, "seed", json_bytes(blob->seed, blob->seed_len));
}

/* The purpose must be one that this kind of act can have. */
static void read_purpose(struct json_reader *reader, struct act *act)
{
    static const unsigned any =
        1U << PURPOSE_PROMOTE | 1U << PURPOSE_ROTATE | 1U << PURPOSE_DRILL | 1U << PURPOSE_RECOVER;
    static const unsigned allowed[] = {
        [ACT_DEPOSIT] = 1U << PURPOSE_DEPOSIT,
        [ACT_RELEASE] = any,
        [ACT_RECEIPT] = any,
        [ACT_ORDER] = 1U << PURPOSE_ROTATE | 1U << PURPOSE_DRILL,
        [ACT_APPROVE] = any,
        [ACT_PUBLISH] = 1U << PURPOSE_PUBLISH,
        [ACT_REBASELINE] = 1U << PURPOSE_REBASELINE,
    };

    act->purpose = act_purpose_from_word(json_borrow_text(reader, "purpose", NAME_MAX_BYTES));
    if (!(allowed[act->kind] & 1U << act->purpose))
        json_reader_fault(reader, "purpose");
}

static size_t read_signatures(struct json_reader *reader,
                              struct act_signature ret_objects[static ACT_OBJECTS_MAX])
{
    const json_t *array = json_read_array(reader, "objects", ACT_OBJECTS_MAX), *item;
    size_t i;

    json_array_foreach(array, i, item)
    {
        struct json_reader object;

        json_reader_init(&object, item, "act: objects[%zu]", i);
        json_read_tpm_name(&object, "name", &ret_objects[i].object);
        json_read_bytes(&object, "signature", ret_objects[i].signature, ECDSA_SIGNATURE_BYTES);
        if (json_reader_end(&object) != ESCROW_OK)
            json_reader_fault(reader, "objects");
        for (size_t j = 0; j < i; j++) {
            if (tpm_name_equal(&ret_objects[i].object, &ret_objects[j].object))
                json_reader_fault(reader, "objects");
        }
    }
    if (json_array_size(array) == 0)
        json_reader_fault(reader, "objects");
    return json_array_size(array);
}

static json_t *write_signatures(const struct act_signature *objects, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count && i < ACT_OBJECTS_MAX; i++) {
        json_t *item =
            json_pack("{s:o, s:o}", "name", json_tpm_name(&objects[i].object), "signature",
                      json_bytes(objects[i].signature, ECDSA_SIGNATURE_BYTES));

        if (json_array_append_new(array, item) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static void read_blobs(struct json_reader *reader, struct act_deposit *deposit)
{
    const json_t *array = json_read_array(reader, "blobs", ACT_BLOBS_MAX), *item;
    size_t i;

    json_array_foreach(array, i, item)
    {
        struct act_blob *blob = &deposit->blobs[i];
        struct json_reader object;

        json_reader_init(&object, item, "act: blobs[%zu]", i);
        json_read_tpm_name(&object, "to", &blob->to);
        act_read_blob(&object, &blob->blob);
        if (json_reader_end(&object) != ESCROW_OK)
            json_reader_fault(reader, "blobs");
        for (size_t j = 0; j < i; j++) {
            if (tpm_name_equal(&blob->to, &deposit->blobs[j].to))
                json_reader_fault(reader, "blobs");
        }
    }
    deposit->blob_count = json_array_size(array);
}

static json_t *write_blobs(const struct act_deposit *deposit)
{
    json_t *array = json_array();

    for (size_t i = 0; i < deposit->blob_count && i < ACT_BLOBS_MAX; i++) {
        json_t *item = json_pack("{s:o}", "to", json_tpm_name(&deposit->blobs[i].to));
        bool is_whole = item && act_write_blob(item, &deposit->blobs[i].blob);

        if (json_array_append_new(array, item) < 0 || !is_whole) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static void read_deposit(struct json_reader *reader, struct act *act)
{
    struct act_deposit *deposit = &act->deposit;

    act_read_subject(reader, &act->subject);
    deposit->version = (uint32_t)json_read_number(reader, "version", 1, UINT32_MAX);
    deposit->state = secret_state_from_word(json_borrow_text(reader, "state", NAME_MAX_BYTES));
    if (deposit->state != SECRET_ACTIVE && deposit->state != SECRET_PENDING)
        json_reader_fault(reader, "state");
    deposit->public_len =
        json_read_bytes_up_to(reader, "public", deposit->public_area, sizeof(deposit->public_area));
    json_read_bytes(reader, "payload", deposit->payload, sizeof(deposit->payload));
    read_blobs(reader, deposit);
}

static bool write_deposit(json_t *payload, const struct act *act)
{
    const struct act_deposit *deposit = &act->deposit;

    return act_write_subject(payload, &act->subject) &&
           set(payload, "version", json_integer(deposit->version)) &&
           set(payload, "state", json_string(secret_state_word(deposit->state))) &&
           set(payload, "public", json_bytes(deposit->public_area, deposit->public_len)) &&
           set(payload, "payload", json_bytes(deposit->payload, sizeof(deposit->payload))) &&
           set(payload, "blobs", write_blobs(deposit));
}

static void read_release(struct json_reader *reader, struct act *act)
{
    struct act_release *release = &act->release;

    act_read_subject(reader, &act->subject);
    json_read_name(reader, "replica", release->replica, sizeof(release->replica));
    json_read_name_or_null(reader, "order", release->order, sizeof(release->order));
    /* What is not done by an order would use one up. */
    if (release->order[0] && act->purpose != PURPOSE_ROTATE && act->purpose != PURPOSE_DRILL)
        json_reader_fault(reader, "order");
    json_read_point(reader, "recipient", &release->recipient);
    release->object_count = read_signatures(reader, release->objects);
}

static json_t *name_or_null(const char *name)
{
    return name[0] ? json_string(name) : json_null();
}

static bool write_release(json_t *payload, const struct act *act)
{
    const struct act_release *release = &act->release;

    return act_write_subject(payload, &act->subject) &&
           set(payload, "replica", json_string(release->replica)) &&
           set(payload, "order", name_or_null(release->order)) &&
           set(payload, "recipient", json_point(&release->recipient)) &&
           set(payload, "objects", write_signatures(release->objects, release->object_count));
}

static void read_receipt(struct json_reader *reader, struct act *act)
{
    struct act_receipt *receipt = &act->receipt;

    act_read_subject(reader, &act->subject);
    json_read_name(reader, "replica", receipt->replica, sizeof(receipt->replica));
    receipt->grant = json_read_number(reader, "grant", 1, INT64_MAX);
    receipt->outcome = act_outcome_from_word(json_borrow_text(reader, "outcome", NAME_MAX_BYTES));
    if (!receipt->outcome)
        json_reader_fault(reader, "outcome");
    receipt->has_object = json_read_tpm_name_or_null(reader, "object", &receipt->object);
    receipt->sql_error = json_read_int32(reader, "sql_error");
    json_read_text(reader, "detail", receipt->detail, sizeof(receipt->detail));
}

static bool write_receipt(json_t *payload, const struct act *act)
{
    const struct act_receipt *receipt = &act->receipt;

    return act_write_subject(payload, &act->subject) &&
           set(payload, "replica", json_string(receipt->replica)) &&
           set(payload, "grant", json_integer((json_int_t)receipt->grant)) &&
           set(payload, "outcome", json_string(act_outcome_word(receipt->outcome))) &&
           set(payload, "object",
               receipt->has_object ? json_tpm_name(&receipt->object) : json_null()) &&
           set(payload, "sql_error", json_integer(receipt->sql_error)) &&
           set(payload, "detail", json_string(receipt->detail));
}

static void read_order(struct json_reader *reader, struct act *act)
{
    act_read_subject(reader, &act->subject);
    act->order.expires_in_s =
        (uint32_t)json_read_number(reader, "expires_in", 1, ACT_ORDER_SECONDS_MAX);
}

static bool write_order(json_t *payload, const struct act *act)
{
    return act_write_subject(payload, &act->subject) &&
           set(payload, "expires_in", json_integer(act->order.expires_in_s));
}

static void read_approve(struct json_reader *reader, struct act *act)
{
    act_read_subject(reader, &act->subject);
    act->approve.request = json_read_number(reader, "request", 1, INT64_MAX);
    act->approve.object_count = read_signatures(reader, act->approve.objects);
}

static bool write_approve(json_t *payload, const struct act *act)
{
    const struct act_approve *approve = &act->approve;

    return act_write_subject(payload, &act->subject) &&
           set(payload, "request", json_integer((json_int_t)approve->request)) &&
           set(payload, "objects", write_signatures(approve->objects, approve->object_count));
}

static void read_rebaseline(struct json_reader *reader, struct act *act)
{
    act_read_subject(reader, &act->subject);
    json_read_name(reader, "replica", act->rebaseline.replica, sizeof(act->rebaseline.replica));
}

static bool write_rebaseline(json_t *payload, const struct act *act)
{
    return act_write_subject(payload, &act->subject) &&
           set(payload, "replica", json_string(act->rebaseline.replica));
}

static void read_approvals(struct json_reader *reader, struct act_publish *publish)
{
    const json_t *array = json_read_array(reader, "approvals", ACT_APPROVALS_MAX), *item;
    size_t i;

    /* One more than there are: calloc(0) may be NULL. */
    publish->approvals = calloc(json_array_size(array) + 1, sizeof(*publish->approvals));
    if (!publish->approvals) {
        json_reader_fault(reader, "approvals");
        return;
    }
    json_array_foreach(array, i, item)
    {
        if (approval_from_json(item, &publish->approvals[i]) != ESCROW_OK)
            json_reader_fault(reader, "approvals");
    }
    publish->approval_count = json_array_size(array);
}

static void read_publish(struct json_reader *reader, struct act *act)
{
    struct act_publish *publish = &act->publish;
    bool has_roster = !json_is_null(json_object_get(reader->object, "roster"));

    if (has_roster)
        publish->roster = strdup(json_borrow_text(reader, "roster", JWS_BYTES_MAX));
    else
        json_read_null(reader, "roster");
    read_approvals(reader, publish);
    if (has_roster ? !publish->roster : publish->approval_count == 0)
        json_reader_fault(reader, "roster");
}

static bool write_publish(json_t *payload, const struct act *act)
{
    const struct act_publish *publish = &act->publish;
    CLEANUP(json_free_p) json_t *approvals = json_array();

    for (size_t i = 0; i < publish->approval_count; i++) {
        if (json_array_append_new(approvals, approval_to_json(&publish->approvals[i])) < 0)
            return false;
    }
    return set(payload, "roster", publish->roster ? json_string(publish->roster) : json_null()) &&
           set(payload, "approvals", TAKE(approvals));
}

static const struct {
    void (*read)(struct json_reader *reader, struct act *act);
    bool (*write)(json_t *payload, const struct act *act);
} kinds[] = {
    [ACT_DEPOSIT] = {read_deposit, write_deposit},
    [ACT_RELEASE] = {read_release, write_release},
    [ACT_RECEIPT] = {read_receipt, write_receipt},
    [ACT_ORDER] = {read_order, write_order},
    [ACT_APPROVE] = {read_approve, write_approve},
    [ACT_PUBLISH] = {read_publish, write_publish},
    [ACT_REBASELINE] = {read_rebaseline, write_rebaseline},
};

json_t *act_payload_write(const struct act *act)
{
    CLEANUP(json_free_p)
    json_t *payload = json_pack("{s:i, s:s}", "v", 1, "purpose", act_purpose_word(act->purpose));

    if (!payload || !kinds[act->kind].write(payload, act))
        return NULL;
    return TAKE(payload);
}

enum escrow_err act_payload_read(const json_t *payload, struct act *act)
{
    struct json_reader reader;

    json_reader_init(&reader, payload, "act: %s", act_kind_word(act->kind));
    json_read_v1(&reader);
    read_purpose(&reader, act);
    kinds[act->kind].read(&reader, act);
    return json_reader_end(&reader);
}
