/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/wrap.h"

#include "libescrow/log.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <tss2/tss2_mu.h>

#include <string.h>

#define HASH_BYTES 32
#define TPM2B_HASH_BYTES (2 + HASH_BYTES)

CLEANUP_FUNCTION(kdf_free_p, EVP_KDF, EVP_KDF_free)
CLEANUP_FUNCTION(kdf_context_free_p, EVP_KDF_CTX, EVP_KDF_CTX_free)
CLEANUP_FUNCTION(cipher_free_p, EVP_CIPHER_CTX, EVP_CIPHER_CTX_free)
CLEANUP_FUNCTION(hash_free_p, EVP_MD_CTX, EVP_MD_CTX_free)
CLEANUP_FUNCTION(derive_free_p, EVP_PKEY_CTX, EVP_PKEY_CTX_free)

/* The keys of the outer wrapper. */
struct outer_keys {
    uint8_t symmetric[WRAP_INNER_KEY_BYTES];
    uint8_t integrity[HASH_BYTES];
};

static void outer_keys_wipe(struct outer_keys *keys)
{
    secret_wipe(keys, sizeof(*keys));
}

static void sensitive_wipe(TPMT_SENSITIVE *sensitive)
{
    secret_wipe(sensitive, sizeof(*sensitive));
}

static enum escrow_err failed(const char *what)
{
    log_openssl(what);
    return ESCROW_ERR_CRYPTO;
}

static enum escrow_err hash_pair(const void *a, size_t a_len, const void *b, size_t b_len,
                                 uint8_t ret_digest[static HASH_BYTES])
{
    CLEANUP(hash_free_p) EVP_MD_CTX *context = EVP_MD_CTX_new();

    if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1 ||
        EVP_DigestUpdate(context, a, a_len) != 1 || EVP_DigestUpdate(context, b, b_len) != 1 ||
        EVP_DigestFinal_ex(context, ret_digest, NULL) != 1)
        return failed("wrap: SHA-256");
    return ESCROW_OK;
}

/* AES-128-CFB with IV 0, in place; each key of this file encrypts one message only. */
static enum escrow_err cfb(bool is_encrypt, const uint8_t key[static WRAP_INNER_KEY_BYTES],
                           uint8_t *bytes, size_t len)
{
    static const uint8_t iv[16];
    CLEANUP(cipher_free_p) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int out = 0;

    if (!context ||
        EVP_CipherInit_ex(context, EVP_aes_128_cfb128(), NULL, key, iv, is_encrypt) != 1 ||
        EVP_CipherUpdate(context, bytes, &out, bytes, (int)len) != 1 || (size_t)out != len)
        return failed("wrap: AES-128-CFB");
    return ESCROW_OK;
}

static enum escrow_err run_kdf(const char *name, const OSSL_PARAM *params, uint8_t *ret_key,
                               size_t len)
{
    CLEANUP(kdf_free_p) EVP_KDF *kdf = EVP_KDF_fetch(NULL, name, NULL);
    CLEANUP(kdf_context_free_p) EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;

    if (!context || EVP_KDF_derive(context, ret_key, len, params) != 1)
        return failed("wrap: key derivation");
    return ESCROW_OK;
}

/* KDFa (Part 1, 11.4.10.2): SP 800-108 in counter mode with HMAC-SHA-256. */
static enum escrow_err kdfa(struct secret *seed, char *label, uint8_t *info, size_t info_len,
                            uint8_t *ret_key, size_t len)
{
    char digest[] = "SHA256", mac[] = "HMAC", mode[] = "counter";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MODE, mode, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MAC, mac, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, seed->bytes, seed->len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, label, strlen(label)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, info_len),
        OSSL_PARAM_construct_end(),
    };

    return run_kdf("KBKDF", params, ret_key, len);
}

/* KDFe (Part 1, 11.4.10.3): the one-step derivation of SP 800-56A over Z, label, x_u and x_v. */
static enum escrow_err kdfe(struct secret *z, const struct ec_point *ephemeral,
                            const struct ec_point *recipient, struct secret *ret_seed)
{
    static const char label[] = "DUPLICATE"; /* with its NUL */
    char digest[] = "SHA256";
    uint8_t info[sizeof(label) + 2 * EC_COORDINATE_BYTES];
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, z->bytes, z->len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, sizeof(info)),
        OSSL_PARAM_construct_end(),
    };

    memcpy(info, label, sizeof(label));
    memcpy(info + sizeof(label), ephemeral->x, EC_COORDINATE_BYTES);
    memcpy(info + sizeof(label) + EC_COORDINATE_BYTES, recipient->x, EC_COORDINATE_BYTES);
    return run_kdf("SSKDF", params, ret_seed->bytes, ret_seed->len);
}

/* peer is of key_from_point, which has checked it: once more would take as long as the rest. */
static enum escrow_err shared_point(EVP_PKEY *own, EVP_PKEY *peer, struct secret *ret_z)
{
    CLEANUP(derive_free_p) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL);
    size_t len = ret_z->len;

    if (!context || EVP_PKEY_derive_init(context) != 1 ||
        EVP_PKEY_derive_set_peer_ex(context, peer, 0) != 1 ||
        EVP_PKEY_derive(context, ret_z->bytes, &len) != 1 || len != ret_z->len)
        return failed("wrap: ECDH");
    return ESCROW_OK;
}

/* own and peer make the same keys on both sides; ephemeral and recipient are their public points.
 */
static enum escrow_err derive_outer_keys(EVP_PKEY *own, EVP_PKEY *peer,
                                         const struct ec_point *ephemeral,
                                         const struct ec_point *recipient,
                                         const struct tpm_name *object, struct outer_keys *ret_keys)
{
    CLEANUP(secret_free_p) struct secret *z = secret_new(EC_COORDINATE_BYTES);
    CLEANUP(secret_free_p) struct secret *seed = secret_new(HASH_BYTES);
    char storage[] = "STORAGE", integrity[] = "INTEGRITY";
    struct tpm_name name = *object; /* OpenSSL's parameters are not const */
    enum escrow_err err;

    if (!z || !seed)
        return ESCROW_ERR_NO_MEMORY;
    err = shared_point(own, peer, z);
    if (!err)
        err = kdfe(z, ephemeral, recipient, seed);
    if (!err)
        err = kdfa(seed, storage, name.bytes, sizeof(name.bytes), ret_keys->symmetric,
                   sizeof(ret_keys->symmetric));
    if (!err)
        err =
            kdfa(seed, integrity, name.bytes, 0, ret_keys->integrity, sizeof(ret_keys->integrity));
    return err;
}

static enum escrow_err outer_integrity(const struct outer_keys *keys, const uint8_t *sensitive,
                                       size_t len, const struct tpm_name *object,
                                       uint8_t ret_hmac[static HASH_BYTES])
{
    uint8_t message[WRAP_DUPLICATE_MAX + TPM_NAME_BYTES];

    memcpy(message, sensitive, len);
    memcpy(message + len, object->bytes, TPM_NAME_BYTES);
    if (!HMAC(EVP_sha256(), keys->integrity, sizeof(keys->integrity), message, len + TPM_NAME_BYTES,
              ret_hmac, NULL))
        return failed("wrap: HMAC");
    return ESCROW_OK;
}

/*
 * Inner wrapper (Part 1, 23.3.2.3): TPM2B(H(TPM2B_SENSITIVE || Name)) || TPM2B_SENSITIVE, encrypted
 * in the secret that it is built in, before it goes anywhere else.
 */
static enum escrow_err seal_inner(const struct wrap_object *object, const struct secret *sensitive,
                                  const uint8_t inner_key[static WRAP_INNER_KEY_BYTES],
                                  struct secret **ret_inner)
{
    const size_t sized_len = 2 + sensitive->len;
    CLEANUP(secret_free_p) struct secret *inner = secret_new(TPM2B_HASH_BYTES + sized_len);
    uint8_t *sized;
    enum escrow_err err;

    if (!inner)
        return ESCROW_ERR_NO_MEMORY;
    sized = inner->bytes + TPM2B_HASH_BYTES;
    sized[0] = (uint8_t)(sensitive->len >> 8);
    sized[1] = (uint8_t)sensitive->len;
    memcpy(sized + 2, sensitive->bytes, sensitive->len);
    inner->bytes[1] = HASH_BYTES;
    err = hash_pair(sized, sized_len, object->name.bytes, TPM_NAME_BYTES, inner->bytes + 2);
    if (!err)
        err = cfb(true, inner_key, inner->bytes, inner->len);
    if (err)
        return err;
    *ret_inner = TAKE(inner);
    return ESCROW_OK;
}

/* Outer wrapper (Part 1, 23.3.2.4) around the inner one, which already is ciphertext. */
static enum escrow_err seal_outer(const struct wrap_object *object, const struct secret *inner,
                                  const struct outer_keys *keys, struct wrap_blob *blob)
{
    uint8_t *encrypted = blob->duplicate + TPM2B_HASH_BYTES;
    enum escrow_err err;

    memcpy(encrypted, inner->bytes, inner->len);
    err = cfb(true, keys->symmetric, encrypted, inner->len);
    if (err)
        return err;
    blob->duplicate[0] = 0;
    blob->duplicate[1] = HASH_BYTES;
    blob->duplicate_len = TPM2B_HASH_BYTES + inner->len;
    return outer_integrity(keys, encrypted, inner->len, &object->name, blob->duplicate + 2);
}

static enum escrow_err marshal_point(const struct ec_point *point, struct wrap_blob *blob)
{
    TPMS_ECC_POINT marshalled = {.x.size = EC_COORDINATE_BYTES, .y.size = EC_COORDINATE_BYTES};

    memcpy(marshalled.x.buffer, point->x, EC_COORDINATE_BYTES);
    memcpy(marshalled.y.buffer, point->y, EC_COORDINATE_BYTES);
    blob->seed_len = 0;
    if (Tss2_MU_TPMS_ECC_POINT_Marshal(&marshalled, blob->seed, sizeof(blob->seed),
                                       &blob->seed_len) != TSS2_RC_SUCCESS)
        return ESCROW_ERR_CRYPTO;
    return ESCROW_OK;
}

enum escrow_err wrap_seal(const struct wrap_object *object, const struct secret *sensitive,
                          const struct ec_point *parent, struct wrap_blob *ret_blob)
{
    CLEANUP(outer_keys_wipe) struct outer_keys keys = {{0}, {0}};
    CLEANUP(secret_free_p) struct secret *inner = NULL;
    CLEANUP(key_free_p) EVP_PKEY *recipient = NULL;
    CLEANUP(key_free_p) EVP_PKEY *ephemeral = NULL;
    struct wrap_blob blob = {0};
    struct ec_point point;
    enum escrow_err err;

    if (sensitive->len > WRAP_SENSITIVE_MAX)
        return ESCROW_ERR_MALFORMED;
    err = key_from_point(parent, &recipient);
    if (err)
        return err;
    ephemeral = key_generate();
    if (!ephemeral || RAND_priv_bytes(blob.inner_key, sizeof(blob.inner_key)) != 1)
        return failed("wrap: random bytes");
    err = key_point(ephemeral, &point);
    if (!err)
        err = derive_outer_keys(ephemeral, recipient, &point, parent, &object->name, &keys);
    if (!err)
        err = seal_inner(object, sensitive, blob.inner_key, &inner);
    if (!err)
        err = seal_outer(object, inner, &keys, &blob);
    if (!err)
        err = marshal_point(&point, &blob);
    if (err)
        return err;
    *ret_blob = blob;
    return ESCROW_OK;
}

static enum escrow_err parse_point(const struct wrap_blob *blob, struct ec_point *ret_point)
{
    TPMS_ECC_POINT point = {0};
    size_t offset = 0;

    if (blob->seed_len > sizeof(blob->seed) ||
        Tss2_MU_TPMS_ECC_POINT_Unmarshal(blob->seed, blob->seed_len, &offset, &point) !=
            TSS2_RC_SUCCESS ||
        offset != blob->seed_len || point.x.size != EC_COORDINATE_BYTES ||
        point.y.size != EC_COORDINATE_BYTES)
        return ESCROW_ERR_CRYPTO;
    memcpy(ret_point->x, point.x.buffer, EC_COORDINATE_BYTES);
    memcpy(ret_point->y, point.y.buffer, EC_COORDINATE_BYTES);
    return ESCROW_OK;
}

/* The ephemeral key of a blob, if it is on the curve. */
static enum escrow_err parse_ephemeral(const struct wrap_blob *blob, struct ec_point *ret_point,
                                       EVP_PKEY **ret_key)
{
    enum escrow_err err = parse_point(blob, ret_point);

    return err ? err : key_from_point(ret_point, ret_key);
}

enum escrow_err wrap_blob_check(const struct wrap_blob *blob)
{
    CLEANUP(key_free_p) EVP_PKEY *ephemeral = NULL;
    struct ec_point point;

    if (blob->duplicate_len > sizeof(blob->duplicate))
        return ESCROW_ERR_CRYPTO;
    return parse_ephemeral(blob, &point, &ephemeral);
}

static bool is_hash_sized(const uint8_t *bytes)
{
    return bytes[0] == 0 && bytes[1] == HASH_BYTES;
}

/* Checks and removes the outer wrapper; *ret_inner is still encrypted by the inner one. */
static enum escrow_err open_outer(const struct wrap_object *object, const struct wrap_blob *blob,
                                  const struct outer_keys *keys, struct secret **ret_inner)
{
    const uint8_t *encrypted = blob->duplicate + TPM2B_HASH_BYTES;
    CLEANUP(secret_free_p) struct secret *inner = NULL;
    uint8_t expected[HASH_BYTES];
    enum escrow_err err;
    size_t len;

    if (blob->duplicate_len > sizeof(blob->duplicate) ||
        blob->duplicate_len < 2 * TPM2B_HASH_BYTES + 2 || !is_hash_sized(blob->duplicate))
        return ESCROW_ERR_CRYPTO;
    len = blob->duplicate_len - TPM2B_HASH_BYTES;
    err = outer_integrity(keys, encrypted, len, &object->name, expected);
    if (err)
        return err;
    if (CRYPTO_memcmp(expected, blob->duplicate + 2, HASH_BYTES) != 0)
        return ESCROW_ERR_CRYPTO;
    inner = secret_from(encrypted, len);
    if (!inner)
        return ESCROW_ERR_NO_MEMORY;
    err = cfb(false, keys->symmetric, inner->bytes, inner->len);
    if (err)
        return err;
    *ret_inner = TAKE(inner);
    return ESCROW_OK;
}

/* Decrypts the inner wrapper in place and checks its digest over the sensitive area and Name. */
static enum escrow_err open_inner(const struct wrap_object *object, const struct wrap_blob *blob,
                                  struct secret *inner)
{
    uint8_t expected[HASH_BYTES];
    enum escrow_err err = cfb(false, blob->inner_key, inner->bytes, inner->len);

    if (!err)
        err = hash_pair(inner->bytes + TPM2B_HASH_BYTES, inner->len - TPM2B_HASH_BYTES,
                        object->name.bytes, TPM_NAME_BYTES, expected);
    if (err)
        return err;
    if (!is_hash_sized(inner->bytes) || CRYPTO_memcmp(expected, inner->bytes + 2, HASH_BYTES) != 0)
        return ESCROW_ERR_CRYPTO;
    return ESCROW_OK;
}

/* The sealed data out of a TPM2B_SENSITIVE, if it is that of the object. */
static enum escrow_err open_sensitive(const struct wrap_object *object, const uint8_t *sized,
                                      size_t sized_len, struct secret **ret_data)
{
    CLEANUP(sensitive_wipe) TPMT_SENSITIVE sensitive = {0};
    CLEANUP(secret_free_p) struct secret *data = NULL;
    const TPM2B_SENSITIVE_DATA *bits = &sensitive.sensitive.bits;
    uint8_t unique[HASH_BYTES];
    size_t offset = 2;
    enum escrow_err err;

    if (((size_t)sized[0] << 8 | sized[1]) != sized_len - 2 ||
        Tss2_MU_TPMT_SENSITIVE_Unmarshal(sized, sized_len, &offset, &sensitive) !=
            TSS2_RC_SUCCESS ||
        offset != sized_len || sensitive.sensitiveType != TPM2_ALG_KEYEDHASH)
        return ESCROW_ERR_CRYPTO;
    if (bits->size == 0 || bits->size > WRAP_DATA_MAX)
        return ESCROW_ERR_CRYPTO;
    err = hash_pair(sensitive.seedValue.buffer, sensitive.seedValue.size, bits->buffer, bits->size,
                    unique);
    if (err)
        return err;
    if (CRYPTO_memcmp(unique, object->unique, sizeof(unique)) != 0)
        return ESCROW_ERR_CRYPTO;
    data = secret_from(bits->buffer, bits->size);
    if (!data)
        return ESCROW_ERR_NO_MEMORY;
    *ret_data = TAKE(data);
    return ESCROW_OK;
}

enum escrow_err wrap_open(const struct wrap_object *object, const struct wrap_blob *blob,
                          EVP_PKEY *recipient, struct secret **ret_data)
{
    CLEANUP(outer_keys_wipe) struct outer_keys keys = {{0}, {0}};
    CLEANUP(secret_free_p) struct secret *inner = NULL;
    CLEANUP(key_free_p) EVP_PKEY *ephemeral = NULL;
    struct ec_point point, own;
    enum escrow_err err = parse_ephemeral(blob, &point, &ephemeral);

    if (!err)
        err = key_point(recipient, &own);
    if (!err)
        err = derive_outer_keys(recipient, ephemeral, &point, &own, &object->name, &keys);
    if (!err)
        err = open_outer(object, blob, &keys, &inner);
    if (!err)
        err = open_inner(object, blob, inner);
    if (err)
        return err;
    return open_sensitive(object, inner->bytes + TPM2B_HASH_BYTES, inner->len - TPM2B_HASH_BYTES,
                          ret_data);
}
