/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `escrowd init`: makes a member, once. The auth values are on disk before the TPM has them, and
 * the statement is written last, whole or not at all: without it the keeper does not start. What
 * fails before the TPM is changed is undone; what fails later is kept, because the TPM may have
 * auth values by then that stand nowhere else.
 */
#include "escrowd/keeper.h"
#include "escrowd/keeper_member.h"
#include "escrowd/tpm_provision.h"
#include "libescrow/encode.h"
#include "libescrow/file.h"
#include "libescrow/log.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A key of a discrete TPM takes seconds. */
#define TPM_TIMEOUT_MS 30000

/* What this init made, in this order, and no other one that runs beside it. */
static const char *const made_before_tpm[] = {MEMBER_RECOVERY, MEMBER_STORAGE_AUTH,
                                              MEMBER_ANSWER_KEY};

static enum escrow_err write_state(const struct escrowd_config *config, const char *name,
                                   const void *bytes, size_t len)
{
    CLEANUP(cleanup_free) char *path = keeper_member_path(config, name);

    return path ? file_create(path, 0600, bytes, len) : ESCROW_ERR_NO_MEMORY;
}

static enum escrow_err exists(const struct escrowd_config *config, const char *name,
                              bool *ret_exists)
{
    CLEANUP(cleanup_free) char *path = keeper_member_path(config, name);
    struct stat status;

    if (!path)
        return ESCROW_ERR_NO_MEMORY;
    *ret_exists = lstat(path, &status) == 0;
    return ESCROW_OK;
}

/* An earlier init, finished or not, is never overwritten. */
static enum escrow_err check_state(const struct escrowd_config *config)
{
    static const char *const names[] = {MEMBER_STATEMENT, MEMBER_STORE, MEMBER_ANSWER_KEY,
                                        MEMBER_STORAGE_AUTH, MEMBER_RECOVERY};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        bool is_there;
        enum escrow_err err = exists(config, names[i], &is_there);

        if (err)
            return err;
        if (!is_there)
            continue;
        if (i < 2)
            log_error("init: %s/%s exists: this member was initialised before; nothing was changed",
                      config->state_folder, names[i]);
        else
            log_error("init: %s/%s is left from an init that was interrupted; nothing was changed. "
                      "If the TPM holds anything of it, clear the TPM in the firmware's setup; "
                      "then remove the files in that folder and init again",
                      config->state_folder, names[i]);
        return ESCROW_ERR_EXISTS;
    }
    return ESCROW_OK;
}

/* After a failure: whoever finds the TPM as it was may begin again. */
static void undo(const struct escrowd_config *config, struct tpm *tpm, size_t made)
{
    if (made > 0 && tpm_provision_check(tpm)) {
        log_error("init: interrupted, and the TPM may be changed: the files in %s are kept, for "
                  "the auth values that it may have are in %s",
                  config->state_folder, MEMBER_RECOVERY);
        return;
    }
    while (made > 0) {
        CLEANUP(cleanup_free)
        char *path = keeper_member_path(config, made_before_tpm[--made]);

        if (!path || unlink(path) < 0)
            log_error("init: %s cannot be removed", made_before_tpm[made]);
    }
    log_error("init: interrupted; nothing was changed");
}

static enum escrow_err write_answer_key(const struct escrowd_config *config,
                                        struct ec_point *ret_point)
{
    CLEANUP(cleanup_free) char *path = keeper_member_path(config, MEMBER_ANSWER_KEY);
    CLEANUP(key_free_p) EVP_PKEY *key = key_generate();
    enum escrow_err err;

    if (!path || !key)
        return ESCROW_ERR_NO_MEMORY;
    err = key_point(key, ret_point);
    return err ? err : key_write_private(key, path);
}

/* Owner and lockout auth for the recovery key. */
static enum escrow_err write_recovery(const struct escrowd_config *config,
                                      const struct tpm_auths *auths)
{
    CLEANUP(key_free_p) EVP_PKEY *recovery = NULL;
    CLEANUP(cleanup_free) char *text = NULL;
    struct ec_point point;
    enum escrow_err err;

    if (!config->recovery_file) {
        log_error("init: the configuration must name recovery_file");
        return ESCROW_ERR_CONFIG;
    }
    err = key_read_public(config->recovery_file, &recovery);
    if (!err)
        err = key_point(recovery, &point);
    if (!err)
        err = tpm_recovery_seal(auths->owner, auths->lockout, &point, &text);
    return err ? err : write_state(config, MEMBER_RECOVERY, text, strlen(text));
}

/* Everything that must be on disk before the TPM is changed; *made counts made_before_tpm. */
static enum escrow_err write_files(const struct escrowd_config *config,
                                   const struct tpm_auths *auths, struct ec_point *ret_answer,
                                   size_t *made)
{
    enum escrow_err err = write_recovery(config, auths);

    if (err)
        return err;
    ++*made;
    err = write_state(config, MEMBER_STORAGE_AUTH, auths->storage->bytes, auths->storage->len);
    if (err)
        return err;
    ++*made;
    err = write_answer_key(config, ret_answer);
    if (err)
        return err;
    ++*made;
    return ESCROW_OK;
}

static enum escrow_err write_statement(const struct escrowd_config *config, struct tpm *tpm,
                                       const struct ec_point *answer)
{
    CLEANUP(cleanup_free) char *text = NULL, *path = NULL;
    struct tpm_member member;
    enum escrow_err err = tpm_member_read(tpm, config->tpm.pcrs, &member);

    if (err)
        return err;
    text = keeper_member_text(config->member, &member, answer);
    path = keeper_member_path(config, MEMBER_STATEMENT);
    if (!text || !path)
        return ESCROW_ERR_NO_MEMORY;
    err = file_replace(path, 0644, text, strlen(text));
    /* It may have its name already, and not for good. */
    if (err)
        (void)!unlink(path);
    return err;
}

/* What the policy authority compares with the statement that it was brought. */
static void say_member(const struct escrowd_config *config, const struct tpm_names *names)
{
    char storage[TPM_NAME_HEX + 1];

    hex_encode(names->storage.bytes, sizeof(names->storage.bytes), storage);
    log_notice("init: %s/%s is this member's statement for the roster; the Name of its storage key "
               "is %s",
               config->state_folder, MEMBER_STATEMENT, storage);
}

static enum escrow_err provision(const struct escrowd_config *config, struct tpm *tpm,
                                 const struct tpm_auths *auths)
{
    struct tpm_names names;
    struct ec_point answer;
    size_t made = 0;
    enum escrow_err err = write_files(config, auths, &answer, &made);

    if (!err)
        err = tpm_provision(tpm, auths, &names);
    if (err) {
        undo(config, tpm, made);
        return err;
    }
    tpm_attach(tpm, &names, auths->storage);
    err = write_statement(config, tpm, &answer);
    if (!err)
        say_member(config, &names);
    return err;
}

enum escrow_err keeper_init(const struct escrowd_config *config)
{
    CLEANUP(tpm_auths_deinit) struct tpm_auths auths = {0};
    CLEANUP(tpm_close_p) struct tpm *tpm = NULL; /* borrows from auths */
    enum escrow_err err = check_state(config);

    if (!err)
        err = tpm_open(config->tpm.tcti, TPM_TIMEOUT_MS, &tpm);
    if (!err)
        err = tpm_provision_check(tpm);
    if (!err)
        err = tpm_auths_new(&auths);
    if (!err)
        err = provision(config, tpm, &auths);
    if (err)
        return err;
    log_warning("init: the TPM's endorsement key was not checked: enroll this member only if you "
                "trust this machine (\"ek\": \"none\")");
    return ESCROW_OK;
}
