/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/alert.h"
#include "escrowd/check.h"

#include <event2/event.h>

#include <stdio.h>

/*
 * The keeper's channel to the alerter, and the alerts that wait for it. One alert is with the
 * alerter at a time; an alerter that dies of it gets it once more. Never waits, and nothing that
 * the alerter does or leaves undone is more than an alert that is missing: counted, said by the
 * check `alert`, and by the next alert that is delivered.
 */
struct keeper_alerts;

struct keeper_alerts_config {
    struct event_base *base;
    const char *member;
    int64_t timeout_ms; /* of the command; 0: the configuration has none, and alerts go nowhere */
    /* The alerter must be ended and started again. */
    void (*on_overdue)(void *argument);
    void *argument;
};

/* No channel yet. config is copied, its texts borrowed. ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err keeper_alerts_new(const struct keeper_alerts_config *config,
                                             struct keeper_alerts **ret_alerts);
void keeper_alerts_free(struct keeper_alerts *alerts);
CLEANUP_FUNCTION(keeper_alerts_free_p, struct keeper_alerts, keeper_alerts_free)

/* The channel to the alerter (taken); it replaces an earlier one. */
void keeper_alerts_attach(struct keeper_alerts *alerts, int fd);

/* The identity of the certificate that front serves with; one that is none is not taken. */
void keeper_alerts_serve_as(struct keeper_alerts *alerts, const char *identity);

/* A record is durable: an alert, if it is one. */
void keeper_alerts_record(struct keeper_alerts *alerts, const struct audit_record *record);
/* The last record that was looked at, when nothing waits any more; 0: something does. */
uint64_t keeper_alerts_told(const struct keeper_alerts *alerts);
/* What the keeper can do now: an alert for each trouble that was not there the last time. */
void keeper_alerts_checks(struct keeper_alerts *alerts,
                          const struct check checks[static CHECK_OF_KEEPER]);

/*
 * Once a second: gives up an alerter that has not answered for overdue_ms beyond the command's own
 * deadline, or has had no channel for so long. Longer than the supervisor's longest pause before it
 * starts one again.
 */
void keeper_alerts_tick(struct keeper_alerts *alerts, int64_t overdue_ms);
/* The keeper ends: hands over all that waits; nobody is told what became of it but the log. */
void keeper_alerts_hand_over(struct keeper_alerts *alerts);

/* CHECK_ALERT. */
void keeper_alerts_check(const struct keeper_alerts *alerts, struct check *ret_check);
void keeper_alerts_metrics(FILE *out, const struct keeper_alerts *alerts);
