/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/statements.h"

#include <strings.h>

void statement_catalog_startup(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply)
{
    const char *database = parameters->values[0];
    const struct model_database *found = session_find_database(session, database);

    if (!found)
        reply_message(reply, 911, database, NULL);
    else if (session_check_database(session, found, reply))
        return;
    else if (strcasecmp(database, "SSISDB") != 0)
        reply_message(reply, 2812, "catalog.startup", NULL);
    else if (!(session_rights(session) & RIGHT_SSIS_ADMIN))
        reply_message(reply, 27219, NULL, NULL); /* 5.2 */
}
