/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_release.h"
#include "tests/unit/tpm_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct world {
    struct member member;
    struct deposit deposit;
};

static struct world world;

static int setup(void **state)
{
    member_start(&world.member);
    deposit_start(&world.deposit, &world.member);
    *state = &world;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    deposit_stop(&world.deposit);
    member_stop(&world.member);
    return 0;
}

static void assert_releases(struct world *w)
{
    CLEANUP(secret_free_p) struct secret *data = NULL;
    struct wrap_blob blob;

    assert_int_equal(tpm_release(w->member.tpm, &w->deposit.request, &blob), ESCROW_OK);
    assert_int_equal(wrap_open(&w->deposit.object, &blob, w->deposit.recipient.key, &data),
                     ESCROW_OK);
    assert_true(secret_equal(data, w->deposit.data));
}

static void test_release(void **state)
{
    struct world *w = *state;
    uint64_t before;

    assert_releases(w);
    before = tpm_commands(w->member.tpm);
    assert_releases(w);
    assert_int_equal(tpm_commands(w->member.tpm) - before, 14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_release, setup, teardown),
    };

    fixture_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
