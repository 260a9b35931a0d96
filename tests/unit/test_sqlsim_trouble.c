/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/trouble.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define WORDS_MAX 16

/* Adds a rule from words that end with NULL; what is wrong with it, or NULL. */
static const char *add(struct troubles *troubles, const char *const *words)
{
    const char *problem = NULL;
    size_t count = 0;

    while (words[count])
        count++;
    if (!troubles_add(troubles, words, count, &problem))
        return NULL;
    assert_non_null(problem);
    return problem;
}

static enum trouble_kind meet(struct troubles *troubles, enum trouble_stage stage,
                              const char *login, const char *statement, const char *from)
{
    struct trouble_occasion occasion = {.stage = stage, .login = login, .statement = statement};
    const struct trouble *met;

    assert_int_equal(inet_pton(AF_INET, from, &occasion.from), 1);
    met = troubles_meet(troubles, &occasion);
    return met ? met->kind : TROUBLE_NONE;
}

static void test_what_is_refused(void **state)
{
    static const struct {
        const char *words[WORDS_MAX];
        const char *problem;
    } cases[] = {
        {{NULL}, "no such trouble"},
        {{"flood"}, "no such trouble"},
        {{"slow"}, "wrong number of arguments"},
        {{"slow", "1", "2"}, "wrong number of arguments"},
        {{"drip", "1"}, "wrong number of arguments"},
        {{"block", "1"}, "wrong number of arguments"},
        {{"error", "1", "2", "3", "4"}, "arguments are at most three numbers"},
        {{"error", "x"}, "arguments are at most three numbers"},
        {{"error", "99999999999"}, "arguments are at most three numbers"},
        {{"drip", "0", "1"}, "a drip has at least one byte"},
        {{"hang", "--at"}, "no such option or value"},
        {{"hang", "--at", "noon"}, "no such option or value"},
        {{"hang", "--from", "localhost"}, "no such option or value"},
        {{"hang", "--count", "-1"}, "no such option or value"},
        {{"hang", "--who", "1"}, "no such option or value"},
        {{"block", "--at", "login"}, "this trouble cannot come at that stage"},
        {{"error", "596", "--at", "prelogin"}, "this trouble cannot come at that stage"},
        {{"slow", "1", "--at", "accept"}, "this trouble cannot come at that stage"},
        {{"partition", "--at", "login"}, "this trouble cannot come at that stage"},
        {{"hang", "--at", "tls", "--login", "a"}, "the login is not known at that stage"},
        {{"hang", "--at", "login", "--statement", "a"}, "there is no statement at that stage"},
        {{"partition", "--statement", "a"}, "there is no statement at that stage"},
        {{"hang", "7", "--at", "query"}, "nothing is answered at that stage"},
        {{"close", "7", "--at", "accept"}, "nothing is answered at that stage"},
    };
    CLEANUP(troubles_deinit) struct troubles troubles = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(add(&troubles, cases[i].words), cases[i].problem);
    assert_int_equal(troubles.count, 0);
    for (size_t i = 0; i < TROUBLES_MAX; i++)
        assert_null(add(&troubles, (const char *const[]){"hang", "--login", "a", NULL}));
    assert_string_equal(add(&troubles, (const char *const[]){"hang", NULL}), "too many troubles");
}

static void test_stages(void **state)
{
    static const struct {
        const char *words[WORDS_MAX];
        enum trouble_stage stage;
        enum trouble_kind kind;
    } cases[] = {
        {{"hang"}, TROUBLE_QUERY, TROUBLE_HANG},
        {{"hang", "7"}, TROUBLE_ANSWER, TROUBLE_HANG},
        {{"close", "0"}, TROUBLE_ANSWER, TROUBLE_CLOSE},
        {{"close", "9", "--at", "prelogin"}, TROUBLE_PRELOGIN, TROUBLE_CLOSE},
        {{"reset", "--at", "accept"}, TROUBLE_ACCEPT, TROUBLE_RESET},
        {{"slow", "5"}, TROUBLE_ANSWER, TROUBLE_SLOW},
        {{"drip", "1", "2", "--at", "tls"}, TROUBLE_TLS, TROUBLE_DRIP},
        {{"garbage", "5", "--at", "login"}, TROUBLE_LOGIN, TROUBLE_GARBAGE},
        {{"hang", "--at", "attention"}, TROUBLE_ATTENTION, TROUBLE_HANG},
        {{"error", "1205"}, TROUBLE_QUERY, TROUBLE_ERROR},
        {{"block"}, TROUBLE_QUERY, TROUBLE_BLOCK},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(troubles_deinit) struct troubles troubles = {0};

        assert_null(add(&troubles, cases[i].words));
        for (int stage = TROUBLE_ACCEPT; stage < TROUBLE_ANY; stage++)
            assert_int_equal(meet(&troubles, (enum trouble_stage)stage, "a", "S", "127.0.0.1"),
                             stage == (int)cases[i].stage ? cases[i].kind : TROUBLE_NONE);
    }
}

static void test_whom_it_strikes(void **state)
{
    CLEANUP(troubles_deinit) struct troubles troubles = {0};

    (void)state;
    assert_null(add(&troubles, (const char *const[]){"hang", "--login", "prober", "--statement",
                                                     "quorum", NULL}));
    assert_null(add(&troubles, (const char *const[]){"partition", "--from", "127.0.0.5", NULL}));
    assert_int_equal(meet(&troubles, TROUBLE_QUERY, "agent", "SELECT quorum", "127.0.0.1"),
                     TROUBLE_NONE);
    assert_int_equal(meet(&troubles, TROUBLE_QUERY, "PROBER", "SELECT quorum", "127.0.0.1"),
                     TROUBLE_HANG);
    assert_int_equal(meet(&troubles, TROUBLE_QUERY, "prober", "SELECT 1", "127.0.0.1"),
                     TROUBLE_NONE);
    assert_int_equal(troubles.hits, 1);
    for (int stage = TROUBLE_ACCEPT; stage < TROUBLE_ANY; stage++)
        assert_int_equal(meet(&troubles, (enum trouble_stage)stage, NULL, NULL, "127.0.0.5"),
                         TROUBLE_HANG);
    troubles_clear(&troubles);
    assert_int_equal(meet(&troubles, TROUBLE_ACCEPT, NULL, NULL, "127.0.0.5"), TROUBLE_NONE);
    assert_int_equal(troubles.hits, 1 + TROUBLE_ANY);
}

static void test_when_it_strikes(void **state)
{
    static const bool strikes[] = {false, false, true, true, true, false, false};
    CLEANUP(troubles_deinit) struct troubles troubles = {0};

    (void)state;
    assert_null(
        add(&troubles, (const char *const[]){"close", "--after", "2", "--count", "3", NULL}));
    for (size_t i = 0; i < ARRAY_LEN(strikes); i++)
        assert_int_equal(meet(&troubles, TROUBLE_QUERY, "a", "S", "127.0.0.1"),
                         strikes[i] ? TROUBLE_CLOSE : TROUBLE_NONE);
}

/* The first that strikes; one that is used up leaves its place to the next. */
static void test_several(void **state)
{
    CLEANUP(troubles_deinit) struct troubles troubles = {0};

    (void)state;
    assert_null(add(&troubles, (const char *const[]){"error", "1205", "--count", "1", NULL}));
    assert_null(add(&troubles, (const char *const[]){"hang", NULL}));
    assert_int_equal(meet(&troubles, TROUBLE_QUERY, "a", "S", "127.0.0.1"), TROUBLE_ERROR);
    assert_int_equal(meet(&troubles, TROUBLE_QUERY, "a", "S", "127.0.0.1"), TROUBLE_HANG);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_refused), cmocka_unit_test(test_stages),
        cmocka_unit_test(test_whom_it_strikes), cmocka_unit_test(test_when_it_strikes),
        cmocka_unit_test(test_several),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
