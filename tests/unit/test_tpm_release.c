/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_kept.h"
#include "escrowd/tpm_release.h"
#include "tests/unit/tpm_fixture.h"

#include <openssl/evp.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The most that one release may take, at tens of milliseconds a command on a real TPM. */
#define COMMANDS_PER_RELEASE 14
#define MANY 1000

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

static void assert_releases(void)
{
    CLEANUP(secret_free_p) struct secret *data = NULL;
    struct wrap_blob blob;

    assert_int_equal(tpm_release(member.tpm, &deposit.request, &blob), ESCROW_OK);
    assert_int_equal(wrap_open(&deposit.object, &blob, deposit.recipient.key, &data), ESCROW_OK);
    assert_true(secret_equal(data, deposit.data));
}

static void assert_refused(enum escrow_err expected)
{
    struct wrap_blob blob = {0};
    const struct wrap_blob untouched = {0};

    assert_int_equal(tpm_release(member.tpm, &deposit.request, &blob), expected);
    assert_memory_equal(&blob, &untouched, sizeof(blob));
}

static void test_release(void **state)
{
    uint64_t before;

    (void)state;
    assert_releases();
    before = tpm_commands(member.tpm);
    assert_releases();
    assert_in_range(tpm_commands(member.tpm) - before, 1, COMMANDS_PER_RELEASE);
    before = tpm_commands(member.tpm);
    for (int i = 0; i < 20; i++)
        assert_releases();
    assert_in_range(tpm_commands(member.tpm) - before, 20, 20 * COMMANDS_PER_RELEASE);
}

/* After a reset of the TPM that nobody saw, say: the saved object is void, the release is not. */
static void test_a_kept_object_that_the_tpm_refuses(void **state)
{
    size_t place = 0;
    uint64_t before;

    (void)state;
    assert_releases();
    while (!member.tpm->kept[place])
        assert_true(++place < TPM_KEPT_MAX);
    member.tpm->kept[place]->bytes[40] ^= 1;
    assert_releases();
    before = tpm_commands(member.tpm);
    assert_releases();
    assert_in_range(tpm_commands(member.tpm) - before, 1, COMMANDS_PER_RELEASE);
}

/* As Names are: the same in each run. */
static struct tpm_name name_number(size_t number)
{
    struct tpm_name name = {.bytes = {0, TPM2_ALG_SHA256}};

    assert_int_equal(EVP_Digest(&number, sizeof(number), name.bytes + 2, NULL, EVP_sha256(), NULL),
                     1);
    return name;
}

/* All of a storm's. */
static void test_many_objects_are_kept(void **state)
{
    size_t kept = 0;

    (void)state;
    assert_releases();
    for (size_t i = 0; i <= MANY; i++) {
        CLEANUP(tpm_object_flush) struct tpm_object object = {.tpm = member.tpm};
        const struct tpm_name name = name_number(i);

        /* The one before may have had the deposit's own place. */
        if (tpm_kept_load(member.tpm, &deposit.object.name, &object)) {
            assert_releases();
            assert_int_equal(tpm_kept_load(member.tpm, &deposit.object.name, &object), ESCROW_OK);
        }
        tpm_kept_save(member.tpm, &name, &object);
    }
    for (size_t i = 0; i < MANY; i++) {
        CLEANUP(tpm_object_flush) struct tpm_object object = {.tpm = member.tpm};
        const struct tpm_name name = name_number(i);

        kept += tpm_kept_load(member.tpm, &name, &object) == ESCROW_OK;
    }
    assert_int_equal(kept, MANY);
    assert_releases();
}

static void test_a_restarted_keeper_releases(void **state)
{
    (void)state;
    assert_releases();
    member_reopen(&member);
    /* Tickets are of the TPM, not of the connection: they are kept. */
    assert_releases();
}

/* The node the act key stands for may have several objects of the group. */
static void test_a_second_object(void **state)
{
    struct tpm_member statement;
    struct wrap_object object;
    struct wrap_blob blob;
    struct secret *sensitive = NULL;

    (void)state;
    assert_releases();
    assert_int_equal(tpm_member_read(member.tpm, FIXTURE_PCRS, &statement), ESCROW_OK);
    assert_int_equal(wrap_object_new(deposit.object.auth_policy, deposit.data, &object, &sensitive),
                     ESCROW_OK);
    assert_int_equal(wrap_seal(&object, sensitive, &statement.storage_point, &blob), ESCROW_OK);
    secret_free(sensitive);
    assert_int_equal(tpm_import(member.tpm, &object, &blob, &deposit.private_area), ESCROW_OK);
    deposit.object = object;
    /* The signature for the first object does not release the second. */
    assert_refused(ESCROW_ERR_CRYPTO);
    sign_release(&deposit.act, &object.name, &deposit.recipient.point, &deposit.signer);
    assert_releases();
}

static void test_a_signature_for_another_recipient(void **state)
{
    struct actor stranger;

    (void)state;
    actor_new(&stranger);
    deposit.request.recipient = &stranger.point;
    assert_refused(ESCROW_ERR_CRYPTO);
    deposit.request.recipient = &deposit.recipient.point;
    assert_releases();
    actor_free(&stranger);
}

static void test_an_act_key_that_nobody_approved(void **state)
{
    struct actor stranger;

    (void)state;
    actor_new(&stranger);
    sign_release(&stranger, &deposit.object.name, &deposit.recipient.point, &deposit.signer);
    assert_refused(ESCROW_ERR_TPM);
    /* Nor does an approval help that somebody else than the authority signed. */
    approve_node(&deposit, &member, &stranger, &deposit.node);
    deposit.node.signature[10] ^= 1;
    assert_refused(ESCROW_ERR_CRYPTO);
    approve_node(&deposit, &member, &stranger, &deposit.node);
    assert_releases();
    actor_free(&stranger);
}

static void test_an_approval_of_another_group(void **state)
{
    struct tpm_digest digest;

    (void)state;
    assert_int_equal(
        tpm_policy_approval_digest(TPM_APPROVAL_NODE, "other", &deposit.node.policy, &digest),
        ESCROW_OK);
    assert_int_equal(key_sign_digest(deposit.authority.key, digest.bytes, deposit.node.signature),
                     ESCROW_OK);
    assert_refused(ESCROW_ERR_CRYPTO);
    /* A ticket for the other label does not pass either. */
    assert_int_equal(
        tpm_approval_verify(member.tpm, &deposit.authority.point, "other", &deposit.node),
        ESCROW_OK);
    assert_refused(ESCROW_ERR_TPM);
}

/* A node approval is no host approval, whatever it approves. */
static void test_kinds_are_not_mixed_up(void **state)
{
    const struct tpm_approval host = deposit.host;

    (void)state;
    deposit.host.kind = TPM_APPROVAL_NODE;
    approve(&deposit, &deposit.host);
    deposit.host.kind = TPM_APPROVAL_HOST;
    assert_refused(ESCROW_ERR_CRYPTO);
    deposit.host = host;
    assert_releases();
}

static void test_another_boot_state(void **state)
{
    (void)state;
    assert_releases();
    extend_pcr(&member);
    assert_refused(ESCROW_ERR_TPM);
    approve_host(&deposit, &member, &deposit.host);
    assert_releases();
}

static void test_old_approvals(void **state)
{
    uint64_t epoch;

    (void)state;
    assert_releases();
    assert_int_equal(tpm_epoch_increment(member.tpm, member.auths.owner, &epoch), ESCROW_OK);
    assert_refused(ESCROW_ERR_TPM);
    /* One new approval is not enough. */
    approve_node(&deposit, &member, &deposit.act, &deposit.node);
    assert_refused(ESCROW_ERR_TPM);
    approve_host(&deposit, &member, &deposit.host);
    assert_releases();
    /* A lie about the epoch does not fit what was approved. */
    assert_int_equal(tpm_epoch_increment(member.tpm, member.auths.owner, &epoch), ESCROW_OK);
    deposit.node.epoch = deposit.host.epoch = epoch;
    assert_refused(ESCROW_ERR_TPM);
}

static void test_epoch_needs_the_owner(void **state)
{
    uint64_t epoch;

    (void)state;
    assert_int_equal(tpm_epoch_increment(member.tpm, member.auths.storage, &epoch), ESCROW_ERR_TPM);
    assert_releases();
}

static void test_approvals_of_another_member(void **state)
{
    struct member other;
    struct tpm_approval node, host;
    uint64_t epoch, other_epoch;

    (void)state;
    member_start(&other);
    /* Same boot state, same epoch, same authority; only the counter's Name differs. */
    assert_int_equal(tpm_epoch_read(member.tpm, &epoch), ESCROW_OK);
    assert_int_equal(tpm_epoch_read(other.tpm, &other_epoch), ESCROW_OK);
    assert_int_equal(epoch, other_epoch);
    approve_node(&deposit, &other, &deposit.act, &node);
    approve_host(&deposit, &other, &host);
    assert_memory_equal(&host.pcrs, &deposit.host.pcrs, sizeof(host.pcrs));
    deposit.request.host = &host;
    assert_refused(ESCROW_ERR_TPM);
    deposit.request.host = &deposit.host;
    deposit.request.node = &node;
    assert_refused(ESCROW_ERR_TPM);
    deposit.request.node = &deposit.node;
    assert_releases();
    member_stop(&other);
}

static void test_off_curve_points_never_reach_the_tpm(void **state)
{
    const uint64_t before = tpm_commands(member.tpm);
    struct ec_point bad = deposit.recipient.point;
    struct wrap_blob blob = {.duplicate_len = 270, .seed_len = 68, .seed = {0, 32, 1}};
    struct tpm_private private_area;

    (void)state;
    bad.y[0] ^= 1;
    deposit.request.recipient = &bad;
    assert_refused(ESCROW_ERR_CRYPTO);
    deposit.request.recipient = &deposit.recipient.point;
    deposit.signer.key.x[5] ^= 1;
    assert_refused(ESCROW_ERR_CRYPTO);
    deposit.signer.key.x[5] ^= 1;
    assert_int_equal(tpm_approval_verify(member.tpm, &bad, FIXTURE_GROUP, &deposit.node),
                     ESCROW_ERR_CRYPTO);
    blob.seed[35] = 32;
    assert_int_equal(tpm_import(member.tpm, &deposit.object, &blob, &private_area),
                     ESCROW_ERR_CRYPTO);
    assert_int_equal(tpm_commands(member.tpm), before);
    assert_releases();
}

/* Break-glass: two admins together, one of them twice, one alone. */
static void test_quorum(void **state)
{
    struct actor admins[2], *first = &admins[0], *second = &admins[1];
    struct tpm_signer signers[2];
    struct tpm_name names[2];

    (void)state;
    actor_new(&admins[0]);
    actor_new(&admins[1]);
    if (memcmp(first->name.bytes, second->name.bytes, TPM_NAME_BYTES) > 0) {
        first = &admins[1];
        second = &admins[0];
    }
    names[0] = first->name;
    names[1] = second->name;
    assert_int_equal(tpm_policy_quorum(names, 2, &member.names.counter, deposit.node.epoch,
                                       &deposit.node.policy),
                     ESCROW_OK);
    approve(&deposit, &deposit.node);
    deposit.request.signers = signers;
    sign_release(first, &deposit.object.name, &deposit.recipient.point, &signers[0]);
    signers[1] = signers[0];
    deposit.request.signer_count = 2;
    assert_refused(ESCROW_ERR_TPM);
    deposit.request.signer_count = 1;
    assert_refused(ESCROW_ERR_TPM);
    deposit.request.signer_count = 2;
    sign_release(second, &deposit.object.name, &deposit.recipient.point, &signers[1]);
    assert_releases();
    actor_free(&admins[0]);
    actor_free(&admins[1]);
}

static void test_import_refuses_what_is_damaged_or_not_ours(void **state)
{
    struct tpm_member statement;
    struct tpm_private private_area;
    struct wrap_object other = deposit.object;
    struct wrap_blob blob, altered;
    struct member stranger;

    (void)state;
    assert_int_equal(tpm_member_read(member.tpm, FIXTURE_PCRS, &statement), ESCROW_OK);
    assert_int_equal(wrap_seal(&deposit.object, deposit.sensitive, &statement.storage_point, &blob),
                     ESCROW_OK);
    assert_int_equal(tpm_import(member.tpm, &deposit.object, &blob, &private_area), ESCROW_OK);
    for (size_t i = 0; i < blob.duplicate_len; i += 7) {
        altered = blob;
        altered.duplicate[i] ^= 1;
        assert_int_equal(tpm_import(member.tpm, &deposit.object, &altered, &private_area),
                         ESCROW_ERR_CRYPTO);
    }
    for (size_t i = 0; i < sizeof(blob.inner_key); i += 5) {
        altered = blob;
        altered.inner_key[i] ^= 1;
        assert_int_equal(tpm_import(member.tpm, &deposit.object, &altered, &private_area),
                         ESCROW_ERR_CRYPTO);
    }
    other.unique[0] ^= 1;
    assert_int_equal(tpm_import(member.tpm, &other, &blob, &private_area), ESCROW_ERR_CRYPTO);
    member_start(&stranger);
    assert_int_equal(tpm_import(stranger.tpm, &deposit.object, &blob, &private_area),
                     ESCROW_ERR_CRYPTO);
    member_stop(&stranger);
    assert_int_equal(tpm_import(member.tpm, &deposit.object, &blob, &private_area), ESCROW_OK);
}

static void test_a_damaged_private_area(void **state)
{
    (void)state;
    deposit.private_area.bytes[40] ^= 1;
    assert_refused(ESCROW_ERR_CRYPTO);
    deposit.private_area.bytes[40] ^= 1;
    deposit.private_area.len = TPM_PRIVATE_MAX + 1;
    assert_refused(ESCROW_ERR_MALFORMED);
}

static void test_a_tpm_that_dies_and_comes_back(void **state)
{
    (void)state;
    assert_releases();
    swtpm_kill(&member.swtpm);
    assert_refused(ESCROW_ERR_UNAVAILABLE);
    assert_refused(ESCROW_ERR_UNAVAILABLE);
    swtpm_restart(&member.swtpm);
    assert_releases();
    /* A restart between two releases is not even noticed. */
    swtpm_kill(&member.swtpm);
    swtpm_restart(&member.swtpm);
    assert_releases();
}

/* Failures leave neither a half policy nor a full TPM (three slots for objects and sessions). */
static void test_many_refusals_then_a_release(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        deposit.signer.signature[3] ^= 1;
        assert_refused(ESCROW_ERR_CRYPTO);
        deposit.signer.signature[3] ^= 1;
        deposit.host.epoch++;
        assert_refused(ESCROW_ERR_TPM);
        deposit.host.epoch--;
        tpm_kept_forget(member.tpm);
        deposit.private_area.bytes[40] ^= 1;
        assert_refused(ESCROW_ERR_CRYPTO);
        deposit.private_area.bytes[40] ^= 1;
    }
    assert_releases();
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_release),
        TEST(test_a_kept_object_that_the_tpm_refuses),
        TEST(test_many_objects_are_kept),
        TEST(test_a_restarted_keeper_releases),
        TEST(test_a_second_object),
        TEST(test_a_signature_for_another_recipient),
        TEST(test_an_act_key_that_nobody_approved),
        TEST(test_an_approval_of_another_group),
        TEST(test_kinds_are_not_mixed_up),
        TEST(test_another_boot_state),
        TEST(test_old_approvals),
        TEST(test_epoch_needs_the_owner),
        TEST(test_approvals_of_another_member),
        TEST(test_off_curve_points_never_reach_the_tpm),
        TEST(test_quorum),
        TEST(test_import_refuses_what_is_damaged_or_not_ours),
        TEST(test_a_damaged_private_area),
        TEST(test_a_tpm_that_dies_and_comes_back),
        TEST(test_many_refusals_then_a_release),
    };

    fixture_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
