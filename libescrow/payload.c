/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/payload.h"

#include "libescrow/log.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <endian.h>
#include <string.h>

#define MAGIC "escrow-payload-1\n"
#define MAGIC_BYTES (sizeof(MAGIC) - 1)
#define HEADER_BYTES (MAGIC_BYTES + 2)
#define TAG_BYTES (PAYLOAD_CIPHERTEXT_BYTES - PAYLOAD_PLAINTEXT_BYTES)

_Static_assert(HEADER_BYTES + PAYLOAD_PASSWORD_MAX <= PAYLOAD_PLAINTEXT_BYTES, "no room");

CLEANUP_FUNCTION(cipher_free_p, EVP_CIPHER_CTX, EVP_CIPHER_CTX_free)

/* A context with key, IV and associated data in; NULL on failure. */
static EVP_CIPHER_CTX *begin(bool is_encrypt, const struct payload_binding *binding,
                             const struct secret *data_key)
{
    static const uint8_t iv[12];
    CLEANUP(cipher_free_p) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    const uint32_t group_len = htobe32((uint32_t)strlen(binding->group));
    const uint32_t database_len = htobe32((uint32_t)strlen(binding->database));
    const uint32_t version = htobe32(binding->version);
    /* Each text with its length before it, so that no two bindings give the same bytes. */
    const struct {
        const void *bytes;
        size_t len;
    } parts[] = {
        {MAGIC, MAGIC_BYTES},
        {&group_len, sizeof(group_len)},
        {binding->group, strlen(binding->group)},
        {&database_len, sizeof(database_len)},
        {binding->database, strlen(binding->database)},
        {&version, sizeof(version)},
        {binding->object.bytes, TPM_NAME_BYTES},
    };
    int out;

    if (!context ||
        EVP_CipherInit_ex(context, EVP_aes_256_gcm(), NULL, data_key->bytes, iv, is_encrypt) != 1)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (EVP_CipherUpdate(context, NULL, &out, parts[i].bytes, (int)parts[i].len) != 1)
            return NULL;
    }
    return TAKE(context);
}

enum escrow_err payload_seal(const struct payload_binding *binding, const struct secret *data_key,
                             const struct secret *password,
                             uint8_t ret_ciphertext[static PAYLOAD_CIPHERTEXT_BYTES])
{
    CLEANUP(secret_free_p) struct secret *plain = NULL;
    CLEANUP(cipher_free_p) EVP_CIPHER_CTX *context = NULL;
    uint8_t ciphertext[PAYLOAD_CIPHERTEXT_BYTES];
    int out = 0, last = 0;

    if (data_key->len != PAYLOAD_DATA_KEY_BYTES || password->len == 0 ||
        password->len > PAYLOAD_PASSWORD_MAX)
        return ESCROW_ERR_MALFORMED;
    plain = secret_new(PAYLOAD_PLAINTEXT_BYTES);
    if (!plain)
        return ESCROW_ERR_NO_MEMORY;
    memcpy(plain->bytes, MAGIC, MAGIC_BYTES);
    plain->bytes[MAGIC_BYTES] = (uint8_t)(password->len >> 8);
    plain->bytes[MAGIC_BYTES + 1] = (uint8_t)password->len;
    memcpy(plain->bytes + HEADER_BYTES, password->bytes, password->len);
    context = begin(true, binding, data_key);
    if (!context ||
        EVP_CipherUpdate(context, ciphertext, &out, plain->bytes, PAYLOAD_PLAINTEXT_BYTES) != 1 ||
        EVP_CipherFinal_ex(context, ciphertext + out, &last) != 1 ||
        out + last != PAYLOAD_PLAINTEXT_BYTES ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES,
                            ciphertext + PAYLOAD_PLAINTEXT_BYTES) != 1) {
        log_openssl("payload: AES-256-GCM");
        return ESCROW_ERR_CRYPTO;
    }
    memcpy(ret_ciphertext, ciphertext, sizeof(ciphertext));
    return ESCROW_OK;
}

static enum escrow_err parse(const struct secret *plain, struct secret **ret_password)
{
    size_t len = (size_t)plain->bytes[MAGIC_BYTES] << 8 | plain->bytes[MAGIC_BYTES + 1];
    struct secret *password;

    if (memcmp(plain->bytes, MAGIC, MAGIC_BYTES) != 0 || len == 0 || len > PAYLOAD_PASSWORD_MAX)
        return ESCROW_ERR_CRYPTO;
    for (size_t i = HEADER_BYTES + len; i < plain->len; i++) {
        if (plain->bytes[i])
            return ESCROW_ERR_CRYPTO;
    }
    password = secret_from(plain->bytes + HEADER_BYTES, len);
    if (!password)
        return ESCROW_ERR_NO_MEMORY;
    *ret_password = password;
    return ESCROW_OK;
}

enum escrow_err payload_open(const struct payload_binding *binding, const struct secret *data_key,
                             const uint8_t ciphertext[static PAYLOAD_CIPHERTEXT_BYTES],
                             struct secret **ret_password)
{
    CLEANUP(secret_free_p) struct secret *plain = NULL;
    CLEANUP(cipher_free_p) EVP_CIPHER_CTX *context = NULL;
    uint8_t tag[TAG_BYTES];
    bool is_right;
    int out = 0, last = 0;

    if (data_key->len != PAYLOAD_DATA_KEY_BYTES)
        return ESCROW_ERR_MALFORMED;
    plain = secret_new(PAYLOAD_PLAINTEXT_BYTES);
    if (!plain)
        return ESCROW_ERR_NO_MEMORY;
    memcpy(tag, ciphertext + PAYLOAD_PLAINTEXT_BYTES, TAG_BYTES);
    context = begin(false, binding, data_key);
    is_right =
        context &&
        EVP_CipherUpdate(context, plain->bytes, &out, ciphertext, PAYLOAD_PLAINTEXT_BYTES) == 1 &&
        out == PAYLOAD_PLAINTEXT_BYTES &&
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1 &&
        EVP_CipherFinal_ex(context, plain->bytes + out, &last) == 1;
    /* A wrong tag leaves an entry in the error queue and is no event of ours. */
    ERR_clear_error();
    return is_right ? parse(plain, ret_password) : ESCROW_ERR_CRYPTO;
}
