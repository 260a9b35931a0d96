/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/approve: an admin approves a request. GET /v1/requests: what became of one. */
#include "escrowd/keeper_approve.h"

#include "escrowd/clock.h"
#include "escrowd/keeper_state.h"
#include "escrowd/ledger_detail.h"
#include "libescrow/json.h"
#include "libescrow/log.h"
#include "policy/evidence.h"

#include <stdlib.h>
#include <string.h>

/* So much before the end of a request its timer may come: it counts from the loop's last turn. */
#define EARLY_MS 200
/* The watch asks every second, and a worker is heard of every 20 s or so (client/worker.c). */
#define PRIMARY_MS 3000
#define HEARD_MS 60000
/* New requests within a minute; a worker makes one, and its successor the next. */
#define FLOOD_MOST 10
#define FLOOD_MS 60000

/* The approvals of one request, while they are counted. */
struct count {
    const struct roster *roster;
    const struct store_request *pending;
    const char *identity; /* whose approval is looked for */
    bool is_among;        /* it is there and counts */
    int64_t approvals;
};

static enum escrow_err count_one(const char *identity, const struct tpm_name *name, void *argument)
{
    struct count *count = argument;
    const struct roster_key *key = roster_find_key(count->roster, name);

    if (!key || key->role != ROSTER_ADMIN || strcmp(key->identity, identity) != 0 ||
        !roster_key_covers(key, count->pending->subject.group) ||
        strcmp(identity, count->pending->actor) == 0)
        return ESCROW_OK;
    count->approvals++;
    count->is_among |= strcmp(identity, count->identity) == 0;
    return ESCROW_OK;
}

static enum escrow_err count_all(const struct keeper *keeper, struct count *count)
{
    count->roster = ledger_roster(keeper->ledger);
    if (!count->roster)
        return ESCROW_OK;
    return store_list_approvers(keeper->store, count->pending->sequence, count_one, count);
}

enum escrow_err approve_count(const struct keeper *keeper, const struct store_request *pending,
                              int64_t *ret_count)
{
    struct count count = {.pending = pending, .identity = ""};
    enum escrow_err err = count_all(keeper, &count);

    if (!err)
        *ret_count = count.approvals;
    return err;
}

void approve_wanted(const struct request *request, struct store_request *ret_wanted)
{
    const struct act_release *release = &request->act->release;
    struct store_request wanted = {.subject = request->act->subject,
                                   .purpose = request->act->purpose,
                                   .recipient = release->recipient,
                                   .object_count = release->object_count};

    memcpy(wanted.actor, request->identity, sizeof(wanted.actor));
    memcpy(wanted.replica, release->replica, sizeof(wanted.replica));
    for (size_t i = 0; i < release->object_count; i++)
        wanted.objects[i] = release->objects[i].object;
    *ret_wanted = wanted;
}

enum escrow_err approve_find(const struct request *request, struct policy_approval *ret_approval)
{
    const struct keeper *keeper = request->keeper;
    struct store_request wanted, pending = {0};
    struct policy_approval approval = {0};
    enum escrow_err err;

    approve_wanted(request, &wanted);
    err = store_find_request(keeper->store, &wanted, clock_wall_ms(), &pending);
    if (!err)
        err = approve_count(keeper, &pending, &approval.count);
    if (err && err != ESCROW_ERR_NOT_FOUND)
        return err;
    if (approval.count > 0) {
        approval.epoch = pending.epoch;
        approval.rules = pending.rules;
    }
    *ret_approval = approval;
    return ESCROW_OK;
}

bool approve_is_flood(const struct request *request)
{
    struct store_request like;
    int64_t now_ms = clock_wall_ms();
    uint64_t count = 0;

    approve_wanted(request, &like);
    return store_count_requests(request->keeper->store, &like, now_ms - FLOOD_MS, now_ms,
                                FLOOD_MOST, &count) != ESCROW_OK ||
           count >= FLOOD_MOST;
}

/* What is signed must be this request's: its objects, in its order, and its requester's key. */
static enum reason check_objects(const struct request *request, const struct store_request *pending)
{
    const struct act_approve *approve = &request->act->approve;
    EVP_PKEY *key = roster_act_key(&request->kid, ledger_roster(request->keeper->ledger));

    if (approve->object_count != pending->object_count)
        return REASON_OBJECT_MISMATCH;
    for (size_t i = 0; i < pending->object_count; i++) {
        if (!tpm_name_equal(&approve->objects[i].object, &pending->objects[i]))
            return REASON_OBJECT_MISMATCH;
    }
    if (!key ||
        act_verify_objects(key, &pending->recipient, approve->objects, approve->object_count))
        return REASON_SIGNATURE_INVALID;
    return REASON_NONE;
}

static enum reason check(const struct request *request, struct store_request *pending)
{
    const struct act *act = request->act;
    struct count count = {.pending = pending, .identity = request->identity};
    CLEANUP(cleanup_free) char *compact = NULL;
    enum escrow_err err =
        store_request(request->keeper->store, act->approve.request, pending, &compact);
    enum reason reason;

    if (err && err != ESCROW_ERR_NOT_FOUND)
        return REASON_STORE_UNAVAILABLE;
    if (err || !pending->is_open || pending->purpose != act->purpose ||
        strcmp(pending->subject.group, act->subject.group) != 0 ||
        strcmp(pending->subject.database, act->subject.database) != 0)
        return REASON_REQUEST_UNKNOWN;
    if (pending->is_expired || pending->expires_ms <= clock_wall_ms())
        return REASON_REQUEST_EXPIRED;
    if (strcmp(pending->actor, request->identity) == 0)
        return REASON_ROLE_NOT_ALLOWED;
    reason = check_objects(request, pending);
    if (reason)
        return reason;
    if (count_all(request->keeper, &count))
        return REASON_STORE_UNAVAILABLE;
    return count.is_among ? REASON_ALREADY_APPROVED : REASON_NONE;
}

static json_t *names_json(const struct store_request *pending)
{
    CLEANUP(json_free_p) json_t *names = json_array();

    for (size_t i = 0; i < pending->object_count; i++) {
        if (json_array_append_new(names, json_tpm_name(&pending->objects[i])))
            return NULL;
    }
    return TAKE(names);
}

void approve_start(struct request *request)
{
    struct store_request pending = {0};
    CLEANUP(json_free_p) json_t *detail = NULL;
    CLEANUP(json_free_p) json_t *names = NULL;
    char kid[TPM_NAME_HEX + 1];
    struct audit_record record;
    enum reason reason;

    if (!request_accept(request, ACT_APPROVE, ROSTER_ADMIN))
        return;
    reason = check(request, &pending);
    if (reason) {
        request_refuse(request, reason);
        return;
    }
    detail = ledger_request_detail(pending.sequence);
    names = names_json(&pending);
    if (!detail || !names) {
        request_fail(request, REASON_INTERNAL);
        return;
    }
    request_describe(request, AUDIT_APPROVE, &record, kid);
    record.replica = pending.replica;
    record.epoch = pending.epoch;
    record.objects = names;
    record.reason = reason_code(pending.reason);
    record.detail = detail;
    request_record(request, &record);
}

void approve_finish(struct request *request)
{
    request_note(request);
    requests_news(request->keeper);
}

enum escrow_err approve_end(struct keeper *keeper, const struct store_request *pending,
                            enum reason reason)
{
    CLEANUP(json_free_p) json_t *detail = ledger_request_detail(pending->sequence);
    struct audit_record record;

    if (!detail)
        return ESCROW_ERR_NO_MEMORY;
    keeper_record(keeper, AUDIT_EXPIRED, &record);
    record.group = pending->subject.group;
    record.database = pending->subject.database;
    record.replica = pending->replica;
    record.purpose = act_purpose_word(pending->purpose);
    record.epoch = pending->epoch;
    record.reason = reason_code(reason);
    record.detail = detail;
    return keeper_append(keeper, &record, NULL, NULL);
}

void approve_expire(struct keeper *keeper)
{
    struct store_request pending = {0};
    enum escrow_err err = ESCROW_OK;
    bool has_ended = false;

    if (keeper_lacks(keeper, KEEPER_NEEDS_LOG))
        return;
    while (!err) {
        err = store_next_expired(keeper->store, clock_wall_ms(), pending.sequence, &pending);
        if (!err)
            err = approve_end(keeper, &pending, REASON_REQUEST_EXPIRED);
        has_ended |= !err;
    }
    if (err != ESCROW_ERR_NOT_FOUND)
        log_warning("the end of a request for an approval could not be recorded");
    /* The next tick must find it in the ledger. */
    if (has_ended)
        keeper_flush(keeper);
}

static json_t *time_json(int64_t time_ms)
{
    char text[AUDIT_TIME_TEXT];

    audit_time_format(time_ms, text);
    return json_string(text);
}

/* How many admins must approve; 0: the policy does not know the group any more. */
static int64_t needed(const struct keeper *keeper, const struct store_request *pending)
{
    const struct policy_group *group = policy_find_group(keeper->policy, pending->subject.group);

    return group ? group->approvals : 0;
}

/* Since when, if it is not so for a moment only; null if it is so, or was a moment ago. */
static json_t *since_json(const struct keeper *keeper, int64_t last_ms, int64_t moment_ms)
{
    int64_t for_ms = clock_boot_ms() - (last_ms ? last_ms : keeper->began_ms);

    return for_ms > moment_ms ? time_json(clock_wall_ms() - for_ms) : json_null();
}

json_t *approve_json(const struct keeper *keeper, const struct store_request *pending)
{
    int64_t count;

    if (approve_count(keeper, pending, &count))
        return NULL;
    return json_pack(
        "{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:I, s:I, s:o, s:o}", "request",
        (json_int_t)pending->sequence, "group", pending->subject.group, "database",
        pending->subject.database, "replica", pending->replica, "actor", pending->actor, "purpose",
        act_purpose_word(pending->purpose), "reason", reason_code(pending->reason), "rules",
        policy_rules_to_json(pending->rules), "time", time_json(pending->time_ms), "expires",
        time_json(pending->expires_ms), "approvals", (json_int_t)count, "approvals_needed",
        (json_int_t)needed(keeper, pending), "not_primary_since",
        since_json(keeper, watch_primary_ms(keeper->watch, &pending->subject, pending->replica),
                   PRIMARY_MS),
        "not_heard_since",
        since_json(keeper, heard_last(keeper->heard, pending->sequence), HEARD_MS));
}

static const char *state_word(const struct keeper *keeper, const struct store_request *pending,
                              int64_t count)
{
    if (!pending->is_open || needed(keeper, pending) == 0)
        return "closed";
    if (pending->is_expired || pending->expires_ms <= clock_wall_ms())
        return "expired";
    return count >= needed(keeper, pending) ? "approved" : "pending";
}

/* The answer where there is one now; NULL: the admins have not decided yet. */
static json_t *answer_json(const struct keeper *keeper, const struct store_request *pending,
                           const char *act, bool is_last)
{
    CLEANUP(json_free_p) json_t *document = approve_json(keeper, pending);
    const char *state =
        state_word(keeper, pending, json_integer_value(json_object_get(document, "approvals")));

    if (!document || (strcmp(state, "pending") == 0 && !is_last) ||
        json_object_set_new(document, "state", json_string(state)) ||
        json_object_set_new(document, "act", act ? json_string(act) : json_null()))
        return NULL;
    return TAKE(document);
}

void pending_look(struct request *request, bool is_last)
{
    struct store_request pending = {0};
    CLEANUP(cleanup_free) char *act = NULL;
    CLEANUP(json_free_p) json_t *document = NULL;
    int64_t wait_ms = (int64_t)request->wait_ms, left_ms;
    bool is_early, must_answer;
    enum escrow_err err = store_request(request->keeper->store, request->from, &pending, &act);

    if (err) {
        request_fail(request, err == ESCROW_ERR_NOT_FOUND ? REASON_REQUEST_UNKNOWN
                                                          : REASON_STORE_UNAVAILABLE);
        return;
    }
    if (strcmp(pending.actor, request->identity) == 0)
        heard_note(request->keeper->heard, pending.sequence, clock_boot_ms());
    left_ms = pending.expires_ms - clock_wall_ms();
    is_early = request->state == REQUEST_WAITING && left_ms > 0 && left_ms < EARLY_MS;
    must_answer = (is_last && !is_early) || request->keeper->is_stopping;
    document = answer_json(request->keeper, &pending, act, must_answer);
    if (document) {
        request_reply_json(request, 200, document);
    } else if (must_answer) {
        request_fail(request, REASON_STORE_UNAVAILABLE);
    } else if (is_last || request->state != REQUEST_WAITING) {
        request->state = REQUEST_WAITING;
        request_set_timer(request, left_ms < wait_ms ? left_ms : wait_ms);
    }
}

/* Every identity of the roster may know what waits, as it may by GET /v1/status. */
void pending_start(struct request *request)
{
    if (request_has_role(request, 0))
        pending_look(request, request->wait_ms == 0);
}
