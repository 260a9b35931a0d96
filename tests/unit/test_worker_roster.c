/* SPDX-License-Identifier: Apache-2.0 */
#include "client/worker_roster.h"
#include "libescrow/cleanup.h"
#include "libescrow/file.h"
#include "tests/unit/fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[256], state_file[300];

static int make_folder(void **state)
{
    const char *parent = getenv("TMPDIR");

    (void)state;
    snprintf(folder, sizeof(folder), "%s/roster.XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(folder))
        return 1;
    snprintf(state_file, sizeof(state_file), "%s/version", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(state_file);
    return rmdir(folder);
}

/* Offers the fixture's roster with this version. */
static enum escrow_err offer(const struct fixture *fixture, int version, EVP_PKEY *authority)
{
    json_t *payload = fixture_roster_payload(fixture);
    CLEANUP(roster_free_p) struct roster *made = NULL, *accepted = NULL;
    const char *text = NULL, *compact;
    enum escrow_err err;

    json_object_set_new(payload, "version", json_integer(version));
    assert_int_equal(roster_sign(payload, fixture->authority, &made), ESCROW_OK);
    json_decref(payload);
    compact = roster_compact(made);
    err = worker_roster_accept(compact, strlen(compact), authority, state_file, &accepted, &text);
    if (err)
        assert_non_null(text);
    else
        assert_int_equal(roster_version(accepted), version);
    return err;
}

static void expect_state(const char *content)
{
    CLEANUP(cleanup_free) char *text = NULL;
    struct stat status;
    size_t len;

    assert_int_equal(file_read(state_file, 100, &text, &len), ESCROW_OK);
    assert_string_equal(text, content);
    assert_int_equal(stat(state_file, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void test_never_back(void **state)
{
    const struct fixture *fixture = *state;

    assert_int_equal(offer(fixture, 3, fixture->authority), ESCROW_OK);
    expect_state("3\n");
    assert_int_equal(offer(fixture, 3, fixture->authority), ESCROW_OK);
    assert_int_equal(offer(fixture, 2, fixture->authority), ESCROW_ERR_DENIED);
    expect_state("3\n");
    assert_int_equal(offer(fixture, 12, fixture->authority), ESCROW_OK);
    expect_state("12\n");
    assert_int_equal(offer(fixture, 3, fixture->authority), ESCROW_ERR_DENIED);
}

static void test_only_our_authority(void **state)
{
    const struct fixture *fixture = *state;

    assert_int_equal(offer(fixture, 100, fixture->admin), ESCROW_ERR_CRYPTO);
    assert_int_not_equal(access(state_file, F_OK), 0);
}

/* A state file that cannot be understood is not taken for "nothing seen yet". */
static void test_broken_state(void **state)
{
    static const char *const broken[] = {"", "3", "x\n", "3\n4\n", "-1\n ", "3 \n"};
    const struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        assert_int_equal(file_replace(state_file, 0600, broken[i], strlen(broken[i])), ESCROW_OK);
        if (offer(fixture, 5, fixture->authority) != ESCROW_ERR_CONFIG)
            fail_msg("state \"%s\"", broken[i]);
    }
}

static void test_no_folder(void **state)
{
    const struct fixture *fixture = *state;
    char kept[sizeof(state_file)];

    memcpy(kept, state_file, sizeof(kept));
    snprintf(state_file, sizeof(state_file), "%s/nothing/version", folder);
    assert_int_equal(offer(fixture, 5, fixture->authority), ESCROW_ERR_SYSTEM);
    memcpy(state_file, kept, sizeof(kept));
}

/* A process that was stopped while it held the lock must not hold up a promotion for ever. */
static void test_lock_is_held(void **state)
{
    const struct fixture *fixture = *state;
    int held = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_int_equal(flock(held, LOCK_EX), 0);
    assert_int_equal(offer(fixture, 3, fixture->authority), ESCROW_ERR_SYSTEM);
    assert_int_equal(close(held), 0);
    assert_int_equal(offer(fixture, 3, fixture->authority), ESCROW_OK);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_never_back, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_only_our_authority, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_broken_state, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_no_folder, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_lock_is_held, make_folder, remove_folder),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
