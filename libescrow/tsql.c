/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/tsql.h"

#include "libescrow/encode.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Sources are pages of Microsoft's SQL documentation (sql-docs), named by their topic. Everything
 * needs SQL Server 2017 or later: sys.availability_groups has cluster_type and sequence_number
 * since then; an older one answers 207 (invalid column name).
 */

/*
 * A backslash before a line end continues a T-SQL string on the next line and both vanish
 * ("Backslash (line continuation)"); nothing escapes them, so such a text has no literal.
 */
static bool has_line_continuation(const char *text, size_t len)
{
    for (size_t i = 0; i + 1 < len; i++)
        if (text[i] == '\\' && (text[i + 1] == '\n' || text[i + 1] == '\r'))
            return true;
    return false;
}

/* Doubles each `twice`; out has room for 2 * len. Returns the bytes written. */
static size_t copy_doubled(char *out, const char *text, size_t len, char twice)
{
    size_t used = 0;

    for (size_t i = 0; i < len; i++) {
        if (text[i] == twice)
            out[used++] = twice;
        out[used++] = text[i];
    }
    return used;
}

static char *quote(const char *text, const char *open, char close)
{
    size_t len = strlen(text), used = strlen(open);
    char *quoted = has_line_continuation(text, len) ? NULL : malloc(used + 2 * len + 2);

    if (!quoted)
        return NULL;
    memcpy(quoted, open, used);
    used += copy_doubled(quoted + used, text, len, close);
    quoted[used++] = close;
    quoted[used] = '\0';
    return quoted;
}

char *tsql_quote_text(const char *text)
{
    return quote(text, "N'", '\'');
}

char *tsql_quote_name(const char *name)
{
    return quote(name, "[", ']');
}

/* asprintf that gives NULL. The arguments are literals of tsql_quote_*, lists of them, or digits.
 */
__attribute__((format(printf, 1, 2))) static char *build(const char *format, ...)
{
    va_list arguments;
    char *text = NULL;
    int len;

    va_start(arguments, format);
    len = vasprintf(&text, format, arguments);
    va_end(arguments);
    return len < 0 ? NULL : text;
}

/*
 * sys.availability_groups, sys.availability_replicas (VIEW ANY DEFINITION), and the views
 * sys.dm_hadr_availability_replica_states, _availability_group_states, _database_replica_states
 * (VIEW SERVER STATE, since 2022 VIEW SERVER PERFORMANCE STATE). bigint and numeric travel as text.
 *
 * The database counts only as a member of this very group: a database of that name outside of it
 * gives NULL, so that a stand-alone copy on the right instance is never taken for the real one.
 *
 * is_distributed is an inference: in a distributed availability group the "replicas" are whole
 * groups, and replica_server_name holds a group's name ("Distributed availability groups", their
 * monitoring queries). So this group is part of one if such a row bears its name. With role PRIMARY
 * and a database that is not READ_WRITE, the replica is the forwarder.
 */
#define STATE_COLUMNS                                                                              \
    "ar.replica_server_name, ag.cluster_type,"                                                     \
    " CASE WHEN EXISTS (SELECT 1 FROM sys.availability_groups AS dag"                              \
    " INNER JOIN sys.availability_replicas AS dar ON dar.group_id = dag.group_id"                  \
    " WHERE dag.is_distributed = 1 AND dar.replica_server_name = ag.name)"                         \
    " THEN 1 ELSE 0 END AS is_distributed,"                                                        \
    " CONVERT(nvarchar(20), ag.sequence_number) AS sequence_number,"                               \
    " ars.role, ars.operational_state, ars.recovery_health, ars.synchronization_health,"           \
    " ags.primary_replica, d.state,"                                                               \
    " CONVERT(nvarchar(20), DATABASEPROPERTYEX(d.name, N'Updateability')) AS updateability,"       \
    " drs.synchronization_state, CONVERT(nvarchar(40), drs.recovery_lsn) AS recovery_lsn"
#define STATE_REPLICA                                                                              \
    " INNER JOIN sys.dm_hadr_availability_replica_states AS ars"                                   \
    " ON ars.group_id = ag.group_id AND ars.is_local = 1"                                          \
    " INNER JOIN sys.availability_replicas AS ar ON ar.replica_id = ars.replica_id"                \
    " LEFT JOIN sys.dm_hadr_availability_group_states AS ags ON ags.group_id = ag.group_id"        \
    " LEFT JOIN (sys.databases AS d INNER JOIN sys.dm_hadr_database_replica_states AS drs"         \
    " ON drs.database_id = d.database_id AND drs.is_local = 1)"                                    \
    " ON drs.group_id = ag.group_id AND d.name = "

char *tsql_state(const char *availability_group, const char *database)
{
    CLEANUP(cleanup_free) char *group = tsql_quote_text(availability_group);
    CLEANUP(cleanup_free) char *name = tsql_quote_text(database);

    if (!group || !name)
        return NULL;
    return build("SELECT " STATE_COLUMNS " FROM sys.availability_groups AS ag" STATE_REPLICA "%s"
                 " WHERE ag.is_distributed = 0 AND ag.name = %s",
                 name, group);
}

/* A row of the list of those that are wanted. */
static bool write_target(FILE *stream, size_t index, const struct tsql_target *target)
{
    CLEANUP(cleanup_free) char *group = tsql_quote_text(target->availability_group);
    CLEANUP(cleanup_free) char *name = tsql_quote_text(target->database);

    return group && name &&
           fprintf(stream, "%s(%zu, %s, %s)", index ? ", " : "", index, group, name) > 0;
}

/*
 * A list, so that the server compares the names, as in tsql_state, and says nothing of databases
 * that nobody asked for; and one text for one list, so that its plan is made once. Columns of such
 * a list have the collation of the current database (master, so the server's), which need not be
 * that of a system view: without COLLATE it may be 468.
 */
char *tsql_states(const struct tsql_target *targets, size_t count)
{
    CLEANUP(cleanup_free) char *list = NULL;
    size_t len = 0;
    FILE *stream = count ? open_memstream(&list, &len) : NULL;
    bool is_whole = stream;

    for (size_t i = 0; is_whole && i < count; i++)
        is_whole = write_target(stream, i, &targets[i]);
    if (!stream || fclose(stream) != 0 || !is_whole)
        return NULL;
    return build("SELECT wanted.target, " STATE_COLUMNS
                 " FROM (VALUES %s) AS wanted (target, group_name, database_name)"
                 " INNER JOIN sys.availability_groups AS ag ON ag.is_distributed = 0"
                 " AND ag.name = wanted.group_name COLLATE DATABASE_DEFAULT" STATE_REPLICA
                 "wanted.database_name COLLATE DATABASE_DEFAULT",
                 list);
}

/* sys.dm_hadr_cluster: no row at all on a node without quorum. */
char *tsql_quorum(void)
{
    return strdup("SELECT quorum_state FROM sys.dm_hadr_cluster");
}

/*
 * sys.availability_replicas: without contact to the Windows cluster, or without quorum, it has rows
 * of the local replica only; so whoever asks looks at the quorum as well.
 */
char *tsql_members(const char *availability_group)
{
    CLEANUP(cleanup_free) char *group = tsql_quote_text(availability_group);

    if (!group)
        return NULL;
    return build("SELECT ar.replica_server_name FROM sys.availability_groups AS ag"
                 " INNER JOIN sys.availability_replicas AS ar ON ar.group_id = ag.group_id"
                 " WHERE ag.is_distributed = 0 AND ag.name = %s"
                 " ORDER BY ar.replica_server_name",
                 group);
}

/* As tsql_state, but only what both sides of a role change show at once and from memory. */
char *tsql_local(const char *availability_group, const char *database)
{
    CLEANUP(cleanup_free) char *group = tsql_quote_text(availability_group);
    CLEANUP(cleanup_free) char *name = tsql_quote_text(database);

    if (!group || !name)
        return NULL;
    return build("SELECT ars.role,"
                 " CONVERT(nvarchar(20), DATABASEPROPERTYEX(%s, N'Updateability')) AS updateability"
                 " FROM sys.availability_groups AS ag"
                 " INNER JOIN sys.dm_hadr_availability_replica_states AS ars"
                 " ON ars.group_id = ag.group_id AND ars.is_local = 1"
                 " WHERE ag.is_distributed = 0 AND ag.name = %s",
                 name, group);
}

/* "SET CONTEXT_INFO": a constant of up to 128 bytes, padded with zeros. No right is needed. */
char *tsql_set_context(const uint8_t nonce[static TSQL_NONCE_BYTES])
{
    char hex[2 * TSQL_NONCE_BYTES + 1];

    hex_encode(nonce, TSQL_NONCE_BYTES, hex);
    return build("SET CONTEXT_INFO 0x%s", hex);
}

/*
 * sys.dm_exec_sessions. original_login_name, not login_name: the latter follows EXECUTE AS, by
 * which an administrator could let a session of his own pass for the agent's.
 */
char *tsql_find_session(const uint8_t nonce[static TSQL_NONCE_BYTES], const char *login)
{
    char hex[2 * TSQL_NONCE_BYTES + 1];
    CLEANUP(cleanup_free) char *name = tsql_quote_text(login);

    if (!name)
        return NULL;
    hex_encode(nonce, TSQL_NONCE_BYTES, hex);
    return build("SELECT session_id FROM sys.dm_exec_sessions"
                 " WHERE SUBSTRING(context_info, 1, 32) = 0x%s AND original_login_name = %s",
                 hex, name);
}

/*
 * "sp_addextendedproperty", "sp_updateextendedproperty": CONTROL or ALTER on the database, which
 * must be writable; else 3906. A property needs no table and no schema, and is replicated as every
 * write is. By itself a batch is no transaction: the procedure commits.
 */
char *tsql_commit_echo(const uint8_t nonce[static TSQL_NONCE_BYTES])
{
    char hex[2 * TSQL_NONCE_BYTES + 1];

    hex_encode(nonce, TSQL_NONCE_BYTES, hex);
    return build(
        "IF EXISTS (SELECT 1 FROM sys.extended_properties"
        " WHERE class = 0 AND name = N'" TSQL_ECHO_PROPERTY "')"
        " EXEC sys.sp_updateextendedproperty @name = N'" TSQL_ECHO_PROPERTY "', @value = 0x%s;"
        " ELSE EXEC sys.sp_addextendedproperty @name = N'" TSQL_ECHO_PROPERTY "', @value = 0x%s",
        hex, hex);
}

/*
 * "sys.extended_properties", class 0 is the database. A property is seen with some right on what it
 * belongs to ("Metadata visibility configuration"); VIEW ANY DEFINITION is one on every database.
 * By its name with three parts, because a change of roles ends sessions that are in the database.
 * value is a sql_variant, which compares by its own type first: hence CONVERT.
 */
char *tsql_find_echo(const uint8_t nonce[static TSQL_NONCE_BYTES], const char *database)
{
    char hex[2 * TSQL_NONCE_BYTES + 1];
    CLEANUP(cleanup_free) char *name = tsql_quote_name(database);

    if (!name)
        return NULL;
    hex_encode(nonce, TSQL_NONCE_BYTES, hex);
    return build("SELECT 1 AS is_found FROM %s.sys.extended_properties"
                 " WHERE class = 0 AND name = N'" TSQL_ECHO_PROPERTY
                 "' AND CONVERT(varbinary(32), value) = 0x%s",
                 name, hex);
}

/*
 * sys.availability_replicas: 0 NO, 1 READ_ONLY, 2 ALL. 976 alone does not tell a replica that never
 * can be read from one that can in a moment.
 */
char *tsql_readers(const char *availability_group)
{
    CLEANUP(cleanup_free) char *group = tsql_quote_text(availability_group);

    if (!group)
        return NULL;
    return build("SELECT ar.secondary_role_allow_connections FROM sys.availability_groups AS ag"
                 " INNER JOIN sys.dm_hadr_availability_replica_states AS ars"
                 " ON ars.group_id = ag.group_id AND ars.is_local = 1"
                 " INNER JOIN sys.availability_replicas AS ar ON ar.replica_id = ars.replica_id"
                 " WHERE ag.is_distributed = 0 AND ag.name = %s",
                 group);
}

/* Never a database in the login: it would fail with 976, 978 or 983 on a secondary. */
char *tsql_use(const char *database)
{
    CLEANUP(cleanup_free) char *name = tsql_quote_name(database);

    return name ? build("USE %s", name) : NULL;
}

/*
 * "SIGNBYCERT": needs CONTROL on the certificate, writes nothing. Its private key is encrypted by
 * the database master key, so a signature is the proof that the key opens without a password. How
 * it fails otherwise (15581 or NULL) is not documented.
 */
char *tsql_opens(void)
{
    return strdup("SELECT DATALENGTH(SIGNBYCERT(CERT_ID(N'" TSQL_PROBE_CERTIFICATE
                  "'), N'escrowd')) AS signature_bytes");
}

/*
 * "HAS_PERMS_BY_NAME": 0 or NULL if there is no such certificate, or no right on it. CERT_ID would
 * not do: whoever has VIEW ANY DEFINITION sees a certificate that he may not use.
 */
char *tsql_probe_certificate(void)
{
    return strdup("SELECT CASE WHEN HAS_PERMS_BY_NAME(N'" TSQL_PROBE_CERTIFICATE
                  "', N'CERTIFICATE', N'CONTROL') = 1 THEN 1 ELSE 0 END AS has_certificate");
}

/*
 * "OPEN MASTER KEY": CONTROL on the database; for this session only. A literal is all the grammar
 * takes, and as a plain batch it is among the statements that traces leave out. N'': without it the
 * password would go through the database's code page.
 */
struct secret *tsql_open_master_key(const struct secret *password_utf8)
{
    static const char open[] = "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'";
    const char *password = (const char *)password_utf8->bytes;
    size_t len = password_utf8->len, used = sizeof(open) - 1;
    struct secret *text;

    if (memchr(password, '\0', len) || has_line_continuation(password, len))
        return NULL;
    text = secret_new(used + 2 * len + 1);
    if (!text)
        return NULL;
    memcpy(text->bytes, open, used);
    used += copy_doubled((char *)text->bytes + used, password, len, '\'');
    text->bytes[used++] = '\'';
    text->len = used;
    return text;
}

/* "ALTER MASTER KEY": CONTROL on the database, which must be writable; else 3906. */
char *tsql_add_service_master_key(void)
{
    return strdup("ALTER MASTER KEY ADD ENCRYPTION BY SERVICE MASTER KEY");
}

/* "CLOSE MASTER KEY": fails unless this session opened it. */
char *tsql_close_master_key(void)
{
    return strdup("CLOSE MASTER KEY");
}

/* catalog.startup of the SSIS catalog: marks what the failover interrupted. */
char *tsql_catalog_startup(const char *database)
{
    CLEANUP(cleanup_free) char *name = tsql_quote_name(database);

    return name ? build("EXEC %s.[catalog].[startup]", name) : NULL;
}
