/* SPDX-License-Identifier: Apache-2.0 */
/* The calls that fuzz targets let fail: memory, and what libescrow asks of OpenSSL and others. */
#include "tests/fuzz/inject.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <tss2/tss2_mu.h>
#include <yaml.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Memory. */
INJECT(malloc, NULL, void *, (size_t len), (len))
INJECT(calloc, NULL, void *, (size_t count, size_t len), (count, len))
INJECT(realloc, NULL, void *, (void *block, size_t len), (block, len))
INJECT(reallocarray, NULL, void *, (void *block, size_t count, size_t len), (block, count, len))
INJECT(strdup, NULL, char *, (const char *text), (text))
INJECT(strndup, NULL, char *, (const char *text, size_t len), (text, len))
INJECT(open_memstream, NULL, FILE *, (char **text, size_t *len), (text, len))
INJECT(vasprintf, -1, int, (char **text, const char *format, va_list args), (text, format, args))
INJECT(CRYPTO_secure_zalloc, NULL, void *, (size_t len, const char *file, int line),
       (len, file, line))

/* Keys. */
INJECT(EVP_PKEY_CTX_new_from_pkey, NULL, EVP_PKEY_CTX *,
       (OSSL_LIB_CTX * library, EVP_PKEY *key, const char *query), (library, key, query))
INJECT(EVP_PKEY_CTX_new_from_name, NULL, EVP_PKEY_CTX *,
       (OSSL_LIB_CTX * library, const char *name, const char *query), (library, name, query))
INJECT(EVP_PKEY_fromdata_init, 0, int, (EVP_PKEY_CTX * context), (context))
INJECT(EVP_PKEY_fromdata, 0, int,
       (EVP_PKEY_CTX * context, EVP_PKEY **key, int selection, OSSL_PARAM params[]),
       (context, key, selection, params))
INJECT(EVP_PKEY_public_check, 0, int, (EVP_PKEY_CTX * context), (context))
INJECT(EVP_PKEY_get_bn_param, 0, int, (const EVP_PKEY *key, const char *name, BIGNUM **number),
       (key, name, number))
INJECT(EVP_PKEY_up_ref, 0, int, (EVP_PKEY * key), (key))
INJECT(BN_bin2bn, NULL, BIGNUM *, (const unsigned char *bytes, int len, BIGNUM *into),
       (bytes, len, into))
INJECT(BN_bn2binpad, -1, int, (const BIGNUM *number, unsigned char *bytes, int len),
       (number, bytes, len))

/* Signatures and derivations. */
INJECT(EVP_PKEY_sign_init, 0, int, (EVP_PKEY_CTX * context), (context))
INJECT(EVP_PKEY_sign, 0, int,
       (EVP_PKEY_CTX * context, unsigned char *signature, size_t *signature_len,
        const unsigned char *digest, size_t len),
       (context, signature, signature_len, digest, len))
INJECT(EVP_PKEY_verify_init, 0, int, (EVP_PKEY_CTX * context), (context))
INJECT(EVP_PKEY_verify, 0, int,
       (EVP_PKEY_CTX * context, const unsigned char *signature, size_t signature_len,
        const unsigned char *digest, size_t len),
       (context, signature, signature_len, digest, len))
INJECT(EVP_PKEY_derive_init, 0, int, (EVP_PKEY_CTX * context), (context))
INJECT(EVP_PKEY_derive_set_peer_ex, 0, int, (EVP_PKEY_CTX * context, EVP_PKEY *peer, int checks),
       (context, peer, checks))
INJECT(EVP_PKEY_derive, 0, int, (EVP_PKEY_CTX * context, unsigned char *key, size_t *len),
       (context, key, len))
INJECT(ECDSA_SIG_new, NULL, ECDSA_SIG *, (void), ())
INJECT(d2i_ECDSA_SIG, NULL, ECDSA_SIG *, (ECDSA_SIG * *pair, const unsigned char **der, long len),
       (pair, der, len))
INJECT(EVP_KDF_fetch, NULL, EVP_KDF *,
       (OSSL_LIB_CTX * library, const char *name, const char *query), (library, name, query))
INJECT(EVP_KDF_CTX_new, NULL, EVP_KDF_CTX *, (EVP_KDF * kdf), (kdf))
INJECT(EVP_KDF_derive, 0, int,
       (EVP_KDF_CTX * context, unsigned char *key, size_t len, const OSSL_PARAM params[]),
       (context, key, len, params))
INJECT(RAND_bytes, 0, int, (unsigned char *bytes, int len), (bytes, len))
INJECT(RAND_priv_bytes, 0, int, (unsigned char *bytes, int len), (bytes, len))

/* Hashes and ciphers. */
INJECT(EVP_Digest, 0, int,
       (const void *bytes, size_t len, unsigned char *digest, unsigned *digest_len,
        const EVP_MD *kind, ENGINE *engine),
       (bytes, len, digest, digest_len, kind, engine))
INJECT(EVP_MD_CTX_new, NULL, EVP_MD_CTX *, (void), ())
INJECT(EVP_DigestInit_ex, 0, int, (EVP_MD_CTX * context, const EVP_MD *kind, ENGINE *engine),
       (context, kind, engine))
INJECT(EVP_DigestUpdate, 0, int, (EVP_MD_CTX * context, const void *bytes, size_t len),
       (context, bytes, len))
INJECT(EVP_DigestFinal_ex, 0, int, (EVP_MD_CTX * context, unsigned char *digest, unsigned *len),
       (context, digest, len))
INJECT(HMAC, NULL, unsigned char *,
       (const EVP_MD *kind, const void *key, int key_len, const unsigned char *bytes, size_t len,
        unsigned char *code, unsigned *code_len),
       (kind, key, key_len, bytes, len, code, code_len))
INJECT(EVP_CIPHER_CTX_new, NULL, EVP_CIPHER_CTX *, (void), ())
INJECT(EVP_CIPHER_CTX_ctrl, 0, int, (EVP_CIPHER_CTX * context, int what, int number, void *bytes),
       (context, what, number, bytes))
INJECT(EVP_CipherInit_ex, 0, int,
       (EVP_CIPHER_CTX * context, const EVP_CIPHER *kind, ENGINE *engine, const unsigned char *key,
        const unsigned char *iv, int direction),
       (context, kind, engine, key, iv, direction))
INJECT(EVP_CipherUpdate, 0, int,
       (EVP_CIPHER_CTX * context, unsigned char *out, int *out_len, const unsigned char *in,
        int in_len),
       (context, out, out_len, in, in_len))
INJECT(EVP_CipherFinal_ex, 0, int, (EVP_CIPHER_CTX * context, unsigned char *out, int *out_len),
       (context, out, out_len))

/* Certificates. */
INJECT(BIO_new, NULL, BIO *, (const BIO_METHOD *method), (method))
INJECT(BIO_new_mem_buf, NULL, BIO *, (const void *bytes, int len), (bytes, len))
INJECT(X509_get_ext_d2i, NULL, void *, (const X509 *certificate, int nid, int *critical, int *at),
       (certificate, nid, critical, at))
INJECT(X509_STORE_new, NULL, X509_STORE *, (void), ())
INJECT(X509_STORE_add_cert, 0, int, (X509_STORE * store, X509 *certificate), (store, certificate))
INJECT(X509_CRL_verify, 0, int, (X509_CRL * list, EVP_PKEY *key), (list, key))
INJECT(OPENSSL_sk_push, 0, int, (OPENSSL_STACK * stack, const void *item), (stack, item))
INJECT(OPENSSL_sk_new_null, NULL, OPENSSL_STACK *, (void), ())

/* Public areas of a TPM, and YAML. */
INJECT(Tss2_MU_TPMT_PUBLIC_Marshal, TSS2_MU_RC_GENERAL_FAILURE, TSS2_RC,
       (const TPMT_PUBLIC *in, uint8_t *bytes, size_t cap, size_t *offset),
       (in, bytes, cap, offset))
INJECT(Tss2_MU_TPMT_PUBLIC_Unmarshal, TSS2_MU_RC_GENERAL_FAILURE, TSS2_RC,
       (const uint8_t *bytes, size_t len, size_t *offset, TPMT_PUBLIC *out),
       (bytes, len, offset, out))
INJECT(Tss2_MU_TPMT_SENSITIVE_Marshal, TSS2_MU_RC_GENERAL_FAILURE, TSS2_RC,
       (const TPMT_SENSITIVE *in, uint8_t *bytes, size_t cap, size_t *offset),
       (in, bytes, cap, offset))
INJECT(Tss2_MU_TPMS_ECC_POINT_Marshal, TSS2_MU_RC_GENERAL_FAILURE, TSS2_RC,
       (const TPMS_ECC_POINT *in, uint8_t *bytes, size_t cap, size_t *offset),
       (in, bytes, cap, offset))
INJECT(yaml_parser_initialize, 0, int, (yaml_parser_t * parser), (parser))

/* JSON. */
static _Thread_local bool is_parsing;

json_t *__real_json_loadb(const char *text, size_t len, size_t flags, json_error_t *error);
json_t *__wrap_json_loadb(const char *text, size_t len, size_t flags, json_error_t *error);
json_t *__wrap_json_loadb(const char *text, size_t len, size_t flags, json_error_t *error)
{
    json_t *value;

    if (inject_now("json_loadb")) {
        if (!error)
            return NULL;
        memset(error, 0, sizeof(*error));
        /* Where json_error_code looks (jansson.h). */
        error->text[JSON_ERROR_TEXT_LENGTH - 1] = (char)json_error_out_of_memory;
        return NULL;
    }
    is_parsing = true;
    value = __real_json_loadb(text, len, flags, error);
    is_parsing = false;
    return value;
}

void *inject_json_malloc(size_t len)
{
    return is_parsing ? __real_malloc(len) : malloc(len);
}

/* A call with "..." cannot be handed on as it is. */
int __wrap_asprintf(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_asprintf(char **text, const char *format, ...)
{
    va_list args;
    int len;

    if (inject_now("asprintf"))
        return -1;
    va_start(args, format);
    len = __real_vasprintf(text, format, args);
    va_end(args);
    return len;
}
