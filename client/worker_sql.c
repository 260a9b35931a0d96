/* SPDX-License-Identifier: Apache-2.0 */
#include "client/worker_sql.h"

#include "libescrow/cleanup.h"
#include "libescrow/log.h"
#include "libescrow/payload.h"
#include "libescrow/wrap.h"

#include <stdlib.h>

#define SQL_WRONG_PASSWORD 15313

/* Notes a failed login or connection, in the words of whoever refused. */
static enum escrow_err fail_to_connect(struct worker_sql *sql, enum escrow_err err,
                                       const struct sql_error *error)
{
    enum worker_outcome outcome = WORKER_SQL_UNREACHABLE;

    if (err == ESCROW_ERR_DENIED)
        outcome = WORKER_LOGIN_REFUSED;
    else if (err == ESCROW_ERR_SQL)
        outcome = WORKER_SQL_FAILED;
    else if (err == ESCROW_ERR_CONFIG || err == ESCROW_ERR_NO_MEMORY)
        outcome = WORKER_LOCAL;
    worker_run_fail(sql->run, outcome, "connecting to SQL Server: %s: %s", escrow_err_name(err),
                    error->text);
    sql->run->result.sql_error = error->number;
    return err;
}

/* Notes a failed statement; what names it for the operator, and never quotes it. */
static enum escrow_err fail_statement(struct worker_sql *sql, enum escrow_err err, const char *what,
                                      const struct sql_error *error)
{
    worker_run_fail(sql->run, err == ESCROW_ERR_SQL ? WORKER_SQL_FAILED : WORKER_SQL_UNREACHABLE,
                    "%s: %s: %s", what, escrow_err_name(err), error->text);
    sql->run->result.sql_error = error->number;
    return err;
}

/* Sends one statement of tsql.h, which is taken; NULL: there was no memory for it. */
static enum escrow_err send_statement(struct worker_sql *sql, const char *what, char *statement)
{
    CLEANUP(cleanup_free) char *text = statement;
    struct sql_error error = {0};
    enum escrow_err err;

    if (!text)
        return ESCROW_ERR_NO_MEMORY;
    err = sql_batch(sql->connection, text, NULL, NULL, &error);
    return err ? fail_statement(sql, err, what, &error) : ESCROW_OK;
}

static enum escrow_err make_connection(struct worker_sql *sql)
{
    struct sql_error error = {0};
    enum escrow_err err;

    worker_run_begin(sql->run, WORKER_PART_CONNECT);
    err = sql_connect(&sql->instance, &sql->connection, &error);
    return err ? fail_to_connect(sql, err, &error) : ESCROW_OK;
}

enum escrow_err worker_sql_init(struct worker_sql *sql, struct worker_run *run)
{
    const struct agent_instance *instance = run->task->instance;
    struct probe_config probe;
    enum escrow_err err;

    *sql = (struct worker_sql){.run = run, .instance = agent_config_sql(instance)};
    probe = (struct probe_config){.instance = sql->instance,
                                  .availability_group = instance->availability_group,
                                  .database = run->task->database};
    err = make_connection(sql);
    return err ? err : probe_new(&probe, &sql->probe);
}

static enum escrow_err enter(struct worker_sql *sql)
{
    return send_statement(sql, "entering the database", tsql_use(sql->run->task->database));
}

static enum escrow_err enter_anew(struct worker_sql *sql)
{
    enum escrow_err err;

    sql_close(TAKE(sql->connection));
    err = make_connection(sql);
    return err ? err : enter(sql);
}

enum escrow_err worker_sql_enter(struct worker_sql *sql)
{
    enum escrow_err err = enter(sql);

    return err == ESCROW_ERR_UNAVAILABLE ? enter_anew(sql) : err;
}

void worker_sql_deinit(struct worker_sql *sql)
{
    if (sql->connection)
        sql_close(TAKE(sql->connection));
    if (sql->probe)
        probe_free(TAKE(sql->probe));
}

enum escrow_err worker_sql_opens(struct worker_sql *sql, bool *ret_opens)
{
    int32_t error = 0;
    /* The session of the batches ends when one of them has opened the master key. */
    enum probe_opens opens = sql->connection ? probe_opens_over(sql->connection, &error)
                                             : probe_ask_opens(sql->probe, &error);

    sql->opens_error = error;
    switch (opens) {
    case PROBE_OPENS_YES:
        *ret_opens = true;
        return ESCROW_OK;
    case PROBE_OPENS_NO:
        *ret_opens = false;
        return ESCROW_OK;
    case PROBE_OPENS_NO_CERTIFICATE:
        worker_run_fail(sql->run, WORKER_SQL_FAILED,
                        "the certificate " TSQL_PROBE_CERTIFICATE
                        " is missing: run the statements of `escrowctl sql-grants`");
        break;
    case PROBE_OPENS_UNKNOWN:
        worker_run_fail(sql->run, WORKER_SQL_UNREACHABLE,
                        "asking whether the master key opens: no answer");
        break;
    }
    sql->run->result.sql_error = error;
    return ESCROW_ERR_UNAVAILABLE;
}

enum escrow_err worker_sql_commit_echo(struct worker_sql *sql,
                                       const uint8_t nonce[static ACT_NONCE_BYTES])
{
    CLEANUP(cleanup_free) char *text = tsql_commit_echo(nonce);
    struct sql_error error = {0};
    enum escrow_err err;

    worker_run_begin(sql->run, WORKER_PART_SESSION);
    if (!text)
        return ESCROW_ERR_NO_MEMORY;
    err = sql_batch(sql->connection, text, NULL, NULL, &error);
    if (err == ESCROW_ERR_UNAVAILABLE) {
        /* The session has ended under it, and without an echo admins would be asked. */
        err = enter_anew(sql);
        if (err)
            return err;
        err = sql_batch(sql->connection, text, NULL, NULL, &error);
    }
    if (!err)
        return ESCROW_OK;
    log_warning(
        "%s/%s: what escrowd looks for on a secondary (echo) was not committed: %s, SQL "
        "error %d: %s; it asks for the release all the same, and admins may have to approve",
        sql->instance.name, sql->run->task->database, escrow_err_name(err), (int)error.number,
        error.text);
    /* A commit that waits for a secondary holds this session: the next statements need another. */
    return err == ESCROW_ERR_SQL ? ESCROW_OK : enter_anew(sql);
}

enum escrow_err worker_sql_set_context(struct worker_sql *sql,
                                       const uint8_t nonce[static ACT_NONCE_BYTES])
{
    _Static_assert(ACT_NONCE_BYTES == TSQL_NONCE_BYTES, "the nonce of an act fits the session");
    worker_run_begin(sql->run, WORKER_PART_SESSION);
    return send_statement(sql, "SET CONTEXT_INFO", tsql_set_context(nonce));
}

/* The password in a granted object: TPM blob, then AES-256-GCM. */
static enum escrow_err unwrap(struct worker_sql *sql, const struct answer *grant,
                              const struct answer_object *object, EVP_PKEY *recipient,
                              struct secret **ret_password)
{
    const struct payload_binding binding = {.group = grant->subject.group,
                                            .database = grant->subject.database,
                                            .version = object->version,
                                            .object = object->name};
    CLEANUP(secret_free_p) struct secret *data_key = NULL;
    struct wrap_object sealed;
    enum escrow_err err;

    worker_run_begin(sql->run, WORKER_PART_UNWRAP);
    err = wrap_object_parse(object->public_area, object->public_len, &sealed);
    if (!err)
        err = wrap_open(&sealed, &object->blob, recipient, &data_key);
    if (!err)
        err = payload_open(&binding, data_key, object->payload, ret_password);
    if (err)
        worker_run_fail(sql->run, WORKER_DISTRUSTED, "version %u as granted does not open: %s",
                        object->version, escrow_err_name(err));
    return err;
}

/* OPEN MASTER KEY; the password is gone when this returns, whatever happened. */
static enum escrow_err open_master_key(struct worker_sql *sql, struct secret *taken_password)
{
    CLEANUP(secret_free_p) struct secret *password = taken_password;
    CLEANUP(secret_free_p) struct secret *text = tsql_open_master_key(password);
    struct sql_error error = {0};
    enum escrow_err err;

    worker_run_begin(sql->run, WORKER_PART_OPEN);
    if (!text) {
        worker_run_fail(sql->run, WORKER_LOCAL,
                        "OPEN MASTER KEY: no T-SQL literal can hold this "
                        "password, or there is no memory");
        return ESCROW_ERR_MALFORMED;
    }
    err = sql_batch_secret(sql->connection, text, &error);
    return err ? fail_statement(sql, err, "OPEN MASTER KEY", &error) : ESCROW_OK;
}

static enum escrow_err add_and_close(struct worker_sql *sql)
{
    enum escrow_err err, close_err;
    struct worker_result failure;

    worker_run_begin(sql->run, WORKER_PART_ADD);
    err = send_statement(sql, "ALTER MASTER KEY ADD ENCRYPTION BY SERVICE MASTER KEY",
                         tsql_add_service_master_key());
    failure = sql->run->result;
    close_err = send_statement(sql, "CLOSE MASTER KEY", tsql_close_master_key());
    /* The session ends right after this, and the key is closed with it. */
    if (close_err)
        log_warning("%s/%s: %s (SQL error %d); nothing is tried again: the session ends next, and "
                    "the key is closed with it",
                    sql->instance.name, sql->run->task->database, sql->run->result.text,
                    (int)sql->run->result.sql_error);
    if (err)
        sql->run->result = failure;
    return err;
}

enum escrow_err worker_sql_open(struct worker_sql *sql, const struct answer *grant,
                                EVP_PKEY *recipient, size_t *ret_index)
{
    enum escrow_err err;

    for (size_t i = 0; i < grant->object_count; i++) {
        struct secret *password = NULL;

        err = unwrap(sql, grant, &grant->objects[i], recipient, &password);
        if (!err)
            err = open_master_key(sql, password);
        if (!err)
            err = add_and_close(sql);
        if (!err) {
            /* With the session goes whatever is still open in it. */
            sql_close(TAKE(sql->connection));
            *ret_index = i;
            return ESCROW_OK;
        }
        if (err != ESCROW_ERR_SQL || sql->run->result.sql_error != SQL_WRONG_PASSWORD)
            return err;
        log_error("%s/%s: the database does not accept the password of version %u (SQL error "
                  "%d)",
                  sql->instance.name, sql->run->task->database, grant->objects[i].version,
                  SQL_WRONG_PASSWORD);
    }
    worker_run_fail(sql->run, WORKER_WRONG_PASSWORD,
                    "no escrowed password opens the master key: deposit the right one (escrowctl "
                    "deposit)");
    sql->run->result.sql_error = SQL_WRONG_PASSWORD;
    return ESCROW_ERR_NOT_FOUND;
}

void worker_sql_catalog_startup(struct worker_sql *sql)
{
    CLEANUP(sql_close_p) struct sql_connection *connection = NULL;
    CLEANUP(cleanup_free) char *statement = tsql_catalog_startup(sql->run->task->database);
    struct sql_error error = {0};
    enum escrow_err err = ESCROW_ERR_NO_MEMORY;

    if (statement)
        err = sql_connect(&sql->instance, &connection, &error);
    if (!err)
        err = sql_batch(connection, statement, NULL, NULL, &error);
    if (err)
        log_error("%s/%s: catalog.startup failed (%s, SQL error %d): %s; run it by hand: EXEC "
                  "[%s].[catalog].[startup]",
                  sql->instance.name, sql->run->task->database, escrow_err_name(err),
                  (int)error.number, error.text, sql->run->task->database);
    else
        log_info("%s/%s: catalog.startup done", sql->instance.name, sql->run->task->database);
}
