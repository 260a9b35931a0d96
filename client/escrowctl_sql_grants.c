/* SPDX-License-Identifier: Apache-2.0 */
#include "client/escrowctl.h"
#include "libescrow/encode.h"
#include "libescrow/json.h"
#include "libescrow/log.h"
#include "libescrow/tsql_grants.h"

#include <openssl/rand.h>

#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct arguments {
    const char *role, *login, *database, *sid;
    bool has_catalog_startup;
};

static enum escrow_err set_kind(const struct arguments *arguments, struct tsql_grants *grants)
{
    if (strcmp(arguments->role, "agent") == 0)
        grants->kind = TSQL_LOGIN_AGENT;
    else if (strcmp(arguments->role, "prober") == 0)
        grants->kind = TSQL_LOGIN_PROBER;
    else {
        log_error("--role is agent or prober, not '%s'", arguments->role);
        return ESCROW_ERR_USAGE;
    }
    if (arguments->has_catalog_startup && grants->kind != TSQL_LOGIN_AGENT) {
        log_error("--catalog-startup is for --role agent only");
        return ESCROW_ERR_USAGE;
    }
    grants->may_run_catalog_startup = arguments->has_catalog_startup;
    return ESCROW_OK;
}

/* As SQL Server shows it, in upper or lower case. */
static enum escrow_err parse_sid(const char *text, uint8_t ret_sid[static TSQL_SID_BYTES])
{
    char digits[2 * TSQL_SID_BYTES + 1] = "";

    if (strncmp(text, "0x", 2) == 0 && strlen(text + 2) == sizeof(digits) - 1) {
        for (size_t i = 0; i < sizeof(digits); i++)
            digits[i] = (char)tolower((unsigned char)text[i + 2]);
    }
    if (hex_decode(digits, ret_sid, TSQL_SID_BYTES)) {
        log_error("--sid is 0x and %d hexadecimal digits, not '%s'", 2 * TSQL_SID_BYTES, text);
        return ESCROW_ERR_USAGE;
    }
    return ESCROW_OK;
}

static enum escrow_err set_sid(const struct arguments *arguments, struct tsql_grants *grants)
{
    if (arguments->sid && strchr(grants->login, '\\')) {
        log_error("--sid is for a SQL login only: %s has the SID of its domain", grants->login);
        return ESCROW_ERR_USAGE;
    }
    if (arguments->sid)
        return parse_sid(arguments->sid, grants->sid);
    return RAND_bytes(grants->sid, TSQL_SID_BYTES) == 1 ? ESCROW_OK : ESCROW_ERR_CRYPTO;
}

static enum escrow_err print(enum ctl_output output, const char *text)
{
    CLEANUP(json_free_p) json_t *result = NULL;

    if (output != CTL_OUTPUT_JSON) {
        fputs(text, stdout);
        return ESCROW_OK;
    }
    result = json_pack("{s:s}", "tsql", text);
    if (!result)
        return ESCROW_ERR_NO_MEMORY;
    ctl_print_object(output, result);
    return ESCROW_OK;
}

static enum escrow_err run(struct ctl *ctl)
{
    struct arguments arguments = {0};
    const struct ctl_option options[] = {
        {.name = "role", .value = &arguments.role, .is_required = true},
        {.name = "login", .value = &arguments.login, .is_required = true},
        {.name = "database", .value = &arguments.database, .is_required = true},
        {.name = "sid", .value = &arguments.sid},
        {.name = "catalog-startup", .flag = &arguments.has_catalog_startup},
    };
    CLEANUP(cleanup_free) char *text = NULL;
    struct tsql_grants grants = {0};
    enum escrow_err err = ctl_parse(ctl, options, ARRAY_LEN(options), 0, 0);

    if (err)
        return err;
    grants.login = arguments.login;
    grants.database = arguments.database;
    err = set_kind(&arguments, &grants);
    if (!err)
        err = set_sid(&arguments, &grants);
    if (!err)
        err = tsql_grants(&grants, &text);
    if (err == ESCROW_ERR_MALFORMED) {
        log_error("the login or the database is empty, or holds a control character or $(");
        return ESCROW_ERR_USAGE;
    }
    return err ? err : print(ctl->output, text);
}

const struct ctl_command ctl_sql_grants = {
    "sql-grants", run, "print the T-SQL that gives a login its rights",
    "--role agent|prober --login NAME --database DATABASE\n"
    "                            [--sid 0x...] [--catalog-startup]\n"
    "\n"
    "Prints a script for sqlcmd that a DBA reads, keeps, and runs on every replica of the group.\n"
    "It holds no password. Nothing is sent to a server.\n"
    "\n"
    "  --role agent       of escrow-agent: CONTROL on the database\n"
    "  --role prober      of escrowd: reads the state of the replicas\n"
    "  --login NAME       a SQL login, or DOMAIN\\NAME for a Windows account (Kerberos)\n"
    "  --sid 0x...        the SID that a SQL login has on the other replicas; random otherwise\n"
    "  --catalog-startup  the agent also runs catalog.startup of the SSIS catalog\n"
    "\n"
    "  escrowctl sql-grants --role agent --login escrow_agent --database SSISDB >agent.sql\n"};
