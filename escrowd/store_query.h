/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/store.h"
#include "libescrow/key.h"

#include <sqlite3.h>

/*
 * SQLite for the store_* files, and for nobody else. A query remembers its first error, so that a
 * function binds, steps and reads without looking, and asks query_end at the end.
 */
struct query {
    sqlite3 *database;
    sqlite3_stmt *statement;
    bool *is_used; /* of a statement that the store keeps; NULL: it is this query's own */
    int next;      /* parameter to bind */
    bool is_faulty;
};

/* sql is a constant: the store keeps it, prepared, by its address. */
void query_open(struct query *query, struct store *store, const char *sql);
void query_close(struct query *query);

/* Bind the next parameter. NULL or an empty text is NULL; blobs of 0 bytes too. */
void query_put_number(struct query *query, uint64_t number);
void query_put_text(struct query *query, const char *text);
void query_put_bytes(struct query *query, const void *bytes, size_t len);
void query_put_name(struct query *query, const struct tpm_name *name);
void query_put_null(struct query *query);

/* Steps; true: there is a row to read. */
bool query_row(struct query *query);

/* Columns of the row, from 0. */
bool query_is_null(struct query *query, int column);
uint64_t query_number(struct query *query, int column);
/* Copies; NULL gives an empty text; a longer one is a fault. */
void query_text(struct query *query, int column, char *ret_text, size_t cap);
/* Exactly len bytes, else a fault. */
void query_bytes(struct query *query, int column, void *ret_bytes, size_t len);
/* At most cap bytes; returns how many. */
size_t query_bytes_up_to(struct query *query, int column, void *ret_bytes, size_t cap);
void query_name(struct query *query, int column, struct tpm_name *ret_name);
/* Borrowed until the next step. */
const char *query_text_borrowed(struct query *query, int column);

/* ESCROW_ERR_STORE with a log line if anything failed. */
MUST_CHECK enum escrow_err query_end(struct query *query);
/* The same, and ESCROW_ERR_NOT_FOUND unless a row was found. */
MUST_CHECK enum escrow_err query_found(struct query *query, bool is_found);
/* Steps a statement that has no rows, and ends. */
MUST_CHECK enum escrow_err query_run(struct query *query);
