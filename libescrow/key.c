/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/key.h"

#include "libescrow/log.h"
#include "libescrow/tpm_policy.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/sha.h>
#include <tss2/tss2_mu.h>

#include <stdatomic.h>
#include <string.h>

#define CURVE "prime256v1" /* OpenSSL's name of NIST P-256 */
#define POINT_BYTES (1 + 2 * EC_COORDINATE_BYTES)
#define UNCOMPRESSED 0x04 /* SEC 1, 2.3.3 */
#define DER_SIGNATURE_MAX 80

CLEANUP_FUNCTION(context_free_p, EVP_PKEY_CTX, EVP_PKEY_CTX_free)
CLEANUP_FUNCTION(bignum_free_p, BIGNUM, BN_free)
CLEANUP_FUNCTION(signature_free_p, ECDSA_SIG, ECDSA_SIG_free)
CLEANUP_FUNCTION(ec_point_free_p, EC_POINT, EC_POINT_free)

bool tpm_name_equal(const struct tpm_name *a, const struct tpm_name *b)
{
    return memcmp(a->bytes, b->bytes, TPM_NAME_BYTES) == 0;
}

EVP_PKEY *key_generate(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");

    if (!key)
        log_openssl("key: generation failed");
    return key;
}

bool key_is_p256(const EVP_PKEY *key)
{
    char group[32];
    size_t len;

    return EVP_PKEY_is_a(key, "EC") &&
           EVP_PKEY_get_group_name(key, group, sizeof(group), &len) == 1 &&
           strcmp(group, CURVE) == 0;
}

enum escrow_err key_point(const EVP_PKEY *key, struct ec_point *ret_point)
{
    CLEANUP(bignum_free_p) BIGNUM *x = NULL;
    CLEANUP(bignum_free_p) BIGNUM *y = NULL;
    struct ec_point point;

    if (!key_is_p256(key) || EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_X, &x) != 1 ||
        EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_Y, &y) != 1 ||
        BN_bn2binpad(x, point.x, EC_COORDINATE_BYTES) != EC_COORDINATE_BYTES ||
        BN_bn2binpad(y, point.y, EC_COORDINATE_BYTES) != EC_COORDINATE_BYTES) {
        log_openssl("key: point");
        return ESCROW_ERR_CRYPTO;
    }
    *ret_point = point;
    return ESCROW_OK;
}

static void encode_point(const struct ec_point *point, uint8_t ret_encoded[static POINT_BYTES])
{
    ret_encoded[0] = UNCOMPRESSED;
    memcpy(ret_encoded + 1, point->x, EC_COORDINATE_BYTES);
    memcpy(ret_encoded + 1 + EC_COORDINATE_BYTES, point->y, EC_COORDINATE_BYTES);
}

/*
 * The curve, for the life of the process: to set it up costs ten times as much as to check a point.
 * Nothing alters it, and EC_GROUP may be read by several threads. NULL without memory.
 */
static const EC_GROUP *p256(void)
{
    static _Atomic(EC_GROUP *) shared;
    EC_GROUP *group = atomic_load(&shared), *none = NULL;

    if (group)
        return group;
    group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    if (group && !atomic_compare_exchange_strong(&shared, &none, group)) {
        EC_GROUP_free(group);
        group = none;
    }
    return group;
}

enum escrow_err key_check_point(const struct ec_point *point)
{
    const EC_GROUP *group = p256();
    CLEANUP(ec_point_free_p) EC_POINT *decoded = group ? EC_POINT_new(group) : NULL;
    uint8_t encoded[POINT_BYTES];
    bool is_valid;

    encode_point(point, encoded);
    /* In range and on the curve; in this form there is no infinity. */
    is_valid = decoded && EC_POINT_oct2point(group, decoded, encoded, sizeof(encoded), NULL) == 1;
    ERR_clear_error();
    return is_valid ? ESCROW_OK : ESCROW_ERR_CRYPTO;
}

static EVP_PKEY *import_point(const struct ec_point *point)
{
    CLEANUP(context_free_p) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    uint8_t encoded[POINT_BYTES];
    char group[] = CURVE;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group) - 1),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, encoded, sizeof(encoded)),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *key = NULL;

    encode_point(point, encoded);
    if (!context || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        return NULL;
    return key;
}

enum escrow_err key_from_point(const struct ec_point *point, EVP_PKEY **ret_key)
{
    CLEANUP(key_free_p) EVP_PKEY *key = import_point(point);
    CLEANUP(context_free_p) EVP_PKEY_CTX *check = NULL;
    bool is_valid;

    if (key)
        check = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    /* Not infinity, in range, on the curve. P-256 has no other points: its order is prime. */
    is_valid = check && EVP_PKEY_public_check_quick(check) == 1;
    /* A peer's bad point is no event of ours: nothing of it stays in the error queue. */
    ERR_clear_error();
    if (!is_valid)
        return ESCROW_ERR_CRYPTO;
    *ret_key = TAKE(key);
    return ESCROW_OK;
}

/* The public area in which a TPM loads a P-256 key of each kind. */
static void describe(enum key_kind kind, const struct ec_point *point, TPMT_PUBLIC *ret_public)
{
    TPMT_PUBLIC public = {
        .type = TPM2_ALG_ECC,
        .nameAlg = TPM2_ALG_SHA256,
        .parameters.eccDetail = {.curveID = TPM2_ECC_NIST_P256, .kdf.scheme = TPM2_ALG_NULL},
        .unique.ecc = {.x.size = EC_COORDINATE_BYTES, .y.size = EC_COORDINATE_BYTES},
    };
    TPMS_ECC_PARMS *ecc = &public.parameters.eccDetail;

    if (kind == KEY_SIGNER) {
        public.objectAttributes = TPMA_OBJECT_SIGN_ENCRYPT;
        ecc->symmetric.algorithm = TPM2_ALG_NULL;
        ecc->scheme.scheme = TPM2_ALG_ECDSA;
        ecc->scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
    } else {
        public.objectAttributes =
            TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT | TPMA_OBJECT_USERWITHAUTH;
        ecc->symmetric.algorithm = TPM2_ALG_AES;
        ecc->symmetric.keyBits.aes = 128;
        ecc->symmetric.mode.aes = TPM2_ALG_CFB;
        ecc->scheme.scheme = TPM2_ALG_NULL;
    }
    memcpy(public.unique.ecc.x.buffer, point->x, EC_COORDINATE_BYTES);
    memcpy(public.unique.ecc.y.buffer, point->y, EC_COORDINATE_BYTES);
    *ret_public = public;
}

enum escrow_err key_public_marshal(enum key_kind kind, const struct ec_point *point,
                                   uint8_t ret_public[static KEY_PUBLIC_MAX], size_t *ret_len)
{
    TPMT_PUBLIC public;
    size_t len = 0;
    TSS2_RC rc;

    describe(kind, point, &public);
    rc = Tss2_MU_TPMT_PUBLIC_Marshal(&public, ret_public, KEY_PUBLIC_MAX, &len);
    if (rc != TSS2_RC_SUCCESS) {
        log_error("key: a public area cannot be marshalled (0x%x)", rc);
        return ESCROW_ERR_CRYPTO;
    }
    *ret_len = len;
    return ESCROW_OK;
}

static bool has_storage_policy(const TPMT_PUBLIC *public)
{
    struct tpm_digest policy;

    return !(public->objectAttributes & TPMA_OBJECT_USERWITHAUTH) &&
           public->authPolicy.size == sizeof(policy) && tpm_policy_storage(&policy) == ESCROW_OK &&
           memcmp(public->authPolicy.buffer, policy.bytes, sizeof(policy)) == 0;
}

static bool is_storage_key(const TPMT_PUBLIC *public)
{
    const TPMA_OBJECT required = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                 TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
    const TPMS_ECC_PARMS *ecc = &public->parameters.eccDetail;

    return (public->objectAttributes & required) == required &&
           !(public->objectAttributes & TPMA_OBJECT_SIGN_ENCRYPT) &&
           ecc->symmetric.algorithm == TPM2_ALG_AES && ecc->symmetric.keyBits.aes == 128 &&
           ecc->symmetric.mode.aes == TPM2_ALG_CFB && has_storage_policy(public);
}

static bool is_audit_key(const TPMT_PUBLIC *public)
{
    const TPMA_OBJECT required = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                 TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT;

    return (public->objectAttributes & required) == required &&
           !(public->objectAttributes & TPMA_OBJECT_DECRYPT);
}

static enum escrow_err point_from_public(const TPMT_PUBLIC *public, struct ec_point *ret_point)
{
    const TPMS_ECC_POINT *unique = &public->unique.ecc;
    struct ec_point point;
    enum escrow_err err;

    if (public->type != TPM2_ALG_ECC || public->nameAlg != TPM2_ALG_SHA256 ||
        public->parameters.eccDetail.curveID != TPM2_ECC_NIST_P256 ||
        unique->x.size != EC_COORDINATE_BYTES || unique->y.size != EC_COORDINATE_BYTES)
        return ESCROW_ERR_MALFORMED;
    memcpy(point.x, unique->x.buffer, EC_COORDINATE_BYTES);
    memcpy(point.y, unique->y.buffer, EC_COORDINATE_BYTES);
    err = key_check_point(&point);
    if (err)
        return err;
    *ret_point = point;
    return ESCROW_OK;
}

enum escrow_err key_public_parse(enum key_tpm_kind kind, const uint8_t *public_area, size_t len,
                                 struct ec_point *ret_point, struct tpm_name *ret_name)
{
    TPMT_PUBLIC public = {0};
    struct ec_point point;
    struct tpm_name name;
    size_t offset = 0;
    enum escrow_err err;

    if (Tss2_MU_TPMT_PUBLIC_Unmarshal(public_area, len, &offset, &public) != TSS2_RC_SUCCESS ||
        offset != len)
        return ESCROW_ERR_MALFORMED;
    if (kind == KEY_TPM_STORAGE ? !is_storage_key(&public) : !is_audit_key(&public))
        return ESCROW_ERR_MALFORMED;
    err = point_from_public(&public, &point);
    if (!err)
        err = key_public_name(public_area, len, &name);
    if (err)
        return err;
    *ret_point = point;
    *ret_name = name;
    return ESCROW_OK;
}

enum escrow_err key_public_name(const uint8_t *public_area, size_t len, struct tpm_name *ret_name)
{
    struct tpm_name name = {{TPM2_ALG_SHA256 >> 8, TPM2_ALG_SHA256 & 0xff}};

    if (EVP_Digest(public_area, len, name.bytes + 2, NULL, EVP_sha256(), NULL) != 1) {
        log_openssl("key: SHA-256");
        return ESCROW_ERR_CRYPTO;
    }
    *ret_name = name;
    return ESCROW_OK;
}

static enum escrow_err point_name(enum key_kind kind, const struct ec_point *point,
                                  struct tpm_name *ret_name)
{
    uint8_t public_area[KEY_PUBLIC_MAX];
    size_t len;
    enum escrow_err err = key_public_marshal(kind, point, public_area, &len);

    return err ? err : key_public_name(public_area, len, ret_name);
}

enum escrow_err key_signer_name(const struct ec_point *point, struct tpm_name *ret_name)
{
    return point_name(KEY_SIGNER, point, ret_name);
}

enum escrow_err key_recipient_name(const struct ec_point *point, struct tpm_name *ret_name)
{
    return point_name(KEY_RECIPIENT, point, ret_name);
}

/* DER (what EVP makes) to r || s (what JWS and the TPM want). */
static bool signature_from_der(const uint8_t *der, size_t len,
                               uint8_t ret_signature[static ECDSA_SIGNATURE_BYTES])
{
    const unsigned char *next = der;
    CLEANUP(signature_free_p) ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &next, (long)len);
    const int half = ECDSA_SIGNATURE_BYTES / 2;

    return pair && BN_bn2binpad(ECDSA_SIG_get0_r(pair), ret_signature, half) == half &&
           BN_bn2binpad(ECDSA_SIG_get0_s(pair), ret_signature + half, half) == half;
}

static int signature_to_der(const uint8_t signature[static ECDSA_SIGNATURE_BYTES],
                            uint8_t ret_der[static DER_SIGNATURE_MAX])
{
    CLEANUP(signature_free_p) ECDSA_SIG *pair = ECDSA_SIG_new();
    const int half = ECDSA_SIGNATURE_BYTES / 2;
    BIGNUM *r = BN_bin2bn(signature, half, NULL);
    BIGNUM *s = BN_bin2bn(signature + half, half, NULL);
    unsigned char *next = ret_der;

    /* ECDSA_SIG_set0 takes both numbers, or neither. */
    if (!pair || !r || !s || ECDSA_SIG_set0(pair, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        return -1;
    }
    return i2d_ECDSA_SIG(pair, &next);
}

enum escrow_err key_sign_digest(EVP_PKEY *key, const uint8_t digest[static 32],
                                uint8_t ret_signature[static ECDSA_SIGNATURE_BYTES])
{
    CLEANUP(context_free_p) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    uint8_t der[DER_SIGNATURE_MAX], signature[ECDSA_SIGNATURE_BYTES];
    size_t len = sizeof(der);

    if (!key_is_p256(key) || !context || EVP_PKEY_sign_init(context) != 1 ||
        EVP_PKEY_sign(context, der, &len, digest, SHA256_DIGEST_LENGTH) != 1 ||
        !signature_from_der(der, len, signature)) {
        log_openssl("key: signing");
        return ESCROW_ERR_CRYPTO;
    }
    memcpy(ret_signature, signature, sizeof(signature));
    return ESCROW_OK;
}

enum escrow_err key_verify_digest(EVP_PKEY *key, const uint8_t digest[static 32],
                                  const uint8_t signature[static ECDSA_SIGNATURE_BYTES])
{
    CLEANUP(context_free_p) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    uint8_t der[DER_SIGNATURE_MAX];
    int len = signature_to_der(signature, der);
    bool is_right;

    is_right = key_is_p256(key) && context && len > 0 && EVP_PKEY_verify_init(context) == 1 &&
               EVP_PKEY_verify(context, der, (size_t)len, digest, SHA256_DIGEST_LENGTH) == 1;
    ERR_clear_error();
    return is_right ? ESCROW_OK : ESCROW_ERR_CRYPTO;
}
