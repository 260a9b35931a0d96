/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/tpm_recovery.h"

#include "libescrow/act_payload.h"
#include "libescrow/json.h"
#include "libescrow/wrap.h"

#include <string.h>

static const uint8_t no_policy[32];

static char *recovery_text(const struct wrap_object *object, const struct wrap_blob *blob)
{
    uint8_t public_area[WRAP_PUBLIC_MAX];
    size_t len;
    CLEANUP(json_free_p) json_t *document = NULL;

    if (wrap_object_marshal(object, public_area, &len))
        return NULL;
    document = json_pack("{s:i, s:o}", "v", 1, "public", json_bytes(public_area, len));
    return document && act_write_blob(document, blob) ? json_text(document) : NULL;
}

enum escrow_err tpm_recovery_seal(const struct secret *owner, const struct secret *lockout,
                                  const struct ec_point *recovery, char **ret_text)
{
    CLEANUP(secret_free_p) struct secret *both = secret_new(2 * (size_t)TPM_AUTH_BYTES);
    CLEANUP(secret_free_p) struct secret *sensitive = NULL;
    struct wrap_object object;
    struct wrap_blob blob;
    enum escrow_err err;
    char *text;

    if (!both)
        return ESCROW_ERR_NO_MEMORY;
    if (owner->len != TPM_AUTH_BYTES || lockout->len != TPM_AUTH_BYTES)
        return ESCROW_ERR_MALFORMED;
    memcpy(both->bytes, owner->bytes, TPM_AUTH_BYTES);
    memcpy(both->bytes + TPM_AUTH_BYTES, lockout->bytes, TPM_AUTH_BYTES);
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

static enum escrow_err parse(const char *text, size_t len, struct wrap_object *ret_object,
                             struct wrap_blob *ret_blob)
{
    CLEANUP(json_free_p) json_t *document = NULL;
    uint8_t public_area[WRAP_PUBLIC_MAX];
    struct json_reader reader;
    size_t public_len;
    enum escrow_err err = json_parse(text, len, TPM_RECOVERY_MAX, &document);

    if (err)
        return err;
    json_reader_init(&reader, document, "recovery file");
    json_read_v1(&reader);
    public_len = json_read_bytes_up_to(&reader, "public", public_area, sizeof(public_area));
    act_read_blob(&reader, ret_blob);
    err = json_reader_end(&reader);
    return err ? err : wrap_object_parse(public_area, public_len, ret_object);
}

enum escrow_err tpm_recovery_open(const char *text, size_t len, EVP_PKEY *recovery,
                                  struct secret **ret_owner, struct secret **ret_lockout)
{
    CLEANUP(secret_free_p) struct secret *both = NULL;
    CLEANUP(secret_free_p) struct secret *owner = NULL;
    CLEANUP(secret_free_p) struct secret *lockout = NULL;
    struct wrap_object object;
    struct wrap_blob blob;
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
    *ret_owner = TAKE(owner);
    *ret_lockout = TAKE(lockout);
    return ESCROW_OK;
}
