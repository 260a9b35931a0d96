/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A compact JWS: one that is verified is, byte for byte, the one that was signed; nothing that a
 * stranger makes of it counts, and what refuses it fills nothing. The input is a
 * JWS of the fuzzer's own, and then says how a good one is altered.
 */
#include "libescrow/json.h"
#include "libescrow/jws.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static const char *const more[] = {"act", "aud", "nonce", NULL};

/* Any kid is this key's, so that inputs reach the check of the signature. */
static EVP_PKEY *find(const struct tpm_name *kid, void *key)
{
    (void)kid;
    return key;
}

static enum escrow_err verify(const char *compact, size_t len, EVP_PKEY *key)
{
    struct jws jws = {.header = FUZZ_UNTOUCHED, .payload = FUZZ_UNTOUCHED};
    enum escrow_err err = jws_verify(compact, len, "escrow-act", more, find, key, &jws);

    fuzz_check_err(err);
    if (err) {
        FUZZ_CHECK(jws.header == FUZZ_UNTOUCHED && jws.payload == FUZZ_UNTOUCHED);
        return err;
    }
    FUZZ_CHECK(json_is_object(jws.header) && json_is_object(jws.payload));
    jws_deinit(&jws);
    return ESCROW_OK;
}

static char *sign(EVP_PKEY *key)
{
    CLEANUP(json_free_p)
    json_t *header = json_pack("{s:s, s:s, s:s, s:s}", "typ", "escrow-act", "act", "a", "aud", "b",
                               "nonce", "c");
    CLEANUP(json_free_p) json_t *payload = json_pack("{s:i}", "v", 1);
    struct jws_signer signer;
    char *compact = NULL;

    if (!fuzz_went_well(header && payload) ||
        !fuzz_went_well(jws_signer_from_key(key, &signer) == ESCROW_OK) ||
        !fuzz_went_well(jws_sign(&signer, header, payload, &compact) == ESCROW_OK))
        return NULL;
    return compact;
}

/* One byte of a good JWS replaced, taken out or put in: never verified, whatever it is. */
static void check_altered(EVP_PKEY *key, struct fuzz_source *source)
{
    const size_t where = (size_t)fuzz_take_byte(source) << 8 | fuzz_take_byte(source);
    const uint8_t how = fuzz_take_byte(source), with = fuzz_take_byte(source);
    char *compact = sign(key), *at;
    size_t len, rest;

    if (!compact)
        return;
    len = strlen(compact);
    fuzz_went_well(verify(compact, len, key) == ESCROW_OK);
    at = compact + where % len;
    rest = (size_t)(compact + len - at) - 1;
    if (how % 2) {
        memmove(at, at + 1, rest);
        FUZZ_CHECK(verify(compact, len - 1, key) != ESCROW_OK);
    } else if (*at != (char)with) {
        *at = (char)with;
        FUZZ_CHECK(verify(compact, len, key) != ESCROW_OK);
    }
    free(compact);
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    static EVP_PKEY *key;
    struct fuzz_source source = {bytes, len};
    json_t *payload = FUZZ_UNTOUCHED;

    if (!key)
        key = key_generate();
    /* Nobody else has the key. */
    FUZZ_CHECK(verify((const char *)bytes, len, key) != ESCROW_OK);
    if (jws_unverified_payload((const char *)bytes, len, &payload) == ESCROW_OK)
        json_decref(payload);
    else
        FUZZ_CHECK(payload == FUZZ_UNTOUCHED);
    check_altered(key, &source);
}
