/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/switches.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 3600000 /* an hour in milliseconds */

struct switch_row {
    const char *name;
    size_t offset;
    const char *words[4]; /* value n is words[n]; none: a number */
    int64_t initial;
    const char
        *source;   /* section of sqlserver-facts; NULL: the simulator's own, not SQL Server's */
    int64_t other; /* of a number with a source: another value that a suite is to try */
};

#define FIELD(field) #field, offsetof(struct switches, field)

static const struct switch_row rows[] = {
    {FIELD(recovery_lsn), {"lsn", "max", "lsn_then_max"}, SWITCH_LSN_VALUE, "4.4, 10.8", 0},
    {FIELD(signbycert_failure), {"null", "15581"}, SWITCH_SIGN_NULL, "3", 0},
    {FIELD(session_kill), {"close", "596"}, SWITCH_KILL_CLOSE, "2.3, 10.9", 0},
    {FIELD(orphan_role), {"SECONDARY", "RESOLVING"}, SWITCH_ORPHAN_SECONDARY, "4.3", 0},
    {FIELD(dead_primary_name), {"null", "stale"}, SWITCH_DEAD_PRIMARY_NULL, "4.1", 0},
    {FIELD(master_copy_opens), {"false", "true"}, SWITCH_NO, "10.2", 0},
    {FIELD(wsfc_sequence_number), {"zero", "counts"}, SWITCH_SEQUENCE_ZERO, "10.1", 0},
    {FIELD(duplicate_password), {"ok", "15557", "15579"}, SWITCH_DUPLICATE_15579, "10.3", 0},
    {FIELD(close_unopened), {"15315", "ok"}, SWITCH_CLOSE_15315, "1.3, 10.3", 0},
    {FIELD(readonly_open), {"ok", "3906"}, SWITCH_READONLY_OPEN_OK, "1.6, 10.6", 0},
    {FIELD(readonly_add), {"15581", "3906"}, SWITCH_READONLY_ADD_15581, "1.6, 10.6", 0},
    {FIELD(login_database_errors), {"all", "4060"}, SWITCH_LOGIN_ERRORS_ALL, "2.3, 10.9", 0},
    {FIELD(log_statements), {"redacted", "verbatim"}, SWITCH_LOG_REDACTED, NULL, 0},
    {FIELD(garble), {NULL}, 0, NULL, 0},
    {FIELD(locked_wrong_password), {"18486", "18456"}, SWITCH_LOCKED_18486, "2.2", 0},
    {FIELD(readonly_credential), {"opens", "15581"}, SWITCH_CREDENTIAL_OPENS, "1.6, 5.1", 0},
    {FIELD(credential_right), {"CONTROL", "sysadmin"}, SWITCH_CREDENTIAL_CONTROL, "1.2, 5.3", 0},
    {FIELD(lost_service_key), {"15466", "15581"}, SWITCH_SERVICE_KEY_15466, "2.1", 0},
    {FIELD(restore_keeps_service_key), {"false", "true"}, SWITCH_NO, "1.4", 0},
    {FIELD(password_policy), {"false", "true"}, SWITCH_NO, "1.5", 0},
    {FIELD(language), {"us_english", "Deutsch"}, SWITCH_LANGUAGE_ENGLISH, "2", 0},
    {FIELD(columns_2016), {"absent", "present"}, SWITCH_COLUMNS_ABSENT, "version.c", 0},
    {FIELD(contained_use), {"user", "916"}, SWITCH_CONTAINED_USE_USER, "9.1, 10.14", 0},
    {FIELD(contained_closed_login),
     {"instance", "18456"},
     SWITCH_CONTAINED_LOGIN_INSTANCE,
     "9.1, 10.14",
     0},
    {FIELD(distributed_rows), {"primary", "all"}, SWITCH_DISTRIBUTED_PRIMARY, "9, 10.15", 0},
    {FIELD(distributed_cluster_type), {"none", "wsfc"}, SWITCH_DISTRIBUTED_NONE, "9, 10.15", 0},
    {FIELD(property_visibility),
     {"definition", "connect"},
     SWITCH_PROPERTY_DEFINITION,
     "4.6, 10.16",
     0},
    {FIELD(property_refusal), {"15247", "1088"}, SWITCH_PROPERTY_15247, "4.6, 10.16", 0},
    {FIELD(lockout_threshold), {NULL}, 0, "2.2", 3},
    {FIELD(password_max), {NULL}, 128, "1.5, 10.5", 256},
    {FIELD(state_15313), {NULL}, 1, "2.1, 10.4", 9},
    {FIELD(state_15581), {NULL}, 1, "2.1, 10.4", 6},
    {FIELD(resolving_ms), {NULL}, 20, "4.1", 400},
    {FIELD(pending_ms), {NULL}, 20, "4.1", 400},
    {FIELD(recovering_ms), {NULL}, 20, "4.3", 400},
    {FIELD(demote_ms), {NULL}, 20, "4.1", 400},
    {FIELD(startup_ms), {NULL}, 20, "4.1", 400},
    {FIELD(auto_failover_ms), {NULL}, 100, NULL, 0},
    {FIELD(lsn_settle_ms), {NULL}, 200, "4.4", 0},
    {FIELD(stale_primary_ms), {NULL}, 0, "4.3", 300},
    {FIELD(lease_ms), {NULL}, 20, "4.3", 300},
};

static int64_t *field_of(struct switches *switches, const struct switch_row *row)
{
    return (int64_t *)(void *)((char *)switches + row->offset);
}

void switches_init(struct switches *switches)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        *field_of(switches, &rows[i]) = rows[i].initial;
}

static enum escrow_err parse_number(const char *text, int64_t *ret_number)
{
    char *end;
    int64_t number;

    errno = 0;
    number = strtoll(text, &end, 10);
    if (errno || end == text || *end || number < 0 || number > NUMBER_MAX)
        return ESCROW_ERR_MALFORMED;
    *ret_number = number;
    return ESCROW_OK;
}

enum escrow_err switches_set(struct switches *switches, const char *name, const char *value)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (strcmp(rows[i].name, name) != 0)
            continue;
        if (!rows[i].words[0])
            return parse_number(value, field_of(switches, &rows[i]));
        for (size_t word = 0; word < ARRAY_LEN(rows[i].words) && rows[i].words[word]; word++) {
            if (strcmp(rows[i].words[word], value) == 0) {
                *field_of(switches, &rows[i]) = (int64_t)word;
                return ESCROW_OK;
            }
        }
        return ESCROW_ERR_MALFORMED;
    }
    return ESCROW_ERR_NOT_FOUND;
}

const char *switches_name(size_t index)
{
    return index < ARRAY_LEN(rows) ? rows[index].name : NULL;
}

static json_t *values_of(const struct switch_row *row)
{
    json_t *values = json_array();
    CLEANUP(cleanup_free) char *initial = memory_format("%" PRId64, row->initial);
    CLEANUP(cleanup_free) char *other = memory_format("%" PRId64, row->other);

    if (row->words[0]) {
        json_array_append_new(values, json_string(row->words[row->initial]));
        for (size_t i = 0; i < ARRAY_LEN(row->words) && row->words[i]; i++) {
            if (i != (size_t)row->initial)
                json_array_append_new(values, json_string(row->words[i]));
        }
    } else {
        json_array_append_new(values, json_string(initial));
        if (row->source)
            json_array_append_new(values, json_string(other));
    }
    return values;
}

json_t *switches_list(void)
{
    json_t *list = json_array();

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        json_array_append_new(list, json_pack("{s:s, s:o, s:b, s:s?}", "name", rows[i].name,
                                              "values", values_of(&rows[i]), "number",
                                              !rows[i].words[0], "source", rows[i].source));
    return list;
}

char *switches_value(const struct switches *switches, size_t index)
{
    const struct switch_row *row = &rows[index];
    int64_t value;

    memcpy(&value, (const char *)switches + row->offset, sizeof(value));
    return row->words[0] ? memory_copy(row->words[value]) : memory_format("%" PRId64, value);
}
