/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_member.h"

#include "escrowd/tpm_command.h"
#include "escrowd/tpm_find.h"
#include "libescrow/log.h"

#include <openssl/evp.h>
#include <tss2/tss2_mu.h>

#include <endian.h>
#include <string.h>

CLEANUP_FUNCTION(hash_free_p, EVP_MD_CTX, EVP_MD_CTX_free)

static uint32_t selected_pcrs(const TPML_PCR_SELECTION *pcrs)
{
    const TPMS_PCR_SELECTION *first = &pcrs->pcrSelections[0];

    if (pcrs->count != 1 || first->hash != TPM2_ALG_SHA256 || first->sizeofSelect != 3)
        return 0;
    return (uint32_t)first->pcrSelect[0] | (uint32_t)first->pcrSelect[1] << 8 |
           (uint32_t)first->pcrSelect[2] << 16;
}

/* Hashes the next PCRs (a TPM hands out at most eight at a time), and takes them off *left. */
static enum escrow_err hash_pcrs(struct tpm *tpm, EVP_MD_CTX *context, uint32_t *left)
{
    TPML_PCR_SELECTION wanted, got = {0};
    TPML_DIGEST values = {0};
    UINT32 updates = 0;
    uint32_t read;
    enum escrow_err err;

    tpm_pcr_selection(*left, &wanted);
    err = tpm_result(tpm, "PCR_Read",
                     Tss2_Sys_PCR_Read(tpm->sys, NULL, &wanted, &updates, &got, &values, NULL));
    if (err)
        return err;
    read = selected_pcrs(&got);
    /* An unselected PCR, none at all (no SHA-256 bank), or values that are not one for each. */
    if (read == 0 || (read & ~*left) || (uint32_t)__builtin_popcount(read) != values.count) {
        log_error("tpm: PCR_Read: the TPM has no SHA-256 values for the PCRs 0x%06x", *left);
        return ESCROW_ERR_TPM;
    }
    for (UINT32 i = 0; i < values.count; i++) {
        if (EVP_DigestUpdate(context, values.digests[i].buffer, values.digests[i].size) != 1)
            return ESCROW_ERR_CRYPTO;
    }
    *left &= ~read;
    return ESCROW_OK;
}

enum escrow_err tpm_pcrs_read(struct tpm *tpm, uint32_t selection, struct tpm_pcrs *ret_pcrs)
{
    CLEANUP(hash_free_p) EVP_MD_CTX *context = EVP_MD_CTX_new();
    struct tpm_pcrs pcrs = {.selection = selection};
    uint32_t left = selection;
    enum escrow_err err;

    if (selection == 0 || selection >> TPM_PCRS) {
        log_error("tpm: 0x%x selects no PCR, or one above %d", selection, TPM_PCRS - 1);
        return ESCROW_ERR_CONFIG;
    }
    if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1)
        return ESCROW_ERR_CRYPTO;
    err = tpm_ready(tpm);
    while (!err && left)
        err = hash_pcrs(tpm, context, &left);
    if (err)
        return err;
    if (EVP_DigestFinal_ex(context, pcrs.digest.bytes, NULL) != 1)
        return ESCROW_ERR_CRYPTO;
    *ret_pcrs = pcrs;
    return ESCROW_OK;
}

enum escrow_err tpm_epoch_read(struct tpm *tpm, uint64_t *ret_epoch)
{
    TSS2L_SYS_AUTH_COMMAND empty;
    TPM2B_MAX_NV_BUFFER data = {0};
    uint64_t value;
    enum escrow_err err = tpm_ready(tpm);

    if (err)
        return err;
    tpm_password(NULL, &empty);
    err = tpm_result(tpm, "NV_Read",
                     Tss2_Sys_NV_Read(tpm->sys, tpm->counter, tpm->counter, &empty, sizeof(value),
                                      0, &data, NULL));
    if (err)
        return err;
    if (data.size != sizeof(value))
        return ESCROW_ERR_TPM;
    memcpy(&value, data.buffer, sizeof(value));
    *ret_epoch = be64toh(value);
    return ESCROW_OK;
}

enum escrow_err tpm_epoch_increment(struct tpm *tpm, const struct secret *owner_auth,
                                    uint64_t *ret_epoch)
{
    CLEANUP(tpm_password_wipe) TSS2L_SYS_AUTH_COMMAND auths = {0};
    enum escrow_err err = tpm_ready(tpm);

    if (err)
        return err;
    tpm_password(owner_auth, &auths);
    err = tpm_result(tpm, "NV_Increment",
                     Tss2_Sys_NV_Increment(tpm->sys, TPM2_RH_OWNER, tpm->counter, &auths, NULL));
    return err ? err : tpm_epoch_read(tpm, ret_epoch);
}

/* The public area at a handle, and its point and Name, which must be the attached one. */
static enum escrow_err read_public(struct tpm *tpm, TPM2_HANDLE handle, enum key_tpm_kind kind,
                                   uint8_t ret_public[static KEY_PUBLIC_MAX], size_t *ret_len,
                                   struct ec_point *ret_point)
{
    const struct tpm_name *wanted =
        kind == KEY_TPM_STORAGE ? &tpm->names.storage : &tpm->names.audit;
    TPM2B_PUBLIC public;
    struct tpm_name name;
    size_t len = 0;
    enum escrow_err err = tpm_read_key(tpm, handle, &public, &name);

    if (err)
        return err;
    if (Tss2_MU_TPMT_PUBLIC_Marshal(&public.publicArea, ret_public, KEY_PUBLIC_MAX, &len) !=
        TSS2_RC_SUCCESS)
        return ESCROW_ERR_TPM;
    err = key_public_parse(kind, ret_public, len, ret_point, &name);
    if (err)
        return err;
    *ret_len = len;
    return tpm_name_equal(&name, wanted) ? ESCROW_OK : ESCROW_ERR_TPM;
}

enum escrow_err tpm_member_read(struct tpm *tpm, uint32_t selection, struct tpm_member *ret_member)
{
    struct tpm_member member = {.names = tpm->names};
    struct ec_point audit_point;
    enum escrow_err err = tpm_pcrs_read(tpm, selection, &member.pcrs);

    if (!err)
        err = read_public(tpm, tpm->storage, KEY_TPM_STORAGE, member.storage_public,
                          &member.storage_public_len, &member.storage_point);
    if (!err)
        err = read_public(tpm, tpm->audit, KEY_TPM_AUDIT, member.audit_public,
                          &member.audit_public_len, &audit_point);
    if (!err)
        err = tpm_epoch_read(tpm, &member.epoch);
    if (err)
        return err;
    *ret_member = member;
    return ESCROW_OK;
}

enum escrow_err tpm_clock_read(struct tpm *tpm, struct tpm_clock *ret_clock)
{
    TPMS_TIME_INFO time = {0};
    enum escrow_err err = tpm_ready(tpm);

    if (!err)
        err = tpm_result(tpm, "ReadClock", Tss2_Sys_ReadClock(tpm->sys, NULL, &time, NULL));
    if (err)
        return err;
    *ret_clock = (struct tpm_clock){time.clockInfo.clock, time.clockInfo.resetCount};
    return ESCROW_OK;
}
