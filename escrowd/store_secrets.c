/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/store_secrets.h"

#include "escrowd/store_query.h"

#define VERSION_COLUMNS "object, version, state, public, payload, private"

static enum escrow_err secret_id(struct store *store, const struct act_subject *subject,
                                 uint64_t *ret_id)
{
    CLEANUP(query_close) struct query query;
    uint64_t id = 0;

    query_open(&query, store, "SELECT id FROM secrets WHERE group_name = ? AND database_name = ?");
    query_put_text(&query, subject->group);
    query_put_text(&query, subject->database);
    if (query_row(&query))
        id = query_number(&query, 0);
    if (query_end(&query))
        return ESCROW_ERR_STORE;
    if (!id)
        return ESCROW_ERR_NOT_FOUND;
    *ret_id = id;
    return ESCROW_OK;
}

static enum escrow_err secret_make(struct store *store, const struct act_subject *subject,
                                   uint64_t *ret_id)
{
    CLEANUP(query_close) struct query query = {0};
    enum escrow_err err = secret_id(store, subject, ret_id);

    if (err != ESCROW_ERR_NOT_FOUND)
        return err;
    query_open(&query, store, "INSERT INTO secrets (group_name, database_name) VALUES (?, ?)");
    query_put_text(&query, subject->group);
    query_put_text(&query, subject->database);
    err = query_run(&query);
    return err ? err : secret_id(store, subject, ret_id);
}

static enum escrow_err retire_active(struct store *store, uint64_t secret)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store, "UPDATE versions SET state = ? WHERE secret = ? AND state = ?");
    query_put_number(&query, SECRET_RETIRED);
    query_put_number(&query, secret);
    query_put_number(&query, SECRET_ACTIVE);
    return query_run(&query);
}

static enum escrow_err insert_version(struct store *store, uint64_t secret,
                                      const struct tpm_name *object,
                                      const struct act_deposit *deposit,
                                      const struct audit_record *record)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "INSERT INTO versions (object, secret, version, state, public, payload, sequence,"
               " time_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
    query_put_name(&query, object);
    query_put_number(&query, secret);
    query_put_number(&query, deposit->version);
    query_put_number(&query, deposit->state);
    query_put_bytes(&query, deposit->public_area, deposit->public_len);
    query_put_bytes(&query, deposit->payload, sizeof(deposit->payload));
    query_put_number(&query, record->sequence);
    query_put_number(&query, (uint64_t)record->time_ms);
    return query_run(&query);
}

static enum escrow_err insert_blob(struct store *store, const struct tpm_name *object,
                                   const struct act_blob *blob)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "INSERT INTO blobs (object, recipient, inner_key, duplicate, seed)"
               " VALUES (?, ?, ?, ?, ?)");
    query_put_name(&query, object);
    query_put_name(&query, &blob->to);
    query_put_bytes(&query, blob->blob.inner_key, sizeof(blob->blob.inner_key));
    query_put_bytes(&query, blob->blob.duplicate, blob->blob.duplicate_len);
    query_put_bytes(&query, blob->blob.seed, blob->blob.seed_len);
    return query_run(&query);
}

enum escrow_err store_add_version(struct store *store, const struct act_subject *subject,
                                  const struct tpm_name *object, const struct act_deposit *deposit,
                                  const struct audit_record *record)
{
    uint64_t secret;
    enum escrow_err err = secret_make(store, subject, &secret);

    if (!err && deposit->state == SECRET_ACTIVE)
        err = retire_active(store, secret);
    if (!err)
        err = insert_version(store, secret, object, deposit, record);
    for (size_t i = 0; !err && i < deposit->blob_count; i++)
        err = insert_blob(store, object, &deposit->blobs[i]);
    return err;
}

enum escrow_err store_has_object(struct store *store, const struct tpm_name *object, bool *ret_has)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store, "SELECT 1 FROM versions WHERE object = ?");
    query_put_name(&query, object);
    *ret_has = query_row(&query);
    return query_end(&query);
}

enum escrow_err store_next_version(struct store *store, const struct act_subject *subject,
                                   uint32_t *ret_version)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "SELECT max(version) FROM versions WHERE secret ="
               " (SELECT id FROM secrets WHERE group_name = ? AND database_name = ?)");
    query_put_text(&query, subject->group);
    query_put_text(&query, subject->database);
    *ret_version = query_row(&query) ? (uint32_t)query_number(&query, 0) + 1 : 1;
    return query_end(&query);
}

static void read_version(struct query *query, struct store_version *version)
{
    query_name(query, 0, &version->object);
    version->version = (uint32_t)query_number(query, 1);
    version->state = (enum secret_state)query_number(query, 2);
    version->public_len =
        query_bytes_up_to(query, 3, version->public_area, sizeof(version->public_area));
    query_bytes(query, 4, version->payload, sizeof(version->payload));
    version->private_area.len = query_bytes_up_to(query, 5, version->private_area.bytes,
                                                  sizeof(version->private_area.bytes));
}

/* Those of one state, newest first, behind what is there already. */
static enum escrow_err add_live(struct store *store, const struct act_subject *subject,
                                enum secret_state state, struct store_version *versions, size_t cap,
                                size_t *count)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "SELECT " VERSION_COLUMNS " FROM versions WHERE secret ="
               " (SELECT id FROM secrets WHERE group_name = ? AND database_name = ?)"
               " AND state = ? ORDER BY version DESC LIMIT ?");
    query_put_text(&query, subject->group);
    query_put_text(&query, subject->database);
    query_put_number(&query, state);
    query_put_number(&query, cap - *count);
    while (*count < cap && query_row(&query))
        read_version(&query, &versions[(*count)++]);
    return query_end(&query);
}

enum escrow_err store_live_versions(struct store *store, const struct act_subject *subject,
                                    struct store_version *ret_versions, size_t cap,
                                    size_t *ret_count)
{
    static const enum secret_state order[] = {SECRET_ACTIVE, SECRET_PENDING, SECRET_RETIRED};
    size_t count = 0;
    enum escrow_err err = ESCROW_OK;

    for (size_t i = 0; !err && i < ARRAY_LEN(order); i++)
        err = add_live(store, subject, order[i], ret_versions, cap, &count);
    *ret_count = count;
    return err;
}

enum escrow_err store_blob(struct store *store, const struct tpm_name *object,
                           const struct tpm_name *recipient, struct wrap_blob *ret_blob)
{
    CLEANUP(query_close) struct query query;
    bool is_found;

    query_open(&query, store,
               "SELECT inner_key, duplicate, seed FROM blobs WHERE object = ? AND recipient = ?");
    query_put_name(&query, object);
    query_put_name(&query, recipient);
    is_found = query_row(&query);
    if (is_found) {
        query_bytes(&query, 0, ret_blob->inner_key, sizeof(ret_blob->inner_key));
        ret_blob->duplicate_len =
            query_bytes_up_to(&query, 1, ret_blob->duplicate, sizeof(ret_blob->duplicate));
        ret_blob->seed_len = query_bytes_up_to(&query, 2, ret_blob->seed, sizeof(ret_blob->seed));
    }
    return query_found(&query, is_found);
}

static enum escrow_err update_private(struct store *store, const struct tpm_name *object,
                                      const struct tpm_private *private_area)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store, "UPDATE versions SET private = ? WHERE object = ?");
    query_put_bytes(&query, private_area->bytes, private_area->len);
    query_put_name(&query, object);
    return query_run(&query);
}

enum escrow_err store_set_private(struct store *store, const struct tpm_name *object,
                                  const struct tpm_private *private_area)
{
    enum escrow_err err = store_begin(store);

    if (!err)
        err = update_private(store, object, private_area);
    return err ? err : store_commit(store);
}

enum escrow_err store_next_unimported(struct store *store, struct store_version *ret_version)
{
    CLEANUP(query_close) struct query query;
    bool is_found;

    query_open(&query, store,
               "SELECT " VERSION_COLUMNS
               " FROM versions WHERE private IS NULL AND state <> 4 ORDER BY sequence LIMIT 1");
    is_found = query_row(&query);
    if (is_found)
        read_version(&query, ret_version);
    return query_found(&query, is_found);
}

enum escrow_err store_count_versions(struct store *store, uint64_t *ret_versions,
                                     uint64_t *ret_unimported)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "SELECT count(*), count(*) - count(private) FROM versions WHERE state <> 4");
    *ret_versions = *ret_unimported = 0;
    if (query_row(&query)) {
        *ret_versions = query_number(&query, 0);
        *ret_unimported = query_number(&query, 1);
    }
    return query_end(&query);
}

enum escrow_err store_list_versions(struct store *store, store_listed_fn on_version, void *argument)
{
    CLEANUP(query_close) struct query query;
    enum escrow_err err;

    query_open(&query, store,
               "SELECT group_name, database_name, version, state, object, sequence, time_ms,"
               " private IS NOT NULL FROM versions JOIN secrets ON secrets.id = versions.secret"
               " ORDER BY group_name, database_name, version");
    while (query_row(&query)) {
        struct store_listed listed = {
            .group = query_text_borrowed(&query, 0),
            .database = query_text_borrowed(&query, 1),
            .version = (uint32_t)query_number(&query, 2),
            .state = (enum secret_state)query_number(&query, 3),
            .sequence = query_number(&query, 5),
            .time_ms = (int64_t)query_number(&query, 6),
            .is_imported = query_number(&query, 7) != 0,
        };

        query_name(&query, 4, &listed.object);
        err = query_end(&query);
        if (!err)
            err = on_version(&listed, argument);
        if (err)
            return err;
    }
    return query_end(&query);
}
