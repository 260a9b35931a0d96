/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_command.h"
#include "escrowd/tpm_find.h"
#include "escrowd/tpm_member.h"
#include "escrowd/tpm_provision.h"
#include "tests/unit/tpm_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct member member;

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

static void test_the_statement(void **state)
{
    struct tpm_member statement;
    struct ec_point point;
    struct tpm_name name;

    (void)state;
    assert_int_equal(tpm_member_read(member.tpm, FIXTURE_PCRS, &statement), ESCROW_OK);
    assert_int_equal(key_public_parse(KEY_TPM_STORAGE, statement.storage_public,
                                      statement.storage_public_len, &point, &name),
                     ESCROW_OK);
    assert_true(tpm_name_equal(&name, &member.names.storage));
    assert_memory_equal(&point, &statement.storage_point, sizeof(point));
    assert_int_equal(key_public_parse(KEY_TPM_AUDIT, statement.audit_public,
                                      statement.audit_public_len, &point, &name),
                     ESCROW_OK);
    assert_true(tpm_name_equal(&name, &member.names.audit));
    assert_true(tpm_name_equal(&statement.names.counter, &member.names.counter));
    assert_int_equal(statement.pcrs.selection, FIXTURE_PCRS);
    assert_true(statement.epoch > 0);
}

static void test_bad_selections(void **state)
{
    struct tpm_pcrs pcrs;

    (void)state;
    assert_int_equal(tpm_pcrs_read(member.tpm, 0, &pcrs), ESCROW_ERR_CONFIG);
    assert_int_equal(tpm_pcrs_read(member.tpm, 1U << TPM_PCRS, &pcrs), ESCROW_ERR_CONFIG);
}

static void test_members_differ(void **state)
{
    struct member other;

    (void)state;
    member_start(&other);
    assert_false(tpm_name_equal(&member.names.storage, &other.names.storage));
    assert_false(tpm_name_equal(&member.names.audit, &other.names.audit));
    assert_false(tpm_name_equal(&member.names.counter, &other.names.counter));
    assert_false(secret_equal(member.auths.storage, other.auths.storage));
    assert_false(secret_equal(member.auths.owner, other.auths.owner));
    assert_false(secret_equal(member.auths.owner, member.auths.lockout));
    member_stop(&other);
}

static struct tpm_name primary_from(const TPM2B_PUBLIC *template)
{
    CLEANUP(tpm_object_flush) struct tpm_object object = {.tpm = member.tpm};
    CLEANUP(tpm_password_wipe) TSS2L_SYS_AUTH_COMMAND owner = {0};
    const TPM2B_SENSITIVE_CREATE sensitive = {.size = 0};
    const TPM2B_DATA no_info = {.size = 0};
    const TPML_PCR_SELECTION no_pcrs = {.count = 0};
    TPM2B_PUBLIC created = {0};
    TPM2B_CREATION_DATA creation = {0};
    TPM2B_DIGEST hash = {0};
    TPMT_TK_CREATION ticket = {0};
    TPM2B_NAME name = {0};
    struct tpm_name copy;

    tpm_password(member.auths.owner, &owner);
    assert_int_equal(Tss2_Sys_CreatePrimary(member.tpm->sys, TPM2_RH_OWNER, &owner, &sensitive,
                                            template, &no_info, &no_pcrs, &object.handle, &created,
                                            &creation, &hash, &ticket, &name, NULL),
                     0);
    memcpy(copy.bytes, name.name, TPM_NAME_BYTES);
    return copy;
}

/* Else whoever had the TPM before could have kept the same key, with an auth value of his own. */
static void test_nobody_can_have_made_the_key_before(void **state)
{
    struct tpm_member statement;
    TPM2B_PUBLIC template;
    struct tpm_name first, second;

    (void)state;
    assert_int_equal(tpm_member_read(member.tpm, FIXTURE_PCRS, &statement), ESCROW_OK);
    assert_int_equal(
        tpm_public_parse(statement.storage_public, statement.storage_public_len, &template),
        ESCROW_OK);
    memset(&template.publicArea.unique, 0, sizeof(template.publicArea.unique));
    first = primary_from(&template);
    second = primary_from(&template);
    assert_true(tpm_name_equal(&first, &second));
    assert_false(tpm_name_equal(&first, &member.names.storage));
}

/* Handles a TPM holds, as one number: nothing came, nothing went. */
static size_t count_handles(struct tpm *tpm)
{
    struct tpm_handles keys, indices;

    assert_int_equal(tpm_list(tpm, TPM_FIRST_PERSISTENT, &keys), ESCROW_OK);
    assert_int_equal(tpm_list(tpm, TPM_FIRST_INDEX, &indices), ESCROW_OK);
    return keys.count * 1000 + indices.count;
}

static void test_a_second_init_changes_nothing(void **state)
{
    struct tpm_names names;
    size_t handles;

    (void)state;
    assert_int_equal(tpm_check(member.tpm), ESCROW_OK);
    handles = count_handles(member.tpm);
    assert_int_equal(handles, 2001);
    assert_int_equal(tpm_provision_check(member.tpm), ESCROW_ERR_EXISTS);
    assert_int_equal(tpm_provision(member.tpm, &member.auths, &names), ESCROW_ERR_EXISTS);
    assert_int_equal(count_handles(member.tpm), handles);
    assert_int_equal(tpm_check(member.tpm), ESCROW_OK);
}

/* The owner's doors closed by somebody else, before any init. */
static void test_a_tpm_with_another_owner(void **state)
{
    CLEANUP(swtpm_stop) struct swtpm swtpm;
    CLEANUP(tpm_close_p) struct tpm *tpm = NULL;
    const TPM2B_AUTH auth = {.size = 1, .buffer = {'x'}};
    TSS2L_SYS_AUTH_COMMAND empty;

    (void)state;
    swtpm_start(&swtpm);
    assert_int_equal(tpm_open(swtpm.setting, TPM_COMMAND_TIMEOUT_MS, &tpm), ESCROW_OK);
    assert_int_equal(tpm_provision_check(tpm), ESCROW_OK);
    tpm_password(NULL, &empty);
    assert_int_equal(Tss2_Sys_HierarchyChangeAuth(tpm->sys, TPM2_RH_OWNER, &empty, &auth, NULL), 0);
    assert_int_equal(tpm_provision_check(tpm), ESCROW_ERR_EXISTS);
}

static TSS2_TCTI_TRANSMIT_FCN transmit;
static unsigned commands_left;

/* A connection that breaks after so many commands. */
static TSS2_RC transmit_some(TSS2_TCTI_CONTEXT *context, size_t size, const uint8_t *command)
{
    if (commands_left == 0)
        return TSS2_TCTI_RC_IO_ERROR;
    commands_left--;
    return transmit(context, size, command);
}

static enum escrow_err provision_some(const char *setting, unsigned commands,
                                      const struct tpm_auths *auths)
{
    CLEANUP(tpm_close_p) struct tpm *tpm = NULL;
    struct tpm_names names;

    assert_int_equal(tpm_open(setting, TPM_COMMAND_TIMEOUT_MS, &tpm), ESCROW_OK);
    commands_left = commands;
    transmit = tpm->transport.tcti.transmit;
    tpm->transport.tcti.transmit = transmit_some;
    return tpm_provision(tpm, auths, &names);
}

/* TPM2_Clear with the lockout auth if it is set; a wrong one would lock the lockout hierarchy. */
static void clear(struct tpm *tpm, const struct secret *lockout)
{
    TSS2L_SYS_AUTH_COMMAND auths;
    TPMS_CAPABILITY_DATA data = {0};
    TPMI_YES_NO more;
    bool is_set;

    assert_int_equal(Tss2_Sys_GetCapability(tpm->sys, NULL, TPM2_CAP_TPM_PROPERTIES,
                                            TPM2_PT_PERMANENT, 1, &more, &data, NULL),
                     0);
    is_set = data.data.tpmProperties.tpmProperty[0].value & TPMA_PERMANENT_LOCKOUTAUTHSET;
    tpm_password(is_set ? lockout : NULL, &auths);
    assert_int_equal(Tss2_Sys_Clear(tpm->sys, TPM2_RH_LOCKOUT, &auths, NULL), 0);
}

/*
 * An init that dies after each number of commands: the next one says that something is there (or
 * starts from nothing), and until the last command TPM2_Clear makes the TPM as new.
 */
static void test_an_interrupted_init(void **state)
{
    CLEANUP(swtpm_stop) struct swtpm swtpm;
    CLEANUP(tpm_auths_deinit) struct tpm_auths auths = {NULL, NULL, NULL};
    enum escrow_err err = ESCROW_ERR_UNAVAILABLE;
    unsigned commands;

    (void)state;
    swtpm_start(&swtpm);
    assert_int_equal(tpm_auths_new(&auths), ESCROW_OK);
    for (commands = 0; err == ESCROW_ERR_UNAVAILABLE && commands < 60; commands++) {
        CLEANUP(tpm_close_p) struct tpm *tpm = NULL;

        err = provision_some(swtpm.setting, commands, &auths);
        assert_int_equal(tpm_open(swtpm.setting, TPM_COMMAND_TIMEOUT_MS, &tpm), ESCROW_OK);
        if (err == ESCROW_ERR_UNAVAILABLE && tpm_provision_check(tpm) != ESCROW_OK) {
            clear(tpm, auths.lockout);
            assert_int_equal(tpm_provision_check(tpm), ESCROW_OK);
        }
    }
    assert_int_equal(err, ESCROW_OK);
}

static void test_recovery(void **state)
{
    CLEANUP(secret_free_p) struct secret *owner = NULL, *lockout = NULL;
    CLEANUP(cleanup_free) char *text = NULL;
    struct actor recovery;
    uint64_t epoch;

    (void)state;
    actor_new(&recovery);
    assert_int_equal(
        tpm_recovery_seal(member.auths.owner, member.auths.lockout, &recovery.point, &text),
        ESCROW_OK);
    assert_int_equal(tpm_recovery_open(text, strlen(text), recovery.key, &owner, &lockout),
                     ESCROW_OK);
    assert_true(secret_equal(lockout, member.auths.lockout));
    /* What the recovery key is for: it is the TPM's owner. */
    assert_int_equal(tpm_epoch_increment(member.tpm, owner, &epoch), ESCROW_OK);
    actor_free(&recovery);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_statement),
        TEST(test_bad_selections),
        TEST(test_members_differ),
        TEST(test_nobody_can_have_made_the_key_before),
        TEST(test_a_second_init_changes_nothing),
        cmocka_unit_test(test_a_tpm_with_another_owner),
        cmocka_unit_test(test_an_interrupted_init),
        TEST(test_recovery),
    };

    fixture_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
