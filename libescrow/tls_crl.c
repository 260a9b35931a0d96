/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/file.h"
#include "libescrow/log.h"
#include "libescrow/tls_parts.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LISTS_MAX 64

static void free_stack(tls_list_stack **lists)
{
    sk_X509_CRL_pop_free(*lists, X509_CRL_free);
}

static void free_signers(tls_chain **signers)
{
    sk_X509_free(*signers);
}

CLEANUP_FUNCTION(list_free_p, X509_CRL, X509_CRL_free)
CLEANUP_FUNCTION(bio_free_p, BIO, BIO_free_all)

void tls_lists_deinit(struct tls_lists *lists)
{
    sk_X509_CRL_pop_free(lists->lists, X509_CRL_free);
    sk_X509_free(lists->signers);
    free(lists->path);
}

/* The authority that signed the list; NULL if none did. */
static X509 *find_signer(X509_CRL *list, const tls_chain *authorities)
{
    for (int i = 0; i < sk_X509_num(authorities); i++) {
        X509 *authority = sk_X509_value(authorities, i);

        if (X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_subject_name(authority)) == 0 &&
            X509_CRL_verify(list, X509_get0_pubkey(authority)) == 1)
            return authority;
    }
    return NULL;
}

/* A critical extension narrows a list (delta, indirect, partial: RFC 5280, 5.2): not understood. */
static bool is_whole(const X509_CRL *list)
{
    for (int i = 0; i < X509_CRL_get_ext_count(list); i++) {
        if (X509_EXTENSION_get_critical(X509_CRL_get_ext(list, i)))
            return false;
    }
    return X509_CRL_get0_nextUpdate(list) != NULL;
}

bool tls_pem_is_over(void)
{
    const bool is_over = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;

    ERR_clear_error();
    return is_over;
}

static enum escrow_err read_all(const char *path, BIO *pem, const tls_chain *authorities,
                                tls_list_stack *lists, tls_chain *signers)
{
    for (;;) {
        CLEANUP(list_free_p) X509_CRL *list = PEM_read_bio_X509_CRL(pem, NULL, NULL, NULL);
        X509 *signer;

        if (!list && tls_pem_is_over())
            break;
        signer = list && is_whole(list) ? find_signer(list, authorities) : NULL;
        ERR_clear_error();
        if (!signer || sk_X509_CRL_num(lists) == LISTS_MAX) {
            log_error("%s: list %d is not a complete revocation list signed by a CA of the CA "
                      "file, or is one too many",
                      path, sk_X509_CRL_num(lists) + 1);
            return ESCROW_ERR_CONFIG;
        }
        if (!sk_X509_push(signers, signer) || !sk_X509_CRL_push(lists, list))
            return ESCROW_ERR_NO_MEMORY;
        (void)TAKE(list);
    }
    if (sk_X509_CRL_num(lists) > 0)
        return ESCROW_OK;
    log_error("%s: holds no PEM revocation list", path);
    return ESCROW_ERR_CONFIG;
}

static enum escrow_err take_lists(struct tls_lists *lists, const struct tls_text *text,
                                  const tls_chain *authorities)
{
    CLEANUP(bio_free_p) BIO *pem = BIO_new_mem_buf(text->bytes, (int)text->len);
    CLEANUP(free_stack) tls_list_stack *fresh = sk_X509_CRL_new_null();
    CLEANUP(free_signers) tls_chain *signers = sk_X509_new_null();
    enum escrow_err err;

    if (!pem || !fresh || !signers)
        return ESCROW_ERR_NO_MEMORY;
    err = read_all(lists->path, pem, authorities, fresh, signers);
    if (err)
        return err;
    sk_X509_CRL_pop_free(lists->lists, X509_CRL_free);
    sk_X509_free(lists->signers);
    lists->lists = TAKE(fresh);
    lists->signers = TAKE(signers);
    lists->is_complaint_logged = false;
    return ESCROW_OK;
}

enum escrow_err tls_lists_read(struct tls_lists *lists, const struct tls_text *given,
                               tls_chain *authorities)
{
    CLEANUP(cleanup_free) char *text = NULL;
    struct stat status;
    size_t len;
    enum escrow_err err;

    if (given)
        return take_lists(lists, given, authorities);
    /* Before reading: a file replaced meanwhile is read again next time. */
    if (stat(lists->path, &status) < 0) {
        log_error("%s: cannot be read: %s", lists->path, strerror(errno));
        return ESCROW_ERR_CONFIG;
    }
    err = file_read(lists->path, TLS_CRL_FILE_MAX, &text, &len);
    if (!err)
        err = take_lists(lists, &(struct tls_text){text, len}, authorities);
    if (err)
        return err == ESCROW_ERR_NOT_FOUND ? ESCROW_ERR_CONFIG : err;
    lists->status = status;
    return ESCROW_OK;
}

enum escrow_err tls_refresh_crl(struct tls *tls)
{
    const struct stat *known = &tls->lists.status;
    struct stat status;

    if (!tls->lists.path)
        return ESCROW_OK;
    if (stat(tls->lists.path, &status) == 0 && status.st_dev == known->st_dev &&
        status.st_ino == known->st_ino && status.st_size == known->st_size &&
        status.st_mtim.tv_sec == known->st_mtim.tv_sec &&
        status.st_mtim.tv_nsec == known->st_mtim.tv_nsec)
        return ESCROW_OK;
    return tls_lists_read(&tls->lists, NULL, tls->authorities);
}

static bool is_current(const X509_CRL *list)
{
    return X509_cmp_current_time(X509_CRL_get0_lastUpdate(list)) < 0 &&
           X509_cmp_current_time(X509_CRL_get0_nextUpdate(list)) > 0;
}

static void complain(struct tls_lists *lists, const char *what)
{
    if (!lists->is_complaint_logged)
        log_warning("%s: %s", lists->path, what);
    lists->is_complaint_logged = true;
}

static bool is_list_of(const struct tls_lists *lists, int index, const X509 *issuer)
{
    return issuer && EVP_PKEY_eq(X509_get0_pubkey(sk_X509_value(lists->signers, index)),
                                 X509_get0_pubkey(issuer)) == 1;
}

enum reason tls_lists_check(struct tls_lists *lists, X509 *certificate, const X509 *issuer)
{
    bool is_listed = false;

    if (!lists->path)
        return REASON_NONE;
    for (int i = 0; i < sk_X509_CRL_num(lists->lists); i++) {
        X509_CRL *list = sk_X509_CRL_value(lists->lists, i);
        X509_REVOKED *entry = NULL;

        if (!is_list_of(lists, i, issuer))
            continue;
        if (X509_CRL_get0_by_cert(list, &entry, certificate) != 0)
            return REASON_CERTIFICATE_REVOKED;
        if (is_current(list)) {
            is_listed = true;
            continue;
        }
        complain(lists, "a revocation list is past its next update or not valid yet");
        if (lists->stale == TLS_CRL_STALE_WARN)
            is_listed = true;
    }
    if (is_listed)
        return REASON_NONE;
    complain(lists, "there is no usable revocation list for the issuer of a peer's certificate");
    return REASON_CRL_STALE;
}
