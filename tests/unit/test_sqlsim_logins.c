/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/principal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { HERE, THERE };

static int set_up(void **state)
{
    struct principals *principals = calloc(1, sizeof(*principals));
    static const struct {
        const char *name;
        unsigned rights;
    } logins[] = {{"agent", 0}, {"sa", RIGHT_SYSADMIN}};

    if (!principals)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(logins); i++) {
        struct login *login = principals_add_login(principals, logins[i].name);

        login->password = strdup("pw");
        login->rights = logins[i].rights;
        login->instances = UINT64_MAX;
    }
    *state = principals;
    return 0;
}

static int tear_down(void **state)
{
    principals_deinit(*state);
    free(*state);
    return 0;
}

static int32_t log_in(struct principals *principals, const struct login_gate *gate,
                      const char *name, const char *password)
{
    const struct login *login = NULL;
    int32_t number = principals_log_in(principals, gate, name, password, &login);

    assert_int_equal(number == 0, login != NULL);
    return number;
}

/* Each reason to refuse, to one who knows the password and to one who does not. */
static void test_refusals(void **state)
{
    static const struct {
        struct login_gate gate;
        const char *name, *password;
        int32_t number;
        bool is_disabled, is_locked, is_expired, must_change;
    } cases[] = {
        {.name = "agent", .password = "pw", .number = 0},
        {.name = "AGENT", .password = "pw", .number = 0},
        {.name = "agent", .password = "wrong", .number = 18456},
        {.name = "nobody", .password = "pw", .number = 18456},
        {.is_disabled = true, .name = "agent", .password = "pw", .number = 18470},
        {.is_disabled = true, .name = "agent", .password = "wrong", .number = 18456},
        {.is_locked = true, .name = "agent", .password = "pw", .number = 18486},
        {.is_locked = true, .name = "agent", .password = "wrong", .number = 18486},
        {.is_locked = true,
         .gate.locked_needs_password = true,
         .name = "agent",
         .password = "wrong",
         .number = 18456},
        {.is_expired = true, .name = "agent", .password = "pw", .number = 18487},
        {.is_expired = true, .name = "agent", .password = "wrong", .number = 18456},
        {.must_change = true, .name = "agent", .password = "pw", .number = 18488},
        {.gate.is_upgrading = true, .name = "agent", .password = "pw", .number = 18401},
        {.gate.is_upgrading = true, .name = "sa", .password = "pw", .number = 0},
        {.gate.is_single_user = true, .name = "agent", .password = "pw", .number = 18461},
        {.gate.is_single_user = true, .name = "sa", .password = "pw", .number = 0},
        {.gate = {.is_single_user = true, .has_sessions = true},
         .name = "sa",
         .password = "pw",
         .number = 18461},
        /* what is counted on another instance does not count here */
        {.is_locked = true,
         .is_expired = true,
         .gate.instance = THERE,
         .name = "agent",
         .password = "pw",
         .number = 0},
    };
    struct principals *principals = *state;
    struct login *agent = &principals->logins[0];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        agent->is_disabled = cases[i].is_disabled;
        agent->locked = cases[i].is_locked ? 1 << HERE : 0;
        agent->expired = cases[i].is_expired ? 1 << HERE : 0;
        agent->must_change = cases[i].must_change ? 1 << HERE : 0;
        assert_int_equal(log_in(principals, &cases[i].gate, cases[i].name, cases[i].password),
                         cases[i].number);
    }
}

static void test_bad_passwords_lock(void **state)
{
    const struct login_gate gate = {.instance = HERE, .lockout_threshold = 3};
    const struct login_gate other = {.instance = THERE, .lockout_threshold = 3};
    const struct login_gate never = {.instance = THERE};
    struct principals *principals = *state;

    for (size_t round = 0; round < 2; round++) {
        assert_int_equal(log_in(principals, &gate, "agent", "a"), 18456);
        assert_int_equal(log_in(principals, &gate, "agent", "b"), 18456);
        assert_int_equal(log_in(principals, &gate, "agent", "pw"), 0); /* counts from 0 again */
    }
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(log_in(principals, &gate, "agent", "bad"), 18456);
    assert_int_equal(log_in(principals, &gate, "agent", "pw"), 18486);
    assert_int_equal(log_in(principals, &other, "agent", "pw"), 0);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(log_in(principals, &never, "agent", "bad"), 18456);
    assert_int_equal(log_in(principals, &never, "agent", "pw"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_passwords_lock, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
