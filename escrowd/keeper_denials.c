/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_denials.h"

#include "escrowd/clock.h"
#include "escrowd/keeper_release.h"
#include "libescrow/encode.h"
#include "libescrow/json.h"
#include "libescrow/log.h"

#include <inttypes.h>
#include <string.h>

static void describe(const struct request *request, struct denial *ret_denial)
{
    const struct release *release = request->release;
    struct denial denial = {.key = request->kid,
                            .subject = request->act->subject,
                            .purpose = request->act->purpose,
                            .reason = release->verdict.reason,
                            .epoch = release->ledger.epoch};

    memcpy(denial.actor, request->identity, sizeof(denial.actor));
    memcpy(denial.replica, release->replica->instance, strlen(release->replica->instance) + 1);
    *ret_denial = denial;
}

bool denial_is_counted(struct request *request)
{
    struct keeper *keeper = request->keeper;
    int64_t now_ms = clock_boot_ms();
    struct denial denial;

    describe(request, &denial);
    if (!denials_has(keeper->denials, &denial) && !denials_is_full(keeper->denials))
        return false;
    if (refusals_may_record(keeper->refusals, request->identity, now_ms))
        return false;
    if (!denials_count(keeper->denials, &denial))
        refusals_count(keeper->refusals,
                       &(struct refusal_summary){request->identity, denial.reason, 1}, now_ms);
    return true;
}

void denial_is_recorded(struct request *request)
{
    struct denial denial;

    describe(request, &denial);
    denials_note(request->keeper->denials, &denial, request->sequence, clock_boot_ms());
}

static bool on_summary(const struct denial_summary *summary, void *argument)
{
    struct keeper *keeper = argument;
    const struct denial *denial = summary->denial;
    CLEANUP(json_free_p)
    json_t *detail = json_pack("{s:I, s:I}", "count", (json_int_t)summary->count, "record",
                               (json_int_t)summary->record);
    char key[TPM_NAME_HEX + 1];
    struct audit_record record;

    hex_encode(denial->key.bytes, sizeof(denial->key.bytes), key);
    keeper_record(keeper, AUDIT_REPEATED, &record);
    record.auth = AUDIT_AUTH_ACT;
    record.actor = denial->actor;
    record.key = key;
    record.group = denial->subject.group;
    record.database = denial->subject.database;
    record.replica = denial->replica;
    record.purpose = act_purpose_word(denial->purpose);
    record.epoch = denial->epoch;
    record.decision = policy_outcome_name(POLICY_DENY);
    record.reason = reason_code(denial->reason);
    record.detail = detail;
    if (detail && keeper_append(keeper, &record, NULL, NULL) == ESCROW_OK)
        return true;
    log_warning("that %" PRIu64 " denials were like that of record %" PRIu64
                " cannot be recorded now",
                summary->count, summary->record);
    return false;
}

void denials_tick(struct keeper *keeper, bool all)
{
    /* Without a log they stay; nobody is denied by the policy meanwhile. */
    if (!keeper_lacks(keeper, KEEPER_NEEDS_LOG))
        denials_flush(keeper->denials, clock_boot_ms(), all, on_summary, keeper);
}
