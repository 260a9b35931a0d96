/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"
#include "libescrow/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * SQL Server through the ODBC API (FreeTDS' tdsodbc unless ODBC_DRIVER names another): connect with
 * verified TLS, one plain SQLBatch at a time, rows as text, SQL Server's own error numbers. The
 * only module that includes sql.h of ODBC. The environment and configuration files of the machine
 * never reach the driver (platform-facts 5), and the send guard (sql_guard.c) lets nothing but TDS
 * PRELOGIN packets and TLS records out on a driver's socket. One process uses it for one instance.
 */

struct sql_instance {
    const char *name;    /* of the policy or the agent's configuration, for messages */
    const char *address; /* IP address or host name; never a listener */
    uint16_t port;
    const char *tls_name;      /* the name that the instance's certificate must have */
    const char *ca_file;       /* PEM; an installed self-signed certificate may be its own CA */
    const char *login;         /* SQL login; NULL: Kerberos by keytab */
    const char *password_file; /* first line, no newline; NULL with Kerberos */
    const char *keytab;        /* NULL with a SQL login */
    unsigned login_timeout_s;  /* whole seconds, 1 ..= 30 */
    unsigned query_timeout_s;
};

/* SQL Server's first error of a batch or login. */
struct sql_error {
    int32_t number;   /* 15581, 18456, ...; 0 if the driver or the network failed */
    char sqlstate[6]; /* of ODBC */
    char text[1024];  /* SQL Server's text, without the driver's prefixes */
};

struct sql_connection;

/*
 * Once in the process, before anything else of it: clears what FreeTDS and ODBC read from the
 * environment, writes their configuration for this instance into a new private folder (mode 0700,
 * below runtime_folder), points both at it, and switches tracing off. The folder is removed by
 * sql_environment_free.
 */
MUST_CHECK enum escrow_err sql_environment_new(const struct sql_instance *instance,
                                               const char *runtime_folder);
void sql_environment_free(void);

/*
 * Connects to master with verified TLS. On failure *ret_error holds number and text; a failure
 * without a number is then diagnosed by sql_diagnose.
 * ESCROW_ERR_UNAVAILABLE (network, TLS), ESCROW_ERR_DENIED (login refused), ESCROW_ERR_TIMEOUT.
 */
MUST_CHECK enum escrow_err sql_connect(const struct sql_instance *instance,
                                       struct sql_connection **ret_connection,
                                       struct sql_error *ret_error);
void sql_close(struct sql_connection *connection);
CLEANUP_FUNCTION(sql_close_p, struct sql_connection, sql_close)

/* A row's columns as UTF-8 texts, NULL for NULL; valid until the callback returns. false stops. */
typedef bool (*sql_row_fn)(size_t columns, const char *const *values, void *argument);

/*
 * Sends one SQLBatch and hands each row of its first result to on_row (may be NULL). Drains all
 * results; ESCROW_ERR_SQL with *ret_error for the first error of the server, ESCROW_ERR_UNAVAILABLE
 * if the connection broke (close it then), ESCROW_ERR_TIMEOUT.
 */
MUST_CHECK enum escrow_err sql_batch(struct sql_connection *connection, const char *text,
                                     sql_row_fn on_row, void *argument,
                                     struct sql_error *ret_error);
/* The same for a text that holds a secret (UTF-8, no NUL needed); no rows. */
MUST_CHECK enum escrow_err sql_batch_secret(struct sql_connection *connection,
                                            const struct secret *text, struct sql_error *ret_error);

/* Why a connection failed, by a handshake of our own (sql_diagnose.c). */
enum sql_diagnosis {
    SQL_DIAGNOSIS_OK,                   /* TLS is right: look at the login */
    SQL_DIAGNOSIS_REFUSED,              /* connection refused */
    SQL_DIAGNOSIS_UNREACHABLE,          /* no answer in time, no route, name unknown */
    SQL_DIAGNOSIS_NOT_SQL_SERVER,       /* something else answers there */
    SQL_DIAGNOSIS_ENCRYPTION_OFF,       /* the server offers no encryption, or only for the login */
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
