/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/kerberos.h"

#include "libescrow/cleanup.h"
#include "libescrow/log.h"
#include "tests/sqlsim/memory.h"

#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <stdlib.h>
#include <string.h>

struct kerberos {
    char *keytab;
    gss_ctx_id_t context;
    char *account;
};

struct kerberos *kerberos_new(const char *keytab)
{
    struct kerberos *kerberos = memory_new(sizeof(*kerberos));

    if (keytab)
        kerberos->keytab = memory_copy(keytab);
    return kerberos;
}

void kerberos_free(struct kerberos *kerberos)
{
    OM_uint32 minor;

    if (!kerberos)
        return;
    if (kerberos->context)
        gss_delete_sec_context(&minor, &kerberos->context, GSS_C_NO_BUFFER);
    free(kerberos->keytab);
    free(kerberos->account);
    free(kerberos);
}

static void complain(const char *what, OM_uint32 minor)
{
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
    OM_uint32 ignored, more = 0;

    gss_display_status(&ignored, minor, GSS_C_MECH_CODE, GSS_C_NO_OID, &more, &text);
    log_error("SSPI handshake failed: %s: %.*s", what, (int)text.length, (const char *)text.value);
    gss_release_buffer(&ignored, &text);
}

static gss_cred_id_t service_credential(const char *keytab)
{
    gss_key_value_element_desc elements[] = {{"keytab", keytab}, {"rcache", "none:"}};
    const gss_key_value_set_desc store = {ARRAY_LEN(elements), elements};
    gss_cred_id_t credential = GSS_C_NO_CREDENTIAL;
    OM_uint32 minor;

    if (GSS_ERROR(gss_acquire_cred_from(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE, GSS_C_NO_OID_SET,
                                        GSS_C_ACCEPT, &store, &credential, NULL, NULL)))
        complain("keytab", minor);
    return credential;
}

/* user@REALM.REST is REALM\user: the usual NetBIOS name of a domain. */
static char *account_of(const char *principal, size_t len)
{
    CLEANUP(cleanup_free) char *user = strndup(principal, len);
    char *realm = user ? strrchr(user, '@') : NULL;

    if (!realm)
        abort();
    *realm++ = '\0';
    realm[strcspn(realm, ".")] = '\0';
    return memory_format("%s\\%s", realm, user);
}

static char *account_of_name(gss_name_t name)
{
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
    OM_uint32 minor;
    char *account;

    if (GSS_ERROR(gss_display_name(&minor, name, &text, NULL)))
        abort();
    account = account_of(text.value, text.length);
    gss_release_buffer(&minor, &text);
    return account;
}

enum kerberos_result kerberos_accept(struct kerberos *kerberos, const uint8_t *token, size_t len,
                                     struct evbuffer *answer)
{
    CLEANUP(cleanup_free) uint8_t *copy = memory_new(len + 1);
    gss_buffer_desc input = {len, copy}, output = GSS_C_EMPTY_BUFFER;
    gss_cred_id_t credential =
        kerberos->keytab ? service_credential(kerberos->keytab) : GSS_C_NO_CREDENTIAL;
    gss_name_t name = GSS_C_NO_NAME;
    OM_uint32 major, minor, ignored;

    if (credential == GSS_C_NO_CREDENTIAL)
        return KERBEROS_FAILED;
    memcpy(copy, token, len);
    major =
        gss_accept_sec_context(&minor, &kerberos->context, credential, &input,
                               GSS_C_NO_CHANNEL_BINDINGS, &name, NULL, &output, NULL, NULL, NULL);
    evbuffer_add(answer, output.value, output.length);
    gss_release_buffer(&ignored, &output);
    gss_release_cred(&ignored, &credential);
    if (GSS_ERROR(major))
        complain("token", minor);
    else if (major == GSS_S_COMPLETE)
        kerberos->account = account_of_name(name);
    if (name != GSS_C_NO_NAME)
        gss_release_name(&ignored, &name);
    if (GSS_ERROR(major))
        return KERBEROS_FAILED;
    return major == GSS_S_COMPLETE ? KERBEROS_DONE : KERBEROS_MORE;
}

const char *kerberos_account(const struct kerberos *kerberos)
{
    return kerberos->account;
}
