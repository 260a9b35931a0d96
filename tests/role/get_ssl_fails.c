/* SPDX-License-Identifier: Apache-2.0 */
/* Linked with --wrap=bufferevent_openssl_get_ssl: no connection seems to have TLS. */
#include <event2/bufferevent_ssl.h>

struct ssl_st *__wrap_bufferevent_openssl_get_ssl(struct bufferevent *bufferevent); /* NOLINT */

struct ssl_st *__wrap_bufferevent_openssl_get_ssl(struct bufferevent *bufferevent) /* NOLINT */
{
    (void)bufferevent;
    return NULL;
}
