/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/kill_shadow.h"

#include "escrowd/ledger.h"

#include <sqlite3.h>

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char wrong[600];

/* ---- a store as text ---- */

/* Each row of the result as a line: with as many columns as it has. */
static void print_rows(FILE *out, sqlite3 *database, const char *sql)
{
    sqlite3_stmt *statement;

    if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) != SQLITE_OK)
        errx(1, "%s: %s", sql, sqlite3_errmsg(database));
    while (sqlite3_step(statement) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(statement); i++)
            fprintf(out, "%s ", (const char *)sqlite3_column_text(statement, i));
        fputc('\n', out);
    }
    sqlite3_finalize(statement);
}

static char *rows_text(sqlite3 *database, const char *sql)
{
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        err(1, "shadow");
    print_rows(out, database, sql);
    fclose(out);
    return text;
}

/* For each table a query of all its columns; private areas are the TPM's, marks are drawn. */
#define QUERIES                                                                                    \
    "SELECT 'SELECT ''' || t.name || ''', ' || (SELECT group_concat('quote(' || c.name || ')')"    \
    " FROM pragma_table_info(t.name) AS c WHERE c.name <> 'private') || ' FROM ' || t.name ||"     \
    " ' ORDER BY ' || (SELECT group_concat(c.name) FROM pragma_table_info(t.name) AS c"            \
    " WHERE c.name <> 'private')"                                                                  \
    " FROM sqlite_schema AS t WHERE t.type = 'table' AND t.name <> 'pair' ORDER BY t.name"

static char *store_text(const char *path)
{
    char *queries, *next, *query, *text;
    sqlite3 *database;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (!out || sqlite3_open_v2(path, &database, SQLITE_OPEN_READWRITE, "unix") != SQLITE_OK)
        errx(1, "%s cannot be opened", path);
    queries = rows_text(database, QUERIES);
    next = queries;
    while ((query = strsep(&next, "\n")) != NULL) {
        if (query[0])
            print_rows(out, database, query);
    }
    free(queries);
    sqlite3_close(database);
    fclose(out);
    return text;
}

/* ---- the second store ---- */

static enum escrow_err follow(const char *audit_folder, EVP_PKEY *authority, const char *path)
{
    CLEANUP(store_close_p) struct store *store = NULL;
    CLEANUP(ledger_close_p) struct ledger *ledger = NULL;
    struct audit_reading reading;
    enum escrow_err err = store_open(path, &store);

    if (!err)
        err = ledger_open(store, authority, &ledger);
    return err ? err : ledger_replay(ledger, audit_folder, &reading);
}

void shadow_forget(const char *path)
{
    unlink(path);
}

const char *shadow_judge(const char *audit_folder, EVP_PKEY *authority, const char *store_path,
                         const char *path)
{
    CLEANUP(cleanup_free) char *ours = NULL, *theirs = NULL;
    char *our_lines, *their_lines, *our_line, *their_line;

    if (follow(audit_folder, authority, path))
        return "it cannot be folded from the beginning";
    ours = store_text(path);
    theirs = store_text(store_path);
    our_lines = ours;
    their_lines = theirs;
    do {
        our_line = strsep(&our_lines, "\n");
        their_line = strsep(&their_lines, "\n");
    } while (our_line && their_line && strcmp(our_line, their_line) == 0);
    if (!our_line && !their_line)
        return NULL;
    snprintf(wrong, sizeof(wrong), "folded anew \"%.250s\", by the store \"%.250s\"",
             our_line ? our_line : "", their_line ? their_line : "");
    return wrong;
}
