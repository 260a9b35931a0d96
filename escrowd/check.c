/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/check.h"

#include "libescrow/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const words[CHECK_COUNT] = {
    [CHECK_LOG] = "log",
    [CHECK_STORE] = "store",
    [CHECK_CLOCK] = "clock",
    [CHECK_ROSTER] = "roster",
    [CHECK_TPM] = "tpm",
    [CHECK_POLICY] = "policy",
    [CHECK_PROBERS] = "probers",
    [CHECK_ALERT] = "alert",
    [CHECK_GROUPS] = "groups",
    [CHECK_KEEPER] = "keeper",
    [CHECK_CERTIFICATE] = "certificate",
};

static const char *const status_words[] = {
    [CHECK_OK] = "ok", [CHECK_WARN] = "warn", [CHECK_FAIL] = "fail", [CHECK_UNKNOWN] = "unknown"};

void check_set(struct check *check, enum check_status status, enum reason reason,
               const char *format, ...)
{
    va_list args;

    check->status = status;
    check->reason = reason;
    va_start(args, format);
    vsnprintf(check->detail, sizeof(check->detail), format, args);
    va_end(args);
}

const char *check_word(enum check_name name)
{
    return words[name];
}

bool check_is_ready(const struct check *checks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (checks[i].status == CHECK_FAIL)
            return false;
    }
    return true;
}

json_t *check_json(const struct check checks[static CHECK_COUNT])
{
    CLEANUP(json_free_p) json_t *array = json_array();

    for (size_t i = 0; i < CHECK_COUNT; i++) {
        const char *reason = checks[i].reason ? reason_code(checks[i].reason) : NULL;
        /* A cut detail may end within a character. */
        json_t *detail = json_string(checks[i].detail);

        if (json_array_append_new(array, json_pack("{s:s, s:s, s:s?, s:o}", "name", words[i],
                                                   "status", status_words[checks[i].status],
                                                   "reason", reason, "detail",
                                                   detail ? detail : json_string("(not UTF-8)"))))
            return NULL;
    }
    return json_pack("{s:b, s:O}", "ready", (int)check_is_ready(checks, CHECK_COUNT), "checks",
                     array);
}

void ipc_put_observed(struct ipc_writer *writer, const struct check checks[static CHECK_OF_KEEPER],
                      const char *text, size_t len)
{
    for (size_t i = 0; i < CHECK_OF_KEEPER; i++) {
        ipc_put_u32(writer, checks[i].status);
        ipc_put_u32(writer, checks[i].reason);
        ipc_put_string(writer, checks[i].detail);
    }
    ipc_put_bytes(writer, text, len);
}

enum escrow_err ipc_get_observed(const struct ipc_message *message,
                                 struct check ret_checks[static CHECK_OF_KEEPER],
                                 const char **ret_text, size_t *ret_len)
{
    struct check checks[CHECK_OF_KEEPER];
    struct ipc_reader reader;
    const uint8_t *text;
    enum escrow_err err;
    size_t len;

    ipc_reader_init(&reader, message);
    for (size_t i = 0; i < CHECK_OF_KEEPER; i++) {
        checks[i].status = (enum check_status)ipc_get_enum(&reader, CHECK_OK, CHECK_UNKNOWN);
        checks[i].reason = (enum reason)ipc_get_enum(&reader, REASON_NONE, REASON_COUNT - 1);
        snprintf(checks[i].detail, sizeof(checks[i].detail), "%s",
                 ipc_get_string(&reader, CHECK_DETAIL_MAX - 1));
    }
    text = ipc_get_bytes(&reader, IPC_PAYLOAD_MAX, &len);
    err = ipc_reader_end(&reader);
    if (err)
        return err;
    memcpy(ret_checks, checks, sizeof(checks));
    *ret_text = (const char *)text;
    *ret_len = len;
    return ESCROW_OK;
}
