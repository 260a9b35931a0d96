/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/inject_libraries.h"

#include "tests/fault/inject.h"

#include <event2/event.h>
#include <event2/keyvalq_struct.h>
#include <jansson.h>
#include <sqlite3.h>
#include <tss2/tss2_tpm2_types.h>

#include <err.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of the linker's --wrap: what is counted here must not be counted once more as a call of ours. */
void *__real_malloc(size_t size);
void *__real_realloc(void *block, size_t size);
ssize_t __real_pwrite(int fd, const void *from, size_t len, off_t at);
int __real_ftruncate(int fd, off_t len);

/*
 * jansson 2.14 does not notice when the buffer of the token that it reads cannot grow, and goes on
 * with a token that lacks a byte (lex_save). The buffer has powers of two: those do not fail.
 */
static bool is_token_buffer(size_t size)
{
    return size >= 32 && (size & (size - 1)) == 0;
}

static void *jansson_malloc(size_t size)
{
    if (is_token_buffer(size))
        return __real_malloc(size);
    return inject_due(INJECT_MEMORY, "malloc of jansson") ? NULL : __real_malloc(size);
}

/*
 * libevent 2.1.12 dies where it cannot copy the address of a new connection, or make the lists of
 * headers of a new request: what it then frees it has not made yet
 * (evhttp_connection_base_bufferevent_new, evhttp_request_new).
 */
static bool is_fatal_to_libevent(size_t size)
{
    return size == sizeof("127.0.0.1") || size == sizeof(struct evkeyvalq);
}

static void *libevent_malloc(size_t size)
{
    if (is_fatal_to_libevent(size))
        return __real_malloc(size);
    return inject_due(INJECT_MEMORY, "malloc of libevent") ? NULL : __real_malloc(size);
}

static void *libevent_realloc(void *block, size_t size)
{
    return inject_due(INJECT_MEMORY, "realloc of libevent") ? NULL : __real_realloc(block, size);
}

/* ---- OpenSSL ---- */

static CRYPTO_malloc_fn openssl_malloc;
static CRYPTO_realloc_fn openssl_realloc;

static void *on_openssl_malloc(size_t size, const char *file, int line)
{
    void *block;

    if (inject_due(INJECT_OPENSSL, "malloc of OpenSSL"))
        return NULL;
    inject_hold(true);
    block = openssl_malloc(size, file, line);
    inject_hold(false);
    return block;
}

static void *on_openssl_realloc(void *block, size_t size, const char *file, int line)
{
    void *moved;

    if (inject_due(INJECT_OPENSSL, "realloc of OpenSSL"))
        return NULL;
    inject_hold(true);
    moved = openssl_realloc(block, size, file, line);
    inject_hold(false);
    return moved;
}

void inject_openssl(CRYPTO_malloc_fn *on_malloc, CRYPTO_realloc_fn *on_realloc)
{
    openssl_malloc = *on_malloc;
    openssl_realloc = *on_realloc;
    *on_malloc = on_openssl_malloc;
    *on_realloc = on_openssl_realloc;
}

void inject_openssl_true(CRYPTO_malloc_fn *on_malloc)
{
    if (*on_malloc == on_openssl_malloc)
        *on_malloc = openssl_malloc;
}

/* ---- SQLite ---- */

static void *sqlite_malloc(int size)
{
    return inject_due(INJECT_MEMORY, "malloc of SQLite") ? NULL : __real_malloc((size_t)size);
}

static void *sqlite_realloc(void *block, int size)
{
    return inject_due(INJECT_MEMORY, "realloc of SQLite") ? NULL
                                                          : __real_realloc(block, (size_t)size);
}

static int sqlite_size(void *block)
{
    return (int)malloc_usable_size(block);
}

static int sqlite_roundup(int size)
{
    return (size + 7) & ~7;
}

static int sqlite_init(void *argument)
{
    (void)argument;
    return SQLITE_OK;
}

static void sqlite_shutdown(void *argument)
{
    (void)argument;
}

static ssize_t sqlite_pwrite(int fd, const void *from, size_t len, off_t at)
{
    static const int numbers[] = {ENOSPC, EIO};
    unsigned due = inject_due(INJECT_STORE, "pwrite of SQLite");

    if (due) {
        errno = numbers[due % 2];
        return -1;
    }
    return __real_pwrite(fd, from, len, at);
}

static int sqlite_ftruncate(int fd, off_t len)
{
    if (inject_due(INJECT_STORE, "ftruncate of SQLite")) {
        errno = EIO;
        return -1;
    }
    return __real_ftruncate(fd, len);
}

static void set_sqlite(void)
{
    static const sqlite3_mem_methods methods = {.xMalloc = sqlite_malloc,
                                                .xFree = free,
                                                .xRealloc = sqlite_realloc,
                                                .xSize = sqlite_size,
                                                .xRoundup = sqlite_roundup,
                                                .xInit = sqlite_init,
                                                .xShutdown = sqlite_shutdown};
    sqlite3_vfs *vfs;

    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK ||
        sqlite3_initialize() != SQLITE_OK)
        errx(1, "SQLite was in use before");
    vfs = sqlite3_vfs_find(NULL);
    vfs->xSetSystemCall(vfs, "pwrite", (sqlite3_syscall_ptr)sqlite_pwrite);
    vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)sqlite_pwrite);
    vfs->xSetSystemCall(vfs, "ftruncate", (sqlite3_syscall_ptr)sqlite_ftruncate);
}

void inject_libraries(void)
{
    set_sqlite();
    json_set_alloc_funcs(jansson_malloc, free);
    event_set_mem_functions(libevent_malloc, libevent_realloc, free);
}

/* ---- the TPM ---- */

enum tpm_failure {
    TPM_WELL,
    TPM_LOST,        /* the command never arrives */
    TPM_ANSWER_LOST, /* done, but nobody knows */
    TPM_RETRIES,     /* TPM_RC_RETRY, a warning */
    TPM_REFUSES,     /* TPM_RC_VALUE of a parameter */
    TPM_FAILS,       /* TPM_RC_FAILURE: its failure mode */
    TPM_LIES,        /* an answer without its body */
    TPM_FAILURES,
};

static struct faulty {
    TSS2_TCTI_CONTEXT_COMMON_V1 common;
    TSS2_TCTI_CONTEXT *real;
    enum tpm_failure failure;
} faulty;

static TSS2_TCTI_CONTEXT_COMMON_V1 *methods_of(TSS2_TCTI_CONTEXT *tcti)
{
    return (TSS2_TCTI_CONTEXT_COMMON_V1 *)tcti;
}

static TSS2_RC on_transmit(TSS2_TCTI_CONTEXT *context, size_t size, const uint8_t *command)
{
    unsigned due = inject_due(INJECT_TPM, "command");

    (void)context;
    faulty.failure = due ? 1 + (due - 1) % (TPM_FAILURES - 1) : TPM_WELL;
    switch (faulty.failure) {
    case TPM_LOST:
        return TSS2_TCTI_RC_IO_ERROR;
    case TPM_RETRIES:
    case TPM_REFUSES:
    case TPM_FAILS:
        return TSS2_RC_SUCCESS;
    default:
        return methods_of(faulty.real)->transmit(faulty.real, size, command);
    }
}

/* A response without parameters (Part 1, 18.4). */
static void answer_code(uint8_t *response, size_t *size, uint32_t code)
{
    const uint8_t bytes[] = {0x80,
                             0x01,
                             0,
                             0,
                             0,
                             10,
                             (uint8_t)(code >> 24),
                             (uint8_t)(code >> 16),
                             (uint8_t)(code >> 8),
                             (uint8_t)code};

    memcpy(response, bytes, sizeof(bytes));
    *size = sizeof(bytes);
}

static TSS2_RC on_receive(TSS2_TCTI_CONTEXT *context, size_t *size, uint8_t *response,
                          int32_t timeout)
{
    const TSS2_TCTI_CONTEXT_COMMON_V1 *real = methods_of(faulty.real);
    TSS2_RC rc = TSS2_RC_SUCCESS;

    (void)context;
    if (!response) /* only the size is asked for */
        return real->receive(faulty.real, size, response, timeout);
    switch (faulty.failure) {
    case TPM_RETRIES:
        answer_code(response, size, TPM2_RC_RETRY);
        break;
    case TPM_REFUSES:
        answer_code(response, size, TPM2_RC_VALUE | TPM2_RC_P | TPM2_RC_1);
        break;
    case TPM_FAILS:
        answer_code(response, size, TPM2_RC_FAILURE);
        break;
    default:
        rc = real->receive(faulty.real, size, response, timeout);
    }
    if (faulty.failure == TPM_ANSWER_LOST && rc == TSS2_RC_SUCCESS)
        rc = TSS2_TCTI_RC_IO_ERROR;
    if (faulty.failure == TPM_LIES && rc == TSS2_RC_SUCCESS)
        answer_code(response, size, TPM2_RC_SUCCESS);
    return rc;
}

TSS2_TCTI_CONTEXT *inject_tpm(TSS2_TCTI_CONTEXT *tcti)
{
    faulty = (struct faulty){.common = *methods_of(tcti), .real = tcti};
    faulty.common.transmit = on_transmit;
    faulty.common.receive = on_receive;
    return (TSS2_TCTI_CONTEXT *)&faulty.common;
}
