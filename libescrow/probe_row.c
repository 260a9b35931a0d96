/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/probe_row.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The one text that SQL Server makes of a number: no space, no plus sign, no leading zeros. */
static bool read_number(const char *text, int64_t *ret_number)
{
    char again[24];
    int64_t number;

    errno = 0;
    number = strtoll(text, NULL, 10);
    snprintf(again, sizeof(again), "%" PRId64, number);
    if (errno || strcmp(text, again) != 0)
        return false;
    *ret_number = number;
    return true;
}

bool probe_row_int(const char *value, int32_t *ret_number)
{
    int64_t number = -1;

    if (value && (!read_number(value, &number) || number < 0 || number > INT32_MAX))
        return false;
    *ret_number = (int32_t)number;
    return true;
}

static bool read_bigint(const char *value, bool *ret_is_present, int64_t *ret_number)
{
    *ret_is_present = value;
    return !value || read_number(value, ret_number);
}

/* A text that must fit; empty for NULL. */
static bool read_text(const char *value, char *ret_text, size_t cap)
{
    if (value && strlen(value) >= cap)
        return false;
    snprintf(ret_text, cap, "%s", value ? value : "");
    return true;
}

static bool read_lsn(const char *value, char *ret_text, size_t cap)
{
    if (value && strspn(value, "0123456789") != strlen(value))
        return false;
    return read_text(value, ret_text, cap);
}

static bool is_read_write(const char *updateability)
{
    return updateability && strcmp(updateability, "READ_WRITE") == 0;
}

struct probe_state probe_row_empty(void)
{
    return (struct probe_state){
        .outcome = PROBE_UNREACHABLE,
        .cluster_type = -1,
        .role = -1,
        .operational_state = -1,
        .recovery_health = -1,
        .synchronization_health = -1,
        .synchronization_state = -1,
        .database_state = -1,
        .quorum_state = -1,
    };
}

bool probe_row_state(size_t columns, const char *const *values, struct probe_state *state)
{
    int32_t is_distributed = 0;

    if (columns != TSQL_STATE_COLUMNS ||
        !read_text(values[TSQL_STATE_SERVER_NAME], state->server_name, PROBE_NAME_MAX) ||
        !probe_row_int(values[TSQL_STATE_CLUSTER_TYPE], &state->cluster_type) ||
        !probe_row_int(values[TSQL_STATE_IS_DISTRIBUTED], &is_distributed) ||
        !read_bigint(values[TSQL_STATE_SEQUENCE_NUMBER], &state->has_sequence_number,
                     &state->sequence_number) ||
        !probe_row_int(values[TSQL_STATE_ROLE], &state->role) ||
        !probe_row_int(values[TSQL_STATE_OPERATIONAL_STATE], &state->operational_state) ||
        !probe_row_int(values[TSQL_STATE_RECOVERY_HEALTH], &state->recovery_health) ||
        !probe_row_int(values[TSQL_STATE_SYNCHRONIZATION_HEALTH], &state->synchronization_health) ||
        !read_text(values[TSQL_STATE_PRIMARY_REPLICA], state->primary_replica, PROBE_NAME_MAX) ||
        !probe_row_int(values[TSQL_STATE_DATABASE_STATE], &state->database_state) ||
        !probe_row_int(values[TSQL_STATE_SYNCHRONIZATION_STATE], &state->synchronization_state) ||
        !read_lsn(values[TSQL_STATE_RECOVERY_LSN], state->recovery_lsn,
                  sizeof(state->recovery_lsn)))
        return false;
    state->is_read_write = is_read_write(values[TSQL_STATE_UPDATEABILITY]);
    state->is_forwarder =
        is_distributed != 0 && state->role == PROBE_ROLE_PRIMARY && !state->is_read_write;
    return true;
}

bool probe_row_quorum(size_t columns, const char *const *values, struct probe_state *state)
{
    state->has_quorum_row = columns == 1 && probe_row_int(values[0], &state->quorum_state);
    return state->has_quorum_row;
}

bool probe_row_local(size_t columns, const char *const *values, struct probe_state *state)
{
    if (columns != 2 || !probe_row_int(values[0], &state->role))
        return false;
    state->is_read_write = is_read_write(values[1]);
    return true;
}
