/* SPDX-License-Identifier: Apache-2.0 */
/* The wrapped calls: --wrap=NAME sends ours here as __wrap_NAME and keeps the true one as
 * __real_NAME. */
#include "escrowd/tpm_transport.h"
#include "tests/fault/inject.h"
#include "tests/fault/inject_libraries.h"

#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <sqlite3.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* NOLINTBEGIN(readability-identifier-naming,bugprone-branch-clone) */
#define WRAPPED(name)
#define FAIL(class, result, failure, name, parameters, arguments)                                  \
    result __real_##name parameters;                                                               \
    result __wrap_##name parameters;                                                               \
    result __wrap_##name parameters                                                                \
    {                                                                                              \
        return inject_due(INJECT_##class, #name) ? (failure) : __real_##name arguments;            \
    }
#include "tests/fault/inject_calls.def"

int __wrap_asprintf(char **text, const char *format, ...);
int __wrap_asprintf(char **text, const char *format, ...)
{
    va_list list;
    int len;

    if (inject_due(INJECT_MEMORY, "asprintf"))
        return -1;
    va_start(list, format);
    len = __real_vasprintf(text, format, list);
    va_end(list);
    return len;
}

/* OpenSSL 3.0 itself dies where the context of a KDF cannot be allocated (kdf_sskdf_new). */
EVP_KDF_CTX *__real_EVP_KDF_CTX_new(EVP_KDF *kdf);
EVP_KDF_CTX *__wrap_EVP_KDF_CTX_new(EVP_KDF *kdf);
EVP_KDF_CTX *__wrap_EVP_KDF_CTX_new(EVP_KDF *kdf)
{
    EVP_KDF_CTX *context;

    if (inject_due(INJECT_CRYPTO, "EVP_KDF_CTX_new"))
        return NULL;
    inject_hold(true);
    context = __real_EVP_KDF_CTX_new(kdf);
    inject_hold(false);
    return context;
}

/* libevent 2.1.12 itself dies where a bufferevent of TLS gets no buffers. */
struct bufferevent *__real_bufferevent_openssl_socket_new(struct event_base *base, int fd, SSL *ssl,
                                                          enum bufferevent_ssl_state state,
                                                          int options);
struct bufferevent *__wrap_bufferevent_openssl_socket_new(struct event_base *base, int fd, SSL *ssl,
                                                          enum bufferevent_ssl_state state,
                                                          int options);
struct bufferevent *__wrap_bufferevent_openssl_socket_new(struct event_base *base, int fd, SSL *ssl,
                                                          enum bufferevent_ssl_state state,
                                                          int options)
{
    struct bufferevent *bufferevent;

    if (inject_due(INJECT_MEMORY, "bufferevent_openssl_socket_new")) {
        if (options & BEV_OPT_CLOSE_ON_FREE)
            SSL_free(ssl);
        return NULL;
    }
    inject_hold(true);
    bufferevent = __real_bufferevent_openssl_socket_new(base, fd, ssl, state, options);
    inject_hold(false);
    return bufferevent;
}

/* OpenSSL allocates by our functions: the ones for itself are counted apart. */
int __real_CRYPTO_set_mem_functions(CRYPTO_malloc_fn, CRYPTO_realloc_fn, CRYPTO_free_fn);
int __wrap_CRYPTO_set_mem_functions(CRYPTO_malloc_fn, CRYPTO_realloc_fn, CRYPTO_free_fn);
int __wrap_CRYPTO_set_mem_functions(CRYPTO_malloc_fn on_malloc, CRYPTO_realloc_fn on_realloc,
                                    CRYPTO_free_fn on_free)
{
    inject_openssl(&on_malloc, &on_realloc);
    return __real_CRYPTO_set_mem_functions(on_malloc, on_realloc, on_free);
}

void __real_CRYPTO_get_mem_functions(CRYPTO_malloc_fn *, CRYPTO_realloc_fn *, CRYPTO_free_fn *);
void __wrap_CRYPTO_get_mem_functions(CRYPTO_malloc_fn *, CRYPTO_realloc_fn *, CRYPTO_free_fn *);
void __wrap_CRYPTO_get_mem_functions(CRYPTO_malloc_fn *ret_malloc, CRYPTO_realloc_fn *ret_realloc,
                                     CRYPTO_free_fn *ret_free)
{
    __real_CRYPTO_get_mem_functions(ret_malloc, ret_realloc, ret_free);
    inject_openssl_true(ret_malloc);
}

TSS2_TCTI_CONTEXT *__real_tpm_transport_tcti(struct tpm_transport *transport);
TSS2_TCTI_CONTEXT *__wrap_tpm_transport_tcti(struct tpm_transport *transport);
TSS2_TCTI_CONTEXT *__wrap_tpm_transport_tcti(struct tpm_transport *transport)
{
    return inject_tpm(__real_tpm_transport_tcti(transport));
}

/* ---- files and sockets: one of several numbers, or a short count ---- */

/* Sets errno to one of them, for a call that is to fail. */
static bool fails(enum inject_class class, const char *call, const int *numbers, unsigned count,
                  unsigned *ret_variant)
{
    unsigned due = inject_due(class, call);

    *ret_variant = due ? (due - 1) % (count + 1) : 0;
    if (!due || *ret_variant == count)
        return false;
    errno = numbers[*ret_variant];
    return true;
}

/*
 * A call that fails with one of the numbers; the variant after the last of them lets it happen, but
 * only half of it, where it has a length.
 */
#define FAIL_WITH(class, result, failure, name, parameters, arguments, short_arguments, ...)       \
    result __real_##name parameters;                                                               \
    result __wrap_##name parameters;                                                               \
    result __wrap_##name parameters                                                                \
    {                                                                                              \
        static const int numbers[] = {__VA_ARGS__};                                                \
        const unsigned count = sizeof(numbers) / sizeof(numbers[0]);                               \
        unsigned variant;                                                                          \
                                                                                                   \
        if (fails(INJECT_##class, #name, numbers, count, &variant))                                \
            return failure;                                                                        \
        return variant == count ? __real_##name short_arguments : __real_##name arguments;         \
    }

#define HALF(len) ((len) > 1 ? (len) / 2 : (len))

FAIL_WITH(FILE, ssize_t, -1, read, (int fd, void *to, size_t len), (fd, to, len),
          (fd, to, HALF(len)), EIO, EINTR)
FAIL_WITH(FILE, ssize_t, -1, write, (int fd, const void *from, size_t len), (fd, from, len),
          (fd, from, HALF(len)), ENOSPC, EIO, EINTR)
FAIL_WITH(FILE, int, -1, fsync, (int fd), (fd), (fd), EIO, ENOSPC)
FAIL_WITH(FILE, int, -1, ftruncate, (int fd, off_t len), (fd, len), (fd, len), EIO, EINTR)
FAIL_WITH(FILE, int, -1, rename, (const char *from, const char *to), (from, to), (from, to), ENOSPC,
          EIO)
FAIL_WITH(FILE, int, -1, stat, (const char *path, struct stat *status), (path, status),
          (path, status), EIO, ENOMEM)
FAIL_WITH(FILE, int, -1, fstat, (int fd, struct stat *status), (fd, status), (fd, status), EIO,
          ENOMEM)
FAIL_WITH(FILE, int, -1, fstatat, (int fd, const char *path, struct stat *status, int flags),
          (fd, path, status, flags), (fd, path, status, flags), EIO, ENOMEM)
FAIL_WITH(FILE, FILE *, NULL, fopen, (const char *path, const char *mode), (path, mode),
          (path, mode), EMFILE, EIO)
FAIL_WITH(FILE, DIR *, NULL, opendir, (const char *path), (path), (path), EMFILE, EIO)
FAIL_WITH(SOCKET, ssize_t, -1, send, (int fd, const void *from, size_t len, int flags),
          (fd, from, len, flags), (fd, from, HALF(len), flags), ECONNRESET, EINTR, ENOBUFS)
FAIL_WITH(SOCKET, ssize_t, -1, sendmsg, (int fd, const struct msghdr *message, int flags),
          (fd, message, flags), (fd, message, flags), ENOBUFS, EINTR, EAGAIN, ENOMEM)
FAIL_WITH(SOCKET, ssize_t, -1, recvmsg, (int fd, struct msghdr *message, int flags),
          (fd, message, flags), (fd, message, flags), ENOMEM, EINTR, EAGAIN, ECONNRESET)
FAIL_WITH(SOCKET, int, -1, connect, (int fd, const struct sockaddr *address, socklen_t len),
          (fd, address, len), (fd, address, len), ECONNREFUSED, EAGAIN, EINTR)

ssize_t __real_pwrite(int fd, const void *from, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *from, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *from, size_t len, off_t at)
{
    static const int numbers[] = {ENOSPC, EIO, EINTR};
    unsigned variant;
    ssize_t written;

    if (fails(INJECT_FILE, "pwrite", numbers, 3, &variant))
        return -1;
    written = __real_pwrite(fd, from, variant == 3 ? HALF(len) : len, at);
    if (written > 0)
        inject_wrote(fd, at + written);
    return written;
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    static const int numbers[] = {EIO, ENOSPC};
    unsigned variant;

    if (fails(INJECT_FILE, "fdatasync", numbers, 2, &variant) || __real_fdatasync(fd) != 0)
        return -1;
    inject_synced_file(fd);
    return 0;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    static const int numbers[] = {EIO, EMFILE, ENOSPC};
    unsigned variant;
    va_list list;
    mode_t mode;

    va_start(list, flags);
    mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
    va_end(list);
    return fails(INJECT_FILE, "open", numbers, 3, &variant) ? -1 : __real_open(path, flags, mode);
}

int __real_openat(int folder, const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...)
{
    static const int numbers[] = {EIO, EMFILE, ENOSPC};
    unsigned variant;
    va_list list;
    mode_t mode;

    va_start(list, flags);
    mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
    va_end(list);
    return fails(INJECT_FILE, "openat", numbers, 3, &variant)
               ? -1
               : __real_openat(folder, path, flags, mode);
}
/* NOLINTEND(readability-identifier-naming,bugprone-branch-clone) */
