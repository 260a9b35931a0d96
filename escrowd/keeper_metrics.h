/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/audit_record.h"
#include "libescrow/reason.h"
#include "policy/decide.h"

#include <stdio.h>

/*
 * What the keeper counts of its own work, and its metrics. Counted are records, when they are
 * durable: the same moment at which each has its one line in the service's log.
 */
struct keeper;

#define KEEPER_PURPOSES 8 /* more than enum act_purpose has */

enum keeper_outcome {
    KEEPER_GRANTED,
    KEEPER_DENIED,
    KEEPER_NEEDS_APPROVAL,
    KEEPER_UNFINISHED, /* granted, but nothing was let out */
    KEEPER_OUTCOMES,
};

struct keeper_counts {
    uint64_t events[AUDIT_EVENT_COUNT];
    uint64_t decisions[KEEPER_OUTCOMES][REASON_COUNT];
    uint64_t releases[KEEPER_PURPOSES][KEEPER_OUTCOMES];
    uint64_t findings[REASON_COUNT]; /* what the keeper found out by itself */
    uint64_t fronts;                 /* channels to a front so far */
};

/* A record is durable. */
void keeper_count(struct keeper_counts *counts, const struct audit_record *record);

/* The families of the keeper's counts, its watch, its probers and its TPM, as metric.h has them. */
void keeper_metrics_write(FILE *out, struct keeper *keeper);
