/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/store_pair.h"

#include "libescrow/log.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* SQLite's file format: the application ID, big-endian, in the first sector of the first page. */
#define MARK_AT 68
#define MARK_MAX INT32_MAX

enum escrow_err store_pair_mark(int fd, uint32_t *ret_mark)
{
    uint32_t mark = 0;
    ssize_t len = pread(fd, &mark, sizeof(mark), MARK_AT);

    if (len < 0) {
        log_error("store: cannot read: %s", strerror(errno));
        return ESCROW_ERR_STORE;
    }
    *ret_mark = len == sizeof(mark) ? be32toh(mark) : 0;
    return ESCROW_OK;
}

static enum escrow_err fault(sqlite3 *database)
{
    log_error("store: %s", sqlite3_errmsg(database));
    return ESCROW_ERR_STORE;
}

static enum escrow_err run(sqlite3 *database, const char *sql)
{
    return sqlite3_exec(database, sql, NULL, NULL, NULL) == SQLITE_OK ? ESCROW_OK : fault(database);
}

enum escrow_err store_pair_check(sqlite3 *database, uint32_t mark, struct store_pair *ret_pair,
                                 bool *ret_is_mixed)
{
    sqlite3_stmt *statement = NULL;
    enum escrow_err err = ESCROW_ERR_STORE;

    if (sqlite3_prepare_v2(database, "SELECT base, next FROM pair", -1, &statement, NULL) ==
            SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
        *ret_pair = (struct store_pair){.base = (uint32_t)sqlite3_column_int64(statement, 0),
                                        .next = (uint32_t)sqlite3_column_int64(statement, 1),
                                        .is_written = true};
        *ret_is_mixed = mark != ret_pair->base && (ret_pair->next == 0 || mark != ret_pair->next);
        err = ESCROW_OK;
    } else {
        fault(database);
    }
    sqlite3_finalize(statement);
    return err;
}

static enum escrow_err write_row(sqlite3 *database, const struct store_pair *pair)
{
    char sql[80];

    snprintf(sql, sizeof(sql), "UPDATE pair SET base = %u, next = %u", pair->base, pair->next);
    return run(database, sql);
}

enum escrow_err store_pair_write(sqlite3 *database, const struct store_pair *pair)
{
    return pair->is_written ? ESCROW_OK : write_row(database, pair);
}

/* The last transaction of the WAL: with it the database gets its next mark. */
static enum escrow_err write_next(sqlite3 *database, const struct store_pair *pair)
{
    char sql[48];
    enum escrow_err err = run(database, "BEGIN IMMEDIATE");

    snprintf(sql, sizeof(sql), "PRAGMA application_id = %u", pair->next);
    if (!err)
        err = write_row(database, pair);
    if (!err)
        err = run(database, sql);
    if (!err)
        err = run(database, "COMMIT");
    if (err && !sqlite3_get_autocommit(database))
        (void)!run(database, "ROLLBACK"); /* else store_begin does it */
    return err;
}

enum escrow_err store_pair_checkpoint(sqlite3 *database, struct store_pair *pair)
{
    enum escrow_err err;

    /* One that failed half-way may have given the mark already. */
    while (pair->next == 0) {
        sqlite3_randomness(sizeof(pair->next), &pair->next);
        pair->next &= MARK_MAX;
    }
    err = write_next(database, pair);
    if (err)
        return err;
    pair->is_written = true;
    if (sqlite3_wal_checkpoint_v2(database, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) !=
        SQLITE_OK)
        return fault(database);
    *pair = (struct store_pair){.base = pair->next};
    return ESCROW_OK;
}
