/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/fuzz.h"

#include "libescrow/log.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>

#include <sanitizer/lsan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* After the first failure one call in so many fails too: code that cleans up meets failures. */
#define FAILURES_ONE_IN 16

#define SECURE_HEAP_BYTES (256 * 1024)
#define SECURE_HEAP_MIN_BLOCK 64

static void set_up(void)
{
    static bool is_done;
    uint8_t random;

    if (is_done)
        return;
    is_done = true;
    log_init("fuzz", (enum log_level)0);
    json_set_alloc_funcs(inject_json_malloc, free);
    /* Not secret_heap_init: OpenSSL does not survive every failure of its own memory. */
    CRYPTO_secure_malloc_init(SECURE_HEAP_BYTES, SECURE_HEAP_MIN_BLOCK);
    /* OpenSSL keeps its generators in the secure heap, where LeakSanitizer sees no pointer. */
    __lsan_disable();
    if (RAND_bytes(&random, 1) != 1 || RAND_priv_bytes(&random, 1) != 1)
        abort();
    __lsan_enable();
}

uint64_t fuzz_run(const uint8_t *bytes, size_t len, const struct inject_plan *plan)
{
    static bool is_warm;
    uint64_t calls;
    size_t used;

    set_up();
    used = CRYPTO_secure_used();
    inject_start(plan);
    fuzz_input(bytes, len);
    calls = inject_stop();
    /* A secret that was left behind is no leak to LeakSanitizer. A first run makes its keys. */
    FUZZ_CHECK(CRYPTO_secure_used() == used || !is_warm);
    is_warm = true;
    ERR_clear_error();
    return calls;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const uint64_t hash = inject_hash(bytes, len);
    const uint64_t calls = fuzz_run(bytes, len, &(struct inject_plan){.first = INJECT_NEVER});

    if (calls > 0)
        fuzz_run(
            bytes, len,
            &(struct inject_plan){.first = hash % calls, .one_in = FAILURES_ONE_IN, .seed = hash});
    return 0;
}

void fuzz_finding(const char *file, int line, const char *condition)
{
    const char *failed = inject_last();

    inject_stop();
    fprintf(stderr, "%s:%d: does not hold: %s (injected: %s)\n", file, line, condition,
            failed ? failed : "nothing");
    abort();
}

void fuzz_check_err(enum escrow_err err)
{
    FUZZ_CHECK((err != ESCROW_ERR_NO_MEMORY && err != ESCROW_ERR_SYSTEM) || inject_failures() > 0);
}

json_t *fuzz_json(const uint8_t *bytes, size_t len)
{
    json_t *value;

    inject_hold(true);
    value = len > 0 ? json_loadb((const char *)bytes, len, 0, NULL) : NULL;
    if (!json_is_object(value)) {
        json_decref(value);
        value = NULL;
    }
    inject_hold(false);
    return value;
}

void fuzz_alter(char *text)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    const size_t len = strlen(text);
    const uint64_t number = inject_hash(text, len);
    char *at = text + number % len;
    size_t digit = (size_t)(number >> 32) % (sizeof(digits) - 1);

    if (*at == digits[digit])
        digit = (digit + 1) % (sizeof(digits) - 1);
    *at = digits[digit];
}

uint8_t fuzz_take_byte(struct fuzz_source *source)
{
    if (source->len == 0)
        return 0;
    source->len--;
    return *source->bytes++;
}

const uint8_t *fuzz_take_bytes(struct fuzz_source *source, size_t max, size_t *ret_len)
{
    const uint8_t *bytes;
    size_t len = fuzz_take_byte(source);

    len = (len << 8 | fuzz_take_byte(source)) % (max + 1);
    if (len > source->len)
        len = source->len;
    bytes = source->bytes;
    source->bytes += len;
    source->len -= len;
    *ret_len = len;
    return bytes;
}
