/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"
#include "libescrow/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * SQL Server through the ODBC API and FreeTDS' driver (found at build: ESCROW_ODBC_DRIVER): connect
 * with verified TLS, one plain SQLBatch at a time, rows as text, SQL Server's own error numbers.
 * The only module that includes sql.h of ODBC. The environment and configuration files of the
 * machine never reach the driver, and the send guard (sql_guard.h) lets nothing but TDS PRELOGIN
 * packets and TLS records out of the process' TCP sockets.
 *
 * One process uses it for one instance, single-threaded, and links escrow_sql. The driver keeps
 * copies of the last batch and login in its heap: a process that sends a secret exits soon after.
 */

/* With read intent is asked what is there or is not: a batch that takes longer has hung. */
#define SQL_READ_TIMEOUT_S 1

struct sql_instance {
    const char *name;    /* of the policy or the agent's configuration, for messages */
    const char *address; /* IP address or host name; never a listener */
    uint16_t port;
    const char *tls_name;      /* the name that the instance's certificate must have */
    const char *ca_file;       /* PEM; an installed self-signed certificate may be its own CA */
    const char *login;         /* SQL login; NULL: Kerberos by keytab */
    const char *password_file; /* first line, 1 ..= 128 UTF-16 units, not for others to read */
    const char *keytab;        /* NULL with a SQL login; its first principal, SPN MSSQLSvc/ */
    const char *krb5_conf;     /* with a keytab: the configuration of libkrb5 */
    uint16_t kdc_port;         /* with a keytab: of the KDCs that it names */
    unsigned login_timeout_s;  /* 1 ..= 30 */
    unsigned query_timeout_s;  /* 1 ..= 30 */
    bool has_read_intent;      /* a login says ApplicationIntent=ReadOnly, and for its batches
                                  query_timeout_s is SQL_READ_TIMEOUT_S */
};

/* SQL Server's error of a batch or login; the gravest if it sent several. */
struct sql_error {
    int32_t number;   /* 15581, 18456, ...; 0 if the driver or the network failed */
    char sqlstate[6]; /* of ODBC */
    char text[1024];  /* SQL Server's text, without the driver's prefixes */
};

struct sql_connection;

/*
 * Once in the process, before anything else of it: arms the send guard, clears what FreeTDS,
 * unixODBC, GnuTLS and Kerberos read from the environment, and points them at configuration files
 * for this instance that exist only in this process' memory. Reads ca_file and password_file and
 * loads the driver, for the life of the environment: a sandbox may come after it (sql_sandbox.h).
 * Needs /proc. ESCROW_ERR_CONFIG (logged) if a value or a file of the instance cannot be used.
 */
MUST_CHECK enum escrow_err sql_environment_new(const struct sql_instance *instance);
void sql_environment_free(void);

/*
 * Connects to master with verified TLS. On failure *ret_error holds number and text; a failure
 * without a number is then diagnosed by sql_diagnose.
 * ESCROW_ERR_UNAVAILABLE (network, TLS), ESCROW_ERR_TIMEOUT, ESCROW_ERR_DENIED (login refused: wait
 * before the next attempt, polling must not lock an account: probe_hold.h), ESCROW_ERR_SQL (another
 * error of the server at login; also, without a number, a
 * server older than SQL Server 2017), ESCROW_ERR_CONFIG (no environment), ESCROW_ERR_SYSTEM (the
 * driver does not send through the guard), ESCROW_ERR_NO_MEMORY. The time-outs count per read of
 * the driver: keep a deadline outside and kill the process.
 */
MUST_CHECK enum escrow_err sql_connect(const struct sql_instance *instance,
                                       struct sql_connection **ret_connection,
                                       struct sql_error *ret_error);
void sql_close(struct sql_connection *connection);
CLEANUP_FUNCTION(sql_close_p, struct sql_connection, sql_close)

#define SQL_COLUMNS_MAX 16
#define SQL_VALUE_UNITS_MAX 512 /* of a column, in UTF-16 units */

/* A row's columns as UTF-8 texts, NULL for NULL; valid until the callback returns. false stops. */
typedef bool (*sql_row_fn)(size_t columns, const char *const *values, void *argument);

/*
 * Sends one SQLBatch and hands each row of its first result to on_row (may be NULL). Drains all
 * results; ESCROW_ERR_SQL with *ret_error for the error of the server,
 * ESCROW_ERR_MALFORMED if the text is not UTF-8 or a column is beyond the limits above. After
 * ESCROW_ERR_UNAVAILABLE (the connection broke) and ESCROW_ERR_TIMEOUT close the connection.
 */
MUST_CHECK enum escrow_err sql_batch(struct sql_connection *connection, const char *text,
                                     sql_row_fn on_row, void *argument,
                                     struct sql_error *ret_error);
/* The same for a text that holds a secret (UTF-8, no NUL needed); no rows, and *ret_error has no
 * text, lest the server quotes the statement. */
MUST_CHECK enum escrow_err sql_batch_secret(struct sql_connection *connection,
                                            const struct secret *text, struct sql_error *ret_error);

/* Why a connection failed, by a handshake of our own (sql_diagnose.c). */
enum sql_diagnosis {
    SQL_DIAGNOSIS_OK,                   /* TLS is right: look at the login */
    SQL_DIAGNOSIS_REFUSED,              /* connection refused */
    SQL_DIAGNOSIS_UNREACHABLE,          /* no answer in time, no route, name unknown */
    SQL_DIAGNOSIS_NOT_SQL_SERVER,       /* something else answers there */
    SQL_DIAGNOSIS_ENCRYPTION_OFF,       /* no encryption is offered, or only for the login */
    SQL_DIAGNOSIS_FALLBACK_CERTIFICATE, /* SQL Server's self-made certificate */
    SQL_DIAGNOSIS_UNKNOWN_CA,
    SQL_DIAGNOSIS_WRONG_NAME,
    SQL_DIAGNOSIS_EXPIRED, /* or not yet valid */
    SQL_DIAGNOSIS_TLS_TOO_OLD,
    SQL_DIAGNOSIS_TLS_FAILED, /* anything else */
};

/*
 * Connects, sends PRELOGIN, shakes hands within timeout_s, and writes one line for a DBA: instance,
 * what is wrong, what to do. Sends no login.
 */
enum sql_diagnosis sql_diagnose(const struct sql_instance *instance, unsigned timeout_s,
                                char *ret_text, size_t cap);

/* The stable word of a diagnosis ("fallback_certificate"). */
const char *sql_diagnosis_code(enum sql_diagnosis diagnosis);
