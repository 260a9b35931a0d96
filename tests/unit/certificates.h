/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <openssl/x509.h>

#include <stdbool.h>

/* Certificates and revocation lists of every good and bad kind, made on the spot. */

struct authority {
    EVP_PKEY *key;
    X509 *certificate;
};

struct leaf {
    const char *san;      /* as in an OpenSSL configuration; NULL: no such extension */
    const char *again;    /* a second extension of the same kind; NULL: none */
    const char *eku;      /* NULL: no such extension */
    long from_s, until_s; /* from now */
    bool is_ca;
    bool has_nul; /* the SAN is one URI with a NUL in it; san is not looked at */
};

struct authority authority_new(const char *name);
void authority_deinit(struct authority *authority);

/* A certificate for the key, signed by the authority; owned by the caller. */
X509 *certificate_new(const struct authority *authority, EVP_PKEY *key, const struct leaf *leaf);

struct revocation {
    const X509 *revoked;      /* NULL: the list is empty */
    long updated_s, next_s;   /* from now; next_s 0: no next update */
    const char *critical_idp; /* an issuing distribution point, marked critical; NULL: none */
};
X509_CRL *revocation_list_new(const struct authority *authority,
                              const struct revocation *revocation);

/* Write PEM, replacing what is there. */
void write_certificate(const char *path, X509 *certificate);
void append_certificate(const char *path, X509 *certificate);
void write_list(const char *path, X509_CRL *list);
