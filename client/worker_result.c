/* SPDX-License-Identifier: Apache-2.0 */
#include "client/worker_result.h"

#include "libescrow/cleanup.h"

#include <stdio.h>

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
        [WORKER_PART_RECEIPT] = "receipt", [WORKER_PART_APPROVAL] = "approval",
    };

    _Static_assert(ARRAY_LEN(names) == WORKER_PARTS, "a name per part");
    return (unsigned)part < WORKER_PARTS ? names[part] : "unknown";
}

void worker_put_part(struct ipc_writer *writer, enum worker_part part)
{
    ipc_put_u32(writer, (uint32_t)part);
}

enum escrow_err worker_get_part(const struct ipc_message *message, enum worker_part *ret_part)
{
    struct ipc_reader reader;
    uint32_t part;
    enum escrow_err err;

    ipc_reader_init(&reader, message);
    part = ipc_get_enum(&reader, 0, WORKER_PARTS - 1);
    err = ipc_reader_end(&reader);
    if (!err)
        *ret_part = (enum worker_part)part;
    return err;
}

void worker_put_result(struct ipc_writer *writer, const struct worker_result *result)
{
    ipc_put_u32(writer, (uint32_t)result->outcome);
    ipc_put_u32(writer, (uint32_t)result->reason);
    ipc_put_i32(writer, result->sql_error);
    ipc_put_u32(writer, result->retry_after_s);
    ipc_put_u32(writer, result->version);
    ipc_put_u64(writer, result->epoch);
    ipc_put_bool(writer, result->is_behind);
    ipc_put_bool(writer, result->is_receipted);
    for (size_t i = 0; i < WORKER_PARTS; i++)
        ipc_put_u32(writer, result->took_us[i]);
    ipc_put_string(writer, result->text);
}

enum escrow_err worker_get_result(const struct ipc_message *message,
                                  struct worker_result *ret_result)
{
    struct worker_result result = {0};
    struct ipc_reader reader;
    enum escrow_err err;

    ipc_reader_init(&reader, message);
    /* That it died is never a worker's own word. */
    result.outcome =
        (enum worker_outcome)ipc_get_enum(&reader, WORKER_DIED + 1, WORKER_OUTCOMES - 1);
    result.reason = (enum reason)ipc_get_enum(&reader, REASON_NONE, REASON_COUNT - 1);
    result.sql_error = ipc_get_i32(&reader);
    result.retry_after_s = ipc_get_u32(&reader);
    result.version = ipc_get_u32(&reader);
    result.epoch = ipc_get_u64(&reader);
    result.is_behind = ipc_get_bool(&reader);
    result.is_receipted = ipc_get_bool(&reader);
    for (size_t i = 0; i < WORKER_PARTS; i++)
        result.took_us[i] = ipc_get_u32(&reader);
    snprintf(result.text, sizeof(result.text), "%s",
             ipc_get_string(&reader, sizeof(result.text) - 1));
    err = ipc_reader_end(&reader);
    if (!err)
        *ret_result = result;
    return err;
}
