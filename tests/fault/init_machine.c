/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/init_machine.h"

#include "escrowd/keeper_member.h"
#include "escrowd/tpm_command.h"
#include "escrowd/tpm_provision.h"
#include "libescrow/file.h"
#include "libescrow/tpm_recovery.h"
#include "tests/fault/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define TPM_MS 20000

void machine_start(struct machine *machine)
{
    const char *base = getenv("TMPDIR");

    memset(machine, 0, sizeof(*machine));
    swtpm_start(&machine->swtpm);
    snprintf(machine->folder, sizeof(machine->folder), "%.150s/init.XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(machine->folder));
    snprintf(machine->state, sizeof(machine->state), "%s/state", machine->folder);
    snprintf(machine->recovery_file, sizeof(machine->recovery_file), "%s/pem", machine->folder);
    assert_int_equal(mkdir(machine->state, 0700), 0);
    machine->recovery = key_generate();
    assert_int_equal(key_write_public(machine->recovery, machine->recovery_file), ESCROW_OK);
    machine->config = (struct escrowd_config){
        .member = "m0",
        .tpm = {.tcti = machine->swtpm.setting, .pcrs = 1U << 7},
        .state_folder = machine->state,
        .recovery_file = machine->recovery_file,
    };
}

void machine_stop(struct machine *machine)
{
    folder_clear(machine->state);
    unlink(machine->recovery_file);
    assert_int_equal(rmdir(machine->state), 0);
    assert_int_equal(rmdir(machine->folder), 0);
    EVP_PKEY_free(machine->recovery);
    swtpm_stop(&machine->swtpm);
}

bool machine_has(const struct machine *machine, const char *name)
{
    char path[300];

    snprintf(path, sizeof(path), "%s/%s", machine->state, name);
    return access(path, F_OK) == 0;
}

unsigned machine_check_files(const struct machine *machine, bool may_be_cut)
{
    DIR *folder = opendir(machine->state);
    const struct dirent *entry;
    unsigned count = 0;

    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        const bool is_public =
            strncmp(entry->d_name, MEMBER_STATEMENT, strlen(MEMBER_STATEMENT)) == 0;
        struct stat status;

        if (entry->d_name[0] == '.')
            continue;
        assert_int_equal(fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW), 0);
        assert_true(status.st_mode == (S_IFREG | 0600) ||
                    (is_public && status.st_mode == (S_IFREG | 0644)));
        assert_true(may_be_cut || status.st_size > 0);
        count++;
    }
    closedir(folder);
    return count;
}

static bool is_set(struct tpm *tpm, TPMA_PERMANENT bit)
{
    TPMS_CAPABILITY_DATA data = {0};
    TPMI_YES_NO more;

    assert_int_equal(Tss2_Sys_GetCapability(tpm->sys, NULL, TPM2_CAP_TPM_PROPERTIES,
                                            TPM2_PT_PERMANENT, 1, &more, &data, NULL),
                     0);
    return data.data.tpmProperties.tpmProperty[0].value & bit;
}

/* The value opens the hierarchy: it can be changed to itself. */
static void assert_opens(struct tpm *tpm, TPM2_HANDLE hierarchy, const struct secret *auth)
{
    TPM2B_AUTH same = {.size = (UINT16)auth->len};
    TSS2L_SYS_AUTH_COMMAND password;

    memcpy(same.buffer, auth->bytes, auth->len);
    tpm_password(auth, &password);
    assert_int_equal(Tss2_Sys_HierarchyChangeAuth(tpm->sys, hierarchy, &password, &same, NULL), 0);
}

bool machine_check_tpm(const struct machine *machine)
{
    CLEANUP(tpm_close_p) struct tpm *tpm = NULL;
    CLEANUP(secret_free_p) struct secret *owner = NULL, *lockout = NULL;
    CLEANUP(cleanup_free) char *text = NULL;
    char path[300];
    size_t len;

    assert_int_equal(tpm_open(machine->config.tpm.tcti, TPM_MS, &tpm), ESCROW_OK);
    if (tpm_provision_check(tpm) == ESCROW_OK)
        return true;
    assert_true(machine_has(machine, MEMBER_STORAGE_AUTH) &&
                machine_has(machine, MEMBER_ANSWER_KEY));
    snprintf(path, sizeof(path), "%s/%s", machine->state, MEMBER_RECOVERY);
    assert_int_equal(file_read(path, 4096, &text, &len), ESCROW_OK);
    assert_int_equal(tpm_recovery_open(text, len, machine->recovery, &owner, &lockout), ESCROW_OK);
    if (is_set(tpm, TPMA_PERMANENT_OWNERAUTHSET))
        assert_opens(tpm, TPM2_RH_OWNER, owner);
    if (is_set(tpm, TPMA_PERMANENT_LOCKOUTAUTHSET))
        assert_opens(tpm, TPM2_RH_LOCKOUT, lockout);
    return false;
}

void machine_assert_member(const struct machine *machine)
{
    CLEANUP(keeper_member_free_p) struct keeper_member *member = NULL;
    CLEANUP(tpm_close_p) struct tpm *tpm = NULL; /* borrows from member */

    assert_int_equal(machine_check_files(machine, false), 4);
    assert_int_equal(keeper_member_load(&machine->config, &member), ESCROW_OK);
    assert_int_equal(tpm_open(machine->config.tpm.tcti, TPM_MS, &tpm), ESCROW_OK);
    tpm_attach(tpm, &member->names, member->storage_auth);
    assert_int_equal(tpm_check(tpm), ESCROW_OK);
}
