/* SPDX-License-Identifier: Apache-2.0 */
/* What is loaded, for those who watch: tls_facts, tls_describe and the checks of tls.h. */
#include "libescrow/encode.h"
#include "libescrow/tls_parts.h"

#include <openssl/bio.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

CLEANUP_FUNCTION(bio_free_p, BIO, BIO_free_all)

/* Unix time of an ASN.1 time; 0 if there is none. */
static int64_t unix_time(const ASN1_TIME *time)
{
    struct tm parts;

    return time && ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

static void put_serial(const X509 *certificate, char ret_serial[static 2 * TLS_SERIAL_MAX + 1])
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
    int len = ASN1_STRING_length(serial);

    ret_serial[0] = '\0';
    if (len > 0 && len <= TLS_SERIAL_MAX)
        hex_encode(ASN1_STRING_get0_data(serial), (size_t)len, ret_serial);
}

void tls_facts(const struct tls *tls, struct tls_facts *ret_facts)
{
    struct tls_facts facts = {.not_after = unix_time(X509_get0_notAfter(tls->certificate))};

    put_serial(tls->certificate, facts.serial);
    for (int i = 0; i < sk_X509_CRL_num(tls->lists.lists); i++) {
        const X509_CRL *list = sk_X509_CRL_value(tls->lists.lists, i);
        int64_t next = unix_time(X509_CRL_get0_nextUpdate(list));

        if (i == 0 || next < facts.crl_next_update)
            facts.crl_next_update = next;
    }
    *ret_facts = facts;
}

enum reason tls_item_check(const struct tls_item *item, int64_t now_s)
{
    bool is_over = item->until_s <= now_s, is_near = item->until_s - now_s < TLS_EXPIRES_SOON_S;

    switch (item->kind) {
    case TLS_ITEM_CERTIFICATE:
        if (is_over)
            return REASON_OWN_CERTIFICATE_EXPIRED;
        return is_near ? REASON_OWN_CERTIFICATE_EXPIRING : REASON_NONE;
    case TLS_ITEM_CA:
        return is_near ? REASON_CA_EXPIRING : REASON_NONE;
    case TLS_ITEM_CRL:
        break;
    }
    return is_over ? REASON_CRL_STALE : REASON_NONE;
}

/* Printable ASCII only: everything else is escaped. */
static void copy_name(const X509_NAME *name, char ret_text[static TLS_ITEM_NAME_MAX + 1])
{
    CLEANUP(bio_free_p) BIO *bio = BIO_new(BIO_s_mem());
    int len = 0;

    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) > 0)
        len = BIO_read(bio, ret_text, TLS_ITEM_NAME_MAX);
    ret_text[len > 0 ? len : 0] = '\0';
}

/* Before 1970 is as good as 1970. */
static int64_t time_of(const ASN1_TIME *time)
{
    int64_t seconds = unix_time(time);

    return seconds > 0 ? seconds : 0;
}

static void describe_certificate(const X509 *certificate, enum tls_item_kind kind,
                                 struct tls_item *item)
{
    *item = (struct tls_item){.kind = kind,
                              .from_s = time_of(X509_get0_notBefore(certificate)),
                              .until_s = time_of(X509_get0_notAfter(certificate))};
    copy_name(X509_get_subject_name(certificate), item->name);
    put_serial(certificate, item->serial);
}

size_t tls_describe(const struct tls *tls, struct tls_item ret_items[static TLS_ITEMS_MAX])
{
    size_t count = 1;

    describe_certificate(tls->certificate, TLS_ITEM_CERTIFICATE, &ret_items[0]);
    snprintf(ret_items[0].name, sizeof(ret_items[0].name), "%s", tls->own_identity);
    for (int i = 0; i < sk_X509_num(tls->authorities) && count < TLS_ITEMS_MAX; i++)
        describe_certificate(sk_X509_value(tls->authorities, i), TLS_ITEM_CA, &ret_items[count++]);
    for (int i = 0; i < sk_X509_CRL_num(tls->lists.lists) && count < TLS_ITEMS_MAX; i++) {
        const X509_CRL *list = sk_X509_CRL_value(tls->lists.lists, i);
        struct tls_item *item = &ret_items[count++];

        *item = (struct tls_item){.kind = TLS_ITEM_CRL,
                                  .from_s = time_of(X509_CRL_get0_lastUpdate(list)),
                                  .until_s = time_of(X509_CRL_get0_nextUpdate(list))};
        copy_name(X509_CRL_get_issuer(list), item->name);
    }
    return count;
}

/* An old CA that stays in the file beside its successor ends nothing. */
static bool has_authority(const struct tls_item *items, size_t count, int64_t now_s)
{
    for (size_t i = 0; i < count; i++) {
        if (items[i].kind == TLS_ITEM_CA && items[i].until_s > now_s)
            return true;
    }
    return false;
}

enum reason tls_check(const struct tls *tls, int64_t now_s, struct tls_item *ret_item,
                      bool *ret_is_served)
{
    struct tls_item items[TLS_ITEMS_MAX];
    size_t count = tls_describe(tls, items), found = 0;
    const bool ends[] = {[TLS_ITEM_CERTIFICATE] = true,
                         [TLS_ITEM_CA] = !has_authority(items, count, now_s),
                         [TLS_ITEM_CRL] = tls->lists.stale == TLS_CRL_STALE_REFUSE};
    bool is_served = true;

    for (size_t i = 0; i < count && is_served; i++) {
        is_served = items[i].until_s > now_s || !ends[items[i].kind];
        if (!is_served || (found == 0 && tls_item_check(&items[i], now_s)))
            found = i;
    }
    *ret_item = items[found];
    *ret_is_served = is_served;
    return tls_item_check(&items[found], now_s);
}
