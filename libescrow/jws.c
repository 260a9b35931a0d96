/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/jws.h"

#include "libescrow/encode.h"
#include "libescrow/json.h"
#include "libescrow/log.h"

#include <openssl/sha.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES_MAX 1024

/* The compact text, cut at its two dots; nothing is decoded yet. */
struct parts {
    const char *header, *payload, *signature;
    size_t header_len, payload_len, signature_len;
    size_t signed_len; /* header, dot, payload: what is signed */
};

void jws_deinit(struct jws *jws)
{
    json_decref(jws->header);
    json_decref(jws->payload);
    *jws = (struct jws){0};
}

static enum escrow_err sign_by_key(const uint8_t digest[static 32],
                                   uint8_t ret_signature[static ECDSA_SIGNATURE_BYTES],
                                   void *argument)
{
    return key_sign_digest(argument, digest, ret_signature);
}

enum escrow_err jws_signer_from_key(EVP_PKEY *key, struct jws_signer *ret_signer)
{
    struct jws_signer signer = {.sign = sign_by_key, .argument = key};
    struct ec_point point;
    enum escrow_err err = key_point(key, &point);

    if (!err)
        err = key_signer_name(&point, &signer.kid);
    if (!err)
        *ret_signer = signer;
    return err;
}

static char *encode_json(const json_t *value)
{
    CLEANUP(cleanup_free) char *text = json_text(value);

    return text ? b64url_encode(text, strlen(text)) : NULL;
}

/* "header.payload", owned by the caller; NULL without memory. */
static char *signing_input(const struct jws_signer *signer, json_t *header, json_t *payload)
{
    CLEANUP(json_free_p) json_t *whole = json_copy_whole(header);
    CLEANUP(cleanup_free) char *header_text = NULL;
    CLEANUP(cleanup_free) char *payload_text = NULL;
    char *input = NULL;

    if (!whole || json_object_set_new(whole, "alg", json_string("ES256")) < 0 ||
        json_object_set_new(whole, "kid", json_tpm_name(&signer->kid)) < 0)
        return NULL;
    header_text = encode_json(whole);
    payload_text = encode_json(payload);
    if (!header_text || !payload_text || asprintf(&input, "%s.%s", header_text, payload_text) < 0)
        return NULL;
    return input;
}

enum escrow_err jws_sign(const struct jws_signer *signer, json_t *header, json_t *payload,
                         char **ret_compact)
{
    CLEANUP(cleanup_free) char *input = signing_input(signer, header, payload);
    CLEANUP(cleanup_free) char *signature_text = NULL;
    uint8_t digest[SHA256_DIGEST_LENGTH], signature[ECDSA_SIGNATURE_BYTES];
    char *compact = NULL;
    enum escrow_err err;

    if (!input)
        return ESCROW_ERR_NO_MEMORY;
    if (!SHA256((const unsigned char *)input, strlen(input), digest))
        return ESCROW_ERR_CRYPTO;
    err = signer->sign(digest, signature, signer->argument);
    if (err)
        return err;
    signature_text = b64url_encode(signature, sizeof(signature));
    if (!signature_text || asprintf(&compact, "%s.%s", input, signature_text) < 0)
        return ESCROW_ERR_NO_MEMORY;
    if (strlen(compact) > JWS_BYTES_MAX) {
        log_error("jws: %zu bytes are more than %d", strlen(compact), JWS_BYTES_MAX);
        free(compact);
        return ESCROW_ERR_MALFORMED;
    }
    *ret_compact = compact;
    return ESCROW_OK;
}

static enum escrow_err cut(const char *compact, size_t len, struct parts *ret_parts)
{
    const char *end = compact + len, *first, *second;

    if (len > JWS_BYTES_MAX)
        return ESCROW_ERR_MALFORMED;
    first = memchr(compact, '.', len);
    second = first ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
    if (!second || memchr(second + 1, '.', (size_t)(end - second - 1)))
        return ESCROW_ERR_MALFORMED;
    *ret_parts = (struct parts){
        .header = compact,
        .header_len = (size_t)(first - compact),
        .payload = first + 1,
        .payload_len = (size_t)(second - first - 1),
        .signature = second + 1,
        .signature_len = (size_t)(end - second - 1),
        .signed_len = (size_t)(second - compact),
    };
    return ESCROW_OK;
}

static enum escrow_err decode_json(const char *text, size_t len, size_t max, json_t **ret_object)
{
    CLEANUP(cleanup_free) char *bytes = malloc(len + 1);
    size_t bytes_len;
    enum escrow_err err;

    if (!bytes)
        return ESCROW_ERR_NO_MEMORY;
    err = b64url_decode(text, len, bytes, len, &bytes_len);
    return err ? err : json_parse(bytes, bytes_len, max, ret_object);
}

static bool is_text(const json_t *object, const char *name, const char *wanted)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text && strcmp(text, wanted) == 0;
}

/* alg, kid, typ and more, each of them, as a text, and nothing else: no "crit", no "jwk". */
static enum escrow_err check_header(const json_t *header, const char *typ, const char *const *more,
                                    struct tpm_name *ret_kid)
{
    const char *kid = json_string_value(json_object_get(header, "kid"));
    size_t members = 3;

    if (!is_text(header, "alg", "ES256") || !is_text(header, "typ", typ) || !kid)
        return ESCROW_ERR_MALFORMED;
    for (; *more; more++, members++) {
        if (!json_is_string(json_object_get(header, *more)))
            return ESCROW_ERR_MALFORMED;
    }
    if (json_object_size(header) != members)
        return ESCROW_ERR_MALFORMED;
    return hex_decode(kid, ret_kid->bytes, TPM_NAME_BYTES);
}

static enum escrow_err check_signature(const char *compact, const struct parts *parts,
                                       EVP_PKEY *key)
{
    uint8_t digest[SHA256_DIGEST_LENGTH], signature[ECDSA_SIGNATURE_BYTES];
    size_t len;
    enum escrow_err err =
        b64url_decode(parts->signature, parts->signature_len, signature, sizeof(signature), &len);

    if (err || len != sizeof(signature))
        return ESCROW_ERR_MALFORMED;
    if (!SHA256((const unsigned char *)compact, parts->signed_len, digest))
        return ESCROW_ERR_CRYPTO;
    return key_verify_digest(key, digest, signature);
}

enum escrow_err jws_verify(const char *compact, size_t len, const char *typ,
                           const char *const *more, jws_key_fn find, void *argument,
                           struct jws *ret_jws)
{
    CLEANUP(json_free_p) json_t *header = NULL;
    CLEANUP(json_free_p) json_t *payload = NULL;
    struct parts parts;
    struct tpm_name kid;
    EVP_PKEY *key;
    enum escrow_err err;

    err = cut(compact, len, &parts);
    if (!err)
        err = decode_json(parts.header, parts.header_len, HEADER_BYTES_MAX, &header);
    if (!err)
        err = check_header(header, typ, more, &kid);
    if (err)
        return err;
    key = find(&kid, argument);
    if (!key)
        return ESCROW_ERR_NOT_FOUND;
    /* The payload of a stranger is not parsed: signature first. */
    err = check_signature(compact, &parts, key);
    if (!err)
        err = decode_json(parts.payload, parts.payload_len, JWS_BYTES_MAX, &payload);
    if (err)
        return err;
    *ret_jws = (struct jws){.header = TAKE(header), .payload = TAKE(payload), .kid = kid};
    return ESCROW_OK;
}

enum escrow_err jws_unverified_payload(const char *compact, size_t len, json_t **ret_payload)
{
    struct parts parts;
    enum escrow_err err = cut(compact, len, &parts);

    return err ? err : decode_json(parts.payload, parts.payload_len, JWS_BYTES_MAX, ret_payload);
}
