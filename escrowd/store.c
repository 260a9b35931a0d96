/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/store.h"

#include "escrowd/store_database.h"
#include "escrowd/store_pair.h"
#include "escrowd/store_query.h"
#include "libescrow/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAL_SUFFIX "-wal"
/* As SQLite does it by itself; 4 MB. */
#define CHECKPOINT_FRAMES 1000

struct store {
    char *path;
    sqlite3 *database;
    struct store_statements statements;
    struct store_pair pair;
    bool has_pair; /* the schema knows it */
    bool is_mixed;
    int wal_frames; /* after the last commit */
};

/*
 * Each step brings the schema from one user_version to the next, in one transaction. A step that
 * was released is never changed: append another.
 */
static const char *const migrations[] = {
    /* 0 -> 1 */
    "CREATE TABLE folded ("
    "  id INTEGER PRIMARY KEY CHECK (id = 1),"
    "  sequence INTEGER NOT NULL, hash BLOB NOT NULL, time_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE roster ("
    "  id INTEGER PRIMARY KEY CHECK (id = 1),"
    "  version INTEGER NOT NULL, document TEXT NOT NULL) STRICT;"
    "CREATE TABLE approvals ("
    "  kind INTEGER NOT NULL, group_name TEXT NOT NULL, counter BLOB NOT NULL,"
    "  subject BLOB NOT NULL, epoch INTEGER NOT NULL, document TEXT NOT NULL,"
    "  PRIMARY KEY (kind, group_name, counter, subject)) STRICT;"
    "CREATE TABLE secrets ("
    "  id INTEGER PRIMARY KEY, group_name TEXT NOT NULL, database_name TEXT NOT NULL,"
    "  UNIQUE (group_name, database_name)) STRICT;"
    "CREATE TABLE versions ("
    "  object BLOB PRIMARY KEY, secret INTEGER NOT NULL REFERENCES secrets (id),"
    "  version INTEGER NOT NULL, state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 4),"
    "  public BLOB NOT NULL, payload BLOB NOT NULL, private BLOB,"
    "  sequence INTEGER NOT NULL, time_ms INTEGER NOT NULL,"
    "  UNIQUE (secret, version)) STRICT;"
    "CREATE UNIQUE INDEX one_active ON versions (secret) WHERE state = 2;"
    "CREATE TABLE blobs ("
    "  object BLOB NOT NULL REFERENCES versions (object), recipient BLOB NOT NULL,"
    "  inner_key BLOB NOT NULL, duplicate BLOB NOT NULL, seed BLOB NOT NULL,"
    "  PRIMARY KEY (object, recipient)) STRICT;"
    "CREATE TABLE groups ("
    "  group_name TEXT PRIMARY KEY, replica TEXT NOT NULL, epoch INTEGER NOT NULL,"
    "  origin INTEGER NOT NULL, time_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE hints ("
    "  group_name TEXT NOT NULL, database_name TEXT NOT NULL, epoch INTEGER NOT NULL,"
    "  recovery_lsn TEXT, sequence_number INTEGER,"
    "  PRIMARY KEY (group_name, database_name)) STRICT;"
    "CREATE TABLE grants ("
    "  sequence INTEGER PRIMARY KEY, group_name TEXT NOT NULL, database_name TEXT NOT NULL,"
    "  replica TEXT NOT NULL, actor TEXT NOT NULL, purpose INTEGER NOT NULL,"
    "  epoch INTEGER NOT NULL, order_id TEXT, time_ms INTEGER NOT NULL,"
    "  is_unfinished INTEGER NOT NULL DEFAULT 0, outcome INTEGER, settled_by INTEGER) STRICT;"
    "CREATE INDEX grants_by_group ON grants (group_name, time_ms);"
    "CREATE TABLE requests ("
    "  sequence INTEGER PRIMARY KEY, group_name TEXT NOT NULL, database_name TEXT NOT NULL,"
    "  replica TEXT NOT NULL, purpose INTEGER NOT NULL, epoch INTEGER NOT NULL,"
    "  reason TEXT NOT NULL, time_ms INTEGER NOT NULL, is_open INTEGER NOT NULL) STRICT;"
    "CREATE INDEX open_requests ON requests (group_name, database_name) WHERE is_open = 1;"
    "CREATE TABLE orders ("
    "  id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, purpose INTEGER NOT NULL,"
    "  group_name TEXT NOT NULL, database_name TEXT NOT NULL, expires_ms INTEGER NOT NULL,"
    "  used_by INTEGER REFERENCES grants (sequence)) STRICT;",
    /* What a release asks for must not take longer the more has been stored. */
    "CREATE INDEX versions_by_state ON versions (secret, state, version);"
    "CREATE INDEX unimported ON versions (sequence) WHERE private IS NULL AND state <> 4;"
    "CREATE INDEX grants_by_epoch ON grants"
    "  (group_name, database_name, epoch, purpose, sequence);"
    "CREATE INDEX unsettled ON grants (sequence) WHERE settled_by IS NULL;"
    "DROP INDEX grants_by_group;"
    "CREATE INDEX grants_by_group ON grants (group_name, time_ms, is_unfinished);",
    /* What was asked for before can be approved by nobody: its log does not say to which key. */
    "DROP TABLE requests;"
    "CREATE TABLE requests ("
    "  sequence INTEGER PRIMARY KEY, group_name TEXT NOT NULL, database_name TEXT NOT NULL,"
    "  replica TEXT NOT NULL, actor TEXT NOT NULL, purpose INTEGER NOT NULL,"
    "  epoch INTEGER NOT NULL, rules INTEGER NOT NULL, reason TEXT NOT NULL,"
    "  recipient BLOB NOT NULL, objects BLOB NOT NULL, act TEXT, time_ms INTEGER NOT NULL,"
    "  expires_ms INTEGER NOT NULL, is_open INTEGER NOT NULL) STRICT;"
    "CREATE INDEX open_requests ON requests (group_name, database_name) WHERE is_open = 1;"
    "CREATE TABLE request_approvals ("
    "  request INTEGER NOT NULL, identity TEXT NOT NULL, key BLOB NOT NULL,"
    "  PRIMARY KEY (request, identity)) STRICT;",
    /* receipt: the last that says that it opened, of a grant that is not settled; judged: by the
     * last record that did not settle it. */
    "ALTER TABLE grants ADD COLUMN receipt INTEGER;"
    "ALTER TABLE grants ADD COLUMN judged INTEGER;"
    "CREATE INDEX receipted ON grants (sequence) WHERE receipt IS NOT NULL;"
    "CREATE INDEX unreceipted ON grants (time_ms)"
    "  WHERE settled_by IS NULL AND judged IS NULL AND outcome IS NULL AND is_unfinished = 0;",
    STORE_PAIR_TABLE,
    "CREATE TABLE told ("
    "  id INTEGER PRIMARY KEY CHECK (id = 1), sequence INTEGER NOT NULL) STRICT;",
};
#define PAIR_VERSION 5 /* the schema with it */

static enum escrow_err run_sql(struct store *store, const char *sql)
{
    if (sqlite3_exec(store->database, sql, NULL, NULL, NULL) == SQLITE_OK)
        return ESCROW_OK;
    log_error("store: %s", sqlite3_errmsg(store->database));
    return ESCROW_ERR_STORE;
}

sqlite3 *store_database(struct store *store)
{
    return store->database;
}

struct store_statements *store_statements(struct store *store)
{
    return &store->statements;
}

enum escrow_err store_rollback(struct store *store)
{
    return sqlite3_get_autocommit(store->database) ? ESCROW_OK : run_sql(store, "ROLLBACK");
}

static enum escrow_err run_kept(struct store *store, const char *sql)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store, sql);
    return query_run(&query);
}

enum escrow_err store_begin(struct store *store)
{
    /* One that failed, for want of memory, left its transaction open. */
    enum escrow_err err = store_rollback(store);

    if (!err)
        err = run_kept(store, "BEGIN IMMEDIATE");
    return err || !store->has_pair ? err : store_pair_write(store->database, &store->pair);
}

static void checkpoint(struct store *store)
{
    if (store_pair_checkpoint(store->database, &store->pair))
        log_warning("store: what was committed stays in the WAL for now");
}

enum escrow_err store_commit(struct store *store)
{
    enum escrow_err err = run_kept(store, "COMMIT");

    if (err || !store->has_pair)
        return err;
    store->pair.is_written = true;
    if (store->wal_frames >= CHECKPOINT_FRAMES)
        checkpoint(store);
    return ESCROW_OK;
}

static enum escrow_err schema_version(struct store *store, uint64_t *ret_version)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store, "PRAGMA user_version");
    *ret_version = query_row(&query) ? query_number(&query, 0) : 0;
    return query_end(&query);
}

static enum escrow_err migrate_one(struct store *store, uint64_t from)
{
    char set_version[48];
    enum escrow_err err = store_begin(store);

    snprintf(set_version, sizeof(set_version), "PRAGMA user_version = %u", (unsigned)from + 1);
    if (!err)
        err = run_sql(store, migrations[from]);
    if (!err)
        err = run_sql(store, set_version);
    if (!err)
        err = store_commit(store);
    if (err)
        (void)!store_rollback(store); /* the store is closed next */
    return err;
}

static enum escrow_err migrate(struct store *store, uint64_t version)
{
    enum escrow_err err = ESCROW_OK;

    if (version > ARRAY_LEN(migrations)) {
        log_error("store: the schema has version %u, this program knows %zu", (unsigned)version,
                  ARRAY_LEN(migrations));
        return ESCROW_ERR_STORE;
    }
    while (!err && version < ARRAY_LEN(migrations))
        err = migrate_one(store, version++);
    return err;
}

/* SQLite would make the file with the rights of the umask. */
static enum escrow_err make_file(const char *path, uint32_t *ret_mark)
{
    CLEANUP(cleanup_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd >= 0)
        return store_pair_mark(fd, ret_mark);
    log_error("store: cannot open %s: %s", path, strerror(errno));
    return ESCROW_ERR_STORE;
}

static int on_wal(void *argument, sqlite3 *database, const char *name, int frames)
{
    struct store *store = argument;

    (void)database, (void)name;
    store->wal_frames = frames;
    return SQLITE_OK;
}

static enum escrow_err open_database(struct store *store)
{
    if (sqlite3_open_v2(store->path, &store->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW,
                        NULL) != SQLITE_OK) {
        log_error("store: cannot open %s: %s", store->path, sqlite3_errmsg(store->database));
        return ESCROW_ERR_STORE;
    }
    sqlite3_extended_result_codes(store->database, 1);
    sqlite3_db_config(store->database, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    /* Else it prepares anew whenever a value is bound that a partial index asks for. */
    sqlite3_db_config(store->database, SQLITE_DBCONFIG_ENABLE_QPSG, 1, NULL);
    /* Only with a mark of its own (store_pair.h). This hook takes the place of SQLite's. */
    sqlite3_db_config(store->database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_wal_hook(store->database, on_wal, store);
    /*
     * Exclusive before WAL: no shared-memory file, and no second keeper. NORMAL: after a power cut
     * the store may lack what came last, never hold half of it; the log, which was on disk before,
     * is read again from where the store ends.
     */
    return run_sql(store, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
                          "PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;"
                          "PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;");
}

static bool has_wal(const struct store *store)
{
    CLEANUP(cleanup_free) char *path = NULL;
    struct stat status;

    return asprintf(&path, "%s" WAL_SUFFIX, store->path) >= 0 && stat(path, &status) == 0 &&
           status.st_size > 0;
}

/* The database with its WAL, if they are of one time; a mixture is left alone. */
static enum escrow_err open_pair(struct store *store)
{
    const bool had_wal = has_wal(store);
    uint64_t version = 0;
    uint32_t mark = 0;
    enum escrow_err err = make_file(store->path, &mark);

    if (!err)
        err = open_database(store);
    if (!err)
        err = schema_version(store, &version);
    if (!err && version >= PAIR_VERSION)
        err = store_pair_check(store->database, mark, &store->pair, &store->is_mixed);
    /* Pages of two times make no sense together, if they make any at all. */
    if (err && had_wal && (sqlite3_errcode(store->database) & 0xff) == SQLITE_CORRUPT) {
        store->is_mixed = true;
        err = ESCROW_OK;
    }
    if (err || store->is_mixed)
        return err;
    if (!had_wal)
        store->pair = (struct store_pair){.base = mark};
    err = migrate(store, version);
    if (err)
        return err;
    store->has_pair = true;
    if (had_wal || version < ARRAY_LEN(migrations))
        checkpoint(store);
    return ESCROW_OK;
}

enum escrow_err store_open(const char *path, struct store **ret_store)
{
    CLEANUP(store_close_p) struct store *store = calloc(1, sizeof(*store));
    enum escrow_err err;

    if (!store)
        return ESCROW_ERR_NO_MEMORY;
    store->path = strdup(path);
    err = store->path ? open_pair(store) : ESCROW_ERR_NO_MEMORY;
    if (err)
        return err;
    *ret_store = TAKE(store);
    return ESCROW_OK;
}

static void close_database(struct store *store)
{
    for (size_t i = 0; i < store->statements.count; i++)
        sqlite3_finalize(store->statements.items[i].prepared);
    memset(&store->statements, 0, sizeof(store->statements));
    /* With nothing left in the WAL, SQLite removes it. */
    if (store->pair.is_written && !store->is_mixed)
        checkpoint(store);
    if (store->has_pair && !store->pair.is_written)
        sqlite3_db_config(store->database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    sqlite3_close(store->database);
    store->database = NULL;
}

void store_close(struct store *store)
{
    close_database(store);
    free(store->path);
    free(store);
}

bool store_is_mixed(const struct store *store)
{
    return store->is_mixed;
}

static enum escrow_err remove_file(const struct store *store, const char *suffix)
{
    CLEANUP(cleanup_free) char *path = NULL;

    if (asprintf(&path, "%s%s", store->path, suffix) < 0)
        return ESCROW_ERR_NO_MEMORY;
    if (unlink(path) == 0 || errno == ENOENT)
        return ESCROW_OK;
    log_error("store: cannot remove %s: %s", path, strerror(errno));
    return ESCROW_ERR_STORE;
}

enum escrow_err store_renew(struct store *store)
{
    enum escrow_err err;

    close_database(store);
    store->is_mixed = store->has_pair = false;
    /* The database first: SQLite takes no WAL for one that is empty. */
    err = remove_file(store, "");
    if (!err)
        err = remove_file(store, WAL_SUFFIX);
    return err ? err : open_pair(store);
}

enum escrow_err store_folded(struct store *store, struct audit_chain *ret_folded)
{
    CLEANUP(query_close) struct query query;
    struct audit_chain folded = {0};

    query_open(&query, store, "SELECT sequence, hash, time_ms FROM folded");
    if (query_row(&query)) {
        folded.sequence = query_number(&query, 0);
        query_bytes(&query, 1, folded.hash, sizeof(folded.hash));
        folded.time_ms = (int64_t)query_number(&query, 2);
    }
    *ret_folded = folded;
    return query_end(&query);
}

enum escrow_err store_set_folded(struct store *store, const struct audit_chain *folded)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store,
               "REPLACE INTO folded (id, sequence, hash, time_ms)"
               " VALUES (1, ?, ?, ?)");
    query_put_number(&query, folded->sequence);
    query_put_bytes(&query, folded->hash, sizeof(folded->hash));
    query_put_number(&query, (uint64_t)folded->time_ms);
    return query_run(&query);
}

enum escrow_err store_told(struct store *store, uint64_t *ret_sequence)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store, "SELECT sequence FROM told");
    *ret_sequence = query_row(&query) ? query_number(&query, 0) : 0;
    return query_end(&query);
}

static enum escrow_err replace_told(struct store *store, uint64_t sequence)
{
    CLEANUP(query_close) struct query query;

    query_open(&query, store, "REPLACE INTO told (id, sequence) VALUES (1, ?)");
    query_put_number(&query, sequence);
    return query_run(&query);
}

enum escrow_err store_set_told(struct store *store, uint64_t sequence)
{
    enum escrow_err err = store_begin(store);

    if (!err)
        err = replace_told(store, sequence);
    return err ? err : store_commit(store);
}
