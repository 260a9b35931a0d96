/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/principal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int set_up(void **state)
{
    struct logins *logins = calloc(1, sizeof(*logins));
    static const struct {
        const char *name;
        unsigned rights;
    } known[] = {{"agent", 0}, {"sa", RIGHT_SYSADMIN}};

    if (!logins)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        struct login *login = logins_add(logins, known[i].name);

        login->password = strdup("pw");
        login->rights = known[i].rights;
    }
    *state = logins;
    return 0;
}

static int tear_down(void **state)
{
    logins_deinit(*state);
    free(*state);
    return 0;
}

static int32_t log_in(struct logins *logins, const struct login_gate *gate, const char *name,
                      const char *password)
{
    struct login *login = NULL;
    int32_t number = logins_log_in(logins, gate, name, password, &login);

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
    };
    struct logins *logins = *state;
    struct login *agent = &logins->entries[0];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        agent->is_disabled = cases[i].is_disabled;
        agent->is_locked = cases[i].is_locked;
        agent->is_expired = cases[i].is_expired;
        agent->must_change = cases[i].must_change;
        assert_int_equal(log_in(logins, &cases[i].gate, cases[i].name, cases[i].password),
                         cases[i].number);
    }
}

static void test_bad_passwords_lock(void **state)
{
    const struct login_gate gate = {.lockout_threshold = 3};
    const struct login_gate never = {0};
    struct logins *logins = *state;

    for (size_t round = 0; round < 2; round++) {
        assert_int_equal(log_in(logins, &gate, "agent", "a"), 18456);
        assert_int_equal(log_in(logins, &gate, "agent", "b"), 18456);
        assert_int_equal(log_in(logins, &gate, "agent", "pw"), 0); /* counts from 0 again */
    }
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(log_in(logins, &gate, "agent", "bad"), 18456);
    assert_int_equal(log_in(logins, &gate, "agent", "pw"), 18486);
    logins->entries[0].is_locked = false;
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(log_in(logins, &never, "agent", "bad"), 18456);
    assert_int_equal(log_in(logins, &never, "agent", "pw"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_passwords_lock, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
