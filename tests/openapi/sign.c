/* SPDX-License-Identifier: Apache-2.0 */
/*
 * openapi_sign KEY <[header, payload]: signs what it is given, whether it makes sense or not, so
 * that tests can send acts that no client of ours would make. Prints {"act": compact}. In a payload
 * with a recipient it first signs each of objects for that, as a TPM wants it.
 */
#include "libescrow/act.h"
#include "libescrow/cleanup.h"
#include "libescrow/json.h"
#include "libescrow/log.h"
#include "libescrow/rpc.h"

#include <stdio.h>
#include <stdlib.h>

static enum escrow_err sign_object(EVP_PKEY *key, const struct ec_point *recipient, json_t *object)
{
    struct act_signature signature;
    struct json_reader reader;
    enum escrow_err err;

    json_reader_init(&reader, object, "object");
    json_read_tpm_name(&reader, "name", &signature.object);
    err = act_sign_objects(key, recipient, &signature, 1);
    if (!err && json_object_set_new(object, "signature",
                                    json_bytes(signature.signature, ECDSA_SIGNATURE_BYTES)))
        err = ESCROW_ERR_NO_MEMORY;
    return err;
}

static enum escrow_err sign_objects(EVP_PKEY *key, json_t *payload)
{
    struct ec_point recipient;
    struct json_reader reader;
    enum escrow_err err = ESCROW_OK;
    json_t *object;
    size_t i;

    json_reader_init(&reader, payload, "payload");
    json_read_point(&reader, "recipient", &recipient);
    json_array_foreach(json_object_get(payload, "objects"), i, object)
    {
        if (!err)
            err = sign_object(key, &recipient, object);
    }
    return err;
}

static enum escrow_err sign(const char *key_path, json_t *parts)
{
    CLEANUP(key_free_p) EVP_PKEY *key = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;
    CLEANUP(cleanup_free) char *body = NULL;
    json_t *payload = json_array_get(parts, 1);
    struct jws_signer signer;
    enum escrow_err err = key_read_private(key_path, &key);

    if (!err && json_object_get(payload, "recipient"))
        err = sign_objects(key, payload);
    if (!err)
        err = jws_signer_from_key(key, &signer);
    if (!err)
        err = jws_sign(&signer, json_array_get(parts, 0), payload, &compact);
    if (err)
        return err;
    body = rpc_wrap("act", compact);
    return body && puts(body) >= 0 ? ESCROW_OK : ESCROW_ERR_NO_MEMORY;
}

int main(int argc, char **argv)
{
    CLEANUP(json_free_p) json_t *parts = json_loadf(stdin, 0, NULL);
    enum escrow_err err = secret_heap_init();

    log_init("openapi_sign", LOG_LEVEL_WARNING);
    if (argc != 2 || json_array_size(parts) != 2) {
        fputs("openapi_sign: see the head of its source\n", stderr);
        return escrow_err_exit_code(ESCROW_ERR_USAGE);
    }
    if (!err)
        err = sign(argv[1], parts);
    return escrow_err_exit_code(err);
}
