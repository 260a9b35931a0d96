/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/model.h"

/*
 * A script as a DBA runs it with sqlcmd: lines GO end a batch, $(NAME) is a variable, ":setvar NAME
 * VALUE" sets one, ":on error exit" ends the script at the first error. Other commands of sqlcmd
 * are errors. So the text that sql-grants prints is run as it is, not read for what it says.
 */
struct sqlcmd_variable {
    const char *name;
    const char *value;
};

struct sqlcmd {
    const char *login; /* of the instance; a SQL login needs no password here */
    const char *script;
    const struct sqlcmd_variable *variables; /* as from its environment */
    size_t variable_count;
};

/* On one instance. NULL, or what went wrong, owned by the caller. */
char *sqlcmd_run(struct model *model, size_t instance, const struct sqlcmd *sqlcmd);
