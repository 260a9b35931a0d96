/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/orders: an admin orders a rotation or a drill. GET /v1/orders: agents wait for them. */
#include "escrowd/clock.h"
#include "escrowd/keeper_state.h"
#include "escrowd/ledger_detail.h"
#include "escrowd/store_orders.h"
#include "libescrow/encode.h"
#include "libescrow/json.h"

#include <openssl/rand.h>

#include <string.h>

#define ORDER_ID_BYTES 12
#define ORDERS_MAX 64 /* of one reply */

void order_start(struct request *request)
{
    struct target target;
    uint8_t random[ORDER_ID_BYTES];
    char id[2 * ORDER_ID_BYTES + 1], kid[TPM_NAME_HEX + 1];
    CLEANUP(json_free_p) json_t *detail = NULL;
    struct audit_record record;
    enum reason reason;

    if (!request_accept(request, ACT_ORDER, ROSTER_ADMIN))
        return;
    reason = target_find(request->keeper->policy, &request->act->subject, &target);
    if (reason) {
        request_refuse(request, reason);
        return;
    }
    detail =
        ledger_order_detail(clock_wall_ms() + (int64_t)request->act->order.expires_in_s * 1000);
    if (!detail || RAND_bytes(random, sizeof(random)) != 1) {
        request_fail(request, REASON_INTERNAL);
        return;
    }
    hex_encode(random, sizeof(random), id);
    request_describe(request, AUDIT_ORDER, &record, kid);
    record.order = id;
    record.detail = detail;
    request_record(request, &record);
}

void order_finish(struct request *request)
{
    request_note(request);
    requests_news(request->keeper);
}

static json_t *order_json(const struct store_order *order)
{
    char expires[AUDIT_TIME_TEXT];

    audit_time_format(order->expires_ms, expires);
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "order", order->id, "purpose",
                     act_purpose_word(order->purpose), "group", order->subject.group, "database",
                     order->subject.database, "expires", expires);
}

static enum escrow_err add_orders(struct keeper *keeper, const char *group, json_t *orders)
{
    struct store_order order = {0};
    enum escrow_err err = ESCROW_OK;

    while (!err && json_array_size(orders) < ORDERS_MAX) {
        err = store_next_order(keeper->store, group, clock_wall_ms(), order.sequence, &order);
        if (!err && json_array_append_new(orders, order_json(&order)))
            err = ESCROW_ERR_NO_MEMORY;
    }
    return err == ESCROW_ERR_NOT_FOUND ? ESCROW_OK : err;
}

/* True if an act key of this identity is an agent's and covers the group. */
static bool serves_group(const struct roster *roster, const char *identity, const char *group)
{
    const struct roster_key *const *keys;
    size_t count = roster_identity_keys(roster, identity, &keys);

    for (size_t i = 0; i < count; i++) {
        if (keys[i]->role == ROSTER_AGENT && roster_key_covers(keys[i], group))
            return true;
    }
    return false;
}

static json_t *collect_orders(const struct request *request)
{
    struct keeper *keeper = request->keeper;
    const struct roster *roster = ledger_roster(keeper->ledger);
    CLEANUP(json_free_p) json_t *orders = json_array();
    const struct policy_group *groups;
    size_t count = policy_groups(keeper->policy, &groups);

    for (size_t i = 0; orders && i < count; i++) {
        if (serves_group(roster, request->identity, groups[i].name) &&
            add_orders(keeper, groups[i].name, orders))
            return NULL;
    }
    return TAKE(orders);
}

void orders_look(struct request *request, bool is_last)
{
    CLEANUP(json_free_p) json_t *orders = NULL;
    CLEANUP(json_free_p) json_t *document = NULL;

    if (ledger_roster(request->keeper->ledger))
        orders = collect_orders(request);
    if (!orders) {
        request_fail(request, REASON_STORE_UNAVAILABLE);
        return;
    }
    if (json_array_size(orders) == 0 && !is_last && !request->keeper->is_stopping) {
        request->state = REQUEST_WAITING;
        return;
    }
    document = json_pack("{s:O}", "orders", orders);
    request_reply_json(request, 200, document);
}

/* One waits for each agent: an earlier one, whose client gave up, gets its empty list. */
static void release_earlier(struct request *request)
{
    struct request *other = requests_of(request->keeper, request->identity), *next;

    for (; other; other = next) {
        next = LIST_NEXT(other, of_identity);
        if (other != request && other->route == ROUTE_ORDERS && other->state == REQUEST_WAITING &&
            strcmp(other->identity, request->identity) == 0)
            request_advance(other, REQUEST_DEADLINE);
    }
}

void orders_start(struct request *request)
{
    if (!request_has_role(request, REQUEST_ROLE(ROSTER_AGENT)))
        return;
    release_earlier(request);
    orders_look(request, request->wait_ms == 0);
    if (request->state == REQUEST_WAITING)
        request_set_timer(request, (int64_t)request->wait_ms);
}
