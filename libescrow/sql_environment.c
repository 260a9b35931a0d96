/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "libescrow/log.h"
#include "libescrow/sql.h"
#include "libescrow/sql_guard.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* FreeTDS reads lines of 256 bytes; what is longer would be cut silently. */
#define CONF_VALUE_MAX 200
#define TIMEOUT_MAX_S 30

/*
 * The libraries read their files again for each connection, so these stay open for the life of the
 * process. Global because the environment is.
 */
static struct {
    int odbcinst, odbc, freetds;
} files = {-1, -1, -1};

/* What FreeTDS, unixODBC, GnuTLS and Kerberos read; some of it makes them write secrets to files.
 */
static enum escrow_err clear_environment(void)
{
    static const char *const prefixes[] = {"TDS",         "FREETDS",       "ODBC",
                                           "GNUTLS_",     "SSLKEYLOGFILE", "KRB5_TRACE",
                                           "KRB5_KTNAME", "KRB5CCNAME",    "KRB5_CLIENT_KTNAME"};
    char **entry = environ;

    while (entry && *entry) {
        bool is_ours = false;

        for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
            is_ours = is_ours || strncmp(*entry, prefixes[i], strlen(prefixes[i])) == 0;
        if (is_ours) {
            CLEANUP(cleanup_free) char *name = strndup(*entry, strcspn(*entry, "="));

            if (!name || unsetenv(name) != 0)
                return ESCROW_ERR_NO_MEMORY;
            entry = environ;
        } else {
            entry++;
        }
    }
    return ESCROW_OK;
}

/* FreeTDS cuts values at ; and #, squeezes blanks, and knows no quoting. */
static bool is_conf_value(const char *value)
{
    size_t len = strlen(value);

    if (len == 0 || len > CONF_VALUE_MAX || value[0] == ' ' || value[len - 1] == ' ')
        return false;
    for (const char *at = value; *at; at++)
        if (iscntrl((unsigned char)*at) || *at == ';' || *at == '#' ||
            (at[0] == ' ' && at[1] == ' '))
            return false;
    return true;
}

static enum escrow_err refuse(const struct sql_instance *instance, const char *what)
{
    log_error("sql: instance %s: %s", instance->name, what);
    return ESCROW_ERR_CONFIG;
}

static bool is_timeout(unsigned seconds)
{
    return seconds >= 1 && seconds <= TIMEOUT_MAX_S;
}

static enum escrow_err check(const struct sql_instance *instance)
{
    bool is_kerberos = !instance->login;

    if (!instance->tls_name ||
        strspn(instance->tls_name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789.-_:") != strlen(instance->tls_name) ||
        !is_conf_value(instance->tls_name))
        return refuse(instance, "tls_name is not a host name");
    if (!instance->ca_file || !is_conf_value(instance->ca_file))
        return refuse(instance, "ca_file must be a path of at most 200 bytes without ; and #: the "
                                "driver's configuration has no quoting");
    if (instance->port == 0 || !is_timeout(instance->login_timeout_s) ||
        !is_timeout(instance->query_timeout_s))
        return refuse(instance, "the port is 0, or a time-out is not 1 to 30 seconds");
    if (is_kerberos && !instance->keytab)
        return refuse(instance, "neither a login nor a keytab");
    /* FreeTDS would take DOMAIN\user and the password for NTLM. */
    if (!is_kerberos && (!instance->password_file || strchr(instance->login, '\\')))
        return refuse(instance, "a SQL login needs a password_file and has no backslash; Windows "
                                "logins need a keytab");
    return ESCROW_OK;
}

/*
 * A file in memory: nothing is left behind when the process is killed, and nobody else can alter
 * it. Points `variable`, unless NULL, at it. Its descriptor is in *fd, also after an error.
 */
__attribute__((format(printf, 3, 4))) static enum escrow_err
write_file(const char *variable, int *fd, const char *format, ...)
{
    char path[64];
    va_list arguments;
    int len;

    *fd = memfd_create("escrow-sql", MFD_CLOEXEC);
    if (*fd < 0)
        return ESCROW_ERR_SYSTEM;
    va_start(arguments, format);
    len = vdprintf(*fd, format, arguments);
    va_end(arguments);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", *fd);
    if (len < 0 || (variable && setenv(variable, path, 1) != 0))
        return ESCROW_ERR_SYSTEM;
    return ESCROW_OK;
}

/* unixODBC puts ODBCSYSINI and ODBCINSTINI together to the name of its driver list. */
static enum escrow_err write_odbc(void)
{
    char name[16];
    enum escrow_err err;

    err = write_file(NULL, &files.odbcinst, "[ODBC]\nTrace = No\nPooling = No\n");
    if (err)
        return err;
    snprintf(name, sizeof(name), "%d", files.odbcinst);
    if (setenv("ODBCSYSINI", "/proc/self/fd", 1) != 0 || setenv("ODBCINSTINI", name, 1) != 0)
        return ESCROW_ERR_SYSTEM;
    return write_file("ODBCINI", &files.odbc, "[escrowd]\nDriver = %s\nServername = escrowd\n",
                      ESCROW_ODBC_DRIVER);
}

/* The driver checks the certificate against `host`; sql_guard lets that name resolve. */
static enum escrow_err write_freetds(const struct sql_instance *instance)
{
    char spn[CONF_VALUE_MAX + 64] = "";

    if (!instance->login)
        snprintf(spn, sizeof(spn), "spn = MSSQLSvc/%s:%u\n", instance->tls_name, instance->port);
    return write_file("FREETDSCONF", &files.freetds,
                      "[escrowd]\n"
                      "host = %s\n"
                      "port = %u\n"
                      "tds version = 7.4\n"
                      "encryption = require\n"
                      "ca file = %s\n"
                      "check certificate hostname = yes\n"
                      "enable tls v1 = no\n"
                      "client charset = UTF-8\n"
                      "connect timeout = %u\n"
                      "timeout = %u\n"
                      "%s",
                      instance->tls_name, instance->port, instance->ca_file,
                      instance->login_timeout_s, instance->query_timeout_s, spn);
}

/* Tickets only in memory; the client keytab makes GSSAPI get them by itself. */
static enum escrow_err set_kerberos(const char *keytab)
{
    if (setenv("KRB5_CLIENT_KTNAME", keytab, 1) != 0 ||
        setenv("KRB5CCNAME", "MEMORY:escrow-sql", 1) != 0)
        return ESCROW_ERR_SYSTEM;
    return ESCROW_OK;
}

enum escrow_err sql_environment_new(const struct sql_instance *instance)
{
    enum escrow_err err = check(instance);

    if (err)
        return err;
    err = sql_guard_arm();
    if (err)
        return err;
    sql_environment_free();
    err = clear_environment();
    /* Where unixODBC looks for .odbcinst.ini; without HOME it would take /home. */
    if (!err && setenv("HOME", "/nonexistent", 1) != 0)
        err = ESCROW_ERR_SYSTEM;
    if (!err)
        err = write_odbc();
    if (!err)
        err = write_freetds(instance);
    if (!err && !instance->login)
        err = set_kerberos(instance->keytab);
    if (err == ESCROW_ERR_SYSTEM)
        log_error("sql: the configuration of the driver cannot be made: %s", strerror(errno));
    if (err)
        sql_environment_free();
    return err;
}

void sql_environment_free(void)
{
    cleanup_close(&files.odbcinst);
    cleanup_close(&files.odbc);
    cleanup_close(&files.freetds);
}
