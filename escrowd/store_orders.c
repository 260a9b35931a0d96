/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/store_orders.h"

#include "escrowd/store_query.h"

#define ORDER_COLUMNS "id, purpose, group_name, database_name, sequence, expires_ms, used_by"

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
