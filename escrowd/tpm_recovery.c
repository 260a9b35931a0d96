/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_provision.h"
#include "libescrow/encode.h"
#include "libescrow/log.h"
#include "libescrow/wrap.h"

#include <jansson.h>

#include <stdlib.h>
#include <string.h>

CLEANUP_FUNCTION(json_free_p, json_t, json_decref)

void tpm_auths_deinit(struct tpm_auths *auths)
{
    secret_free(auths->storage);
    secret_free(auths->owner);
    secret_free(auths->lockout);
    *auths = (struct tpm_auths){NULL, NULL, NULL};
}

enum escrow_err tpm_auths_new(struct tpm_auths *ret_auths)
{
    struct tpm_auths auths = {secret_random(TPM_AUTH_BYTES), secret_random(TPM_AUTH_BYTES),
                              secret_random(TPM_AUTH_BYTES)};

    if (!auths.storage || !auths.owner || !auths.lockout) {
        tpm_auths_deinit(&auths);
        return ESCROW_ERR_NO_MEMORY;
    }
    *ret_auths = auths;
    return ESCROW_OK;
}

static json_t *bytes_json(const void *bytes, size_t len)
{
    CLEANUP(cleanup_free) char *text = b64url_encode(bytes, len);

    return text ? json_string(text) : NULL;
}

static char *recovery_text(const struct wrap_object *object, const struct wrap_blob *blob)
{
    CLEANUP(json_free_p) json_t *json = NULL;
    uint8_t public_area[WRAP_PUBLIC_MAX];
    size_t len;

    if (wrap_object_marshal(object, public_area, &len) != ESCROW_OK)
        return NULL;
    json = json_pack("{s:i, s:o, s:o, s:o, s:o}", "v", 1, "public", bytes_json(public_area, len),
                     "key", bytes_json(blob->inner_key, sizeof(blob->inner_key)), "duplicate",
                     bytes_json(blob->duplicate, blob->duplicate_len), "seed",
                     bytes_json(blob->seed, blob->seed_len));
    return json ? json_dumps(json, JSON_COMPACT) : NULL;
}

enum escrow_err tpm_recovery_seal(const struct tpm_auths *auths, const struct ec_point *recovery,
                                  char **ret_text)
{
    static const uint8_t no_policy[32]; /* it never enters a TPM */
    CLEANUP(secret_free_p) struct secret *both = secret_new(2 * (size_t)TPM_AUTH_BYTES);
    CLEANUP(secret_free_p) struct secret *sensitive = NULL;
    struct wrap_object object;
    struct wrap_blob blob;
    enum escrow_err err;
    char *text;

    if (!both)
        return ESCROW_ERR_NO_MEMORY;
    memcpy(both->bytes, auths->owner->bytes, TPM_AUTH_BYTES);
    memcpy(both->bytes + TPM_AUTH_BYTES, auths->lockout->bytes, TPM_AUTH_BYTES);
    err = wrap_object_new(no_policy, both, &object, &sensitive);
    if (!err)
        err = wrap_seal(&object, sensitive, recovery, &blob);
    if (err)
        return err;
    text = recovery_text(&object, &blob);
    if (!text)
        return ESCROW_ERR_NO_MEMORY;
    *ret_text = text;
    return ESCROW_OK;
}

static enum escrow_err member(const json_t *json, const char *name, void *ret_bytes, size_t cap,
                              size_t *ret_len)
{
    const json_t *value = json_object_get(json, name);

    if (!json_is_string(value))
        return ESCROW_ERR_MALFORMED;
    return b64url_decode(json_string_value(value), json_string_length(value), ret_bytes, cap,
                         ret_len);
}

static enum escrow_err parse(const char *text, size_t len, struct wrap_object *ret_object,
                             struct wrap_blob *ret_blob)
{
    CLEANUP(json_free_p) json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    uint8_t public_area[WRAP_PUBLIC_MAX];
    size_t public_len, key_len;
    enum escrow_err err;

    if (!json_is_object(json) || json_object_size(json) != 5 ||
        json_integer_value(json_object_get(json, "v")) != 1)
        return ESCROW_ERR_MALFORMED;
    err = member(json, "public", public_area, sizeof(public_area), &public_len);
    if (!err)
        err = wrap_object_parse(public_area, public_len, ret_object);
    if (!err)
        err = member(json, "key", ret_blob->inner_key, sizeof(ret_blob->inner_key), &key_len);
    if (!err && key_len != sizeof(ret_blob->inner_key))
        err = ESCROW_ERR_MALFORMED;
    if (!err)
        err = member(json, "duplicate", ret_blob->duplicate, sizeof(ret_blob->duplicate),
                     &ret_blob->duplicate_len);
    if (!err)
        err = member(json, "seed", ret_blob->seed, sizeof(ret_blob->seed), &ret_blob->seed_len);
    return err;
}

enum escrow_err tpm_recovery_open(const char *text, size_t len, EVP_PKEY *recovery,
                                  struct tpm_auths *ret_auths)
{
    CLEANUP(secret_free_p) struct secret *both = NULL;
    CLEANUP(secret_free_p) struct secret *owner = NULL;
    CLEANUP(secret_free_p) struct secret *lockout = NULL;
    struct wrap_object object;
    struct wrap_blob blob = {.duplicate_len = 0};
    enum escrow_err err = parse(text, len, &object, &blob);

    if (!err)
        err = wrap_open(&object, &blob, recovery, &both);
    if (err)
        return err;
    if (both->len != 2 * (size_t)TPM_AUTH_BYTES)
        return ESCROW_ERR_MALFORMED;
    owner = secret_from(both->bytes, TPM_AUTH_BYTES);
    lockout = secret_from(both->bytes + TPM_AUTH_BYTES, TPM_AUTH_BYTES);
    if (!owner || !lockout)
        return ESCROW_ERR_NO_MEMORY;
    ret_auths->storage = NULL;
    ret_auths->owner = TAKE(owner);
    ret_auths->lockout = TAKE(lockout);
    return ESCROW_OK;
}
