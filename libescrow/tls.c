/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/tls.h"

#include "libescrow/file.h"
#include "libescrow/key.h"
#include "libescrow/log.h"
#include "libescrow/tls_parts.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHAIN_DEPTH_MAX 4
#define SECURITY_LEVEL 2 /* 112 bits and more, for every key and signature of a chain */
#define GROUPS "P-256:X25519"

CLEANUP_FUNCTION(bio_free_p, BIO, BIO_free_all)

/* A PEM file, or what it held, as a BIO over text, which must outlive it. */
static enum escrow_err open_pem(const char *path, const struct tls_text *given, char **ret_text,
                                BIO **ret_bio)
{
    CLEANUP(cleanup_free) char *text = NULL;
    size_t len;
    enum escrow_err err =
        given ? ESCROW_OK : file_read(path, TLS_CERTIFICATE_FILE_MAX, &text, &len);

    if (err == ESCROW_ERR_NOT_FOUND) {
        log_error("%s: there is no such certificate file", path);
        return ESCROW_ERR_CONFIG;
    }
    if (err)
        return err;
    *ret_bio =
        given ? BIO_new_mem_buf(given->bytes, (int)given->len) : BIO_new_mem_buf(text, (int)len);
    if (!*ret_bio)
        return ESCROW_ERR_NO_MEMORY;
    *ret_text = TAKE(text);
    return ESCROW_OK;
}

/* Who may issue: each certificate of the file must be a CA's, or a leaf would trust itself. */
static enum escrow_err read_authorities(struct tls *tls, const struct tls_config *config)
{
    const char *path = config->ca_file;
    CLEANUP(cleanup_free) char *text = NULL;
    CLEANUP(bio_free_p) BIO *pem = NULL;
    X509 *certificate;
    enum escrow_err err = open_pem(path, config->texts ? &config->texts->ca : NULL, &text, &pem);

    if (err)
        return err;
    tls->authorities = sk_X509_new_null();
    tls->store = X509_STORE_new();
    if (!tls->authorities || !tls->store)
        return ESCROW_ERR_NO_MEMORY;
    while ((certificate = PEM_read_bio_X509(pem, NULL, NULL, NULL)) != NULL) {
        if (!sk_X509_push(tls->authorities, certificate)) {
            X509_free(certificate);
            return ESCROW_ERR_NO_MEMORY;
        }
        if (X509_check_ca(certificate) != 1 || X509_STORE_add_cert(tls->store, certificate) != 1) {
            log_error("%s: certificate %d is not that of a CA", path,
                      sk_X509_num(tls->authorities));
            return ESCROW_ERR_CONFIG;
        }
    }
    if (!tls_pem_is_over() || sk_X509_num(tls->authorities) == 0) {
        log_error("%s: holds no PEM certificate, or a broken one", path);
        return ESCROW_ERR_CONFIG;
    }
    /* An issuing CA in the file is enough; its root need not be there. */
    X509_STORE_set_flags(tls->store, X509_V_FLAG_PARTIAL_CHAIN);
    return ESCROW_OK;
}

static enum escrow_err read_own(struct tls *tls, const struct tls_config *config)
{
    CLEANUP(cleanup_free) char *text = NULL;
    CLEANUP(bio_free_p) BIO *pem = NULL;
    const struct tls_texts *given = config->texts;
    enum escrow_err err =
        open_pem(config->certificate, given ? &given->certificate : NULL, &text, &pem);

    if (!err)
        err = given ? key_parse_private(config->key, given->key, &tls->key)
                    : key_read_private(config->key, &tls->key);
    if (err)
        return err;
    tls->certificate = PEM_read_bio_X509(pem, NULL, NULL, NULL);
    ERR_clear_error();
    if (!tls->certificate || X509_check_private_key(tls->certificate, tls->key) != 1) {
        ERR_clear_error();
        log_error("%s: holds no PEM certificate of the key in %s", config->certificate,
                  config->key);
        return ESCROW_ERR_CONFIG;
    }
    if (!tls_certificate_identity(tls->certificate, tls->own_identity) ||
        !tls_certificate_is_for(tls->certificate, tls->is_server)) {
        log_error("%s: the certificate must have exactly one SAN URI (spiffe://domain/path) and "
                  "the extended key usage %s",
                  config->certificate, tls->is_server ? "serverAuth" : "clientAuth");
        return ESCROW_ERR_CONFIG;
    }
    if (X509_cmp_current_time(X509_get0_notAfter(tls->certificate)) < 0)
        log_warning("%s: the certificate has expired", config->certificate);
    return ESCROW_OK;
}

static bool set_protocol(SSL_CTX *context)
{
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_CLEANSE_PLAINTEXT |
                                     SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_security_level(context, SECURITY_LEVEL);
    SSL_CTX_set_verify_depth(context, CHAIN_DEPTH_MAX);
    return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set1_groups_list(context, GROUPS) == 1 &&
           SSL_CTX_set_num_tickets(context, 0) == 1;
}

enum escrow_err tls_apply(struct tls *tls, SSL_CTX *context)
{
    /* The leaf only: the peer has our issuer in its own CA file. */
    if (!set_protocol(context) || SSL_CTX_use_certificate(context, tls->certificate) != 1 ||
        SSL_CTX_use_PrivateKey(context, tls->key) != 1 || X509_STORE_up_ref(tls->store) != 1) {
        log_openssl("tls: a context cannot be set up");
        return ESCROW_ERR_CRYPTO;
    }
    SSL_CTX_clear_chain_certs(context);
    SSL_CTX_set_mode(context, SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_cert_store(context, tls->store);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(context, tls_on_verify, tls);
    return ESCROW_OK;
}

static enum escrow_err read_lists(struct tls *tls, const struct tls_config *config)
{
    if (!config->crl_file)
        return ESCROW_OK;
    tls->lists.stale = config->crl_stale;
    tls->lists.path = strdup(config->crl_file);
    if (!tls->lists.path)
        return ESCROW_ERR_NO_MEMORY;
    return tls_lists_read(&tls->lists, config->texts ? &config->texts->crl : NULL,
                          tls->authorities);
}

static enum escrow_err new_side(const struct tls_config *config, bool is_server,
                                struct tls **ret_tls)
{
    CLEANUP(tls_free_p) struct tls *tls = calloc(1, sizeof(*tls));
    enum escrow_err err;

    if (!tls)
        return ESCROW_ERR_NO_MEMORY;
    tls->owners = 1;
    tls->is_server = is_server;
    if (!is_server)
        snprintf(tls->server_identity, sizeof(tls->server_identity), "%s", config->server_identity);
    tls->context = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    if (!tls->context)
        return ESCROW_ERR_NO_MEMORY;
    err = read_authorities(tls, config);
    if (!err)
        err = read_own(tls, config);
    if (!err)
        err = read_lists(tls, config);
    if (!err)
        err = tls_apply(tls, tls->context);
    if (!err)
        *ret_tls = TAKE(tls);
    return err;
}

enum escrow_err tls_server_new(const struct tls_config *config, struct tls **ret_tls)
{
    return new_side(config, true, ret_tls);
}

enum escrow_err tls_client_new(const struct tls_config *config, struct tls **ret_tls)
{
    if (!config->server_identity || !identity_is_valid(config->server_identity)) {
        log_error("tls: the server's identity must be a SAN URI (spiffe://domain/path)");
        return ESCROW_ERR_CONFIG;
    }
    return new_side(config, false, ret_tls);
}

struct tls *tls_share(struct tls *tls)
{
    tls->owners++;
    return tls;
}

void tls_free(struct tls *tls)
{
    if (!tls || --tls->owners > 0)
        return;
    SSL_CTX_free(tls->context);
    X509_free(tls->certificate);
    EVP_PKEY_free(tls->key);
    sk_X509_pop_free(tls->authorities, X509_free);
    X509_STORE_free(tls->store);
    tls_lists_deinit(&tls->lists);
    free(tls);
}

SSL_CTX *tls_context(const struct tls *tls)
{
    return tls->context;
}

const char *tls_own_identity(const struct tls *tls)
{
    return tls->own_identity;
}
