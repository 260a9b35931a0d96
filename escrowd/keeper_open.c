/* SPDX-License-Identifier: Apache-2.0 */
/* keeper_open of keeper_state.h: from configuration to a keeper that can serve. */
#include "escrowd/clock.h"
#include "escrowd/keeper_approvals.h"
#include "escrowd/keeper_state.h"
#include "libescrow/encode.h"
#include "libescrow/log.h"

#include <sys/stat.h>

/* A segment is read and checked whole where a part of it is asked for. */
#define SEGMENT_BYTES ((uint64_t)4 * 1024 * 1024)
/* One command; a release is 14, and the supervisor's ping must not pass meanwhile. */
#define TPM_TIMEOUT_MS 3000

static enum escrow_err open_policy(struct keeper *keeper, int policy_fd)
{
    CLEANUP(config_report_deinit) struct config_report report = {0};
    enum escrow_err err =
        policy_load_fd(policy_fd, keeper->config->policy_file, &report, &keeper->policy);

    if (err) {
        config_report_log(&report);
        return err;
    }
    policy_warnings(keeper->policy, &report);
    for (size_t i = 0; i < report.count; i++)
        log_warning("%s", report.lines[i]);
    hex_encode(policy_digest(keeper->policy), POLICY_DIGEST_BYTES, keeper->rules);
    log_info("policy %s is in force: rules %s", keeper->config->policy_file, keeper->rules);
    return ESCROW_OK;
}

static enum escrow_err open_authority(struct keeper *keeper)
{
    enum escrow_err err = key_read_public(keeper->config->authority_file, &keeper->authority);

    if (!err)
        err = key_point(keeper->authority, &keeper->authority_point);
    if (!err)
        err = key_signer_name(&keeper->authority_point, &keeper->authority_name);
    return err;
}

static enum escrow_err open_member(struct keeper *keeper)
{
    enum escrow_err err = keeper_member_load(keeper->config, &keeper->member);

    if (!err)
        err = jws_signer_from_key(keeper->member->answer_key, &keeper->answer_signer);
    if (!err)
        err = tpm_open(keeper->config->tpm.tcti, TPM_TIMEOUT_MS, &keeper->tpm);
    if (err)
        return err;
    tpm_attach(keeper->tpm, &keeper->member->names, keeper->member->storage_auth);
    return ESCROW_OK;
}

/*
 * A log that does not fit the store is left as it is, for whoever comes to look: the keeper runs,
 * says so, and neither writes it nor releases anything.
 */
static enum escrow_err open_log(struct keeper *keeper)
{
    struct audit_reading reading;
    const struct audit_config config = {keeper->config->audit_folder, SEGMENT_BYTES, keeper_fold,
                                        keeper};
    enum escrow_err err = audit_settle(keeper->config->audit_folder);

    if (!err)
        err = ledger_replay(keeper->ledger, keeper->config->audit_folder, &reading);
    if (err == ESCROW_ERR_MALFORMED)
        return ESCROW_OK;
    if (err)
        return err;
    keeper->is_import_pending = true;
    return audit_open(&config, &reading, &keeper->audit);
}

static enum escrow_err open_store(struct keeper *keeper)
{
    CLEANUP(cleanup_free) char *path = keeper_member_path(keeper->config, MEMBER_STORE);
    enum escrow_err err;

    if (!path)
        return ESCROW_ERR_NO_MEMORY;
    err = store_open(path, &keeper->store);
    if (!err)
        err = ledger_open(keeper->store, keeper->authority, &keeper->ledger);
    return err ? err : open_log(keeper);
}

enum escrow_err keeper_open(struct keeper *keeper, const struct escrowd_config *config,
                            int policy_fd)
{
    static const struct ipc_reply sorry = {.reason = REASON_INTERNAL,
                                           .http_status = 500,
                                           .content = IPC_CONTENT_PROBLEM,
                                           .body = (const uint8_t *)""};
    enum escrow_err err;

    keeper->config = config;
    keeper->began_ms = clock_boot_ms();
    usage_init(IPC_PEER_KEEPER, config, &keeper->usage);
    LIST_INIT(&keeper->requests);
    keeper_tpm_init(keeper);
    /* What SQLite makes beside the database is as private as the database. */
    umask(077);
    keeper->nonces = nonces_new();
    keeper->refusals = refusals_new();
    keeper->denials = denials_new();
    keeper->heard = heard_new();
    keeper->served = served_new();
    keeper->approvals = approval_cache_new();
    ipc_put_reply(&keeper->sorry, &sorry);
    if (!keeper->nonces || !keeper->refusals || !keeper->denials || !keeper->heard ||
        !keeper->served || !keeper->approvals || keeper->sorry.err)
        return ESCROW_ERR_NO_MEMORY;
    err = open_policy(keeper, policy_fd);
    if (!err)
        err = open_authority(keeper);
    if (!err)
        err = open_member(keeper);
    return err ? err : open_store(keeper);
}

void keeper_close(struct keeper *keeper)
{
    keeper->is_stopping = true;
    keeper_tpm_stop(keeper);
    requests_drop(keeper);
    admission_free(keeper->admission);
    keeper_tpm_deinit(keeper);
    warm_free(keeper->warm);
    usage_deinit(&keeper->usage);
    ipc_channel_free(keeper->front);
    moot_free(keeper->moot);
    if (keeper->survey)
        survey_free(keeper->survey);
    if (keeper->settle)
        settle_free(keeper->settle);
    if (keeper->watch)
        watch_free(keeper->watch);
    if (keeper->probers)
        probers_free(keeper->probers);
    if (keeper->audit)
        audit_close(keeper->audit);
    keeper_alerts_free(keeper->alerts);
    if (keeper->ledger)
        ledger_close(keeper->ledger);
    if (keeper->store)
        store_close(keeper->store);
    if (keeper->tpm)
        tpm_close(keeper->tpm);
    if (keeper->member)
        keeper_member_free(keeper->member);
    EVP_PKEY_free(keeper->authority);
    policy_free(keeper->policy);
    approval_cache_free(keeper->approvals);
    ipc_writer_deinit(&keeper->sorry);
    if (keeper->refusals)
        refusals_free(keeper->refusals);
    denials_free(keeper->denials);
    heard_free(keeper->heard);
    served_free(keeper->served);
    if (keeper->nonces)
        nonces_free(keeper->nonces);
}
