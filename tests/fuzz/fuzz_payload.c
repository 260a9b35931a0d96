/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The escrowed password: it opens to what was sealed, and for no other group, database, version,
 * object, data key or ciphertext. The input: what is altered, where, password.
 */
#include "libescrow/payload.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static bool opens(const struct payload_binding *binding, const struct secret *data_key,
                  const uint8_t *ciphertext)
{
    struct secret *password = FUZZ_UNTOUCHED;
    enum escrow_err err = payload_open(binding, data_key, ciphertext, &password);

    fuzz_check_err(err);
    FUZZ_CHECK(!err || password == FUZZ_UNTOUCHED);
    if (!err)
        secret_free(password);
    return err == ESCROW_OK;
}

static void check_altered(const struct payload_binding *binding, struct secret *data_key,
                          uint8_t *ciphertext, struct fuzz_source *source)
{
    const uint8_t which = fuzz_take_byte(source);
    const size_t where = (size_t)fuzz_take_byte(source) << 8 | fuzz_take_byte(source);
    struct payload_binding other = *binding;

    switch (which % 6) {
    case 0:
        other.group = "AG2";
        break;
    case 1:
        other.database = "SSISDB2";
        break;
    case 2:
        other.version += (uint32_t)where + 1;
        break;
    case 3:
        other.object.bytes[where % TPM_NAME_BYTES] ^= 1;
        break;
    case 4:
        data_key->bytes[where % data_key->len] ^= 1;
        break;
    default:
        ciphertext[where % PAYLOAD_CIPHERTEXT_BYTES] ^= 1;
        break;
    }
    FUZZ_CHECK(!opens(&other, data_key, ciphertext));
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    const struct payload_binding binding = {.group = "AG1", .database = "SSISDB", .version = 1};
    CLEANUP(secret_free_p) struct secret *data_key = secret_new(PAYLOAD_DATA_KEY_BYTES);
    CLEANUP(secret_free_p) struct secret *password = NULL, *opened = NULL;
    uint8_t ciphertext[PAYLOAD_CIPHERTEXT_BYTES];
    struct fuzz_source source = {bytes, len};
    struct fuzz_source how = source;
    enum escrow_err err;

    for (int i = 0; i < 3; i++)
        fuzz_take_byte(&source);
    password = source.len > 0 ? secret_from(source.bytes, source.len) : secret_new(1);
    if (!fuzz_went_well(data_key && password))
        return;
    err = payload_seal(&binding, data_key, password, ciphertext);
    fuzz_check_err(err);
    FUZZ_CHECK(!err || password->len > PAYLOAD_PASSWORD_MAX || inject_failures() > 0);
    if (err || !fuzz_went_well(payload_open(&binding, data_key, ciphertext, &opened) == ESCROW_OK))
        return;
    FUZZ_CHECK(secret_equal(opened, password));
    check_altered(&binding, data_key, ciphertext, &how);
}
