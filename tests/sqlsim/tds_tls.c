/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/tds_tls.h"

#include "libescrow/log.h"
#include "tests/sqlsim/memory.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <stdlib.h>

#define FALLBACK_NAME "SSL_Self_Signed_Fallback"
#define FALLBACK_SECONDS (30L * 365 * 24 * 3600)
#define FALLBACK_KEY_BITS 2048

struct tds_tls {
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
};

CLEANUP_FUNCTION(x509_free_p, X509, X509_free)
CLEANUP_FUNCTION(pkey_free_p, EVP_PKEY, EVP_PKEY_free)
CLEANUP_FUNCTION(context_free_p, SSL_CTX, SSL_CTX_free)

static enum escrow_err make_fallback(X509 **ret_certificate, EVP_PKEY **ret_key)
{
    CLEANUP(pkey_free_p) EVP_PKEY *key = EVP_RSA_gen(FALLBACK_KEY_BITS);
    CLEANUP(x509_free_p) X509 *certificate = X509_new();
    X509_NAME *name = certificate ? X509_get_subject_name(certificate) : NULL;

    if (!key || !name || !X509_set_version(certificate, X509_VERSION_3) ||
        !ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) ||
        !X509_gmtime_adj(X509_getm_notBefore(certificate), 0) ||
        !X509_gmtime_adj(X509_getm_notAfter(certificate), FALLBACK_SECONDS) ||
        !X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)FALLBACK_NAME, -1,
                                    -1, 0) ||
        !X509_set_issuer_name(certificate, name) || !X509_set_pubkey(certificate, key) ||
        !X509_sign(certificate, key, EVP_sha256()))
        return ESCROW_ERR_CRYPTO;
    *ret_certificate = TAKE(certificate);
    *ret_key = TAKE(key);
    return ESCROW_OK;
}

static enum escrow_err use_fallback(SSL_CTX *context)
{
    CLEANUP(x509_free_p) X509 *certificate = NULL;
    CLEANUP(pkey_free_p) EVP_PKEY *key = NULL;
    enum escrow_err err = make_fallback(&certificate, &key);

    if (err)
        return err;
    if (!SSL_CTX_use_certificate(context, certificate) || !SSL_CTX_use_PrivateKey(context, key))
        return ESCROW_ERR_CRYPTO;
    return ESCROW_OK;
}

enum escrow_err tds_tls_context(const char *certificate_file, const char *key_file, int max_version,
                                SSL_CTX **ret_context)
{
    CLEANUP(context_free_p) SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_VERSION) ||
        !SSL_CTX_set_max_proto_version(context, max_version))
        return ESCROW_ERR_CRYPTO;
    /* TLS 1.0 and 1.1 sign with SHA-1, which OpenSSL 3 allows at level 0 only. */
    if (max_version < TLS1_2_VERSION && !SSL_CTX_set_cipher_list(context, "DEFAULT@SECLEVEL=0"))
        return ESCROW_ERR_CRYPTO;
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    if (!certificate_file) {
        enum escrow_err err = use_fallback(context);

        if (err)
            return err;
    } else if (SSL_CTX_use_certificate_chain_file(context, certificate_file) != 1) {
        log_openssl(certificate_file);
        return ESCROW_ERR_CONFIG;
    } else if (SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1) {
        log_openssl(key_file);
        return ESCROW_ERR_CONFIG;
    }
    *ret_context = TAKE(context);
    return ESCROW_OK;
}

struct tds_tls *tds_tls_new(SSL_CTX *context)
{
    struct tds_tls *tls = memory_new(sizeof(*tls));

    tls->ssl = SSL_new(context);
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    if (!tls->ssl || !tls->in || !tls->out)
        abort();
    SSL_set_bio(tls->ssl, tls->in, tls->out);
    SSL_set_accept_state(tls->ssl);
    return tls;
}

void tds_tls_free(struct tds_tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    free(tls);
}

static void feed(struct tds_tls *tls, struct evbuffer *records)
{
    uint8_t chunk[4096];
    int len;

    while ((len = evbuffer_remove(records, chunk, sizeof(chunk))) > 0)
        BIO_write(tls->in, chunk, len);
}

static void drain(struct tds_tls *tls, struct evbuffer *ret_records)
{
    uint8_t chunk[4096];
    int len;

    while ((len = BIO_read(tls->out, chunk, sizeof(chunk))) > 0)
        evbuffer_add(ret_records, chunk, (size_t)len);
}

static enum tds_tls_result result_of(struct tds_tls *tls, int returned)
{
    enum tds_tls_result result = TDS_TLS_FAILED;

    switch (SSL_get_error(tls->ssl, returned)) {
    case SSL_ERROR_WANT_READ:
        result = TDS_TLS_MORE;
        break;
    case SSL_ERROR_NONE:
    case SSL_ERROR_ZERO_RETURN:
        result = TDS_TLS_DONE;
        break;
    default:
        log_openssl("TLS");
        break;
    }
    return result;
}

enum tds_tls_result tds_tls_handshake(struct tds_tls *tls, struct evbuffer *records,
                                      struct evbuffer *ret_records)
{
    int returned;

    feed(tls, records);
    ERR_clear_error();
    returned = SSL_do_handshake(tls->ssl);
    drain(tls, ret_records);
    return result_of(tls, returned);
}

enum tds_tls_result tds_tls_read(struct tds_tls *tls, struct evbuffer *records,
                                 struct evbuffer *ret_plain)
{
    uint8_t chunk[4096];
    int len;

    feed(tls, records);
    ERR_clear_error();
    while ((len = SSL_read(tls->ssl, chunk, sizeof(chunk))) > 0)
        evbuffer_add(ret_plain, chunk, (size_t)len);
    OPENSSL_cleanse(chunk, sizeof(chunk));
    return result_of(tls, len);
}

enum tds_tls_result tds_tls_write(struct tds_tls *tls, struct evbuffer *plain,
                                  struct evbuffer *ret_records)
{
    uint8_t chunk[4096];
    int len;

    ERR_clear_error();
    while ((len = evbuffer_remove(plain, chunk, sizeof(chunk))) > 0) {
        int returned = SSL_write(tls->ssl, chunk, len);

        if (returned <= 0)
            return result_of(tls, returned);
    }
    drain(tls, ret_records);
    return TDS_TLS_MORE;
}
