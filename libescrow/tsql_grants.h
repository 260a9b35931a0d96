/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The script by which a DBA gives a login of ours its rights: printed, never sent. One text for
 * every replica, in the form that sqlcmd reads; running it again changes nothing. It never holds a
 * password: sqlcmd fills in its variable TSQL_GRANTS_PASSWORD.
 */

#define TSQL_GRANTS_PASSWORD "ESCROW_LOGIN_PASSWORD"
#define TSQL_SID_BYTES 16

enum tsql_login {
    TSQL_LOGIN_AGENT = 1, /* of escrow-agent: opens the master key */
    TSQL_LOGIN_PROBER,    /* of escrowd: reads what a replica says of itself */
};

struct tsql_grants {
    enum tsql_login kind;
    const char *login; /* with a backslash a Windows account, DOMAIN\name: no password, no SID */
    const char *database;
    uint8_t sid[TSQL_SID_BYTES]; /* of a SQL login: the same on every replica */
    bool may_run_catalog_startup;
};

/*
 * Text owned by the caller. ESCROW_ERR_MALFORMED for a login or database name that is empty, holds
 * a control character, or "$(", which sqlcmd would replace. ESCROW_ERR_NO_MEMORY.
 */
MUST_CHECK enum escrow_err tsql_grants(const struct tsql_grants *grants, char **ret_text);
