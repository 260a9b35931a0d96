/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_release.h"

#include "escrowd/tpm_command.h"
#include "escrowd/tpm_kept.h"
#include "libescrow/log.h"

#include <openssl/rand.h>

#include <endian.h>
#include <string.h>

#define PARAMETER_ERROR (TPM2_RC_FMT1 | TPM2_RC_P)

/* The inner wrapper of every blob (Part 1, 23.3.2.3). */
static const TPMT_SYM_DEF_OBJECT inner_cipher = {
    .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB};

static void digest_2b(const struct tpm_digest *digest, TPM2B_DIGEST *ret_digest)
{
    *ret_digest = (TPM2B_DIGEST){.size = TPM_DIGEST_BYTES};
    memcpy(ret_digest->buffer, digest->bytes, TPM_DIGEST_BYTES);
}

static enum escrow_err object_public(const struct wrap_object *object, TPM2B_PUBLIC *ret_public)
{
    uint8_t public_area[WRAP_PUBLIC_MAX];
    size_t len;
    enum escrow_err err = wrap_object_marshal(object, public_area, &len);

    return err ? err : tpm_public_parse(public_area, len, ret_public);
}

static enum escrow_err start_session(struct tpm *tpm)
{
    const TPMT_SYM_DEF no_cipher = {.algorithm = TPM2_ALG_NULL};
    const TPM2B_ENCRYPTED_SECRET no_salt = {.size = 0};
    TPM2B_NONCE nonce = {.size = TPM_DIGEST_BYTES}, nonce_tpm = {0};

    if (tpm->session)
        return ESCROW_OK;
    if (RAND_bytes(nonce.buffer, TPM_DIGEST_BYTES) != 1)
        return ESCROW_ERR_CRYPTO;
    return tpm_result(tpm, "StartAuthSession",
                      Tss2_Sys_StartAuthSession(tpm->sys, TPM2_RH_NULL, TPM2_RH_NULL, NULL, &nonce,
                                                &no_salt, TPM2_SE_POLICY, &no_cipher,
                                                TPM2_ALG_SHA256, &tpm->session, &nonce_tpm, NULL));
}

/* After a failure the session has half a policy in it. */
static void drop_session(struct tpm *tpm)
{
    struct tpm_object session = {tpm, tpm->is_ready ? tpm->session : 0};

    tpm_object_flush(&session);
    tpm->session = 0;
}

static TSS2_RC policy_command(struct tpm *tpm, TPM2_CC command)
{
    return Tss2_Sys_PolicyCommandCode(tpm->sys, tpm->session, NULL, command, NULL);
}

/*
 * The kept session satisfies the storage key's policy for one use (tpm_policy.h), and its auth
 * value stands in *ret_auths: wipe it. The use itself empties the session again.
 */
static enum escrow_err storage_session(struct tpm *tpm, enum tpm_storage_use use,
                                       TSS2L_SYS_AUTH_COMMAND *ret_auths)
{
    const TPM2_CC command = use == TPM_STORAGE_LOAD ? TPM2_CC_Load : TPM2_CC_Import;
    struct tpm_digest branches[TPM_STORAGE_USES];
    TPML_DIGEST branches_2b = {.count = TPM_STORAGE_USES};
    enum escrow_err err = tpm_policy_storage_branches(branches);

    for (size_t i = 0; i < TPM_STORAGE_USES && !err; i++)
        digest_2b(&branches[i], &branches_2b.digests[i]);
    if (!err)
        err = start_session(tpm);
    if (!err)
        err = tpm_result(tpm, "PolicyPassword",
                         Tss2_Sys_PolicyPassword(tpm->sys, tpm->session, NULL, NULL));
    if (!err)
        err = tpm_result(tpm, "PolicyCommandCode", policy_command(tpm, command));
    if (!err)
        err = tpm_result(tpm, "PolicyOR",
                         Tss2_Sys_PolicyOR(tpm->sys, tpm->session, NULL, &branches_2b, NULL));
    if (err)
        return err;
    tpm_password(tpm->auth, ret_auths);
    ret_auths->auths[0].sessionHandle = tpm->session;
    ret_auths->auths[0].sessionAttributes = TPMA_SESSION_CONTINUESESSION;
    return ESCROW_OK;
}

static enum escrow_err import_once(struct tpm *tpm, const TPM2B_PUBLIC *public,
                                   const struct wrap_blob *blob, TPM2B_PRIVATE *ret_imported)
{
    CLEANUP(tpm_password_wipe) TSS2L_SYS_AUTH_COMMAND auths = {0};
    TPM2B_DATA inner_key = {.size = WRAP_INNER_KEY_BYTES};
    TPM2B_PRIVATE duplicate = {.size = (UINT16)blob->duplicate_len};
    TPM2B_ENCRYPTED_SECRET seed = {.size = (UINT16)blob->seed_len};
    TSS2_RC rc;
    enum escrow_err err = tpm_ready(tpm);

    if (!err)
        err = storage_session(tpm, TPM_STORAGE_IMPORT, &auths);
    if (err)
        return err;
    memcpy(inner_key.buffer, blob->inner_key, WRAP_INNER_KEY_BYTES);
    memcpy(duplicate.buffer, blob->duplicate, blob->duplicate_len);
    memcpy(seed.secret, blob->seed, blob->seed_len);
    rc = Tss2_Sys_Import(tpm->sys, tpm->storage, &auths, &inner_key, public, &duplicate, &seed,
                         &inner_cipher, ret_imported, NULL);
    err = tpm_result(tpm, "Import", rc);
    /* Whatever parameter the TPM complains of: all of them came with the blob. */
    if (err == ESCROW_ERR_TPM && (rc & PARAMETER_ERROR) == PARAMETER_ERROR)
        return ESCROW_ERR_CRYPTO;
    return err;
}

/* A TPM that restarted unseen does not know the kept session: once more, from the beginning. */
static bool is_worth_repeating(const struct tpm *tpm, enum escrow_err err)
{
    return err == ESCROW_ERR_UNAVAILABLE && tpm->is_state_lost;
}

enum escrow_err tpm_import(struct tpm *tpm, const struct wrap_object *object,
                           const struct wrap_blob *blob, struct tpm_private *ret_private)
{
    TPM2B_PRIVATE imported = {0};
    TPM2B_PUBLIC public;
    enum escrow_err err = wrap_blob_check(blob);

    if (!err)
        err = object_public(object, &public);
    if (err)
        return err;
    err = import_once(tpm, &public, blob, &imported);
    if (is_worth_repeating(tpm, err))
        err = import_once(tpm, &public, blob, &imported);
    if (err) {
        drop_session(tpm);
        return err;
    }
    if (imported.size > TPM_PRIVATE_MAX)
        return ESCROW_ERR_TPM;
    ret_private->len = imported.size;
    memcpy(ret_private->bytes, imported.buffer, imported.size);
    return ESCROW_OK;
}

enum escrow_err tpm_approval_verify(struct tpm *tpm, const struct ec_point *authority,
                                    const char *group, struct tpm_approval *approval)
{
    CLEANUP(tpm_object_flush) struct tpm_object key = {.tpm = tpm};
    TPMT_TK_VERIFIED ticket = {0};
    TPMT_SIGNATURE signature;
    TPM2B_DIGEST digest;
    struct tpm_digest signed_digest;
    enum escrow_err err;

    if (approval->ticket_len)
        return ESCROW_OK;
    err = key_check_point(authority);
    if (!err)
        err = tpm_policy_approval_digest(approval->kind, group, &approval->policy, &signed_digest);
    if (!err)
        err = tpm_ready(tpm);
    /* Only a key in a hierarchy with a proof of its own gives a ticket. */
    if (!err)
        err = tpm_load_point(KEY_SIGNER, authority, TPM2_RH_OWNER, &key);
    if (err)
        return err;
    digest_2b(&signed_digest, &digest);
    tpm_signature(approval->signature, &signature);
    err = tpm_result(
        tpm, "VerifySignature",
        Tss2_Sys_VerifySignature(tpm->sys, key.handle, NULL, &digest, &signature, &ticket, NULL));
    if (err)
        return err;
    if (ticket.digest.size == 0 || ticket.digest.size > sizeof(approval->ticket))
        return ESCROW_ERR_TPM;
    memcpy(approval->ticket, ticket.digest.buffer, ticket.digest.size);
    approval->ticket_len = ticket.digest.size;
    return ESCROW_OK;
}

static enum escrow_err policy_signed(struct tpm *tpm, const struct tpm_signer *signer,
                                     const struct tpm_digest *cphash)
{
    CLEANUP(tpm_object_flush) struct tpm_object key = {.tpm = tpm};
    const TPM2B_NONCE empty = {.size = 0};
    TPM2B_TIMEOUT timeout = {0};
    TPMT_TK_AUTH ticket = {0};
    TPMT_SIGNATURE signature;
    TPM2B_DIGEST cphash_2b;
    enum escrow_err err = tpm_load_point(KEY_SIGNER, &signer->key, TPM2_RH_NULL, &key);

    if (err)
        return err;
    digest_2b(cphash, &cphash_2b);
    tpm_signature(signer->signature, &signature);
    return tpm_result(tpm, "PolicySigned",
                      Tss2_Sys_PolicySigned(tpm->sys, key.handle, tpm->session, NULL, &empty,
                                            &cphash_2b, &empty, 0, &signature, &timeout, &ticket,
                                            NULL));
}

static enum escrow_err policy_counter(struct tpm *tpm, uint64_t epoch)
{
    const uint64_t value = htobe64(epoch);
    TPM2B_OPERAND operand = {.size = sizeof(value)};
    TSS2L_SYS_AUTH_COMMAND empty;

    memcpy(operand.buffer, &value, sizeof(value));
    tpm_password(NULL, &empty);
    return tpm_result(tpm, "PolicyNV",
                      Tss2_Sys_PolicyNV(tpm->sys, tpm->counter, tpm->counter, tpm->session, &empty,
                                        &operand, 0, TPM2_EO_UNSIGNED_LE, NULL));
}

static enum escrow_err policy_pcrs(struct tpm *tpm, const struct tpm_pcrs *pcrs)
{
    TPML_PCR_SELECTION selection;
    TPM2B_DIGEST digest;

    tpm_pcr_selection(pcrs->selection, &selection);
    digest_2b(&pcrs->digest, &digest);
    return tpm_result(tpm, "PolicyPCR",
                      Tss2_Sys_PolicyPCR(tpm->sys, tpm->session, NULL, &digest, &selection, NULL));
}

static enum escrow_err policy_authorize(struct tpm *tpm, const struct tpm_name *authority,
                                        const char *group, const struct tpm_approval *approval)
{
    TPMT_TK_VERIFIED ticket = {
        .tag = TPM2_ST_VERIFIED, .hierarchy = TPM2_RH_OWNER, .digest.size = approval->ticket_len};
    TPM2B_NAME key = {.size = TPM_NAME_BYTES};
    TPM2B_DIGEST policy, label_2b;
    struct tpm_digest label;
    enum escrow_err err = tpm_policy_label(approval->kind, group, &label);

    if (err)
        return err;
    memcpy(ticket.digest.buffer, approval->ticket, approval->ticket_len);
    memcpy(key.name, authority->bytes, TPM_NAME_BYTES);
    digest_2b(&approval->policy, &policy);
    digest_2b(&label, &label_2b);
    return tpm_result(tpm, "PolicyAuthorize",
                      Tss2_Sys_PolicyAuthorize(tpm->sys, tpm->session, NULL, &policy, &label_2b,
                                               &key, &ticket, NULL));
}

/* The release session of tpm_policy.h, up to the point where it equals the object's authPolicy. */
static enum escrow_err satisfy_policy(struct tpm *tpm, const struct tpm_release_request *request,
                                      const struct tpm_digest *cphash)
{
    struct tpm_name authority;
    enum escrow_err err = key_signer_name(request->authority, &authority);

    if (!err)
        err = start_session(tpm);
    for (size_t i = 0; !err && i < request->signer_count; i++)
        err = policy_signed(tpm, &request->signers[i], cphash);
    if (!err)
        err = policy_counter(tpm, request->node->epoch);
    if (!err)
        err = policy_authorize(tpm, &authority, request->group, request->node);
    if (!err)
        err = policy_pcrs(tpm, &request->host->pcrs);
    if (!err)
        err = policy_counter(tpm, request->host->epoch);
    if (!err)
        err = policy_authorize(tpm, &authority, request->group, request->host);
    if (err)
        return err;
    return tpm_result(tpm, "PolicyCommandCode", policy_command(tpm, TPM2_CC_Duplicate));
}

/* And keeps it. */
static enum escrow_err load_anew(struct tpm *tpm, const struct wrap_object *object,
                                 const struct tpm_private *private_area, struct tpm_object *loaded)
{
    CLEANUP(tpm_password_wipe) TSS2L_SYS_AUTH_COMMAND auths = {0};
    TPM2B_PRIVATE private_2b = {.size = (UINT16)private_area->len};
    TPM2B_PUBLIC public;
    TPM2B_NAME name = {0};
    enum escrow_err err;

    if (private_area->len > TPM_PRIVATE_MAX)
        return ESCROW_ERR_MALFORMED;
    memcpy(private_2b.buffer, private_area->bytes, private_area->len);
    err = object_public(object, &public);
    if (!err)
        err = storage_session(tpm, TPM_STORAGE_LOAD, &auths);
    if (!err)
        err = tpm_result(tpm, "Load",
                         Tss2_Sys_Load(tpm->sys, tpm->storage, &auths, &private_2b, &public,
                                       &loaded->handle, &name, NULL));
    if (!err)
        tpm_kept_save(tpm, &object->name, loaded);
    return err;
}

static enum escrow_err load(struct tpm *tpm, const struct tpm_release_request *request,
                            struct tpm_object *object)
{
    enum escrow_err err = tpm_kept_load(tpm, &request->object->name, object);

    if (err != ESCROW_ERR_NOT_FOUND)
        return err;
    return load_anew(tpm, request->object, request->private_area, object);
}

static enum escrow_err prepare_once(struct tpm *tpm, const struct wrap_object *object,
                                    const struct tpm_private *private_area)
{
    CLEANUP(tpm_object_flush) struct tpm_object loaded = {.tpm = tpm};
    enum escrow_err err = tpm_ready(tpm);

    if (err || tpm_kept_has(tpm, &object->name))
        return err;
    err = load_anew(tpm, object, private_area, &loaded);
    if (err)
        drop_session(tpm);
    return err;
}

enum escrow_err tpm_prepare(struct tpm *tpm, const struct wrap_object *object,
                            const struct tpm_private *private_area)
{
    enum escrow_err err;

    tpm_transport_hold(&tpm->transport);
    err = prepare_once(tpm, object, private_area);
    if (is_worth_repeating(tpm, err))
        err = prepare_once(tpm, object, private_area);
    tpm_transport_let_go(&tpm->transport);
    return err;
}

static enum escrow_err copy_blob(const TPM2B_DATA *inner_key, const TPM2B_PRIVATE *duplicate,
                                 const TPM2B_ENCRYPTED_SECRET *seed, struct wrap_blob *ret_blob)
{
    struct wrap_blob blob = {.duplicate_len = duplicate->size, .seed_len = seed->size};

    if (inner_key->size != WRAP_INNER_KEY_BYTES || duplicate->size > WRAP_DUPLICATE_MAX ||
        seed->size > WRAP_SEED_MAX) {
        log_error("tpm: Duplicate: an answer of another size than the template's");
        return ESCROW_ERR_TPM;
    }
    memcpy(blob.inner_key, inner_key->buffer, WRAP_INNER_KEY_BYTES);
    memcpy(blob.duplicate, duplicate->buffer, duplicate->size);
    memcpy(blob.seed, seed->secret, seed->size);
    *ret_blob = blob;
    return ESCROW_OK;
}

static enum escrow_err duplicate(struct tpm *tpm, const struct tpm_release_request *request,
                                 const struct tpm_digest *cphash, struct wrap_blob *ret_blob)
{
    CLEANUP(tpm_object_flush) struct tpm_object object = {.tpm = tpm};
    CLEANUP(tpm_object_flush) struct tpm_object recipient = {.tpm = tpm};
    TSS2L_SYS_AUTH_COMMAND auths = {.count = 1,
                                    .auths[0].sessionAttributes = TPMA_SESSION_CONTINUESESSION};
    const TPM2B_DATA no_key = {.size = 0};
    TPM2B_DATA inner_key = {0};
    TPM2B_PRIVATE duplicate_area = {0};
    TPM2B_ENCRYPTED_SECRET seed = {0};
    /* First, for it may use the session too. */
    enum escrow_err err = load(tpm, request, &object);

    if (!err)
        err = satisfy_policy(tpm, request, cphash);
    if (!err)
        err = tpm_load_point(KEY_RECIPIENT, request->recipient, TPM2_RH_NULL, &recipient);
    auths.auths[0].sessionHandle = tpm->session;
    if (!err)
        err = tpm_result(tpm, "Duplicate",
                         Tss2_Sys_Duplicate(tpm->sys, object.handle, recipient.handle, &auths,
                                            &no_key, &inner_cipher, &inner_key, &duplicate_area,
                                            &seed, NULL));
    return err ? err : copy_blob(&inner_key, &duplicate_area, &seed, ret_blob);
}

static enum escrow_err release_once(struct tpm *tpm, const struct tpm_release_request *request,
                                    const struct tpm_digest *cphash, struct wrap_blob *ret_blob)
{
    enum escrow_err err = tpm_ready(tpm);

    if (!err)
        err = tpm_approval_verify(tpm, request->authority, request->group, request->node);
    if (!err)
        err = tpm_approval_verify(tpm, request->authority, request->group, request->host);
    if (err)
        return err;
    err = duplicate(tpm, request, cphash, ret_blob);
    if (err)
        drop_session(tpm);
    return err;
}

static enum escrow_err check_points(const struct tpm_release_request *request)
{
    enum escrow_err err = key_check_point(request->recipient);

    for (size_t i = 0; !err && i < request->signer_count; i++)
        err = key_check_point(&request->signers[i].key);
    return err;
}

enum escrow_err tpm_release(struct tpm *tpm, const struct tpm_release_request *request,
                            struct wrap_blob *ret_blob)
{
    struct tpm_name recipient;
    struct tpm_digest cphash;
    enum escrow_err err = check_points(request);

    if (!err)
        err = key_recipient_name(request->recipient, &recipient);
    if (!err)
        err = tpm_policy_duplicate_cphash(&request->object->name, &recipient, &cphash);
    if (err)
        return err;
    tpm_transport_hold(&tpm->transport);
    err = release_once(tpm, request, &cphash, ret_blob);
    if (is_worth_repeating(tpm, err))
        err = release_once(tpm, request, &cphash, ret_blob);
    tpm_transport_let_go(&tpm->transport);
    return err;
}
