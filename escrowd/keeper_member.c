/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_member.h"

#include "escrowd/tpm_provision.h"
#include "libescrow/file.h"
#include "libescrow/json.h"
#include "libescrow/log.h"

#include <stdio.h>
#include <stdlib.h>

#define STATEMENT_BYTES_MAX 4096

char *keeper_member_path(const struct escrowd_config *config, const char *name)
{
    char *path;

    return asprintf(&path, "%s/%s", config->state_folder, name) < 0 ? NULL : path;
}

char *keeper_member_text(const char *label, const struct tpm_member *member,
                         const struct ec_point *answer)
{
    CLEANUP(json_free_p)
    json_t *document = json_pack(
        "{s:i, s:s, s:o, s:o, s:o, s:o, s:I, s:{s:I, s:o}, s:s}", "v", 1, "label", label, "storage",
        json_bytes(member->storage_public, member->storage_public_len), "answer",
        json_point(answer), "audit", json_bytes(member->audit_public, member->audit_public_len),
        "counter", json_tpm_name(&member->names.counter), "epoch", (json_int_t)member->epoch,
        "pcrs", "selection", (json_int_t)member->pcrs.selection, "digest",
        json_bytes(member->pcrs.digest.bytes, TPM_DIGEST_BYTES), "ek", "none");

    return document ? json_text(document) : NULL;
}

/* The Names that the statement's public areas have. */
static enum escrow_err parse_names(const json_t *document, struct tpm_names *ret_names)
{
    uint8_t storage[KEY_PUBLIC_MAX], audit[KEY_PUBLIC_MAX];
    size_t storage_len, audit_len;
    struct ec_point answer;
    struct json_reader reader;
    char text[NAME_MAX_BYTES + 1];
    enum escrow_err err;

    json_reader_init(&reader, document, MEMBER_STATEMENT);
    json_read_v1(&reader);
    json_read_name(&reader, "label", text, sizeof(text));
    storage_len = json_read_bytes_up_to(&reader, "storage", storage, sizeof(storage));
    audit_len = json_read_bytes_up_to(&reader, "audit", audit, sizeof(audit));
    json_read_point(&reader, "answer", &answer);
    json_read_tpm_name(&reader, "counter", &ret_names->counter);
    json_read_number(&reader, "epoch", 0, INT64_MAX);
    (void)json_read_object(&reader, "pcrs");
    json_read_name(&reader, "ek", text, sizeof(text));
    err = json_reader_end(&reader);
    if (!err)
        err = key_public_name(storage, storage_len, &ret_names->storage);
    if (!err)
        err = key_public_name(audit, audit_len, &ret_names->audit);
    return err;
}

static enum escrow_err load_statement(const struct escrowd_config *config,
                                      struct keeper_member *member)
{
    CLEANUP(cleanup_free) char *path = keeper_member_path(config, MEMBER_STATEMENT);
    CLEANUP(cleanup_free) char *text = NULL;
    CLEANUP(json_free_p) json_t *document = NULL;
    size_t len;
    enum escrow_err err;

    if (!path)
        return ESCROW_ERR_NO_MEMORY;
    err = file_read(path, STATEMENT_BYTES_MAX, &text, &len);
    if (err == ESCROW_ERR_NOT_FOUND)
        log_error("%s is missing: run `escrowd init` first", path);
    if (!err)
        err = json_parse(text, len, STATEMENT_BYTES_MAX, &document);
    if (!err)
        err = parse_names(document, &member->names);
    return err ? ESCROW_ERR_CONFIG : ESCROW_OK;
}

static enum escrow_err load_answer_key(const struct escrowd_config *config,
                                       struct keeper_member *member)
{
    CLEANUP(cleanup_free) char *path = keeper_member_path(config, MEMBER_ANSWER_KEY);
    struct ec_point point;
    enum escrow_err err;

    if (!path)
        return ESCROW_ERR_NO_MEMORY;
    err = key_read_private(path, &member->answer_key);
    if (!err)
        err = key_point(member->answer_key, &point);
    if (!err)
        err = key_signer_name(&point, &member->answer);
    return err;
}

static enum escrow_err load_storage_auth(const struct escrowd_config *config,
                                         struct keeper_member *member)
{
    CLEANUP(cleanup_free) char *path = keeper_member_path(config, MEMBER_STORAGE_AUTH);
    enum escrow_err err;

    if (!path)
        return ESCROW_ERR_NO_MEMORY;
    err = file_read_secret(path, TPM_AUTH_BYTES, &member->storage_auth);
    if (err == ESCROW_ERR_NOT_FOUND)
        log_error("%s is missing", path);
    return err ? ESCROW_ERR_CONFIG : ESCROW_OK;
}

enum escrow_err keeper_member_load(const struct escrowd_config *config,
                                   struct keeper_member **ret_member)
{
    CLEANUP(keeper_member_free_p) struct keeper_member *member = calloc(1, sizeof(*member));
    enum escrow_err err;

    if (!member)
        return ESCROW_ERR_NO_MEMORY;
    err = load_statement(config, member);
    if (!err)
        err = load_answer_key(config, member);
    if (!err)
        err = load_storage_auth(config, member);
    if (err)
        return err;
    *ret_member = TAKE(member);
    return ESCROW_OK;
}

void keeper_member_free(struct keeper_member *member)
{
    EVP_PKEY_free(member->answer_key);
    secret_free(member->storage_auth);
    free(member);
}
