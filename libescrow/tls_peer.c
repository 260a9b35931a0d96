/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/log.h"
#include "libescrow/tls_parts.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <string.h>

CLEANUP_FUNCTION(names_free_p, GENERAL_NAMES, GENERAL_NAMES_free)
CLEANUP_FUNCTION(store_context_free_p, X509_STORE_CTX, X509_STORE_CTX_free)

bool tls_certificate_identity(const X509 *certificate, char ret_identity[static IDENTITY_MAX + 1])
{
    /* NULL also where the extension stands there twice. */
    CLEANUP(names_free_p)
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    char identity[IDENTITY_MAX + 1] = "";

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        const ASN1_IA5STRING *uri = name->d.uniformResourceIdentifier;
        int len;

        if (name->type != GEN_URI)
            continue;
        len = ASN1_STRING_length(uri);
        if (identity[0] || len <= 0 || len > IDENTITY_MAX)
            return false;
        memcpy(identity, ASN1_STRING_get0_data(uri), (size_t)len);
        identity[len] = '\0';
        /* A NUL inside would cut the text that we compare. */
        if (strlen(identity) != (size_t)len)
            return false;
    }
    if (!identity_is_valid(identity))
        return false;
    memcpy(ret_identity, identity, sizeof(identity));
    return true;
}

bool tls_certificate_is_for(X509 *certificate, bool is_server)
{
    uint32_t flags = X509_get_extension_flags(certificate);
    uint32_t wanted = is_server ? XKU_SSL_SERVER : XKU_SSL_CLIENT;

    /* OpenSSL takes a certificate without the extension for one with all usages. */
    return !(flags & (EXFLAG_INVALID | EXFLAG_CA)) && (flags & EXFLAG_XKUSAGE) &&
           (X509_get_extended_key_usage(certificate) & wanted);
}

static bool is_in_time(const X509 *certificate)
{
    return X509_cmp_current_time(X509_get0_notBefore(certificate)) < 0 &&
           X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0;
}

enum reason tls_certificate_check(struct tls *tls, X509 *certificate, const tls_chain *chain)
{
    char identity[IDENTITY_MAX + 1];

    if (!is_in_time(certificate))
        return REASON_CERTIFICATE_EXPIRED;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        if (!is_in_time(sk_X509_value(chain, i)))
            return REASON_CERTIFICATE_EXPIRED;
    }
    if (!tls_certificate_is_for(certificate, !tls->is_server))
        return REASON_NOT_TLS;
    if (!tls_certificate_identity(certificate, identity))
        return REASON_IDENTITY_UNKNOWN;
    if (!tls->is_server && strcmp(identity, tls->server_identity) != 0) {
        log_notice("tls: the server is '%s', not '%s'", identity, tls->server_identity);
        return REASON_IDENTITY_UNKNOWN;
    }
    return tls_lists_check(&tls->lists, certificate, sk_X509_value(chain, 1));
}

/* What the peer learns by the alert (RFC 8446, 6.2). */
static int verify_error(enum reason reason)
{
    switch (reason) {
    case REASON_CERTIFICATE_EXPIRED:
        return X509_V_ERR_CERT_HAS_EXPIRED;
    case REASON_CERTIFICATE_REVOKED:
        return X509_V_ERR_CERT_REVOKED;
    case REASON_NOT_TLS:
        return X509_V_ERR_INVALID_PURPOSE;
    default:
        return X509_V_ERR_APPLICATION_VERIFICATION;
    }
}

static void tell_refusal(struct tls *tls, const X509 *certificate, const char *why)
{
    char subject[256];

    X509_NAME_oneline(X509_get_subject_name(certificate), subject, sizeof(subject));
    if (log_may(&tls->refusals))
        log_info("tls: the certificate of '%s' was refused: %s", subject, why);
}

int tls_on_verify(X509_STORE_CTX *verification, void *argument)
{
    X509 *certificate = X509_STORE_CTX_get0_cert(verification);
    enum reason reason;

    if (X509_verify_cert(verification) != 1) {
        tell_refusal(argument, certificate,
                     X509_verify_cert_error_string(X509_STORE_CTX_get_error(verification)));
        return 0;
    }
    reason = tls_certificate_check(argument, certificate, X509_STORE_CTX_get0_chain(verification));
    if (reason == REASON_NONE)
        return 1;
    tell_refusal(argument, certificate, reason_code(reason));
    X509_STORE_CTX_set_error(verification, verify_error(reason));
    return 0;
}

void tls_verified_deinit(struct tls_verified *verified)
{
    SSL_CTX_free(verified->by);
    sk_X509_pop_free(verified->chain, X509_free);
    *verified = (struct tls_verified){0};
}

static enum reason reason_of(int error)
{
    switch (error) {
    case X509_V_OK:
        return REASON_NONE;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return REASON_CERTIFICATE_EXPIRED;
    default:
        return REASON_CERTIFICATE_UNTRUSTED;
    }
}

/* As the handshake did it, but by the authorities of tls. */
static enum reason verify_again(const struct tls *tls, const SSL *ssl, X509 *certificate,
                                struct tls_verified *verified)
{
    CLEANUP(store_context_free_p) X509_STORE_CTX *verification = X509_STORE_CTX_new();
    enum reason reason;

    if (!verification ||
        X509_STORE_CTX_init(verification, tls->store, certificate, SSL_get_peer_cert_chain(ssl)) !=
            1 ||
        X509_STORE_CTX_set_default(verification, tls->is_server ? "ssl_client" : "ssl_server") != 1)
        return REASON_INTERNAL;
    X509_VERIFY_PARAM_set_depth(X509_STORE_CTX_get0_param(verification),
                                SSL_CTX_get_verify_depth(tls->context));
    X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(verification),
                                     SSL_CTX_get_security_level(tls->context));
    reason = X509_verify_cert(verification) == 1
                 ? REASON_NONE
                 : reason_of(X509_STORE_CTX_get_error(verification));
    ERR_clear_error();
    if (reason != REASON_NONE)
        return reason;
    tls_verified_deinit(verified);
    verified->chain = X509_STORE_CTX_get1_chain(verification);
    verified->by = verified->chain && SSL_CTX_up_ref(tls->context) == 1 ? tls->context : NULL;
    return verified->by ? REASON_NONE : REASON_INTERNAL;
}

/* The chain of the peer by the authorities of tls, borrowed. */
static enum reason find_chain(const struct tls *tls, const SSL *ssl, X509 *certificate,
                              struct tls_verified *verified, const tls_chain **ret_chain)
{
    enum reason reason = REASON_NONE;

    if (SSL_get_SSL_CTX(ssl) == tls->context) {
        *ret_chain = SSL_get0_verified_chain(ssl);
        return REASON_NONE;
    }
    if (verified->by != tls->context)
        reason = verify_again(tls, ssl, certificate, verified);
    *ret_chain = verified->chain;
    return reason;
}

enum reason tls_peer_check(struct tls *tls, const SSL *ssl, struct tls_verified *verified,
                           struct tls_peer *ret_peer)
{
    const tls_chain *chain;
    struct tls_peer peer;
    X509 *certificate;
    enum reason reason;

    if (!ssl || !SSL_is_init_finished(ssl) || SSL_version(ssl) != TLS1_3_VERSION ||
        SSL_get_verify_result(ssl) != X509_V_OK)
        return REASON_NOT_TLS;
    certificate = SSL_get0_peer_certificate(ssl);
    if (!certificate)
        return REASON_NOT_TLS;
    reason = find_chain(tls, ssl, certificate, verified, &chain);
    if (reason == REASON_NONE)
        reason = tls_certificate_check(tls, certificate, chain);
    if (reason != REASON_NONE)
        return reason;
    if (!tls_certificate_identity(certificate, peer.identity) ||
        X509_digest(certificate, EVP_sha256(), peer.fingerprint, NULL) != 1)
        return REASON_NOT_TLS;
    *ret_peer = peer;
    return REASON_NONE;
}

enum reason tls_handshake_reason(const SSL *ssl)
{
    switch (SSL_get_verify_result(ssl)) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return REASON_CERTIFICATE_EXPIRED;
    case X509_V_ERR_CERT_REVOKED:
        return REASON_CERTIFICATE_REVOKED;
    case X509_V_ERR_APPLICATION_VERIFICATION:
        return REASON_IDENTITY_UNKNOWN;
    default:
        return REASON_NOT_TLS;
    }
}
