/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/tsql_grants.h"

#include "libescrow/encode.h"
#include "libescrow/tsql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Sources are pages of Microsoft's SQL documentation (sql-docs), named by their topic: "CREATE
 * LOGIN" (SID, a backslash makes a Windows account), "sys.dm_hadr_*" and "sys.dm_exec_sessions"
 * (VIEW SERVER STATE, since 2022 VIEW SERVER PERFORMANCE STATE), "sys.availability_groups" (VIEW
 * ANY DEFINITION, which covers sys.databases too), "OPEN MASTER KEY" and "ALTER MASTER KEY"
 * (CONTROL on the database; a smaller right is refused with 15151), "SIGNBYCERT" (CONTROL on the
 * certificate), "CREATE CERTIFICATE" (the private key is encrypted by the master key; signing does
 * not look at the expiry date), "sys.fn_hadr_is_primary_replica" (NULL outside of a group).
 */

/* The names as the text needs them. */
struct names {
    char *login, *login_text;
    char *database, *database_text;
};

static void names_deinit(struct names *names)
{
    free(names->login);
    free(names->login_text);
    free(names->database);
    free(names->database_text);
}

static bool is_usable(const char *name)
{
    if (!name[0] || strstr(name, "$("))
        return false;
    for (; *name; name++) {
        if ((unsigned char)*name < 0x20 || *name == 0x7f)
            return false;
    }
    return true;
}

static enum escrow_err names_init(const struct tsql_grants *grants, struct names *names)
{
    if (!is_usable(grants->login) || !is_usable(grants->database))
        return ESCROW_ERR_MALFORMED;
    names->login = tsql_quote_name(grants->login);
    names->login_text = tsql_quote_text(grants->login);
    names->database = tsql_quote_name(grants->database);
    names->database_text = tsql_quote_text(grants->database);
    return names->login && names->login_text && names->database && names->database_text
               ? ESCROW_OK
               : ESCROW_ERR_NO_MEMORY;
}

static bool is_windows(const struct tsql_grants *grants)
{
    return strchr(grants->login, '\\') != NULL;
}

/* What stands above the first batch. sqlcmd would replace a variable in a comment too. */
static void write_password_help(FILE *out)
{
    fputs(
        "--\n"
        "-- The login's password is not in this text: sqlcmd takes it from its environment, so\n"
        "-- that it stands in no command line and no file.\n"
        "--\n"
        "--   read -rs " TSQL_GRANTS_PASSWORD "; export " TSQL_GRANTS_PASSWORD "\n"
        "--   sqlcmd -S SQL1 -i grants.sql\n"
        "--   sqlcmd -S SQL2 -i grants.sql\n"
        "--\n"
        "-- It must be the same everywhere and hold no quote ('). In Management Studio switch on\n"
        "-- Query > SQLCMD Mode and put a line \":setvar " TSQL_GRANTS_PASSWORD " ...\" above\n"
        "-- this one, in a window that is never saved.\n"
        ":on error exit\n"
        ":setvar ESCROW_SQLCMD yes\n"
        "GO\n",
        out);
}

static void write_head(FILE *out, const struct tsql_grants *grants, const struct names *names)
{
    fprintf(out,
            "-- escrowd: the login %s of %s, for the database %s\n"
            "--\n"
            "-- Run this text as a sysadmin on EVERY replica of the availability group, the\n"
            "-- primary first, and again on each replica that is added later. What exists already\n"
            "-- is left as it is. Part 2 is done by the primary only: what it makes lies inside\n"
            "-- the database and reaches the other replicas with it.\n",
            names->login, grants->kind == TSQL_LOGIN_AGENT ? "the agent" : "escrowd's probers",
            names->database);
    if (!is_windows(grants))
        write_password_help(out);
    fputs("USE [master];\nGO\n\n", out);
}

/*
 * Without sqlcmd the variable's name would become the password. The password itself stands in no
 * statement but CREATE LOGIN, which traces leave out.
 */
static void write_sql_login(FILE *out, const struct tsql_grants *grants, const struct names *names)
{
    char sid[2 * TSQL_SID_BYTES + 1];

    hex_encode(grants->sid, TSQL_SID_BYTES, sid);
    fprintf(
        out,
        "IF N'$(ESCROW_SQLCMD)' <> N'yes'\n"
        "BEGIN\n"
        "    RAISERROR (N'Run this by sqlcmd, or in SQLCMD mode', 16, 1);\n"
        "    RETURN;\n"
        "END;\n"
        "\n"
        "-- Part 1, the instance: the login. Its SID is part of this text, because the user in\n"
        "-- the database belongs to a SID: a login of the same name with another SID cannot\n"
        "-- enter the database after a failover (error 916). CHECK_EXPIRATION is OFF, because\n"
        "-- a service cannot change its password on the day it expires, and that day would be\n"
        "-- noticed at the next failover.\n"
        "IF SUSER_ID(%s) IS NULL\n"
        "    CREATE LOGIN %s WITH PASSWORD = N'$(" TSQL_GRANTS_PASSWORD ")',\n"
        "        SID = 0x%s, DEFAULT_DATABASE = [master],\n"
        "        CHECK_EXPIRATION = OFF, CHECK_POLICY = ON;\n"
        "IF NOT EXISTS (SELECT 1 FROM sys.sql_logins WHERE name = %s\n"
        "    AND sid = 0x%s)\n"
        "BEGIN\n"
        "    RAISERROR (N'This login exists here with another SID: drop it, or take its SID',"
        " 16, 1);\n"
        "    RETURN;\n"
        "END;\n",
        names->login_text, names->login, sid, names->login_text, sid);
}

static void write_windows_login(FILE *out, const struct names *names)
{
    fprintf(out,
            "-- Part 1, the instance: the login. Its SID is the domain's, so it is the same on\n"
            "-- every replica, and it has no password here.\n"
            "IF SUSER_ID(%s) IS NULL\n"
            "    CREATE LOGIN %s FROM WINDOWS WITH DEFAULT_DATABASE = [master];\n",
            names->login_text, names->login);
}

static void write_server_rights(FILE *out, const struct names *names)
{
    CLEANUP(cleanup_free) char *grant = NULL;
    CLEANUP(cleanup_free) char *quoted = NULL;

    if (asprintf(&grant, "GRANT VIEW SERVER PERFORMANCE STATE TO %s", names->login) < 0)
        grant = NULL;
    quoted = grant ? tsql_quote_text(grant) : NULL;
    if (!quoted)
        return;
    fprintf(
        out,
        "\n"
        "-- To read the views sys.dm_hadr_*, in which a replica says its role and health, and\n"
        "-- sys.dm_exec_sessions, in which the session that asks for a password is looked for.\n"
        "-- The narrower right is there since SQL Server 2022; older ones cannot even parse it.\n"
        "IF CONVERT(int, SERVERPROPERTY('ProductMajorVersion')) >= 16\n"
        "    EXEC (%s);\n"
        "ELSE\n"
        "    GRANT VIEW SERVER STATE TO %s;\n"
        "\n"
        "-- To see sys.availability_groups, sys.availability_replicas and sys.databases: which\n"
        "-- groups and databases there are, nothing of what is in them. It also shows the "
        "property\n"
        "-- escrowd_echo of the database, which a secondary is asked for where the policy says "
        "so.\n"
        "GRANT VIEW ANY DEFINITION TO %s;\n"
        "\n",
        quoted, names->login, names->login);
}

static void write_user(FILE *out, const struct names *names)
{
    fprintf(out,
            "-- The database user that belongs to the login.\n"
            "IF DATABASE_PRINCIPAL_ID(%s) IS NULL\n"
            "    CREATE USER %s FOR LOGIN %s;\n"
            "IF NOT EXISTS (SELECT 1 FROM sys.database_principals WHERE name = %s\n"
            "    AND sid = SUSER_SID(%s))\n"
            "BEGIN\n"
            "    RAISERROR (N'The user of this name belongs to another login (SID)', 16, 1);\n"
            "    RETURN;\n"
            "END;\n"
            "GRANT CONNECT TO %s;\n",
            names->login_text, names->login, names->login, names->login_text, names->login_text,
            names->login);
}

static void write_probe(FILE *out, const struct names *names)
{
    fprintf(
        out,
        "\n"
        "-- Whether the master key opens by itself is asked by a signature with this\n"
        "-- certificate, whose private key the master key protects. It is used for nothing\n"
        "-- else. Making it needs a master key that opens: error 15581 here means that it does\n"
        "-- not; open it in this session by OPEN MASTER KEY, then run this text again.\n"
        "IF CERT_ID(N'" TSQL_PROBE_CERTIFICATE "') IS NULL\n"
        "    CREATE CERTIFICATE [" TSQL_PROBE_CERTIFICATE "]\n"
        "        WITH SUBJECT = 'escrowd probe', EXPIRY_DATE = '20991231';\n"
        "GRANT CONTROL ON CERTIFICATE::[" TSQL_PROBE_CERTIFICATE "] TO %s;\n",
        names->login);
}

static void write_agent_rights(FILE *out, const struct tsql_grants *grants,
                               const struct names *names)
{
    if (grants->kind != TSQL_LOGIN_AGENT)
        return;
    fprintf(
        out,
        "\n"
        "-- OPEN MASTER KEY and ALTER MASTER KEY accept no smaller right than CONTROL on the\n"
        "-- database (error 15151). So this login can do anything inside this one database, and\n"
        "-- nothing outside of it: guard its password or keytab accordingly. It is also what the\n"
        "-- property escrowd_echo is written with, where escrowd's policy asks for an echo.\n"
        "GRANT CONTROL ON DATABASE::%s TO %s;\n",
        names->database, names->login);
    if (!grants->may_run_catalog_startup)
        return;
    fprintf(
        out,
        "\n"
        "-- catalog.startup marks the packages that the failover interrupted. It looks for this\n"
        "-- role, which \"Enable Always On Support\" of the SSIS catalog makes.\n"
        "IF DATABASE_PRINCIPAL_ID(N'ssis_failover_monitoring_agent') IS NULL\n"
        "    RAISERROR (N'Enable Always On Support of the SSIS catalog first', 16, 1);\n"
        "ELSE\n"
        "    ALTER ROLE [ssis_failover_monitoring_agent] ADD MEMBER %s;\n",
        names->login);
}

/* What is run inside the database, as a text of its own; NULL without memory. */
static char *database_part(const struct tsql_grants *grants, const struct names *names)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        return NULL;
    fputs("\n", out);
    write_user(out, names);
    write_probe(out, names);
    write_agent_rights(out, grants, names);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/*
 * Neither USE nor a batch of its own: USE is carried out when the batch is compiled, and fails on a
 * secondary that cannot be read (976).
 */
static void write_database_part(FILE *out, const struct names *names, const char *quoted)
{
    fprintf(out,
            "-- Part 2, the database. Left to the primary; a database that is in no group counts\n"
            "-- as one.\n"
            "IF sys.fn_hadr_is_primary_replica(%s) = 0\n"
            "    PRINT N'Not the primary: part 2 is left to the primary';\n"
            "ELSE\n"
            "    EXEC %s.sys.sp_executesql %s;\n"
            "GO\n",
            names->database_text, names->database, quoted);
}

enum escrow_err tsql_grants(const struct tsql_grants *grants, char **ret_text)
{
    CLEANUP(names_deinit) struct names names = {NULL, NULL, NULL, NULL};
    CLEANUP(cleanup_free) char *inside = NULL;
    CLEANUP(cleanup_free) char *quoted = NULL;
    enum escrow_err err = names_init(grants, &names);
    char *text = NULL;
    size_t len;
    FILE *out;

    if (err)
        return err;
    inside = database_part(grants, &names);
    quoted = inside ? tsql_quote_text(inside) : NULL;
    out = quoted ? open_memstream(&text, &len) : NULL;
    if (!out)
        return ESCROW_ERR_NO_MEMORY;
    write_head(out, grants, &names);
    if (is_windows(grants))
        write_windows_login(out, &names);
    else
        write_sql_login(out, grants, &names);
    write_server_rights(out, &names);
    write_database_part(out, &names, quoted);
    if (fclose(out) != 0) {
        free(text);
        return ESCROW_ERR_NO_MEMORY;
    }
    *ret_text = text;
    return ESCROW_OK;
}
