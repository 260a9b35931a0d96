/* SPDX-License-Identifier: Apache-2.0 */
#include "client/enrollment.h"

#include "libescrow/json.h"
#include "libescrow/jws.h"
#include "libescrow/log.h"

#define TYP "escrow-enrollment"

enum escrow_err enrollment_sign(json_t *entry, EVP_PKEY *act_key, char **ret_compact)
{
    CLEANUP(json_free_p) json_t *header = json_pack("{s:s}", "typ", TYP);
    CLEANUP(json_free_p) json_t *payload = json_copy_whole(entry);
    struct jws_signer signer;
    struct ec_point point;
    enum escrow_err err = key_point(act_key, &point);

    if (!err)
        err = jws_signer_from_key(act_key, &signer);
    if (err)
        return err;
    if (!header || json_object_set_new(payload, "v", json_integer(1)) < 0 ||
        json_object_set_new(payload, "key", json_point(&point)) < 0)
        return ESCROW_ERR_NO_MEMORY;
    return jws_sign(&signer, header, payload, ret_compact);
}

/* The one key that may have signed: the one in the request. */
static EVP_PKEY *find_own(const struct tpm_name *kid, void *argument)
{
    struct jws_signer signer;

    if (jws_signer_from_key(argument, &signer) != ESCROW_OK)
        return NULL;
    return tpm_name_equal(kid, &signer.kid) ? argument : NULL;
}

static enum escrow_err own_key(const char *compact, size_t len, EVP_PKEY **ret_key)
{
    CLEANUP(json_free_p) json_t *payload = NULL;
    struct json_reader reader;
    struct ec_point point;
    enum escrow_err err = jws_unverified_payload(compact, len, &payload);

    if (err)
        return err;
    json_reader_init(&reader, payload, "enrollment");
    json_read_point(&reader, "key", &point);
    return reader.is_faulty ? ESCROW_ERR_MALFORMED : key_from_point(&point, ret_key);
}

enum escrow_err enrollment_read(const char *compact, size_t len, json_t **ret_entry)
{
    static const char *const more[] = {NULL};
    CLEANUP(key_free_p) EVP_PKEY *key = NULL;
    CLEANUP(jws_deinit) struct jws jws = {0};
    enum escrow_err err = own_key(compact, len, &key);

    if (!err)
        err = jws_verify(compact, len, TYP, more, find_own, key, &jws);
    if (err == ESCROW_ERR_NOT_FOUND)
        err = ESCROW_ERR_CRYPTO;
    if (!err && json_integer_value(json_object_get(jws.payload, "v")) != 1)
        err = ESCROW_ERR_MALFORMED;
    if (err) {
        log_error("an enrollment request must be signed by the key in it (%s)",
                  escrow_err_name(err));
        return err;
    }
    json_object_del(jws.payload, "v");
    *ret_entry = TAKE(jws.payload);
    return ESCROW_OK;
}
