/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/keeper_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int set_up(void **state)
{
    static struct keeper_fixture fx;

    fx_start(&fx);
    *state = &fx;
    return 0;
}

static int tear_down(void **state)
{
    fx_stop(*state);
    return 0;
}

static void assert_opens(const struct answer *grant, EVP_PKEY *recipient, const char *expected)
{
    CLEANUP(secret_free_p) struct secret *password = fx_open(grant, recipient);

    assert_int_equal(password->len, strlen(expected));
    assert_memory_equal(password->bytes, expected, password->len);
}

static void test_straight_path(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = NULL, *noted = NULL;
    CLEANUP(act_free_p) struct act *receipt = act_new(ACT_RECEIPT);

    fx_publish(fx);
    fx_deposit(fx, FX_PASSWORD);
    fx_wait_primary(fx, "node-a");
    fx_set_primary(fx, 1);
    grant = fx_release(fx, FX_AGENT_B, recipient);
    assert_non_null(grant);
    assert_int_equal(grant->grant.reason, REASON_PROMOTION);
    assert_int_equal(grant->grant.epoch, 2);
    assert_opens(grant, recipient, FX_PASSWORD);

    receipt->purpose = PURPOSE_PROMOTE;
    snprintf(receipt->receipt.replica, sizeof(receipt->receipt.replica), "node-b");
    receipt->receipt.grant = grant->sequence;
    receipt->receipt.outcome = OUTCOME_OPENED;
    noted = fx_act(fx, FX_AGENT_B, ROUTE_RECEIPT, receipt);
    assert_non_null(noted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_straight_path, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
