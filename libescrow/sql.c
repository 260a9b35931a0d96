/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/sql.h"

#include "libescrow/cleanup.h"
#include "libescrow/log.h"
#include "libescrow/sql_environment.h"
#include "libescrow/sql_guard.h"
#include "libescrow/sql_kerberos.h"
#include "libescrow/sql_socket.h"
#include "libescrow/sql_text.h"

#include <sql.h>
#include <sqlext.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* FreeTDS numbers its own failures like DB-Library; what SQL Server sends is outside of this. */
#define DRIVER_ERROR_FIRST 20000
#define DRIVER_ERROR_LAST 20999
#define DRIVER_ERROR_TIMEOUT 20003

#define DIAGNOSTIC_RECORDS_MAX 8
#define VERSION_UNITS 32
#define VERSION_LEAST 14 /* SQL Server 2017 */

struct sql_connection {
    SQLHENV environment;
    SQLHDBC handle;
    bool is_open;
    SQLWCHAR units[SQL_VALUE_UNITS_MAX + 1];
    char texts[SQL_COLUMNS_MAX][3 * SQL_VALUE_UNITS_MAX + 1];
};

struct statement {
    SQLHSTMT handle;
};

static void statement_deinit(struct statement *statement)
{
    if (statement->handle)
        SQLFreeHandle(SQL_HANDLE_STMT, statement->handle);
}

/* The driver's texts begin with [vendor][component] groups. */
static const char *skip_prefixes(const char *text)
{
    while (*text == '[') {
        const char *end = strchr(text, ']');

        if (!end)
            break;
        text = end + 1;
    }
    return text;
}

/* Reads record `number` of a handle's diagnostics; false if there is none. */
static bool read_record(SQLSMALLINT type, SQLHANDLE handle, SQLSMALLINT number,
                        struct sql_error *ret_error)
{
    struct sql_error error = {0};
    SQLWCHAR state[sizeof(error.sqlstate)] = {0}, wide[512] = {0};
    char text[3 * ARRAY_LEN(wide) + 1];
    SQLINTEGER native = 0;
    SQLSMALLINT units = 0;
    SQLRETURN rc = SQLGetDiagRecW(type, handle, number, state, &native, wide,
                                  (SQLSMALLINT)ARRAY_LEN(wide), &units);

    if (!SQL_SUCCEEDED(rc))
        return false;
    if (units < 0 || (size_t)units >= ARRAY_LEN(wide))
        units = (SQLSMALLINT)(ARRAY_LEN(wide) - 1);
    if (sql_text_to_utf8(wide, (size_t)units, text, sizeof(text)) != ESCROW_OK)
        snprintf(text, sizeof(text), "(the text is not readable)");
    for (size_t i = 0; i + 1 < sizeof(error.sqlstate); i++)
        error.sqlstate[i] = (char)(state[i] & 0x7f);
    error.number = native;
    snprintf(error.text, sizeof(error.text), "%.*s", (int)sizeof(error.text) - 1,
             skip_prefixes(text));
    sql_text_trim(error.text);
    *ret_error = error;
    return true;
}

static bool is_driver_error(const struct sql_error *error)
{
    return error->number <= 0 ||
           (error->number >= DRIVER_ERROR_FIRST && error->number <= DRIVER_ERROR_LAST);
}

static bool is_timeout(const struct sql_error *error)
{
    return error->number == DRIVER_ERROR_TIMEOUT || strncmp(error->sqlstate, "HYT", 3) == 0;
}

/*
 * The first error of SQL Server among the diagnostics (the driver puts the gravest first), else the
 * first of the driver, which is logged and has its number cleared.
 */
static enum escrow_err take_error(SQLSMALLINT type, SQLHANDLE handle, struct sql_error *ret_error)
{
    struct sql_error first = {.text = "the driver gave no reason"};
    bool is_late = false;

    for (SQLSMALLINT i = 1; i <= DIAGNOSTIC_RECORDS_MAX; i++) {
        struct sql_error error;

        if (!read_record(type, handle, i, &error))
            break;
        /* 01xxx are warnings, such as the change of the database (5701). */
        if (strncmp(error.sqlstate, "01", 2) == 0)
            continue;
        if (!is_driver_error(&error)) {
            *ret_error = error;
            return ESCROW_ERR_SQL;
        }
        is_late = is_late || is_timeout(&error);
        if (!first.sqlstate[0])
            first = error;
    }
    if (sql_guard_seen().has_refused)
        snprintf(first.text, sizeof(first.text),
                 "the driver would have sent clear text, which was held back: the server (or "
                 "somebody between) switched encryption off");
    log_debug("sql: driver error %d, %s: %s", first.number, first.sqlstate, first.text);
    first.number = 0;
    *ret_error = first;
    return is_late ? ESCROW_ERR_TIMEOUT : ESCROW_ERR_UNAVAILABLE;
}

/* 18456 login failed, 18452 untrusted domain, 18470 disabled, 18486 locked, 18487/18488 password
 * expired or to be changed. The others of the family are states of the server that pass. */
static bool is_login_refusal(int32_t number)
{
    static const int32_t numbers[] = {18456, 18452, 18470, 18486, 18487, 18488};

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (number == numbers[i])
            return true;
    return false;
}

static bool set_number(SQLHDBC handle, SQLINTEGER attribute, uintptr_t value)
{
    SQLPOINTER pointer;

    /* ODBC passes integers as pointers. */
    memcpy(&pointer, &value, sizeof(pointer));
    return SQL_SUCCEEDED(SQLSetConnectAttr(handle, attribute, pointer, SQL_IS_UINTEGER));
}

static enum escrow_err allocate(const struct sql_instance *instance,
                                struct sql_connection **ret_connection)
{
    const unsigned query_timeout_s =
        instance->has_read_intent ? SQL_READ_TIMEOUT_S : instance->query_timeout_s;
    CLEANUP(sql_close_p) struct sql_connection *connection = calloc(1, sizeof(*connection));

    if (!connection)
        return ESCROW_ERR_NO_MEMORY;
    if (!SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_ENV, SQL_NULL_HANDLE, &connection->environment)) ||
        !SQL_SUCCEEDED(SQLSetEnvAttr(connection->environment, SQL_ATTR_ODBC_VERSION,
                                     (SQLPOINTER)SQL_OV_ODBC3, 0)) ||
        !SQL_SUCCEEDED(
            SQLAllocHandle(SQL_HANDLE_DBC, connection->environment, &connection->handle)) ||
        !set_number(connection->handle, SQL_ATTR_TRACE, SQL_OPT_TRACE_OFF) ||
        !set_number(connection->handle, SQL_ATTR_LOGIN_TIMEOUT, instance->login_timeout_s) ||
        !set_number(connection->handle, SQL_ATTR_CONNECTION_TIMEOUT, query_timeout_s))
        return ESCROW_ERR_NO_MEMORY;
    *ret_connection = TAKE(connection);
    return ESCROW_OK;
}

/* By the data source's name, so that no connection string has to quote or hold a password. */
static enum escrow_err call_driver(const struct sql_instance *instance,
                                   const struct sql_connection *connection, bool *ret_is_open)
{
    CLEANUP(secret_free_p) struct secret *source = NULL, *login = NULL;
    const struct secret *password = sql_environment_password();
    const char *name =
        instance->has_read_intent ? SQL_ENVIRONMENT_READ_SOURCE : SQL_ENVIRONMENT_SOURCE;
    enum escrow_err err;

    err = sql_text_to_utf16(name, strlen(name), &source);
    if (!err && instance->login)
        err = sql_text_to_utf16(instance->login, strlen(instance->login), &login);
    if (!err && instance->login && !password)
        err = ESCROW_ERR_CONFIG;
    if (err)
        return err;
    /* ODBC takes what it only reads as not const. */
    *ret_is_open = SQL_SUCCEEDED(SQLConnectW(
        connection->handle, (SQLWCHAR *)source->bytes, (SQLSMALLINT)(source->len / 2),
        login ? (SQLWCHAR *)login->bytes : NULL, (SQLSMALLINT)(login ? login->len / 2 : 0),
        password ? (SQLWCHAR *)(uintptr_t)password->bytes : NULL,
        (SQLSMALLINT)(password ? password->len / 2 : 0)));
    return ESCROW_OK;
}

static enum escrow_err log_in(const struct sql_instance *instance,
                              struct sql_connection *connection, struct sql_error *ret_error)
{
    enum escrow_err err = call_driver(instance, connection, &connection->is_open);

    if (err)
        snprintf(ret_error->text, sizeof(ret_error->text), "the login cannot be used");
    if (err || connection->is_open)
        return err;
    err = take_error(SQL_HANDLE_DBC, connection->handle, ret_error);
    if (err == ESCROW_ERR_SQL && is_login_refusal(ret_error->number))
        return ESCROW_ERR_DENIED;
    return err;
}

/*
 * Finds the address that answers, so that a dead instance is known at once: the driver would try a
 * name with several addresses again and again until its time-out.
 */
static enum escrow_err find_address(const struct sql_instance *instance,
                                    struct sql_error *ret_error)
{
    int64_t deadline_ms = sql_socket_now_ms() + (int64_t)instance->login_timeout_s * 1000;
    struct sql_socket_dialled dialled;
    int error = 0;
    enum escrow_err err =
        sql_socket_dial(instance->address, instance->port, deadline_ms, &dialled, &error);

    if (!err) {
        cleanup_close(&dialled.fd);
        return sql_guard_map(instance->tls_name, dialled.numeric);
    }
    snprintf(ret_error->text, sizeof(ret_error->text), "%s port %u: %s", instance->address,
             instance->port, error ? strerror(error) : "the name has no address");
    return err == ESCROW_ERR_TIMEOUT ? err : ESCROW_ERR_UNAVAILABLE;
}

/*
 * cluster_type and sequence_number of sys.availability_groups came with SQL Server 2017: an older
 * one would answer with 207 to a question here and there. The driver knows the version from the
 * login.
 */
static enum escrow_err check_version(const struct sql_connection *connection,
                                     struct sql_error *ret_error)
{
    SQLWCHAR wide[VERSION_UNITS] = {0};
    SQLSMALLINT bytes = 0;
    char text[3 * ARRAY_LEN(wide) + 1] = "";
    unsigned long major, minor = 0, build = 0;
    char *at = text;

    /* As "13.00.5026". */
    if (SQL_SUCCEEDED(SQLGetInfoW(connection->handle, SQL_DBMS_VER, wide, sizeof(wide), &bytes)) &&
        bytes > 0 && (size_t)bytes < sizeof(wide) &&
        sql_text_to_utf8(wide, (size_t)bytes / sizeof(SQLWCHAR), text, sizeof(text)) != ESCROW_OK)
        text[0] = '\0';
    major = strtoul(at, &at, 10);
    if (*at == '.')
        minor = strtoul(at + 1, &at, 10);
    if (*at == '.')
        build = strtoul(at + 1, &at, 10);
    if (major >= VERSION_LEAST)
        return ESCROW_OK;
    snprintf(ret_error->text, sizeof(ret_error->text),
             "its version is %lu.%lu.%lu, and SQL Server 2017 (14.0) or later is needed", major,
             minor, build);
    return ESCROW_ERR_SQL;
}

enum escrow_err sql_connect(const struct sql_instance *instance,
                            struct sql_connection **ret_connection, struct sql_error *ret_error)
{
    CLEANUP(sql_close_p) struct sql_connection *connection = NULL;
    enum escrow_err err;

    *ret_error = (struct sql_error){0};
    sql_guard_watch();
    err = find_address(instance, ret_error);
    if (!err && instance->keytab)
        err = sql_kerberos_get_ticket(instance, ret_error);
    if (!err)
        err = allocate(instance, &connection);
    if (!err)
        err = log_in(instance, connection, ret_error);
    if (!err)
        err = check_version(connection, ret_error);
    if (err)
        return err;
    /* A driver that sends otherwise would not be guarded. */
    if (!sql_guard_seen().has_passed) {
        log_error("sql: the driver %s does not send through the guard", ESCROW_ODBC_DRIVER);
        snprintf(ret_error->text, sizeof(ret_error->text), "the driver is not guarded");
        return ESCROW_ERR_SYSTEM;
    }
    *ret_connection = TAKE(connection);
    return ESCROW_OK;
}

enum escrow_err sql_rehearse(const struct sql_instance *instance)
{
    CLEANUP(sql_close_p) struct sql_connection *connection = NULL;
    enum escrow_err err = sql_guard_map(instance->tls_name, "");
    bool is_open;

    if (!err)
        err = allocate(instance, &connection);
    /* Fails for want of an address, as it is to. */
    return err ? err : call_driver(instance, connection, &is_open);
}

void sql_close(struct sql_connection *connection)
{
    if (!connection)
        return;
    if (connection->is_open)
        SQLDisconnect(connection->handle);
    if (connection->handle)
        SQLFreeHandle(SQL_HANDLE_DBC, connection->handle);
    if (connection->environment)
        SQLFreeHandle(SQL_HANDLE_ENV, connection->environment);
    free(connection);
}

/* One column of the current row; *ret_text is NULL for NULL. */
static enum escrow_err read_column(struct sql_connection *connection, SQLHSTMT statement,
                                   SQLUSMALLINT column, const char **ret_text)
{
    char *text = connection->texts[column - 1];
    SQLLEN len = 0;
    SQLRETURN rc = SQLGetData(statement, column, SQL_C_WCHAR, connection->units,
                              sizeof(connection->units), &len);
    enum escrow_err err;

    if (!SQL_SUCCEEDED(rc))
        return ESCROW_ERR_SQL;
    if (len == SQL_NULL_DATA) {
        *ret_text = NULL;
        return ESCROW_OK;
    }
    /* A longer value is cut and reported with its whole length, or as of unknown length. */
    if (len < 0 || (size_t)len >= sizeof(connection->units))
        return ESCROW_ERR_MALFORMED;
    err = sql_text_to_utf8(connection->units, (size_t)len / sizeof(SQLWCHAR), text,
                           sizeof(connection->texts[0]));
    if (!err)
        *ret_text = text;
    return err;
}

/* The rows of the current result. ESCROW_ERR_SQL: the error is in the statement's diagnostics. */
static enum escrow_err read_rows(struct sql_connection *connection, SQLHSTMT statement,
                                 sql_row_fn on_row, void *argument)
{
    const char *values[SQL_COLUMNS_MAX] = {NULL};
    SQLSMALLINT columns = 0;

    if (!SQL_SUCCEEDED(SQLNumResultCols(statement, &columns)))
        return ESCROW_ERR_SQL;
    if (columns == 0 || !on_row)
        return ESCROW_OK;
    if (columns > SQL_COLUMNS_MAX)
        return ESCROW_ERR_MALFORMED;
    for (;;) {
        SQLRETURN rc = SQLFetch(statement);

        if (rc == SQL_NO_DATA)
            return ESCROW_OK;
        if (!SQL_SUCCEEDED(rc))
            return ESCROW_ERR_SQL;
        for (SQLUSMALLINT i = 1; i <= columns; i++) {
            enum escrow_err err = read_column(connection, statement, i, &values[i - 1]);

            if (err)
                return err;
        }
        if (!on_row((size_t)columns, values, argument))
            return ESCROW_OK;
    }
}

/* Whether FreeTDS has given the connection up. */
static bool is_dead(const struct sql_connection *connection)
{
    SQLUINTEGER dead = SQL_CD_FALSE;

    return !SQL_SUCCEEDED(SQLGetConnectAttr(connection->handle, SQL_ATTR_CONNECTION_DEAD, &dead,
                                            sizeof(dead), NULL)) ||
           dead != SQL_CD_FALSE;
}

static enum escrow_err run(struct sql_connection *connection, struct secret *utf16,
                           sql_row_fn on_row, void *argument, struct sql_error *ret_error)
{
    CLEANUP(statement_deinit) struct statement statement = {NULL};
    enum escrow_err err;
    SQLRETURN rc;

    *ret_error = (struct sql_error){0};
    sql_guard_watch();
    if (!SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_STMT, connection->handle, &statement.handle)))
        return is_dead(connection) ? ESCROW_ERR_UNAVAILABLE : ESCROW_ERR_NO_MEMORY;
    /* NOSCAN: no ODBC escapes, so the text is sent as it is. */
    if (!SQL_SUCCEEDED(
            SQLSetStmtAttr(statement.handle, SQL_ATTR_NOSCAN, (SQLPOINTER)SQL_NOSCAN_ON, 0)))
        return ESCROW_ERR_UNAVAILABLE;
    rc = SQLExecDirectW(statement.handle, (SQLWCHAR *)utf16->bytes,
                        (SQLINTEGER)(utf16->len / sizeof(SQLWCHAR)));
    while (SQL_SUCCEEDED(rc)) {
        err = read_rows(connection, statement.handle, on_row, argument);
        if (err == ESCROW_ERR_MALFORMED) {
            snprintf(ret_error->text, sizeof(ret_error->text), "a column is too long or not text");
            return err;
        }
        if (err)
            break;
        on_row = NULL;
        rc = SQLMoreResults(statement.handle);
    }
    if (rc == SQL_NO_DATA)
        return ESCROW_OK;
    err = take_error(SQL_HANDLE_STMT, statement.handle, ret_error);
    /* Some errors end the session: a demotion kills those inside the database. */
    if (err == ESCROW_ERR_SQL && is_dead(connection))
        return ESCROW_ERR_UNAVAILABLE;
    return err;
}

enum escrow_err sql_batch(struct sql_connection *connection, const char *text, sql_row_fn on_row,
                          void *argument, struct sql_error *ret_error)
{
    CLEANUP(secret_free_p) struct secret *utf16 = NULL;
    enum escrow_err err = sql_text_to_utf16(text, strlen(text), &utf16);

    if (err) {
        *ret_error = (struct sql_error){.text = "the statement is not UTF-8"};
        return err;
    }
    return run(connection, utf16, on_row, argument, ret_error);
}

enum escrow_err sql_batch_secret(struct sql_connection *connection, const struct secret *text,
                                 struct sql_error *ret_error)
{
    CLEANUP(secret_free_p) struct secret *utf16 = NULL;
    enum escrow_err err = sql_text_to_utf16(text->bytes, text->len, &utf16);

    *ret_error = (struct sql_error){0};
    if (err)
        return err;
    err = run(connection, utf16, NULL, NULL, ret_error);
    secret_wipe(ret_error->text, sizeof(ret_error->text));
    return err;
}
