/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/model.h"
#include "tests/sqlsim/model_view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SQL1, SQL2, SQL3, REPLICAS };
enum { RESOLVING, PRIMARY, SECONDARY };

#define START_MS 1000
#define AG1(model) (&(model)->groups[0])
#define SSISDB(model) (&(model)->databases[0])
#define LONG_MS 10000 /* longer than any role change */

static const char *const names[] = {"SQL1", "SQL2", "SQL3"};

static int set_up(void **state)
{
    struct model *model = calloc(1, sizeof(*model));

    if (!model)
        return -1;
    model_init(model);
    (void)model_add_group(model, "AG1");
    for (size_t i = 0; i < REPLICAS; i++)
        (void)model_add_replica(model, AG1(model), model_add_instance(model, names[i]));
    (void)model_add_database(model, "SSISDB", AG1(model), MODEL_NONE);
    (void)master_key_add_password(&SSISDB(model)->content.key, "first", 0);
    model_set_initial_primary(model, AG1(model), SQL1);
    model_advance(model, START_MS);
    *state = model;
    return 0;
}

static int tear_down(void **state)
{
    model_deinit(*state);
    free(*state);
    return 0;
}

static void settle(struct model *model)
{
    model_advance(model, model->now_ms + LONG_MS);
    assert_int_equal(model_next_due(model), 0);
}

static void assert_role(const struct model *model, size_t replica, int role)
{
    assert_int_equal(model_view(model, AG1(model), replica).role, role);
}

static void test_start(void **state)
{
    const struct model *model = *state;

    for (size_t i = 0; i < REPLICAS; i++) {
        struct model_view view = model_view(model, AG1(model), i);

        assert_int_equal(view.role, i == SQL1 ? PRIMARY : SECONDARY);
        assert_int_equal(view.operational_state, 2);
        assert_int_equal(view.recovery_health, 1);
        assert_int_equal(view.synchronization_health, 2);
        assert_string_equal(view.primary_replica, "SQL1");
        assert_string_equal(view.updateability, i == SQL1 ? "READ_WRITE" : "READ_ONLY");
        assert_int_equal(model_view_quorum(model, i), 1);
        assert_int_equal(model_opens(model, SSISDB(model), i), i == SQL1);
    }
}

/* Every phase of a promotion at its time, and what is seen in it. */
static void test_planned_failover_phases(void **state)
{
    static const struct {
        int64_t after_ms;
        int role, operational_state, recovery_health, database_state;
        const char *updateability, *primary_replica;
        int32_t access;
        int old_role;
    } steps[] = {
        {0, RESOLVING, 0, 0, 3, NULL, NULL, 983, RESOLVING},
        {9, RESOLVING, 0, 0, 3, NULL, NULL, 983, RESOLVING},
        {10, PRIMARY, 1, 0, 2, NULL, "SQL2", 922, RESOLVING},
        {29, PRIMARY, 1, 0, 2, NULL, "SQL2", 922, RESOLVING},
        {30, PRIMARY, 2, 0, 2, NULL, "SQL2", 922, RESOLVING},
        {40, PRIMARY, 2, 0, 2, NULL, "SQL2", 922, SECONDARY},
        {60, PRIMARY, 2, 1, 0, "READ_WRITE", "SQL2", 0, SECONDARY},
    };
    struct model *model = *state;

    model->switches.resolving_ms = 10;
    model->switches.pending_ms = 20;
    model->switches.recovering_ms = 30;
    model->switches.demote_ms = 40;
    assert_int_equal(model_failover(model, AG1(model), SQL2, false), 0);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct model_view view;

        model_advance(model, START_MS + steps[i].after_ms);
        view = model_view(model, AG1(model), SQL2);
        assert_int_equal(view.role, steps[i].role);
        assert_int_equal(view.operational_state, steps[i].operational_state);
        assert_int_equal(view.recovery_health, steps[i].recovery_health);
        assert_int_equal(view.database_state, steps[i].database_state);
        assert_true(steps[i].updateability ? view.updateability != NULL : !view.updateability);
        assert_true(steps[i].primary_replica ? view.primary_replica != NULL
                                             : !view.primary_replica);
        assert_int_equal(model_view_access(model, SSISDB(model), SQL2, false), steps[i].access);
        assert_int_equal(model_view_is_writable(model, SSISDB(model), SQL2), steps[i].access == 0);
        assert_role(model, SQL1, steps[i].old_role);
    }
    assert_string_equal(model_view(model, AG1(model), SQL3).primary_replica, "SQL2");
    assert_int_equal(model_next_due(model), 0);
}

/* However late the caller comes, phases follow each other at their own times. */
static void test_late_advance_keeps_times(void **state)
{
    struct model *model = *state;

    assert_int_equal(model_failover(model, AG1(model), SQL2, false), 0);
    settle(model);
    assert_int_equal(AG1(model)->replicas[SQL2].primary_since_ms,
                     START_MS + model->switches.resolving_ms + model->switches.pending_ms +
                         model->switches.recovering_ms);
}

static void test_failover_refused(void **state)
{
    struct model *model = *state;

    assert_int_equal(model_failover(model, AG1(model), SQL1, false), 41122);
    assert_int_equal(model_failover(model, AG1(model), SQL1, true), 41122);
    AG1(model)->replicas[SQL3].is_asynchronous = true;
    assert_int_equal(model_failover(model, AG1(model), SQL3, false), 41142);
    assert_int_equal(model_failover(model, AG1(model), SQL2, false), 0);
    assert_int_equal(model_failover(model, AG1(model), SQL3, true), 41113);
    settle(model);
    model_kill(model, SQL2, false);
    assert_int_equal(model_failover(model, AG1(model), SQL1, false), 41142);
    assert_int_equal(model_failover(model, AG1(model), SQL1, true), 0);
}

static void test_kill_does_not_fail_over(void **state)
{
    struct model *model = *state;

    model_kill(model, SQL1, false);
    settle(model);
    assert_int_equal(AG1(model)->primary, SQL1);
    assert_role(model, SQL2, SECONDARY);
    assert_null(model_view(model, AG1(model), SQL2).primary_replica);
    assert_int_equal(model_view(model, AG1(model), SQL2).synchronization_health, 0);
    assert_int_equal(model_view(model, AG1(model), SQL2).synchronization_state, 0);
    model->switches.dead_primary_name = SWITCH_DEAD_PRIMARY_STALE;
    assert_string_equal(model_view(model, AG1(model), SQL2).primary_replica, "SQL1");
    model->switches.orphan_role = SWITCH_ORPHAN_RESOLVING;
    assert_role(model, SQL2, RESOLVING);
}

static void test_killed_primary_starts_again(void **state)
{
    struct model *model = *state;

    model_kill(model, SQL1, false);
    model_start(model, SQL1);
    assert_role(model, SQL1, RESOLVING);
    settle(model);
    assert_role(model, SQL1, PRIMARY);
    /* after a failover it comes back as a secondary */
    model_kill(model, SQL1, false);
    assert_int_equal(model_failover(model, AG1(model), SQL2, true), 0);
    settle(model);
    model_start(model, SQL1);
    settle(model);
    assert_role(model, SQL1, SECONDARY);
    assert_role(model, SQL2, PRIMARY);
    assert_string_equal(model_view(model, AG1(model), SQL1).primary_replica, "SQL2");
}

static void test_automatic_failover_skips_who_cannot(void **state)
{
    struct model *model = *state;

    AG1(model)->replicas[SQL2].is_asynchronous = true;
    model_kill(model, SQL1, true);
    model_advance(model, START_MS + model->switches.auto_failover_ms - 1);
    assert_role(model, SQL3, SECONDARY);
    settle(model);
    assert_role(model, SQL3, PRIMARY);
    assert_role(model, SQL2, SECONDARY);
    assert_int_equal(AG1(model)->primary, SQL3);
}

static void test_primary_dies_in_promotion(void **state)
{
    struct model *model = *state;

    assert_int_equal(model_failover(model, AG1(model), SQL2, false), 0);
    model_advance(model, model->now_ms + model->switches.resolving_ms);
    model_kill(model, SQL2, false);
    settle(model);
    assert_int_equal(model_failover(model, AG1(model), SQL3, true), 0);
    settle(model);
    model_start(model, SQL2);
    settle(model);
    assert_role(model, SQL1, SECONDARY);
    assert_role(model, SQL2, SECONDARY);
    assert_role(model, SQL3, PRIMARY);
}

/* 4.3: the old primary hangs, another is promoted, and both say PRIMARY for a while. */
static void test_stale_primary(void **state)
{
    struct model *model = *state;

    model->switches.stale_primary_ms = 500;
    model_hang(model, SQL1);
    assert_int_equal(model_failover(model, AG1(model), SQL2, false), 41142);
    assert_int_equal(model_failover(model, AG1(model), SQL2, true), 0);
    settle(model);
    model_resume(model, SQL1);
    assert_role(model, SQL1, PRIMARY);
    assert_role(model, SQL2, PRIMARY);
    assert_string_equal(model_view(model, AG1(model), SQL1).primary_replica, "SQL1");
    assert_string_equal(model_view(model, AG1(model), SQL3).primary_replica, "SQL2");
    assert_true(AG1(model)->replicas[SQL1].sequence_number <
                AG1(model)->replicas[SQL2].sequence_number);
    model_advance(model, model->now_ms + 499);
    assert_role(model, SQL1, PRIMARY);
    settle(model);
    assert_role(model, SQL1, SECONDARY);
    assert_int_equal(AG1(model)->replicas[SQL1].sequence_number,
                     AG1(model)->replicas[SQL2].sequence_number);
}

static void test_promoting_replica_that_hung_does_not_take_over_later(void **state)
{
    struct model *model = *state;

    assert_int_equal(model_failover(model, AG1(model), SQL2, false), 0);
    model_hang(model, SQL2);
    model_advance(model, model->now_ms + LONG_MS);
    assert_int_equal(model_failover(model, AG1(model), SQL3, true), 0);
    settle(model);
    model_resume(model, SQL2);
    settle(model);
    assert_role(model, SQL2, SECONDARY);
    assert_int_equal(AG1(model)->primary, SQL3);
}

static void test_sequence_number(void **state)
{
    struct model *model = *state;
    struct model_view before, after;

    assert_string_equal(model_view(model, AG1(model), SQL1).sequence_number, "0"); /* WSFC, 10.1 */
    AG1(model)->cluster = MODEL_CLUSTER_EXTERNAL;
    before = model_view(model, AG1(model), SQL1);
    model_kill(model, SQL1, false);
    assert_int_equal(model_failover(model, AG1(model), SQL2, true), 0);
    settle(model);
    after = model_view(model, AG1(model), SQL2);
    assert_true(strtoll(after.sequence_number, NULL, 10) >
                strtoll(before.sequence_number, NULL, 10));
    assert_string_equal(model_view(model, AG1(model), SQL1).sequence_number,
                        before.sequence_number);
    assert_string_equal(model_view(model, AG1(model), SQL3).sequence_number, after.sequence_number);
}

static void test_recovery_lsn_switch(void **state)
{
    static const char max_lsn[] = "4294967295429496729500001";
    struct model *model = *state;
    struct model_view first, second;

    assert_string_equal(model_view(model, AG1(model), SQL2).recovery_lsn, "");
    first = model_view(model, AG1(model), SQL1);
    assert_true(first.recovery_lsn[0]);
    assert_int_equal(model_failover(model, AG1(model), SQL2, false), 0);
    settle(model);
    second = model_view(model, AG1(model), SQL2);
    assert_true(strcmp(second.recovery_lsn, first.recovery_lsn) > 0);

    model->switches.recovery_lsn = SWITCH_LSN_MAX;
    assert_string_equal(model_view(model, AG1(model), SQL2).recovery_lsn, max_lsn);

    model->switches.recovery_lsn = SWITCH_LSN_THEN_MAX;
    assert_int_equal(model_failover(model, AG1(model), SQL1, false), 0);
    model_advance(model, model->now_ms + model->switches.lsn_settle_ms - 1);
    assert_string_not_equal(model_view(model, AG1(model), SQL1).recovery_lsn, max_lsn);
    settle(model);
    assert_string_equal(model_view(model, AG1(model), SQL1).recovery_lsn, max_lsn);
}

/* 1.9: one row, the last writer wins; 10.2: whether the copy in master still opens is a switch. */
static void test_service_key_of_failback(void **state)
{
    struct model *model = *state;

    model_add_service_key(model, SSISDB(model), SQL2, "agent");
    assert_false(model_opens(model, SSISDB(model), SQL1));
    assert_true(model_opens(model, SSISDB(model), SQL2));
    assert_int_equal(SSISDB(model)->copies[SQL2].opened_ms, START_MS);
    assert_string_equal(SSISDB(model)->copies[SQL2].opened_by, "agent");
    assert_true(SSISDB(model)->copies[SQL1].flag); /* instance-local, and stale: section 3 */
    model->switches.master_copy_opens = SWITCH_YES;
    assert_true(model_opens(model, SSISDB(model), SQL1));
    assert_false(model_opens(model, SSISDB(model), SQL3));
    SSISDB(model)
        ->content.key.generation++; /* regenerated: the copies in master are of the old key */
    assert_false(model_opens(model, SSISDB(model), SQL1));
}

static void test_shared_service_key(void **state)
{
    struct model *model = *state;

    free(model->instances[SQL3].service_key);
    model->instances[SQL3].service_key = strdup("SQL1");
    assert_true(model_opens(model, SSISDB(model), SQL3));
    assert_false(model_opens(model, SSISDB(model), SQL2));
}

static void test_passwords(void **state)
{
    struct model *model = *state;
    struct master_key *key = &SSISDB(model)->content.key;

    assert_int_equal(master_key_drop_password(key, "first"), 15558);
    assert_int_equal(master_key_drop_password(key, "second"), 15313);
    assert_int_equal(master_key_add_password(key, "second", 15579), 0);
    assert_int_equal(master_key_add_password(key, "second", 15579), 15579);
    assert_int_equal(key->password_count, 2);
    assert_int_equal(master_key_drop_password(key, "first"), 0);
    assert_false(master_key_has_password(key, "first"));
    assert_true(master_key_has_password(key, "second"));
}

/* Each group has its own primary, each database its own key; a kill is felt in every group. */
static void test_several_groups(void **state)
{
    struct model *model = *state;
    struct model_group *other = model_add_group(model, "AG2");
    struct model_database *orders, *alone;

    (void)model_add_replica(model, other, SQL1);
    (void)model_add_replica(model, other, SQL3);
    orders = model_add_database(model, "Orders", other, MODEL_NONE);
    alone = model_add_database(model, "Alone", NULL, SQL2);
    model_set_initial_primary(model, other, SQL3);
    model_set_initial_owner(model, alone, SQL2);
    assert_ptr_equal(model_find_group(model, "ag2"), other);
    assert_ptr_equal(model_find_database(model, SQL1, "orders"), orders);
    assert_null(model_find_database(model, SQL2, "Orders"));
    assert_ptr_equal(model_find_database(model, SQL2, "Alone"), alone);
    assert_null(model_find_database(model, SQL1, "Alone"));
    assert_true(model_view_is_writable(model, alone, SQL2));
    assert_true(model_opens(model, orders, SQL3));
    assert_false(model_opens(model, SSISDB(model), SQL3));

    assert_int_equal(model_failover(model, other, SQL1, false), 0);
    settle(model);
    assert_int_equal(model_view(model, other, SQL1).role, PRIMARY);
    assert_int_equal(AG1(model)->promotions, 0);
    assert_int_equal(other->promotions, 1);
    model_kill(model, SQL1, true);
    settle(model);
    assert_int_equal(AG1(model)->primary, SQL2);
    assert_int_equal(other->primary, SQL3);
}

static void test_access(void **state)
{
    struct model *model = *state;

    assert_int_equal(model_view_access(model, SSISDB(model), SQL2, false), 976);
    assert_int_equal(model_view_access(model, SSISDB(model), SQL2, true), 976);
    AG1(model)->replicas[SQL2].readable = MODEL_READABLE_INTENT;
    assert_int_equal(model_view_access(model, SSISDB(model), SQL2, false), 978);
    assert_int_equal(model_view_access(model, SSISDB(model), SQL2, true), 0);
    AG1(model)->replicas[SQL2].readable = MODEL_READABLE_ALL;
    assert_int_equal(model_view_access(model, SSISDB(model), SQL2, false), 0);
    assert_false(model_view_is_writable(model, SSISDB(model), SQL2));
}

static void test_quorum(void **state)
{
    struct model *model = *state;

    model->instances[SQL1].quorum = MODEL_QUORUM_FORCED;
    assert_int_equal(model_view_quorum(model, SQL1), 2);
    assert_role(model, SQL1, PRIMARY);
    model->instances[SQL1].quorum = MODEL_QUORUM_LOST;
    assert_int_equal(model_view_quorum(model, SQL1), 0);
    assert_role(model, SQL1, RESOLVING);
    assert_null(model_view(model, AG1(model), SQL1).primary_replica);
    assert_int_equal(model_view_access(model, SSISDB(model), SQL1, false), 988);
    AG1(model)->cluster = MODEL_CLUSTER_NONE; /* no cluster, no quorum to lose */
    assert_int_equal(model_view_quorum(model, SQL1), 0);
    assert_role(model, SQL1, PRIMARY);
}

static void test_lies(void **state)
{
    struct model *model = *state;

    AG1(model)->replicas[SQL3].lies.role = PRIMARY;
    AG1(model)->replicas[SQL3].lies.primary_replica = strdup("SQL3");
    AG1(model)->replicas[SQL3].lies.sequence_number = strdup("99");
    assert_role(model, SQL3, PRIMARY);
    assert_string_equal(model_view(model, AG1(model), SQL3).primary_replica, "SQL3");
    assert_string_equal(model_view(model, AG1(model), SQL3).sequence_number, "99");
    assert_string_equal(model_view(model, AG1(model), SQL3).updateability, "READ_WRITE");
    assert_string_equal(model_view(model, AG1(model), SQL2).primary_replica, "SQL1");
    assert_int_equal(model_view_access(model, SSISDB(model), SQL3, false),
                     976); /* it only says so */
}

static void test_switches(void **state)
{
    struct model *model = *state;
    struct switches *switches = &model->switches;
    bool has_number = false, has_word = false;

    for (size_t i = 0; switches_name(i); i++) {
        CLEANUP(cleanup_free) char *value = switches_value(switches, i);

        assert_int_equal(switches_set(switches, switches_name(i), value), ESCROW_OK);
        assert_int_equal(switches_set(switches, switches_name(i), "no such value"),
                         ESCROW_ERR_MALFORMED);
        if (switches_set(switches, switches_name(i), "7") == ESCROW_OK)
            has_number = true;
        else
            has_word = true;
    }
    assert_true(has_number && has_word);
    assert_int_equal(switches_set(switches, "no such switch", "1"), ESCROW_ERR_NOT_FOUND);
    assert_int_equal(switches_set(switches, "pending_ms", "-1"), ESCROW_ERR_MALFORMED);
    assert_int_equal(switches_set(switches, "recovery_lsn", "max"), ESCROW_OK);
    assert_int_equal(switches->recovery_lsn, SWITCH_LSN_MAX);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_start),
        TEST(test_planned_failover_phases),
        TEST(test_late_advance_keeps_times),
        TEST(test_failover_refused),
        TEST(test_kill_does_not_fail_over),
        TEST(test_killed_primary_starts_again),
        TEST(test_automatic_failover_skips_who_cannot),
        TEST(test_primary_dies_in_promotion),
        TEST(test_stale_primary),
        TEST(test_promoting_replica_that_hung_does_not_take_over_later),
        TEST(test_sequence_number),
        TEST(test_recovery_lsn_switch),
        TEST(test_service_key_of_failback),
        TEST(test_shared_service_key),
        TEST(test_passwords),
        TEST(test_several_groups),
        TEST(test_access),
        TEST(test_quorum),
        TEST(test_lies),
        TEST(test_switches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
