/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates and revocation lists: an identity that is taken from a certificate has the form of
 * one and stands in it; a list that no authority signed is never taken, nor anything behind a good
 * list that is no whole list itself. The first byte of the input chooses, the rest is a certificate
 * (DER), a text of lists (PEM), or what stands behind a good list.
 */
#include "libescrow/tls_parts.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/certificates.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <stdlib.h>
#include <string.h>

#define BEGIN "-----BEGIN X509 CRL-----\n"
#define YEAR_S (365L * 24 * 3600)

static struct {
    struct authority authority;
    tls_chain *chain;
    char *list; /* PEM */
    long list_len;
} good;

static void set_up(void)
{
    X509_CRL *list;
    BIO *pem;
    char *text;

    if (good.chain)
        return;
    inject_hold(true);
    good.authority = authority_new("Fuzz CA");
    good.chain = sk_X509_new_null();
    list = revocation_list_new(&good.authority,
                               &(struct revocation){.updated_s = -60, .next_s = 10 * YEAR_S});
    pem = BIO_new(BIO_s_mem());
    if (!good.chain || !pem || sk_X509_push(good.chain, good.authority.certificate) != 1 ||
        PEM_write_bio_X509_CRL(pem, list) != 1)
        abort();
    good.list_len = BIO_get_mem_data(pem, &text);
    good.list = strndup(text, (size_t)good.list_len);
    BIO_free(pem);
    X509_CRL_free(list);
    inject_hold(false);
}

static void check_certificate(const uint8_t *bytes, size_t len)
{
    const unsigned char *next = bytes;
    X509 *certificate = d2i_X509(NULL, &next, (long)len);
    char identity[IDENTITY_MAX + 1] = "untouched";
    const bool is_taken = certificate && tls_certificate_identity(certificate, identity);

    FUZZ_CHECK(is_taken ? identity_is_valid(identity) : strcmp(identity, "untouched") == 0);
    if (is_taken)
        FUZZ_CHECK(memmem(bytes, len, identity, strlen(identity)));
    if (certificate && tls_certificate_is_for(certificate, true))
        FUZZ_CHECK(!(X509_get_extension_flags(certificate) & EXFLAG_CA));
    X509_free(certificate);
}

static enum escrow_err read_lists(const char *text, size_t len)
{
    struct tls_lists lists = {0};
    enum escrow_err err;

    inject_hold(true);
    lists.path = strdup("fuzz");
    inject_hold(false);
    err = tls_lists_read(&lists, &(struct tls_text){text, len}, good.chain);
    fuzz_check_err(err);
    FUZZ_CHECK(!err == (sk_X509_CRL_num(lists.lists) > 0));
    FUZZ_CHECK(sk_X509_CRL_num(lists.lists) == sk_X509_num(lists.signers));
    tls_lists_deinit(&lists);
    return err;
}

/* Behind a good list stands nothing that begins as a list: none could be signed. */
static void check_behind_good(const char *behind, size_t len)
{
    char text[4096];
    const size_t all = (size_t)good.list_len + len;

    if (all > sizeof(text))
        return;
    memcpy(text, good.list, (size_t)good.list_len);
    if (len > 0)
        memcpy(text + good.list_len, behind, len);
    FUZZ_CHECK(read_lists(text, all) != ESCROW_OK || len < sizeof(BEGIN) - 1 ||
               memcmp(behind, BEGIN, sizeof(BEGIN) - 1) != 0);
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    struct fuzz_source source = {bytes, len};
    const uint8_t which = fuzz_take_byte(&source) % 3;

    set_up();
    if (which == 0) {
        check_certificate(source.bytes, source.len);
    } else if (which == 1) {
        FUZZ_CHECK(read_lists((const char *)source.bytes, source.len) != ESCROW_OK);
    } else {
        check_behind_good((const char *)source.bytes, source.len);
    }
    ERR_clear_error();
}
