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

enum { SQL1, SQL2, SQL3, DR, REPLICAS };
enum { RESOLVING, PRIMARY, SECONDARY };

#define LONG_MS 10000 /* longer than any role change */
#define AG1(model) (&(model)->groups[0])
#define SSISDB(model) (&(model)->databases[0])

/* Three synchronous replicas and an asynchronous one elsewhere. */
static struct model *new_model(void)
{
    static const char *const names[] = {"SQL1", "SQL2", "SQL3", "DR"};
    struct model *model = calloc(1, sizeof(*model));

    if (!model)
        abort();
    model_init(model);
    (void)model_add_group(model, "AG1");
    for (size_t i = 0; i < REPLICAS; i++)
        (void)model_add_replica(model, AG1(model), model_add_instance(model, names[i]));
    AG1(model)->replicas[DR].is_asynchronous = true;
    (void)model_add_database(model, "SSISDB", AG1(model), MODEL_NONE);
    (void)master_key_add_password(&SSISDB(model)->content.key, "first", 0);
    model_set_initial_primary(model, AG1(model), SQL1);
    model_advance(model, 1000);
    return model;
}

static int set_up(void **state)
{
    *state = new_model();
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

static void fail_over(struct model *model, size_t instance, bool is_forced)
{
    assert_int_equal(model_failover(model, AG1(model), instance, is_forced), 0);
    settle(model);
}

static struct master_key *key_of(struct model *model, size_t instance)
{
    return &model_content(model, SSISDB(model), instance)->key;
}

static bool has_second(struct model *model, size_t instance)
{
    return master_key_has_password(key_of(model, instance), "second");
}

static struct model_view view_of(const struct model *model, size_t instance)
{
    return model_view_database(model, SSISDB(model), instance);
}

enum hindrance { LAG, SUSPEND, CUT_PRIMARY, DEAD, HINDRANCES };

static void hinder(struct model *model, enum hindrance hindrance, size_t instance)
{
    if (hindrance == LAG)
        model_lag(model, SSISDB(model), instance, true);
    else if (hindrance == SUSPEND)
        model_suspend(model, SSISDB(model), instance, true);
    else if (hindrance == CUT_PRIMARY)
        model_cut(model, instance, SQL1, false);
    else
        model_kill(model, instance, false);
}

static void release(struct model *model, enum hindrance hindrance, size_t instance)
{
    if (hindrance == LAG)
        model_lag(model, SSISDB(model), instance, false);
    else if (hindrance == SUSPEND)
        model_suspend(model, SSISDB(model), instance, false);
    else if (hindrance == CUT_PRIMARY)
        model_heal(model, instance, SQL1);
    else
        model_start(model, instance);
    settle(model);
}

/* Whatever keeps data away, the replica has the old content until it is over. */
static void test_data_stop_and_go_on(void **state)
{
    (void)state;
    for (enum hindrance hindrance = 0; hindrance < HINDRANCES; hindrance++) {
        for (size_t instance = SQL2; instance <= DR; instance += DR - SQL2) {
            struct model *model = new_model();

            hinder(model, hindrance, instance);
            (void)master_key_add_password(key_of(model, SQL1), "second", 0);
            assert_false(has_second(model, instance));
            assert_true(has_second(model, SQL3));
            assert_int_equal(model_failover(model, AG1(model), instance, false), 41142);
            release(model, hindrance, instance);
            assert_true(has_second(model, instance));
            model_deinit(model);
            free(model);
        }
    }
}

/* 1.9, 4.4: the old passwords and the old SMK's row come back for all; who had more loses it. */
static void test_forced_failover_loses_data(void **state)
{
    struct model *model = *state;

    model_add_service_key(model, SSISDB(model), SQL1, "agent");
    model_lag(model, SSISDB(model), DR, true);
    (void)master_key_add_password(key_of(model, SQL1), "second", 0);
    (void)master_key_drop_password(key_of(model, SQL1), "first");
    master_key_add_service_key(key_of(model, SQL1), "SQL2");
    assert_true(model_opens(model, SSISDB(model), SQL2));
    model_kill(model, SQL1, false);
    fail_over(model, DR, true);
    assert_false(has_second(model, DR));
    assert_true(master_key_has_password(key_of(model, DR), "first"));
    /* 4.1, suspend_reason 1: the others keep what they had until they are resumed. */
    assert_true(has_second(model, SQL2));
    assert_int_equal(view_of(model, SQL2).synchronization_state, 0);
    assert_int_equal(view_of(model, SQL2).synchronization_health, 0);
    assert_int_equal(model_failover(model, AG1(model), SQL2, false), 41142);
    model_start(model, SQL1);
    settle(model);
    assert_true(has_second(model, SQL1));
    for (size_t i = SQL1; i <= SQL3; i++) {
        assert_int_equal(view_of(model, i).role, SECONDARY);
        model_suspend(model, SSISDB(model), i, false);
        assert_false(has_second(model, i));
        assert_int_equal(view_of(model, i).synchronization_state, 2);
    }
    fail_over(model, SQL1, false);
    assert_true(model_opens(model, SSISDB(model), SQL1)); /* its own row is back too */
}

static void test_failback_after_planned(void **state)
{
    struct model *model = *state;

    for (size_t i = 0; i < 4; i++) {
        size_t next = i % 2 ? SQL1 : SQL2;

        fail_over(model, next, false);
        assert_int_equal(view_of(model, next).role, PRIMARY);
        assert_int_equal(view_of(model, SQL3).synchronization_state, 2);
    }
    assert_int_equal(AG1(model)->promotions, 4);
}

/* A planned failover goes only where everything is. */
static void test_who_may_become_primary(void **state)
{
    struct model *model = *state;

    assert_int_equal(model_failover(model, AG1(model), DR, false), 41142);
    AG1(model)->replicas[SQL3].is_configuration_only = true;
    assert_int_equal(model_failover(model, AG1(model), SQL3, false), 41142);
    assert_int_equal(model_failover(model, AG1(model), SQL3, true), 41142);
    assert_false(model_has_database(SSISDB(model), SQL3));
    assert_null(model_find_database(model, SQL3, "SSISDB"));
    assert_int_equal(model_view(model, AG1(model), SQL3).role, SECONDARY);
    /* Readiness of the moment when the primary died counts for the cluster. */
    model_suspend(model, SSISDB(model), SQL2, true);
    model_kill(model, SQL1, true);
    settle(model);
    assert_int_equal(AG1(model)->primary, SQL1);
    assert_int_equal(view_of(model, SQL2).role, SECONDARY);
}

static void test_two_replicas(void **state)
{
    struct model *model = *state;

    assert_true(model_remove_replica(model, AG1(model), SQL3));
    assert_true(model_remove_replica(model, AG1(model), DR));
    model_kill(model, SQL1, true);
    settle(model);
    assert_int_equal(AG1(model)->primary, SQL2);
    model_start(model, SQL1);
    settle(model);
    fail_over(model, SQL1, false);
    assert_int_equal(view_of(model, SQL1).role, PRIMARY);
}

static void claim_sequence_number(struct model *model, size_t instance, const char *number)
{
    char **lie = &AG1(model)->replicas[instance].lies.sequence_number;

    free(*lie);
    *lie = strdup(number);
}

/* Pacemaker takes the highest sequence number, whatever the order of the replicas is. */
static void test_pacemaker_sequence_number(void **state)
{
    struct model *model = *state;

    AG1(model)->cluster = MODEL_CLUSTER_EXTERNAL;
    claim_sequence_number(model, SQL2, "4294967295");
    claim_sequence_number(model, SQL3, "4294967296");
    claim_sequence_number(model, DR, "9223372036854775807"); /* counts for nothing */
    model_kill(model, SQL1, true);
    settle(model);
    assert_int_equal(AG1(model)->primary, SQL3);
}

/* The highest one that may not be promoted keeps the others from it. */
static void test_pacemaker_configuration_only(void **state)
{
    struct model *model = *state;

    AG1(model)->cluster = MODEL_CLUSTER_EXTERNAL;
    AG1(model)->replicas[SQL3].is_configuration_only = true;
    claim_sequence_number(model, SQL3, "99");
    model_kill(model, SQL1, true);
    settle(model);
    assert_int_equal(AG1(model)->primary, SQL1);
    claim_sequence_number(model, SQL3, "NULL");
    model_start(model, SQL1);
    settle(model);
    model_kill(model, SQL1, true);
    settle(model);
    assert_int_equal(AG1(model)->primary, SQL2);
}

/* Two synchronous replicas alone have no majority without one of them; a WSFC asks its quorum. */
static void test_pacemaker_majority(void **state)
{
    struct model *model = *state;

    AG1(model)->cluster = MODEL_CLUSTER_EXTERNAL;
    assert_true(model_remove_replica(model, AG1(model), SQL3));
    model_kill(model, SQL1, true);
    settle(model);
    assert_int_equal(AG1(model)->primary, SQL1);
    AG1(model)->cluster = MODEL_CLUSTER_WSFC;
    model_start(model, SQL1);
    settle(model);
    model_kill(model, SQL1, true);
    settle(model);
    assert_int_equal(AG1(model)->primary, SQL2);
}

static void test_access(void **state)
{
    static const struct {
        bool is_primary, is_suspended, refuses_intent;
        enum model_readable readable;
        int32_t plain, intent;
    } cases[] = {
        {false, false, false, MODEL_READABLE_NO, 976, 976},
        {false, false, false, MODEL_READABLE_INTENT, 978, 0},
        {false, false, false, MODEL_READABLE_ALL, 0, 0},
        {false, true, false, MODEL_READABLE_ALL, 976, 976},
        {true, false, false, MODEL_READABLE_NO, 0, 0},
        {true, false, true, MODEL_READABLE_NO, 0, 979},
    };
    struct model *model = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t instance = cases[i].is_primary ? SQL1 : SQL2;

        AG1(model)->replicas[instance].readable = cases[i].readable;
        AG1(model)->replicas[instance].refuses_intent = cases[i].refuses_intent;
        model_suspend(model, SSISDB(model), SQL2, cases[i].is_suspended);
        assert_int_equal(model_view_access(model, SSISDB(model), instance, false), cases[i].plain);
        assert_int_equal(model_view_access(model, SSISDB(model), instance, true), cases[i].intent);
    }
}

/* What each side of a cut sees. */
static void test_partition_of_two_instances(void **state)
{
    struct model *model = *state;

    model_cut(model, SQL1, SQL2, false);
    assert_int_equal(view_of(model, SQL2).connected_state, 0);
    assert_false(model_view_is_connected(model, AG1(model), SQL2)); /* says the primary */
    assert_true(model_view_is_connected(model, AG1(model), SQL3));
    assert_int_equal(view_of(model, SQL2).synchronization_health, 0);
    assert_string_equal(view_of(model, SQL2).primary_replica, "SQL1"); /* the cluster says so */
    assert_int_equal(view_of(model, SQL3).connected_state, 1);
    assert_int_equal(view_of(model, SQL1).role, PRIMARY);
    assert_int_equal(model_view_access(model, SSISDB(model), SQL1, false), 0);
    settle(model);
    assert_int_equal(view_of(model, SQL1).role, PRIMARY);
    model_heal(model, SQL2, SQL1);
    assert_int_equal(view_of(model, SQL2).connected_state, 1);
    fail_over(model, SQL2, false);
}

/* 4.3: two say PRIMARY until the lease of the one that the cluster does not reach is over. */
static void test_primary_without_cluster(void **state)
{
    struct model *model = *state;

    model->switches.lease_ms = 500;
    model_cut(model, SQL1, MODEL_CLUSTER, false);
    assert_null(view_of(model, SQL1).primary_replica);
    assert_string_equal(view_of(model, SQL2).primary_replica, "SQL1");
    assert_int_equal(model_failover(model, AG1(model), SQL2, false), 41142);
    assert_int_equal(model_failover(model, AG1(model), SQL2, true), 0);
    model_advance(model, model->now_ms + 499);
    assert_int_equal(view_of(model, SQL1).role, PRIMARY);
    assert_int_equal(view_of(model, SQL2).role, PRIMARY);
    assert_true(model_view_is_writable(model, SSISDB(model), SQL1));
    /* what it still writes is its own */
    (void)master_key_add_password(key_of(model, SQL1), "second", 0);
    assert_false(has_second(model, SQL2));
    settle(model);
    assert_int_equal(view_of(model, SQL1).role, RESOLVING);
    assert_int_equal(model_view_access(model, SSISDB(model), SQL1, false), 983);
    model_heal(model, SQL1, MODEL_CLUSTER);
    settle(model);
    assert_int_equal(view_of(model, SQL1).role, SECONDARY);
    assert_string_equal(view_of(model, SQL1).primary_replica, "SQL2");
    model_suspend(model, SSISDB(model), SQL1, false);
    assert_false(has_second(model, SQL1));
}

static void test_primary_finds_the_cluster_again(void **state)
{
    struct model *model = *state;

    model_cut(model, SQL1, MODEL_CLUSTER, false);
    settle(model);
    assert_int_equal(view_of(model, SQL1).role, RESOLVING);
    model_heal(model, SQL1, MODEL_CLUSTER);
    settle(model);
    assert_int_equal(view_of(model, SQL1).role, PRIMARY);
    /* within its lease nothing happens */
    model->switches.lease_ms = 500;
    model_cut(model, SQL1, MODEL_CLUSTER, false);
    model_heal(model, SQL1, MODEL_CLUSTER);
    settle(model);
    assert_int_equal(AG1(model)->promotions, 1);
    /* --auto: the cluster takes a synchronised one */
    model_cut(model, SQL1, MODEL_CLUSTER, true);
    settle(model);
    assert_int_equal(AG1(model)->primary, SQL2);
    assert_int_equal(view_of(model, SQL1).role, RESOLVING);
}

static void test_group_without_cluster(void **state)
{
    struct model *model = *state;

    AG1(model)->cluster = MODEL_CLUSTER_NONE;
    model_cut(model, SQL1, MODEL_CLUSTER, false);
    settle(model);
    assert_string_equal(view_of(model, SQL1).primary_replica, "SQL1");
    /* The old primary hears of it from the new one only. */
    model_cut(model, SQL1, SQL2, false);
    fail_over(model, SQL2, true);
    assert_int_equal(view_of(model, SQL1).role, PRIMARY);
    assert_int_equal(view_of(model, SQL2).role, PRIMARY);
    model_cut(model, SQL3, DR, false);
    model_heal(model, SQL1, SQL3); /* who cannot tell it */
    settle(model);
    assert_int_equal(view_of(model, SQL1).role, PRIMARY);
    model_heal(model, SQL1, SQL2);
    settle(model);
    assert_int_equal(view_of(model, SQL1).role, SECONDARY);
}

/* One that hung, and is cut off when it goes on. */
static void test_resumed_without_cluster(void **state)
{
    struct model *model = *state;

    model_hang(model, SQL1);
    model_cut(model, SQL1, MODEL_CLUSTER, false);
    fail_over(model, SQL2, true);
    model->switches.lease_ms = 500;
    model_resume(model, SQL1);
    model_advance(model, model->now_ms + 499);
    assert_int_equal(view_of(model, SQL1).role, PRIMARY);
    settle(model);
    assert_int_equal(view_of(model, SQL1).role, RESOLVING);
}

static void note_change(struct model *model, const struct model_group *group, size_t instance,
                        void *argument)
{
    (void)model;
    (void)group;
    ((size_t *)argument)[instance]++;
}

/* 4.1: no row of dm_hadr_cluster; the role resolves and its sessions end. */
static void test_quorum(void **state)
{
    struct model *model = *state;
    size_t changes[REPLICAS] = {0};

    model->on_role_change = note_change;
    model->argument = changes;
    model_set_quorum(model, SQL1, MODEL_QUORUM_LOST);
    settle(model);
    assert_int_equal(changes[SQL1], 1);
    assert_int_equal(model_view_quorum(model, SQL1), 0);
    assert_int_equal(model_view_quorum(model, SQL2), 1);
    assert_int_equal(view_of(model, SQL1).operational_state, 5);
    assert_int_equal(model_view_access(model, SSISDB(model), SQL1, false), 988);
    model_set_quorum(model, SQL1, MODEL_QUORUM_FORCED);
    settle(model);
    assert_int_equal(model_view_quorum(model, SQL1), 2);
    assert_int_equal(view_of(model, SQL1).role, PRIMARY);
    model_set_quorum(model, SQL2, MODEL_QUORUM_LOST);
    assert_int_equal(model_failover(model, AG1(model), SQL2, true), 41142);
}

static void test_long_resolving(void **state)
{
    struct model *model = *state;

    model->switches.resolving_ms = 600000;
    assert_int_equal(model_failover(model, AG1(model), SQL2, false), 0);
    model_advance(model, model->now_ms + 599999);
    assert_int_equal(view_of(model, SQL2).role, RESOLVING);
    assert_int_equal(view_of(model, SQL1).role, SECONDARY);
    assert_null(view_of(model, SQL2).primary_replica);
    assert_int_equal(model_failover(model, AG1(model), SQL3, true), 41113);
    model_advance(model, model->now_ms + 1);
    settle(model);
    assert_int_equal(view_of(model, SQL2).role, PRIMARY);
}

/* Section 7: what identifies replica and database changes when they come back. */
static void test_removed_and_back(void **state)
{
    struct model *model = *state;
    uint32_t replica_id = AG1(model)->replicas[SQL2].id, database_id = SSISDB(model)->id;
    int64_t sequence = AG1(model)->sequence_number;

    assert_false(model_remove_replica(model, AG1(model), SQL1)); /* the primary */
    assert_true(model_remove_replica(model, AG1(model), SQL2));
    assert_false(model_remove_replica(model, AG1(model), SQL2));
    assert_int_equal(model_view_access(model, SSISDB(model), SQL2, false), 927);
    assert_non_null(model_return_replica(model, AG1(model), SQL2));
    assert_int_not_equal(AG1(model)->replicas[SQL2].id, replica_id);
    assert_int_equal(model_view_access(model, SSISDB(model), SQL2, false), 976);
    assert_int_equal(AG1(model)->sequence_number, sequence + 2);
    assert_int_equal(AG1(model)->replicas[SQL2].sequence_number, sequence + 2);

    assert_true(model_remove_database(model, SSISDB(model)));
    assert_false(model_remove_database(model, SSISDB(model)));
    assert_int_equal(model_view_access(model, SSISDB(model), SQL1, false), 0);
    assert_true(model_view_is_writable(model, SSISDB(model), SQL1));
    assert_int_equal(model_view_access(model, SSISDB(model), SQL2, false), 927);
    fail_over(model, SQL2, false);
    assert_false(model_return_database(model, SSISDB(model), AG1(model))); /* not on the primary */
    fail_over(model, SQL1, false);
    (void)master_key_add_password(key_of(model, SQL1), "second", 0);
    assert_true(model_return_database(model, SSISDB(model), AG1(model)));
    assert_int_not_equal(SSISDB(model)->id, database_id);
    assert_true(has_second(model, SQL2));
    assert_int_equal(view_of(model, SQL2).synchronization_state, 2);
}

/* Section 9: a forwarder is PRIMARY in its own group, and its database READ_ONLY. */
static void test_distributed_group(void **state)
{
    struct model *model = *state;
    struct model_group *far = model_add_group(model, "AG2");
    size_t far1 = model_add_instance(model, "FAR1"), far2 = model_add_instance(model, "FAR2");
    struct model_database *copy;
    struct model_distributed *distributed;

    (void)model_add_replica(model, far, far1);
    (void)model_add_replica(model, far, far2);
    copy = model_add_database(model, "SSISDB", far, MODEL_NONE);
    model_set_initial_primary(model, far, far1);
    assert_false(model_view(model, AG1(model), SQL1).is_distributed);
    distributed = model_add_distributed(model, "DAG", AG1(model), far);
    assert_ptr_equal(model_find_distributed(model, "dag"), distributed);
    assert_true(model_view(model, AG1(model), SQL1).is_distributed);
    assert_int_equal(model_view(model, far, far1).role, PRIMARY);
    assert_string_equal(model_view(model, far, far1).updateability, "READ_ONLY");
    assert_string_equal(view_of(model, SQL1).updateability, "READ_WRITE");
    assert_int_equal(model_view_access(model, copy, far1, false), 976);
    assert_false(model_view_is_writable(model, copy, far1));
    /* what the global primary writes is there too */
    (void)master_key_add_password(key_of(model, SQL1), "second", 0);
    assert_true(master_key_has_password(&model_content(model, copy, far2)->key, "second"));
    assert_false(model_opens(model, copy, far1));

    assert_true(model_failover_distributed(model, distributed));
    assert_int_equal(model_view(model, far, far1).role, PRIMARY);
    assert_int_equal(model_view_access(model, copy, far1, false), 922);
    settle(model);
    assert_string_equal(model_view(model, far, far1).updateability, "READ_WRITE");
    assert_int_equal(view_of(model, SQL1).role, PRIMARY);
    assert_string_equal(view_of(model, SQL1).updateability, "READ_ONLY");
    assert_false(model_opens(model, copy, far1));
    assert_int_equal(master_key_drop_password(&model_content(model, copy, far1)->key, "second"), 0);
    assert_false(has_second(model, SQL1));
    /* a failover inside the forwarder's group changes nobody's data */
    fail_over(model, SQL2, false);
    assert_string_equal(view_of(model, SQL2).updateability, "READ_ONLY");
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_stop_and_go_on),
        TEST(test_forced_failover_loses_data),
        TEST(test_failback_after_planned),
        TEST(test_who_may_become_primary),
        TEST(test_two_replicas),
        TEST(test_pacemaker_sequence_number),
        TEST(test_pacemaker_configuration_only),
        TEST(test_pacemaker_majority),
        TEST(test_access),
        TEST(test_partition_of_two_instances),
        TEST(test_primary_without_cluster),
        TEST(test_primary_finds_the_cluster_again),
        TEST(test_group_without_cluster),
        TEST(test_resumed_without_cluster),
        TEST(test_quorum),
        TEST(test_long_resolving),
        TEST(test_removed_and_back),
        TEST(test_distributed_group),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
