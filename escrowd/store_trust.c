/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/store_trust.h"

#include "escrowd/store_query.h"
#include "libescrow/json.h"
#include "libescrow/log.h"

#include <string.h>

#define APPROVAL_BYTES_MAX 4096

enum escrow_err store_roster(struct store *store, char **ret_compact)
{
    CLEANUP(query_close) struct query query;
    CLEANUP(cleanup_free) char *compact = NULL;
    bool is_found;

    query_open(&query, store, "SELECT document FROM roster");
    is_found = query_row(&query);
    if (is_found)
        compact = strdup(query_text_borrowed(&query, 0));
    if (query_end(&query))
        return ESCROW_ERR_STORE;
    if (!is_found)
        return ESCROW_ERR_NOT_FOUND;
    if (!compact)
        return ESCROW_ERR_NO_MEMORY;
    *ret_compact = TAKE(compact);
    return ESCROW_OK;
}

enum escrow_err store_set_roster(struct store *store, uint64_t version, const char *compact)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store, "REPLACE INTO roster (id, version, document) VALUES (1, ?, ?)");
    query_put_number(&query, version);
    query_put_text(&query, compact);
    return query_run(&query);
}

/* What an approval is about, beside group and member. */
static void put_subject(struct query *query, const struct approval *approval)
{
    uint8_t bytes[sizeof(uint32_t) + TPM_DIGEST_BYTES];

    if (approval->kind == TPM_APPROVAL_NODE) {
        query_put_bytes(query, approval->act_keys, approval->act_key_count * TPM_NAME_BYTES);
        return;
    }
    memcpy(bytes, &approval->pcrs.selection, sizeof(uint32_t));
    memcpy(bytes + sizeof(uint32_t), approval->pcrs.digest.bytes, TPM_DIGEST_BYTES);
    query_put_bytes(query, bytes, sizeof(bytes));
}

enum escrow_err store_add_approval(struct store *store, const struct approval *approval)
{
    CLEANUP(query_close) struct query query = {0};
    CLEANUP(json_free_p) json_t *document = approval_to_json(approval);
    CLEANUP(cleanup_free) char *text = document ? json_text(document) : NULL;

    if (!text)
        return ESCROW_ERR_NO_MEMORY;
    query_open(&query, store,
               "INSERT INTO approvals (kind, group_name, counter, subject, epoch, document)"
               " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
               " SET epoch = excluded.epoch, document = excluded.document"
               " WHERE excluded.epoch >= epoch");
    query_put_number(&query, approval->kind);
    query_put_text(&query, approval->group);
    query_put_name(&query, &approval->counter);
    put_subject(&query, approval);
    query_put_number(&query, approval->epoch);
    query_put_text(&query, text);
    return query_run(&query);
}

static enum escrow_err parse_approval(const char *text, struct approval *ret_approval)
{
    CLEANUP(json_free_p) json_t *document = NULL;

    if (json_parse(text, strlen(text), APPROVAL_BYTES_MAX, &document) ||
        approval_from_json(document, ret_approval)) {
        log_error("store: an approval does not have its form");
        return ESCROW_ERR_STORE;
    }
    return ESCROW_OK;
}

enum escrow_err store_node_approval(struct store *store, const char *group,
                                    const struct tpm_name *counter, const struct tpm_name *act_key,
                                    struct approval *ret_approval)
{
    CLEANUP(query_close) struct query query;
    enum escrow_err err = ESCROW_ERR_NOT_FOUND;

    query_open(&query, store,
               "SELECT document FROM approvals"
               " WHERE kind = ? AND group_name = ? AND counter = ? AND subject = ?");
    query_put_number(&query, TPM_APPROVAL_NODE);
    query_put_text(&query, group);
    query_put_name(&query, counter);
    query_put_name(&query, act_key);
    if (query_row(&query))
        err = parse_approval(query_text_borrowed(&query, 0), ret_approval);
    return query_end(&query) ? ESCROW_ERR_STORE : err;
}

enum escrow_err store_next_node(struct store *store, const char *group,
                                const struct tpm_name *counter, const struct tpm_name *after,
                                struct tpm_name *ret_act_key)
{
    CLEANUP(query_close) struct query query;
    bool is_found;

    query_open(&query, store,
               "SELECT subject FROM approvals"
               " WHERE kind = ? AND group_name = ? AND counter = ? AND subject > ?"
               " AND length(subject) = ? ORDER BY subject LIMIT 1");
    query_put_number(&query, TPM_APPROVAL_NODE);
    query_put_text(&query, group);
    query_put_name(&query, counter);
    query_put_name(&query, after);
    query_put_number(&query, TPM_NAME_BYTES);
    is_found = query_row(&query);
    if (is_found)
        query_name(&query, 0, ret_act_key);
    return query_found(&query, is_found);
}

enum escrow_err store_host_approvals(struct store *store, const char *group,
                                     const struct tpm_name *counter, struct approval *ret_approvals,
                                     size_t cap, size_t *ret_count)
{
    CLEANUP(query_close) struct query query;
    enum escrow_err err = ESCROW_OK;
    size_t count = 0;

    query_open(&query, store,
               "SELECT document FROM approvals WHERE kind = ? AND group_name = ? AND counter = ?"
               " ORDER BY epoch DESC");
    query_put_number(&query, TPM_APPROVAL_HOST);
    query_put_text(&query, group);
    query_put_name(&query, counter);
    while (!err && count < cap && query_row(&query))
        err = parse_approval(query_text_borrowed(&query, 0), &ret_approvals[count++]);
    *ret_count = count;
    return query_end(&query) ? ESCROW_ERR_STORE : err;
}

enum escrow_err store_has_approvals(struct store *store, const char *group,
                                    const struct tpm_name *counter, const struct tpm_name *act_key,
                                    bool *ret_host, bool *ret_node)
{
    CLEANUP(query_close) struct query query;
    bool is_found;

    query_open(&query, store,
               "SELECT"
               " EXISTS(SELECT 1 FROM approvals"
               " WHERE kind = ? AND group_name = ? AND counter = ?),"
               " EXISTS(SELECT 1 FROM approvals"
               " WHERE kind = ? AND group_name = ? AND counter = ? AND subject = ?)");
    query_put_number(&query, TPM_APPROVAL_HOST);
    query_put_text(&query, group);
    query_put_name(&query, counter);
    query_put_number(&query, TPM_APPROVAL_NODE);
    query_put_text(&query, group);
    query_put_name(&query, counter);
    query_put_name(&query, act_key);
    is_found = query_row(&query);
    *ret_host = is_found && query_number(&query, 0);
    *ret_node = is_found && query_number(&query, 1);
    return query_found(&query, is_found);
}
