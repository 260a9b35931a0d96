/* SPDX-License-Identifier: Apache-2.0 */
/* The GET routes: health, roster, secrets, status, audit. They change nothing. */
#include "escrowd/clock.h"
#include "escrowd/keeper_approve.h"
#include "escrowd/keeper_state.h"
#include "escrowd/store_ledger.h"
#include "escrowd/store_secrets.h"
#include "libescrow/encode.h"
#include "libescrow/json.h"
#include "libescrow/rpc.h"

#include <stdlib.h>
#include <string.h>

#define AUDIT_LIMIT_DEFAULT 100
#define AUDIT_REPLY_MAX ((size_t)160 * 1024)

_Static_assert(AUDIT_LINE_MAX <= IPC_LARGE_MAX, "every record can be read by GET /v1/audit");

static json_t *reasons_json(const struct keeper *keeper, size_t *ret_count)
{
    enum reason reasons[KEEPER_LACKS_MAX];
    CLEANUP(json_free_p) json_t *array = json_array();

    *ret_count = keeper_lacks_all(keeper, reasons);
    for (size_t i = 0; i < *ret_count; i++) {
        if (json_array_append_new(array, json_string(reason_code(reasons[i]))))
            return NULL;
    }
    return TAKE(array);
}

void query_health(struct request *request)
{
    size_t count;
    json_t *reasons = reasons_json(request->keeper, &count);
    CLEANUP(json_free_p)
    json_t *document = json_pack("{s:b, s:o}", "ready", (int)(count == 0), "reasons", reasons);

    request_reply_json(request, count == 0 ? 200 : 503, document);
}

void query_roster(struct request *request)
{
    const struct roster *roster = ledger_roster(request->keeper->ledger);
    CLEANUP(cleanup_free) char *body = NULL;

    if (!roster) {
        request_fail(request, REASON_NO_ROSTER);
        return;
    }
    body = rpc_wrap("roster", roster_compact(roster));
    if (body)
        request_reply_text(request, IPC_CONTENT_JSON, body, strlen(body));
    else
        request_fail(request, REASON_INTERNAL);
}

static json_t *time_json(int64_t time_ms)
{
    char text[AUDIT_TIME_TEXT];

    audit_time_format(time_ms, text);
    return json_string(text);
}

/* Versions come sorted: one of another secret begins a new entry. */
static enum escrow_err list_version(const struct store_listed *listed, void *argument)
{
    json_t *secrets = argument;
    json_t *last = json_array_get(secrets, json_array_size(secrets) - 1);
    json_t *version =
        json_pack("{s:I, s:s, s:o, s:I, s:o, s:b}", "version", (json_int_t)listed->version, "state",
                  secret_state_word(listed->state), "object", json_tpm_name(&listed->object),
                  "sequence", (json_int_t)listed->sequence, "time", time_json(listed->time_ms),
                  "imported", (int)listed->is_imported);

    if (!last || strcmp(json_string_value(json_object_get(last, "group")), listed->group) != 0 ||
        strcmp(json_string_value(json_object_get(last, "database")), listed->database) != 0) {
        last = json_pack("{s:s, s:s, s:[]}", "group", listed->group, "database", listed->database,
                         "versions");
        if (json_array_append_new(secrets, last)) {
            json_decref(version);
            return ESCROW_ERR_NO_MEMORY;
        }
    }
    return json_array_append_new(json_object_get(last, "versions"), version) ? ESCROW_ERR_NO_MEMORY
                                                                             : ESCROW_OK;
}

void query_secrets(struct request *request)
{
    CLEANUP(json_free_p) json_t *secrets = json_array();
    CLEANUP(json_free_p) json_t *document = NULL;

    if (!request_has_role(request, 0))
        return;
    if (!secrets || store_list_versions(request->keeper->store, list_version, secrets)) {
        request_fail(request, REASON_STORE_UNAVAILABLE);
        return;
    }
    document = json_pack("{s:O}", "secrets", secrets);
    request_reply_json(request, 200, document);
}

/* The requests that wait for admins. */
struct pending_list {
    const struct keeper *keeper;
    json_t *requests;
};

static enum escrow_err list_request(const struct store_request *pending, void *argument)
{
    struct pending_list *list = argument;

    return json_array_append_new(list->requests, approve_json(list->keeper, pending))
               ? ESCROW_ERR_NO_MEMORY
               : ESCROW_OK;
}

/* The end of the log as this member knows it: what a witness file keeps. */
static json_t *log_json(const struct keeper *keeper)
{
    const struct audit_chain *end = keeper->audit ? audit_end(keeper->audit) : NULL;
    char hash[2 * AUDIT_HASH_BYTES + 1];

    if (!end)
        return json_null();
    hex_encode(end->hash, sizeof(end->hash), hash);
    return json_pack("{s:I, s:s, s:o}", "sequence", (json_int_t)end->sequence, "hash", hash, "time",
                     time_json(end->time_ms));
}

static bool add_warning(json_t *array, enum check_name name, enum reason reason, const char *detail)
{
    return json_array_append_new(array,
                                 json_pack("{s:s, s:s, s:s}", "check", check_word(name), "reason",
                                           reason_code(reason), "detail", detail)) == 0;
}

static bool add_due(const struct served_alert *alert, void *argument)
{
    return add_warning(argument, CHECK_CERTIFICATE, alert->reason, alert->item->name);
}

/* What a person should look at although escrowd serves. */
static json_t *warnings_json(const struct keeper *keeper)
{
    struct check checks[CHECK_OF_KEEPER];
    CLEANUP(json_free_p) json_t *array = json_array();

    keeper_checks(keeper, checks);
    for (int i = 0; i < CHECK_OF_KEEPER; i++) {
        if (checks[i].status == CHECK_WARN &&
            !add_warning(array, (enum check_name)i, checks[i].reason, checks[i].detail))
            return NULL;
    }
    served_each_due(keeper->served, clock_wall_ms() / 1000, add_due, array);
    return TAKE(array);
}

static json_t *status_json(const struct keeper *keeper)
{
    const struct roster *roster = ledger_roster(keeper->ledger);
    const char *trouble = keeper->audit ? audit_trouble(keeper->audit) : NULL;
    CLEANUP(json_free_p) json_t *requests = json_array();
    CLEANUP(json_free_p) json_t *groups = watch_json(keeper->watch);
    struct pending_list pending = {keeper, requests};
    uint64_t versions, unimported, unsettled;
    json_t *reasons;
    size_t count;

    if (!requests || !groups || !survey_describe(keeper->survey, groups) ||
        store_count_versions(keeper->store, &versions, &unimported) ||
        store_count_unsettled(keeper->store, &unsettled) ||
        store_list_requests(keeper->store, clock_wall_ms(), list_request, &pending))
        return NULL;
    reasons = reasons_json(keeper, &count);
    return json_pack(
        "{s:s, s:o, s:b, s:o, s:s?, s:I, s:s, s:o, s:o, s:I, s:I, s:I, s:O, s:O, s:o}", "member",
        keeper->config->member, "key", json_tpm_name(&keeper->member->names.storage), "ready",
        (int)(count == 0), "reasons", reasons, "trouble", trouble, "roster",
        (json_int_t)(roster ? roster_version(roster) : 0), "rules", keeper->rules, "log",
        log_json(keeper), "tls", served_json(keeper->served), "versions", (json_int_t)versions,
        "unimported", (json_int_t)unimported, "unsettled", (json_int_t)unsettled, "requests",
        requests, "groups", groups, "warnings", warnings_json(keeper));
}

void query_status(struct request *request)
{
    CLEANUP(json_free_p) json_t *document = NULL;

    if (!request_has_role(request, 0))
        return;
    document = status_json(request->keeper);
    request_reply_json(request, 200, document);
}

/* The lines of a reply. */
struct lines {
    char *text;
    size_t len;
    uint64_t count, limit;
};

static enum escrow_err add_line(const struct audit_line *line, void *argument)
{
    struct lines *lines = argument;

    /* A record that alone is larger goes out alone. */
    if (lines->count == lines->limit || (lines->count && lines->len + line->len > AUDIT_REPLY_MAX))
        return ESCROW_ERR_EXISTS; /* full: ends the reading */
    memcpy(lines->text + lines->len, line->text, line->len);
    lines->len += line->len;
    lines->count++;
    return ESCROW_OK;
}

void query_audit(struct request *request)
{
    CLEANUP(cleanup_free) char *text = malloc(AUDIT_LINE_MAX);
    struct lines lines = {.text = text,
                          .limit = request->limit ? request->limit : AUDIT_LIMIT_DEFAULT};
    struct audit_reading reading;
    enum escrow_err err;

    if (!request_has_role(request, REQUEST_ROLE(ROSTER_ADMIN) | REQUEST_ROLE(ROSTER_AUDITOR)))
        return;
    if (!text) {
        request_fail(request, REASON_INTERNAL);
        return;
    }
    err = audit_read(request->keeper->config->audit_folder, request->from ? request->from : 1,
                     add_line, &lines, &reading);
    if (err && err != ESCROW_ERR_EXISTS)
        request_fail(request,
                     err == ESCROW_ERR_MALFORMED ? REASON_LOG_TAMPERED : REASON_LOG_UNAVAILABLE);
    else
        request_reply_text(request, IPC_CONTENT_LINES, lines.text, lines.len);
}
