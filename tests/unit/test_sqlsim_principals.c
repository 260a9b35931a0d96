/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logins and users of the model: what stays on an instance, what goes with a database, what a
 * contained group brings; the scripts that make them; and what redo that is late hides.
 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/model_flow.h"
#include "tests/sqlsim/model_view.h"
#include "tests/sqlsim/session.h"
#include "tests/sqlsim/statements.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SQL1, SQL2, INSTANCES };
enum { APP, SSISDB };

#define CREATE_APP "CREATE LOGIN app WITH PASSWORD = N'pw', SID = 0x0A0b0c0d"
#define USE_SSISDB "USE SSISDB"
#define NONE "(no row)"

static struct model_group *ag1(struct model *model)
{
    return &model->groups[0];
}

static struct model_group *cag(struct model *model)
{
    return &model->groups[1];
}

static int set_up(void **state)
{
    struct model *model = calloc(1, sizeof(*model));

    if (!model)
        return -1;
    model_init(model);
    for (size_t i = 0; i < INSTANCES; i++) {
        struct login *login;

        (void)model_add_instance(model, i ? "SQL2" : "SQL1");
        login = logins_add(&model->instances[i].logins, "sa");
        login->password = strdup("pw");
        login->sid = (struct sid){.len = 1, .bytes = {1}};
        login->rights = RIGHT_SYSADMIN;
    }
    (void)model_add_group(model, "AG1");
    (void)model_add_group(model, "CAG");
    for (size_t i = 0; i < INSTANCES; i++) {
        (void)model_add_replica(model, ag1(model), i);
        (void)model_add_replica(model, cag(model), i);
    }
    (void)model_add_database(model, "App", ag1(model), MODEL_NONE);
    (void)model_add_database(model, "SSISDB", ag1(model), MODEL_NONE);
    (void)model_add_database(model, "Other", NULL, SQL1);
    (void)model_add_database(model, "Contained", cag(model), MODEL_NONE);
    cag(model)->contained_master = model_add_database(model, "CAG_master", cag(model), MODEL_NONE);
    logins_copy(&model->instances[SQL1].logins, &cag(model)->contained_master->content.logins);
    model_set_initial_primary(model, ag1(model), SQL1);
    model_set_initial_primary(model, cag(model), SQL1);
    model->on_role_change = session_kill_all;
    model_advance(model, 1);
    *state = model;
    return 0;
}

static int tear_down(void **state)
{
    model_deinit(*state);
    free(*state);
    return 0;
}

/* A session, or NULL and the first error. */
static struct session *enter(struct model *model, size_t instance, const char *name,
                             const char *database, int32_t *ret_number)
{
    const struct session_login login = {.name = name, .password = "pw", .database = database};
    struct reply reply = {0};
    struct session *session = session_new(model, instance, &login, &reply);

    *ret_number = session ? 0 : reply.messages[0].number;
    reply_deinit(&reply);
    return session;
}

/* Each batch, one after the other, in a session of its own: the number of the first error of all,
 * or 0; and the first value of the last result set. */
static int32_t run(struct model *model, size_t instance, const char *name,
                   const char *const *batches, char *ret_value, size_t size)
{
    int32_t number = 0;
    struct session *session = enter(model, instance, name, "", &number);

    snprintf(ret_value, size, NONE);
    for (size_t i = 0; session && batches[i] && !number; i++) {
        struct reply reply = {0};

        assert_true(statements_run(session, batches[i], &reply));
        for (size_t n = 0; n < reply.message_count && !number; n++)
            number = reply.messages[n].level > 10 ? reply.messages[n].number : 0;
        if (reply.columns)
            snprintf(ret_value, size, "%s",
                     !reply.value_count ? NONE
                     : reply.values[0]  ? reply.values[0]
                                        : "NULL");
        reply_deinit(&reply);
    }
    if (session)
        session_free(session);
    return number;
}

#define RUN(model, instance, name, number, value, ...)                                             \
    do {                                                                                           \
        const char *const batches[] = {__VA_ARGS__, NULL};                                         \
        const char *const wanted = value;                                                          \
        char got[128];                                                                             \
                                                                                                   \
        assert_int_equal(run(model, instance, name, batches, got, sizeof(got)), number);           \
        if (wanted)                                                                                \
            assert_string_equal(got, wanted);                                                      \
    } while (0)

static void fail_over(struct model *model, struct model_group *group, size_t instance,
                      bool is_forced)
{
    assert_int_equal(model_failover(model, group, instance, is_forced), 0);
    model_advance(model, model->now_ms + 1000);
}

/* CREATE, ALTER, DROP, and what each refuses. */
static void test_logins(void **state)
{
    struct model *model = *state;

    RUN(model, SQL1, "sa", 0, NULL, CREATE_APP, "CREATE LOGIN [C\\a] FROM WINDOWS");
    RUN(model, SQL1, "sa", 15025, NULL, CREATE_APP);
    RUN(model, SQL1, "sa", 15433, NULL,
        "CREATE LOGIN other WITH PASSWORD = 'x', SID = 0x0a0b0c0d, CHECK_POLICY = OFF");
    RUN(model, SQL1, "sa", 102, NULL, "CREATE LOGIN other WITH SID = 0x0a0b0c0d");
    RUN(model, SQL1, "app", 15247, NULL, "CREATE LOGIN other WITH PASSWORD = 'x'");
    RUN(model, SQL1, "app", 15247, NULL, "DROP LOGIN sa");
    RUN(model, SQL1, "sa", 15247, NULL, "CREATE USER app FOR LOGIN app"); /* in master */
}

static void test_logins_change(void **state)
{
    struct model *model = *state;

    RUN(model, SQL1, "sa", 0, NULL, CREATE_APP, "CREATE LOGIN [C\\a] FROM WINDOWS");
    RUN(model, SQL1, "sa", 0, NULL, "ALTER LOGIN app DISABLE");
    RUN(model, SQL1, "app", 18470, NULL, "SELECT 1");
    RUN(model, SQL1, "sa", 0, NULL, "ALTER LOGIN app ENABLE", "DROP LOGIN [C\\a]");
    RUN(model, SQL1, "sa", 15151, NULL, "DROP LOGIN [C\\a]");
    RUN(model, SQL1, "sa", 15434, NULL, "DROP LOGIN sa");
    RUN(model, SQL1, "sa", 0, "NULL", "DROP LOGIN app", "SELECT SUSER_ID('app')");
    RUN(model, SQL1, "app", 18456, NULL, "SELECT 1");
}

static void test_users(void **state)
{
    struct model *model = *state;

    RUN(model, SQL1, "sa", 0, NULL, CREATE_APP);
    RUN(model, SQL1, "sa", 0, NULL, USE_SSISDB, "CREATE USER app FOR LOGIN app");
    RUN(model, SQL1, "sa", 15023, NULL, USE_SSISDB, "CREATE USER app");
    RUN(model, SQL1, "sa", 15007, NULL, USE_SSISDB, "CREATE USER nobody");
    RUN(model, SQL1, "sa", 15063, NULL, USE_SSISDB, "CREATE USER b FOR LOGIN app");
    RUN(model, SQL1, "app", 0, NULL, USE_SSISDB); /* CONNECT comes with CREATE USER */
    RUN(model, SQL1, "app", 15247, NULL, USE_SSISDB, "DROP USER app");
    RUN(model, SQL1, "sa", 15151, NULL, "GRANT VIEW ANY DEFINITION TO nobody");
    RUN(model, SQL1, "sa", 15151, NULL, USE_SSISDB, "GRANT CONNECT TO nobody");
    RUN(model, SQL1, "sa", 15151, NULL, USE_SSISDB, "DROP USER nobody");
    RUN(model, SQL1, "sa", 15151, NULL, USE_SSISDB, "ALTER USER nobody WITH LOGIN = app");
}

/* A user has rights in its own database only, whichever the session is in. */
static void test_rights_per_database(void **state)
{
    struct model *model = *state;

    RUN(model, SQL1, "sa", 0, NULL, CREATE_APP, USE_SSISDB, "CREATE USER app",
        "GRANT CONTROL ON DATABASE::SSISDB TO app");
    RUN(model, SQL1, "app", 0, "1", USE_SSISDB,
        "SELECT HAS_PERMS_BY_NAME('SSISDB', 'DATABASE', 'CONTROL')");
    RUN(model, SQL1, "app", 0, "0", USE_SSISDB,
        "SELECT HAS_PERMS_BY_NAME('App', 'DATABASE', 'CONTROL')");
    RUN(model, SQL1, "app", 0, "1", "SELECT HAS_PERMS_BY_NAME('SSISDB', 'DATABASE', 'CONTROL')");
    RUN(model, SQL1, "app", 916, NULL, "USE App");
    RUN(model, SQL1, "app", 916, NULL, USE_SSISDB, "USE Other");
    RUN(model, SQL1, "sa", 0, NULL, "USE App", "CREATE USER app");
    RUN(model, SQL1, "app", 15151, NULL, "USE App", "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'x'");
    RUN(model, SQL1, "app", 15313, NULL, USE_SSISDB,
        "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'x'");
}

/* The user arrives with the database; the login does not, and with another SID it is no use. */
static void test_users_follow_the_database(void **state)
{
    struct model *model = *state;

    RUN(model, SQL1, "sa", 0, NULL, CREATE_APP, "GRANT VIEW SERVER STATE TO app", USE_SSISDB,
        "CREATE USER app");
    fail_over(model, ag1(model), SQL2, false);
    RUN(model, SQL2, "app", 18456, NULL, "SELECT 1");
    RUN(model, SQL2, "sa", 0, NULL, "CREATE LOGIN app WITH PASSWORD = N'pw'");
    RUN(model, SQL2, "app", 916, NULL, USE_SSISDB);
    /* what a DBA asks to find an orphan, and how he mends it */
    RUN(model, SQL2, "sa", 0, "app", USE_SSISDB,
        "SELECT name FROM sys.database_principals WHERE sid <> SUSER_SID('app')");
    RUN(model, SQL2, "sa", 0, NULL, USE_SSISDB, "ALTER USER app WITH LOGIN = app");
    RUN(model, SQL2, "app", 0, NULL, USE_SSISDB);
    /* the server right was given on the other instance */
    RUN(model, SQL2, "app", 300, NULL, "SELECT quorum_state FROM sys.dm_hadr_cluster");
    /* and now it is the first one that cannot */
    fail_over(model, ag1(model), SQL1, false);
    RUN(model, SQL1, "app", 916, NULL, USE_SSISDB);
    RUN(model, SQL1, "app", 0, NULL, "SELECT quorum_state FROM sys.dm_hadr_cluster");
}

/* With data loss: users that the new primary never got are gone everywhere. */
static void test_users_are_lost_with_data(void **state)
{
    struct model *model = *state;

    RUN(model, SQL1, "sa", 0, NULL, CREATE_APP);
    RUN(model, SQL2, "sa", 0, NULL, CREATE_APP);
    model_lag(model, &model->databases[SSISDB], SQL2, true);
    RUN(model, SQL1, "sa", 0, NULL, USE_SSISDB, "CREATE USER app");
    fail_over(model, ag1(model), SQL2, true);
    RUN(model, SQL2, "app", 916, NULL, USE_SSISDB);
    model_suspend(model, &model->databases[SSISDB], SQL1, false);
    model_suspend(model, &model->databases[APP], SQL1, false);
    fail_over(model, ag1(model), SQL1, false);
    RUN(model, SQL1, "app", 916, NULL, USE_SSISDB);
}

/* A backup has the users of its time. */
static void test_users_in_backups(void **state)
{
    struct model *model = *state;

    RUN(model, SQL1, "sa", 0, NULL, CREATE_APP, USE_SSISDB, "CREATE USER app");
    model_backup(&model->databases[SSISDB]);
    RUN(model, SQL1, "sa", 0, NULL, USE_SSISDB, "DROP USER app");
    RUN(model, SQL1, "app", 916, NULL, USE_SSISDB);
    assert_true(model_restore(&model->databases[SSISDB]));
    RUN(model, SQL1, "app", 0, NULL, USE_SSISDB);
}

static void test_read_only(void **state)
{
    struct model *model = *state;

    ag1(model)->replicas[SQL2].readable = MODEL_READABLE_ALL;
    RUN(model, SQL2, "sa", 3906, NULL, CREATE_APP, USE_SSISDB, "CREATE USER app");
    RUN(model, SQL1, "sa", 0, NULL, CREATE_APP, USE_SSISDB, "CREATE USER app");
    RUN(model, SQL2, "sa", 3906, NULL, USE_SSISDB, "GRANT CONTROL ON DATABASE::SSISDB TO app");
    RUN(model, SQL2, "app", 0, NULL, USE_SSISDB);
}

#define QUEUES(column)                                                                             \
    "SELECT " column                                                                               \
    " FROM sys.dm_hadr_database_replica_states WHERE is_local = 0 AND database_id = 6"

/* Hardened and not redone: readers see what was, a failover loses nothing. */
static void test_redo_lag(void **state)
{
    struct model *model = *state;
    struct model_database *database = &model->databases[SSISDB];
    struct model_log before, after;

    ag1(model)->replicas[SQL2].readable = MODEL_READABLE_ALL;
    RUN(model, SQL2, "sa", 0, NULL, CREATE_APP);
    before = model_view_log(model, database, SQL2);
    assert_int_equal(before.redo_kb, 0);
    assert_true(strcmp(before.redone, before.end) < 0); /* 4.1: always less */
    model_lag_redo(model, database, SQL2, true);
    RUN(model, SQL1, "sa", 0, NULL, CREATE_APP, USE_SSISDB, "CREATE USER app");
    after = model_view_log(model, database, SQL2);
    assert_true(strcmp(after.end, before.end) > 0);
    assert_string_equal(after.redone, before.redone);
    assert_int_equal(after.send_kb, 0);
    assert_int_equal(after.redo_kb, 4);
    RUN(model, SQL1, "sa", 0, "0", QUEUES("log_send_queue_size"));
    RUN(model, SQL1, "sa", 0, "4", QUEUES("redo_queue_size"));
    assert_int_equal(model_view_database(model, database, SQL2).synchronization_state, 2);
    RUN(model, SQL2, "app", 916, NULL, USE_SSISDB); /* the user is not there yet */
    fail_over(model, ag1(model), SQL2, false);
    RUN(model, SQL2, "app", 0, NULL, USE_SSISDB);
    assert_int_equal(model_view_log(model, database, SQL2).redo_kb, 0);
}

#define FIND_ECHO(value)                                                                           \
    "SELECT 1 AS is_found FROM [SSISDB].sys.extended_properties WHERE class = 0 AND"               \
    " name = N'escrowd_echo' AND CONVERT(varbinary(32), value) = " value
#define ADD_ECHO "EXEC sys.sp_addextendedproperty @name = N'escrowd_echo', @value = "
#define UPDATE_ECHO "EXEC sys.sp_updateextendedproperty @name = N'escrowd_echo', @value = "

/* Content of the database as its users are: read as far as it is redone, written on the primary. */
static void test_extended_property(void **state)
{
    struct model *model = *state;
    struct model_database *database = &model->databases[SSISDB];

    ag1(model)->replicas[SQL2].readable = MODEL_READABLE_ALL;
    RUN(model, SQL1, "sa", 15217, NULL, USE_SSISDB, UPDATE_ECHO "0x01");
    RUN(model, SQL1, "sa", 0, NULL, USE_SSISDB, ADD_ECHO "0x01");
    RUN(model, SQL1, "sa", 15233, NULL, USE_SSISDB, ADD_ECHO "0x01");
    RUN(model, SQL2, "sa", 3906, NULL, USE_SSISDB, UPDATE_ECHO "0x02");
    RUN(model, SQL2, "sa", 0, "1", FIND_ECHO("0x01"));
    model_lag_redo(model, database, SQL2, true);
    RUN(model, SQL1, "sa", 0, NULL, USE_SSISDB, UPDATE_ECHO "0x02");
    RUN(model, SQL2, "sa", 0, "1", FIND_ECHO("0x01"));
    model_lag_redo(model, database, SQL2, false);
    RUN(model, SQL2, "sa", 0, "1", FIND_ECHO("0x02"));
    ag1(model)->replicas[SQL2].readable = MODEL_READABLE_NO;
    RUN(model, SQL2, "sa", 976, NULL, FIND_ECHO("0x02"));
}

/* A forced failover loses what was not sent, and only that. */
static void test_redo_and_send_lag(void **state)
{
    struct model *model = *state;
    struct model_database *database = &model->databases[SSISDB];

    RUN(model, SQL2, "sa", 0, NULL, CREATE_APP,
        "CREATE LOGIN late WITH PASSWORD = 'pw', SID = 0x77");
    RUN(model, SQL1, "sa", 0, NULL, CREATE_APP,
        "CREATE LOGIN late WITH PASSWORD = 'pw', SID = 0x77");
    model_lag_redo(model, database, SQL2, true);
    RUN(model, SQL1, "sa", 0, NULL, USE_SSISDB, "CREATE USER app");
    model_lag(model, database, SQL2, true);
    RUN(model, SQL1, "sa", 0, NULL, USE_SSISDB, "CREATE USER late");
    assert_int_equal(model_view_log(model, database, SQL2).send_kb, 4);
    assert_int_equal(model_view_log(model, database, SQL2).redo_kb, 4);
    assert_int_equal(model_failover(model, ag1(model), SQL2, false), 41142);
    fail_over(model, ag1(model), SQL2, true);
    RUN(model, SQL2, "app", 0, NULL, USE_SSISDB);
    RUN(model, SQL2, "late", 916, NULL, USE_SSISDB);
}

/* CAG: whose logins count where. */
static void test_contained_logins(void **state)
{
    struct model *model = *state;
    int32_t number;
    struct session *inside = enter(model, SQL1, "sa", "Contained", &number);
    struct reply reply = {0};

    assert_non_null(inside);
    assert_ptr_equal(inside->contained, cag(model));
    assert_true(statements_run(inside,
                               "CREATE LOGIN app WITH PASSWORD = 'pw'; CREATE USER app; "
                               "SELECT COUNT(*) FROM sys.databases",
                               &reply));
    assert_false(reply_failed(&reply));
    assert_string_equal(reply.values[0], "3"); /* master, tempdb and the group's own */
    reply_deinit(&reply);
    session_free(inside);
    /* not a login of the instance, and one of the instance is none of the group */
    assert_null(enter(model, SQL1, "app", "", &number));
    assert_int_equal(number, 18456);
    RUN(model, SQL1, "sa", 0, NULL, "CREATE LOGIN local WITH PASSWORD = 'pw'");
    assert_null(enter(model, SQL1, "local", "Contained", &number));
    assert_int_equal(number, 18456);
    /* it goes where the group goes, SID and all */
    fail_over(model, cag(model), SQL2, false);
    inside = enter(model, SQL2, "app", "Contained", &number);
    assert_non_null(inside);
    session_free(inside);
}

/* By the listener one is in the group, wherever one wants to go; and is thrown out with it. */
static void test_contained_listener(void **state)
{
    struct model *model = *state;
    const struct session_login login = {
        .name = "sa", .password = "pw", .database = "", .listener = cag(model)};
    struct reply reply = {0};
    struct session *session = session_new(model, SQL1, &login, &reply);

    reply_deinit(&reply);
    assert_non_null(session);
    assert_ptr_equal(session->contained, cag(model));
    assert_true(statements_run(session,
                               "SELECT contained_availability_group_id FROM sys.dm_exec_sessions"
                               " WHERE session_id = @@SPID",
                               &reply));
    assert_non_null(reply.values[0]);
    reply_deinit(&reply);
    assert_int_equal(model_failover(model, cag(model), SQL2, false), 0);
    assert_true(session->is_killed);
    session_free(session);
}

/* What no source says of contained groups, both ways. */
static void test_contained_switches(void **state)
{
    struct model *model = *state;
    int32_t number;

    RUN(model, SQL1, "sa", 0, NULL, CREATE_APP, "USE Contained", "CREATE USER app");
    RUN(model, SQL1, "app", 0, NULL, "USE Contained");
    model->switches.contained_use = SWITCH_CONTAINED_USE_916;
    RUN(model, SQL1, "app", 916, NULL, "USE Contained");
    RUN(model, SQL1, "sa", 0, NULL, "USE Contained");
    assert_null(enter(model, SQL2, "sa", "Contained", &number));
    assert_int_equal(number, 976);
    model->switches.contained_closed_login = SWITCH_CONTAINED_LOGIN_18456;
    assert_null(enter(model, SQL2, "sa", "Contained", &number));
    assert_int_equal(number, 18456);
}

/* Conditions, blocks, texts that are run: a DBA's script. */
static void test_scripts(void **state)
{
    struct model *model = *state;

    RUN(model, SQL1, "sa", 0, "2", "IF 1 = 2 SELECT 1; ELSE SELECT 2;");
    RUN(model, SQL1, "sa", 0, "1", "-- a comment\nIF NULL IS NULL SELECT 1;");
    RUN(model, SQL1, "sa", 50000, NULL,
        "IF N'a' <> N'b' BEGIN RAISERROR (N'no', 16, 1); RETURN; END; SELECT 1;");
    RUN(model, SQL1, "sa", 0, NONE,
        "IF N'a' = N'b' BEGIN RAISERROR (N'no', 16, 1); RETURN; END; PRINT N'yes';");
    RUN(model, SQL1, "sa", 0, "App", "EXEC [App].sys.sp_executesql N'SELECT DB_NAME();'");
    RUN(model, SQL1, "sa", 0, "master",
        "EXEC [App].sys.sp_executesql N'PRINT N''x'';'; SELECT DB_NAME();");
    RUN(model, SQL1, "sa", 911, NULL, "EXEC [Nope].sys.sp_executesql N'SELECT DB_NAME();'");
    RUN(model, SQL2, "sa", 976, NULL, "EXEC [App].sys.sp_executesql N'SELECT DB_NAME();'");
    RUN(model, SQL1, "sa", 0, "5",
        "IF CONVERT(int, SERVERPROPERTY('ProductMajorVersion')) >= 16 EXEC (N'SELECT 5'); ELSE "
        "SELECT 6;");
    RUN(model, SQL1, "sa", 0, "1",
        "IF EXISTS (SELECT 1 FROM sys.sql_logins WHERE name = N'sa' AND sid = 0x01) SELECT 1;");
    RUN(model, SQL1, "sa", 0, "0",
        "IF NOT EXISTS (SELECT 1 FROM sys.sql_logins WHERE name LIKE N's[xa]' OR name = N'y') "
        "SELECT 1; ELSE SELECT 0;");
    /* a statement that fails does not end its batch */
    RUN(model, SQL1, "sa", 15151, "7", "DROP LOGIN nobody; SELECT 7;");
}

static void test_scripts_not_understood(void **state)
{
    static const char *const texts[] = {
        "IF 1 SELECT 1;",
        "IF 1 = 1 BEGIN SELECT 1;",
        "IF EXISTS (SELECT 1 FROM sys.databases",
        "SELECT 1; SELECT 2;",
        "SELECT 1; FROBNICATE;",
        "RAISERROR (N'x', 16);",
        "EXEC (N'FROBNICATE');",
        "PRINT;",
        "IF 1 = 1 SELECT 1 ELSE SELECT 2;",
        "EXEC [App].sys.sp_executesql N'FROBNICATE;'",
    };
    int32_t number;
    struct session *session = enter(*state, SQL1, "sa", "", &number);

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct reply reply = {0};

        if (statements_run(session, texts[i], &reply))
            fail_msg("understood: %s", texts[i]);
        assert_int_equal(reply.messages[reply.message_count - 1].number, 102);
        reply_deinit(&reply);
    }
    session_free(session);
}

/* version.c: who asks for a column that came later is told 207; * leaves it out. */
static void test_versions(void **state)
{
    static const struct {
        const char *version, *column;
        int32_t number;
    } cases[] = {
        {"13.0.7000.1", "cluster_type", 207}, {"13.0.7000.1", "sequence_number", 207},
        {"13.0.7000.1", "is_contained", 207}, {"13.0.7000.1", "is_distributed", 0},
        {"13.0.7000.1", "basic_features", 0}, {"14.0.3400.1", "cluster_type", 0},
        {"15.0.4000.1", "is_contained", 207}, {"16.0.4000.1", "is_contained", 0},
        {"17.0.1000.7", "dtc_support", 0},
    };
    struct model *model = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[128];

        free(model->instances[SQL1].version);
        model->instances[SQL1].version = strdup(cases[i].version);
        snprintf(text, sizeof(text), "SELECT %s FROM sys.availability_groups", cases[i].column);
        RUN(model, SQL1, "sa", cases[i].number, NULL, text);
        RUN(model, SQL1, "sa", 0, NULL, "SELECT * FROM sys.availability_groups");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_logins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_logins_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_users, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rights_per_database, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_users_follow_the_database, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_users_are_lost_with_data, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_users_in_backups, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_read_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_redo_lag, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_extended_property, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_redo_and_send_lag, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_contained_logins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_contained_listener, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_contained_switches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_scripts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_scripts_not_understood, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_versions, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
