/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/check.h"
#include "libescrow/audit_record.h"

/*
 * What somebody must learn of now: which records of the audit log and which failed checks are
 * alerts, in which words, and the command to run next. One table, `rows` in alert.c: a new alert is
 * a new row. Pure, and never of a secret: an alert has names, a reason and a sequence number.
 */

#define ALERT_BYTES_MAX 4096 /* of an alert as JSON */
#define ALERT_TEXT_MAX 1024
#define ALERT_NEXT_MAX 64

/* Texts are borrowed from what it was made of. NULL or 0 stands for nothing. */
struct alert {
    const char *event; /* "needs_approval": its kind, stable */
    const char *reason;
    char text[ALERT_TEXT_MAX]; /* for a person */
    char next[ALERT_NEXT_MAX]; /* a command, or "" */
    bool is_of_log;            /* which is about the log of this escrowd alone */
    const char *group, *database, *replica, *purpose;
    const char *identity;
    uint64_t epoch;
    uint64_t record; /* its sequence number */
    int64_t time_ms; /* Unix time */
};

/* False: the record is none. */
bool alert_of_record(const struct audit_record *record, struct alert *ret_alert);
/* What cannot be recorded, or not now: a check that fails, or the log's that warns; else false. */
bool alert_of_check(enum check_name name, const struct check *check, int64_t time_ms,
                    struct alert *ret_alert);
/* Of no event at all: to see whether alerts arrive. */
void alert_of_test(int64_t time_ms, struct alert *ret_alert);

/*
 * As the command gets it, but for what the queue adds (alert_queue.h): an object of escrowd(8),
 * owned by the caller; member is whose alert it is, identity that of its certificate ("": not
 * known), which the next command names, so that it can be run as it is. NULL without memory, or
 * where a text is not UTF-8.
 */
json_t *alert_json(const struct alert *alert, const char *member, const char *identity);
