/* SPDX-License-Identifier: Apache-2.0 */
#include "client/worker_result.h"

#include "libescrow/cleanup.h"

const char *worker_outcome_name(enum worker_outcome outcome)
{
    static const char *const names[] = {
        [WORKER_DIED] = "died",
        [WORKER_OPENED] = "opened",
        [WORKER_ALREADY_OPEN] = "already_open",
        [WORKER_NEEDS_APPROVAL] = "needs_approval",
        [WORKER_DENIED] = "denied",
        [WORKER_UNAVAILABLE] = "escrowd_unavailable",
        [WORKER_DISTRUSTED] = "escrowd_distrusted",
        [WORKER_WRONG_PASSWORD] = "wrong_password",
        [WORKER_LOGIN_REFUSED] = "login_refused",
        [WORKER_SQL_UNREACHABLE] = "sql_unreachable",
        [WORKER_SQL_FAILED] = "sql_failed",
        [WORKER_NOT_PROVED] = "not_proved",
        [WORKER_LOCAL] = "local_failure",
    };

    _Static_assert(ARRAY_LEN(names) == WORKER_OUTCOMES, "a name per outcome");
    return (unsigned)outcome < WORKER_OUTCOMES ? names[outcome] : "unknown";
}

const char *worker_part_name(enum worker_part part)
{
    static const char *const names[] = {
        [WORKER_PART_CONNECT] = "connect", [WORKER_PART_CHALLENGE] = "challenge",
        [WORKER_PART_SESSION] = "session", [WORKER_PART_RELEASE] = "release",
        [WORKER_PART_UNWRAP] = "unwrap",   [WORKER_PART_OPEN] = "open",
        [WORKER_PART_ADD] = "add",         [WORKER_PART_CHECK] = "check",
        [WORKER_PART_RECEIPT] = "receipt",
    };

    _Static_assert(ARRAY_LEN(names) == WORKER_PARTS, "a name per part");
    return (unsigned)part < WORKER_PARTS ? names[part] : "unknown";
}
