/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/log.h"
#include "libescrow/tls.h"

#include <openssl/x509.h>

#include <stdbool.h>
#include <sys/stat.h>

/* The inside of a struct tls, shared by tls.c, tls_crl.c and tls_peer.c and by nobody else. */

/* Names for OpenSSL's stacks, as types that a declaration can be read with. */
typedef STACK_OF(X509) tls_chain;
typedef STACK_OF(X509_CRL) tls_list_stack;

/* The revocation lists of one file, each verified against its issuer when it was read. */
struct tls_lists {
    char *path; /* NULL: no list is checked */
    enum tls_crl_stale stale;
    struct stat status; /* of the file as read */
    tls_list_stack *lists;
    tls_chain *signers;       /* whose list each one is; the certificates are the authorities' */
    bool is_complaint_logged; /* about a stale list: once for each file */
};

struct tls {
    unsigned owners;
    bool is_server;
    SSL_CTX *context;
    X509 *certificate;
    EVP_PKEY *key;
    tls_chain *authorities;
    X509_STORE *store; /* the same, for OpenSSL */
    struct tls_lists lists;
    struct log_limit refusals; /* lines about peers that are not let in */
    char own_identity[IDENTITY_MAX + 1];
    char server_identity[IDENTITY_MAX + 1]; /* of a client: whom it expects */
};

/*
 * After a PEM reader gave nothing: whether the text has come to its end. If not, there stands a
 * broken one, and those before it must not count as all. Empties OpenSSL's error queue.
 */
bool tls_pem_is_over(void);

/*
 * Takes over the lists in given (NULL: in the file lists->path) if each is signed by one of the
 * authorities.
 */
MUST_CHECK enum escrow_err tls_lists_read(struct tls_lists *lists, const struct tls_text *given,
                                          tls_chain *authorities);
void tls_lists_deinit(struct tls_lists *lists);
/*
 * REASON_NONE if a current list of the certificate's issuer does not name it. The issuer is known
 * by its key: a CA may go on under its old name with a new one. NULL: nothing is known of it.
 */
MUST_CHECK enum reason tls_lists_check(struct tls_lists *lists, X509 *certificate,
                                       const X509 *issuer);

/* The one SAN URI of a certificate; false if there is none, more than one, or no valid identity. */
bool tls_certificate_identity(const X509 *certificate, char ret_identity[static IDENTITY_MAX + 1]);
/* It is no CA and has the extended key usage of that side. */
bool tls_certificate_is_for(X509 *certificate, bool is_server);
/* Everything that is asked of a peer's certificate beyond its chain, which begins with it. */
MUST_CHECK enum reason tls_certificate_check(struct tls *tls, X509 *certificate,
                                             const tls_chain *chain);
/* For SSL_CTX_set_cert_verify_callback; argument is the struct tls. */
int tls_on_verify(X509_STORE_CTX *verification, void *argument);
