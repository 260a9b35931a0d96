/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/log.h"
#include "libescrow/wrap.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <tss2/tss2_mu.h>

#include <string.h>

#define SEED_VALUE_BYTES 32 /* as long as a digest of the nameAlg (Part 1, 27.5.3.2) */

static void sensitive_wipe(TPMT_SENSITIVE *sensitive)
{
    secret_wipe(sensitive, sizeof(*sensitive));
}

static void describe(const struct wrap_object *object, TPMT_PUBLIC *ret_public)
{
    TPMT_PUBLIC public = {
        .type = TPM2_ALG_KEYEDHASH,
        .nameAlg = TPM2_ALG_SHA256,
        .objectAttributes =
            TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_ENCRYPTEDDUPLICATION | TPMA_OBJECT_NODA,
        .authPolicy.size = sizeof(object->auth_policy),
        .parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL,
        .unique.keyedHash.size = sizeof(object->unique),
    };

    memcpy(public.authPolicy.buffer, object->auth_policy, sizeof(object->auth_policy));
    memcpy(public.unique.keyedHash.buffer, object->unique, sizeof(object->unique));
    *ret_public = public;
}

enum escrow_err wrap_object_marshal(const struct wrap_object *object,
                                    uint8_t ret_public[static WRAP_PUBLIC_MAX], size_t *ret_len)
{
    TPMT_PUBLIC public;
    size_t len = 0;

    describe(object, &public);
    if (Tss2_MU_TPMT_PUBLIC_Marshal(&public, ret_public, WRAP_PUBLIC_MAX, &len) != TSS2_RC_SUCCESS)
        return ESCROW_ERR_CRYPTO;
    *ret_len = len;
    return ESCROW_OK;
}

static enum escrow_err object_name(struct wrap_object *object)
{
    uint8_t public_area[WRAP_PUBLIC_MAX];
    size_t len;
    enum escrow_err err = wrap_object_marshal(object, public_area, &len);

    return err ? err : key_public_name(public_area, len, &object->name);
}

enum escrow_err wrap_object_parse(const uint8_t *public_area, size_t len,
                                  struct wrap_object *ret_object)
{
    TPMT_PUBLIC public = {0};
    struct wrap_object object;
    uint8_t template[WRAP_PUBLIC_MAX];
    size_t offset = 0, template_len;
    enum escrow_err err;

    if (Tss2_MU_TPMT_PUBLIC_Unmarshal(public_area, len, &offset, &public) != TSS2_RC_SUCCESS ||
        public.type != TPM2_ALG_KEYEDHASH || public.authPolicy.size != sizeof(object.auth_policy) ||
        public.unique.keyedHash.size != sizeof(object.unique))
        return ESCROW_ERR_MALFORMED;
    memcpy(object.auth_policy, public.authPolicy.buffer, sizeof(object.auth_policy));
    memcpy(object.unique, public.unique.keyedHash.buffer, sizeof(object.unique));
    err = wrap_object_marshal(&object, template, &template_len);
    if (err)
        return err;
    if (len != template_len || memcmp(public_area, template, len) != 0)
        return ESCROW_ERR_MALFORMED;
    err = object_name(&object);
    if (err)
        return err;
    *ret_object = object;
    return ESCROW_OK;
}

/* A random seed value, and the data after it: what the unique field is the digest of. */
static enum escrow_err seed_data(const struct secret *data, struct secret **ret_seeded,
                                 uint8_t ret_unique[static 32])
{
    CLEANUP(secret_free_p) struct secret *seeded = secret_new(SEED_VALUE_BYTES + data->len);

    if (!seeded)
        return ESCROW_ERR_NO_MEMORY;
    memcpy(seeded->bytes + SEED_VALUE_BYTES, data->bytes, data->len);
    if (RAND_priv_bytes(seeded->bytes, SEED_VALUE_BYTES) != 1 ||
        EVP_Digest(seeded->bytes, seeded->len, ret_unique, NULL, EVP_sha256(), NULL) != 1) {
        log_openssl("wrap: seed value");
        return ESCROW_ERR_CRYPTO;
    }
    *ret_seeded = TAKE(seeded);
    return ESCROW_OK;
}

static enum escrow_err marshal_sensitive(const struct secret *seeded, struct secret **ret_sensitive)
{
    CLEANUP(sensitive_wipe)
    TPMT_SENSITIVE sensitive = {.sensitiveType = TPM2_ALG_KEYEDHASH,
                                .seedValue.size = SEED_VALUE_BYTES};
    CLEANUP(secret_free_p) struct secret *marshalled = secret_new(WRAP_SENSITIVE_MAX);
    TPM2B_SENSITIVE_DATA *bits = &sensitive.sensitive.bits;
    size_t len = 0;

    if (!marshalled)
        return ESCROW_ERR_NO_MEMORY;
    bits->size = (UINT16)(seeded->len - SEED_VALUE_BYTES);
    memcpy(sensitive.seedValue.buffer, seeded->bytes, SEED_VALUE_BYTES);
    memcpy(bits->buffer, seeded->bytes + SEED_VALUE_BYTES, bits->size);
    if (Tss2_MU_TPMT_SENSITIVE_Marshal(&sensitive, marshalled->bytes, marshalled->len, &len) !=
        TSS2_RC_SUCCESS)
        return ESCROW_ERR_CRYPTO;
    marshalled->len = len;
    *ret_sensitive = TAKE(marshalled);
    return ESCROW_OK;
}

enum escrow_err wrap_object_new(const uint8_t auth_policy[static 32], const struct secret *data,
                                struct wrap_object *ret_object, struct secret **ret_sensitive)
{
    CLEANUP(secret_free_p) struct secret *seeded = NULL;
    struct wrap_object object;
    enum escrow_err err;

    if (data->len == 0 || data->len > WRAP_DATA_MAX)
        return ESCROW_ERR_MALFORMED;
    memcpy(object.auth_policy, auth_policy, sizeof(object.auth_policy));
    err = seed_data(data, &seeded, object.unique);
    if (!err)
        err = object_name(&object);
    if (!err)
        err = marshal_sensitive(seeded, ret_sensitive);
    if (err)
        return err;
    *ret_object = object;
    return ESCROW_OK;
}
