/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <sqlite3.h>

#include <stdbool.h>
#include <stdint.h>

/*
 * Whether a database and the WAL beside it are of one time. SQLite applies any WAL whose own
 * checksums are right to any database: one that was put back from a backup beside the WAL of
 * another day would give a store that never was, with nothing to show for it. So the database has
 * a mark in its header, another one with each checkpoint, and the WAL says on which it was begun
 * and which it leads to. For store.c alone; guards against accidents, not against who can write
 * marks.
 */
struct store_pair {
    uint32_t base;   /* the mark of the database when its WAL was begun */
    uint32_t next;   /* the mark that the checkpoint under way gives it; 0: none is under way */
    bool is_written; /* the WAL says so */
};

/* The table, for the schema. */
#define STORE_PAIR_TABLE                                                                           \
    "CREATE TABLE pair ("                                                                          \
    "  id INTEGER PRIMARY KEY CHECK (id = 1),"                                                     \
    "  base INTEGER NOT NULL, next INTEGER NOT NULL) STRICT;"                                      \
    "INSERT INTO pair (id, base, next) VALUES (1, 0, 0);"

/*
 * The mark in the database's file as it is, without its WAL; 0: it has none yet. fd is borrowed and
 * must be closed before SQLite opens the file: POSIX locks end with any descriptor.
 */
MUST_CHECK enum escrow_err store_pair_mark(int fd, uint32_t *ret_mark);
/* Whether the database with this mark and its WAL, as SQLite reads both, do not belong together;
 * *ret_pair is what the WAL says. */
MUST_CHECK enum escrow_err store_pair_check(sqlite3 *database, uint32_t mark,
                                            struct store_pair *ret_pair, bool *ret_is_mixed);
/* In a transaction: has the WAL say what it was begun on, unless it does. is_written is the
 * caller's to set, after the commit. */
MUST_CHECK enum escrow_err store_pair_write(sqlite3 *database, const struct store_pair *pair);
/*
 * Everything of the WAL goes into the database, which gets another mark; the WAL is empty then.
 * After a failure both belong together still.
 */
MUST_CHECK enum escrow_err store_pair_checkpoint(sqlite3 *database, struct store_pair *pair);
