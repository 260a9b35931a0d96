/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/probe.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * What a refused login holds back in one process: any other login to the same instance, whatever
 * asks for it, because SQL Server or the domain locks an account that is refused too often, and
 * questions come every second. A connection that is there goes on. It is kept in memory only: a
 * process that is started anew, with what its files hold by then, tries at once.
 */

#define PROBE_HOLD_MS 30000

/* All zero is right at first. Durations are of CLOCK_BOOTTIME. */
struct probe_hold {
    int64_t until_ms;
    bool is_refused;                /* the last login was */
    int32_t sql_error;              /* with this number, 0 if none */
    char diagnosis[PROBE_TEXT_MAX]; /* and this line for a DBA */
};

/* Whether no login may be tried now; sql_error and diagnosis tell why. */
bool probe_hold_is_on(const struct probe_hold *hold);

/*
 * A login to the instance was refused: none is tried for PROBE_HOLD_MS, and the log says so, as a
 * warning if it is the first in a row or has another number.
 */
void probe_hold_begin(struct probe_hold *hold, const char *instance, int32_t sql_error,
                      const char diagnosis[static PROBE_TEXT_MAX]);

/* A login was taken. */
void probe_hold_end(struct probe_hold *hold);
