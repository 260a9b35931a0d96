/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "libescrow/tsql_grants.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SID "0xa0a1a2a3a4a5a6a7a8a9aaabacadaeaf"

static char *text_of(enum tsql_login kind, const char *login, const char *database, bool startup)
{
    struct tsql_grants grants = {kind, login, database, {0}, startup};
    char *text = NULL;

    for (size_t i = 0; i < sizeof(grants.sid); i++)
        grants.sid[i] = (uint8_t)(0xa0 + i);
    assert_int_equal(tsql_grants(&grants, &text), ESCROW_OK);
    assert_non_null(text);
    return text;
}

static unsigned count(const char *text, const char *part)
{
    unsigned found = 0;

    while ((text = strstr(text, part)) != NULL) {
        found++;
        text += strlen(part);
    }
    return found;
}

#define HAS(text, part) assert_int_equal(count(text, part), 1)
#define LACKS(text, part) assert_int_equal(count(text, part), 0)

static void test_agent(void **state)
{
    CLEANUP(cleanup_free) char *text = text_of(TSQL_LOGIN_AGENT, "agent", "SSISDB", false);

    (void)state;
    HAS(text, "    EXEC (N'GRANT VIEW SERVER PERFORMANCE STATE TO [agent]');\n"
              "ELSE\n"
              "    GRANT VIEW SERVER STATE TO [agent];\n");
    HAS(text, "\nGRANT VIEW ANY DEFINITION TO [agent];\n");
    HAS(text, "\nGRANT CONNECT TO [agent];\n");
    HAS(text, "\nGRANT CONTROL ON CERTIFICATE::[escrowd_probe] TO [agent];\n");
    HAS(text, "\nGRANT CONTROL ON DATABASE::[SSISDB] TO [agent];\n");
    assert_int_equal(count(text, "GRANT "), 6);
    LACKS(text, "ALTER ROLE");
}

static void test_prober(void **state)
{
    CLEANUP(cleanup_free) char *text = text_of(TSQL_LOGIN_PROBER, "prober", "SSISDB", false);

    (void)state;
    HAS(text, "GRANT CONTROL ON CERTIFICATE::[escrowd_probe] TO [prober];\n");
    LACKS(text, "ON DATABASE::");
    LACKS(text, "ALTER ROLE");
    assert_int_equal(count(text, "GRANT "), 5);
}

static void test_catalog_startup(void **state)
{
    CLEANUP(cleanup_free) char *agent = text_of(TSQL_LOGIN_AGENT, "agent", "SSISDB", true);
    CLEANUP(cleanup_free) char *prober = text_of(TSQL_LOGIN_PROBER, "prober", "SSISDB", true);

    (void)state;
    HAS(agent, "ALTER ROLE [ssis_failover_monitoring_agent] ADD MEMBER [agent];\n");
    LACKS(prober, "ALTER ROLE");
}

/* Everything that fails where it exists stands behind a question. */
static void test_again(void **state)
{
    CLEANUP(cleanup_free) char *text = text_of(TSQL_LOGIN_AGENT, "agent", "SSISDB", true);

    (void)state;
    HAS(text, "IF SUSER_ID(N'agent') IS NULL\n    CREATE LOGIN [agent] ");
    HAS(text, "IF DATABASE_PRINCIPAL_ID(N''agent'') IS NULL\n    CREATE USER [agent] ");
    HAS(text, "IF CERT_ID(N''escrowd_probe'') IS NULL\n    CREATE CERTIFICATE [escrowd_probe]");
    assert_int_equal(count(text, "CREATE "), 3);
}

/* Once, in CREATE LOGIN: in another statement, or in a comment, traces would show it. */
static void test_password(void **state)
{
    CLEANUP(cleanup_free) char *text = text_of(TSQL_LOGIN_AGENT, "agent", "SSISDB", false);

    (void)state;
    HAS(text, "$(" TSQL_GRANTS_PASSWORD ")");
    HAS(text, "WITH PASSWORD = N'$(" TSQL_GRANTS_PASSWORD ")',\n"
              "        SID = " SID ", DEFAULT_DATABASE = [master],\n"
              "        CHECK_EXPIRATION = OFF, CHECK_POLICY = ON;\n");
    /* Without sqlcmd its name would be the password. */
    HAS(text, "\n:setvar ESCROW_SQLCMD yes\n");
    assert_true(strstr(text, "IF N'$(ESCROW_SQLCMD)' <> N'yes'\n") < strstr(text, "CREATE LOGIN"));
}

static void test_sid(void **state)
{
    CLEANUP(cleanup_free) char *text = text_of(TSQL_LOGIN_AGENT, "agent", "SSISDB", false);

    (void)state;
    assert_int_equal(count(text, SID), 2);
    HAS(text, "name = N'agent'\n    AND sid = " SID ")\n");
}

static void test_windows_account(void **state)
{
    CLEANUP(cleanup_free) char *text = text_of(TSQL_LOGIN_AGENT, "CORP\\agent$", "SSISDB", false);

    (void)state;
    HAS(text, "CREATE LOGIN [CORP\\agent$] FROM WINDOWS WITH DEFAULT_DATABASE = [master];\n");
    LACKS(text, "$(");
    LACKS(text, SID);
    LACKS(text, "PASSWORD");
    LACKS(text, ":setvar");
}

/* Names inside of the text inside of the text: quotes are doubled twice, brackets once. */
static void test_names_enter_quoted(void **state)
{
    CLEANUP(cleanup_free) char *text = text_of(TSQL_LOGIN_AGENT, "a'g]", "d'b]", false);

    (void)state;
    HAS(text, "IF SUSER_ID(N'a''g]') IS NULL\n    CREATE LOGIN [a'g]]] WITH");
    HAS(text, "EXEC (N'GRANT VIEW SERVER PERFORMANCE STATE TO [a''g]]]');");
    HAS(text, "IF sys.fn_hadr_is_primary_replica(N'd''b]') = 0\n");
    HAS(text, "EXEC [d'b]]].sys.sp_executesql N'\n");
    HAS(text, "IF DATABASE_PRINCIPAL_ID(N''a''''g]'') IS NULL\n"
              "    CREATE USER [a''g]]] FOR LOGIN [a''g]]];\n");
    HAS(text, "GRANT CONTROL ON DATABASE::[d''b]]] TO [a''g]]];\n");
}

static void test_refuses_names(void **state)
{
    static const char *const names[] = {"", "a\nGO\n", "a\x7f", "a\tb", "$(SECRET)"};
    char *text = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct tsql_grants login = {TSQL_LOGIN_AGENT, names[i], "SSISDB", {0}, false};
        const struct tsql_grants database = {TSQL_LOGIN_AGENT, "agent", names[i], {0}, false};

        assert_int_equal(tsql_grants(&login, &text), ESCROW_ERR_MALFORMED);
        assert_int_equal(tsql_grants(&database, &text), ESCROW_ERR_MALFORMED);
    }
    assert_null(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agent),           cmocka_unit_test(test_prober),
        cmocka_unit_test(test_catalog_startup), cmocka_unit_test(test_again),
        cmocka_unit_test(test_password),        cmocka_unit_test(test_sid),
        cmocka_unit_test(test_windows_account), cmocka_unit_test(test_names_enter_quoted),
        cmocka_unit_test(test_refuses_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
