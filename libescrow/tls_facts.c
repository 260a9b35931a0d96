/* SPDX-License-Identifier: Apache-2.0 */
/* What is loaded, for those who watch: tls_facts and tls_own_check of tls.h. */
#include "libescrow/encode.h"
#include "libescrow/tls_parts.h"

#include <string.h>
#include <time.h>

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

enum reason tls_own_check(const struct tls *tls)
{
    int64_t left = unix_time(X509_get0_notAfter(tls->certificate)) - (int64_t)time(NULL);

    if (left < 0)
        return REASON_OWN_CERTIFICATE_EXPIRED;
    return left < TLS_EXPIRES_SOON_S ? REASON_OWN_CERTIFICATE_EXPIRING : REASON_NONE;
}
