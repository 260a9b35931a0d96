/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/file.h"
#include "libescrow/key.h"
#include "libescrow/log.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <stdlib.h>

CLEANUP_FUNCTION(bio_free_p, BIO, BIO_free_all)

enum escrow_err key_write_private(EVP_PKEY *key, const char *path)
{
    CLEANUP(bio_free_p) BIO *pem = BIO_new(BIO_s_secmem());
    char *text = NULL;
    long len;

    if (!pem || PEM_write_bio_PKCS8PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL) != 1) {
        log_openssl("key: PKCS #8");
        return ESCROW_ERR_CRYPTO;
    }
    len = BIO_get_mem_data(pem, &text);
    return file_create(path, 0600, text, (size_t)len);
}

enum escrow_err key_write_public(EVP_PKEY *key, const char *path)
{
    CLEANUP(bio_free_p) BIO *pem = BIO_new(BIO_s_mem());
    char *text = NULL;
    long len;

    if (!pem || PEM_write_bio_PUBKEY(pem, key) != 1) {
        log_openssl("key: SubjectPublicKeyInfo");
        return ESCROW_ERR_CRYPTO;
    }
    len = BIO_get_mem_data(pem, &text);
    return file_create(path, 0644, text, (size_t)len);
}

/* No key file is encrypted here; without this, OpenSSL would ask the terminal. */
static int no_passphrase(char *buffer, int size, int is_writing, void *argument)
{
    (void)buffer;
    (void)size;
    (void)is_writing;
    (void)argument;
    return -1;
}

typedef EVP_PKEY *(*pem_read_fn)(BIO *, EVP_PKEY **, pem_password_cb *, void *);

static enum escrow_err key_from_pem(const char *path, const void *text, size_t len,
                                    pem_read_fn read_pem, EVP_PKEY **ret_key)
{
    CLEANUP(bio_free_p) BIO *pem = BIO_new_mem_buf(text, (int)len);
    CLEANUP(key_free_p) EVP_PKEY *key = NULL;

    if (pem)
        key = read_pem(pem, NULL, no_passphrase, NULL);
    ERR_clear_error();
    if (!key || !key_is_p256(key)) {
        log_error("%s: holds no unencrypted PEM key on P-256", path);
        return ESCROW_ERR_CONFIG;
    }
    *ret_key = TAKE(key);
    return ESCROW_OK;
}

static enum escrow_err missing_is_config(enum escrow_err err, const char *path)
{
    if (err != ESCROW_ERR_NOT_FOUND)
        return err;
    log_error("%s: there is no such key file", path);
    return ESCROW_ERR_CONFIG;
}

enum escrow_err key_read_private(const char *path, EVP_PKEY **ret_key)
{
    CLEANUP(secret_free_p) struct secret *text = NULL;
    enum escrow_err err = file_read_secret(path, KEY_PEM_MAX, &text);

    if (err)
        return missing_is_config(err, path);
    return key_parse_private(path, text, ret_key);
}

enum escrow_err key_parse_private(const char *path, const struct secret *text, EVP_PKEY **ret_key)
{
    return key_from_pem(path, text->bytes, text->len, PEM_read_bio_PrivateKey, ret_key);
}

enum escrow_err key_read_public(const char *path, EVP_PKEY **ret_key)
{
    CLEANUP(cleanup_free) char *text = NULL;
    size_t len;
    enum escrow_err err = file_read(path, KEY_PEM_MAX, &text, &len);

    if (err)
        return missing_is_config(err, path);
    return key_from_pem(path, text, len, PEM_read_bio_PUBKEY, ret_key);
}
