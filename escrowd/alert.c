/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/alert.h"

#include "libescrow/identity.h"
#include "libescrow/json.h"
#include "libescrow/reason.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What stands behind the words of a command. */
enum next_of { NEXT_ALONE, NEXT_OF_RECORD, NEXT_OF_GRANT };

#define NEXT_EXPLAIN "escrowctl audit explain"
#define NEXT_SHOW "escrowctl audit show --from"
#define NEXT_STATUS "escrowctl status"

/* The first row that fits a record counts; a column without a value fits any. */
static const struct row {
    enum audit_event on;
    enum reason reason;
    const char *decision;
    const char *outcome; /* of the record's detail */
    const char *purpose;
    const char *event; /* NULL: the code of the reason */
    const char *text;  /* stands before the text of the reason */
    const char *next;
    enum next_of next_of;
} rows[] = {
    {.on = AUDIT_RELEASE,
     .decision = "needs_approval",
     .event = "needs_approval",
     .text = "A release waits for the approval of admins.",
     .next = "escrowctl pending"},
    {.on = AUDIT_RELEASE,
     .decision = "deny",
     .purpose = "drill",
     .event = "drill_failed",
     .text = "The release for a drill was refused.",
     .next = NEXT_EXPLAIN,
     .next_of = NEXT_OF_RECORD},
    {.on = AUDIT_RELEASE,
     .decision = "deny",
     .event = "refused",
     .text = "A release was refused.",
     .next = NEXT_EXPLAIN,
     .next_of = NEXT_OF_RECORD},
    {.on = AUDIT_REFUSAL,
     .event = "refused",
     .text = "A signed request was refused.",
     .next = NEXT_SHOW,
     .next_of = NEXT_OF_RECORD},
    {.on = AUDIT_REBASELINE,
     .decision = "allow",
     .event = "rebaseline",
     .text = "An admin has made the present primary of a group its known one.",
     .next = NEXT_SHOW,
     .next_of = NEXT_OF_RECORD},
    {.on = AUDIT_REBASELINE,
     .event = "refused",
     .text = "A rebaseline was refused.",
     .next = NEXT_SHOW,
     .next_of = NEXT_OF_RECORD},
    {.on = AUDIT_UNFINISHED,
     .event = "unfinished",
     .text = "A release was granted, but nothing was let out.",
     .next = NEXT_SHOW,
     .next_of = NEXT_OF_RECORD},
    {.on = AUDIT_RECEIPT,
     .outcome = "failed",
     .purpose = "drill",
     .event = "drill_failed",
     .text = "A drill failed: the agent could not open the master key with what it was given.",
     .next = NEXT_SHOW,
     .next_of = NEXT_OF_RECORD},
    {.on = AUDIT_RECEIPT,
     .outcome = "failed",
     .event = "grant_unsettled",
     .text = "The agent could not open the master key with what it was given: the database on the "
             "new primary stays closed.",
     .next = NEXT_SHOW,
     .next_of = NEXT_OF_RECORD},
    {.on = AUDIT_SETTLE,
     .reason = REASON_GRANT_DISPROVED,
     .event = "grant_unsettled",
     .next = NEXT_SHOW,
     .next_of = NEXT_OF_GRANT},
    {.on = AUDIT_SETTLE,
     .reason = REASON_GRANT_UNPROVEN,
     .event = "grant_unsettled",
     .next = NEXT_SHOW,
     .next_of = NEXT_OF_GRANT},
    {.on = AUDIT_SETTLE,
     .reason = REASON_RECEIPT_MISSING,
     .event = "grant_unsettled",
     .next = NEXT_SHOW,
     .next_of = NEXT_OF_GRANT},
    {.on = AUDIT_ALERT,
     .reason = REASON_CANDIDATE_SILENCE,
     .text = "A release was granted on the silence of the other replica.",
     .next = NEXT_EXPLAIN,
     .next_of = NEXT_OF_GRANT},
    {.on = AUDIT_ALERT,
     .reason = REASON_OWN_CERTIFICATE_EXPIRED,
     .event = "certificate",
     .next = NEXT_STATUS},
    {.on = AUDIT_ALERT,
     .reason = REASON_OWN_CERTIFICATE_EXPIRING,
     .event = "certificate",
     .next = NEXT_STATUS},
    {.on = AUDIT_ALERT, .reason = REASON_CA_EXPIRING, .event = "certificate", .next = NEXT_STATUS},
    {.on = AUDIT_ALERT, .reason = REASON_CRL_STALE, .event = "certificate", .next = NEXT_STATUS},
    /* What the record says of these, status says of now, with what to do about it. */
    {.on = AUDIT_ALERT, .reason = REASON_MASTER_KEY_CLOSED, .next = NEXT_STATUS},
    {.on = AUDIT_ALERT, .reason = REASON_MEMBERSHIP_DIFFERS, .next = NEXT_STATUS},
    {.on = AUDIT_ALERT, .next = NEXT_SHOW, .next_of = NEXT_OF_RECORD},
    {.on = AUDIT_LOG_TORN,
     .event = "log_trouble",
     .text = "The last line of the audit log was incomplete and was cut: the keeper or the machine "
             "ended while it was written.",
     .next = NEXT_SHOW,
     .next_of = NEXT_OF_RECORD},
    {.on = AUDIT_LOG_BACK,
     .event = "log_back",
     .text = "The audit log can be written again.",
     .next = NEXT_SHOW,
     .next_of = NEXT_OF_RECORD},
};

/* Checks that are an alert when they fail, and those that are when they warn. */
static const struct {
    const char *event;
    bool warns;
} checks[CHECK_COUNT] = {
    [CHECK_LOG] = {"log_trouble", .warns = true},
    [CHECK_STORE] = {"log_trouble"},
    [CHECK_CLOCK] = {"not_ready"},
    [CHECK_ROSTER] = {"not_ready"},
    [CHECK_TPM] = {"not_ready"},
};

static bool fits_text(const char *wanted, const char *found)
{
    return !wanted || (found && strcmp(wanted, found) == 0);
}

static bool fits(const struct row *row, const struct audit_record *record)
{
    const char *outcome = json_string_value(json_object_get(record->detail, "outcome"));

    return row->on == record->event && fits_text(row->decision, record->decision) &&
           fits_text(row->outcome, outcome) && fits_text(row->purpose, record->purpose) &&
           fits_text(row->reason ? reason_code(row->reason) : NULL, record->reason);
}

/* Sentences, with spaces between; what is NULL or "" is left out. */
static void write_text(struct alert *alert, const char *first, const char *second,
                       const char *third)
{
    const char *const sentences[] = {first, second, third};
    size_t used = 0;

    for (size_t i = 0; i < ARRAY_LEN(sentences); i++) {
        if (!sentences[i] || !sentences[i][0] || used >= sizeof(alert->text))
            continue;
        used += (size_t)snprintf(alert->text + used, sizeof(alert->text) - used, "%s%s",
                                 used > 0 ? " " : "", sentences[i]);
    }
}

/* A certificate or a list of served.h: which one. */
static void name_item(const json_t *detail, char *ret_text, size_t cap)
{
    const char *what = json_string_value(json_object_get(detail, "what"));
    const char *name = json_string_value(json_object_get(detail, "name"));
    const char *until = json_string_value(json_object_get(detail, "until"));

    ret_text[0] = '\0';
    if (what && name && until)
        snprintf(ret_text, cap, "It is the %s %s, good until %s.", what, name, until);
}

static void write_next(struct alert *alert, const struct row *row,
                       const struct audit_record *record)
{
    uint64_t number = row->next_of == NEXT_OF_GRANT ? record->grant : record->sequence;

    if (row->next_of == NEXT_ALONE)
        snprintf(alert->next, sizeof(alert->next), "%s", row->next);
    else
        snprintf(alert->next, sizeof(alert->next), "%s %" PRIu64, row->next, number);
    alert->is_of_log = row->next_of != NEXT_ALONE;
}

bool alert_of_record(const struct audit_record *record, struct alert *ret_alert)
{
    const struct row *row = NULL;
    char item[384];

    for (size_t i = 0; i < ARRAY_LEN(rows) && !row; i++) {
        if (fits(&rows[i], record))
            row = &rows[i];
    }
    if (!row)
        return false;
    *ret_alert = (struct alert){.event = row->event ? row->event : record->reason,
                                .reason = record->reason,
                                .group = record->group,
                                .database = record->database,
                                .replica = record->replica,
                                .purpose = record->purpose,
                                .identity = record->actor,
                                .epoch = record->epoch,
                                .record = record->sequence,
                                .time_ms = record->time_ms};
    if (!ret_alert->event)
        ret_alert->event = audit_event_word(record->event);
    name_item(record->detail, item, sizeof(item));
    write_text(ret_alert, row->text,
               record->reason ? reason_text(reason_from_code(record->reason)) : NULL, item);
    write_next(ret_alert, row, record);
    return true;
}

bool alert_of_check(enum check_name name, const struct check *check, int64_t time_ms,
                    struct alert *ret_alert)
{
    bool is_alert =
        check->status == CHECK_FAIL || (check->status == CHECK_WARN && checks[name].warns);

    if (!checks[name].event || !is_alert)
        return false;
    *ret_alert = (struct alert){.event = checks[name].event,
                                .reason = reason_code(check->reason),
                                .next = NEXT_STATUS,
                                .time_ms = time_ms};
    write_text(ret_alert, reason_text(check->reason), check->detail, NULL);
    return true;
}

void alert_of_test(int64_t time_ms, struct alert *ret_alert)
{
    *ret_alert = (struct alert){.event = "test",
                                .text = "This is a test: nothing has happened.",
                                .next = NEXT_STATUS,
                                .time_ms = time_ms};
}

/* NULL for 0. */
static json_t *number_or_null(uint64_t number)
{
    return number ? json_integer((json_int_t)number) : json_null();
}

json_t *alert_json(const struct alert *alert, const char *member, const char *identity)
{
    bool is_named = alert->is_of_log && identity[0];
    char time[AUDIT_TIME_TEXT], next[ALERT_NEXT_MAX + IDENTITY_MAX + 16];

    snprintf(next, sizeof(next), "%s%s%s", alert->next, is_named ? " --escrowd " : "",
             is_named ? identity : "");
    audit_time_format(alert->time_ms, time);
    return json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:o, s:o}", "v", 1,
        "event", alert->event, "time", time, "member", member, "text", alert->text, "next",
        next[0] ? next : NULL, "reason", alert->reason, "group", alert->group, "database",
        alert->database, "replica", alert->replica, "identity", alert->identity, "purpose",
        alert->purpose, "epoch", number_or_null(alert->epoch), "record",
        number_or_null(alert->record));
}
