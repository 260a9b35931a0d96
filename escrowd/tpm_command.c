/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_command.h"

#include "libescrow/log.h"

#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>

#include <string.h>

/* Response codes (Part 2, 6.6): format one without the number of its parameter, handle, session. */
#define FORMAT_ONE_MASK 0x0bf
#define WARNING 0x900 /* format zero, TPM 2.0, warning */
#define WARNING_MASK 0x980

static enum escrow_err lose(struct tpm *tpm, bool is_state_lost)
{
    tpm->is_ready = false;
    tpm->is_state_lost = is_state_lost;
    return ESCROW_ERR_UNAVAILABLE;
}

/* What the TPM itself says. */
static enum escrow_err refusal(struct tpm *tpm, TSS2_RC rc)
{
    /* A handle of ours is unknown, or the slots are full: both pass with a new beginning. */
    if ((rc & WARNING_MASK) == WARNING)
        return lose(tpm, true);
    if (rc == TPM2_RC_INITIALIZE || rc == TPM2_RC_FAILURE)
        return lose(tpm, false);
    if (!(rc & TPM2_RC_FMT1))
        return ESCROW_ERR_TPM;
    switch (rc & FORMAT_ONE_MASK) {
    case TPM2_RC_SIGNATURE:
    case TPM2_RC_INTEGRITY:
    case TPM2_RC_ECC_POINT:
        return ESCROW_ERR_CRYPTO;
    default:
        return ESCROW_ERR_TPM;
    }
}

enum escrow_err tpm_result(struct tpm *tpm, const char *command, TSS2_RC rc)
{
    const TSS2_RC layer = rc & TSS2_RC_LAYER_MASK;

    if (rc == TSS2_RC_SUCCESS)
        return ESCROW_OK;
    if (layer == TSS2_TCTI_RC_LAYER) /* the transport has logged it */
        return lose(tpm, false);
    tpm->refusals++;
    log_error("tpm: %s: %s (0x%x)", command, Tss2_RC_Decode(rc), rc);
    if (layer == TSS2_TPM_RC_LAYER || layer == TSS2_RESMGR_TPM_RC_LAYER)
        return refusal(tpm, rc & ~TSS2_RC_LAYER_MASK);
    lose(tpm, false);
    return ESCROW_ERR_TPM;
}

void tpm_password(const struct secret *auth, TSS2L_SYS_AUTH_COMMAND *ret_auths)
{
    *ret_auths = (TSS2L_SYS_AUTH_COMMAND){.count = 1, .auths[0].sessionHandle = TPM2_RS_PW};
    if (auth && auth->len <= sizeof(ret_auths->auths[0].hmac.buffer)) {
        ret_auths->auths[0].hmac.size = (UINT16)auth->len;
        memcpy(ret_auths->auths[0].hmac.buffer, auth->bytes, auth->len);
    }
}

void tpm_password_wipe(TSS2L_SYS_AUTH_COMMAND *auths)
{
    secret_wipe(auths, sizeof(*auths));
}

void tpm_object_flush(struct tpm_object *object)
{
    /*
     * A failure has its log line, and the next tpm_ready flushes what is left. A TPM that is gone
     * is not asked: that would take one more deadline.
     */
    if (object->handle && object->tpm->is_ready &&
        tpm_result(object->tpm, "FlushContext",
                   Tss2_Sys_FlushContext(object->tpm->sys, object->handle)) != ESCROW_OK)
        object->tpm->is_ready = false;
    object->handle = 0;
}

enum escrow_err tpm_public_parse(const uint8_t *public_area, size_t len, TPM2B_PUBLIC *ret_public)
{
    TPM2B_PUBLIC public = {0};
    size_t offset = 0;

    if (Tss2_MU_TPMT_PUBLIC_Unmarshal(public_area, len, &offset, &public.publicArea) !=
            TSS2_RC_SUCCESS ||
        offset != len)
        return ESCROW_ERR_MALFORMED;
    *ret_public = public;
    return ESCROW_OK;
}

enum escrow_err tpm_load_point(enum key_kind kind, const struct ec_point *point,
                               TPMI_RH_HIERARCHY hierarchy, struct tpm_object *object)
{
    uint8_t public_area[KEY_PUBLIC_MAX];
    TPM2B_PUBLIC public;
    TPM2B_NAME name = {0};
    size_t len;
    enum escrow_err err = key_public_marshal(kind, point, public_area, &len);

    if (!err)
        err = tpm_public_parse(public_area, len, &public);
    if (err)
        return err;
    return tpm_result(object->tpm, "LoadExternal",
                      Tss2_Sys_LoadExternal(object->tpm->sys, NULL, NULL, &public, hierarchy,
                                            &object->handle, &name, NULL));
}

void tpm_signature(const uint8_t signature[static ECDSA_SIGNATURE_BYTES],
                   TPMT_SIGNATURE *ret_signature)
{
    TPMT_SIGNATURE converted = {.sigAlg = TPM2_ALG_ECDSA};
    TPMS_SIGNATURE_ECC *ecdsa = &converted.signature.ecdsa;

    ecdsa->hash = TPM2_ALG_SHA256;
    ecdsa->signatureR.size = ecdsa->signatureS.size = ECDSA_SIGNATURE_BYTES / 2;
    memcpy(ecdsa->signatureR.buffer, signature, ECDSA_SIGNATURE_BYTES / 2);
    memcpy(ecdsa->signatureS.buffer, signature + ECDSA_SIGNATURE_BYTES / 2,
           ECDSA_SIGNATURE_BYTES / 2);
    *ret_signature = converted;
}

void tpm_pcr_selection(uint32_t selection, TPML_PCR_SELECTION *ret_pcrs)
{
    *ret_pcrs = (TPML_PCR_SELECTION){
        .count = 1,
        .pcrSelections[0] = {.hash = TPM2_ALG_SHA256,
                             .sizeofSelect = 3,
                             .pcrSelect = {(BYTE)selection, (BYTE)(selection >> 8),
                                           (BYTE)(selection >> 16)}},
    };
}
