/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_command.h"
#include "escrowd/tpm_find.h"
#include "tests/unit/tpm_raw.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/*
 * What the TPM itself refuses to whoever has the host, the storage auth and even signatures of the
 * policy authority; and two constructions that it does not refuse, which is why they are not used.
 */
static struct member member;
static struct deposit deposit;

static int setup(void **state)
{
    (void)state;
    member_start(&member);
    deposit_start(&deposit, &member);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    deposit_stop(&deposit);
    member_stop(&member);
    return 0;
}

/* A host approval by the authority for any policy, ready for PolicyAuthorize. */
static struct tpm_approval approved(const struct tpm_digest *policy)
{
    struct tpm_approval approval = {.kind = TPM_APPROVAL_HOST, .policy = *policy};

    approve(&deposit, &approval);
    assert_int_equal(
        tpm_approval_verify(member.tpm, &deposit.authority.point, FIXTURE_GROUP, &approval),
        ESCROW_OK);
    return approval;
}

static struct tpm_digest duplicate_cphash(void)
{
    struct tpm_name recipient;
    struct tpm_digest cphash;

    assert_int_equal(key_recipient_name(&deposit.recipient.point, &recipient), ESCROW_OK);
    assert_int_equal(tpm_policy_duplicate_cphash(&deposit.object.name, &recipient, &cphash),
                     ESCROW_OK);
    return cphash;
}

/* The session of a release, up to where it equals the object's policy. */
static void satisfy(struct raw *raw)
{
    const struct tpm_digest cphash = duplicate_cphash();

    assert_int_equal(
        tpm_approval_verify(member.tpm, &deposit.authority.point, FIXTURE_GROUP, &deposit.node),
        ESCROW_OK);
    assert_int_equal(
        tpm_approval_verify(member.tpm, &deposit.authority.point, FIXTURE_GROUP, &deposit.host),
        ESCROW_OK);
    assert_int_equal(raw_policy_signed(raw, &deposit.signer, &cphash, 0), 0);
    assert_int_equal(raw_policy_counter(raw, deposit.node.epoch), 0);
    assert_int_equal(raw_policy_authorize(raw, &deposit, &deposit.node), 0);
    assert_int_equal(raw_policy_pcrs(raw, &deposit.host.pcrs), 0);
    assert_int_equal(raw_policy_counter(raw, deposit.host.epoch), 0);
    assert_int_equal(raw_policy_authorize(raw, &deposit, &deposit.host), 0);
    assert_int_equal(raw_policy_command(raw, TPM2_CC_Duplicate), 0);
}

static void test_unseal_is_never_possible(void **state)
{
    struct tpm_digest policy = {{0}};
    struct tpm_approval approval;
    struct raw raw;

    (void)state;
    /* With a password, and in a session that would release the object. */
    raw_start(&raw, &member);
    raw_load(&raw, &deposit);
    assert_int_equal(raw_unseal_by_password(&raw), RAW_NO_PASSWORD);
    satisfy(&raw);
    assert_int_equal(raw_unseal(&raw), RAW_POLICY_CC);
    raw_stop(&raw);

    /* The authority signs PolicyCommandCode(Unseal). */
    raw_start(&raw, &member);
    raw_load(&raw, &deposit);
    assert_int_equal(raw_policy_command(&raw, TPM2_CC_Unseal), 0);
    assert_int_equal(raw_digest(&raw, &policy), 0);
    approval = approved(&policy);
    assert_int_equal(raw_policy_authorize(&raw, &deposit, &approval), 0);
    assert_int_equal(raw_unseal(&raw), RAW_POLICY_FAIL);
    /* A session keeps its command code: no second one can complete the policy. */
    assert_int_not_equal(raw_policy_command(&raw, TPM2_CC_Duplicate), 0);
    raw_stop(&raw);
}

static void test_an_empty_approved_policy_is_no_unseal(void **state)
{
    const struct tpm_digest nothing = {{0}};
    struct tpm_approval approval;
    struct raw raw;

    (void)state;
    raw_start(&raw, &member);
    raw_load(&raw, &deposit);
    approval = approved(&nothing);
    assert_int_equal(raw_policy_authorize(&raw, &deposit, &approval), 0);
    assert_int_equal(raw_unseal(&raw), RAW_POLICY_FAIL);
    assert_int_equal(raw_policy_command(&raw, TPM2_CC_Duplicate), 0);
    assert_int_equal(raw_unseal(&raw), RAW_POLICY_CC);
    raw_stop(&raw);
}

/* Even where the authority lets go of everything, the object leaves encrypted or not at all. */
static void test_no_duplicate_in_the_clear(void **state)
{
    const struct tpm_digest nothing = {{0}};
    struct tpm_approval approval;
    struct raw raw;

    (void)state;
    raw_start(&raw, &member);
    raw_load(&raw, &deposit);
    approval = approved(&nothing);
    assert_int_equal(raw_policy_authorize(&raw, &deposit, &approval), 0);
    assert_int_equal(raw_policy_command(&raw, TPM2_CC_Duplicate), 0);
    assert_int_equal(raw_duplicate(&raw, TPM2_RH_NULL, true), RAW_NO_PARENT);
    assert_int_equal(raw_duplicate(&raw, raw.recipient, false), RAW_NO_INNER);
    /* The session itself was good: with both wrappers it is allowed. */
    assert_int_equal(raw_duplicate(&raw, raw.recipient, true), 0);
    raw_stop(&raw);
}

static void test_a_session_for_one_recipient_serves_no_other(void **state)
{
    CLEANUP(tpm_object_flush) struct tpm_object other = {.tpm = member.tpm};
    struct actor stranger;
    struct raw raw;

    (void)state;
    actor_new(&stranger);
    raw_start(&raw, &member);
    satisfy(&raw);
    assert_int_equal(raw_load_by(&raw, &deposit, member.auths.storage), 0);
    assert_int_equal(tpm_load_point(KEY_RECIPIENT, &stranger.point, TPM2_RH_NULL, &other),
                     ESCROW_OK);
    assert_int_equal(raw_duplicate(&raw, other.handle, true), RAW_POLICY_FAIL);
    raw_stop(&raw);
    actor_free(&stranger);
}

static void test_a_signature_fits_one_cphash(void **state)
{
    struct tpm_digest cphash = duplicate_cphash();
    struct raw raw;

    (void)state;
    raw_start(&raw, &member);
    cphash.bytes[0] ^= 1;
    assert_int_equal(raw_policy_signed(&raw, &deposit.signer, &cphash, 0), RAW_SIGNATURE);
    raw_stop(&raw);
}

static void test_a_pcr_that_changes_in_between(void **state)
{
    struct raw raw;

    (void)state;
    raw_start(&raw, &member);
    satisfy(&raw);
    raw_load(&raw, &deposit);
    extend_pcr(&member);
    assert_int_equal(raw_duplicate(&raw, raw.recipient, true), RAW_PCR_CHANGED);
    raw_stop(&raw);
}

static void test_another_boot_state(void **state)
{
    struct raw raw;

    (void)state;
    extend_pcr(&member);
    raw_start(&raw, &member);
    assert_int_equal(raw_policy_pcrs(&raw, &deposit.host.pcrs), RAW_VALUE);
    raw_stop(&raw);
}

static void test_an_old_epoch(void **state)
{
    uint64_t epoch;
    struct raw raw;

    (void)state;
    raw_start(&raw, &member);
    assert_int_equal(raw_policy_counter(&raw, deposit.node.epoch), 0);
    assert_int_equal(tpm_epoch_increment(member.tpm, member.auths.owner, &epoch), ESCROW_OK);
    assert_int_equal(epoch, deposit.node.epoch + 1);
    assert_int_equal(raw_policy_counter(&raw, deposit.node.epoch), RAW_COUNTER);
    raw_stop(&raw);
}

/* The owner can make the counter anew, with the same Name; it starts above every old value. */
static void test_a_counter_made_anew_revives_nothing(void **state)
{
    CLEANUP(tpm_password_wipe) TSS2L_SYS_AUTH_COMMAND owner = {0};
    TSS2_SYS_CONTEXT *sys = member.tpm->sys;
    const TPM2B_AUTH no_auth = {.size = 0};
    TPM2B_NV_PUBLIC public;
    struct tpm_name name;
    struct raw raw;
    uint64_t epoch;

    (void)state;
    assert_int_equal(tpm_epoch_increment(member.tpm, member.auths.owner, &epoch), ESCROW_OK);
    assert_int_equal(tpm_read_index(member.tpm, member.tpm->counter, &public, &name), ESCROW_OK);
    tpm_password(member.auths.owner, &owner);
    assert_int_equal(
        Tss2_Sys_NV_UndefineSpace(sys, TPM2_RH_OWNER, member.tpm->counter, &owner, NULL), 0);
    public.nvPublic.attributes &= ~TPMA_NV_WRITTEN;
    assert_int_equal(Tss2_Sys_NV_DefineSpace(sys, TPM2_RH_OWNER, &owner, &no_auth, &public, NULL),
                     0);
    assert_int_equal(Tss2_Sys_NV_Increment(sys, TPM2_RH_OWNER, member.tpm->counter, &owner, NULL),
                     0);
    assert_int_equal(tpm_read_index(member.tpm, member.tpm->counter, &public, &name), ESCROW_OK);
    assert_true(tpm_name_equal(&name, &member.names.counter));
    raw_start(&raw, &member);
    assert_int_equal(raw_policy_counter(&raw, deposit.node.epoch), RAW_COUNTER);
    assert_int_equal(raw_policy_counter(&raw, epoch), RAW_COUNTER);
    raw_stop(&raw);
}

static void test_load_needs_the_storage_auth(void **state)
{
    CLEANUP(secret_free_p) struct secret *wrong = secret_random(TPM_AUTH_BYTES);
    struct raw raw;

    (void)state;
    raw_start(&raw, &member);
    assert_int_equal(raw_load_by(&raw, &deposit, wrong), RAW_BAD_AUTH);
    assert_int_equal(raw_load_by(&raw, &deposit, NULL), RAW_BAD_AUTH);
    assert_int_equal(raw_load_by(&raw, &deposit, member.auths.storage), 0);
    raw_stop(&raw);
}

/*
 * TPM2_Rewrap asks for nothing but the old parent's authorization: no policy of the object, no act
 * key, no approval. The inner wrapper's key is in the log, so whoever could rewrap a blob of the
 * log to himself would have the secret.
 */
static void test_rewrap_is_never_possible(void **state)
{
    static const TPM2_CC allowed[] = {TPM2_CC_Load, TPM2_CC_Import};
    TSS2L_SYS_AUTH_COMMAND auths;
    struct raw raw;

    (void)state;
    raw_start(&raw, &member);
    raw_load(&raw, &deposit);
    tpm_password(member.auths.storage, &auths);
    assert_int_equal(raw_rewrap(&raw, &deposit, &auths), RAW_NO_PASSWORD);
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
        assert_int_equal(raw_storage_session(&raw, allowed[i], member.auths.storage, &auths), 0);
        assert_int_equal(raw_rewrap(&raw, &deposit, &auths), RAW_POLICY_CC);
        Tss2_Sys_FlushContext(member.tpm->sys, auths.auths[0].sessionHandle);
    }
    assert_int_equal(raw_storage_session(&raw, TPM2_CC_Rewrap, member.auths.storage, &auths),
                     RAW_VALUE);
    assert_int_equal(raw_rewrap(&raw, &deposit, &auths), RAW_POLICY_FAIL);
    Tss2_Sys_FlushContext(member.tpm->sys, auths.auths[0].sessionHandle);
    raw_stop(&raw);
}

static void test_clear(void **state)
{
    (void)state;
    assert_int_equal(tpm_check(member.tpm), ESCROW_OK);
    assert_int_equal(raw_clear(&member, member.auths.lockout), RAW_DISABLED);
    assert_int_not_equal(raw_clear(&member, NULL), 0);
}

static struct tpm_signer signer_of(const struct actor *admin, const struct tpm_digest *cphash,
                                   int32_t expiration)
{
    struct tpm_signer signer = {.key = admin->point};
    uint8_t message[4 + TPM_DIGEST_BYTES];
    struct tpm_digest digest;

    /* aHash: no nonceTPM, expiration, cpHashA, no policyRef. */
    message[0] = message[1] = message[2] = 0;
    message[3] = (uint8_t)expiration;
    if (cphash)
        memcpy(message + 4, cphash->bytes, TPM_DIGEST_BYTES);
    assert_int_equal(
        EVP_Digest(message, cphash ? sizeof(message) : 4, digest.bytes, NULL, EVP_sha256(), NULL),
        1);
    assert_int_equal(key_sign_digest(admin->key, digest.bytes, signer.signature), ESCROW_OK);
    return signer;
}

/*
 * Trap: "two of A and B" as PolicyOR(A, B) twice is satisfied by A alone. Hence one approved policy
 * for each subset, with its keys in order.
 */
static void test_trap_policy_or_counts_one_admin_twice(void **state)
{
    struct tpm_digest a = {{0}}, b = {{0}}, second_a, second_b, by_both, by_one;
    struct actor admin_a, admin_b;
    struct tpm_signer signer_a, signer_b;
    struct raw raw;

    (void)state;
    actor_new(&admin_a);
    actor_new(&admin_b);
    signer_a = signer_of(&admin_a, NULL, 0);
    signer_b = signer_of(&admin_b, NULL, 0);
    assert_int_equal(tpm_policy_extend_signed(&a, &admin_a.name), ESCROW_OK);
    assert_int_equal(tpm_policy_extend_signed(&b, &admin_b.name), ESCROW_OK);

    raw_start(&raw, &member);
    assert_int_equal(raw_policy_signed(&raw, &signer_a, NULL, 0), 0);
    assert_int_equal(raw_policy_or(&raw, &a, &b), 0);
    assert_int_equal(raw_digest(&raw, &second_a), 0);
    second_b = second_a;
    assert_int_equal(tpm_policy_extend_signed(&second_a, &admin_a.name), ESCROW_OK);
    assert_int_equal(tpm_policy_extend_signed(&second_b, &admin_b.name), ESCROW_OK);
    assert_int_equal(raw_policy_signed(&raw, &signer_b, NULL, 0), 0);
    assert_int_equal(raw_policy_or(&raw, &second_a, &second_b), 0);
    assert_int_equal(raw_digest(&raw, &by_both), 0);
    raw_stop(&raw);

    raw_start(&raw, &member);
    assert_int_equal(raw_policy_signed(&raw, &signer_a, NULL, 0), 0);
    assert_int_equal(raw_policy_or(&raw, &a, &b), 0);
    assert_int_equal(raw_policy_signed(&raw, &signer_a, NULL, 0), 0);
    assert_int_equal(raw_policy_or(&raw, &second_a, &second_b), 0);
    assert_int_equal(raw_digest(&raw, &by_one), 0);
    raw_stop(&raw);
    assert_memory_equal(&by_one, &by_both, sizeof(by_one));
    actor_free(&admin_a);
    actor_free(&admin_b);
}

static void wait_for_tpm_time(uint64_t time_ms)
{
    TPMS_TIME_INFO now = {0};

    /* 20 s at most: the TPM's time is the event, and nothing tells of it. */
    for (int i = 0; i < 2000 && now.time <= time_ms; i++) {
        now = (TPMS_TIME_INFO){0};
        assert_int_equal(Tss2_Sys_ReadClock(member.tpm->sys, NULL, &now, NULL), 0);
        if (now.time <= time_ms)
            poll(NULL, 0, 10);
    }
    assert_true(now.time > time_ms);
}

/*
 * Trap: an expiration without nonceTPM counts from the last reset of the TPM, so a signature that
 * has expired is good again after one. Hence the keeper enforces expiry, not the TPM.
 */
static void test_trap_expiry_revives(void **state)
{
    const struct tpm_digest cphash = duplicate_cphash();
    const struct tpm_signer signer = signer_of(&deposit.act, &cphash, 1);
    struct raw raw;

    (void)state;
    raw_start(&raw, &member);
    /* The TPM adds the milliseconds of its time to the seconds of the expiration. */
    wait_for_tpm_time(2000);
    assert_int_equal(raw_policy_signed(&raw, &signer, &cphash, 1), RAW_EXPIRED);
    raw_stop(&raw);
    swtpm_kill(&member.swtpm);
    swtpm_restart(&member.swtpm);
    member_reopen(&member);
    raw_start(&raw, &member);
    assert_int_equal(raw_policy_signed(&raw, &signer, &cphash, 1), 0);
    raw_stop(&raw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unseal_is_never_possible, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_empty_approved_policy_is_no_unseal, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_no_duplicate_in_the_clear, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_session_for_one_recipient_serves_no_other, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_signature_fits_one_cphash, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_pcr_that_changes_in_between, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_boot_state, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_old_epoch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_counter_made_anew_revives_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_load_needs_the_storage_auth, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rewrap_is_never_possible, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clear, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trap_policy_or_counts_one_admin_twice, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_trap_expiry_revives, setup, teardown),
    };

    fixture_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
