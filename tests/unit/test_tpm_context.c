/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_command.h"
#include "escrowd/tpm_context.h"
#include "tests/unit/swtpm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_check(void **state)
{
    CLEANUP(swtpm_stop) struct swtpm swtpm;
    CLEANUP(tpm_close_p) struct tpm *tpm = NULL;

    (void)state;
    swtpm_start(&swtpm);
    assert_int_equal(tpm_open(swtpm.setting, TPM_COMMAND_TIMEOUT_MS, &tpm), ESCROW_OK);
    assert_int_equal(tpm_check(tpm), ESCROW_OK);
    swtpm_kill(&swtpm);
    assert_int_equal(tpm_check(tpm), ESCROW_ERR_UNAVAILABLE);
    swtpm_restart(&swtpm);
    assert_int_equal(tpm_check(tpm), ESCROW_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
