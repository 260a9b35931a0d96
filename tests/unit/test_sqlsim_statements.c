/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "libescrow/secret.h"
#include "libescrow/tsql.h"
#include "tests/sqlsim/statements.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SQL1, SQL2 };

#define PASSWORD "a'b \xc3\xa4 \xf0\x9f\x94\x91"
#define LONG_MS 10000
#define AG1(model) (&(model)->groups[0])
#define SSISDB(model) (&(model)->databases[0])
#define SERVER_RIGHTS (RIGHT_VIEW_SERVER_STATE | RIGHT_VIEW_ANY_DEFINITION)

CLEANUP_FUNCTION(session_free_p, struct session, session_free)

static void add_principal(struct model *model, const char *name, unsigned rights,
                          uint8_t sid_of_user)
{
    struct user *user;

    for (size_t i = 0; i < model->instance_count; i++) {
        struct login *login = logins_add(&model->instances[i].logins, name);

        login->password = strdup("pw");
        login->sid = (struct sid){.len = 1, .bytes = {(uint8_t)name[0]}};
        login->rights = rights & ~(unsigned)RIGHTS_OF_USER;
    }
    user = users_add(&SSISDB(model)->content.users, name);
    user->sid = (struct sid){.len = 1, .bytes = {sid_of_user}};
    user->rights = rights & RIGHTS_OF_USER;
}

static int set_up(void **state)
{
    struct model *model = calloc(1, sizeof(*model));

    if (!model)
        return -1;
    model_init(model);
    (void)model_add_group(model, "AG1");
    (void)model_add_replica(model, AG1(model), model_add_instance(model, "SQL1"));
    (void)model_add_replica(model, AG1(model), model_add_instance(model, "SQL2"));
    (void)model_add_database(model, "SSISDB", AG1(model), MODEL_NONE);
    (void)master_key_add_password(&SSISDB(model)->content.key, PASSWORD, 0);
    model_set_initial_primary(model, AG1(model), SQL1);
    model->on_role_change = session_kill_all;
    model_advance(model, 1);
    add_principal(model, "agent",
                  SERVER_RIGHTS | RIGHT_CONNECT | RIGHT_CONTROL_DATABASE | RIGHT_SSIS_ADMIN, 'a');
    add_principal(model, "prober", SERVER_RIGHTS | RIGHT_CONNECT | RIGHT_CONTROL_CERTIFICATE, 'p');
    add_principal(model, "weak", RIGHT_CONNECT, 'w');
    add_principal(model, "mismatched", SERVER_RIGHTS | RIGHT_CONNECT, 'x');
    add_principal(model, "sysadmin", RIGHT_SYSADMIN, 'x');
    *state = model;
    return 0;
}

static int tear_down(void **state)
{
    model_deinit(*state);
    free(*state);
    return 0;
}

static struct session *log_in(struct model *model, size_t replica, const char *name,
                              const char *database)
{
    struct session_login login = {.name = name, .password = "pw", .database = database};
    struct reply reply = {0};
    struct session *session = session_new(model, replica, &login, &reply);

    assert_non_null(session);
    reply_deinit(&reply);
    return session;
}

static int32_t first_error(const struct reply *reply)
{
    return reply_failed(reply) ? reply->messages[0].number : 0;
}

/* Runs a text that must be known; its first error. */
static int32_t run(struct session *session, const char *text)
{
    struct reply reply = {0};
    int32_t number;

    assert_non_null(text);
    assert_true(statements_run(session, text, &reply));
    number = first_error(&reply);
    reply_deinit(&reply);
    return number;
}

/* Runs a text of tsql.h and frees it. */
static int32_t run_tsql(struct session *session, char *text)
{
    int32_t number = run(session, text);

    free(text);
    return number;
}

/* The value of the first column of the only row, or NULL; freed by the caller. */
static char *value_of(struct session *session, const char *text)
{
    struct reply reply = {0};
    char *value;

    assert_true(statements_run(session, text, &reply));
    assert_false(reply_failed(&reply));
    assert_int_equal(reply.value_count, reply.column_count);
    value = reply.values[0] ? strdup(reply.values[0]) : NULL;
    reply_deinit(&reply);
    return value;
}

static bool opens(struct session *session)
{
    CLEANUP(cleanup_free) char *text = tsql_opens();
    CLEANUP(cleanup_free) char *value = value_of(session, text);

    return value != NULL;
}

static size_t count_rows(struct session *session, const char *text)
{
    struct reply reply = {0};
    size_t rows;

    assert_true(statements_run(session, text, &reply));
    assert_false(reply_failed(&reply));
    assert_non_null(reply.columns);
    rows = reply.value_count / reply.column_count;
    reply_deinit(&reply);
    return rows;
}

static char *open_text(const char *password)
{
    CLEANUP(secret_free_p) struct secret *secret = secret_from(password, strlen(password));
    CLEANUP(secret_free_p) struct secret *text = tsql_open_master_key(secret);

    assert_non_null(text);
    return strndup((const char *)text->bytes, text->len);
}

/* The model follows libescrow/tsql.c: everything that it can send is understood. */
static void test_every_text_of_tsql_is_known(void **state)
{
    static const uint8_t nonce[TSQL_NONCE_BYTES] = {1, 2, 0xab};
    static const struct tsql_target target = {"AG1", "SSISDB"};
    char *const texts[] = {
        tsql_state("AG1", "SSISDB"),
        tsql_states(&target, 1),
        tsql_quorum(),
        tsql_members("AG1"),
        tsql_local("AG1", "SSISDB"),
        tsql_readers("AG1"),
        tsql_set_context(nonce),
        tsql_find_session(nonce, "agent"),
        tsql_use("SSISDB"),
        tsql_commit_echo(nonce),
        tsql_find_echo(nonce, "SSISDB"),
        tsql_opens(),
        tsql_probe_certificate(),
        open_text(PASSWORD),
        tsql_add_service_master_key(),
        tsql_close_master_key(),
        tsql_catalog_startup("SSISDB"),
    };
    CLEANUP(session_free_p) struct session *session = log_in(*state, SQL1, "agent", "");

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(run_tsql(session, texts[i]), 0);
}

static void test_unknown_text(void **state)
{
    CLEANUP(session_free_p) struct session *session = log_in(*state, SQL1, "agent", "");
    struct reply reply = {0};

    assert_false(statements_run(session, "DROP DATABASE SSISDB", &reply));
    assert_int_equal(first_error(&reply), 102);
    assert_string_equal(reply.messages[0].text, "Incorrect syntax near 'DROP'.");
    assert_int_equal(reply.messages[0].level, 15);
    reply_deinit(&reply);
    assert_false(statements_run(session, "", &reply));
    reply_deinit(&reply);
}

static void test_state_columns(void **state)
{
    static const char *const expected[TSQL_STATE_COLUMNS] = {
        [TSQL_STATE_SERVER_NAME] = "SQL1",
        [TSQL_STATE_CLUSTER_TYPE] = "0",
        [TSQL_STATE_IS_DISTRIBUTED] = "0",
        [TSQL_STATE_SEQUENCE_NUMBER] = "0",
        [TSQL_STATE_ROLE] = "1",
        [TSQL_STATE_OPERATIONAL_STATE] = "2",
        [TSQL_STATE_RECOVERY_HEALTH] = "1",
        [TSQL_STATE_SYNCHRONIZATION_HEALTH] = "2",
        [TSQL_STATE_PRIMARY_REPLICA] = "SQL1",
        [TSQL_STATE_DATABASE_STATE] = "0",
        [TSQL_STATE_UPDATEABILITY] = "READ_WRITE",
        [TSQL_STATE_SYNCHRONIZATION_STATE] = "2",
        [TSQL_STATE_RECOVERY_LSN] = "41000000016800001",
    };
    CLEANUP(session_free_p) struct session *session = log_in(*state, SQL1, "prober", "");
    CLEANUP(cleanup_free) char *text = tsql_state("ag1", "ssisdb");
    CLEANUP(cleanup_free) char *other_database = tsql_state("AG1", "OTHER");
    CLEANUP(cleanup_free) char *other_group = tsql_state("AG2", "SSISDB");
    struct reply reply = {0};

    assert_true(statements_run(session, text, &reply));
    assert_int_equal(reply.column_count, TSQL_STATE_COLUMNS);
    assert_int_equal(reply.value_count, TSQL_STATE_COLUMNS);
    for (size_t i = 0; i < TSQL_STATE_COLUMNS; i++)
        assert_string_equal(reply.values[i], expected[i]);
    reply_deinit(&reply);

    assert_true(statements_run(session, other_database, &reply));
    assert_int_equal(reply.value_count, TSQL_STATE_COLUMNS);
    assert_string_equal(reply.values[TSQL_STATE_ROLE], "1");
    for (size_t i = TSQL_STATE_DATABASE_STATE; i < TSQL_STATE_COLUMNS; i++)
        assert_null(reply.values[i]);
    reply_deinit(&reply);
    assert_int_equal(count_rows(session, other_group), 0);
}

/* The same of many: each row is as it is of one, behind its number; who is not here has none. */
static void test_states_of_many(void **state)
{
    static const struct tsql_target targets[] = {
        {"AG2", "SSISDB"}, {"ag1", "ssisdb"}, {"AG1", "OTHER"}};
    static const size_t here[] = {1, 2};
    CLEANUP(session_free_p) struct session *session = log_in(*state, SQL1, "prober", "");
    CLEANUP(cleanup_free) char *text = tsql_states(targets, ARRAY_LEN(targets));
    struct reply many = {0};

    assert_true(statements_run(session, text, &many));
    assert_int_equal(many.column_count, 1 + TSQL_STATE_COLUMNS);
    assert_int_equal(many.value_count, ARRAY_LEN(here) * (1 + TSQL_STATE_COLUMNS));
    for (size_t i = 0; i < ARRAY_LEN(here); i++) {
        const struct tsql_target *target = &targets[here[i]];
        CLEANUP(cleanup_free)
        char *alone = tsql_state(target->availability_group, target->database);
        char *const *row = many.values + i * (1 + TSQL_STATE_COLUMNS);
        struct reply one = {0};

        assert_int_equal(strtoul(row[0], NULL, 10), here[i]);
        assert_true(statements_run(session, alone, &one));
        for (size_t j = 0; j < TSQL_STATE_COLUMNS; j++) {
            assert_int_equal(row[1 + j] == NULL, one.values[j] == NULL);
            if (row[1 + j])
                assert_string_equal(row[1 + j], one.values[j]);
        }
        reply_deinit(&one);
    }
    reply_deinit(&many);
}

/* The rights and the columns that it takes are the same too. */
static void test_states_of_many_are_refused_alike(void **state)
{
    static const struct tsql_target target = {"AG1", "SSISDB"};
    struct model *model = *state;
    CLEANUP(session_free_p) struct session *weak = log_in(model, SQL1, "weak", "");
    CLEANUP(session_free_p) struct session *agent = log_in(model, SQL1, "agent", "");
    CLEANUP(cleanup_free) char *text = tsql_states(&target, 1);
    CLEANUP(cleanup_free) char *cut = strndup(text, strlen(text) - 1);
    struct reply reply = {0};

    assert_int_equal(run(weak, text), 300);
    assert_false(statements_run(agent, cut, &reply));
    assert_int_equal(first_error(&reply), 102);
    reply_deinit(&reply);
    free(model->instances[SQL1].version);
    model->instances[SQL1].version = strdup("13.0.7029.3");
    assert_int_equal(run(agent, text), 207);
}

static void test_server_rights(void **state)
{
    struct model *model = *state;
    CLEANUP(session_free_p) struct session *weak = log_in(model, SQL1, "weak", "");
    CLEANUP(cleanup_free) char *text = tsql_local("AG1", "SSISDB");
    struct login *login = &model->instances[SQL1].logins.entries[2];
    struct reply reply = {0};

    assert_true(statements_run(weak, text, &reply));
    assert_int_equal(reply.message_count, 2);
    assert_int_equal(reply.messages[0].number, 300);
    assert_string_equal(reply.messages[0].text, "VIEW SERVER PERFORMANCE STATE permission was "
                                                "denied on object 'server', database 'master'.");
    assert_int_equal(reply.messages[1].number, 297);
    assert_null(reply.columns);
    reply_deinit(&reply);

    assert_string_equal(login->name, "weak");
    login->rights = RIGHT_VIEW_SERVER_PERFORMANCE_STATE;
    assert_int_equal(count_rows(weak, text), 0); /* it cannot see the group's definition: 4.3 */
    login->rights |= RIGHT_VIEW_ANY_DEFINITION;
    assert_int_equal(count_rows(weak, text), 1);
    /* before 2022 the new right does not exist */
    free(model->instances[SQL1].version);
    model->instances[SQL1].version = strdup("15.0.4375.4");
    assert_int_equal(run(weak, text), 300);
}

/* version.c: what tsql_state asks for came with 2017. */
static void test_columns_of_2016(void **state)
{
    struct model *model = *state;
    CLEANUP(session_free_p) struct session *agent = log_in(model, SQL1, "agent", "");
    CLEANUP(cleanup_free) char *text = tsql_state("AG1", "SSISDB");

    free(model->instances[SQL1].version);
    model->instances[SQL1].version = strdup("13.0.7029.3");
    assert_int_equal(run(agent, text), 207);
    model->switches.columns_2016 = SWITCH_COLUMNS_PRESENT;
    assert_int_equal(run(agent, text), 0);
}

static void test_opens_is_asked_by_signature(void **state)
{
    struct model *model = *state;
    CLEANUP(session_free_p) struct session *prober = log_in(model, SQL1, "prober", "SSISDB");
    CLEANUP(session_free_p) struct session *weak = log_in(model, SQL1, "weak", "SSISDB");
    CLEANUP(session_free_p) struct session *in_master = log_in(model, SQL1, "prober", "");
    CLEANUP(cleanup_free) char *text = tsql_probe_certificate();

    assert_true(opens(prober));
    assert_false(opens(weak));      /* sees no certificate: NULL */
    assert_false(opens(in_master)); /* it is in SSISDB */
    assert_int_equal(run(prober, text), 0);

    model_add_service_key(model, SSISDB(model), SQL2, "other");
    assert_false(opens(prober));
    model->switches.signbycert_failure = SWITCH_SIGN_15581;
    model->switches.state_15581 = 3;
    assert_int_equal(run_tsql(prober, tsql_opens()), 15581);
    assert_false(opens(weak)); /* no certificate is NULL, not 15581 */
}

static void test_certificate_is_missing(void **state)
{
    struct model *model = *state;
    CLEANUP(session_free_p) struct session *prober = log_in(model, SQL1, "prober", "SSISDB");
    CLEANUP(cleanup_free) char *text = tsql_probe_certificate();
    CLEANUP(cleanup_free) char *before = value_of(prober, text), *after = NULL;

    master_key_set_probe(&SSISDB(model)->content.key, false);
    after = value_of(prober, text);
    assert_string_equal(before, "1");
    assert_string_equal(after, "0");
    assert_false(opens(prober));
}

static void test_open_add_close(void **state)
{
    struct model *model = *state;
    CLEANUP(session_free_p) struct session *agent = log_in(model, SQL1, "agent", "SSISDB");
    CLEANUP(session_free_p) struct session *other = log_in(model, SQL1, "agent", "SSISDB");

    model_add_service_key(model, SSISDB(model), SQL2, "other");
    assert_int_equal(run_tsql(agent, tsql_add_service_master_key()), 15581);
    assert_int_equal(run_tsql(agent, open_text("wrong")), 15313);
    assert_int_equal(run_tsql(agent, tsql_close_master_key()), 15315);
    assert_int_equal(run_tsql(agent, open_text(PASSWORD)), 0);
    assert_true(opens(agent));
    assert_false(opens(other)); /* open in one session only */
    assert_int_equal(run_tsql(other, tsql_add_service_master_key()), 15581);
    assert_int_equal(run_tsql(agent, tsql_add_service_master_key()), 0);
    assert_int_equal(run_tsql(agent, tsql_close_master_key()), 0);
    assert_true(opens(other));
    assert_string_equal(SSISDB(model)->copies[SQL1].opened_by, "agent");
    assert_int_equal(run_tsql(agent, tsql_close_master_key()), 15315);
    model->switches.close_unopened = SWITCH_CLOSE_OK;
    assert_int_equal(run_tsql(agent, tsql_close_master_key()), 0);
}

static void test_key_rights(void **state)
{
    struct model *model = *state;
    CLEANUP(session_free_p) struct session *prober = log_in(model, SQL1, "prober", "SSISDB");
    CLEANUP(session_free_p) struct session *in_master = log_in(model, SQL1, "agent", "");
    CLEANUP(session_free_p) struct session *agent = log_in(model, SQL1, "agent", "SSISDB");

    assert_int_equal(run_tsql(prober, open_text(PASSWORD)), 15151);
    assert_int_equal(run_tsql(prober, tsql_add_service_master_key()), 15151);
    assert_int_equal(run_tsql(in_master, open_text(PASSWORD)), 15151);
    SSISDB(model)->content.key.exists = false;
    assert_int_equal(run_tsql(agent, open_text(PASSWORD)), 15151);
    assert_false(opens(agent));
}

static void test_passwords(void **state)
{
    struct model *model = *state;
    CLEANUP(session_free_p) struct session *agent = log_in(model, SQL1, "agent", "SSISDB");
    static const char add[] = "ALTER MASTER KEY ADD ENCRYPTION BY PASSWORD = N'new'";
    static const char drop[] = "ALTER MASTER KEY DROP ENCRYPTION BY PASSWORD = N'new'";

    assert_int_equal(run(agent, add), 0);
    assert_int_equal(run(agent, add), 15579);
    model->switches.duplicate_password = SWITCH_DUPLICATE_15557;
    assert_int_equal(run(agent, drop), 0);
    assert_int_equal(run(agent, drop), 15313);
    model_add_service_key(model, SSISDB(model), SQL2, "other");
    assert_int_equal(run(agent, add), 15581);
}

static void test_secondary(void **state)
{
    struct model *model = *state;
    CLEANUP(session_free_p) struct session *agent = log_in(model, SQL2, "agent", "");

    assert_int_equal(run_tsql(agent, tsql_use("SSISDB")), 976);
    assert_int_equal(run_tsql(agent, tsql_catalog_startup("SSISDB")), 976);
    AG1(model)->replicas[SQL2].readable = MODEL_READABLE_ALL;
    assert_int_equal(run_tsql(agent, tsql_use("SSISDB")), 0);
    assert_int_equal(run_tsql(agent, open_text(PASSWORD)), 0); /* 1.6: writes nothing */
    assert_int_equal(run_tsql(agent, tsql_add_service_master_key()), 3906);
    assert_int_equal(run_tsql(agent, tsql_close_master_key()), 0);
    model->switches.readonly_open = SWITCH_READONLY_OPEN_3906;
    assert_int_equal(run_tsql(agent, open_text(PASSWORD)), 3906);
}

static void test_session_is_found_by_nonce_and_login(void **state)
{
    static const uint8_t nonce[TSQL_NONCE_BYTES] = {0xfe, [31] = 1}, zero[TSQL_NONCE_BYTES] = {0};
    struct model *model = *state;
    CLEANUP(session_free_p) struct session *agent = log_in(model, SQL1, "agent", "");
    CLEANUP(session_free_p) struct session *elsewhere = log_in(model, SQL2, "prober", "");
    CLEANUP(session_free_p) struct session *prober = log_in(model, SQL1, "prober", "");
    CLEANUP(session_free_p) struct session *weak = log_in(model, SQL1, "weak", "");
    CLEANUP(cleanup_free) char *find = tsql_find_session(nonce, "agent");
    CLEANUP(cleanup_free) char *find_prober = tsql_find_session(nonce, "prober");
    CLEANUP(cleanup_free) char *find_zero = tsql_find_session(zero, "agent");

    assert_int_equal(count_rows(prober, find), 0);
    assert_int_equal(run_tsql(agent, tsql_set_context(nonce)), 0);
    assert_int_equal(count_rows(prober, find), 1);
    assert_int_equal(count_rows(prober, find_prober), 0);
    assert_int_equal(count_rows(prober, find_zero), 0);
    assert_int_equal(count_rows(elsewhere, find), 0);
    assert_int_equal(count_rows(weak, find), 0); /* no right: its own session only */
    session_reset(agent);
    assert_int_equal(count_rows(prober, find), 0);
}

static void test_logins(void **state)
{
    static const struct {
        const char *name, *password, *database;
        int32_t numbers[3];
    } cases[] = {
        {"agent", "wrong", "", {18456}},
        {"nobody", "pw", "", {18456}},
        {"agent", "pw", "NOPE", {4060, 18456}},
        {"agent", "pw", "SSISDB", {976, 4060, 18456}},
        {"mismatched", "pw", "SSISDB", {976, 4060, 18456}},
    };
    struct model *model = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct session_login login = {
            .name = cases[i].name, .password = cases[i].password, .database = cases[i].database};
        struct reply reply = {0};

        assert_null(session_new(model, SQL2, &login, &reply));
        for (size_t n = 0; n < 3; n++)
            assert_int_equal(n < reply.message_count ? reply.messages[n].number : 0,
                             cases[i].numbers[n]);
        reply_deinit(&reply);
    }
    assert_null(LIST_FIRST(&model->instances[SQL2].sessions));
}

static void test_disabled_and_subset(void **state)
{
    struct model *model = *state;
    struct session_login login = {.name = "agent", .password = "pw", .database = ""};
    struct reply reply = {0};

    model->instances[SQL1].logins.entries[0].is_disabled = true;
    assert_null(session_new(model, SQL1, &login, &reply));
    assert_int_equal(first_error(&reply), 18470);
    reply_deinit(&reply);
    logins_remove(&model->instances[SQL1].logins, &model->instances[SQL1].logins.entries[0]);
    assert_null(session_new(model, SQL1, &login, &reply));
    assert_int_equal(first_error(&reply), 18456);
    reply_deinit(&reply);
}

static void test_sid_mismatch(void **state)
{
    CLEANUP(session_free_p) struct session *session = log_in(*state, SQL1, "mismatched", "");
    struct reply reply = {0};

    assert_true(statements_run(session, "USE [SSISDB]", &reply));
    assert_int_equal(first_error(&reply), 916);
    assert_string_equal(reply.messages[0].text,
                        "The server principal \"mismatched\" is not able to access the database "
                        "\"SSISDB\" under the current security context.");
    reply_deinit(&reply);
    assert_int_equal(run(session, "USE [master]"), 0);
    assert_int_equal(run(session, "USE [nope]"), 911);
}

static void test_startup(void **state)
{
    struct model *model = *state;
    CLEANUP(session_free_p) struct session *agent = log_in(model, SQL1, "agent", "");
    CLEANUP(session_free_p) struct session *prober = log_in(model, SQL1, "prober", "");
    CLEANUP(session_free_p) struct session *sysadmin = log_in(model, SQL1, "sysadmin", "");

    assert_int_equal(run_tsql(agent, tsql_catalog_startup("SSISDB")), 0);
    assert_int_equal(run_tsql(prober, tsql_catalog_startup("SSISDB")), 27219);
    assert_int_equal(run_tsql(sysadmin, tsql_catalog_startup("SSISDB")), 0);
    free(SSISDB(model)->name);
    SSISDB(model)->name = strdup("Orders");
    assert_int_equal(run_tsql(sysadmin, tsql_catalog_startup("Orders")), 2812);
}

static void note_kill(struct session *session, void *argument)
{
    (void)session;
    *(size_t *)argument += 1;
}

/* 2.3: a role change takes the sessions that are in the database, and no others. */
static void test_role_change_kills_sessions(void **state)
{
    struct model *model = *state;
    CLEANUP(session_free_p) struct session *inside = log_in(model, SQL1, "agent", "SSISDB");
    CLEANUP(session_free_p) struct session *outside = log_in(model, SQL1, "agent", "");
    size_t killed = 0;

    inside->on_kill = outside->on_kill = note_kill;
    inside->argument = outside->argument = &killed;
    assert_int_equal(model_failover(model, AG1(model), SQL2, false), 0);
    model_advance(model, LONG_MS);
    assert_int_equal(killed, 1);
    assert_true(inside->is_killed);
    assert_false(outside->is_killed);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_every_text_of_tsql_is_known),
        TEST(test_unknown_text),
        TEST(test_state_columns),
        TEST(test_states_of_many),
        TEST(test_states_of_many_are_refused_alike),
        TEST(test_server_rights),
        TEST(test_columns_of_2016),
        TEST(test_opens_is_asked_by_signature),
        TEST(test_certificate_is_missing),
        TEST(test_open_add_close),
        TEST(test_key_rights),
        TEST(test_passwords),
        TEST(test_secondary),
        TEST(test_session_is_found_by_nonce_and_login),
        TEST(test_logins),
        TEST(test_disabled_and_subset),
        TEST(test_sid_mismatch),
        TEST(test_startup),
        TEST(test_role_change_kills_sessions),
    };

    if (secret_heap_init())
        return EXIT_FAILURE;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
