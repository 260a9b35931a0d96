/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_context.h"

#include "escrowd/tpm_command.h"
#include "escrowd/tpm_find.h"
#include "escrowd/tpm_kept.h"
#include "libescrow/encode.h"
#include "libescrow/log.h"

#include <stdlib.h>

enum escrow_err tpm_open(const char *setting, int command_timeout_ms, struct tpm **ret_tpm)
{
    CLEANUP(tpm_close_p) struct tpm *tpm = calloc(1, sizeof(*tpm));
    enum escrow_err err;

    if (!tpm)
        return ESCROW_ERR_NO_MEMORY;
    tpm->transport.fd = tpm->transport.stop_fd = -1;
    err = tpm_transport_init(setting, command_timeout_ms, &tpm->transport);
    if (err)
        return err;
    tpm->sys_size = Tss2_Sys_GetContextSize(0);
    tpm->sys = calloc(1, tpm->sys_size);
    if (!tpm->sys)
        return ESCROW_ERR_NO_MEMORY;
    *ret_tpm = TAKE(tpm);
    return ESCROW_OK;
}

void tpm_close(struct tpm *tpm)
{
    struct tpm_object session = {tpm, tpm->is_ready ? tpm->session : 0};

    tpm_object_flush(&session);
    tpm_kept_forget(tpm);
    tpm_transport_deinit(&tpm->transport);
    if (tpm->sys) {
        secret_wipe(tpm->sys, tpm->sys_size); /* its buffer held auth values */
        free(tpm->sys);
    }
    free(tpm);
}

void tpm_stop(struct tpm *tpm)
{
    tpm_transport_stop(&tpm->transport);
}

void tpm_attach(struct tpm *tpm, const struct tpm_names *names, const struct secret *auth)
{
    tpm->names = *names;
    tpm->auth = auth;
    tpm->is_attached = true;
    tpm->is_ready = false;
}

/*
 * A TPM has a handful of slots for objects and sessions; what a crashed process left there would
 * stay until the next reset.
 */
static enum escrow_err flush_leftovers(struct tpm *tpm)
{
    static const TPM2_HANDLE kinds[] = {TPM_FIRST_TRANSIENT, TPM_FIRST_LOADED_SESSION,
                                        TPM_FIRST_SAVED_SESSION};
    size_t flushed = 0;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct tpm_handles left;
        enum escrow_err err = tpm_list(tpm, kinds[i], &left);

        for (size_t j = 0; !err && j < left.count; j++, flushed++)
            err = tpm_result(tpm, "FlushContext", Tss2_Sys_FlushContext(tpm->sys, left.handles[j]));
        if (err)
            return err;
    }
    if (flushed)
        log_notice("tpm: flushed %zu objects and sessions that were left in the TPM", flushed);
    return ESCROW_OK;
}

static enum escrow_err missing(const char *what, const struct tpm_name *name)
{
    char text[TPM_NAME_HEX + 1];

    hex_encode(name->bytes, TPM_NAME_BYTES, text);
    log_error("tpm: this TPM does not hold the %s of this member (Name %s): another TPM, or it was "
              "cleared",
              what, text);
    return ESCROW_ERR_NOT_FOUND;
}

static enum escrow_err find_attached(struct tpm *tpm)
{
    enum escrow_err err = tpm_find_key(tpm, &tpm->names.storage, &tpm->storage);

    if (err)
        return err == ESCROW_ERR_NOT_FOUND ? missing("storage key", &tpm->names.storage) : err;
    err = tpm_find_key(tpm, &tpm->names.audit, &tpm->audit);
    if (err)
        return err == ESCROW_ERR_NOT_FOUND ? missing("audit key", &tpm->names.audit) : err;
    err = tpm_find_index(tpm, &tpm->names.counter, &tpm->counter);
    if (err)
        return err == ESCROW_ERR_NOT_FOUND ? missing("epoch counter", &tpm->names.counter) : err;
    return ESCROW_OK;
}

static enum escrow_err begin(struct tpm *tpm)
{
    TSS2_ABI_VERSION version = TSS2_ABI_VERSION_CURRENT;
    enum escrow_err err;

    tpm_transport_disconnect(&tpm->transport);
    tpm->session = 0;
    tpm_kept_forget(tpm);
    err = tpm_result(tpm, "Initialize",
                     Tss2_Sys_Initialize(tpm->sys, tpm->sys_size,
                                         tpm_transport_tcti(&tpm->transport), &version));
    if (!err)
        err = flush_leftovers(tpm);
    if (!err && tpm->is_attached)
        err = find_attached(tpm);
    return err;
}

enum escrow_err tpm_ready(struct tpm *tpm)
{
    enum escrow_err err;

    if (tpm->is_ready)
        return ESCROW_OK;
    err = begin(tpm);
    tpm->is_ready = err == ESCROW_OK;
    tpm->beginnings += tpm->is_ready;
    return err;
}

/* Since it was asked last. */
static bool was_reset(struct tpm *tpm, uint32_t resets)
{
    const bool was_reset = tpm->is_checked && tpm->resets != resets;

    tpm->is_checked = true;
    tpm->resets = resets;
    return was_reset;
}

enum escrow_err tpm_check(struct tpm *tpm)
{
    TPMS_TIME_INFO time = {0};
    enum escrow_err err = tpm_ready(tpm);

    if (!err)
        err = tpm_result(tpm, "ReadClock", Tss2_Sys_ReadClock(tpm->sys, NULL, &time, NULL));
    if (err || !was_reset(tpm, time.clockInfo.resetCount))
        return err;
    /* Between two questions: it answers, but session and saved objects are void. */
    tpm->is_ready = false;
    return tpm_ready(tpm);
}

uint64_t tpm_commands(const struct tpm *tpm)
{
    return tpm->transport.commands;
}

void tpm_numbers(const struct tpm *tpm, struct tpm_numbers *ret_numbers)
{
    *ret_numbers = (struct tpm_numbers){.commands = tpm->transport.commands,
                                        .beginnings = tpm->beginnings,
                                        .losses = tpm->transport.failures,
                                        .refusals = tpm->refusals,
                                        .times = tpm->transport.times};
}
