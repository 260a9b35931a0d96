/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_command.h"
#include "escrowd/tpm_context.h"
#include "tests/unit/tpm_raw.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct member member;
static struct deposit deposit;

static int setup(void **state)
{
    (void)state;
    member_start(&member);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    member_stop(&member);
    return 0;
}

static void test_settings(void **state)
{
    static const char *const refused[] = {"",
                                          "swtpm:",
                                          "swtpm:path=",
                                          "swtpm:path=relative",
                                          "swtpm:host=localhost,port=2321",
                                          "device:",
                                          "device:dev/tpm0",
                                          "mssim",
                                          "/dev/tpm0"};
    char longest[160] = "swtpm:path=/";
    struct tpm *tpm = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        assert_int_equal(tpm_open(refused[i], TPM_COMMAND_TIMEOUT_MS, &tpm), ESCROW_ERR_CONFIG);
    memset(longest + 12, 'x', 107); /* with the slash 108 bytes, and no room for the NUL */
    assert_int_equal(tpm_open(longest, TPM_COMMAND_TIMEOUT_MS, &tpm), ESCROW_ERR_CONFIG);
    assert_null(tpm);
    longest[12 + 106] = '\0';
    assert_int_equal(tpm_open(longest, TPM_COMMAND_TIMEOUT_MS, &tpm), ESCROW_OK);
    assert_int_equal(tpm_check(tpm), ESCROW_ERR_UNAVAILABLE);
    tpm_close(tpm);
    tpm = NULL;
    assert_int_equal(tpm_open("device:/dev/null", TPM_COMMAND_TIMEOUT_MS, &tpm), ESCROW_OK);
    assert_int_equal(tpm_check(tpm), ESCROW_ERR_UNAVAILABLE);
    tpm_close(tpm);
}

static void test_comes_back_by_itself(void **state)
{
    (void)state;
    assert_int_equal(tpm_check(member.tpm), ESCROW_OK);
    swtpm_kill(&member.swtpm);
    assert_int_equal(tpm_check(member.tpm), ESCROW_ERR_UNAVAILABLE);
    assert_int_equal(tpm_check(member.tpm), ESCROW_ERR_UNAVAILABLE);
    swtpm_restart(&member.swtpm);
    assert_int_equal(tpm_check(member.tpm), ESCROW_OK);
}

static void test_another_tpm(void **state)
{
    struct member other;

    (void)state;
    member_start(&other);
    tpm_attach(other.tpm, &member.names, member.auths.storage);
    assert_int_equal(tpm_check(other.tpm), ESCROW_ERR_NOT_FOUND);
    tpm_attach(other.tpm, &other.names, other.auths.storage);
    assert_int_equal(tpm_check(other.tpm), ESCROW_OK);
    /* One wrong Name is enough. */
    tpm_attach(other.tpm,
               &(struct tpm_names){other.names.storage, other.names.audit, member.names.counter},
               other.auths.storage);
    assert_int_equal(tpm_check(other.tpm), ESCROW_ERR_NOT_FOUND);
    member_stop(&other);
}

static TSS2_RC leave_a_session(void)
{
    const TPMT_SYM_DEF no_cipher = {.algorithm = TPM2_ALG_NULL};
    const TPM2B_ENCRYPTED_SECRET no_salt = {.size = 0};
    const TPM2B_NONCE nonce = {.size = 16};
    TPM2B_NONCE nonce_tpm = {0};
    TPM2_HANDLE session;

    return Tss2_Sys_StartAuthSession(member.tpm->sys, TPM2_RH_NULL, TPM2_RH_NULL, NULL, &nonce,
                                     &no_salt, TPM2_SE_POLICY, &no_cipher, TPM2_ALG_SHA256,
                                     &session, &nonce_tpm, NULL);
}

/* Another user of the TPM takes all slots for objects and sessions while we are connected. */
static void test_a_full_tpm(void **state)
{
    struct actor actor;
    struct wrap_blob blob;

    (void)state;
    actor_new(&actor);
    deposit_start(&deposit, &member);
    member_reopen(&member); /* the session that the deposit used is given back */
    assert_int_equal(tpm_check(member.tpm), ESCROW_OK);
    for (int i = 0; i < 3; i++) {
        struct tpm_object object = {.tpm = member.tpm};

        assert_int_equal(leave_a_session(), 0);
        assert_int_equal(tpm_load_point(KEY_SIGNER, &actor.point, TPM2_RH_NULL, &object),
                         ESCROW_OK);
    }
    assert_int_equal(leave_a_session(), RAW_SESSION_MEMORY);
    assert_int_equal(tpm_release(member.tpm, &deposit.request, &blob), ESCROW_OK);
    deposit_stop(&deposit);
    actor_free(&actor);
}

static void test_leftovers_of_a_crash(void **state)
{
    struct raw raw;
    struct wrap_blob blob;

    (void)state;
    deposit_start(&deposit, &member);
    for (int i = 0; i < 5; i++) {
        raw_start(&raw, &member);
        raw_load(&raw, &deposit);
        /* The next process knows nothing of these handles. */
        member_reopen(&member);
    }
    assert_int_equal(tpm_release(member.tpm, &deposit.request, &blob), ESCROW_OK);
    deposit_stop(&deposit);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void test_a_hung_tpm_has_a_deadline(void **state)
{
    CLEANUP(tpm_close_p) struct tpm *tpm = NULL;
    int64_t start;

    (void)state;
    assert_int_equal(tpm_open(member.swtpm.setting, 200, &tpm), ESCROW_OK);
    assert_int_equal(tpm_check(tpm), ESCROW_OK);
    kill(member.swtpm.pid, SIGSTOP);
    start = now_ms();
    assert_int_equal(tpm_check(tpm), ESCROW_ERR_UNAVAILABLE);
    assert_in_range(now_ms() - start, 190, 5000);
    kill(member.swtpm.pid, SIGCONT);
    /* The command of before is still answered first, to nobody. */
    assert_int_equal(tpm_check(member.tpm), ESCROW_OK);
    assert_int_equal(tpm_check(tpm), ESCROW_OK);
}

static uint32_t lockout_counter(void)
{
    TPMS_CAPABILITY_DATA data = {0};
    TPMI_YES_NO more;

    assert_int_equal(tpm_check(member.tpm), ESCROW_OK);
    assert_int_equal(Tss2_Sys_GetCapability(member.tpm->sys, NULL, TPM2_CAP_TPM_PROPERTIES,
                                            TPM2_PT_LOCKOUT_COUNTER, 1, &more, &data, NULL),
                     0);
    return data.data.tpmProperties.tpmProperty[0].value;
}

/* Power cuts, and a keeper with a wrong auth value, must not lead to a locked TPM. */
static void test_no_dictionary_attack_lockout(void **state)
{
    CLEANUP(secret_free_p) struct secret *wrong = secret_random(TPM_AUTH_BYTES);
    struct wrap_blob blob;
    struct raw raw;

    (void)state;
    deposit_start(&deposit, &member);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(tpm_release(member.tpm, &deposit.request, &blob), ESCROW_OK);
        raw_start(&raw, &member);
        assert_int_equal(raw_load_by(&raw, &deposit, wrong), RAW_BAD_AUTH);
        raw_stop(&raw);
        swtpm_kill(&member.swtpm);
        swtpm_restart(&member.swtpm);
        member_reopen(&member);
    }
    assert_int_equal(lockout_counter(), 0);
    assert_int_equal(tpm_release(member.tpm, &deposit.request, &blob), ESCROW_OK);
    deposit_stop(&deposit);
}

static void test_clock(void **state)
{
    struct tpm_clock before, after;

    (void)state;
    assert_int_equal(tpm_clock_read(member.tpm, &before), ESCROW_OK);
    swtpm_kill(&member.swtpm);
    swtpm_restart(&member.swtpm);
    assert_int_equal(tpm_clock_read(member.tpm, &after), ESCROW_OK);
    assert_int_equal(after.reset_count, before.reset_count + 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings),
        TEST(test_comes_back_by_itself),
        TEST(test_another_tpm),
        TEST(test_a_full_tpm),
        TEST(test_leftovers_of_a_crash),
        TEST(test_a_hung_tpm_has_a_deadline),
        TEST(test_no_dictionary_attack_lockout),
        TEST(test_clock),
    };

    fixture_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
