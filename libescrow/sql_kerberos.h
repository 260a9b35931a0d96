/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/sql.h"

/*
 * The tickets of an instance with a keytab. The driver would get them by itself, but cannot say why
 * it got none; so they are got here before it connects, into a cache in this process' memory from
 * which it takes them. Passwords are never used, and no ticket reaches a file.
 *
 * libgssapi is the copy that the driver has loaded: no other process of ours needs it.
 */

/* Room for the text of sql_kerberos_service. */
#define SQL_KERBEROS_SERVICE_CAP 300

/* The service that an instance is to Kerberos: MSSQLSvc/<tls_name>:<port>. */
void sql_kerberos_service(const struct sql_instance *instance,
                          char ret_text[static SQL_KERBEROS_SERVICE_CAP]);

/* Points libkrb5 at the instance's krb5_conf, keytab and the cache, for sql_environment_new.
 * ESCROW_ERR_SYSTEM with errno. */
MUST_CHECK enum escrow_err sql_kerberos_set(const struct sql_instance *instance);

/*
 * Sees to it that the cache has a valid ticket for the instance; asks the KDC where it has none.
 * On failure ret_error has the words of libkrb5. ESCROW_ERR_UNAVAILABLE: no KDC answered.
 * ESCROW_ERR_DENIED: everything else, such as a wrong key or an unknown name (a domain may lock an
 * account whose key is refused too often: wait before the next attempt). ESCROW_ERR_SYSTEM: the
 * driver is one without Kerberos. libkrb5 has time-outs of its own, about 20 s for a KDC that is
 * silent: keep a deadline outside.
 */
MUST_CHECK enum escrow_err sql_kerberos_get_ticket(const struct sql_instance *instance,
                                                   struct sql_error *ret_error);
