/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/act.h"

/* What the act key signs for one object: TPM2_PolicySigned over the cpHash of its Duplicate. */
static enum escrow_err object_digest(const struct tpm_name *object,
                                     const struct tpm_name *recipient,
                                     struct tpm_digest *ret_digest)
{
    struct tpm_digest cphash;
    enum escrow_err err = tpm_policy_duplicate_cphash(object, recipient, &cphash);

    return err ? err : tpm_policy_signed_digest(&cphash, ret_digest);
}

enum escrow_err act_sign_objects(EVP_PKEY *act_key, const struct ec_point *recipient,
                                 struct act_signature *objects, size_t object_count)
{
    struct tpm_name recipient_name;
    struct tpm_digest digest;
    enum escrow_err err = key_recipient_name(recipient, &recipient_name);

    for (size_t i = 0; !err && i < object_count; i++) {
        err = object_digest(&objects[i].object, &recipient_name, &digest);
        if (!err)
            err = key_sign_digest(act_key, digest.bytes, objects[i].signature);
    }
    return err;
}

enum escrow_err act_verify_objects(EVP_PKEY *act_key, const struct ec_point *recipient,
                                   const struct act_signature *objects, size_t object_count)
{
    struct tpm_name recipient_name;
    struct tpm_digest digest;
    enum escrow_err err = key_recipient_name(recipient, &recipient_name);

    for (size_t i = 0; !err && i < object_count; i++) {
        err = object_digest(&objects[i].object, &recipient_name, &digest);
        if (!err)
            err = key_verify_digest(act_key, digest.bytes, objects[i].signature);
    }
    return err;
}
