/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wrapped objects: a public area that is taken is the template, byte for byte; a sealed object
 * opens to what was sealed, and never opens once a byte of blob or object was altered. The input is
 * a public area, and then which byte of a good object is altered.
 */
#include "libescrow/wrap.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define DATA "thirty-two bytes of a data key.."

static void check_public(const uint8_t *bytes, size_t len)
{
    uint8_t again[WRAP_PUBLIC_MAX];
    struct wrap_object object;
    size_t again_len = 0;
    enum escrow_err err = wrap_object_parse(bytes, len, &object);

    fuzz_check_err(err);
    if (!err && fuzz_went_well(wrap_object_marshal(&object, again, &again_len) == ESCROW_OK))
        FUZZ_CHECK(again_len == len && memcmp(again, bytes, len) == 0);
}

/* A blob of the fuzzer's own: sizes and point are looked at, and it opens for nobody. */
static void check_blob(const struct wrap_object *object, EVP_PKEY *key, struct fuzz_source *source)
{
    struct wrap_blob blob = {0};
    struct secret *data = FUZZ_UNTOUCHED;
    const uint8_t *bytes = fuzz_take_bytes(source, WRAP_DUPLICATE_MAX, &blob.duplicate_len);

    if (blob.duplicate_len > 0)
        memcpy(blob.duplicate, bytes, blob.duplicate_len);
    bytes = fuzz_take_bytes(source, WRAP_SEED_MAX, &blob.seed_len);
    if (blob.seed_len > 0)
        memcpy(blob.seed, bytes, blob.seed_len);
    fuzz_check_err(wrap_blob_check(&blob));
    FUZZ_CHECK(wrap_open(object, &blob, key, &data) != ESCROW_OK && data == FUZZ_UNTOUCHED);
}

static void check_altered(const struct wrap_object *object, const struct wrap_blob *sealed,
                          EVP_PKEY *key, struct fuzz_source *source)
{
    struct wrap_object other = *object;
    struct wrap_blob blob = *sealed;
    struct secret *data = FUZZ_UNTOUCHED;
    const uint8_t which = fuzz_take_byte(source), where = fuzz_take_byte(source);
    const uint8_t change = fuzz_take_byte(source);

    if (!change)
        return;
    switch (which % 5) {
    case 0:
        blob.inner_key[where % sizeof(blob.inner_key)] ^= change;
        break;
    case 1:
        blob.duplicate[where % blob.duplicate_len] ^= change;
        break;
    case 2:
        blob.seed[where % blob.seed_len] ^= change;
        break;
    case 3:
        other.unique[where % sizeof(other.unique)] ^= change;
        break;
    default:
        other.name.bytes[where % sizeof(other.name.bytes)] ^= change;
        break;
    }
    FUZZ_CHECK(wrap_open(&other, &blob, key, &data) != ESCROW_OK && data == FUZZ_UNTOUCHED);
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    static EVP_PKEY *key;
    static const uint8_t auth_policy[32];
    CLEANUP(secret_free_p) struct secret *data = NULL, *sensitive = NULL, *opened = NULL;
    struct fuzz_source source = {bytes, len};
    struct wrap_object object;
    struct wrap_blob blob;
    struct ec_point point;

    if (!key)
        key = key_generate();
    check_public(bytes, len);
    data = secret_new(sizeof(DATA) - 1);
    if (!fuzz_went_well(data && key_point(key, &point) == ESCROW_OK))
        return;
    memcpy(data->bytes, DATA, data->len);
    if (!fuzz_went_well(wrap_object_new(auth_policy, data, &object, &sensitive) == ESCROW_OK &&
                        wrap_seal(&object, sensitive, &point, &blob) == ESCROW_OK))
        return;
    if (fuzz_went_well(wrap_open(&object, &blob, key, &opened) == ESCROW_OK))
        FUZZ_CHECK(opened->len == data->len && memcmp(opened->bytes, DATA, data->len) == 0);
    check_altered(&object, &blob, key, &source);
    check_blob(&object, key, &source);
}
