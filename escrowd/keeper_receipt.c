/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/receipt: what an agent made of its grant. */
#include "escrowd/clock.h"
#include "escrowd/keeper_state.h"
#include "escrowd/ledger_detail.h"
#include "escrowd/store_ledger.h"
#include "libescrow/json.h"

#include <string.h>

/* One receipt of each grant is recorded, whatever else; who sends more must not fill the log. */
static bool is_one_too_many(const struct request *request, const struct store_grant *grant)
{
    return grant->has_outcome &&
           !refusals_may_record(request->keeper->refusals, request->identity, clock_boot_ms());
}

static enum reason check_grant(const struct request *request)
{
    const struct keeper *keeper = request->keeper;
    const struct act *act = request->act;
    const struct roster_key *key = roster_find_key(ledger_roster(keeper->ledger), &request->kid);
    struct store_grant grant = {0};
    enum escrow_err err;

    if (!key || !roster_key_has_instance(key, act->receipt.replica))
        return REASON_REPLICA_UNKNOWN;
    err = store_grant(keeper->store, act->receipt.grant, &grant);
    if (err && err != ESCROW_ERR_NOT_FOUND)
        return REASON_STORE_UNAVAILABLE;
    if (err || strcmp(grant.replica, act->receipt.replica) != 0 || grant.purpose != act->purpose ||
        strcmp(grant.subject.group, act->subject.group) != 0 ||
        strcmp(grant.subject.database, act->subject.database) != 0)
        return REASON_GRANT_UNKNOWN;
    return is_one_too_many(request, &grant) ? REASON_OVERLOADED : REASON_NONE;
}

void receipt_start(struct request *request)
{
    CLEANUP(json_free_p) json_t *detail = NULL;
    char kid[TPM_NAME_HEX + 1];
    struct audit_record record;
    enum reason reason;

    if (!request_accept(request, ACT_RECEIPT, ROSTER_AGENT))
        return;
    reason = check_grant(request);
    if (reason) {
        request_refuse(request, reason);
        return;
    }
    detail = ledger_receipt_detail(&request->act->receipt);
    if (!detail) {
        request_refuse(request, REASON_MALFORMED);
        return;
    }
    request_describe(request, AUDIT_RECEIPT, &record, kid);
    record.replica = request->act->receipt.replica;
    record.grant = request->act->receipt.grant;
    record.detail = detail;
    request_record(request, &record);
}

/* The agent need not wait until the replica itself was asked. */
void receipt_finish(struct request *request)
{
    struct keeper *keeper = request->keeper;

    request_note(request);
    settle_look(keeper->settle);
}
