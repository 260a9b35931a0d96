/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/audit_record.h"

#include "libescrow/encode.h"
#include "libescrow/json.h"

#include <openssl/evp.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const event_words[] = {
    [AUDIT_START] = "start",           [AUDIT_SHUTDOWN] = "shutdown",
    [AUDIT_PUBLISH] = "publish",       [AUDIT_DEPOSIT] = "deposit",
    [AUDIT_RELEASE] = "release",       [AUDIT_UNFINISHED] = "unfinished",
    [AUDIT_RECEIPT] = "receipt",       [AUDIT_ORDER] = "order",
    [AUDIT_EPOCH] = "epoch",           [AUDIT_REFUSAL] = "refusal",
    [AUDIT_UNPROVED] = "unproved",     [AUDIT_ALERT] = "alert",
    [AUDIT_LOG_TORN] = "log_torn",     [AUDIT_LOG_BACK] = "log_back",
    [AUDIT_APPROVE] = "approve",       [AUDIT_EXPIRED] = "expired",
    [AUDIT_REBASELINE] = "rebaseline", [AUDIT_SETTLE] = "settle",
    [AUDIT_REPEATED] = "repeated",
};
static const char *const auth_words[] = {"none", "certificate", "act"};

enum field_kind { FIELD_TEXT, FIELD_NUMBER, FIELD_ARRAY, FIELD_OBJECT };

/* The members that are null where there is nothing to say. */
static const struct field {
    const char *name;
    enum field_kind kind;
    size_t offset;
} fields[] = {
    {"act", FIELD_TEXT, offsetof(struct audit_record, act)},
    {"actor", FIELD_TEXT, offsetof(struct audit_record, actor)},
    {"certificate", FIELD_TEXT, offsetof(struct audit_record, certificate)},
    {"database", FIELD_TEXT, offsetof(struct audit_record, database)},
    {"decision", FIELD_TEXT, offsetof(struct audit_record, decision)},
    {"detail", FIELD_OBJECT, offsetof(struct audit_record, detail)},
    {"epoch", FIELD_NUMBER, offsetof(struct audit_record, epoch)},
    {"facts", FIELD_OBJECT, offsetof(struct audit_record, facts)},
    {"grant", FIELD_NUMBER, offsetof(struct audit_record, grant)},
    {"group", FIELD_TEXT, offsetof(struct audit_record, group)},
    {"key", FIELD_TEXT, offsetof(struct audit_record, key)},
    {"objects", FIELD_ARRAY, offsetof(struct audit_record, objects)},
    {"order", FIELD_TEXT, offsetof(struct audit_record, order)},
    {"purpose", FIELD_TEXT, offsetof(struct audit_record, purpose)},
    {"reason", FIELD_TEXT, offsetof(struct audit_record, reason)},
    {"replica", FIELD_TEXT, offsetof(struct audit_record, replica)},
    {"roster", FIELD_NUMBER, offsetof(struct audit_record, roster)},
    {"rules", FIELD_TEXT, offsetof(struct audit_record, rules)},
    {"versions", FIELD_ARRAY, offsetof(struct audit_record, versions)},
};
/* auth, event, previous, reset_count, sequence, time, tpm_clock, v */
#define OTHER_MEMBERS 8
#define FORMAT_VERSION 1

const char *audit_event_word(enum audit_event event)
{
    size_t index = (size_t)event;

    return index < ARRAY_LEN(event_words) && event_words[index] ? event_words[index] : "unknown";
}

const char *audit_fault_word(enum audit_fault fault)
{
    static const char *const words[] = {"none", "form", "sequence", "chain", "unchecked"};

    return words[fault];
}

void audit_time_format(int64_t time_ms, char ret_text[static AUDIT_TIME_TEXT])
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm parts;
    char text[AUDIT_TIME_TEXT];

    gmtime_r(&seconds, &parts);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(ret_text, AUDIT_TIME_TEXT, "%.19s.%03uZ", text, (unsigned)(time_ms % 1000) % 1000U);
}

enum escrow_err audit_time_parse(const char *text, int64_t *ret_time_ms)
{
    struct tm parts = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
    char again[AUDIT_TIME_TEXT];
    int64_t time_ms;

    if (!rest || strlen(rest) != 5 || rest[0] != '.')
        return ESCROW_ERR_MALFORMED;
    time_ms = (int64_t)timegm(&parts) * 1000 + strtol(rest + 1, NULL, 10);
    /* One time has one text: what reads the same but is written otherwise is refused. */
    if (time_ms < 0)
        return ESCROW_ERR_MALFORMED;
    audit_time_format(time_ms, again);
    if (strcmp(again, text) != 0)
        return ESCROW_ERR_MALFORMED;
    *ret_time_ms = time_ms;
    return ESCROW_OK;
}

void audit_record_deinit(struct audit_record *record)
{
    json_decref(record->document);
    memset(record, 0, sizeof(*record));
}

/* NULL for what JSON integers of ours cannot hold. */
static json_t *number_value(uint64_t number)
{
    return number <= INT64_MAX ? json_integer((json_int_t)number) : NULL;
}

/* A new reference to the JSON value of one of the fields; NULL without memory or for bad UTF-8. */
static json_t *field_value(const struct audit_record *record, const struct field *field)
{
    const void *place = (const char *)record + field->offset;
    const char *text;
    json_t *json;
    uint64_t number;

    switch (field->kind) {
    case FIELD_TEXT:
        text = *(const char *const *)place;
        return text ? json_string(text) : json_null();
    case FIELD_NUMBER:
        number = *(const uint64_t *)place;
        return number ? number_value(number) : json_null();
    case FIELD_ARRAY:
    case FIELD_OBJECT:
        json = *(json_t *const *)place;
        return json ? json_incref(json) : json_null();
    }
    return NULL;
}

static json_t *record_document(const struct audit_record *record)
{
    json_t *document = json_object();
    char time_text[AUDIT_TIME_TEXT], previous[2 * AUDIT_HASH_BYTES + 1];
    int failed = !document;

    audit_time_format(record->time_ms, time_text);
    hex_encode(record->previous, AUDIT_HASH_BYTES, previous);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        failed |= json_object_set_new(document, fields[i].name, field_value(record, &fields[i]));
    failed |= json_object_set_new(document, "auth", json_string(auth_words[record->auth]));
    failed |= json_object_set_new(document, "event", json_string(audit_event_word(record->event)));
    failed |= json_object_set_new(document, "previous", json_string(previous));
    failed |= json_object_set_new(document, "sequence", number_value(record->sequence));
    failed |= json_object_set_new(document, "time", json_string(time_text));
    failed |= json_object_set_new(document, "v", json_integer(FORMAT_VERSION));
    failed |=
        json_object_set_new(document, "tpm_clock",
                            record->has_tpm_clock ? number_value(record->tpm_clock) : json_null());
    failed |= json_object_set_new(document, "reset_count",
                                  record->has_tpm_clock ? number_value(record->reset_count)
                                                        : json_null());
    if (failed) {
        json_decref(document);
        return NULL;
    }
    return document;
}

enum escrow_err audit_record_encode(const struct audit_record *record, char **ret_line,
                                    size_t *ret_len)
{
    CLEANUP(json_decrefp) json_t *document = record_document(record);
    CLEANUP(cleanup_free) char *text = document ? json_text(document) : NULL;
    char *line;
    int len;

    if (!document)
        return ESCROW_ERR_MALFORMED;
    if (!text)
        return ESCROW_ERR_NO_MEMORY;
    if (strlen(text) >= AUDIT_LINE_MAX)
        return ESCROW_ERR_MALFORMED;
    len = asprintf(&line, "%s\n", text);
    if (len < 0)
        return ESCROW_ERR_NO_MEMORY;
    *ret_line = line;
    *ret_len = (size_t)len;
    return ESCROW_OK;
}

static bool word_index(const json_t *value, const char *const *words, size_t count,
                       unsigned *ret_index)
{
    const char *text = json_string_value(value);

    for (unsigned i = 0; text && i < count; i++) {
        if (words[i] && strcmp(words[i], text) == 0) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

static bool number_member(const json_t *value, uint64_t *ret_number)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *ret_number = (uint64_t)json_integer_value(value);
    return true;
}

static bool parse_field(json_t *value, const struct field *field, struct audit_record *record)
{
    void *place = (char *)record + field->offset;
    const char *text = json_string_value(value);
    uint64_t number;

    if (json_is_null(value))
        return true;
    switch (field->kind) {
    case FIELD_TEXT:
        *(const char **)place = text;
        return text != NULL;
    case FIELD_NUMBER:
        if (!number_member(value, &number) || number == 0)
            return false;
        *(uint64_t *)place = number;
        return true;
    case FIELD_ARRAY:
        *(json_t **)place = value;
        return json_is_array(value);
    case FIELD_OBJECT:
        *(json_t **)place = value;
        return json_is_object(value);
    }
    return false;
}

static bool parse_tpm_clock(const json_t *document, struct audit_record *record)
{
    const json_t *clock = json_object_get(document, "tpm_clock");
    const json_t *resets = json_object_get(document, "reset_count");

    if (json_is_null(clock) && json_is_null(resets))
        return true;
    record->has_tpm_clock = true;
    return number_member(clock, &record->tpm_clock) && number_member(resets, &record->reset_count);
}

static bool parse_document(json_t *document, struct audit_record *record)
{
    const char *time_text = json_string_value(json_object_get(document, "time"));
    const char *previous = json_string_value(json_object_get(document, "previous"));
    unsigned event, auth;
    uint64_t version;

    if (!number_member(json_object_get(document, "v"), &version) || version != FORMAT_VERSION)
        return false;
    if (json_object_size(document) != ARRAY_LEN(fields) + OTHER_MEMBERS || !time_text || !previous)
        return false;
    if (!number_member(json_object_get(document, "sequence"), &record->sequence) ||
        record->sequence == 0)
        return false;
    if (audit_time_parse(time_text, &record->time_ms) ||
        hex_decode(previous, record->previous, AUDIT_HASH_BYTES))
        return false;
    if (!word_index(json_object_get(document, "event"), event_words, ARRAY_LEN(event_words),
                    &event) ||
        !word_index(json_object_get(document, "auth"), auth_words, ARRAY_LEN(auth_words), &auth))
        return false;
    record->event = (enum audit_event)event;
    record->auth = (enum audit_auth)auth;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (!parse_field(json_object_get(document, fields[i].name), &fields[i], record))
            return false;
    }
    return parse_tpm_clock(document, record);
}

/* Compact, sorted, escaped in one way: the bytes follow from the values. */
static enum escrow_err check_canonical(const json_t *document, const char *line, size_t len)
{
    CLEANUP(cleanup_free) char *again = json_text(document);

    if (!again)
        return ESCROW_ERR_NO_MEMORY;
    return strlen(again) == len && memcmp(again, line, len) == 0 ? ESCROW_OK : ESCROW_ERR_MALFORMED;
}

enum escrow_err audit_record_parse(const char *line, size_t len, struct audit_record *ret_record)
{
    CLEANUP(json_decrefp) json_t *document = NULL;
    struct audit_record record = {0};
    json_error_t error = {0};
    enum escrow_err err;

    if (len < 2 || len > AUDIT_LINE_MAX || line[len - 1] != '\n')
        return ESCROW_ERR_MALFORMED;
    document = json_loadb(line, len - 1, JSON_REJECT_DUPLICATES, &error);
    if (!document)
        return json_lacked_memory(line, &error) ? ESCROW_ERR_NO_MEMORY : ESCROW_ERR_MALFORMED;
    err = parse_document(document, &record) ? check_canonical(document, line, len - 1)
                                            : ESCROW_ERR_MALFORMED;
    if (err)
        return err;
    *ret_record = record;
    ret_record->document = TAKE(document);
    return ESCROW_OK;
}

enum escrow_err audit_chain_advance(struct audit_chain *chain, const struct audit_record *record,
                                    const char *line, size_t len)
{
    uint8_t hash[AUDIT_HASH_BYTES];

    if (EVP_Digest(line, len, hash, NULL, EVP_sha256(), NULL) != 1)
        return ESCROW_ERR_CRYPTO;
    memcpy(chain->hash, hash, sizeof(hash));
    chain->sequence = record->sequence;
    if (record->time_ms > chain->time_ms)
        chain->time_ms = record->time_ms;
    return ESCROW_OK;
}

enum escrow_err audit_chain_anchor(struct audit_chain *chain, const char *line, size_t len)
{
    CLEANUP(audit_record_deinit) struct audit_record record = {0};
    enum escrow_err err = audit_record_parse(line, len, &record);

    if (!err)
        memcpy(chain->hash, record.previous, sizeof(chain->hash));
    return err == ESCROW_ERR_MALFORMED ? ESCROW_OK : err;
}

enum audit_fault audit_chain_next(struct audit_chain *chain, const char *line, size_t len,
                                  struct audit_record *ret_record)
{
    CLEANUP(audit_record_deinit) struct audit_record record = {0};

    enum escrow_err err = audit_record_parse(line, len, &record);

    if (err)
        return err == ESCROW_ERR_MALFORMED ? AUDIT_FAULT_FORM : AUDIT_FAULT_UNCHECKED;
    if (record.sequence != chain->sequence + 1)
        return AUDIT_FAULT_SEQUENCE;
    if (memcmp(record.previous, chain->hash, AUDIT_HASH_BYTES) != 0)
        return AUDIT_FAULT_CHAIN;
    if (audit_chain_advance(chain, &record, line, len))
        return AUDIT_FAULT_UNCHECKED;
    *ret_record = record;
    memset(&record, 0, sizeof(record));
    return AUDIT_FAULT_NONE;
}
