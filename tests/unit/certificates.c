/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/certificates.h"

#include "libescrow/key.h"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MANY_S (365L * 24 * 3600)

static void set_name(X509_NAME *name, const char *text)
{
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                                (const unsigned char *)text, -1, -1, 0),
                     1);
}

static void add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    extension = X509V3_EXT_nconf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static X509 *new_certificate(EVP_PKEY *key, long from_s, long until_s)
{
    X509 *certificate = X509_new();
    uint64_t serial;

    assert_non_null(certificate);
    assert_int_equal(RAND_bytes((unsigned char *)&serial, sizeof(serial)), 1);
    assert_int_equal(X509_set_version(certificate, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(certificate), from_s));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(certificate), until_s));
    assert_int_equal(X509_set_pubkey(certificate, key), 1);
    return certificate;
}

struct authority authority_new(const char *name)
{
    struct authority authority = {.key = key_generate()};

    authority.certificate = new_certificate(authority.key, -60, 10 * MANY_S);
    set_name(X509_get_subject_name(authority.certificate), name);
    assert_int_equal(
        X509_set_issuer_name(authority.certificate, X509_get_subject_name(authority.certificate)),
        1);
    add_extension(authority.certificate, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(authority.certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
    assert_true(X509_sign(authority.certificate, authority.key, EVP_sha256()) > 0);
    return authority;
}

void authority_deinit(struct authority *authority)
{
    X509_free(authority->certificate);
    EVP_PKEY_free(authority->key);
}

/* What no configuration text can say. */
static void add_uri_with_nul(X509 *certificate)
{
    static const char uri[] = "spiffe://corp.example/sql1\0.evil";
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();

    assert_int_equal(ASN1_STRING_set(text, uri, sizeof(uri) - 1), 1);
    GENERAL_NAME_set0_value(name, GEN_URI, text);
    assert_int_equal(sk_GENERAL_NAME_push(names, name), 1);
    assert_int_equal(X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0), 1);
    GENERAL_NAMES_free(names);
}

X509 *certificate_new(const struct authority *authority, EVP_PKEY *key, const struct leaf *leaf)
{
    X509 *certificate = new_certificate(key, leaf->from_s, leaf->until_s ? leaf->until_s : MANY_S);

    set_name(X509_get_subject_name(certificate), "leaf");
    assert_int_equal(
        X509_set_issuer_name(certificate, X509_get_subject_name(authority->certificate)), 1);
    add_extension(certificate, NID_basic_constraints,
                  leaf->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (leaf->has_nul)
        add_uri_with_nul(certificate);
    else if (leaf->san)
        add_extension(certificate, NID_subject_alt_name, leaf->san);
    if (leaf->again)
        add_extension(certificate, NID_subject_alt_name, leaf->again);
    if (leaf->eku)
        add_extension(certificate, NID_ext_key_usage, leaf->eku);
    assert_true(X509_sign(certificate, authority->key, EVP_sha256()) > 0);
    return certificate;
}

static void add_revoked(X509_CRL *list, const X509 *certificate)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
    ASN1_INTEGER *serial = ASN1_INTEGER_dup(X509_get0_serialNumber(certificate));

    assert_int_equal(X509_REVOKED_set_serialNumber(entry, serial), 1);
    assert_int_equal(X509_REVOKED_set_revocationDate(entry, now), 1);
    assert_int_equal(X509_CRL_add0_revoked(list, entry), 1);
    ASN1_INTEGER_free(serial);
    ASN1_TIME_free(now);
}

static void add_point(X509_CRL *list, const char *value)
{
    X509_EXTENSION *extension =
        X509V3_EXT_nconf_nid(NULL, NULL, NID_issuing_distribution_point, value);

    assert_non_null(extension);
    assert_int_equal(X509_EXTENSION_set_critical(extension, 1), 1);
    assert_int_equal(X509_CRL_add_ext(list, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

X509_CRL *revocation_list_new(const struct authority *authority,
                              const struct revocation *revocation)
{
    X509_CRL *list = X509_CRL_new();
    ASN1_TIME *updated = X509_gmtime_adj(NULL, revocation->updated_s);
    ASN1_TIME *next = X509_gmtime_adj(NULL, revocation->next_s);

    assert_int_equal(X509_CRL_set_version(list, X509_CRL_VERSION_2), 1);
    assert_int_equal(X509_CRL_set_issuer_name(list, X509_get_subject_name(authority->certificate)),
                     1);
    assert_int_equal(X509_CRL_set1_lastUpdate(list, updated), 1);
    if (revocation->next_s)
        assert_int_equal(X509_CRL_set1_nextUpdate(list, next), 1);
    if (revocation->revoked)
        add_revoked(list, revocation->revoked);
    if (revocation->critical_idp)
        add_point(list, revocation->critical_idp);
    assert_int_equal(X509_CRL_sort(list), 1);
    assert_true(X509_CRL_sign(list, authority->key, EVP_sha256()) > 0);
    ASN1_TIME_free(updated);
    ASN1_TIME_free(next);
    return list;
}

static FILE *open_file(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);

    assert_non_null(file);
    return file;
}

void write_certificate(const char *path, X509 *certificate)
{
    FILE *file = open_file(path, "w");

    assert_int_equal(PEM_write_X509(file, certificate), 1);
    fclose(file);
}

void append_certificate(const char *path, X509 *certificate)
{
    FILE *file = open_file(path, "a");

    assert_int_equal(PEM_write_X509(file, certificate), 1);
    fclose(file);
}

void write_list(const char *path, X509_CRL *list)
{
    FILE *file = open_file(path, "w");

    assert_int_equal(PEM_write_X509_CRL(file, list), 1);
    fclose(file);
}
