/* SPDX-License-Identifier: Apache-2.0 */
/* Linked with --wrap=SSL_new: there is no TLS for the second connection at its first tries. */
#include <openssl/ssl.h>

#define FIRST_FAILURE 2
#define LAST_FAILURE 11 /* with a try every 100 ms: about a second */

SSL *__real_SSL_new(SSL_CTX *context); /* NOLINT(readability-identifier-naming) */
SSL *__wrap_SSL_new(SSL_CTX *context); /* NOLINT(readability-identifier-naming) */

SSL *__wrap_SSL_new(SSL_CTX *context) /* NOLINT(readability-identifier-naming) */
{
    static unsigned calls;

    calls++;
    return calls >= FIRST_FAILURE && calls <= LAST_FAILURE ? NULL : __real_SSL_new(context);
}
