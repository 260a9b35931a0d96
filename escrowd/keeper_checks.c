/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper can and cannot do now: keeper_checks of keeper_state.h, and what follows. */
#include "escrowd/clock.h"
#include "escrowd/keeper_state.h"
#include "libescrow/log.h"

#include <stdio.h>
#include <string.h>

/* Sixteen segments: days of a busy member, and time for whoever is warned. */
#define LOG_SPACE_LOW_BYTES ((uint64_t)64 * 1024 * 1024)

static const struct roster_member *own_member(const struct keeper *keeper)
{
    const struct roster *roster = ledger_roster(keeper->ledger);
    const struct roster_member *member =
        roster ? roster_find_member(roster, &keeper->member->names.storage) : NULL;

    return member && tpm_name_equal(&member->answer, &keeper->member->answer) ? member : NULL;
}

static void check_log(const struct keeper *keeper, struct check *check)
{
    const char *trouble = keeper->audit ? audit_trouble(keeper->audit) : NULL;

    if (!keeper->audit)
        check_set(check, CHECK_FAIL, REASON_LOG_TAMPERED, "not written any more; it is evidence");
    else if (trouble)
        check_set(check, CHECK_FAIL, REASON_LOG_UNAVAILABLE, "%s", trouble);
    else if (keeper->log_free_bytes < LOG_SPACE_LOW_BYTES)
        check_set(check, CHECK_WARN, REASON_LOG_SPACE_LOW, "%llu bytes are free",
                  (unsigned long long)keeper->log_free_bytes);
    else
        check_set(check, CHECK_OK, REASON_NONE, "record %llu",
                  (unsigned long long)audit_end(keeper->audit)->sequence);
}

static void check_clock(const struct keeper *keeper, struct check *check)
{
    int64_t behind_ms = keeper->audit ? audit_end(keeper->audit)->time_ms - clock_wall_ms() : 0;

    if (!keeper->audit)
        check_set(check, CHECK_UNKNOWN, REASON_LOG_TAMPERED, "no record to compare with");
    else if (behind_ms > 0)
        check_set(check, CHECK_FAIL, REASON_CLOCK_BACKWARDS,
                  "%lld ms earlier than the last record of the log", (long long)behind_ms);
    else
        check_set(check, CHECK_OK, REASON_NONE, "later than the last record of the log");
}

static void check_roster(const struct keeper *keeper, struct check *check)
{
    const struct roster *roster = ledger_roster(keeper->ledger);

    if (!roster)
        check_set(check, CHECK_FAIL, REASON_NO_ROSTER, "by escrowctl publish");
    else if (!own_member(keeper))
        check_set(check, CHECK_FAIL, REASON_MEMBER_UNKNOWN, "version %llu",
                  (unsigned long long)roster_version(roster));
    else
        check_set(check, CHECK_OK, REASON_NONE, "version %llu",
                  (unsigned long long)roster_version(roster));
}

static void check_probers(const struct keeper *keeper, struct check *check)
{
    struct prober_numbers prober;
    size_t count = 0, connected = 0;

    while (keeper->probers && probers_numbers(keeper->probers, count, &prober)) {
        connected += prober.is_connected;
        count++;
    }
    check_set(check, connected == count ? CHECK_OK : CHECK_WARN,
              connected == count ? REASON_NONE : REASON_PROBER_AWAY, "%zu of %zu instances",
              connected, count);
}

void keeper_checks(const struct keeper *keeper, struct check ret_checks[static CHECK_OF_KEEPER])
{
    check_log(keeper, &ret_checks[CHECK_LOG]);
    check_clock(keeper, &ret_checks[CHECK_CLOCK]);
    check_roster(keeper, &ret_checks[CHECK_ROSTER]);
    check_probers(keeper, &ret_checks[CHECK_PROBERS]);
    keeper_alerts_check(keeper->alerts, &ret_checks[CHECK_ALERT]);
    survey_check(keeper->survey, &ret_checks[CHECK_GROUPS]);
    if (keeper->is_store_behind)
        check_set(&ret_checks[CHECK_STORE], CHECK_FAIL, REASON_STORE_UNAVAILABLE,
                  "it lacks records that the log has");
    else
        check_set(&ret_checks[CHECK_STORE], CHECK_OK, REASON_NONE, "has every record of the log");
    if (keeper->is_tpm_well)
        check_set(&ret_checks[CHECK_TPM], CHECK_OK, REASON_NONE, "answers");
    else
        check_set(&ret_checks[CHECK_TPM], CHECK_FAIL, REASON_TPM_UNAVAILABLE,
                  "it may also be another member's");
    check_set(&ret_checks[CHECK_POLICY], CHECK_OK, REASON_NONE, "%s", keeper->rules);
}

size_t keeper_lacks_all(const struct keeper *keeper, enum reason ret_reasons[KEEPER_LACKS_MAX])
{
    struct check checks[CHECK_OF_KEEPER];
    size_t count = 0;

    keeper_checks(keeper, checks);
    for (size_t i = 0; i < CHECK_OF_KEEPER; i++) {
        if (checks[i].status == CHECK_FAIL)
            ret_reasons[count++] = checks[i].reason;
    }
    return count;
}

static enum reason first_failure(const struct check checks[static CHECK_OF_KEEPER])
{
    for (size_t i = 0; i < CHECK_OF_KEEPER; i++) {
        if (checks[i].status == CHECK_FAIL)
            return checks[i].reason;
    }
    return REASON_NONE;
}

static unsigned need_of(enum reason reason)
{
    if (reason == REASON_NO_ROSTER || reason == REASON_MEMBER_UNKNOWN)
        return KEEPER_NEEDS_ROSTER;
    return reason == REASON_TPM_UNAVAILABLE ? KEEPER_NEEDS_TPM : KEEPER_NEEDS_LOG;
}

enum reason keeper_lacks(const struct keeper *keeper, unsigned needs)
{
    enum reason reasons[KEEPER_LACKS_MAX];
    size_t count = keeper_lacks_all(keeper, reasons);

    for (size_t i = 0; i < count; i++) {
        if (need_of(reasons[i]) & needs)
            return reasons[i];
    }
    return REASON_NONE;
}

void keeper_tell_status(struct keeper *keeper)
{
    const char *trouble = keeper->audit ? audit_trouble(keeper->audit) : NULL;
    struct check checks[CHECK_OF_KEEPER];
    char status[IPC_STATUS_MAX];
    enum reason reason;

    keeper_checks(keeper, checks);
    keeper_alerts_checks(keeper->alerts, checks);
    reason = first_failure(checks);
    snprintf(status, sizeof(status), "%s%s%s",
             reason ? reason_text(reason) : "Ready: nothing keeps escrowd from serving.",
             trouble ? " " : "", trouble ? trouble : "");
    if (strcmp(status, keeper->status) == 0)
        return;
    /* What could not be told is told again by the next tick. */
    if (!keeper->role || role_status(keeper->role, status))
        memcpy(keeper->status, status, sizeof(status));
}

void keeper_observed(struct keeper *keeper)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    CLEANUP(cleanup_free) char *text = NULL;
    struct check checks[CHECK_OF_KEEPER];
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    keeper_checks(keeper, checks);
    if (out)
        keeper_metrics_write(out, keeper);
    if (!out || fclose(out) != 0)
        len = 0;
    ipc_put_observed(&writer, checks, text, len);
    if (ipc_channel_send(keeper->front, IPC_OBSERVED, 0, &writer))
        log_warning("front does not take an answer");
}
