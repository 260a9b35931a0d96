/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/sql_kerberos.h"

#include "libescrow/cleanup.h"
#include "libescrow/log.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <gssapi/gssapi.h>
#include <krb5/krb5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY "libgssapi_krb5.so.2"

/* RFC 1964: the mechanism, and the form of names that libkrb5 leaves as they are. */
static gss_OID_desc mechanism = {9, (char[]){"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"}};
static gss_OID_desc principal = {10, (char[]){"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01"}};

struct gssapi {
    __typeof__(gss_import_name) *import_name;
    __typeof__(gss_init_sec_context) *init_sec_context;
    __typeof__(gss_delete_sec_context) *delete_sec_context;
    __typeof__(gss_display_status) *display_status;
    __typeof__(gss_release_buffer) *release_buffer;
    __typeof__(gss_release_name) *release_name;
};

static bool load(struct gssapi *ret_gssapi)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_NOLOAD);
    struct gssapi gssapi;

    if (!library)
        return false;
    gssapi = (struct gssapi){
        .import_name = dlsym(library, "gss_import_name"),
        .init_sec_context = dlsym(library, "gss_init_sec_context"),
        .delete_sec_context = dlsym(library, "gss_delete_sec_context"),
        .display_status = dlsym(library, "gss_display_status"),
        .release_buffer = dlsym(library, "gss_release_buffer"),
        .release_name = dlsym(library, "gss_release_name"),
    };
    dlclose(library); /* the driver keeps it */
    if (!gssapi.import_name || !gssapi.init_sec_context || !gssapi.delete_sec_context ||
        !gssapi.display_status || !gssapi.release_buffer || !gssapi.release_name)
        return false;
    *ret_gssapi = gssapi;
    return true;
}

void sql_kerberos_service(const struct sql_instance *instance,
                          char ret_text[static SQL_KERBEROS_SERVICE_CAP])
{
    snprintf(ret_text, SQL_KERBEROS_SERVICE_CAP, "MSSQLSvc/%s:%u", instance->tls_name,
             instance->port);
}

enum escrow_err sql_kerberos_set(const struct sql_instance *instance)
{
    if (setenv("KRB5_CONFIG", instance->krb5_conf, 1) != 0 ||
        setenv("KRB5_CLIENT_KTNAME", instance->keytab, 1) != 0 ||
        setenv("KRB5CCNAME", "MEMORY:escrow-sql", 1) != 0)
        return ESCROW_ERR_SYSTEM;
    return ESCROW_OK;
}

/* What libkrb5 says of the minor status, into the error. */
static void describe(const struct gssapi *gssapi, const struct sql_instance *instance,
                     OM_uint32 minor, struct sql_error *ret_error)
{
    char service[SQL_KERBEROS_SERVICE_CAP];
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
    OM_uint32 ignored, more = 0;

    sql_kerberos_service(instance, service);
    gssapi->display_status(&ignored, minor, GSS_C_MECH_CODE, &mechanism, &more, &text);
    snprintf(ret_error->text, sizeof(ret_error->text),
             "Kerberos: no ticket for %s by keytab %s: %.*s", service, instance->keytab,
             (int)text.length, text.value ? (const char *)text.value : "");
    gssapi->release_buffer(&ignored, &text);
}

/* libkrb5 only says that it has no credentials. */
static bool is_readable(const char *keytab, struct sql_error *ret_error)
{
    CLEANUP(cleanup_close) int fd = open(keytab, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        snprintf(ret_error->text, sizeof(ret_error->text), "Kerberos: keytab %s: %s", keytab,
                 strerror(errno));
    return fd >= 0;
}

static bool is_without_kdc(OM_uint32 minor)
{
    return minor == (OM_uint32)KRB5_KDC_UNREACH || minor == (OM_uint32)KRB5_REALM_UNKNOWN ||
           minor == (OM_uint32)KRB5_REALM_CANT_RESOLVE;
}

/* The first step of a login, whose token is thrown away: the ticket stays in the cache. */
static OM_uint32 rehearse(const struct gssapi *gssapi, const char *service, OM_uint32 *ret_minor)
{
    gss_buffer_desc text = {strlen(service), (void *)(uintptr_t)service};
    gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
    gss_ctx_id_t context = GSS_C_NO_CONTEXT;
    gss_name_t name = GSS_C_NO_NAME;
    OM_uint32 major, ignored;

    major = gssapi->import_name(ret_minor, &text, &principal, &name);
    if (GSS_ERROR(major))
        return major;
    major = gssapi->init_sec_context(ret_minor, GSS_C_NO_CREDENTIAL, &context, name, &mechanism,
                                     GSS_C_MUTUAL_FLAG, GSS_C_INDEFINITE, GSS_C_NO_CHANNEL_BINDINGS,
                                     GSS_C_NO_BUFFER, NULL, &token, NULL, NULL);
    gssapi->release_buffer(&ignored, &token);
    if (context)
        gssapi->delete_sec_context(&ignored, &context, GSS_C_NO_BUFFER);
    gssapi->release_name(&ignored, &name);
    return major;
}

enum escrow_err sql_kerberos_get_ticket(const struct sql_instance *instance,
                                        struct sql_error *ret_error)
{
    char service[SQL_KERBEROS_SERVICE_CAP];
    OM_uint32 minor = 0;
    struct gssapi gssapi;

    if (!is_readable(instance->keytab, ret_error))
        return ESCROW_ERR_DENIED;
    if (!load(&gssapi)) {
        log_error("sql: the driver %s has not loaded " LIBRARY, ESCROW_ODBC_DRIVER);
        snprintf(ret_error->text, sizeof(ret_error->text), "the driver has no Kerberos");
        return ESCROW_ERR_SYSTEM;
    }
    sql_kerberos_service(instance, service);
    if (!GSS_ERROR(rehearse(&gssapi, service, &minor)))
        return ESCROW_OK;
    describe(&gssapi, instance, minor, ret_error);
    return is_without_kdc(minor) ? ESCROW_ERR_UNAVAILABLE : ESCROW_ERR_DENIED;
}
