/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_provision.h"

#include "escrowd/tpm_command.h"
#include "escrowd/tpm_find.h"
#include "libescrow/log.h"
#include "libescrow/tpm_policy.h"

#include <openssl/rand.h>

#include <string.h>

/* Where the search for free handles begins, in the owner's ranges; no handle has a meaning. */
#define KEY_HANDLE_FIRST 0x81008000
#define INDEX_HANDLE_FIRST 0x01808000
#define EPOCH_BYTES 8

#define KEY_ATTRIBUTES                                                                             \
    (TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |            \
     TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED)
/* No userWithAuth: only the policy says which commands may use the storage key. */
#define STORAGE_ATTRIBUTES (KEY_ATTRIBUTES | TPMA_OBJECT_DECRYPT)
#define AUDIT_ATTRIBUTES (KEY_ATTRIBUTES | TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_SIGN_ENCRYPT)

static const TPMA_NV counter_attributes = TPMA_NV_OWNERWRITE | TPMA_NV_AUTHREAD |
                                          TPMA_NV_OWNERREAD | TPMA_NV_NO_DA |
                                          TPM2_NT_COUNTER << TPMA_NV_TPM2_NT_SHIFT;

void tpm_auths_deinit(struct tpm_auths *auths)
{
    secret_free(auths->storage);
    secret_free(auths->owner);
    secret_free(auths->lockout);
    *auths = (struct tpm_auths){NULL, NULL, NULL};
}

enum escrow_err tpm_auths_new(struct tpm_auths *ret_auths)
{
    struct tpm_auths auths = {secret_random(TPM_AUTH_BYTES), secret_random(TPM_AUTH_BYTES),
                              secret_random(TPM_AUTH_BYTES)};

    if (!auths.storage || !auths.owner || !auths.lockout) {
        tpm_auths_deinit(&auths);
        return ESCROW_ERR_NO_MEMORY;
    }
    *ret_auths = auths;
    return ESCROW_OK;
}

static void sensitive_wipe(TPM2B_SENSITIVE_CREATE *sensitive)
{
    secret_wipe(sensitive, sizeof(*sensitive));
}

static void auth_wipe(TPM2B_AUTH *auth)
{
    secret_wipe(auth, sizeof(*auth));
}

static enum escrow_err key_template(enum key_tpm_kind kind, TPM2B_PUBLIC *ret_public)
{
    TPM2B_PUBLIC public = {.publicArea = {.type = TPM2_ALG_ECC, .nameAlg = TPM2_ALG_SHA256}};
    TPMT_PUBLIC *area = &public.publicArea;
    TPMS_ECC_PARMS *ecc = &area->parameters.eccDetail;
    struct tpm_digest policy;
    enum escrow_err err = tpm_policy_storage(&policy);

    if (err)
        return err;
    ecc->curveID = TPM2_ECC_NIST_P256;
    ecc->kdf.scheme = TPM2_ALG_NULL;
    if (kind == KEY_TPM_STORAGE) {
        area->objectAttributes = STORAGE_ATTRIBUTES;
        area->authPolicy.size = TPM_DIGEST_BYTES;
        memcpy(area->authPolicy.buffer, policy.bytes, TPM_DIGEST_BYTES);
        ecc->symmetric.algorithm = TPM2_ALG_AES;
        ecc->symmetric.keyBits.aes = 128;
        ecc->symmetric.mode.aes = TPM2_ALG_CFB;
        ecc->scheme.scheme = TPM2_ALG_NULL;
    } else {
        area->objectAttributes = AUDIT_ATTRIBUTES;
        ecc->symmetric.algorithm = TPM2_ALG_NULL;
        ecc->scheme.scheme = TPM2_ALG_ECDSA;
        ecc->scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
    }
    *ret_public = public;
    return ESCROW_OK;
}

/* Whether a key has the form of one of ours: attributes and purpose, whoever made it. */
static bool is_our_form(const TPMT_PUBLIC *public)
{
    const TPMA_OBJECT attributes = public->objectAttributes;
    const TPMS_ECC_PARMS *ecc = &public->parameters.eccDetail;

    if (public->type != TPM2_ALG_ECC || public->nameAlg != TPM2_ALG_SHA256 ||
        ecc->curveID != TPM2_ECC_NIST_P256)
        return false;
    return attributes == STORAGE_ATTRIBUTES || attributes == AUDIT_ATTRIBUTES;
}

static bool is_our_index(const TPMS_NV_PUBLIC *public)
{
    return (public->attributes & ~TPMA_NV_WRITTEN) == counter_attributes &&
           public->nameAlg == TPM2_ALG_SHA256 && public->authPolicy.size == TPM_AUTH_BYTES &&
           public->dataSize == EPOCH_BYTES;
}

static enum escrow_err count_keys(struct tpm *tpm, size_t *found)
{
    struct tpm_handles handles;
    enum escrow_err err = tpm_list(tpm, TPM_FIRST_PERSISTENT, &handles);

    if (err)
        return err;
    for (size_t i = 0; i < handles.count; i++) {
        TPM2B_PUBLIC public;
        struct tpm_name name;

        err = tpm_read_key(tpm, handles.handles[i], &public, &name);
        if (err == ESCROW_ERR_NOT_FOUND)
            continue;
        if (err)
            return err;
        if (!is_our_form(&public.publicArea))
            continue;
        log_error("tpm: there is a key of escrowd's form at handle 0x%08x", handles.handles[i]);
        (*found)++;
    }
    return ESCROW_OK;
}

static enum escrow_err count_indices(struct tpm *tpm, size_t *found)
{
    struct tpm_handles handles;
    enum escrow_err err = tpm_list(tpm, TPM_FIRST_INDEX, &handles);

    if (err)
        return err;
    for (size_t i = 0; i < handles.count; i++) {
        TPM2B_NV_PUBLIC public;
        struct tpm_name name;

        err = tpm_read_index(tpm, handles.handles[i], &public, &name);
        if (err == ESCROW_ERR_NOT_FOUND)
            continue;
        if (err)
            return err;
        if (!is_our_index(&public.nvPublic))
            continue;
        log_error("tpm: there is an epoch counter of escrowd's form at NV index 0x%08x",
                  handles.handles[i]);
        (*found)++;
    }
    return ESCROW_OK;
}

static enum escrow_err count_hierarchies(struct tpm *tpm, size_t *found)
{
    static const struct {
        TPMA_PERMANENT bit;
        const char *what;
    } flags[] = {{TPMA_PERMANENT_OWNERAUTHSET, "an owner auth is set"},
                 {TPMA_PERMANENT_LOCKOUTAUTHSET, "a lockout auth is set"},
                 {TPMA_PERMANENT_DISABLECLEAR, "TPM2_Clear is disabled"}};
    TPMS_CAPABILITY_DATA data = {0};
    const TPML_TAGGED_TPM_PROPERTY *properties = &data.data.tpmProperties;
    TPMI_YES_NO more = TPM2_NO;
    enum escrow_err err =
        tpm_result(tpm, "GetCapability",
                   Tss2_Sys_GetCapability(tpm->sys, NULL, TPM2_CAP_TPM_PROPERTIES,
                                          TPM2_PT_PERMANENT, 1, &more, &data, NULL));

    if (err)
        return err;
    if (properties->count != 1 || properties->tpmProperty[0].property != TPM2_PT_PERMANENT)
        return ESCROW_ERR_TPM;
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (!(properties->tpmProperty[0].value & flags[i].bit))
            continue;
        log_error("tpm: %s", flags[i].what);
        (*found)++;
    }
    return ESCROW_OK;
}

enum escrow_err tpm_provision_check(struct tpm *tpm)
{
    size_t found = 0;
    enum escrow_err err = tpm_ready(tpm);

    if (!err)
        err = count_hierarchies(tpm, &found);
    if (!err)
        err = count_keys(tpm, &found);
    if (!err)
        err = count_indices(tpm, &found);
    if (err)
        return err;
    if (found == 0)
        return ESCROW_OK;
    log_error("tpm: this TPM already is a member's, or an init was interrupted, or somebody else "
              "owns it; nothing was changed. If nothing in it is needed any more, clear it (in the "
              "firmware's setup, or by TPM2_Clear with the lockout auth while that is enabled), "
              "then init again");
    return ESCROW_ERR_EXISTS;
}

static enum escrow_err create_primary(struct tpm *tpm, enum key_tpm_kind kind,
                                      const struct secret *auth, struct tpm_object *object,
                                      struct tpm_name *ret_name)
{
    CLEANUP(sensitive_wipe) TPM2B_SENSITIVE_CREATE sensitive = {0};
    const TPM2B_DATA no_info = {.size = 0};
    const TPML_PCR_SELECTION no_pcrs = {.count = 0};
    TPM2B_AUTH *user_auth = &sensitive.sensitive.userAuth;
    TSS2L_SYS_AUTH_COMMAND empty;
    TPM2B_PUBLIC public, created = {0};
    TPM2B_CREATION_DATA creation = {0};
    TPM2B_DIGEST creation_hash = {0};
    TPMT_TK_CREATION ticket = {0};
    TPM2B_NAME name = {0};
    TPMS_ECC_POINT *unique;
    enum escrow_err err = key_template(kind, &public);

    if (err)
        return err;
    user_auth->size = (UINT16)auth->len;
    memcpy(user_auth->buffer, auth->bytes, auth->len);
    /*
     * A primary key follows from the owner's seed and the template, whatever its auth value: only
     * random bytes in the template make a key that nobody could have made before, with another one.
     */
    unique = &public.publicArea.unique.ecc;
    unique->x.size = unique->y.size = EC_COORDINATE_BYTES;
    if (RAND_bytes(unique->x.buffer, EC_COORDINATE_BYTES) != 1 ||
        RAND_bytes(unique->y.buffer, EC_COORDINATE_BYTES) != 1)
        return ESCROW_ERR_CRYPTO;
    tpm_password(NULL, &empty);
    err = tpm_result(tpm, "CreatePrimary",
                     Tss2_Sys_CreatePrimary(tpm->sys, TPM2_RH_OWNER, &empty, &sensitive, &public,
                                            &no_info, &no_pcrs, &object->handle, &created,
                                            &creation, &creation_hash, &ticket, &name, NULL));
    if (err)
        return err;
    if (name.size != TPM_NAME_BYTES)
        return ESCROW_ERR_TPM;
    memcpy(ret_name->bytes, name.name, TPM_NAME_BYTES);
    return ESCROW_OK;
}

/* Makes a key and gives it a persistent handle. */
static enum escrow_err make_key(struct tpm *tpm, enum key_tpm_kind kind, const struct secret *auth,
                                struct tpm_name *ret_name)
{
    CLEANUP(tpm_object_flush) struct tpm_object object = {.tpm = tpm};
    TSS2L_SYS_AUTH_COMMAND empty;
    struct tpm_handles handles;
    TPM2_HANDLE persistent;
    enum escrow_err err = tpm_list(tpm, TPM_FIRST_PERSISTENT, &handles);

    if (!err)
        err = create_primary(tpm, kind, auth, &object, ret_name);
    if (err)
        return err;
    persistent = tpm_free_handle(&handles, KEY_HANDLE_FIRST);
    tpm_password(NULL, &empty);
    err = tpm_result(
        tpm, "EvictControl",
        Tss2_Sys_EvictControl(tpm->sys, TPM2_RH_OWNER, object.handle, &empty, persistent, NULL));
    if (!err)
        log_notice("tpm: made the %s key at handle 0x%08x",
                   kind == KEY_TPM_STORAGE ? "storage" : "audit", persistent);
    return err;
}

static enum escrow_err make_counter(struct tpm *tpm, struct tpm_name *ret_name)
{
    const TPM2B_AUTH no_auth = {.size = 0};
    TPM2B_NV_PUBLIC public = {.nvPublic = {.nameAlg = TPM2_ALG_SHA256,
                                           .attributes = counter_attributes,
                                           .authPolicy.size = TPM_AUTH_BYTES,
                                           .dataSize = EPOCH_BYTES}};
    TPM2_HANDLE index;
    TSS2L_SYS_AUTH_COMMAND empty;
    struct tpm_handles handles;
    enum escrow_err err = tpm_list(tpm, TPM_FIRST_INDEX, &handles);

    if (err)
        return err;
    index = public.nvPublic.nvIndex = tpm_free_handle(&handles, INDEX_HANDLE_FIRST);
    /* A policy that nothing satisfies; it makes the Name this member's own. */
    if (RAND_bytes(public.nvPublic.authPolicy.buffer, TPM_AUTH_BYTES) != 1)
        return ESCROW_ERR_CRYPTO;
    tpm_password(NULL, &empty);
    err = tpm_result(
        tpm, "NV_DefineSpace",
        Tss2_Sys_NV_DefineSpace(tpm->sys, TPM2_RH_OWNER, &empty, &no_auth, &public, NULL));
    /* A counter can be read only after its first increment, which also changes its Name. */
    if (!err)
        err = tpm_result(tpm, "NV_Increment",
                         Tss2_Sys_NV_Increment(tpm->sys, TPM2_RH_OWNER, index, &empty, NULL));
    if (!err)
        err = tpm_read_index(tpm, index, &public, ret_name);
    if (!err)
        log_notice("tpm: made the epoch counter at NV index 0x%08x", index);
    return err;
}

static enum escrow_err set_auth(struct tpm *tpm, TPM2_HANDLE hierarchy, const struct secret *auth)
{
    CLEANUP(auth_wipe) TPM2B_AUTH new_auth = {.size = (UINT16)auth->len};
    TSS2L_SYS_AUTH_COMMAND empty;

    memcpy(new_auth.buffer, auth->bytes, auth->len);
    tpm_password(NULL, &empty);
    return tpm_result(tpm, "HierarchyChangeAuth",
                      Tss2_Sys_HierarchyChangeAuth(tpm->sys, hierarchy, &empty, &new_auth, NULL));
}

static enum escrow_err disable_clear(struct tpm *tpm, const struct secret *lockout)
{
    CLEANUP(tpm_password_wipe) TSS2L_SYS_AUTH_COMMAND auths = {0};

    tpm_password(lockout, &auths);
    return tpm_result(tpm, "ClearControl",
                      Tss2_Sys_ClearControl(tpm->sys, TPM2_RH_LOCKOUT, &auths, TPM2_YES, NULL));
}

enum escrow_err tpm_provision(struct tpm *tpm, const struct tpm_auths *auths,
                              struct tpm_names *ret_names)
{
    struct tpm_names names;
    enum escrow_err err = tpm_provision_check(tpm);

    if (!err)
        err = make_key(tpm, KEY_TPM_STORAGE, auths->storage, &names.storage);
    if (!err)
        err = make_key(tpm, KEY_TPM_AUDIT, auths->storage, &names.audit);
    if (!err)
        err = make_counter(tpm, &names.counter);
    if (!err)
        err = set_auth(tpm, TPM2_RH_OWNER, auths->owner);
    if (!err)
        err = set_auth(tpm, TPM2_RH_LOCKOUT, auths->lockout);
    /* Last: until here an interrupted init can be undone by TPM2_Clear. */
    if (!err)
        err = disable_clear(tpm, auths->lockout);
    if (err)
        return err;
    *ret_names = names;
    return ESCROW_OK;
}
