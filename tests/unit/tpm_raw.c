/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/tpm_raw.h"

#include "escrowd/tpm_command.h"

#include <endian.h>
#include <err.h>
#include <string.h>

static TSS2_SYS_CONTEXT *sys(struct raw *raw)
{
    return raw->member->tpm->sys;
}

static TPM2B_DIGEST digest_2b(const struct tpm_digest *digest)
{
    TPM2B_DIGEST converted = {.size = TPM_DIGEST_BYTES};

    memcpy(converted.buffer, digest->bytes, TPM_DIGEST_BYTES);
    return converted;
}

static void start(struct raw *raw, struct member *member, TPM2_SE kind)
{
    const TPMT_SYM_DEF no_cipher = {.algorithm = TPM2_ALG_NULL};
    const TPM2B_ENCRYPTED_SECRET no_salt = {.size = 0};
    const TPM2B_NONCE nonce = {.size = 16};
    TPM2B_NONCE nonce_tpm = {0};
    TSS2_RC rc;

    *raw = (struct raw){.member = member};
    if (tpm_ready(member->tpm) != ESCROW_OK)
        errx(1, "raw: the TPM is not ready");
    rc = Tss2_Sys_StartAuthSession(sys(raw), TPM2_RH_NULL, TPM2_RH_NULL, NULL, &nonce, &no_salt,
                                   kind, &no_cipher, TPM2_ALG_SHA256, &raw->session, &nonce_tpm,
                                   NULL);
    if (rc)
        errx(1, "raw: StartAuthSession 0x%x", rc);
}

void raw_start(struct raw *raw, struct member *member)
{
    start(raw, member, TPM2_SE_POLICY);
}

void raw_start_trial(struct raw *raw, struct member *member)
{
    start(raw, member, TPM2_SE_TRIAL);
}

void raw_stop(struct raw *raw)
{
    const TPM2_HANDLE handles[] = {raw->session, raw->object, raw->recipient};

    for (size_t i = 0; i < ARRAY_LEN(handles); i++) {
        if (handles[i])
            Tss2_Sys_FlushContext(sys(raw), handles[i]);
    }
}

void raw_load(struct raw *raw, const struct deposit *deposit)
{
    struct tpm_object recipient = {.tpm = raw->member->tpm};
    TSS2_RC rc = raw_load_by(raw, deposit, raw->member->auths.storage);

    if (rc || tpm_load_point(KEY_RECIPIENT, &deposit->recipient.point, TPM2_RH_NULL, &recipient) !=
                  ESCROW_OK)
        errx(1, "raw: Load 0x%x", rc);
    raw->recipient = recipient.handle;
}

TSS2_RC raw_storage_session(struct raw *raw, TPM2_CC command, const struct secret *auth,
                            TSS2L_SYS_AUTH_COMMAND *ret_auths)
{
    struct tpm_digest branches[TPM_STORAGE_USES];
    struct raw session;
    TSS2_RC rc;

    raw_start(&session, raw->member);
    tpm_password(auth, ret_auths);
    ret_auths->auths[0].sessionHandle = session.session;
    ret_auths->auths[0].sessionAttributes = TPMA_SESSION_CONTINUESESSION;
    if (tpm_policy_storage_branches(branches) != ESCROW_OK ||
        Tss2_Sys_PolicyPassword(sys(raw), session.session, NULL, NULL) ||
        raw_policy_command(&session, command))
        errx(1, "raw: a session for the storage key");
    rc = raw_policy_or(&session, &branches[TPM_STORAGE_LOAD], &branches[TPM_STORAGE_IMPORT]);
    return rc;
}

TSS2_RC raw_load_by(struct raw *raw, const struct deposit *deposit, const struct secret *auth)
{
    TSS2L_SYS_AUTH_COMMAND auths;
    TPM2B_PRIVATE private_area = {.size = (UINT16)deposit->private_area.len};
    TPM2B_PUBLIC public;
    TPM2B_NAME name = {0};
    uint8_t public_area[WRAP_PUBLIC_MAX];
    size_t len;
    TSS2_RC rc;

    memcpy(private_area.buffer, deposit->private_area.bytes, deposit->private_area.len);
    if (wrap_object_marshal(&deposit->object, public_area, &len) != ESCROW_OK ||
        tpm_public_parse(public_area, len, &public) != ESCROW_OK)
        errx(1, "raw: public area");
    if (raw_storage_session(raw, TPM2_CC_Load, auth, &auths))
        errx(1, "raw: PolicyOR");
    rc = Tss2_Sys_Load(sys(raw), raw->member->tpm->storage, &auths, &private_area, &public,
                       &raw->object, &name, NULL);
    Tss2_Sys_FlushContext(sys(raw), auths.auths[0].sessionHandle);
    return rc;
}

TSS2_RC raw_digest(struct raw *raw, struct tpm_digest *ret_digest)
{
    TPM2B_DIGEST digest = {0};
    TSS2_RC rc = Tss2_Sys_PolicyGetDigest(sys(raw), raw->session, NULL, &digest, NULL);

    memcpy(ret_digest->bytes, digest.buffer, TPM_DIGEST_BYTES);
    return rc;
}

TSS2_RC raw_policy_signed(struct raw *raw, const struct tpm_signer *signer,
                          const struct tpm_digest *cphash, INT32 expiration)
{
    CLEANUP(tpm_object_flush) struct tpm_object key = {.tpm = raw->member->tpm};
    const TPM2B_NONCE empty = {.size = 0};
    const TPM2B_DIGEST cphash_2b = cphash ? digest_2b(cphash) : (TPM2B_DIGEST){.size = 0};
    TPM2B_TIMEOUT timeout = {0};
    TPMT_TK_AUTH ticket = {0};
    TPMT_SIGNATURE signature;

    if (tpm_load_point(KEY_SIGNER, &signer->key, TPM2_RH_NULL, &key) != ESCROW_OK)
        errx(1, "raw: LoadExternal");
    tpm_signature(signer->signature, &signature);
    return Tss2_Sys_PolicySigned(sys(raw), key.handle, raw->session, NULL, &empty, &cphash_2b,
                                 &empty, expiration, &signature, &timeout, &ticket, NULL);
}

TSS2_RC raw_policy_counter(struct raw *raw, uint64_t epoch)
{
    const TPM2_HANDLE counter = raw->member->tpm->counter;
    const uint64_t value = htobe64(epoch);
    TPM2B_OPERAND operand = {.size = sizeof(value)};
    TSS2L_SYS_AUTH_COMMAND empty;

    memcpy(operand.buffer, &value, sizeof(value));
    tpm_password(NULL, &empty);
    return Tss2_Sys_PolicyNV(sys(raw), counter, counter, raw->session, &empty, &operand, 0,
                             TPM2_EO_UNSIGNED_LE, NULL);
}

TSS2_RC raw_policy_pcrs(struct raw *raw, const struct tpm_pcrs *pcrs)
{
    const TPM2B_DIGEST digest = digest_2b(&pcrs->digest);
    TPML_PCR_SELECTION selection;

    tpm_pcr_selection(pcrs->selection, &selection);
    return Tss2_Sys_PolicyPCR(sys(raw), raw->session, NULL, &digest, &selection, NULL);
}

TSS2_RC raw_policy_command(struct raw *raw, TPM2_CC command)
{
    return Tss2_Sys_PolicyCommandCode(sys(raw), raw->session, NULL, command, NULL);
}

TSS2_RC raw_policy_or(struct raw *raw, const struct tpm_digest *a, const struct tpm_digest *b)
{
    const TPML_DIGEST branches = {.count = 2, .digests = {digest_2b(a), digest_2b(b)}};

    return Tss2_Sys_PolicyOR(sys(raw), raw->session, NULL, &branches, NULL);
}

TSS2_RC raw_policy_authorize(struct raw *raw, const struct deposit *deposit,
                             const struct tpm_approval *approval)
{
    const TPM2B_DIGEST policy = digest_2b(&approval->policy);
    TPMT_TK_VERIFIED ticket = {
        .tag = TPM2_ST_VERIFIED, .hierarchy = TPM2_RH_OWNER, .digest.size = approval->ticket_len};
    TPM2B_NAME key = {.size = TPM_NAME_BYTES};
    struct tpm_digest label;
    TPM2B_DIGEST label_2b;

    if (tpm_policy_label(approval->kind, FIXTURE_GROUP, &label) != ESCROW_OK)
        errx(1, "raw: label");
    label_2b = digest_2b(&label);
    memcpy(ticket.digest.buffer, approval->ticket, approval->ticket_len);
    memcpy(key.name, deposit->authority.name.bytes, TPM_NAME_BYTES);
    return Tss2_Sys_PolicyAuthorize(sys(raw), raw->session, NULL, &policy, &label_2b, &key, &ticket,
                                    NULL);
}

static TSS2L_SYS_AUTH_COMMAND by_session(const struct raw *raw)
{
    return (TSS2L_SYS_AUTH_COMMAND){
        .count = 1,
        .auths[0] = {.sessionHandle = raw->session,
                     .sessionAttributes = TPMA_SESSION_CONTINUESESSION},
    };
}

TSS2_RC raw_unseal(struct raw *raw)
{
    const TSS2L_SYS_AUTH_COMMAND auths = by_session(raw);
    TPM2B_SENSITIVE_DATA data = {0};

    return Tss2_Sys_Unseal(sys(raw), raw->object, &auths, &data, NULL);
}

TSS2_RC raw_unseal_by_password(struct raw *raw)
{
    TSS2L_SYS_AUTH_COMMAND empty;
    TPM2B_SENSITIVE_DATA data = {0};

    tpm_password(NULL, &empty);
    return Tss2_Sys_Unseal(sys(raw), raw->object, &empty, &data, NULL);
}

TSS2_RC raw_duplicate(struct raw *raw, TPM2_HANDLE parent, bool has_inner)
{
    const TSS2L_SYS_AUTH_COMMAND auths = by_session(raw);
    const TPMT_SYM_DEF_OBJECT aes = {
        .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB};
    const TPMT_SYM_DEF_OBJECT none = {.algorithm = TPM2_ALG_NULL};
    const TPM2B_DATA no_key = {.size = 0};
    TPM2B_DATA inner_key = {0};
    TPM2B_PRIVATE duplicate = {0};
    TPM2B_ENCRYPTED_SECRET seed = {0};

    return Tss2_Sys_Duplicate(sys(raw), raw->object, parent, &auths, &no_key,
                              has_inner ? &aes : &none, &inner_key, &duplicate, &seed, NULL);
}

TSS2_RC raw_rewrap(struct raw *raw, const struct deposit *deposit,
                   const TSS2L_SYS_AUTH_COMMAND *auths)
{
    TPM2B_PRIVATE duplicate = {.size = (UINT16)deposit->blob.duplicate_len}, rewrapped = {0};
    TPM2B_ENCRYPTED_SECRET seed = {.size = (UINT16)deposit->blob.seed_len}, new_seed = {0};
    TPM2B_NAME name = {.size = TPM_NAME_BYTES};

    memcpy(duplicate.buffer, deposit->blob.duplicate, deposit->blob.duplicate_len);
    memcpy(seed.secret, deposit->blob.seed, deposit->blob.seed_len);
    memcpy(name.name, deposit->object.name.bytes, TPM_NAME_BYTES);
    return Tss2_Sys_Rewrap(sys(raw), raw->member->tpm->storage, raw->recipient, auths, &duplicate,
                           &name, &seed, &rewrapped, &new_seed, NULL);
}

TSS2_RC raw_clear(struct member *member, const struct secret *lockout_auth)
{
    TSS2L_SYS_AUTH_COMMAND auths;

    tpm_password(lockout_auth, &auths);
    return Tss2_Sys_Clear(member->tpm->sys, TPM2_RH_LOCKOUT, &auths, NULL);
}
