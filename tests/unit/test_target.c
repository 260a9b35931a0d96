/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Keeper and prober count alike, each by its own policy: of the same file. */

#define GROUP(name, databases, others)                                                             \
    "  - name: " name "\n"                                                                         \
    "    availability_group: AG-" name "\n"                                                        \
    "    databases: [" databases "]\n"                                                             \
    "    replicas: [{instance: a, server_name: A}, " others "]\n"
#define B "{instance: b, server_name: B}"
#define C "{instance: c, server_name: C}"

static const char rules[] =
    "groups:\n" GROUP("one", "x, y", B) GROUP("two", "x", C) GROUP("three", "z, y, x", B ", " C);

static int set_up(void **state)
{
    struct config_report report = {0};
    struct policy *policy = NULL;
    enum escrow_err err = policy_load_bytes(rules, strlen(rules), "rules", &report, &policy);

    *state = policy;
    return err ? -1 : 0;
}

static int tear_down(void **state)
{
    policy_free(*state);
    return 0;
}

/* Every target of the list has its place as its number, and there are so many. */
static void check(const struct policy *policy, const char *instance, const char *expected)
{
    CLEANUP(cleanup_free) struct target *targets = NULL;
    char found[64] = "";
    uint32_t number = UINT32_MAX;
    size_t count = 0, used = 0;

    assert_int_equal(target_list(policy, instance, &targets, &count), ESCROW_OK);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(target_number(policy, instance, &targets[i], &number), ESCROW_OK);
        assert_int_equal(number, i);
        used += (size_t)snprintf(found + used, sizeof(found) - used, "%s/%s ",
                                 targets[i].group->name, targets[i].database);
    }
    assert_string_equal(found, expected);
}

static void test_numbers(void **state)
{
    check(*state, "a", "one/x one/y two/x three/z three/y three/x ");
    check(*state, "b", "one/x one/y three/z three/y three/x ");
    check(*state, "c", "two/x three/z three/y three/x ");
    check(*state, "nobody", "");
}

static void test_not_of_the_instance(void **state)
{
    struct target target;
    uint32_t number;

    assert_int_equal(target_find(*state, &(struct act_subject){"two", "x"}, &target), REASON_NONE);
    assert_int_equal(target_number(*state, "b", &target, &number), ESCROW_ERR_NOT_FOUND);
    assert_int_equal(target_find(*state, &(struct act_subject){"two", "y"}, &target),
                     REASON_DATABASE_UNKNOWN);
    assert_int_equal(target_find(*state, &(struct act_subject){"four", "x"}, &target),
                     REASON_GROUP_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_not_of_the_instance),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
