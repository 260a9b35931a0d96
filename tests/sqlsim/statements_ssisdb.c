/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/model_view.h"
#include "tests/sqlsim/statements.h"

#include <strings.h>

/* The catalog of the database named, which the session may use; or NULL and the error. */
static struct model_database *find_catalog(struct session *session, const char *name,
                                           const char *procedure, struct reply *reply)
{
    struct model_database *database = session_find_database(session, name);

    if (!database)
        reply_message(reply, 911, name, NULL);
    else if (session_check_database(session, database, reply))
        return NULL;
    else if (strcasecmp(name, "SSISDB") != 0)
        reply_message(reply, 2812, procedure, NULL);
    else if (session_rights_in(session, database) & RIGHT_SSIS_ADMIN)
        return database;
    else
        reply_message(reply, 27219, NULL, NULL); /* 5.2 */
    return NULL;
}

/* 1.6: what writes fails on a readable secondary. */
static bool check_write(const struct session *session, const struct model_database *database,
                        struct reply *reply)
{
    if (model_view_is_writable(session->model, database, session->instance))
        return true;
    reply_message(reply, 3906, database->name, NULL);
    return false;
}

void statement_catalog_startup(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply)
{
    struct model_database *database =
        find_catalog(session, parameters->values[0], "catalog.startup", reply);

    if (database && check_write(session, database, reply))
        ssisdb_startup(&database->catalog);
}

/* 5.2: what the SSIS Failover Monitor Job asks every two minutes. */
void statement_refresh_replica(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply)
{
    static const struct reply_column columns[] = {{"status", REPLY_TINYINT}};
    struct model_database *database =
        find_catalog(session, parameters->values[0], "internal.refresh_replica_status", reply);

    if (!database || !check_write(session, database, reply))
        return;
    reply_columns(reply, columns, ARRAY_LEN(columns));
    reply_number(reply, ssisdb_refresh(&database->catalog, parameters->values[1]));
}
