/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/store_requests.h"

#include "escrowd/store_ledger.h"
#include "escrowd/store_query.h"

#include <stdlib.h>
#include <string.h>

#define REQUEST_COLUMNS                                                                            \
    "sequence, group_name, database_name, replica, actor, purpose, epoch, rules, reason,"          \
    " recipient, objects, time_ms, expires_ms, is_open"
/* An open one has its act until its time is over. */
#define REQUEST_ROW REQUEST_COLUMNS ", is_open AND act IS NULL"

static void put_objects(struct query *query, const struct store_request *request)
{
    query_put_bytes(query, request->objects, request->object_count * sizeof(request->objects[0]));
}

/* Subject, replica and purpose: what a replica waits for once at a time. */
static void put_place(struct query *query, const struct store_request *request)
{
    query_put_text(query, request->subject.group);
    query_put_text(query, request->subject.database);
    query_put_text(query, request->replica);
    query_put_number(query, request->purpose);
}

static void read_request(struct query *query, struct store_request *ret_request)
{
    struct store_request request = {
        .sequence = query_number(query, 0),
        .purpose = (enum act_purpose)query_number(query, 5),
        .epoch = query_number(query, 6),
        .rules = (unsigned)query_number(query, 7),
        .reason = reason_from_code(query_text_borrowed(query, 8)),
        .time_ms = (int64_t)query_number(query, 11),
        .expires_ms = (int64_t)query_number(query, 12),
        .is_open = query_number(query, 13) != 0,
        .is_expired = query_number(query, 14) != 0,
    };

    query_text(query, 1, request.subject.group, sizeof(request.subject.group));
    query_text(query, 2, request.subject.database, sizeof(request.subject.database));
    query_text(query, 3, request.replica, sizeof(request.replica));
    query_text(query, 4, request.actor, sizeof(request.actor));
    query_bytes(query, 9, &request.recipient, sizeof(request.recipient));
    request.object_count = query_bytes_up_to(query, 10, request.objects, sizeof(request.objects)) /
                           sizeof(request.objects[0]);
    *ret_request = request;
}

enum escrow_err store_find_request(struct store *store, const struct store_request *wanted,
                                   int64_t now_ms, struct store_request *ret_request)
{
    CLEANUP(query_close) struct query query;
    bool is_found;

    query_open(&query, store,
               "SELECT " REQUEST_ROW " FROM requests WHERE is_open = 1 AND group_name = ?"
               " AND database_name = ? AND replica = ? AND purpose = ? AND actor = ?"
               " AND recipient = ? AND objects = ? AND act IS NOT NULL AND expires_ms > ?");
    put_place(&query, wanted);
    query_put_text(&query, wanted->actor);
    query_put_bytes(&query, &wanted->recipient, sizeof(wanted->recipient));
    put_objects(&query, wanted);
    query_put_number(&query, (uint64_t)now_ms);
    is_found = query_row(&query);
    if (is_found)
        read_request(&query, ret_request);
    return query_found(&query, is_found);
}

static enum escrow_err close_place(struct store *store, const struct store_request *request)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "UPDATE requests SET is_open = 0, act = NULL WHERE is_open = 1 AND group_name = ?"
               " AND database_name = ? AND replica = ? AND purpose = ?");
    put_place(&query, request);
    return query_run(&query);
}

static enum escrow_err insert(struct store *store, const struct store_request *request,
                              const char *act)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "INSERT INTO requests (" REQUEST_COLUMNS ", act)"
               " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)");
    query_put_number(&query, request->sequence);
    query_put_text(&query, request->subject.group);
    query_put_text(&query, request->subject.database);
    query_put_text(&query, request->replica);
    query_put_text(&query, request->actor);
    query_put_number(&query, request->purpose);
    query_put_number(&query, request->epoch);
    query_put_number(&query, request->rules);
    query_put_text(&query, reason_code(request->reason));
    query_put_bytes(&query, &request->recipient, sizeof(request->recipient));
    put_objects(&query, request);
    query_put_number(&query, (uint64_t)request->time_ms);
    query_put_number(&query, (uint64_t)request->expires_ms);
    query_put_text(&query, act);
    return query_run(&query);
}

enum escrow_err store_open_request(struct store *store, const struct store_request *request,
                                   const char *act)
{
    struct store_request same = {0};
    enum escrow_err err = store_find_request(store, request, request->time_ms, &same);

    if (!err && same.epoch == request->epoch && same.rules == request->rules)
        return ESCROW_OK;
    if (err && err != ESCROW_ERR_NOT_FOUND)
        return err;
    err = close_place(store, request);
    return err ? err : insert(store, request, act);
}

enum escrow_err store_request(struct store *store, uint64_t sequence,
                              struct store_request *ret_request, char **ret_act)
{
    CLEANUP(query_close) struct query query;
    char *act = NULL;
    bool is_found;
    enum escrow_err err;

    query_open(&query, store, "SELECT " REQUEST_ROW ", act FROM requests WHERE sequence = ?");
    query_put_number(&query, sequence);
    is_found = query_row(&query);
    if (is_found) {
        read_request(&query, ret_request);
        if (!query_is_null(&query, 15)) {
            act = strdup(query_text_borrowed(&query, 15));
            if (!act)
                return ESCROW_ERR_NO_MEMORY;
        }
    }
    err = query_found(&query, is_found);
    if (err)
        free(act);
    else
        *ret_act = act;
    return err;
}

enum escrow_err store_count_requests(struct store *store, const struct store_request *like,
                                     int64_t since_ms, int64_t until_ms, uint64_t most,
                                     uint64_t *ret_count)
{
    CLEANUP(query_close) struct query query;
    bool is_found;

    query_open(&query, store,
               "SELECT count(*) FROM (SELECT 1 FROM requests WHERE group_name = ?"
               " AND database_name = ? AND replica = ? AND purpose = ? AND actor = ?"
               " AND time_ms > ? AND time_ms <= ? LIMIT ?)");
    put_place(&query, like);
    query_put_text(&query, like->actor);
    query_put_number(&query, since_ms < 0 ? 0 : (uint64_t)since_ms);
    query_put_number(&query, (uint64_t)until_ms);
    query_put_number(&query, most);
    is_found = query_row(&query);
    if (is_found)
        *ret_count = query_number(&query, 0);
    return query_found(&query, is_found);
}

enum escrow_err store_close_requests(struct store *store, const struct act_subject *subject)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "UPDATE requests SET is_open = 0, act = NULL"
               " WHERE is_open = 1 AND group_name = ? AND database_name = ?");
    query_put_text(&query, subject->group);
    query_put_text(&query, subject->database);
    return query_run(&query);
}

/*
 * A release that would itself have begun the epoch that has begun now is still the same for the
 * replica that was promoted (policy_decide), not for another, nor, but by an order, after a
 * rebaseline.
 */
enum escrow_err store_close_old_requests(struct store *store, const char *group,
                                         const struct store_group *now)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "UPDATE requests SET is_open = 0, act = NULL"
               " WHERE is_open = 1 AND group_name = ? AND (epoch < ?"
               " OR (epoch = ? AND (replica <> ? OR (purpose = ? AND ? = ?))))");
    query_put_text(&query, group);
    query_put_number(&query, now->epoch);
    query_put_number(&query, now->epoch);
    query_put_text(&query, now->replica);
    query_put_number(&query, PURPOSE_PROMOTE);
    query_put_number(&query, now->origin);
    query_put_number(&query, POLICY_ORIGIN_BASELINE);
    return query_run(&query);
}

enum escrow_err store_expire_request(struct store *store, uint64_t sequence)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store, "UPDATE requests SET act = NULL WHERE sequence = ?");
    query_put_number(&query, sequence);
    return query_run(&query);
}

enum escrow_err store_close_request(struct store *store, uint64_t sequence)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store, "UPDATE requests SET is_open = 0, act = NULL WHERE sequence = ?");
    query_put_number(&query, sequence);
    return query_run(&query);
}

/* The next one after a sequence; text compares its time with now. */
static enum escrow_err next_request(struct store *store, const char *text, int64_t now_ms,
                                    uint64_t after, struct store_request *ret_request)
{
    CLEANUP(query_close) struct query query;
    bool is_found;

    query_open(&query, store, text);
    query_put_number(&query, (uint64_t)now_ms);
    query_put_number(&query, after);
    is_found = query_row(&query);
    if (is_found)
        read_request(&query, ret_request);
    return query_found(&query, is_found);
}

enum escrow_err store_next_open(struct store *store, int64_t now_ms, uint64_t after,
                                struct store_request *ret_request)
{
    return next_request(store,
                        "SELECT " REQUEST_ROW " FROM requests WHERE is_open = 1"
                        " AND act IS NOT NULL AND expires_ms > ? AND sequence > ?"
                        " ORDER BY sequence LIMIT 1",
                        now_ms, after, ret_request);
}

enum escrow_err store_next_expired(struct store *store, int64_t now_ms, uint64_t after,
                                   struct store_request *ret_request)
{
    return next_request(store,
                        "SELECT " REQUEST_ROW " FROM requests WHERE is_open = 1"
                        " AND act IS NOT NULL AND expires_ms <= ? AND sequence > ?"
                        " ORDER BY sequence LIMIT 1",
                        now_ms, after, ret_request);
}

enum escrow_err store_list_requests(struct store *store, int64_t now_ms,
                                    store_request_fn on_request, void *argument)
{
    CLEANUP(query_close) struct query query;
    enum escrow_err err = ESCROW_OK;

    query_open(&query, store,
               "SELECT " REQUEST_ROW " FROM requests WHERE is_open = 1 AND act IS NOT NULL"
               " AND expires_ms > ? ORDER BY sequence LIMIT 100");
    query_put_number(&query, (uint64_t)now_ms);
    while (!err && query_row(&query)) {
        struct store_request request;

        read_request(&query, &request);
        err = query_end(&query);
        if (!err)
            err = on_request(&request, argument);
    }
    return err ? err : query_end(&query);
}

enum escrow_err store_approve_request(struct store *store, uint64_t request, const char *identity,
                                      const struct tpm_name *key)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "REPLACE INTO request_approvals (request, identity, key) VALUES (?, ?, ?)");
    query_put_number(&query, request);
    query_put_text(&query, identity);
    query_put_name(&query, key);
    return query_run(&query);
}

enum escrow_err store_list_approvers(struct store *store, uint64_t request,
                                     store_approver_fn on_approver, void *argument)
{
    CLEANUP(query_close) struct query query;
    enum escrow_err err = ESCROW_OK;

    query_open(&query, store,
               "SELECT identity, key FROM request_approvals WHERE request = ? ORDER BY identity");
    query_put_number(&query, request);
    while (!err && query_row(&query)) {
        char identity[IDENTITY_MAX + 1];
        struct tpm_name key;

        query_text(&query, 0, identity, sizeof(identity));
        query_name(&query, 1, &key);
        err = query_end(&query);
        if (!err)
            err = on_approver(identity, &key, argument);
    }
    return err ? err : query_end(&query);
}
