/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/explain: what would be decided now for each replica and purpose, and why. The rules run
 * on what the watch heard last: nobody is asked for it, so that no number of readers costs a prober
 * a question, or a release its turn. Nothing is granted, recorded, counted or used up.
 */
#include "escrowd/clock.h"
#include "escrowd/keeper_state.h"
#include "escrowd/store_orders.h"
#include "libescrow/json.h"
#include "policy/evidence.h"

#include <stdlib.h>
#include <string.h>

static const enum act_purpose purposes[] = {PURPOSE_PROMOTE, PURPOSE_ROTATE, PURPOSE_DRILL};

/* One target, as it is now. */
struct explained {
    struct target target;
    struct policy_facts facts;
    struct policy_ledger ledger;
    bool has_order[ARRAY_LEN(purposes)]; /* a live one, that nobody has used */
};

static enum escrow_err find_orders(const struct keeper *keeper, struct explained *explained)
{
    struct store_order order = {0};
    enum escrow_err err = ESCROW_OK;

    while (!err) {
        err = store_next_order(keeper->store, explained->target.group->name, clock_wall_ms(),
                               order.sequence, &order);
        if (err || strcmp(order.subject.database, explained->target.database) != 0)
            continue;
        for (size_t i = 0; i < ARRAY_LEN(purposes); i++)
            explained->has_order[i] |= order.purpose == purposes[i];
    }
    return err == ESCROW_ERR_NOT_FOUND ? ESCROW_OK : err;
}

static enum escrow_err look(const struct keeper *keeper, struct explained *explained)
{
    struct act_subject subject = {0};
    enum escrow_err err;

    memcpy(subject.group, explained->target.group->name, strlen(explained->target.group->name) + 1);
    memcpy(subject.database, explained->target.database, strlen(explained->target.database) + 1);
    err = ledger_policy(keeper->ledger, &subject, clock_wall_ms(), &explained->ledger);
    if (err)
        return err;
    /* Whoever asks for a release shows a session, and commits a nonce: the requester's part. */
    explained->facts.session = POLICY_SESSION_FOUND;
    for (size_t i = 0; i < explained->facts.replica_count; i++)
        explained->facts.replicas[i].echo = POLICY_ECHO_FOUND;
    return find_orders(keeper, explained);
}

static struct policy_request request_of(const struct explained *explained, size_t replica,
                                        size_t purpose)
{
    return (struct policy_request){
        .purpose = purposes[purpose],
        .database = explained->target.database,
        .replica = explained->target.group->replicas[replica].instance,
        .is_order_valid = explained->has_order[purpose],
    };
}

static json_t *decision_json(const struct explained *explained,
                             const struct policy_request *request)
{
    struct policy_verdict verdict;

    policy_decide(explained->target.group, request, &explained->facts, &explained->ledger,
                  &verdict);
    return json_pack("{s:o, s:o}", "request", policy_request_to_json(request), "verdict",
                     policy_verdict_to_json(&verdict));
}

static json_t *decisions_json(const struct explained *explained)
{
    CLEANUP(json_free_p) json_t *decisions = json_array();

    for (size_t i = 0; i < explained->target.group->replica_count; i++) {
        for (size_t j = 0; j < ARRAY_LEN(purposes); j++) {
            const struct policy_request request = request_of(explained, i, j);

            if (json_array_append_new(decisions, decision_json(explained, &request)))
                return NULL;
        }
    }
    return TAKE(decisions);
}

/* The evidence of the first decision is that of the others but for its request. */
static json_t *explained_json(const struct keeper *keeper, const struct explained *explained)
{
    const struct policy_request first = request_of(explained, 0, 0);

    return json_pack("{s:s, s:s, s:s, s:o, s:o}", "group", explained->target.group->name,
                     "database", explained->target.database, "rules", keeper->rules, "evidence",
                     policy_evidence_to_json(explained->target.group, &first, &explained->facts,
                                             &explained->ledger),
                     "decisions", decisions_json(explained));
}

void explain_start(struct request *request)
{
    const struct keeper *keeper = request->keeper;
    CLEANUP(cleanup_free) struct explained *explained = NULL;
    CLEANUP(json_free_p) json_t *document = NULL;
    enum reason reason;

    if (!request_has_role(request, REQUEST_ROLE(ROSTER_ADMIN) | REQUEST_ROLE(ROSTER_AUDITOR)))
        return;
    explained = calloc(1, sizeof(*explained));
    reason = explained ? keeper_lacks(keeper, KEEPER_NEEDS_LOG) : REASON_INTERNAL;
    if (!reason)
        reason = watch_last(keeper->watch, request->from, &explained->target, &explained->facts);
    if (!reason && look(keeper, explained))
        reason = REASON_STORE_UNAVAILABLE;
    if (reason) {
        request_fail(request, reason);
        return;
    }
    document = explained_json(keeper, explained);
    request_reply_json(request, 200, document);
}
