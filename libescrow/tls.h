/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"
#include "libescrow/identity.h"
#include "libescrow/reason.h"
#include "libescrow/secret.h"

#include <openssl/ssl.h>

#include <stdbool.h>
#include <stdint.h>

/*
 * Both ends of a channel of escrowd: TLS 1.3 with certificates on both sides, and who is at the
 * other end. A peer counts only if its certificate chains to our own CA file, has the extended key
 * usage of its side, exactly one SAN URI in the form of identity.h, and is not on the revocation
 * list of its issuer; all of that at the handshake, and validity and revocation again on every
 * request, since connections outlive lists. No tickets: a resumed session would skip the check.
 * Host names and IP addresses are never looked at: identity is the SAN URI.
 */

enum tls_crl_stale {
    TLS_CRL_STALE_WARN,  /* use a list past its next update, and say so */
    TLS_CRL_STALE_REFUSE /* refuse every peer until there is a newer list */
};

/* What the files of a struct tls_config held when somebody else read them. */
struct tls_text {
    const char *bytes;
    size_t len;
};

struct tls_texts {
    struct tls_text ca, crl, certificate;
    const struct secret *key;
};

#define TLS_CERTIFICATE_FILE_MAX ((size_t)1024 * 1024) /* bytes of ca_file and certificate */
#define TLS_CRL_FILE_MAX ((size_t)16 * 1024 * 1024)

struct tls_config {
    const char *ca_file;           /* PEM: those who may issue the peers' certificates */
    const char *crl_file;          /* PEM: their revocation lists; NULL: none is checked */
    enum tls_crl_stale crl_stale;  /* with crl_file */
    const char *certificate;       /* PEM: our own; only the first one is sent */
    const char *key;               /* PEM, mode 0600, P-256 */
    const char *server_identity;   /* of a client: the SAN URI that the server must have */
    const struct tls_texts *texts; /* NULL, or no file is opened: the names are for messages */
};

struct tls;

/*
 * Reads the files and makes the context of a server, or of clients of one server. config is copied.
 * ESCROW_ERR_CONFIG with a log line that names the file.
 */
MUST_CHECK enum escrow_err tls_server_new(const struct tls_config *config, struct tls **ret_tls);
MUST_CHECK enum escrow_err tls_client_new(const struct tls_config *config, struct tls **ret_tls);
/* Another owner of the same; each calls tls_free. */
struct tls *tls_share(struct tls *tls);
void tls_free(struct tls *tls);
CLEANUP_FUNCTION(tls_free_p, struct tls, tls_free)

/* For SSL_new; owned by tls, which must outlive every SSL made from it. */
SSL_CTX *tls_context(const struct tls *tls);

/* Sets up a context that somebody else made (libcurl's) exactly as tls_context is. */
MUST_CHECK enum escrow_err tls_apply(struct tls *tls, SSL_CTX *context);

/*
 * Reads the revocation lists again if their file has changed (cheap if it has not): at SIGHUP, and
 * from a timer. ESCROW_ERR_CONFIG with a log line if the new file is wrong: the lists in use stay.
 */
MUST_CHECK enum escrow_err tls_refresh_crl(struct tls *tls);

/* Who is at the other end. */
struct tls_peer {
    char identity[IDENTITY_MAX + 1];
    uint8_t fingerprint[32]; /* SHA-256 of the certificate (DER) */
};

/*
 * The chain of a connection's peer as it was verified again after its handshake, because other
 * files are in force by now; one a connection, {0} at first.
 */
struct tls_verified {
    SSL_CTX *by;
    STACK_OF(X509) * chain;
};

void tls_verified_deinit(struct tls_verified *verified);

/*
 * To be asked on every request, before anything else of it. tls is what is in force now: if the
 * connection was made under another one, its peer is verified anew, once. REASON_NONE with
 * *ret_peer, or why the peer must not be served: REASON_NOT_TLS (no handshake, no verified
 * certificate; ssl may be NULL), REASON_CERTIFICATE_UNTRUSTED (none of our CAs issued it, any
 * more), REASON_CERTIFICATE_EXPIRED, REASON_CERTIFICATE_REVOKED, REASON_CRL_STALE,
 * REASON_IDENTITY_UNKNOWN (no usable SAN URI, or not the server's).
 */
MUST_CHECK enum reason tls_peer_check(struct tls *tls, const SSL *ssl,
                                      struct tls_verified *verified, struct tls_peer *ret_peer);

/* Of a server: why a handshake has not come to its end, as far as the client's certificate tells.
 */
enum reason tls_handshake_reason(const SSL *ssl);

/* The SAN URI of our own certificate. */
const char *tls_own_identity(const struct tls *tls);

#define TLS_SERIAL_MAX 20           /* bytes of a serial number (RFC 5280, 4.1.2.2) */
#define TLS_EXPIRES_SOON_S 2592000L /* 30 days: who watches should be told */

/* What is loaded, for those who watch. Times are Unix times in seconds. */
struct tls_facts {
    char serial[2 * TLS_SERIAL_MAX + 1]; /* of our own certificate, hex */
    int64_t not_after;
    int64_t crl_next_update; /* the earliest of the lists; 0: no list, or one without such a time */
};

void tls_facts(const struct tls *tls, struct tls_facts *ret_facts);

/* All of what is loaded, in short: for status, and to see an expiry coming. */
enum tls_item_kind { TLS_ITEM_CERTIFICATE = 1, TLS_ITEM_CA, TLS_ITEM_CRL };

#define TLS_ITEMS_MAX 32
#define TLS_ITEM_NAME_MAX 256

struct tls_item {
    enum tls_item_kind kind;
    char name[TLS_ITEM_NAME_MAX + 1]; /* our identity; a CA's subject, a list's issuer, RFC 2253 */
    char serial[2 * TLS_SERIAL_MAX + 1]; /* hex; of a list "" */
    int64_t from_s, until_s;             /* Unix time: validity; a list's this and next update */
};

/* Our certificate first, then CAs, then lists; returns how many (1 ..= TLS_ITEMS_MAX). */
size_t tls_describe(const struct tls *tls, struct tls_item ret_items[static TLS_ITEMS_MAX]);
/*
 * What a person must do something about: REASON_NONE, REASON_OWN_CERTIFICATE_EXPIRED,
 * REASON_CRL_STALE, or within TLS_EXPIRES_SOON_S of the end REASON_OWN_CERTIFICATE_EXPIRING and
 * REASON_CA_EXPIRING (also after it).
 */
enum reason tls_item_check(const struct tls_item *item, int64_t now_s);
/*
 * The same of all that is loaded: of the item that matters most, our own certificate if none does.
 * *ret_is_served: false if peers are refused because of it (our certificate or every CA is over, or
 * a list is and stale ones refuse).
 */
enum reason tls_check(const struct tls *tls, int64_t now_s, struct tls_item *ret_item,
                      bool *ret_is_served);
