/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/publish: a newer roster and approvals, signed by the policy authority. */
#include "escrowd/keeper_state.h"

/* Approvals of another member would never serve on this TPM. */
static bool are_ours(const struct keeper *keeper, const struct act_publish *publish)
{
    for (size_t i = 0; i < publish->approval_count; i++) {
        if (!tpm_name_equal(&publish->approvals[i].counter, &keeper->member->names.counter))
            return false;
    }
    return true;
}

void publish_start(struct request *request)
{
    struct keeper *keeper = request->keeper;
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    char kid[TPM_NAME_HEX + 1];
    struct audit_record record;
    enum reason reason;

    keeper_flush(keeper);
    if (!request_accept(request, ACT_PUBLISH, ROSTER_ADMIN))
        return;
    reason = ledger_check_publish(keeper->ledger, &request->act->publish, &roster);
    if (!reason && !are_ours(keeper, &request->act->publish))
        reason = REASON_APPROVAL_INVALID;
    if (reason) {
        request_refuse(request, reason);
        return;
    }
    request_describe(request, AUDIT_PUBLISH, &record, kid);
    if (roster)
        record.roster = roster_version(roster);
    request_record(request, &record);
    /* Nothing that was verified by the roster of before may come behind it into the log. */
    keeper_flush(keeper);
}

void publish_finish(struct request *request)
{
    keeper_tell_status(request->keeper);
    warm_approvals(request->keeper->warm);
    request_note(request);
}
