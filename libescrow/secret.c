/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/secret.h"

#include "libescrow/log.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define SECURE_HEAP_BYTES (256 * 1024)
#define SECURE_HEAP_MIN_BLOCK 64
#define SECRET_LEN_MAX 65536

static void *plain_malloc(size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    return len ? malloc(len) : NULL;
}

static void wiping_free(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    /* Several times as fast as OPENSSL_cleanse() on the buffers of TLS, which come and go. */
    if (block)
        explicit_bzero(block, malloc_usable_size(block));
    free(block);
}

/* Not realloc(), which leaves the old block behind as it was. */
static void *wiping_realloc(void *block, size_t len, const char *file, int line)
{
    void *moved = plain_malloc(len, file, line);
    size_t old_len = block ? malloc_usable_size(block) : 0;

    if (len && !moved)
        return NULL;
    if (moved && block)
        memcpy(moved, block, old_len < len ? old_len : len);
    wiping_free(block, file, line);
    return moved;
}

enum escrow_err secret_heap_init(void)
{
    CRYPTO_malloc_fn in_use = NULL;

    CRYPTO_get_mem_functions(&in_use, NULL, NULL);
    if (in_use == plain_malloc && CRYPTO_secure_malloc_initialized())
        return ESCROW_OK;
    if (CRYPTO_set_mem_functions(plain_malloc, wiping_realloc, wiping_free) != 1) {
        log_error("secret: OpenSSL was in use before the secure heap was made");
        return ESCROW_ERR_SYSTEM;
    }
    /* 2 means that the heap exists but could not be locked or guarded. */
    if (CRYPTO_secure_malloc_init(SECURE_HEAP_BYTES, SECURE_HEAP_MIN_BLOCK) != 1) {
        log_error("secret: the secure heap of %d bytes cannot be made and locked; raise "
                  "RLIMIT_MEMLOCK (systemd: LimitMEMLOCK=)",
                  SECURE_HEAP_BYTES);
        CRYPTO_secure_malloc_done();
        return ESCROW_ERR_SYSTEM;
    }
    return ESCROW_OK;
}

struct secret *secret_new(size_t len)
{
    struct secret *secret;

    if (len == 0 || len > SECRET_LEN_MAX || !CRYPTO_secure_malloc_initialized())
        return NULL;
    secret = OPENSSL_secure_zalloc(sizeof(*secret) + len);
    /* A full secure heap must not fall back to the plain one. */
    if (secret && !CRYPTO_secure_allocated(secret)) {
        OPENSSL_free(secret);
        return NULL;
    }
    if (secret)
        secret->len = len;
    return secret;
}

struct secret *secret_from(const void *bytes, size_t len)
{
    struct secret *secret = secret_new(len);

    if (secret)
        memcpy(secret->bytes, bytes, len);
    return secret;
}

struct secret *secret_random(size_t len)
{
    struct secret *secret = secret_new(len);

    if (secret && RAND_priv_bytes(secret->bytes, (int)len) != 1) {
        secret_free(secret);
        return NULL;
    }
    return secret;
}

void secret_free(struct secret *secret)
{
    if (secret)
        OPENSSL_secure_clear_free(secret, CRYPTO_secure_actual_size(secret));
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
    return a->len == b->len && CRYPTO_memcmp(a->bytes, b->bytes, a->len) == 0;
}

void secret_wipe(void *bytes, size_t len)
{
    OPENSSL_cleanse(bytes, len);
}
