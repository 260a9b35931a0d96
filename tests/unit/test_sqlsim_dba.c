/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/statements.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/*
 * What a DBA sends, as scripts: who says what, the first error or message of its answer, and the
 * first value of it.
 */
enum { SQL1, SQL2 };
enum { AGENT, OTHER, PROBER, ADMIN, SECONDARY, SESSIONS }; /* SECONDARY: an administrator on SQL2 */

#define AG1(model) (&(model)->groups[0])
#define SSISDB(model) (&(model)->databases[0])
#define SERVER_RIGHTS (RIGHT_VIEW_SERVER_STATE | RIGHT_VIEW_ANY_DEFINITION)
#define NONE "(no value)"
#define NULL_VALUE "(NULL)"

struct step {
    size_t who;
    const char *text;
    int64_t number;    /* of the first message, 0: none */
    const char *value; /* NULL: not looked at */
};

struct setting {
    struct model *model;
    struct session *sessions[SESSIONS];
};

static void add_login(struct model *model, const char *name, unsigned rights)
{
    const struct sid sid = {.len = 1, .bytes = {(uint8_t)name[0]}};

    for (size_t i = 0; i < model->instance_count; i++) {
        struct login *login = logins_add(&model->instances[i].logins, name);

        login->password = strdup("pw");
        login->sid = sid;
        login->rights = rights & ~(unsigned)RIGHTS_OF_USER;
    }
    for (size_t i = 0; i < model->database_count; i++) {
        struct user *user = users_add(&model->databases[i].content.users, name);

        user->sid = sid;
        user->rights = rights & RIGHTS_OF_USER;
    }
}

static struct session *log_in(struct model *model, size_t instance, const char *name)
{
    struct session_login login = {.name = name, .password = "pw", .database = "SSISDB"};
    struct reply reply = {0};
    struct session *session = session_new(model, instance, &login, &reply);

    reply_deinit(&reply);
    assert_non_null(session);
    return session;
}

static int set_up(void **state)
{
    static const char *const names[] = {"agent", "agent", "prober", "sysadmin"};
    struct setting *setting = calloc(1, sizeof(*setting));
    struct model *model = calloc(1, sizeof(*model));

    if (!setting || !model)
        return -1;
    setting->model = model;
    model_init(model);
    (void)model_add_group(model, "AG1");
    (void)model_add_replica(model, AG1(model), model_add_instance(model, "SQL1"));
    (void)model_add_replica(model, AG1(model), model_add_instance(model, "SQL2"));
    (void)model_add_database(model, "SSISDB", AG1(model), MODEL_NONE);
    (void)master_key_add_password(&SSISDB(model)->content.key, "first", 0);
    model_set_initial_primary(model, AG1(model), SQL1);
    AG1(model)->replicas[SQL2].readable = MODEL_READABLE_ALL;
    model->on_role_change = session_kill_all;
    model_advance(model, 1);
    add_login(model, "agent", SERVER_RIGHTS | RIGHT_CONNECT | RIGHT_CONTROL_DATABASE);
    add_login(model, "prober", SERVER_RIGHTS | RIGHT_CONNECT | RIGHT_CONTROL_CERTIFICATE);
    add_login(model, "sysadmin", RIGHT_SYSADMIN);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        setting->sessions[i] = log_in(model, SQL1, names[i]);
    setting->sessions[SECONDARY] = log_in(model, SQL2, "sysadmin");
    *state = setting;
    return 0;
}

static int tear_down(void **state)
{
    struct setting *setting = *state;

    for (size_t i = 0; i < SESSIONS; i++) {
        if (setting->sessions[i])
            session_free(setting->sessions[i]);
    }
    model_deinit(setting->model);
    free(setting->model);
    free(setting);
    return 0;
}

static const char *first_value(const struct reply *reply)
{
    if (!reply->value_count)
        return NONE;
    return reply->values[0] ? reply->values[0] : NULL_VALUE;
}

static void play(struct setting *setting, const struct step *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct reply reply = {0};
        int64_t number;

        if (!statements_run(setting->sessions[steps[i].who], steps[i].text, &reply))
            fail_msg("not understood: %s", steps[i].text);
        number = reply.message_count ? reply.messages[0].number : 0;
        if (number != steps[i].number)
            fail_msg("step %zu: %s: %d, not %d", i, steps[i].text, (int)number,
                     (int)steps[i].number);
        if (steps[i].value && strcmp(first_value(&reply), steps[i].value) != 0)
            fail_msg("step %zu: %s: %s, not %s", i, steps[i].text, first_value(&reply),
                     steps[i].value);
        reply_deinit(&reply);
    }
}

#define PLAY(state, ...)                                                                           \
    do {                                                                                           \
        const struct step steps[] = {__VA_ARGS__};                                                 \
        play(*(state), steps, ARRAY_LEN(steps));                                                   \
    } while (0)

#define OPEN(password) "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'" password "'"
#define ADD_SMK "ALTER MASTER KEY ADD ENCRYPTION BY SERVICE MASTER KEY"
#define DROP_SMK "ALTER MASTER KEY DROP ENCRYPTION BY SERVICE MASTER KEY"
#define CLOSE_DMK "CLOSE MASTER KEY"
#define SIGNS "SELECT DATALENGTH(SIGNBYCERT(CERT_ID(N'escrowd_probe'), N'x')) AS bytes"
#define FLAG "SELECT is_master_key_encrypted_by_server FROM sys.databases WHERE name = N'SSISDB'"
#define ENCRYPTIONS "SELECT COUNT(*) FROM sys.key_encryptions WHERE key_id = 101"

/* 1.4: from DROP on every use needs OPEN; ADD with the key open sets the flag again. */
static void test_service_key(void **state)
{
    PLAY(state, {AGENT, SIGNS, 0, "256"}, {AGENT, FLAG, 0, "1"}, {AGENT, ENCRYPTIONS, 0, "2"},
         {AGENT, DROP_SMK, 0, NONE}, {AGENT, FLAG, 0, "0"}, {AGENT, ENCRYPTIONS, 0, "1"},
         {AGENT, SIGNS, 0, NULL_VALUE}, {AGENT, ADD_SMK, 15581, NULL},
         {AGENT, DROP_SMK, 15581, NULL}, {AGENT, OPEN("first"), 0, NULL}, {AGENT, SIGNS, 0, "256"},
         {OTHER, SIGNS, 0, NULL_VALUE}, {AGENT, ADD_SMK, 0, NULL}, {AGENT, CLOSE_DMK, 0, NULL},
         {OTHER, SIGNS, 0, "256"}, {AGENT, FLAG, 0, "1"}, {PROBER, DROP_SMK, 15151, NULL});
}

static void test_create_and_drop(void **state)
{
    static const char create[] = "CREATE MASTER KEY ENCRYPTION BY PASSWORD = N'second'";

    PLAY(state, {AGENT, create, 15578, NULL}, {AGENT, "DROP MASTER KEY", 15580, NULL},
         {PROBER, "DROP MASTER KEY", 15151, NULL}, {PROBER, create, 15151, NULL},
         {AGENT, "DROP CERTIFICATE escrowd_probe", 0, NULL},
         {AGENT, "DROP CERTIFICATE [escrowd_probe]", 15151, NULL},
         {AGENT, "DROP MASTER KEY;", 0, NULL}, {AGENT, FLAG, 0, "0"},
         {AGENT, "SELECT name FROM sys.symmetric_keys", 0, NONE},
         {AGENT, "DROP MASTER KEY", 15151, NULL}, {AGENT, OPEN("first"), 15151, NULL},
         {AGENT, "CREATE CERTIFICATE c WITH SUBJECT = N'c'", 15581, NULL},
         {AGENT, "CREATE CERTIFICATE c ENCRYPTION BY PASSWORD = 'p' WITH SUBJECT = N'c'", 0, NULL},
         {AGENT, create, 0, NULL}, {AGENT, FLAG, 0, "1"}, {AGENT, OPEN("first"), 15313, NULL},
         {AGENT, OPEN("second"), 0, NULL}, {AGENT, "DROP MASTER KEY", 0, NULL},
         {SECONDARY, create, 3906, NULL});
}

static void test_regenerate(void **state)
{
    static const char plain[] =
        "ALTER MASTER KEY REGENERATE WITH ENCRYPTION BY PASSWORD = N'second'";
    static const char force[] =
        "ALTER MASTER KEY FORCE REGENERATE WITH ENCRYPTION BY PASSWORD = N'third'";

    PLAY(state, {AGENT, plain, 0, NULL}, {AGENT, SIGNS, 0, "256"}, {AGENT, ENCRYPTIONS, 0, "2"},
         {AGENT, OPEN("first"), 15313, NULL},
         {AGENT, "ALTER MASTER KEY DROP ENCRYPTION BY PASSWORD = N'second'", 15558, NULL},
         {AGENT, DROP_SMK, 0, NULL}, {AGENT, plain, 15329, NULL}, {AGENT, force, 15585, NULL},
         {AGENT, ENCRYPTIONS, 0, "1"}, {AGENT, OPEN("third"), 0, NULL},
         {AGENT, SIGNS, 0, NULL_VALUE}); /* what the old key encrypted is lost */
}

static void test_backup_and_restore(void **state)
{
    static const char backup[] =
        "BACKUP MASTER KEY TO FILE = 'C:\\k.dmk' ENCRYPTION BY PASSWORD = N'file'";
#define RESTORE(path, file, password)                                                              \
    "RESTORE MASTER KEY FROM FILE = '" path "' DECRYPTION BY PASSWORD = N'" file                   \
    "' ENCRYPTION BY PASSWORD = N'" password "'"

    PLAY(state, {PROBER, backup, 15151, NULL}, {AGENT, backup, 0, NULL},
         {AGENT, backup, 15240, NULL}, {AGENT, RESTORE("C:\\no.dmk", "file", "r"), 15317, NULL},
         {AGENT, RESTORE("C:\\k.dmk", "wrong", "r"), 15465, NULL},
         {AGENT, RESTORE("C:\\k.dmk", "file", "r"), 15588, NULL},
         /* measured: the SMK is gone, OPEN and ADD are needed */
         {AGENT, FLAG, 0, "0"}, {AGENT, SIGNS, 0, NULL_VALUE}, {AGENT, OPEN("r"), 0, NULL},
         {AGENT, SIGNS, 0, "256"}, {AGENT, ADD_SMK, 0, NULL}, {AGENT, CLOSE_DMK, 0, NULL},
         {AGENT, "ALTER MASTER KEY REGENERATE WITH ENCRYPTION BY PASSWORD = N'new'", 0, NULL},
         {AGENT, DROP_SMK, 0, NULL}, {AGENT, RESTORE("C:\\k.dmk", "file", "r"), 15329, NULL},
         {AGENT, RESTORE("C:\\k.dmk", "file", "r") " FORCE", 15585, NULL},
         {AGENT, OPEN("r"), 0, NULL});
}

static void test_restore_keeps_service_key(void **state)
{
    struct setting *setting = *state;

    setting->model->switches.restore_keeps_service_key = SWITCH_YES;
    PLAY(state,
         {AGENT, "BACKUP MASTER KEY TO FILE = 'k' ENCRYPTION BY PASSWORD = N'file'", 0, NULL},
         {AGENT, RESTORE("k", "file", "r"), 15588, NULL}, {AGENT, FLAG, 0, "1"},
         {AGENT, SIGNS, 0, "256"});
}

/* 1.3: OPEN survives the rollback; ADD does not. */
static void test_transactions(void **state)
{
    PLAY(state, {AGENT, "COMMIT", 3902, NULL}, {AGENT, "ROLLBACK TRAN", 3903, NULL},
         {AGENT, "BEGIN TRAN", 0, NULL}, {AGENT, DROP_SMK, 0, NULL}, {AGENT, "COMMIT", 0, NULL},
         {AGENT, "BEGIN TRANSACTION", 0, NULL}, {AGENT, OPEN("first"), 0, NULL},
         {AGENT, ADD_SMK, 0, NULL}, {AGENT, FLAG, 0, "1"}, {OTHER, SIGNS, 0, "256"},
         {AGENT, "SELECT @@TRANCOUNT", 0, "1"}, {AGENT, "ROLLBACK TRANSACTION", 0, NULL},
         {AGENT, FLAG, 0, "0"}, {OTHER, SIGNS, 0, NULL_VALUE}, {AGENT, SIGNS, 0, "256"},
         {AGENT, "SELECT COUNT(*) FROM sys.openkeys WHERE database_id = DB_ID()", 0, "1"},
         /* two levels: COMMIT of the inner one commits nothing, ROLLBACK undoes both */
         {AGENT, "BEGIN TRAN", 0, NULL}, {AGENT, "BEGIN TRAN", 0, NULL},
         {AGENT, "ALTER MASTER KEY ADD ENCRYPTION BY PASSWORD = N'second'", 0, NULL},
         {ADMIN, ADD_SMK, 15581, NULL}, {ADMIN, OPEN("first"), 0, NULL},
         {ADMIN, ADD_SMK, 1222, NULL}, {AGENT, "COMMIT", 0, NULL}, {AGENT, "ROLLBACK", 0, NULL},
         {AGENT, "SELECT @@TRANCOUNT", 0, "0"}, {OTHER, OPEN("second"), 15313, NULL},
         {ADMIN, ADD_SMK, 0, NULL});
}

/* The end of a session is the end of its transaction. */
static void test_transaction_of_a_dead_session(void **state)
{
    struct setting *setting = *state;

    PLAY(state, {AGENT, "BEGIN TRAN", 0, NULL}, {AGENT, DROP_SMK, 0, NULL});
    session_free(setting->sessions[AGENT]);
    setting->sessions[AGENT] = NULL;
    PLAY(state, {OTHER, FLAG, 0, "1"}, {OTHER, SIGNS, 0, "256"}, {OTHER, DROP_SMK, 0, NULL},
         {OTHER, OPEN("first"), 0, NULL}, {OTHER, "BEGIN TRAN", 0, NULL},
         {OTHER, ADD_SMK, 0, NULL});
    assert_int_equal(model_failover(setting->model, AG1(setting->model), SQL2, false), 0);
    model_advance(setting->model, 10000);
    assert_null(SSISDB(setting->model)->writer);
    assert_false(SSISDB(setting->model)->copies[SQL1].flag);
}

#define STORE(password, action)                                                                    \
    "EXEC sp_control_dbmasterkey_password @db_name = N'SSISDB', @password = N'" password           \
    "', @action = N'" action "'"

/* 5.1: stored on each replica, unchecked; opens after a failover and wraps with the SMK again. */
static void test_stored_passwords(void **state)
{
    struct setting *setting = *state;

    PLAY(state, {SECONDARY, STORE("wrong", "add"), 0, NULL},
         {SECONDARY, STORE("first", "add"), 0, NULL},
         {SECONDARY, STORE("first", "add"), 15594, NULL},
         {SECONDARY, STORE("wrong", "drop"), 0, NULL},
         {SECONDARY, STORE("wrong", "drop"), 15595, NULL}, {PROBER, STORE("x", "add"), 15247, NULL},
         {AGENT,
          "EXEC sp_control_dbmasterkey_password @db_name = N'msdb', @password = N'x', "
          "@action = N'add'",
          15276, NULL},
         {AGENT, "EXEC sp_control_dbmasterkey_password N'nope', N'x', N'add'", 911, NULL},
         {AGENT, STORE("x", "look"), 102, NULL},
         {SECONDARY, "SELECT COUNT(*) FROM sys.master_key_passwords", 0, "1"},
         {AGENT, "SELECT COUNT(*) FROM sys.master_key_passwords", 0, "0"});
    assert_int_equal(model_failover(setting->model, AG1(setting->model), SQL2, false), 0);
    model_advance(setting->model, 10000);
    session_free(setting->sessions[SECONDARY]);
    setting->sessions[SECONDARY] = log_in(setting->model, SQL2, "sysadmin");
    PLAY(state, {SECONDARY, FLAG, 0, "0"}, {SECONDARY, SIGNS, 0, "256"}, {SECONDARY, FLAG, 0, "1"},
         {SECONDARY, STORE("first", "drop"), 0, NULL}, {SECONDARY, SIGNS, 0, "256"});
}

static void test_stored_password_on_a_secondary(void **state)
{
    struct setting *setting = *state;

    PLAY(state, {SECONDARY, SIGNS, 0, NULL_VALUE}, {SECONDARY, STORE("first", "add"), 0, NULL},
         {SECONDARY, SIGNS, 0, "256"}, {SECONDARY, FLAG, 0, "0"});
    setting->model->switches.readonly_credential = SWITCH_CREDENTIAL_15581;
    PLAY(state, {SECONDARY, SIGNS, 0, NULL_VALUE});
    setting->model->switches.credential_right = SWITCH_CREDENTIAL_SYSADMIN;
    PLAY(state, {AGENT, STORE("x", "add"), 15247, NULL}, {ADMIN, STORE("x", "add"), 0, NULL});
}

static void test_lost_service_key(void **state)
{
    struct setting *setting = *state;

    setting->model->instances[SQL1].has_lost_service_key = true;
    PLAY(state, {AGENT, SIGNS, 0, NULL_VALUE}, {AGENT, OPEN("first"), 0, NULL},
         {AGENT, ADD_SMK, 15466, NULL}, {AGENT, "ALTER SERVICE MASTER KEY REGENERATE", 15247, NULL},
         {ADMIN, "ALTER SERVICE MASTER KEY REGENERATE", 15329, NULL},
         {ADMIN, "ALTER SERVICE MASTER KEY FORCE REGENERATE", 0, NULL}, {AGENT, ADD_SMK, 0, NULL},
         {OTHER, SIGNS, 0, "256"}, {ADMIN, "ALTER SERVICE MASTER KEY REGENERATE", 0, NULL},
         {OTHER, SIGNS, 0, "256"});
    setting->model->instances[SQL1].has_lost_service_key = true;
    setting->model->switches.lost_service_key = SWITCH_SERVICE_KEY_15581;
    PLAY(state, {AGENT, ADD_SMK, 15581, NULL});
}

static void test_certificates_and_symmetric_keys(void **state)
{
    static const char create[] =
        "CREATE SYMMETRIC KEY k WITH ALGORITHM = AES_256 ENCRYPTION BY CERTIFICATE c";
    static const char open[] = "OPEN SYMMETRIC KEY k DECRYPTION BY CERTIFICATE c";

    PLAY(state, {PROBER, "CREATE CERTIFICATE c WITH SUBJECT = N'c'", 15247, NULL},
         {AGENT, create, 15151, NULL}, {AGENT, "CREATE CERTIFICATE c WITH SUBJECT = N'c'", 0, NULL},
         {AGENT, "CREATE CERTIFICATE [C] WITH SUBJECT = N'c', EXPIRY_DATE = '20991231'", 15232,
          NULL},
         {AGENT, create, 0, NULL}, {AGENT, create, 15282, NULL},
         {AGENT, "DROP CERTIFICATE c", 15352, NULL}, {AGENT, "CLOSE SYMMETRIC KEY k", 15315, NULL},
         {AGENT, open, 0, NULL}, {AGENT, "SELECT key_name FROM sys.openkeys", 0, "k"},
         {AGENT, "CLOSE SYMMETRIC KEY k", 0, NULL},
         {AGENT, "OPEN SYMMETRIC KEY k DECRYPTION BY CERTIFICATE escrowd_probe", 15313, NULL},
         {PROBER, open, 15151, NULL}, {PROBER, "DROP CERTIFICATE c", 15151, NULL},
         {AGENT, DROP_SMK, 0, NULL}, {AGENT, open, 15581, NULL},
         {AGENT, "DROP SYMMETRIC KEY k", 0, NULL}, {AGENT, "DROP CERTIFICATE c", 0, NULL},
         {AGENT, "DROP SYMMETRIC KEY k", 15151, NULL});
}

static void test_passwords_of_keys(void **state)
{
    struct setting *setting = *state;

    setting->model->switches.password_max = 8;
    setting->model->switches.password_policy = SWITCH_YES;
    setting->model->switches.state_15313 = 9;
#define ADD_PASSWORD(password) "ALTER MASTER KEY ADD ENCRYPTION BY PASSWORD = N'" password "'"
    PLAY(state, {AGENT, ADD_PASSWORD("Aa1ééééé"), 0, NULL},
         {AGENT, ADD_PASSWORD("Aa1456789"), 15156, NULL}, {AGENT, ADD_PASSWORD("Aa1"), 15116, NULL},
         {AGENT, ADD_PASSWORD("aaaaaaaa"), 15118, NULL},
         {AGENT, "ALTER MASTER KEY DROP ENCRYPTION BY PASSWORD = N'other'", 15313, NULL});
}

#define GET(arguments) "DECLARE @r int; EXEC @r = sp_getapplock " arguments "; SELECT @r AS code"
#define RELEASE(arguments) "DECLARE @r int; EXEC @r = sp_releaseapplock " arguments "; SELECT @r"

static void test_application_locks(void **state)
{
    static const char exclusive[] = GET("@Resource = N'r', @LockMode = 'Exclusive', "
                                        "@LockOwner = 'Session', @LockTimeout = 0");

    PLAY(state, {AGENT, exclusive, 0, "0"}, {OTHER, exclusive, 0, "-1"},
         {SECONDARY, exclusive, 0, "0"}, {AGENT, GET("N'r', N'Exclusive'"), 0, "-999"},
         {AGENT, GET("@Resource = N'r', @LockMode = 'Wrong', @LockOwner = 'Session'"), 0, "-999"},
         {AGENT, RELEASE("@Resource = N'r', @LockOwner = 'Session'"), 0, "0"},
         {AGENT, RELEASE("@Resource = N'r', @LockOwner = 'Session'"), 0, "-999"},
         {AGENT, "BEGIN TRAN", 0, NULL}, {AGENT, "EXEC sp_getapplock N'r', 'Exclusive'", 0, NULL},
         {OTHER, exclusive, 0, "-1"}, {AGENT, "COMMIT", 0, NULL}, {OTHER, exclusive, 0, "0"},
         {OTHER, "EXEC sp_releaseapplock @Resource = N'r', @LockOwner = 'Session'", 0, NULL},
         {AGENT, exclusive, 0, "0"},
         {AGENT, "DECLARE @r int; EXEC @r = sp_getapplock N'r'; SELECT @x", 137, NULL});
}

static void test_values(void **state)
{
    struct setting *setting = *state;

    PLAY(state, {AGENT, "SELECT @@SERVERNAME AS n", 0, "SQL1"},
         {SECONDARY, "select @@servername;", 0, "SQL2"},
         {AGENT, "SELECT CONVERT(nvarchar(128), SERVERPROPERTY(N'ProductVersion'))", 0,
          "16.0.4165.4"},
         {AGENT, "SELECT CAST(SERVERPROPERTY('IsHadrEnabled') AS int) AS x", 0, "1"},
         {AGENT, "SELECT SERVERPROPERTY('NoSuchThing')", 0, NULL_VALUE},
         {AGENT, "SELECT DATABASEPROPERTYEX(N'SSISDB', N'Updateability')", 0, "READ_WRITE"},
         {SECONDARY, "SELECT DATABASEPROPERTYEX(N'SSISDB', 'Updateability')", 0, "READ_ONLY"},
         {AGENT, "SELECT DATABASEPROPERTYEX('nope', 'Status')", 0, NULL_VALUE},
         {AGENT, "SELECT HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER STATE')", 0, "1"},
         {AGENT, "SELECT HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER PERFORMANCE STATE')", 0, "0"},
         {AGENT, "SELECT HAS_PERMS_BY_NAME(NULL, NULL, 'NO SUCH RIGHT')", 0, NULL_VALUE},
         {AGENT, "SELECT HAS_PERMS_BY_NAME(N'SSISDB', N'DATABASE', N'CONTROL')", 0, "1"},
         {PROBER, "SELECT HAS_PERMS_BY_NAME(N'SSISDB', N'DATABASE', N'CONTROL')", 0, "0"},
         {PROBER, "SELECT HAS_PERMS_BY_NAME('escrowd_probe', 'CERTIFICATE', 'CONTROL')", 0, "1"},
         {AGENT, "SELECT IS_SRVROLEMEMBER('sysadmin')", 0, "0"},
         {ADMIN, "SELECT IS_SRVROLEMEMBER(N'sysadmin')", 0, "1"},
         {ADMIN, "SELECT IS_SRVROLEMEMBER(N'nope')", 0, NULL_VALUE},
         {AGENT, "SELECT DB_NAME() AS a, DB_ID() AS b, ORIGINAL_LOGIN()", 0, "SSISDB"},
         {AGENT, "SELECT sys.fn_hadr_is_primary_replica(N'SSISDB')", 0, "1"},
         {SECONDARY, "SELECT sys.fn_hadr_is_primary_replica(N'SSISDB')", 0, "0"},
         {AGENT, "SELECT NULL", 0, NULL_VALUE}, {AGENT, "SELECT 'it''s'", 0, "it's"});
    free(setting->model->instances[SQL1].version);
    setting->model->instances[SQL1].version = strdup("15.0.4375.4");
    PLAY(state, {AGENT, "SELECT HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER PERFORMANCE STATE')", 0,
                 NULL_VALUE});
}

#define JOINED                                                                                     \
    "FROM sys.symmetric_keys k JOIN sys.key_encryptions e ON e.key_id = k.symmetric_key_id "

static void test_views(void **state)
{
    struct setting *setting = *state;

    PLAY(state,
         {AGENT, "SELECT name, algorithm_desc FROM sys.symmetric_keys", 0,
          "##MS_DatabaseMasterKey##"},
         {PROBER, "SELECT COUNT(*) FROM sys.symmetric_keys", 0, "0"}, /* 1.2 */
         {AGENT, "SELECT crypt_type FROM sys.key_encryptions ORDER BY crypt_type_desc", 0, "ESKM"},
         {AGENT, "SELECT e.crypt_type_desc " JOINED "WHERE k.name = N'##MS_DatabaseMasterKey##'", 0,
          "ENCRYPTION BY MASTER KEY"},
         {AGENT, "SELECT key_name FROM sys.openkeys", 0, NONE},
         {AGENT, "SELECT database_id FROM sys.databases AS d WHERE d.name = 'ssisdb'", 0, "5"},
         {AGENT, "SELECT COUNT(*) AS n FROM sys.databases", 0, "3"},
         {AGENT, "SELECT COUNT(*) FROM sys.databases WHERE name = NULL", 0, "0"},
         {AGENT, "SELECT COUNT(*) FROM sys.databases WHERE name IS NULL", 0, "0"},
         {AGENT, "SELECT COUNT(*) FROM sys.databases WHERE name = 'SSISDB' AND database_id = 6", 0,
          "0"},
         {AGENT, "SELECT family_guid FROM sys.database_recovery_status WHERE database_id = DB_ID()",
          0, NULL},
         {PROBER, "SELECT name FROM sys.certificates", 0, "escrowd_probe"},
         {AGENT, "SELECT * FROM sys.server_principals WHERE name = 'prober'", 0, "prober"});
    free(setting->model->instances[SQL1].version);
    setting->model->instances[SQL1].version = strdup("13.0.7029.3");
    PLAY(state, {AGENT,
                 "SELECT crypt_type FROM sys.key_encryptions WHERE crypt_type_desc = "
                 "N'ENCRYPTION BY PASSWORD'",
                 0, "ESKP"});
}

#define REFRESH(server)                                                                            \
    "DECLARE @status tinyint; EXEC [SSISDB].[internal].[refresh_replica_status] @server_name = "   \
    "N'" server "', @status = @status OUTPUT; SELECT @status AS status"
#define STATUS_OF(id) "SELECT status FROM SSISDB.catalog.operations WHERE operation_id = " id

/* 5.2: what runs nowhere any more ends; what runs on this host goes on. */
static void test_ssis_catalog(void **state)
{
    static const char startup[] = "EXEC SSISDB.catalog.startup";
    struct setting *setting = *state;
    struct ssisdb *catalog = &SSISDB(setting->model)->catalog;

    ssisdb_add_operation(catalog, 200, 2, false);
    ssisdb_add_operation(catalog, 200, 5, true);
    ssisdb_add_operation(catalog, 301, 8, true);
    ssisdb_add_operation(catalog, 101, 2, true);
    ssisdb_add_operation(catalog, 200, 7, false);
    ssisdb_add_operation(catalog, 999, 2, false);
    ssisdb_set_replica(catalog, "SQL1", 2);
    ssisdb_set_replica(catalog, "SQL2", 1);
    PLAY(state, {AGENT, startup, 27219, NULL}, {SECONDARY, startup, 3906, NULL},
         {ADMIN, STATUS_OF("1"), 0, "2"}, {ADMIN, startup, 0, NULL},
         {ADMIN, STATUS_OF("1"), 0, "6"}, {ADMIN, STATUS_OF("2"), 0, "5"},
         {ADMIN, STATUS_OF("3"), 0, "6"}, {ADMIN, STATUS_OF("4"), 0, "6"},
         {ADMIN, STATUS_OF("5"), 0, "7"}, {ADMIN, STATUS_OF("6"), 0, "2"},
         {AGENT, STATUS_OF("1"), 0, NONE}, {AGENT, REFRESH("SQL1"), 27219, NULL},
         {ADMIN, REFRESH("SQL1"), 0, "1"}, {ADMIN, REFRESH("SQL1"), 0, "0"},
         {ADMIN, REFRESH("SQL9"), 0, "0"},
         {ADMIN, "SELECT state FROM catalog.alwayson_replicas WHERE server_name = @@SERVERNAME", 0,
          "1"},
         {ADMIN,
          "SELECT property_value FROM internal.catalog_properties WHERE property_name = "
          "N'SCHEMA_BUILD'",
          0, "16.0.4165.4"},
         {ADMIN, "SELECT COUNT(*) FROM msdb.dbo.sysjobs", 0, "2"},
         {AGENT, "SELECT name FROM msdb.dbo.sysjobs", 229, NONE}, {ADMIN, "USE master", 5701, NULL},
         {ADMIN, "SELECT state FROM catalog.alwayson_replicas", 208, NONE});
}

/* 1.4: no SMK wraps a restored key, not even on the server that it comes from. */
static void test_restored_database(void **state)
{
    struct setting *setting = *state;
    struct model_database *database = SSISDB(setting->model);

    assert_false(model_restore(database));
    model_backup(database);
    PLAY(state, {AGENT, ADD_PASSWORD("later"), 0, NULL});
    assert_true(model_restore(database));
    PLAY(state, {AGENT, FLAG, 0, "0"}, {AGENT, SIGNS, 0, NULL_VALUE},
         {AGENT, OPEN("later"), 15313, NULL}, {AGENT, OPEN("first"), 0, NULL},
         {AGENT, ADD_SMK, 0, NULL}, {OTHER, SIGNS, 0, "256"});
}

/* Everything else is 102, and noted as unknown. */
static void test_not_understood(void **state)
{
    static const char *const texts[] = {
        "SELECT",
        "SELECT 1 +",
        "SELECT 1 + 1",
        "SELECT nope",
        "SELECT NOPE(1)",
        "SELECT DB_NAME(1, 2)",
        "SELECT CAST(1 AS)",
        "SELECT CONVERT(int 1)",
        "SELECT 1 AS",
        "SELECT name FROM sys.nope",
        "SELECT nope FROM sys.databases",
        "SELECT name FROM sys.databases WHERE nope = 1",
        "SELECT name FROM sys.databases WHERE name BETWEEN 'a' AND 'b'",
        "SELECT name FROM sys.databases WHERE name = ",
        "SELECT name FROM sys.databases ORDER name",
        "SELECT name FROM sys.databases GROUP BY name",
        "SELECT COUNT(name) FROM sys.databases",
        "SELECT name, COUNT(*) FROM sys.databases",
        "BEGIN TRANSACTION named",
        "SELECT @@NOPE",
    };
    struct setting *setting = *state;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct reply reply = {0};

        if (statements_run(setting->sessions[AGENT], texts[i], &reply))
            fail_msg("understood: %s", texts[i]);
        assert_int_equal(reply.message_count, 1);
        assert_int_equal(reply.messages[0].number, 102);
        assert_null(reply.columns);
        reply_deinit(&reply);
    }
}

static void test_replicas(void **state)
{
    struct setting *setting = *state;

    PLAY(state, {AGENT, "SELECT COUNT(*) AS n FROM sys.availability_replicas", 0, "2"},
         {AGENT, "SELECT replica_server_name FROM sys.availability_replicas", 0, "SQL1"});
    model_set_quorum(setting->model, SQL1, MODEL_QUORUM_LOST);
    PLAY(state, {AGENT, "USE [master]", 5701, NULL},
         {AGENT, "SELECT COUNT(*) AS n FROM sys.availability_replicas", 0, "1"});
}

static void test_kill(void **state)
{
    struct setting *setting = *state;
    char kill_other[32], kill_self[32];

    snprintf(kill_other, sizeof(kill_other), "KILL %d", (int)setting->sessions[OTHER]->id);
    snprintf(kill_self, sizeof(kill_self), "KILL %d", (int)setting->sessions[ADMIN]->id);
    PLAY(state, {OTHER, "BEGIN TRANSACTION", 0, NULL},
         {OTHER, "ALTER MASTER KEY ADD ENCRYPTION BY PASSWORD = N'second'", 0, NULL},
         {AGENT, kill_other, 6102, NULL}, {ADMIN, kill_self, 6104, NULL},
         {ADMIN, "KILL 4711", 6106, NULL}, {ADMIN, kill_other, 0, NULL},
         {ADMIN, kill_other, 6106, NULL}, {AGENT, OPEN("second"), 15313, NULL});
    assert_true(setting->sessions[OTHER]->is_killed);
}

static void test_rights(void **state)
{
    PLAY(state, {ADMIN, "GRANT VIEW ANY DEFINITION TO [prober]", 4621, NULL},
         {ADMIN, "REVOKE CONTROL ON DATABASE::[SSISDB] FROM [agent]", 0, NULL},
         {AGENT, OPEN("first"), 15151, NULL},
         {AGENT, "GRANT CONTROL ON DATABASE::[SSISDB] TO [agent]", 15151, NULL},
         {ADMIN, "GRANT CONTROL ON DATABASE::[master] TO [agent]", 15151, NULL},
         {ADMIN, "GRANT CONTROL ON DATABASE::[SSISDB] TO [nobody]", 15151, NULL},
         {ADMIN, "GRANT CONTROL ON DATABASE::[SSISDB] TO [agent]", 0, NULL},
         {AGENT, OPEN("first"), 0, NULL}, {ADMIN, "USE [master]", 5701, NULL},
         {ADMIN, "REVOKE VIEW SERVER STATE FROM [prober]", 0, NULL},
         {PROBER, "SELECT quorum_state FROM sys.dm_hadr_cluster", 300, NULL},
         {ADMIN, "GRANT VIEW SERVER STATE TO [prober]", 0, NULL});
}

static void test_add_on_a_secondary(void **state)
{
    struct setting *setting = *state;

    SSISDB(setting->model)->content.key.service_key[0] = '\0';
    PLAY(state, {SECONDARY, ADD_SMK, 15581, NULL});
    setting->model->switches.readonly_add = SWITCH_READONLY_ADD_3906;
    PLAY(state, {SECONDARY, ADD_SMK, 3906, NULL}, {SECONDARY, OPEN("first"), 0, NULL},
         {SECONDARY, ADD_SMK, 3906, NULL});
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_service_key),
        TEST(test_create_and_drop),
        TEST(test_regenerate),
        TEST(test_backup_and_restore),
        TEST(test_restore_keeps_service_key),
        TEST(test_transactions),
        TEST(test_transaction_of_a_dead_session),
        TEST(test_stored_passwords),
        TEST(test_stored_password_on_a_secondary),
        TEST(test_lost_service_key),
        TEST(test_certificates_and_symmetric_keys),
        TEST(test_passwords_of_keys),
        TEST(test_application_locks),
        TEST(test_values),
        TEST(test_views),
        TEST(test_ssis_catalog),
        TEST(test_restored_database),
        TEST(test_replicas),
        TEST(test_kill),
        TEST(test_rights),
        TEST(test_add_on_a_secondary),
        TEST(test_not_understood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
