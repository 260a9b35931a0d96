/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/sql_environment.h"

#include "libescrow/cleanup.h"
#include "libescrow/file.h"
#include "libescrow/log.h"
#include "libescrow/sql_guard.h"
#include "libescrow/sql_kerberos.h"
#include "libescrow/sql_password.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <iconv.h>
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
#define CA_BYTES_MAX ((size_t)1024 * 1024)
#define FD_PATH_CAP 32

/*
 * The libraries read their files again for each connection, so these stay open for the life of the
 * process. Global because the environment is.
 */
static struct {
    int odbcinst, odbc, freetds, ca;
    struct secret *password;
} files = {.odbcinst = -1, .odbc = -1, .freetds = -1, .ca = -1};

/* What FreeTDS, unixODBC, GnuTLS and Kerberos read; some of it makes them write secrets to files.
 */
static enum escrow_err clear_environment(void)
{
    static const char *const prefixes[] = {"TDS",           "FREETDS", "ODBC", "GNUTLS_",
                                           "SSLKEYLOGFILE", "KRB5",    "GSS"};
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
    /* libkrb5 takes several names with colons between them. */
    if (is_kerberos &&
        (!instance->krb5_conf || strchr(instance->krb5_conf, ':') || instance->kdc_port == 0))
        return refuse(instance, "a keytab needs krb5_conf, without a colon, and kdc_port");
    /* FreeTDS would take DOMAIN\user and the password for NTLM. */
    if (!is_kerberos && (!instance->password_file || strchr(instance->login, '\\')))
        return refuse(instance, "a SQL login needs a password_file and has no backslash; Windows "
                                "logins need a keytab");
    return ESCROW_OK;
}

static const char *fd_path(int fd, char path[static FD_PATH_CAP])
{
    snprintf(path, FD_PATH_CAP, "/proc/self/fd/%d", fd);
    return path;
}

/*
 * A file in memory: nothing is left behind when the process is killed, and nobody can alter it, not
 * even this process. Points `variable`, unless NULL, at it. Its descriptor is in *fd, also after an
 * error.
 */
__attribute__((format(printf, 3, 4))) static enum escrow_err
write_file(const char *variable, int *fd, const char *format, ...)
{
    char path[FD_PATH_CAP];
    va_list arguments;
    int len;

    *fd = memfd_create("escrow-sql", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0)
        return ESCROW_ERR_SYSTEM;
    va_start(arguments, format);
    len = vdprintf(*fd, format, arguments);
    va_end(arguments);
    if (len < 0 ||
        fcntl(*fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0 ||
        (variable && setenv(variable, fd_path(*fd, path), 1) != 0))
        return ESCROW_ERR_SYSTEM;
    return ESCROW_OK;
}

static enum escrow_err copy_ca(const char *path)
{
    CLEANUP(cleanup_free) char *text = NULL;
    size_t len;
    enum escrow_err err = file_read(path, CA_BYTES_MAX, &text, &len);

    if (err == ESCROW_ERR_NOT_FOUND)
        log_error("sql: ca_file %s: there is no such file", path);
    if (err)
        return err == ESCROW_ERR_NO_MEMORY ? err : ESCROW_ERR_CONFIG;
    return write_file(NULL, &files.ca, "%s", text);
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
    return write_file("ODBCINI", &files.odbc,
                      "[" SQL_ENVIRONMENT_SOURCE "]\nDriver = %s\n"
                      "Servername = " SQL_ENVIRONMENT_SOURCE "\n"
                      "[" SQL_ENVIRONMENT_READ_SOURCE "]\nDriver = %s\n"
                      "Servername = " SQL_ENVIRONMENT_READ_SOURCE "\n",
                      ESCROW_ODBC_DRIVER, ESCROW_ODBC_DRIVER);
}

/* The driver checks the certificate against `host`; sql_guard lets that name resolve. Owned by the
 * caller, NULL without memory. */
static char *freetds_settings(const struct sql_instance *instance, unsigned query_timeout_s)
{
    char service[SQL_KERBEROS_SERVICE_CAP] = "", ca[FD_PATH_CAP], *text;

    if (instance->keytab)
        sql_kerberos_service(instance, service);
    return asprintf(&text,
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
                    "%s%s\n",
                    instance->tls_name, instance->port, fd_path(files.ca, ca),
                    instance->login_timeout_s, query_timeout_s, instance->keytab ? "spn = " : "",
                    service) < 0
               ? NULL
               : text;
}

static enum escrow_err write_freetds(const struct sql_instance *instance)
{
    CLEANUP(cleanup_free) char *settings = freetds_settings(instance, instance->query_timeout_s);
    CLEANUP(cleanup_free) char *reading = freetds_settings(instance, SQL_READ_TIMEOUT_S);

    if (!settings || !reading)
        return ESCROW_ERR_NO_MEMORY;
    return write_file("FREETDSCONF", &files.freetds,
                      "[" SQL_ENVIRONMENT_SOURCE "]\n%s"
                      "[" SQL_ENVIRONMENT_READ_SOURCE "]\n%sread-only intent = yes\n",
                      settings, reading);
}

/*
 * Code pages that a server's collation may name (and what ODBC itself uses): libc loads a converter
 * from a file at its first use, and keeps it loaded as long as one is open.
 */
static const char *const pages[] = {"UTF-16", "UCS-2LE", "ISO-8859-1", "CP437",  "CP850",
                                    "CP874",  "CP932",   "CP936",      "CP949",  "CP950",
                                    "CP1250", "CP1251",  "CP1252",     "CP1253", "CP1254",
                                    "CP1255", "CP1256",  "CP1257",     "CP1258", "GB18030"};
static iconv_t converters[ARRAY_LEN(pages)];

static void load_converters(void)
{
    for (size_t i = 0; i < ARRAY_LEN(pages); i++)
        if (!converters[i])
            converters[i] = iconv_open("UTF-8", pages[i]);
}

/* So that a sandbox can follow: nothing is loaded from a file later. */
static enum escrow_err load_driver(const struct sql_instance *instance)
{
    if (!dlopen(ESCROW_ODBC_DRIVER, RTLD_NOW | RTLD_NODELETE)) {
        log_error("sql: the driver cannot be loaded: %s", dlerror());
        return ESCROW_ERR_CONFIG;
    }
    load_converters();
    return sql_rehearse(instance);
}

static enum escrow_err make_files(const struct sql_instance *instance)
{
    enum escrow_err err = clear_environment();

    /* Where unixODBC looks for .odbcinst.ini; without HOME it would take /home. */
    if (!err && setenv("HOME", "/nonexistent", 1) != 0)
        err = ESCROW_ERR_SYSTEM;
    if (!err)
        err = copy_ca(instance->ca_file);
    if (!err)
        err = write_odbc();
    if (!err)
        err = write_freetds(instance);
    if (!err)
        err = instance->login ? sql_password_read(instance->password_file, &files.password)
                              : sql_kerberos_set(instance);
    if (err == ESCROW_ERR_SYSTEM)
        log_error("sql: the configuration of the driver cannot be made: %s", strerror(errno));
    return err;
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
    err = make_files(instance);
    if (!err)
        err = load_driver(instance);
    if (err)
        sql_environment_free();
    return err;
}

void sql_environment_free(void)
{
    cleanup_close(&files.odbcinst);
    cleanup_close(&files.odbc);
    cleanup_close(&files.freetds);
    cleanup_close(&files.ca);
    secret_free(files.password);
    files.password = NULL;
}

const struct secret *sql_environment_password(void)
{
    return files.password;
}

int sql_environment_ca_fd(void)
{
    return files.ca;
}
