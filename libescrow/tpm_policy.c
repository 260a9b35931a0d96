/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/tpm_policy.h"

#include "libescrow/log.h"

#include <openssl/evp.h>
#include <tss2/tss2_tpm2_types.h>

#include <endian.h>
#include <string.h>

CLEANUP_FUNCTION(hash_free_p, EVP_MD_CTX, EVP_MD_CTX_free)

struct span {
    const void *bytes;
    size_t len;
};

static struct span span_of_name(const struct tpm_name *name)
{
    return (struct span){name->bytes, sizeof(name->bytes)};
}

static struct span span_of_digest(const struct tpm_digest *digest)
{
    return (struct span){digest->bytes, sizeof(digest->bytes)};
}

static enum escrow_err hash(const struct span *spans, size_t count, struct tpm_digest *ret_digest)
{
    CLEANUP(hash_free_p) EVP_MD_CTX *context = EVP_MD_CTX_new();
    struct tpm_digest digest;
    bool is_done = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;

    for (size_t i = 0; is_done && i < count; i++)
        is_done = EVP_DigestUpdate(context, spans[i].bytes, spans[i].len) == 1;
    if (!is_done || EVP_DigestFinal_ex(context, digest.bytes, NULL) != 1) {
        log_openssl("tpm_policy: SHA-256");
        return ESCROW_ERR_CRYPTO;
    }
    *ret_digest = digest;
    return ESCROW_OK;
}

/* The common form of a step (Part 3, 23.2.2): new = H(old || command code || arguments). */
static enum escrow_err extend(struct tpm_digest *digest, TPM2_CC command, struct span first,
                              struct span second)
{
    const uint32_t code = htobe32(command);
    const struct span spans[] = {span_of_digest(digest), {&code, sizeof(code)}, first, second};

    return hash(spans, ARRAY_LEN(spans), digest);
}

/* PolicyUpdate (Part 3, 23.2.3): H(H(old || command code || Name) || policyRef). */
static enum escrow_err policy_update(struct tpm_digest *digest, TPM2_CC command,
                                     const struct tpm_name *name, struct span policy_ref)
{
    struct tpm_digest next = *digest;
    const struct span spans[] = {span_of_digest(&next), policy_ref};
    enum escrow_err err;

    err = extend(&next, command, span_of_name(name), (struct span){NULL, 0});
    return err ? err : hash(spans, ARRAY_LEN(spans), digest);
}

enum escrow_err tpm_policy_label(enum tpm_approval_kind kind, const char *group,
                                 struct tpm_digest *ret_label)
{
    const struct span spans[] = {{kind == TPM_APPROVAL_HOST ? "host:" : "node:", 5},
                                 {group, strlen(group)}};

    return hash(spans, ARRAY_LEN(spans), ret_label);
}

enum escrow_err tpm_policy_extend_signed(struct tpm_digest *digest, const struct tpm_name *key)
{
    return policy_update(digest, TPM2_CC_PolicySigned, key, (struct span){NULL, 0});
}

enum escrow_err tpm_policy_extend_counter(struct tpm_digest *digest, const struct tpm_name *counter,
                                          uint64_t epoch)
{
    const uint64_t operand = htobe64(epoch);
    const uint16_t offset = 0, operation = htobe16(TPM2_EO_UNSIGNED_LE);
    const struct span args[] = {
        {&operand, sizeof(operand)}, {&offset, sizeof(offset)}, {&operation, sizeof(operation)}};
    struct tpm_digest arguments;
    enum escrow_err err = hash(args, ARRAY_LEN(args), &arguments);

    if (err)
        return err;
    return extend(digest, TPM2_CC_PolicyNV, span_of_digest(&arguments), span_of_name(counter));
}

enum escrow_err tpm_policy_extend_pcrs(struct tpm_digest *digest, const struct tpm_pcrs *pcrs)
{
    /* TPML_PCR_SELECTION: one selection, of three octets, PCR 0 in the lowest bit of the first. */
    const uint8_t selection[] = {
        0,
        0,
        0,
        1,
        TPM2_ALG_SHA256 >> 8,
        TPM2_ALG_SHA256 & 0xff,
        3,
        (uint8_t)pcrs->selection,
        (uint8_t)(pcrs->selection >> 8),
        (uint8_t)(pcrs->selection >> 16),
    };

    return extend(digest, TPM2_CC_PolicyPCR, (struct span){selection, sizeof(selection)},
                  span_of_digest(&pcrs->digest));
}

static enum escrow_err extend_command(struct tpm_digest *digest, TPM2_CC command)
{
    const uint32_t code = htobe32(command);

    return extend(digest, TPM2_CC_PolicyCommandCode, (struct span){&code, sizeof(code)},
                  (struct span){NULL, 0});
}

enum escrow_err tpm_policy_extend_duplicate(struct tpm_digest *digest)
{
    return extend_command(digest, TPM2_CC_Duplicate);
}

enum escrow_err tpm_policy_storage_branches(struct tpm_digest ret_branches[static TPM_STORAGE_USES])
{
    static const TPM2_CC commands[] = {
        [TPM_STORAGE_LOAD] = TPM2_CC_Load, [TPM_STORAGE_IMPORT] = TPM2_CC_Import};
    struct tpm_digest branches[TPM_STORAGE_USES] = {0};
    enum escrow_err err = ESCROW_OK;

    for (size_t i = 0; !err && i < TPM_STORAGE_USES; i++) {
        err = extend(&branches[i], TPM2_CC_PolicyAuthValue, (struct span){NULL, 0},
                     (struct span){NULL, 0});
        if (!err)
            err = extend_command(&branches[i], commands[i]);
    }
    if (!err)
        memcpy(ret_branches, branches, sizeof(branches));
    return err;
}

enum escrow_err tpm_policy_storage(struct tpm_digest *ret_policy)
{
    struct tpm_digest branches[TPM_STORAGE_USES], digest = {{0}};
    enum escrow_err err = tpm_policy_storage_branches(branches);

    /* PolicyOR replaces the digest: it begins from zero (Part 3, 23.6). */
    if (!err)
        err = extend(&digest, TPM2_CC_PolicyOR, span_of_digest(&branches[TPM_STORAGE_LOAD]),
                     span_of_digest(&branches[TPM_STORAGE_IMPORT]));
    if (!err)
        *ret_policy = digest;
    return err;
}

enum escrow_err tpm_policy_authorized(const struct tpm_name *authority, enum tpm_approval_kind kind,
                                      const char *group, struct tpm_digest *ret_digest)
{
    struct tpm_digest digest = {{0}}, label;
    enum escrow_err err = tpm_policy_label(kind, group, &label);

    if (!err)
        err = policy_update(&digest, TPM2_CC_PolicyAuthorize, authority, span_of_digest(&label));
    if (err)
        return err;
    *ret_digest = digest;
    return ESCROW_OK;
}

enum escrow_err tpm_policy_object(const struct tpm_name *authority, const char *group,
                                  struct tpm_digest *ret_policy)
{
    struct tpm_digest digest;
    enum escrow_err err = tpm_policy_authorized(authority, TPM_APPROVAL_HOST, group, &digest);

    if (!err)
        err = tpm_policy_extend_duplicate(&digest);
    if (err)
        return err;
    *ret_policy = digest;
    return ESCROW_OK;
}

enum escrow_err tpm_policy_node(const struct tpm_name *act_key, const struct tpm_name *counter,
                                uint64_t epoch, struct tpm_digest *ret_policy)
{
    return tpm_policy_quorum(act_key, 1, counter, epoch, ret_policy);
}

enum escrow_err tpm_policy_quorum(const struct tpm_name *keys, size_t count,
                                  const struct tpm_name *counter, uint64_t epoch,
                                  struct tpm_digest *ret_policy)
{
    struct tpm_digest digest = {{0}};
    enum escrow_err err = ESCROW_OK;

    if (count == 0 || count > TPM_SIGNERS_MAX)
        return ESCROW_ERR_MALFORMED;
    for (size_t i = 1; i < count; i++) {
        if (memcmp(keys[i - 1].bytes, keys[i].bytes, TPM_NAME_BYTES) >= 0)
            return ESCROW_ERR_MALFORMED;
    }
    for (size_t i = 0; !err && i < count; i++)
        err = tpm_policy_extend_signed(&digest, &keys[i]);
    if (!err)
        err = tpm_policy_extend_counter(&digest, counter, epoch);
    if (err)
        return err;
    *ret_policy = digest;
    return ESCROW_OK;
}

enum escrow_err tpm_policy_host(const struct tpm_name *authority, const char *group,
                                const struct tpm_pcrs *pcrs, const struct tpm_name *counter,
                                uint64_t epoch, struct tpm_digest *ret_policy)
{
    struct tpm_digest digest;
    enum escrow_err err = tpm_policy_authorized(authority, TPM_APPROVAL_NODE, group, &digest);

    if (!err)
        err = tpm_policy_extend_pcrs(&digest, pcrs);
    if (!err)
        err = tpm_policy_extend_counter(&digest, counter, epoch);
    if (err)
        return err;
    *ret_policy = digest;
    return ESCROW_OK;
}

enum escrow_err tpm_policy_approval_digest(enum tpm_approval_kind kind, const char *group,
                                           const struct tpm_digest *approved_policy,
                                           struct tpm_digest *ret_digest)
{
    struct tpm_digest label;
    const struct span spans[] = {span_of_digest(approved_policy), span_of_digest(&label)};
    enum escrow_err err = tpm_policy_label(kind, group, &label);

    return err ? err : hash(spans, ARRAY_LEN(spans), ret_digest);
}

enum escrow_err tpm_policy_duplicate_cphash(const struct tpm_name *object,
                                            const struct tpm_name *recipient,
                                            struct tpm_digest *ret_cphash)
{
    /* encryptionKeyIn: empty; symmetricAlg: AES, 128, CFB. */
    static const uint8_t parameters[] = {0, 0,   TPM2_ALG_AES >> 8, TPM2_ALG_AES & 0xff,
                                         0, 128, TPM2_ALG_CFB >> 8, TPM2_ALG_CFB & 0xff};
    const uint32_t code = htobe32(TPM2_CC_Duplicate);
    const struct span spans[] = {{&code, sizeof(code)},
                                 span_of_name(object),
                                 span_of_name(recipient),
                                 {parameters, sizeof(parameters)}};

    return hash(spans, ARRAY_LEN(spans), ret_cphash);
}

enum escrow_err tpm_policy_signed_digest(const struct tpm_digest *cphash,
                                         struct tpm_digest *ret_digest)
{
    const int32_t expiration = 0;
    const struct span spans[] = {{&expiration, sizeof(expiration)}, span_of_digest(cphash)};

    return hash(spans, ARRAY_LEN(spans), ret_digest);
}
