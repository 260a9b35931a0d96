/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/store_query.h"

#include "escrowd/store_database.h"
#include "libescrow/log.h"

#include <string.h>

static void query_fault(struct query *query, const char *what)
{
    if (!query->is_faulty)
        log_error("store: %s: %s", what, sqlite3_errmsg(query->database));
    query->is_faulty = true;
}

static sqlite3_stmt *prepare(struct query *query, const char *sql)
{
    sqlite3_stmt *statement = NULL;

    if (sqlite3_prepare_v2(query->database, sql, -1, &statement, NULL) != SQLITE_OK)
        query_fault(query, "cannot prepare a statement");
    return statement;
}

/* The place of a text among the kept statements, made if there is room; NULL: there is none. */
static struct store_statement *find_statement(struct store_statements *kept, const char *sql)
{
    for (size_t i = 0; i < kept->count; i++) {
        if (kept->items[i].sql == sql)
            return &kept->items[i];
    }
    if (kept->count == STORE_STATEMENTS_MAX)
        return NULL;
    kept->items[kept->count].sql = sql;
    return &kept->items[kept->count++];
}

void query_open(struct query *query, struct store *store, const char *sql)
{
    struct store_statement *kept = find_statement(store_statements(store), sql);

    memset(query, 0, sizeof(*query));
    query->database = store_database(store);
    query->next = 1;
    /* One that is open already, further up, has its own rows to read. */
    if (!kept || kept->is_used) {
        query->statement = prepare(query, sql);
        return;
    }
    if (!kept->prepared)
        kept->prepared = prepare(query, sql);
    kept->is_used = true;
    query->is_used = &kept->is_used;
    query->statement = kept->prepared;
}

void query_close(struct query *query)
{
    if (query->is_used && query->statement) {
        /* What it returns was the query's fault, and has been told. */
        sqlite3_reset(query->statement);
        sqlite3_clear_bindings(query->statement);
    } else {
        sqlite3_finalize(query->statement);
    }
    if (query->is_used)
        *query->is_used = false;
    query->statement = NULL;
    query->is_used = NULL;
}

static void bound(struct query *query, int result)
{
    if (result != SQLITE_OK)
        query_fault(query, "cannot bind a parameter");
}

void query_put_number(struct query *query, uint64_t number)
{
    if (number > INT64_MAX)
        query_fault(query, "a number is too large");
    else
        bound(query, sqlite3_bind_int64(query->statement, query->next++, (sqlite3_int64)number));
}

void query_put_null(struct query *query)
{
    bound(query, sqlite3_bind_null(query->statement, query->next++));
}

void query_put_text(struct query *query, const char *text)
{
    if (!text || !text[0])
        query_put_null(query);
    else
        bound(query,
              sqlite3_bind_text(query->statement, query->next++, text, -1, SQLITE_TRANSIENT));
}

void query_put_bytes(struct query *query, const void *bytes, size_t len)
{
    if (len == 0)
        query_put_null(query);
    else
        bound(query,
              sqlite3_bind_blob64(query->statement, query->next++, bytes, len, SQLITE_TRANSIENT));
}

void query_put_name(struct query *query, const struct tpm_name *name)
{
    query_put_bytes(query, name->bytes, sizeof(name->bytes));
}

bool query_row(struct query *query)
{
    int result;

    if (query->is_faulty)
        return false;
    result = sqlite3_step(query->statement);
    if (result != SQLITE_ROW && result != SQLITE_DONE)
        query_fault(query, "a statement failed");
    return result == SQLITE_ROW;
}

bool query_is_null(struct query *query, int column)
{
    return sqlite3_column_type(query->statement, column) == SQLITE_NULL;
}

uint64_t query_number(struct query *query, int column)
{
    sqlite3_int64 number = sqlite3_column_int64(query->statement, column);

    if (number < 0)
        query_fault(query, "a row holds a negative number");
    return number < 0 ? 0 : (uint64_t)number;
}

const char *query_text_borrowed(struct query *query, int column)
{
    const bool is_null = query_is_null(query, column);
    const unsigned char *text = sqlite3_column_text(query->statement, column);

    /* Out of memory must not read as a text that is empty. */
    if (!text && !is_null)
        query_fault(query, "a text cannot be read");
    return text ? (const char *)text : "";
}

void query_text(struct query *query, int column, char *ret_text, size_t cap)
{
    const char *text = query_text_borrowed(query, column);
    size_t len = strlen(text);

    if (len >= cap) {
        query_fault(query, "a row holds a text that is too long");
        text = "";
        len = 0;
    }
    memcpy(ret_text, text, len + 1);
}

size_t query_bytes_up_to(struct query *query, int column, void *ret_bytes, size_t cap)
{
    const void *bytes = sqlite3_column_blob(query->statement, column);
    size_t len = (size_t)sqlite3_column_bytes(query->statement, column);

    if (len > cap || (len && !bytes)) {
        query_fault(query, bytes ? "a row holds too many bytes" : "bytes cannot be read");
        return 0;
    }
    if (len)
        memcpy(ret_bytes, bytes, len);
    return len;
}

void query_bytes(struct query *query, int column, void *ret_bytes, size_t len)
{
    if (query_bytes_up_to(query, column, ret_bytes, len) != len) {
        query_fault(query, "a row holds too few bytes");
        memset(ret_bytes, 0, len);
    }
}

void query_name(struct query *query, int column, struct tpm_name *ret_name)
{
    query_bytes(query, column, ret_name->bytes, sizeof(ret_name->bytes));
}

enum escrow_err query_end(struct query *query)
{
    return query->is_faulty ? ESCROW_ERR_STORE : ESCROW_OK;
}

enum escrow_err query_found(struct query *query, bool is_found)
{
    enum escrow_err err = query_end(query);

    return !err && !is_found ? ESCROW_ERR_NOT_FOUND : err;
}

enum escrow_err query_run(struct query *query)
{
    if (query_row(query))
        query_fault(query, "a statement gave a row");
    return query_end(query);
}
