/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a durable record means beside the ledger: one line in the service's log, its counters, and
 * where it is one an alert.
 * EVENT key=value ..., in the order of the table; a value with a space or a quote in it is quoted.
 */
#include "escrowd/keeper_state.h"
#include "libescrow/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define EVENT_LINE_MAX 1024 /* a longer one is cut */

struct line {
    char text[EVENT_LINE_MAX];
    size_t len;
};

static void put_char(struct line *line, char c)
{
    if (line->len + 1 < sizeof(line->text))
        line->text[line->len++] = c;
}

static void put_text(struct line *line, const char *text)
{
    while (*text)
        put_char(line, *text++);
}

/* NULL and "" are left out. */
static void put_value(struct line *line, const char *key, const char *value)
{
    bool is_plain = value && !strpbrk(value, " \"\\=");

    if (!value || *value == '\0')
        return;
    put_char(line, ' ');
    put_text(line, key);
    put_char(line, '=');
    if (!is_plain)
        put_char(line, '"');
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            put_char(line, '\\');
        put_char(line, *value);
    }
    if (!is_plain)
        put_char(line, '"');
}

/* 0 is left out. */
static void put_number(struct line *line, const char *key, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, value);
    put_value(line, key, value ? text : NULL);
}

static enum log_level level_of(const struct audit_record *record)
{
    switch (record->event) {
    case AUDIT_RELEASE:
    case AUDIT_REBASELINE:
        return strcmp(record->decision ? record->decision : "",
                      policy_outcome_name(POLICY_ALLOW)) == 0
                   ? LOG_LEVEL_NOTICE
                   : LOG_LEVEL_WARNING;
    case AUDIT_SETTLE:
        return strcmp(record->reason, reason_code(REASON_GRANT_PROVED)) == 0 ? LOG_LEVEL_NOTICE
                                                                             : LOG_LEVEL_WARNING;
    case AUDIT_UNFINISHED:
    case AUDIT_REFUSAL:
    case AUDIT_UNPROVED:
    case AUDIT_REPEATED:
    case AUDIT_ALERT:
    case AUDIT_LOG_TORN:
    case AUDIT_EXPIRED:
        return LOG_LEVEL_WARNING;
    default:
        return LOG_LEVEL_NOTICE;
    }
}

static void tell(const struct audit_record *record)
{
    struct line line = {.len = 0};
    json_t *detail = record->detail;

    put_text(&line, audit_event_word(record->event));
    put_number(&line, "record", record->sequence);
    put_value(&line, "decision", record->decision);
    put_value(&line, "reason", record->reason);
    put_value(&line, "outcome", json_string_value(json_object_get(detail, "outcome")));
    put_value(&line, "purpose", record->purpose);
    put_value(&line, "group", record->group);
    put_value(&line, "database", record->database);
    put_value(&line, "replica", record->replica);
    put_number(&line, "epoch", record->epoch);
    put_number(&line, "grant", record->grant);
    put_value(&line, "order", record->order);
    put_number(&line, "count", (uint64_t)json_integer_value(json_object_get(detail, "count")));
    put_value(&line, "actor", record->actor);
    log_write(level_of(record), "%.*s", (int)line.len, line.text);
}

enum escrow_err keeper_fold(const struct audit_line *lines, size_t count, void *argument)
{
    struct keeper *keeper = argument;
    enum escrow_err err = ledger_fold(lines, count, keeper->ledger);

    for (size_t i = 0; i < count; i++) {
        keeper_count(&keeper->counts, lines[i].record);
        tell(lines[i].record);
        keeper_alerts_record(keeper->alerts, lines[i].record);
    }
    return err;
}
