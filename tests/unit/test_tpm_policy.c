/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/tpm_policy.h"
#include "tests/unit/tpm_raw.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

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

static void assert_digest(struct raw *raw, const struct tpm_digest *expected)
{
    struct tpm_digest digest;

    assert_int_equal(raw_digest(raw, &digest), 0);
    assert_memory_equal(&digest, expected, sizeof(digest));
}

static void test_every_step_is_the_tpms(void **state)
{
    struct tpm_digest digest = {{0}}, cphash;
    struct tpm_name recipient;
    struct raw raw;

    (void)state;
    assert_int_equal(key_recipient_name(&deposit.recipient.point, &recipient), ESCROW_OK);
    assert_int_equal(tpm_policy_duplicate_cphash(&deposit.object.name, &recipient, &cphash),
                     ESCROW_OK);
    assert_int_equal(
        tpm_approval_verify(member.tpm, &deposit.authority.point, FIXTURE_GROUP, &deposit.node),
        ESCROW_OK);
    assert_int_equal(
        tpm_approval_verify(member.tpm, &deposit.authority.point, FIXTURE_GROUP, &deposit.host),
        ESCROW_OK);
    raw_start(&raw, &member);
    assert_digest(&raw, &digest);

    assert_int_equal(raw_policy_signed(&raw, &deposit.signer, &cphash, 0), 0);
    assert_int_equal(tpm_policy_extend_signed(&digest, &deposit.act.name), ESCROW_OK);
    assert_digest(&raw, &digest);

    assert_int_equal(raw_policy_counter(&raw, deposit.node.epoch), 0);
    assert_int_equal(tpm_policy_extend_counter(&digest, &member.names.counter, deposit.node.epoch),
                     ESCROW_OK);
    assert_digest(&raw, &digest);
    assert_digest(&raw, &deposit.node.policy);

    assert_int_equal(raw_policy_authorize(&raw, &deposit, &deposit.node), 0);
    assert_int_equal(
        tpm_policy_authorized(&deposit.authority.name, TPM_APPROVAL_NODE, FIXTURE_GROUP, &digest),
        ESCROW_OK);
    assert_digest(&raw, &digest);

    assert_int_equal(raw_policy_pcrs(&raw, &deposit.host.pcrs), 0);
    assert_int_equal(tpm_policy_extend_pcrs(&digest, &deposit.host.pcrs), ESCROW_OK);
    assert_digest(&raw, &digest);

    assert_int_equal(raw_policy_counter(&raw, deposit.host.epoch), 0);
    assert_digest(&raw, &deposit.host.policy);

    assert_int_equal(raw_policy_authorize(&raw, &deposit, &deposit.host), 0);
    assert_int_equal(
        tpm_policy_authorized(&deposit.authority.name, TPM_APPROVAL_HOST, FIXTURE_GROUP, &digest),
        ESCROW_OK);
    assert_digest(&raw, &digest);

    assert_int_equal(raw_policy_command(&raw, TPM2_CC_Duplicate), 0);
    assert_int_equal(tpm_policy_extend_duplicate(&digest), ESCROW_OK);
    assert_digest(&raw, &digest);
    assert_memory_equal(&digest, deposit.object.auth_policy, sizeof(digest));
    raw_stop(&raw);
}

/* Which PCRs, and in which order, is part of the digest. */
static void test_pcr_selections_are_the_tpms(void **state)
{
    static const uint32_t selections[] = {1U << 0,  1U << 7,         1U << 7 | 1U << 11,
                                          1U << 23, 0xfeU | 1 << 14, 0xffffff};

    (void)state;
    extend_pcr(&member);
    for (size_t i = 0; i < ARRAY_LEN(selections); i++) {
        struct tpm_digest digest = {{0}};
        struct tpm_pcrs pcrs;
        struct raw raw;

        assert_int_equal(tpm_pcrs_read(member.tpm, selections[i], &pcrs), ESCROW_OK);
        raw_start(&raw, &member);
        /* A policy session compares our digest over the values with its own. */
        assert_int_equal(raw_policy_pcrs(&raw, &pcrs), 0);
        assert_int_equal(tpm_policy_extend_pcrs(&digest, &pcrs), ESCROW_OK);
        assert_digest(&raw, &digest);
        raw_stop(&raw);
    }
}

static void test_labels_differ(void **state)
{
    char longest[65];
    struct tpm_digest host, node, other;

    (void)state;
    memset(longest, 'g', 64);
    longest[64] = '\0';
    assert_int_equal(tpm_policy_label(TPM_APPROVAL_HOST, "a", &host), ESCROW_OK);
    assert_int_equal(tpm_policy_label(TPM_APPROVAL_NODE, "a", &node), ESCROW_OK);
    assert_int_equal(tpm_policy_label(TPM_APPROVAL_HOST, longest, &other), ESCROW_OK);
    assert_memory_not_equal(&host, &node, sizeof(host));
    assert_memory_not_equal(&host, &other, sizeof(host));
}

static void test_a_quorum_counts_each_key_once(void **state)
{
    struct tpm_name keys[TPM_SIGNERS_MAX + 1] = {{{0}}};
    struct tpm_digest policy, one;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        keys[i].bytes[33] = (uint8_t)i;
    assert_int_equal(tpm_policy_quorum(keys, TPM_SIGNERS_MAX, &member.names.counter, 1, &policy),
                     ESCROW_OK);
    assert_int_equal(
        tpm_policy_quorum(keys, TPM_SIGNERS_MAX + 1, &member.names.counter, 1, &policy),
        ESCROW_ERR_MALFORMED);
    assert_int_equal(tpm_policy_quorum(keys, 0, &member.names.counter, 1, &policy),
                     ESCROW_ERR_MALFORMED);
    assert_int_equal(tpm_policy_quorum(keys, 1, &member.names.counter, 1, &policy), ESCROW_OK);
    assert_int_equal(tpm_policy_node(keys, &member.names.counter, 1, &one), ESCROW_OK);
    assert_memory_equal(&policy, &one, sizeof(policy));
    keys[2] = keys[1];
    assert_int_equal(tpm_policy_quorum(keys, 3, &member.names.counter, 1, &policy),
                     ESCROW_ERR_MALFORMED);
    keys[2].bytes[33] = 0;
    assert_int_equal(tpm_policy_quorum(keys, 3, &member.names.counter, 1, &policy),
                     ESCROW_ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_step_is_the_tpms, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pcr_selections_are_the_tpms, setup, teardown),
        cmocka_unit_test(test_labels_differ),
        cmocka_unit_test(test_a_quorum_counts_each_key_once),
    };

    fixture_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
