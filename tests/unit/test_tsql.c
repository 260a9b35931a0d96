/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "libescrow/tsql.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OPEN_TEXT "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'"

static void check(char *text, const char *wanted)
{
    assert_non_null(text);
    assert_string_equal(text, wanted);
    free(text);
}

static void test_quote_text(void **state)
{
    (void)state;
    check(tsql_quote_text(""), "N''");
    check(tsql_quote_text("SSISDB"), "N'SSISDB'");
    check(tsql_quote_text("'"), "N''''");
    check(tsql_quote_text("O'Brien''s [db]"), "N'O''Brien''''s [db]'");
    check(tsql_quote_text("x'; DROP DATABASE [y]--"), "N'x''; DROP DATABASE [y]--'");
    check(tsql_quote_text("Gr\xc3\xb6\xc3\x9f"
                          "e \xf0\x9f\x94\x91"),
          "N'Gr\xc3\xb6\xc3\x9f"
          "e \xf0\x9f\x94\x91'");
    check(tsql_quote_text("back\\slash"), "N'back\\slash'");
}

static void test_quote_name(void **state)
{
    (void)state;
    check(tsql_quote_name("SSISDB"), "[SSISDB]");
    check(tsql_quote_name("a]b"), "[a]]b]");
    check(tsql_quote_name("[a]"), "[[a]]]");
    check(tsql_quote_name("it's"), "[it's]");
}

/* SQL Server would drop both characters from the literal. */
static void test_line_continuation_has_no_literal(void **state)
{
    static const struct tsql_target targets[] = {{"AG", "D"}, {"AG", "a\\\nb"}};

    (void)state;
    assert_null(tsql_quote_text("a\\\nb"));
    assert_null(tsql_quote_text("a\\\r\nb"));
    assert_null(tsql_state("AG", "a\\\nb"));
    assert_null(tsql_states(targets, ARRAY_LEN(targets)));
    assert_null(tsql_states(targets, 0));
    assert_null(tsql_use("a\\\nb"));
    check(tsql_quote_text("a\nb\\"), "N'a\nb\\'");
}

static void check_open(const char *password, size_t len, const char *wanted)
{
    CLEANUP(secret_free_p) struct secret *secret = secret_from(password, len);
    CLEANUP(secret_free_p) struct secret *text = NULL;

    assert_non_null(secret);
    text = tsql_open_master_key(secret);
    assert_non_null(text);
    assert_int_equal(text->len, strlen(wanted));
    assert_memory_equal(text->bytes, wanted, text->len);
}

static void test_open_master_key(void **state)
{
    char quotes[128], wanted[sizeof(OPEN_TEXT) + 2 * sizeof(quotes) + 1] = OPEN_TEXT;

    (void)state;
    check_open("S3cret", 6, OPEN_TEXT "S3cret'");
    check_open("p'2", 3, OPEN_TEXT "p''2'");
    check_open("a]b{c}?;\"%s\\", 12, OPEN_TEXT "a]b{c}?;\"%s\\'");
    check_open("\xf0\x9f\x94\x91", 4, OPEN_TEXT "\xf0\x9f\x94\x91'");

    /* 128 quotes are 256 in the literal. */
    memset(quotes, '\'', sizeof(quotes));
    memset(wanted + sizeof(OPEN_TEXT) - 1, '\'', 2 * sizeof(quotes) + 1);
    check_open(quotes, sizeof(quotes), wanted);
}

static void test_open_master_key_refuses(void **state)
{
    CLEANUP(secret_free_p) struct secret *nul = secret_from("a\0b", 3);
    CLEANUP(secret_free_p) struct secret *continuation = secret_from("a\\\nb", 4);

    (void)state;
    assert_null(tsql_open_master_key(nul));
    assert_null(tsql_open_master_key(continuation));
}

static void test_nonce(void **state)
{
    uint8_t nonce[TSQL_NONCE_BYTES] = {0x00, 0xab};

    (void)state;
    nonce[31] = 0x7f;
    check(tsql_set_context(nonce),
          "SET CONTEXT_INFO 0x00ab00000000000000000000000000000000000000000000000000000000007f");
    check(tsql_commit_echo(nonce),
          "IF EXISTS (SELECT 1 FROM sys.extended_properties WHERE class = 0 AND name = "
          "N'escrowd_echo') EXEC sys.sp_updateextendedproperty @name = N'escrowd_echo', @value = "
          "0x00ab00000000000000000000000000000000000000000000000000000000007f; ELSE EXEC "
          "sys.sp_addextendedproperty @name = N'escrowd_echo', @value = "
          "0x00ab00000000000000000000000000000000000000000000000000000000007f");
    check(tsql_find_echo(nonce, "d]b"),
          "SELECT 1 AS is_found FROM [d]]b].sys.extended_properties WHERE class = 0 AND name = "
          "N'escrowd_echo' AND CONVERT(varbinary(32), value) = "
          "0x00ab00000000000000000000000000000000000000000000000000000000007f");
    check(tsql_find_session(nonce, "d'agent"),
          "SELECT session_id FROM sys.dm_exec_sessions WHERE SUBSTRING(context_info, 1, 32) = "
          "0x00ab00000000000000000000000000000000000000000000000000000000007f"
          " AND original_login_name = N'd''agent'");
}

static void test_names_enter_quoted(void **state)
{
    static const struct tsql_target targets[] = {{"a'g", "d'b"}, {"AG", "D"}};
    char *text = tsql_state("a'g", "d'b");

    (void)state;
    assert_non_null(text);
    assert_non_null(strstr(text, " AND d.name = N'd''b' WHERE "));
    assert_non_null(strstr(text, " AND ag.name = N'a''g'"));
    free(text);

    text = tsql_local("a'g", "d'b");
    assert_non_null(text);
    assert_non_null(strstr(text, "DATABASEPROPERTYEX(N'd''b', N'Updateability')"));
    assert_non_null(strstr(text, " AND ag.name = N'a''g'"));
    free(text);

    text = tsql_readers("a'g");
    assert_non_null(text);
    assert_non_null(strstr(text, " AND ag.name = N'a''g'"));
    free(text);

    text = tsql_members("a'g");
    assert_non_null(text);
    assert_non_null(strstr(text, " AND ag.name = N'a''g' ORDER BY "));
    free(text);

    text = tsql_states(targets, ARRAY_LEN(targets));
    assert_non_null(text);
    assert_non_null(
        strstr(text, " FROM (VALUES (0, N'a''g', N'd''b'), (1, N'AG', N'D')) AS wanted "));
    free(text);

    check(tsql_use("d]b"), "USE [d]]b]");
    check(tsql_catalog_startup("SSISDB"), "EXEC [SSISDB].[catalog].[startup]");
}

/* Nothing but one statement in each: traces leave out a batch by its statement. */
static void test_fixed_texts(void **state)
{
    (void)state;
    check(tsql_quorum(), "SELECT quorum_state FROM sys.dm_hadr_cluster");
    check(tsql_opens(), "SELECT DATALENGTH(SIGNBYCERT(CERT_ID(N'escrowd_probe'), N'escrowd'))"
                        " AS signature_bytes");
    check(tsql_add_service_master_key(), "ALTER MASTER KEY ADD ENCRYPTION BY SERVICE MASTER KEY");
    check(tsql_close_master_key(), "CLOSE MASTER KEY");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quote_text),
        cmocka_unit_test(test_quote_name),
        cmocka_unit_test(test_line_continuation_has_no_literal),
        cmocka_unit_test(test_open_master_key),
        cmocka_unit_test(test_open_master_key_refuses),
        cmocka_unit_test(test_nonce),
        cmocka_unit_test(test_names_enter_quoted),
        cmocka_unit_test(test_fixed_texts),
    };

    if (secret_heap_init() != ESCROW_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
