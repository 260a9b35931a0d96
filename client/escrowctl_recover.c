/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover: what the recovery key is for. Works on files alone, without TPM, escrowd or
 * configuration; what it opens goes to one descriptor and nowhere else.
 */
#include "client/escrowctl.h"
#include "client/password.h"
#include "client/recovery_log.h"
#include "libescrow/encode.h"
#include "libescrow/file.h"
#include "libescrow/log.h"
#include "libescrow/tpm_recovery.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FD_MAX 1023

/* Where the secret goes. */
struct sink {
    const char *fd_text;
    bool may_be_terminal;
};

/* Before anything is opened: a terminal keeps what it shows. */
static enum escrow_err sink_open(const struct sink *sink, int *ret_fd)
{
    uint64_t fd;
    enum escrow_err err = ctl_number("out-fd", sink->fd_text, 0, FD_MAX, 0, &fd);

    if (err)
        return err;
    if (fcntl((int)fd, F_GETFD) < 0) {
        log_error("--out-fd %s: it is not open; in a shell, %s>FILE opens it", sink->fd_text,
                  sink->fd_text);
        return ESCROW_ERR_USAGE;
    }
    if (isatty((int)fd) && !sink->may_be_terminal) {
        log_error("--out-fd %s is a terminal, which keeps what it shows: say --to-terminal if it "
                  "may",
                  sink->fd_text);
        return ESCROW_ERR_USAGE;
    }
    *ret_fd = (int)fd;
    return ESCROW_OK;
}

struct recovery {
    const char *key_path, *authority_path, *version_text;
    struct recovery_search search;
    struct sink sink;
};

static enum escrow_err parse(struct ctl *ctl, struct recovery *recovery)
{
    const struct ctl_option options[] = {
        {.name = "key", .value = &recovery->key_path, .is_required = true},
        {.name = "folder", .value = &recovery->search.folder, .is_required = true},
        {.name = "group", .value = &recovery->search.group, .is_required = true},
        {.name = "database", .value = &recovery->search.database, .is_required = true},
        {.name = "version", .value = &recovery->version_text},
        {.name = "authority", .value = &recovery->authority_path},
        {.name = "out-fd", .value = &recovery->sink.fd_text, .is_required = true},
        {.name = "to-terminal", .flag = &recovery->sink.may_be_terminal},
    };
    uint64_t version = 0;
    enum escrow_err err = ctl_parse(ctl, options, ARRAY_LEN(options), 0, 0);

    if (!err)
        err = ctl_number("version", recovery->version_text, 1, UINT32_MAX, 0, &version);
    recovery->search.version = (uint32_t)version;
    return err;
}

static enum escrow_err run_recover(struct ctl *ctl)
{
    CLEANUP(key_free_p) EVP_PKEY *key = NULL;
    CLEANUP(key_free_p) EVP_PKEY *authority = NULL;
    CLEANUP(act_free_p) struct act *deposit = NULL;
    CLEANUP(secret_free_p) struct secret *password = NULL;
    struct recovery recovery = {0};
    int fd = -1;
    enum escrow_err err = parse(ctl, &recovery);

    if (!err)
        err = sink_open(&recovery.sink, &fd);
    if (!err)
        err = key_read_private(recovery.key_path, &key);
    if (!err && recovery.authority_path)
        err = key_read_public(recovery.authority_path, &authority);
    recovery.search.authority = authority;
    if (!err)
        err = recovery_find(&recovery.search, &deposit);
    if (!err)
        err = recovery_open(deposit, key, &password);
    return err ? err : password_write(fd, password);
}

/* As tpm2-tools take them: "owner hex:...", "lockout hex:...". */
static enum escrow_err auths_text(const struct secret *owner, const struct secret *lockout,
                                  struct secret **ret_text)
{
    static const char owner_word[] = "owner hex:", lockout_word[] = "\nlockout hex:";
    struct secret *text =
        secret_new(sizeof(owner_word) + sizeof(lockout_word) + 2 * (owner->len + lockout->len));
    char *at;

    if (!text)
        return ESCROW_ERR_NO_MEMORY;
    at = stpcpy((char *)text->bytes, owner_word);
    hex_encode(owner->bytes, owner->len, at);
    at = stpcpy(at + 2 * owner->len, lockout_word);
    hex_encode(lockout->bytes, lockout->len, at);
    text->len = strlen((char *)text->bytes);
    *ret_text = text;
    return ESCROW_OK;
}

static enum escrow_err open_auths(const char *path, EVP_PKEY *key, struct secret **ret_text)
{
    CLEANUP(cleanup_free) char *file = NULL;
    CLEANUP(secret_free_p) struct secret *owner = NULL;
    CLEANUP(secret_free_p) struct secret *lockout = NULL;
    size_t len;
    enum escrow_err err = file_read(path, TPM_RECOVERY_MAX, &file, &len);

    if (err == ESCROW_ERR_NOT_FOUND)
        log_error("%s: there is no such file", path);
    if (err)
        return err;
    err = tpm_recovery_open(file, len, key, &owner, &lockout);
    if (err) {
        log_error("%s: is not a member's recovery.json, or not for this recovery key", path);
        return err;
    }
    return auths_text(owner, lockout, ret_text);
}

static enum escrow_err run_tpm_auth(struct ctl *ctl)
{
    CLEANUP(key_free_p) EVP_PKEY *key = NULL;
    CLEANUP(secret_free_p) struct secret *text = NULL;
    const char *key_path = NULL, *file_path = NULL;
    struct sink sink = {0};
    const struct ctl_option options[] = {
        {.name = "key", .value = &key_path, .is_required = true},
        {.name = "file", .value = &file_path, .is_required = true},
        {.name = "out-fd", .value = &sink.fd_text, .is_required = true},
        {.name = "to-terminal", .flag = &sink.may_be_terminal},
    };
    int fd = -1;
    enum escrow_err err = ctl_parse(ctl, options, ARRAY_LEN(options), 0, 0);

    if (!err)
        err = sink_open(&sink, &fd);
    if (!err)
        err = key_read_private(key_path, &key);
    if (!err)
        err = open_auths(file_path, key, &text);
    return err ? err : password_write(fd, text);
}

const struct ctl_command ctl_recover_tpm_auth = {
    "recover tpm-auth", run_tpm_auth, "open the owner and lockout auth of a member's TPM",
    "--key RECOVERY-KEY --file RECOVERY-JSON --out-fd N [--to-terminal]\n"
    "\n"
    "Opens the recovery.json that `escrowd init` wrote into the state folder, and writes two "
    "lines\n"
    "to descriptor N: \"owner hex:...\" and \"lockout hex:...\", as tpm2-tools take them.\n"
    "\n"
    "  escrowctl recover tpm-auth --key recovery.key --file recovery.json --out-fd 3 3>auths\n"};

const struct ctl_command ctl_recover = {
    "recover", run_recover, "open a password by the recovery key, with files alone",
    "--key RECOVERY-KEY --folder FOLDER --group NAME --database NAME\n"
    "                         [--version N] [--authority PUBLIC-KEY] --out-fd N [--to-terminal]\n"
    "\n"
    "For the day when no escrowd is left. Takes the newest version that was deposited as active, "
    "or\n"
    "version N, from FOLDER, a copy of an audit_folder, and writes its password and a newline to\n"
    "descriptor N. The log is checked: its chain, the rosters, who signed the deposit.\n"
    "\n"
    "  escrowctl recover --key recovery.key --authority authority.pub --folder audit \\\n"
    "                    --group AG1 --database SSISDB --out-fd 3 3>password\n"};
