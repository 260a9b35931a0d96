/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "libescrow/probe_row.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define LONG_NAME                                                                                  \
    "0123456789012345678901234567890123456789012345678901234567890123"                             \
    "0123456789012345678901234567890123456789012345678901234567890123"                             \
    "0123456789012345678901234567890123456789012345678901234567890123"                             \
    "0123456789012345678901234567890123456789012345678901234567890123"

static const char *const primary[TSQL_STATE_COLUMNS] = {
    [TSQL_STATE_SERVER_NAME] = "NODE1\\INST",
    [TSQL_STATE_CLUSTER_TYPE] = "1",
    [TSQL_STATE_IS_DISTRIBUTED] = "0",
    [TSQL_STATE_SEQUENCE_NUMBER] = "4294967313",
    [TSQL_STATE_ROLE] = "1",
    [TSQL_STATE_OPERATIONAL_STATE] = "2",
    [TSQL_STATE_RECOVERY_HEALTH] = "1",
    [TSQL_STATE_SYNCHRONIZATION_HEALTH] = "2",
    [TSQL_STATE_PRIMARY_REPLICA] = "NODE1\\INST",
    [TSQL_STATE_DATABASE_STATE] = "0",
    [TSQL_STATE_UPDATEABILITY] = "READ_WRITE",
    [TSQL_STATE_SYNCHRONIZATION_STATE] = "2",
    [TSQL_STATE_RECOVERY_LSN] = "4294967295429496729500001",
};

static void test_primary(void **context)
{
    struct probe_state state = probe_row_empty();

    (void)context;
    assert_true(probe_row_state(TSQL_STATE_COLUMNS, primary, &state));
    assert_string_equal(state.server_name, "NODE1\\INST");
    assert_int_equal(state.cluster_type, 1);
    assert_int_equal(state.role, 1);
    assert_int_equal(state.operational_state, 2);
    assert_int_equal(state.recovery_health, 1);
    assert_int_equal(state.synchronization_health, 2);
    assert_int_equal(state.synchronization_state, 2);
    assert_int_equal(state.database_state, 0);
    assert_true(state.is_read_write);
    assert_false(state.is_forwarder);
    assert_string_equal(state.primary_replica, "NODE1\\INST");
    assert_true(state.has_sequence_number);
    assert_int_equal(state.sequence_number, 4294967313);
    assert_string_equal(state.recovery_lsn, "4294967295429496729500001");
    assert_false(state.has_quorum_row);
}

static void test_nulls(void **context)
{
    const char *values[TSQL_STATE_COLUMNS] = {NULL};
    struct probe_state state = probe_row_empty();

    (void)context;
    assert_true(probe_row_state(TSQL_STATE_COLUMNS, values, &state));
    assert_string_equal(state.server_name, "");
    assert_int_equal(state.role, -1);
    assert_int_equal(state.operational_state, -1);
    assert_int_equal(state.database_state, -1);
    assert_int_equal(state.synchronization_state, -1);
    assert_false(state.is_read_write);
    assert_false(state.has_sequence_number);
    assert_string_equal(state.primary_replica, "");
    assert_string_equal(state.recovery_lsn, "");
}

/* Primary of its own group, read-only because the group is the second of a distributed one. */
static void test_forwarder(void **context)
{
    static const struct {
        const char *is_distributed, *role, *updateability;
        bool is_forwarder;
    } cases[] = {
        {"1", "1", "READ_ONLY", true},   {"1", "1", NULL, true},
        {"1", "1", "READ_WRITE", false}, {"0", "1", "READ_ONLY", false},
        {"1", "2", "READ_ONLY", false},
    };

    (void)context;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *values[TSQL_STATE_COLUMNS];
        struct probe_state state = probe_row_empty();

        memcpy(values, primary, sizeof(values));
        values[TSQL_STATE_IS_DISTRIBUTED] = cases[i].is_distributed;
        values[TSQL_STATE_ROLE] = cases[i].role;
        values[TSQL_STATE_UPDATEABILITY] = cases[i].updateability;
        assert_true(probe_row_state(TSQL_STATE_COLUMNS, values, &state));
        assert_int_equal(state.is_forwarder, cases[i].is_forwarder);
    }
}

static void test_wrong_forms(void **context)
{
    static const struct {
        enum tsql_state_column column;
        const char *value;
    } cases[] = {
        {TSQL_STATE_ROLE, ""},
        {TSQL_STATE_ROLE, "PRIMARY"},
        {TSQL_STATE_ROLE, "1 "},
        {TSQL_STATE_ROLE, "-1"},
        {TSQL_STATE_ROLE, " 1"},
        {TSQL_STATE_ROLE, "+1"},
        {TSQL_STATE_ROLE, "01"},
        {TSQL_STATE_ROLE, "-0"},
        {TSQL_STATE_ROLE, "2147483648"},
        {TSQL_STATE_CLUSTER_TYPE, "wsfc"},
        {TSQL_STATE_IS_DISTRIBUTED, "x"},
        {TSQL_STATE_OPERATIONAL_STATE, "2.0"},
        {TSQL_STATE_RECOVERY_HEALTH, "0x1"},
        {TSQL_STATE_SYNCHRONIZATION_HEALTH, "99999999999999999999"},
        {TSQL_STATE_DATABASE_STATE, "ONLINE"},
        {TSQL_STATE_SYNCHRONIZATION_STATE, "2;"},
        {TSQL_STATE_SEQUENCE_NUMBER, "9223372036854775808"},
        {TSQL_STATE_SEQUENCE_NUMBER, "1x"},
        {TSQL_STATE_SEQUENCE_NUMBER, " 1"},
        {TSQL_STATE_SEQUENCE_NUMBER, ""},
        {TSQL_STATE_RECOVERY_LSN, "12a"},
        {TSQL_STATE_RECOVERY_LSN, "123456789012345678901234567890123456789012345678"},
        {TSQL_STATE_SERVER_NAME, LONG_NAME},
        {TSQL_STATE_PRIMARY_REPLICA, LONG_NAME},
    };

    (void)context;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *values[TSQL_STATE_COLUMNS];
        struct probe_state state = probe_row_empty();

        memcpy(values, primary, sizeof(values));
        values[cases[i].column] = cases[i].value;
        assert_false(probe_row_state(TSQL_STATE_COLUMNS, values, &state));
    }
}

static void test_column_counts(void **context)
{
    struct probe_state state = probe_row_empty();

    (void)context;
    assert_false(probe_row_state(TSQL_STATE_COLUMNS - 1, primary, &state));
    assert_false(probe_row_quorum(2, primary, &state));
    assert_false(state.has_quorum_row);
    assert_false(probe_row_local(1, primary, &state));
}

/* READ_WRITE is one word; nothing else is writable. */
static void test_updateability(void **context)
{
    static const char *const words[] = {"READ_ONLY", "read_write", "READ_WRITE ", "", NULL};

    (void)context;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        const char *values[] = {"1", words[i]};
        struct probe_state state = probe_row_empty();

        assert_true(probe_row_local(2, values, &state));
        assert_int_equal(state.role, 1);
        assert_false(state.is_read_write);
    }
}

static void test_quorum(void **context)
{
    const char *forced[] = {"2"}, *null[] = {NULL}, *wrong[] = {"NORMAL"};
    struct probe_state state = probe_row_empty();

    (void)context;
    assert_true(probe_row_quorum(1, forced, &state));
    assert_true(state.has_quorum_row);
    assert_int_equal(state.quorum_state, 2);
    assert_true(probe_row_quorum(1, null, &state));
    assert_int_equal(state.quorum_state, -1);
    assert_false(probe_row_quorum(1, wrong, &state));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_primary),       cmocka_unit_test(test_nulls),
        cmocka_unit_test(test_forwarder),     cmocka_unit_test(test_wrong_forms),
        cmocka_unit_test(test_column_counts), cmocka_unit_test(test_updateability),
        cmocka_unit_test(test_quorum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
