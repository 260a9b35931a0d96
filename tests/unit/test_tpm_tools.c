/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/file.h"
#include "libescrow/tpm_policy.h"
#include "libescrow/wrap.h"
#include "tests/unit/swtpm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * tpm2-tools as a witness that a blob is what the specification says, and not only what our own two
 * sides agree on: they import one of ours, and we open one of theirs.
 */
static struct swtpm swtpm;

static int setup(void **state)
{
    (void)state;
    swtpm_start(&swtpm);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    swtpm_stop(&swtpm);
    return 0;
}

static void path_of(const char *name, char ret_path[static 160])
{
    snprintf(ret_path, 160, "%s/%s", swtpm.folder, name);
}

/* Runs a shell text in the TPM's folder, with the tools talking to the TPM. */
static void shell(const char *text)
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        if (chdir(swtpm.folder) == 0 && setenv("TPM2TOOLS_TCTI", swtpm.setting, 1) == 0 &&
            freopen("tools.log", "a", stdout) && dup2(STDOUT_FILENO, STDERR_FILENO) >= 0)
            execl("/bin/sh", "sh", "-ec", text, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0) {
        CLEANUP(cleanup_free) char *log = NULL;
        char path[160];
        size_t len;

        path_of("tools.log", path);
        if (file_read(path, 65536, &log, &len) == ESCROW_OK)
            print_error("%s\n", log);
    }
    assert_int_equal(status, 0);
}

/* Files of the tools are TPM2Bs: two bytes of size before the content. */
static void write_sized(const char *name, const uint8_t *bytes, size_t len)
{
    char path[160];
    uint8_t sized[2 + WRAP_DUPLICATE_MAX] = {(uint8_t)(len >> 8), (uint8_t)len};

    path_of(name, path);
    memcpy(sized + 2, bytes, len);
    assert_int_equal(file_create(path, 0600, sized, 2 + len), ESCROW_OK);
}

static size_t read_file(const char *name, size_t skip, uint8_t *ret_bytes, size_t cap)
{
    CLEANUP(cleanup_free) char *text = NULL;
    char path[160];
    size_t len;

    path_of(name, path);
    assert_int_equal(file_read(path, skip + cap, &text, &len), ESCROW_OK);
    assert_true(len >= skip);
    memcpy(ret_bytes, text + skip, len - skip);
    return len - skip;
}

/* The tools make a storage key with the policy of ours, by their own reckoning. */
static void make_storage_key(void)
{
    shell("branch() { tpm2_startauthsession -S trial.ctx; tpm2_policypassword -S trial.ctx;"
          "  tpm2_policycommandcode -S trial.ctx -L $1.policy $1; tpm2_flushcontext trial.ctx; };"
          "branch TPM2_CC_Load; branch TPM2_CC_Import;"
          "tpm2_startauthsession -S trial.ctx; tpm2_policyor -S trial.ctx -L parent.policy"
          " sha256:TPM2_CC_Load.policy,TPM2_CC_Import.policy; tpm2_flushcontext trial.ctx;"
          "tpm2_createprimary -C o -G ecc256:aes128cfb -c parent.ctx -p storage -L parent.policy"
          " -a 'fixedtpm|fixedparent|sensitivedataorigin|restricted|decrypt|noda';"
          "tpm2_flushcontext -t;"
          "tpm2_readpublic -c parent.ctx -o parent.pub; tpm2_flushcontext -t");
}

static void test_both_ways(void **state)
{
    CLEANUP(secret_free_p) struct secret *data = secret_random(32);
    CLEANUP(secret_free_p) struct secret *sensitive = NULL;
    CLEANUP(secret_free_p) struct secret *opened = NULL;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    struct tpm_digest policy = {{0}};
    struct wrap_object object;
    struct wrap_blob blob, theirs = {0};
    struct ec_point parent, point;
    struct tpm_name name;
    uint8_t public_area[KEY_PUBLIC_MAX];
    char path[160];
    size_t len;

    (void)state;
    make_storage_key();
    len = read_file("parent.pub", 2, public_area, sizeof(public_area));
    assert_int_equal(key_public_parse(KEY_TPM_STORAGE, public_area, len, &parent, &name),
                     ESCROW_OK);

    assert_int_equal(tpm_policy_extend_duplicate(&policy), ESCROW_OK);
    assert_int_equal(wrap_object_new(policy.bytes, data, &object, &sensitive), ESCROW_OK);
    assert_int_equal(wrap_seal(&object, sensitive, &parent, &blob), ESCROW_OK);
    assert_int_equal(wrap_object_marshal(&object, public_area, &len), ESCROW_OK);
    write_sized("object.pub", public_area, len);
    write_sized("ours.dup", blob.duplicate, blob.duplicate_len);
    write_sized("ours.seed", blob.seed, blob.seed_len);
    path_of("ours.key", path);
    assert_int_equal(file_create(path, 0600, blob.inner_key, sizeof(blob.inner_key)), ESCROW_OK);
    assert_int_equal(key_point(recipient, &point), ESCROW_OK);
    assert_int_equal(key_public_marshal(KEY_RECIPIENT, &point, public_area, &len), ESCROW_OK);
    write_sized("recipient.pub", public_area, len);

    shell("use() { tpm2_startauthsession --policy-session -S use.ctx;"
          "  tpm2_policypassword -S use.ctx; tpm2_policycommandcode -S use.ctx $1;"
          "  tpm2_policyor -S use.ctx sha256:TPM2_CC_Load.policy,TPM2_CC_Import.policy; };"
          "use TPM2_CC_Import;"
          "tpm2_import -C parent.ctx -P session:use.ctx+storage -i ours.dup -s ours.seed -k "
          "ours.key -u object.pub"
          " -r object.priv; tpm2_flushcontext -t;"
          "tpm2_flushcontext use.ctx; use TPM2_CC_Load;"
          "tpm2_load -C parent.ctx -P session:use.ctx+storage -u object.pub -r object.priv -c "
          "object.ctx;"
          "tpm2_flushcontext -t; tpm2_flushcontext use.ctx;"
          "tpm2_loadexternal -C n -u recipient.pub -c recipient.ctx; tpm2_flushcontext -t;"
          "tpm2_startauthsession --policy-session -S session.ctx;"
          "tpm2_policycommandcode -S session.ctx TPM2_CC_Duplicate;"
          "tpm2_duplicate -C recipient.ctx -c object.ctx -G aes -o theirs.key"
          " -p session:session.ctx -r theirs.dup -s theirs.seed");
    theirs.duplicate_len = read_file("theirs.dup", 2, theirs.duplicate, sizeof(theirs.duplicate));
    theirs.seed_len = read_file("theirs.seed", 2, theirs.seed, sizeof(theirs.seed));
    assert_int_equal(read_file("theirs.key", 0, theirs.inner_key, sizeof(theirs.inner_key)),
                     sizeof(theirs.inner_key));
    assert_int_equal(wrap_open(&object, &theirs, recipient, &opened), ESCROW_OK);
    assert_true(secret_equal(opened, data));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_both_ways, setup, teardown),
    };

    if (secret_heap_init() != ESCROW_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
