/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/store_ledger.h"

#include "escrowd/store_query.h"

#include <string.h>

#define GRANT_COLUMNS                                                                              \
    "g.sequence, g.group_name, g.database_name, g.replica, g.purpose, g.epoch, g.order_id,"        \
    " g.settled_by, g.receipt, g.judged, g.outcome"

static void put_subject(struct query *query, const struct act_subject *subject)
{
    query_put_text(query, subject->group);
    query_put_text(query, subject->database);
}

static void read_subject(struct query *query, int column, struct act_subject *subject)
{
    query_text(query, column, subject->group, sizeof(subject->group));
    query_text(query, column + 1, subject->database, sizeof(subject->database));
}

enum escrow_err store_group(struct store *store, const char *name, struct store_group *ret_group)
{
    CLEANUP(query_close) struct query query;
    bool is_found;

    query_open(&query, store,
               "SELECT replica, epoch, origin, time_ms FROM groups WHERE group_name = ?");
    query_put_text(&query, name);
    is_found = query_row(&query);
    if (is_found) {
        query_text(&query, 0, ret_group->replica, sizeof(ret_group->replica));
        ret_group->epoch = query_number(&query, 1);
        ret_group->origin = (enum policy_origin)query_number(&query, 2);
        ret_group->time_ms = (int64_t)query_number(&query, 3);
    }
    return query_found(&query, is_found);
}

uint64_t store_epoch(struct store *store, const char *name)
{
    struct store_group group = {0};

    return store_group(store, name, &group) == ESCROW_OK ? group.epoch : 0;
}

enum escrow_err store_set_group(struct store *store, const char *name,
                                const struct store_group *group)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "REPLACE INTO groups (group_name, replica, epoch, origin, time_ms)"
               " VALUES (?, ?, ?, ?, ?)");
    query_put_text(&query, name);
    query_put_text(&query, group->replica);
    query_put_number(&query, group->epoch);
    query_put_number(&query, group->origin);
    query_put_number(&query, (uint64_t)group->time_ms);
    return query_run(&query);
}

enum escrow_err store_hints(struct store *store, const struct act_subject *subject, uint64_t epoch,
                            struct policy_hints *ret_hints)
{
    CLEANUP(query_close) struct query query;
    struct policy_hints hints = {0};

    query_open(&query, store,
               "SELECT recovery_lsn, sequence_number FROM hints"
               " WHERE group_name = ? AND database_name = ? AND epoch = ?");
    put_subject(&query, subject);
    query_put_number(&query, epoch);
    if (query_row(&query)) {
        query_text(&query, 0, hints.recovery_lsn, sizeof(hints.recovery_lsn));
        hints.has_sequence_number = !query_is_null(&query, 1);
        if (hints.has_sequence_number)
            hints.sequence_number = (int64_t)query_number(&query, 1);
    }
    *ret_hints = hints;
    return query_end(&query);
}

enum escrow_err store_keep_hints(struct store *store, const char *group, uint64_t from, uint64_t to)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store, "UPDATE hints SET epoch = ? WHERE group_name = ? AND epoch = ?");
    query_put_number(&query, to);
    query_put_text(&query, group);
    query_put_number(&query, from);
    return query_run(&query);
}

enum escrow_err store_set_hints(struct store *store, const struct act_subject *subject,
                                uint64_t epoch, const struct policy_hints *hints)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "REPLACE INTO hints (group_name, database_name, epoch, recovery_lsn,"
               " sequence_number) VALUES (?, ?, ?, ?, ?)");
    put_subject(&query, subject);
    query_put_number(&query, epoch);
    query_put_text(&query, hints->recovery_lsn);
    if (hints->has_sequence_number)
        query_put_number(&query, (uint64_t)hints->sequence_number);
    else
        query_put_null(&query);
    return query_run(&query);
}

enum escrow_err store_add_grant(struct store *store, const struct store_grant *grant,
                                const char *actor, int64_t time_ms)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "INSERT INTO grants (sequence, group_name, database_name, replica, actor, purpose,"
               " epoch, order_id, time_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
    query_put_number(&query, grant->sequence);
    put_subject(&query, &grant->subject);
    query_put_text(&query, grant->replica);
    query_put_text(&query, actor);
    query_put_number(&query, grant->purpose);
    query_put_number(&query, grant->epoch);
    query_put_text(&query, grant->order);
    query_put_number(&query, (uint64_t)time_ms);
    return query_run(&query);
}

static void read_grant(struct query *query, struct store_grant *grant)
{
    grant->sequence = query_number(query, 0);
    read_subject(query, 1, &grant->subject);
    query_text(query, 3, grant->replica, sizeof(grant->replica));
    grant->purpose = (enum act_purpose)query_number(query, 4);
    grant->epoch = query_number(query, 5);
    query_text(query, 6, grant->order, sizeof(grant->order));
    grant->is_settled = !query_is_null(query, 7);
    grant->receipt = query_is_null(query, 8) ? 0 : query_number(query, 8);
    grant->is_judged = !query_is_null(query, 9);
    grant->has_outcome = !query_is_null(query, 10);
}

enum escrow_err store_grant(struct store *store, uint64_t sequence, struct store_grant *ret_grant)
{
    CLEANUP(query_close) struct query query;
    bool is_found;

    query_open(&query, store, "SELECT " GRANT_COLUMNS " FROM grants AS g WHERE g.sequence = ?");
    query_put_number(&query, sequence);
    is_found = query_row(&query);
    if (is_found)
        read_grant(&query, ret_grant);
    return query_found(&query, is_found);
}

enum escrow_err store_void_grant(struct store *store, uint64_t sequence)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store, "UPDATE grants SET is_unfinished = 1 WHERE sequence = ?");
    query_put_number(&query, sequence);
    return query_run(&query);
}

static void put_receipt(struct query *query, uint64_t receipt)
{
    if (receipt)
        query_put_number(query, receipt);
    else
        query_put_null(query);
}

enum escrow_err store_note_receipt(struct store *store, uint64_t grant, enum act_outcome outcome,
                                   uint64_t receipt)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "UPDATE grants SET outcome = ?, judged = NULL,"
               " receipt = CASE WHEN settled_by IS NULL THEN ? END WHERE sequence = ?");
    query_put_number(&query, outcome);
    put_receipt(&query, outcome == OUTCOME_FAILED ? 0 : receipt);
    query_put_number(&query, grant);
    return query_run(&query);
}

enum escrow_err store_settle_grant(struct store *store, const struct store_grant *grant,
                                   uint64_t record)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "UPDATE grants SET settled_by = ?, receipt = NULL WHERE group_name = ?"
               " AND database_name = ? AND epoch = ? AND purpose = ? AND order_id IS ?"
               " AND sequence <= ? AND settled_by IS NULL");
    query_put_number(&query, record);
    put_subject(&query, &grant->subject);
    query_put_number(&query, grant->epoch);
    query_put_number(&query, grant->purpose);
    query_put_text(&query, grant->order);
    query_put_number(&query, grant->sequence);
    return query_run(&query);
}

enum escrow_err store_judge_grant(struct store *store, uint64_t grant, uint64_t receipt,
                                  uint64_t record)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store, "UPDATE grants SET judged = ? WHERE sequence = ? AND receipt IS ?");
    query_put_number(&query, record);
    query_put_number(&query, grant);
    put_receipt(&query, receipt);
    return query_run(&query);
}

/* Hands out the rows, which the query has bound already. */
static enum escrow_err list_grants(struct query *query, store_grant_fn on_grant, void *argument)
{
    enum escrow_err err = ESCROW_OK;

    while (!err && query_row(query)) {
        struct store_grant grant = {0};

        read_grant(query, &grant);
        err = query_end(query);
        if (!err)
            err = on_grant(&grant, argument);
    }
    return err ? err : query_end(query);
}

enum escrow_err store_list_receipted(struct store *store, size_t limit, store_grant_fn on_grant,
                                     void *argument)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "SELECT " GRANT_COLUMNS " FROM grants AS g"
               " LEFT JOIN groups AS n ON n.group_name = g.group_name"
               " WHERE g.receipt IS NOT NULL AND (g.judged IS NULL OR n.epoch = g.epoch)"
               " ORDER BY g.judged IS NOT NULL, g.sequence LIMIT ?");
    query_put_number(&query, limit);
    return list_grants(&query, on_grant, argument);
}

enum escrow_err store_list_unreceipted(struct store *store, int64_t before_ms, size_t limit,
                                       store_grant_fn on_grant, void *argument)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "SELECT " GRANT_COLUMNS " FROM grants AS g WHERE g.settled_by IS NULL"
               " AND g.judged IS NULL AND g.outcome IS NULL AND g.is_unfinished = 0"
               " AND g.time_ms < ? ORDER BY g.time_ms LIMIT ?");
    query_put_number(&query, before_ms < 0 ? 0 : (uint64_t)before_ms);
    query_put_number(&query, limit);
    return list_grants(&query, on_grant, argument);
}

enum escrow_err store_promotion_grant(struct store *store, const struct act_subject *subject,
                                      uint64_t epoch, int64_t now_ms, struct policy_ledger *ledger)
{
    CLEANUP(query_close) struct query query;
    bool is_settled = false;

    memset(&ledger->grant, 0, sizeof(ledger->grant));
    ledger->grant.state = POLICY_GRANT_NONE;
    ledger->grant.age_ms = POLICY_NEVER;
    /* Newest first: those after the last settled one are the grant that is open now. */
    query_open(&query, store,
               "SELECT replica, time_ms, is_unfinished, settled_by IS NOT NULL FROM grants"
               " WHERE group_name = ? AND database_name = ? AND epoch = ? AND purpose = ?"
               " ORDER BY sequence DESC");
    put_subject(&query, subject);
    query_put_number(&query, epoch);
    query_put_number(&query, PURPOSE_PROMOTE);
    while (!is_settled && query_row(&query)) {
        int64_t age_ms = now_ms - (int64_t)query_number(&query, 1);

        is_settled = query_number(&query, 3) != 0;
        if (is_settled && ledger->grant.state == POLICY_GRANT_UNSETTLED)
            break;
        if (ledger->grant.state == POLICY_GRANT_NONE)
            query_text(&query, 0, ledger->grant.replica, sizeof(ledger->grant.replica));
        ledger->grant.state = is_settled ? POLICY_GRANT_SETTLED : POLICY_GRANT_UNSETTLED;
        ledger->grant.requests += query_number(&query, 2) == 0;
        ledger->grant.age_ms = age_ms < 0 ? 0 : age_ms;
    }
    return query_end(&query);
}

enum escrow_err store_count_releases(struct store *store, const struct act_subject *subject,
                                     int64_t since_ms, int64_t *ret_count)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "SELECT count(*) FROM grants"
               " WHERE group_name = ? AND database_name = ? AND time_ms > ?"
               " AND is_unfinished = 0");
    put_subject(&query, subject);
    query_put_number(&query, since_ms < 0 ? 0 : (uint64_t)since_ms);
    *ret_count = query_row(&query) ? (int64_t)query_number(&query, 0) : INT64_MAX;
    return query_end(&query);
}

enum escrow_err store_count_unfinished(struct store *store, const struct act_subject *subject,
                                       const char *actor, int64_t since_ms, int64_t until_ms,
                                       uint64_t most, uint64_t *ret_count)
{
    CLEANUP(query_close) struct query query;
    bool is_found;

    query_open(&query, store,
               "SELECT count(*) FROM (SELECT 1 FROM grants WHERE group_name = ?"
               " AND database_name = ? AND actor = ? AND time_ms > ? AND time_ms <= ?"
               " AND is_unfinished = 1 LIMIT ?)");
    put_subject(&query, subject);
    query_put_text(&query, actor);
    query_put_number(&query, since_ms < 0 ? 0 : (uint64_t)since_ms);
    query_put_number(&query, (uint64_t)until_ms);
    query_put_number(&query, most);
    is_found = query_row(&query);
    if (is_found)
        *ret_count = query_number(&query, 0);
    return query_found(&query, is_found);
}

enum escrow_err store_count_unsettled(struct store *store, uint64_t *ret_count)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "SELECT count(*) FROM grants AS g JOIN groups AS n"
               " ON n.group_name = g.group_name AND n.epoch = g.epoch"
               " WHERE g.settled_by IS NULL AND g.is_unfinished = 0");
    *ret_count = query_row(&query) ? query_number(&query, 0) : 0;
    return query_end(&query);
}
