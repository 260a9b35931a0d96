/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/store_pending.h"

#include "escrowd/store_query.h"

#define ORDER_COLUMNS "id, purpose, group_name, database_name, sequence, expires_ms, used_by"

enum escrow_err store_request_number(struct store *store, const struct store_request *request,
                                     uint64_t *ret_sequence)
{
    CLEANUP(query_close) struct query query;
    bool is_found;

    query_open(&query, store,
               "SELECT sequence FROM requests WHERE is_open = 1 AND group_name = ?"
               " AND database_name = ? AND replica = ? AND purpose = ? AND epoch = ?"
               " AND reason = ?");
    query_put_text(&query, request->subject.group);
    query_put_text(&query, request->subject.database);
    query_put_text(&query, request->replica);
    query_put_number(&query, request->purpose);
    query_put_number(&query, request->epoch);
    query_put_text(&query, reason_code(request->reason));
    is_found = query_row(&query);
    if (is_found)
        *ret_sequence = query_number(&query, 0);
    return query_found(&query, is_found);
}

enum escrow_err store_open_request(struct store *store, const struct store_request *request)
{
    CLEANUP(query_close) struct query query = {0};
    uint64_t sequence;
    enum escrow_err err = store_request_number(store, request, &sequence);

    if (err != ESCROW_ERR_NOT_FOUND)
        return err;
    query_open(&query, store,
               "INSERT INTO requests (sequence, group_name, database_name, replica, purpose,"
               " epoch, reason, time_ms, is_open) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)");
    query_put_number(&query, request->sequence);
    query_put_text(&query, request->subject.group);
    query_put_text(&query, request->subject.database);
    query_put_text(&query, request->replica);
    query_put_number(&query, request->purpose);
    query_put_number(&query, request->epoch);
    query_put_text(&query, reason_code(request->reason));
    query_put_number(&query, (uint64_t)request->time_ms);
    return query_run(&query);
}

enum escrow_err store_close_requests(struct store *store, const struct act_subject *subject)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "UPDATE requests SET is_open = 0"
               " WHERE is_open = 1 AND group_name = ? AND database_name = ?");
    query_put_text(&query, subject->group);
    query_put_text(&query, subject->database);
    return query_run(&query);
}

enum escrow_err store_list_requests(struct store *store, store_request_fn on_request,
                                    void *argument)
{
    CLEANUP(query_close) struct query query;
    enum escrow_err err = ESCROW_OK;

    query_open(&query, store,
               "SELECT sequence, group_name, database_name, replica, purpose, epoch, reason,"
               " time_ms FROM requests WHERE is_open = 1 ORDER BY sequence LIMIT 100");
    while (!err && query_row(&query)) {
        struct store_request request = {
            .sequence = query_number(&query, 0),
            .purpose = (enum act_purpose)query_number(&query, 4),
            .epoch = query_number(&query, 5),
            .reason = reason_from_code(query_text_borrowed(&query, 6)),
            .time_ms = (int64_t)query_number(&query, 7),
        };

        query_text(&query, 1, request.subject.group, sizeof(request.subject.group));
        query_text(&query, 2, request.subject.database, sizeof(request.subject.database));
        query_text(&query, 3, request.replica, sizeof(request.replica));
        err = query_end(&query);
        if (!err)
            err = on_request(&request, argument);
    }
    return err ? err : query_end(&query);
}

enum escrow_err store_add_order(struct store *store, const struct store_order *order)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "INSERT INTO orders (id, sequence, purpose, group_name, database_name, expires_ms)"
               " VALUES (?, ?, ?, ?, ?, ?)");
    query_put_text(&query, order->id);
    query_put_number(&query, order->sequence);
    query_put_number(&query, order->purpose);
    query_put_text(&query, order->subject.group);
    query_put_text(&query, order->subject.database);
    query_put_number(&query, (uint64_t)order->expires_ms);
    return query_run(&query);
}

static void read_order(struct query *query, struct store_order *order)
{
    query_text(query, 0, order->id, sizeof(order->id));
    order->purpose = (enum act_purpose)query_number(query, 1);
    query_text(query, 2, order->subject.group, sizeof(order->subject.group));
    query_text(query, 3, order->subject.database, sizeof(order->subject.database));
    order->sequence = query_number(query, 4);
    order->expires_ms = (int64_t)query_number(query, 5);
    order->used_by = query_number(query, 6);
}

enum escrow_err store_order(struct store *store, const char *id, struct store_order *ret_order)
{
    CLEANUP(query_close) struct query query;
    bool is_found;

    query_open(&query, store, "SELECT " ORDER_COLUMNS " FROM orders WHERE id = ?");
    query_put_text(&query, id);
    is_found = query_row(&query);
    if (is_found)
        read_order(&query, ret_order);
    return query_found(&query, is_found);
}

enum escrow_err store_use_order(struct store *store, const char *id, uint64_t grant)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store, "UPDATE orders SET used_by = coalesce(used_by, ?) WHERE id = ?");
    query_put_number(&query, grant);
    query_put_text(&query, id);
    return query_run(&query);
}

enum escrow_err store_next_order(struct store *store, const char *group, int64_t now_ms,
                                 uint64_t after, struct store_order *ret_order)
{
    CLEANUP(query_close) struct query query;
    bool is_found;

    query_open(&query, store,
               "SELECT " ORDER_COLUMNS " FROM orders WHERE group_name = ? AND expires_ms > ?"
               " AND sequence > ? AND used_by IS NULL ORDER BY sequence LIMIT 1");
    query_put_text(&query, group);
    query_put_number(&query, (uint64_t)now_ms);
    query_put_number(&query, after);
    is_found = query_row(&query);
    if (is_found)
        read_order(&query, ret_order);
    return query_found(&query, is_found);
}
