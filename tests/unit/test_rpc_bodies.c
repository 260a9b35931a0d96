/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/rpc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NAME "000b1111111111111111111111111111111111111111111111111111111111111111"

static enum escrow_err parse(const char *text, struct rpc_challenge *ret_challenge)
{
    return rpc_challenge_parse(text, strlen(text), ret_challenge);
}

static void test_challenge_and_back(void **state)
{
    struct rpc_challenge challenge = {.act = ACT_RELEASE,
                                      .purpose = PURPOSE_PROMOTE,
                                      .subject = {"AG1", "A \"quoted\" database"}};
    struct rpc_challenge again;
    CLEANUP(cleanup_free) char *text = NULL;

    (void)state;
    memset(challenge.key.bytes, 0x11, sizeof(challenge.key.bytes));
    text = rpc_challenge_text(&challenge);
    assert_int_equal(parse(text, &again), ESCROW_OK);
    assert_int_equal(again.act, challenge.act);
    assert_int_equal(again.purpose, challenge.purpose);
    assert_string_equal(again.subject.group, challenge.subject.group);
    assert_string_equal(again.subject.database, challenge.subject.database);
    assert_true(tpm_name_equal(&again.key, &challenge.key));
}

static void test_challenge_refused(void **state)
{
    static const char good[] = "{\"v\":1,\"act\":\"deposit\",\"purpose\":\"deposit\",\"group\":"
                               "\"AG1\",\"database\":\"d\",\"key\":\"" NAME "\"}";
    static const struct {
        const char *from, *to;
    } edits[] = {
        {"\"v\":1", "\"v\":2"},
        {"\"v\":1,", ""},
        {"\"v\":1", "\"v\":1,\"more\":1"},
        {"\"v\":1", "\"v\":1,\"v\":1"},
        {"\"act\":\"deposit\"", "\"act\":\"withdraw\""},
        {"\"act\":\"deposit\"", "\"act\":\"release\""}, /* not for that purpose */
        {"\"purpose\":\"deposit\"", "\"purpose\":\"promote\""},
        {"\"act\":\"deposit\",\"purpose\":\"deposit\"",
         "\"act\":\"publish\",\"purpose\":\"publish\""}, /* is about no secret */
        {"AG1", ""},
        {"AG1", "a/b"},
        {"\"d\"", "\"\""},
        {"\"d\"", "null"},
        {NAME, "000b"},
        {"}", "}}"},
    };
    struct rpc_challenge challenge;

    (void)state;
    assert_int_equal(parse(good, &challenge), ESCROW_OK);
    for (size_t i = 0; i < ARRAY_LEN(edits); i++) {
        const char *found = strstr(good, edits[i].from);
        char edited[512];

        assert_non_null(found);
        snprintf(edited, sizeof(edited), "%.*s%s%s", (int)(found - good), good, edits[i].to,
                 found + strlen(edits[i].from));
        assert_int_equal(parse(edited, &challenge), ESCROW_ERR_MALFORMED);
    }
}

static void test_wrap(void **state)
{
    static const char *const refused[] = {
        "{\"answer\":\"a.b.c\"}",        "{\"act\":1}", "{}", "[]", "{\"act\":\"\"}",
        "{\"act\":\"a\",\"more\":\"b\"}"};
    CLEANUP(cleanup_free) char *text = rpc_wrap("act", "a.b.c");
    CLEANUP(cleanup_free) char *compact = NULL, *none = NULL;

    (void)state;
    assert_string_equal(text, "{\"act\":\"a.b.c\"}");
    assert_int_equal(rpc_unwrap(text, strlen(text), "act", &compact), ESCROW_OK);
    assert_string_equal(compact, "a.b.c");
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        assert_int_equal(rpc_unwrap(refused[i], strlen(refused[i]), "act", &none),
                         ESCROW_ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_challenge_and_back),
        cmocka_unit_test(test_challenge_refused),
        cmocka_unit_test(test_wrap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
