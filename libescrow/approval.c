/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/approval.h"

#include "libescrow/encode.h"
#include "libescrow/json.h"

#include <string.h>

/* Indexed by enum tpm_approval_kind. */
static const char *const kind_words[] = {
    [TPM_APPROVAL_HOST] = "host",
    [TPM_APPROVAL_NODE] = "node",
};

/* What is approved, and the digest that the authority signs. */
static enum escrow_err digests(const struct approval *approval, EVP_PKEY *authority,
                               struct tpm_digest *ret_policy, struct tpm_digest *ret_digest)
{
    struct tpm_name name;
    struct ec_point point;
    enum escrow_err err = key_point(authority, &point);

    if (!err)
        err = key_signer_name(&point, &name);
    if (err)
        return err;
    if (approval->kind == TPM_APPROVAL_NODE)
        err = tpm_policy_quorum(approval->act_keys, approval->act_key_count, &approval->counter,
                                approval->epoch, ret_policy);
    else
        err = tpm_policy_host(&name, approval->group, &approval->pcrs, &approval->counter,
                              approval->epoch, ret_policy);
    return err ? err
               : tpm_policy_approval_digest(approval->kind, approval->group, ret_policy,
                                            ret_digest);
}

enum escrow_err approval_sign(EVP_PKEY *authority, struct approval *approval)
{
    struct tpm_digest policy, digest;
    enum escrow_err err = digests(approval, authority, &policy, &digest);

    return err ? err : key_sign_digest(authority, digest.bytes, approval->signature);
}

enum escrow_err approval_verify(const struct approval *approval, EVP_PKEY *authority,
                                struct tpm_digest *ret_policy)
{
    struct tpm_digest policy, digest;
    enum escrow_err err = digests(approval, authority, &policy, &digest);

    if (!err)
        err = key_verify_digest(authority, digest.bytes, approval->signature);
    if (!err)
        *ret_policy = policy;
    return err;
}

json_t *approval_pcrs_to_json(const struct tpm_pcrs *pcrs)
{
    return json_pack("{s:I, s:o}", "selection", (json_int_t)pcrs->selection, "digest",
                     json_bytes(pcrs->digest.bytes, TPM_DIGEST_BYTES));
}

static json_t *act_keys_to_json(const struct approval *approval)
{
    CLEANUP(json_free_p) json_t *array = json_array();

    for (size_t i = 0; i < approval->act_key_count; i++) {
        if (json_array_append_new(array, json_tpm_name(&approval->act_keys[i])) < 0)
            return NULL;
    }
    return TAKE(array);
}

static void read_act_keys(struct json_reader *reader, struct approval *approval)
{
    const json_t *array = json_read_array(reader, "act_keys", TPM_SIGNERS_MAX), *item;
    size_t i;

    json_array_foreach(array, i, item)
    {
        const char *text = json_string_value(item);

        if (!text || hex_decode(text, approval->act_keys[i].bytes, TPM_NAME_BYTES) != ESCROW_OK)
            json_reader_fault(reader, "act_keys");
        if (i > 0 && memcmp(approval->act_keys[i - 1].bytes, approval->act_keys[i].bytes,
                            TPM_NAME_BYTES) >= 0)
            json_reader_fault(reader, "act_keys");
    }
    approval->act_key_count = json_array_size(array);
    if (approval->act_key_count == 0)
        json_reader_fault(reader, "act_keys");
}

json_t *approval_to_json(const struct approval *approval)
{
    bool is_host = approval->kind == TPM_APPROVAL_HOST;

    return json_pack("{s:i, s:s, s:s, s:o, s:I, s:o, s:o}", "v", 1, "kind",
                     kind_words[approval->kind], "group", approval->group, "counter",
                     json_tpm_name(&approval->counter), "epoch", (json_int_t)approval->epoch,
                     is_host ? "pcrs" : "act_keys",
                     is_host ? approval_pcrs_to_json(&approval->pcrs) : act_keys_to_json(approval),
                     "signature", json_bytes(approval->signature, sizeof(approval->signature)));
}

enum escrow_err approval_pcrs_from_json(const json_t *document, struct tpm_pcrs *ret_pcrs)
{
    struct tpm_pcrs pcrs = {0};
    struct json_reader reader;
    enum escrow_err err;

    json_reader_init(&reader, document, "pcrs");
    pcrs.selection =
        (uint32_t)json_read_number(&reader, "selection", 1, (UINT32_C(1) << TPM_PCRS) - 1);
    json_read_bytes(&reader, "digest", pcrs.digest.bytes, TPM_DIGEST_BYTES);
    err = json_reader_end(&reader);
    if (!err)
        *ret_pcrs = pcrs;
    return err;
}

enum escrow_err approval_from_json(const json_t *document, struct approval *ret_approval)
{
    struct approval approval = {0};
    struct json_reader reader;
    enum escrow_err err;

    json_reader_init(&reader, document, "approval");
    json_read_v1(&reader);
    approval.kind =
        (enum tpm_approval_kind)json_read_word(&reader, "kind", kind_words, ARRAY_LEN(kind_words));
    json_read_name(&reader, "group", approval.group, sizeof(approval.group));
    json_read_tpm_name(&reader, "counter", &approval.counter);
    approval.epoch = json_read_number(&reader, "epoch", 0, INT64_MAX);
    if (approval.kind == TPM_APPROVAL_NODE)
        read_act_keys(&reader, &approval);
    else if (approval_pcrs_from_json(json_read_object(&reader, "pcrs"), &approval.pcrs))
        json_reader_fault(&reader, "pcrs");
    json_read_bytes(&reader, "signature", approval.signature, sizeof(approval.signature));
    err = json_reader_end(&reader);
    if (!err)
        *ret_approval = approval;
    return err;
}
