/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/ledger.h"

#include "escrowd/ledger_detail.h"
#include "escrowd/store_ledger.h"
#include "escrowd/store_orders.h"
#include "escrowd/store_requests.h"
#include "escrowd/store_secrets.h"
#include "escrowd/store_trust.h"
#include "libescrow/encode.h"
#include "libescrow/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HOUR_MS ((int64_t)3600 * 1000)
#define REPLAY_BATCH 1000 /* records of one transaction while replaying */

struct ledger {
    struct store *store;
    EVP_PKEY *authority;
    struct roster *roster;
};

typedef enum escrow_err (*fold_fn)(struct ledger *ledger, const struct audit_record *record);

static enum escrow_err record_subject(const struct audit_record *record,
                                      struct act_subject *ret_subject)
{
    if (!record->group || strlen(record->group) >= sizeof(ret_subject->group) ||
        !record->database || strlen(record->database) >= sizeof(ret_subject->database))
        return ESCROW_ERR_MALFORMED;
    memcpy(ret_subject->group, record->group, strlen(record->group) + 1);
    memcpy(ret_subject->database, record->database, strlen(record->database) + 1);
    return ESCROW_OK;
}

static enum escrow_err record_name(const char *text, char ret_name[static NAME_MAX_BYTES + 1])
{
    if (!text || !name_is_valid(text))
        return ESCROW_ERR_MALFORMED;
    memcpy(ret_name, text, strlen(text) + 1);
    return ESCROW_OK;
}

enum escrow_err ledger_verify_act(const struct ledger *ledger, const char *compact, size_t len,
                                  struct act **ret_act, struct roster **ret_first)
{
    if (ledger->roster)
        return act_verify(compact, len, ledger->roster, ret_act);
    return act_verify_first(compact, len, ledger->authority, ret_act, ret_first);
}

enum reason ledger_check_publish(const struct ledger *ledger, const struct act_publish *publish,
                                 struct roster **ret_roster)
{
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    struct tpm_digest policy;

    for (size_t i = 0; i < publish->approval_count; i++) {
        if (approval_verify(&publish->approvals[i], ledger->authority, &policy))
            return REASON_APPROVAL_INVALID;
    }
    if (publish->roster &&
        roster_parse(publish->roster, strlen(publish->roster), ledger->authority, &roster))
        return REASON_ROSTER_INVALID;
    if (roster && ledger->roster && roster_version(roster) <= roster_version(ledger->roster))
        return REASON_ROSTER_OLD;
    *ret_roster = TAKE(roster);
    return REASON_NONE;
}

static enum escrow_err fold_publish(struct ledger *ledger, const struct audit_record *record)
{
    CLEANUP(roster_free_p) struct roster *roster = NULL, *first = NULL;
    CLEANUP(act_free_p) struct act *act = NULL;
    struct roster *old = ledger->roster;
    enum escrow_err err;

    if (!record->act)
        return ESCROW_ERR_MALFORMED;
    err = ledger_verify_act(ledger, record->act, strlen(record->act), &act, &first);
    if (err)
        return err;
    if (act->kind != ACT_PUBLISH || ledger_check_publish(ledger, &act->publish, &roster))
        return ESCROW_ERR_MALFORMED;
    for (size_t i = 0; !err && i < act->publish.approval_count; i++)
        err = store_add_approval(ledger->store, &act->publish.approvals[i]);
    if (err || !roster)
        return err;
    err = store_set_roster(ledger->store, roster_version(roster), roster_compact(roster));
    if (err)
        return err;
    ledger->roster = TAKE(roster);
    roster_free(old);
    return ESCROW_OK;
}

static enum escrow_err fold_deposit(struct ledger *ledger, const struct audit_record *record)
{
    CLEANUP(act_free_p) struct act *act = NULL;
    struct wrap_object object;
    enum escrow_err err;

    if (!record->act || !ledger->roster)
        return ESCROW_ERR_MALFORMED;
    err = act_verify(record->act, strlen(record->act), ledger->roster, &act);
    if (!err && act->kind != ACT_DEPOSIT)
        err = ESCROW_ERR_MALFORMED;
    if (!err)
        err = wrap_object_parse(act->deposit.public_area, act->deposit.public_len, &object);
    if (!err)
        err = store_add_version(ledger->store, &act->subject, &object.name, &act->deposit, record);
    return err;
}

static enum escrow_err begin_epoch(struct ledger *ledger, const struct audit_record *record,
                                   enum policy_origin origin)
{
    struct store_group group = {
        .epoch = record->epoch, .origin = origin, .time_ms = record->time_ms};
    enum escrow_err err = record_name(record->replica, group.replica);

    if (!err)
        err = store_set_group(ledger->store, record->group, &group);
    return err ? err : store_close_old_requests(ledger->store, record->group, &group);
}

/* Of a release: a promotion, if another primary was on record. */
static enum escrow_err begin_granted_epoch(struct ledger *ledger, const struct audit_record *record)
{
    struct store_group before = {0};
    enum escrow_err err = store_group(ledger->store, record->group, &before);

    if (err && err != ESCROW_ERR_NOT_FOUND)
        return err;
    if (!err && strcmp(before.replica, record->replica) != 0)
        return begin_epoch(ledger, record, POLICY_ORIGIN_GRANTED);
    err = begin_epoch(ledger, record, POLICY_ORIGIN_UNPROVEN);
    return err ? err : store_keep_hints(ledger->store, record->group, before.epoch, record->epoch);
}

static enum escrow_err fold_grant(struct ledger *ledger, const struct audit_record *record,
                                  struct store_grant *grant)
{
    struct ledger_release release;
    enum escrow_err err = ledger_release_read(record->detail, &release);

    if (!err && record->order)
        err = record_name(record->order, grant->order);
    if (!err && !record->actor)
        err = ESCROW_ERR_MALFORMED;
    if (!err && release.mints_epoch)
        err = begin_granted_epoch(ledger, record);
    if (!err && release.has_hints)
        err = store_set_hints(ledger->store, &grant->subject, record->epoch, &release.hints);
    if (!err)
        err = store_add_grant(ledger->store, grant, record->actor, record->time_ms);
    if (!err && record->order)
        err = store_use_order(ledger->store, grant->order, record->sequence);
    if (!err)
        err = store_close_requests(ledger->store, &grant->subject);
    return err;
}

static enum escrow_err record_objects(const struct audit_record *record,
                                      struct store_request *request)
{
    request->object_count = json_array_size(record->objects);
    if (request->object_count == 0 || request->object_count > ACT_OBJECTS_MAX)
        return ESCROW_ERR_MALFORMED;
    for (size_t i = 0; i < request->object_count; i++) {
        const char *name = json_string_value(json_array_get(record->objects, i));

        if (!name || hex_decode(name, request->objects[i].bytes, TPM_NAME_BYTES))
            return ESCROW_ERR_MALFORMED;
    }
    return ESCROW_OK;
}

static enum escrow_err fold_request(struct ledger *ledger, const struct audit_record *record,
                                    const struct store_grant *wanted)
{
    struct ledger_release release;
    struct store_request request = {
        .sequence = record->sequence,
        .subject = wanted->subject,
        .purpose = wanted->purpose,
        .epoch = wanted->epoch,
        .reason = record->reason ? reason_from_code(record->reason) : REASON_NONE,
        .time_ms = record->time_ms,
    };
    enum escrow_err err = ledger_release_read(record->detail, &release);

    if (err || !release.is_wanted)
        return err;
    if (!record->actor || !identity_is_valid(record->actor) || !record->act)
        return ESCROW_ERR_MALFORMED;
    memcpy(request.replica, wanted->replica, sizeof(request.replica));
    memcpy(request.actor, record->actor, strlen(record->actor) + 1);
    request.recipient = release.wanted.recipient;
    request.rules = release.wanted.rules;
    request.expires_ms = release.wanted.expires_ms;
    err = record_objects(record, &request);
    return err ? err : store_open_request(ledger->store, &request, record->act);
}

/* Who asks for the release later looks whether the admin still may. */
static enum escrow_err fold_approve(struct ledger *ledger, const struct audit_record *record)
{
    struct tpm_name key;
    uint64_t request;
    enum escrow_err err = ledger_request_read(record->detail, &request);

    if (err || !record->actor || !identity_is_valid(record->actor) || !record->key ||
        hex_decode(record->key, key.bytes, sizeof(key.bytes)))
        return ESCROW_ERR_MALFORMED;
    return store_approve_request(ledger->store, request, record->actor, &key);
}

static enum escrow_err fold_expired(struct ledger *ledger, const struct audit_record *record)
{
    uint64_t request;
    enum escrow_err err = ledger_request_read(record->detail, &request);

    if (err)
        return err;
    if (record->reason && reason_from_code(record->reason) == REASON_MASTER_KEY_OPENS)
        return store_close_request(ledger->store, request);
    return store_expire_request(ledger->store, request);
}

static enum escrow_err fold_release(struct ledger *ledger, const struct audit_record *record)
{
    struct store_grant grant = {.sequence = record->sequence, .epoch = record->epoch};
    enum escrow_err err;

    if (!record->decision || !record->purpose)
        return ESCROW_ERR_MALFORMED;
    if (strcmp(record->decision, policy_outcome_name(POLICY_DENY)) == 0)
        return ESCROW_OK;
    err = record_subject(record, &grant.subject);
    if (!err)
        err = record_name(record->replica, grant.replica);
    if (err)
        return err;
    grant.purpose = act_purpose_from_word(record->purpose);
    if (strcmp(record->decision, policy_outcome_name(POLICY_ALLOW)) == 0)
        return fold_grant(ledger, record, &grant);
    if (strcmp(record->decision, policy_outcome_name(POLICY_NEEDS_APPROVAL)) == 0)
        return fold_request(ledger, record, &grant);
    return ESCROW_ERR_MALFORMED;
}

static enum escrow_err fold_unfinished(struct ledger *ledger, const struct audit_record *record)
{
    return store_void_grant(ledger->store, record->grant);
}

/* A good one of before there were proofs settled the grant by itself. */
static enum escrow_err fold_receipt(struct ledger *ledger, const struct audit_record *record)
{
    struct store_grant grant = {0};
    enum act_outcome outcome;
    bool settles = false;
    enum escrow_err err = ledger_receipt_read(record->detail, &outcome, &settles);

    if (!err)
        err = store_grant(ledger->store, record->grant, &grant);
    if (!err)
        err = store_note_receipt(ledger->store, grant.sequence, outcome, record->sequence);
    return err || !settles ? err : store_settle_grant(ledger->store, &grant, record->sequence);
}

static enum escrow_err fold_settle(struct ledger *ledger, const struct audit_record *record)
{
    struct store_grant grant = {0};
    struct ledger_proof proof;
    enum reason reason = record->reason ? reason_from_code(record->reason) : REASON_NONE;
    enum escrow_err err = ledger_proof_read(record->detail, &proof);

    if (!err)
        err = store_grant(ledger->store, record->grant, &grant);
    if (err)
        return err;
    switch (reason) {
    case REASON_GRANT_PROVED:
        return store_settle_grant(ledger->store, &grant, record->sequence);
    case REASON_GRANT_DISPROVED:
    case REASON_GRANT_UNPROVEN:
    case REASON_RECEIPT_MISSING:
        return store_judge_grant(ledger->store, grant.sequence, proof.receipt, record->sequence);
    default:
        return ESCROW_ERR_MALFORMED;
    }
}

static enum escrow_err fold_order(struct ledger *ledger, const struct audit_record *record)
{
    struct store_order order = {.sequence = record->sequence};
    enum escrow_err err = record_subject(record, &order.subject);

    if (!err)
        err = record_name(record->order, order.id);
    if (!err)
        err = ledger_order_read(record->detail, &order.expires_ms);
    if (err || !record->purpose)
        return ESCROW_ERR_MALFORMED;
    order.purpose = act_purpose_from_word(record->purpose);
    return store_add_order(ledger->store, &order);
}

static enum escrow_err fold_epoch(struct ledger *ledger, const struct audit_record *record)
{
    CLEANUP(cleanup_free) struct ledger_epoch *epoch = malloc(sizeof(*epoch));
    struct act_subject subject = {0};
    enum escrow_err err;

    if (!epoch)
        return ESCROW_ERR_NO_MEMORY;
    err = ledger_epoch_read(record->detail, epoch);
    if (!err)
        err = record_name(record->group, subject.group);
    if (!err)
        err = begin_epoch(ledger, record, epoch->origin);
    for (size_t i = 0; !err && i < epoch->hint_count; i++) {
        memcpy(subject.database, epoch->hints[i].database, sizeof(subject.database));
        err = store_set_hints(ledger->store, &subject, record->epoch, &epoch->hints[i].hints);
    }
    return err;
}

static enum escrow_err fold_rebaseline(struct ledger *ledger, const struct audit_record *record)
{
    if (!record->decision)
        return ESCROW_ERR_MALFORMED;
    if (strcmp(record->decision, policy_outcome_name(POLICY_ALLOW)) != 0)
        return ESCROW_OK;
    return fold_epoch(ledger, record);
}

/* What each event does to the tables; NULL: it is only told. */
static const fold_fn folds[] = {
    [AUDIT_START] = NULL,
    [AUDIT_SHUTDOWN] = NULL,
    [AUDIT_PUBLISH] = fold_publish,
    [AUDIT_DEPOSIT] = fold_deposit,
    [AUDIT_RELEASE] = fold_release,
    [AUDIT_UNFINISHED] = fold_unfinished,
    [AUDIT_RECEIPT] = fold_receipt,
    [AUDIT_ORDER] = fold_order,
    [AUDIT_EPOCH] = fold_epoch,
    [AUDIT_REFUSAL] = NULL,
    [AUDIT_UNPROVED] = NULL,
    [AUDIT_ALERT] = NULL,
    [AUDIT_LOG_TORN] = NULL,
    [AUDIT_LOG_BACK] = NULL,
    [AUDIT_APPROVE] = fold_approve,
    [AUDIT_EXPIRED] = fold_expired,
    [AUDIT_REBASELINE] = fold_rebaseline,
    [AUDIT_SETTLE] = fold_settle,
    [AUDIT_REPEATED] = NULL,
};

static enum escrow_err fold_line(struct ledger *ledger, const struct audit_line *line)
{
    fold_fn fold = folds[line->record->event];
    enum escrow_err err = fold ? fold(ledger, line->record) : ESCROW_OK;

    if (!err)
        return store_set_folded(ledger->store, line->chain);
    log_error("ledger: record %" PRIu64 " (%s) cannot be folded: %s", line->record->sequence,
              audit_event_word(line->record->event), escrow_err_name(err));
    return ESCROW_ERR_STORE;
}

/* After a rollback the roster in memory may be one that the store does not have. */
static enum escrow_err reload_roster(struct ledger *ledger)
{
    CLEANUP(cleanup_free) char *compact = NULL;
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    struct roster *old = ledger->roster;
    enum escrow_err err = store_roster(ledger->store, &compact);

    if (!err)
        err = roster_parse(compact, strlen(compact), ledger->authority, &roster);
    if (err == ESCROW_ERR_NOT_FOUND)
        err = ESCROW_OK;
    ledger->roster = err ? NULL : TAKE(roster);
    roster_free(old);
    return err;
}

static void roll_back(struct ledger *ledger)
{
    /* Inside a transaction that could not be undone, the store's roster is not in force. */
    if (store_rollback(ledger->store) == ESCROW_OK && reload_roster(ledger) == ESCROW_OK)
        return;
    log_error("ledger: no roster can be read from the store");
    roster_free(TAKE(ledger->roster));
}

enum escrow_err ledger_fold(const struct audit_line *lines, size_t count, void *argument)
{
    struct ledger *ledger = argument;
    struct audit_chain folded;
    enum escrow_err err = store_folded(ledger->store, &folded);

    if (!err && count && lines[0].record->sequence != folded.sequence + 1) {
        log_error("ledger: the store is at record %" PRIu64 ", the log goes on with %" PRIu64,
                  folded.sequence, lines[0].record->sequence);
        return ESCROW_ERR_STORE;
    }
    if (!err)
        err = store_begin(ledger->store);
    for (size_t i = 0; !err && i < count; i++)
        err = fold_line(ledger, &lines[i]);
    if (!err)
        err = store_commit(ledger->store);
    if (!err)
        return ESCROW_OK;
    roll_back(ledger);
    return ESCROW_ERR_STORE;
}

struct replay {
    struct ledger *ledger;
    struct audit_chain folded; /* when the replay began */
    bool only_compares;        /* and folds nothing */
    unsigned in_transaction;
};

static enum escrow_err replay_line(const struct audit_line *line, void *argument)
{
    struct replay *replay = argument;
    struct store *store = replay->ledger->store;
    enum escrow_err err = ESCROW_OK;

    if (line->record->sequence == replay->folded.sequence &&
        memcmp(line->chain->hash, replay->folded.hash, AUDIT_HASH_BYTES) != 0) {
        log_error("ledger: record %" PRIu64 " is not the one that the store was built from",
                  line->record->sequence);
        return ESCROW_ERR_MALFORMED;
    }
    if (replay->only_compares || line->record->sequence <= replay->folded.sequence)
        return ESCROW_OK;
    if (replay->in_transaction == 0)
        err = store_begin(store);
    if (!err)
        err = fold_line(replay->ledger, line);
    if (!err && ++replay->in_transaction == REPLAY_BATCH) {
        replay->in_transaction = 0;
        err = store_commit(store);
    }
    return err;
}

static enum escrow_err read_log(struct replay *replay, const char *directory,
                                struct audit_reading *ret_reading)
{
    const uint64_t from = replay->folded.sequence ? replay->folded.sequence : 1;
    enum escrow_err err = audit_read(directory, from, replay_line, replay, ret_reading);

    if (!err && replay->in_transaction)
        err = store_commit(replay->ledger->store);
    if (err)
        return err;
    if (ret_reading->end.sequence < replay->folded.sequence) {
        log_error("ledger: the store knows record %" PRIu64 ", the log ends at %" PRIu64
                  ": records were removed from the log",
                  replay->folded.sequence, ret_reading->end.sequence);
        return ESCROW_ERR_MALFORMED;
    }
    return ESCROW_OK;
}

/* A store of two times: what it knew of the log the log must still say; all else is of no use. */
static enum escrow_err begin_anew(struct ledger *ledger, const char *directory)
{
    struct replay known = {.ledger = ledger, .only_compares = true};
    struct audit_reading reading = {0};
    enum escrow_err err;

    if (store_folded(ledger->store, &known.folded))
        known.folded = (struct audit_chain){0};
    err = read_log(&known, directory, &reading);
    if (err)
        return err;
    log_warning("ledger: the store's database and its WAL are of two times, as if one of them was "
                "put back without the other: the store is built anew from the log");
    return store_renew(ledger->store);
}

enum escrow_err ledger_replay(struct ledger *ledger, const char *directory,
                              struct audit_reading *ret_reading)
{
    struct replay replay = {.ledger = ledger};
    enum escrow_err err = store_rollback(ledger->store);

    memset(ret_reading, 0, sizeof(*ret_reading));
    if (!err && store_is_mixed(ledger->store))
        err = begin_anew(ledger, directory);
    /* An earlier rollback may have failed, or could not read the roster: who folds without the one
     * in force takes the next for the first. */
    if (!err && !ledger->roster)
        err = reload_roster(ledger);
    if (!err)
        err = store_folded(ledger->store, &replay.folded);
    if (err)
        return err;
    err = read_log(&replay, directory, ret_reading);
    if (err)
        roll_back(ledger);
    return err;
}

struct roster *ledger_roster(const struct ledger *ledger)
{
    return ledger->roster;
}

enum escrow_err ledger_policy(const struct ledger *ledger, const struct act_subject *subject,
                              int64_t now_ms, struct policy_ledger *ret_ledger)
{
    struct store_group group = {0};
    enum escrow_err err = store_group(ledger->store, subject->group, &group);

    memset(ret_ledger, 0, sizeof(*ret_ledger));
    ret_ledger->epoch_age_ms = POLICY_NEVER;
    ret_ledger->grant.state = POLICY_GRANT_NONE;
    ret_ledger->grant.age_ms = POLICY_NEVER;
    if (!err) {
        ret_ledger->has_record = true;
        memcpy(ret_ledger->primary, group.replica, sizeof(ret_ledger->primary));
        ret_ledger->epoch = group.epoch;
        ret_ledger->origin = group.origin;
        ret_ledger->epoch_age_ms = now_ms > group.time_ms ? now_ms - group.time_ms : 0;
        err = store_promotion_grant(ledger->store, subject, group.epoch, now_ms, ret_ledger);
    } else if (err == ESCROW_ERR_NOT_FOUND) {
        err = ESCROW_OK;
    }
    if (!err)
        err = store_hints(ledger->store, subject, ret_ledger->epoch, &ret_ledger->hints);
    if (!err)
        err = store_count_releases(ledger->store, subject, now_ms - HOUR_MS,
                                   &ret_ledger->releases_last_hour);
    return err;
}

enum escrow_err ledger_open(struct store *store, EVP_PKEY *authority, struct ledger **ret_ledger)
{
    CLEANUP(ledger_close_p) struct ledger *ledger = calloc(1, sizeof(*ledger));
    enum escrow_err err;

    if (!ledger)
        return ESCROW_ERR_NO_MEMORY;
    ledger->store = store;
    ledger->authority = authority;
    /* What stands in a store of two times may be of neither. */
    err = store_is_mixed(store) ? ESCROW_OK : reload_roster(ledger);
    if (err == ESCROW_ERR_CRYPTO) {
        log_error("ledger: the store's roster is not signed by the policy authority: it is another "
                  "escrow's store, or authority_file another's key");
        return ESCROW_ERR_STORE;
    }
    if (err)
        return err;
    *ret_ledger = TAKE(ledger);
    return ESCROW_OK;
}

void ledger_close(struct ledger *ledger)
{
    roster_free(ledger->roster);
    free(ledger);
}
