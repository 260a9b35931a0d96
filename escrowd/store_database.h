/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/store.h"

#include <sqlite3.h>

#include <stdbool.h>
#include <stddef.h>

/* The connection of a store, for store_query.c alone. Never NULL. */
sqlite3 *store_database(struct store *store);

/*
 * The statements of a store that were prepared once, by their text (the same pointer, for all texts
 * are constants): preparing one takes longer than running it.
 */
#define STORE_STATEMENTS_MAX 64

struct store_statement {
    const char *sql;
    sqlite3_stmt *prepared;
    bool is_used; /* by a query that is open */
};

struct store_statements {
    size_t count;
    struct store_statement items[STORE_STATEMENTS_MAX];
};

/* For store_query.c alone; never NULL. */
struct store_statements *store_statements(struct store *store);
