/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/select.h"

#include <strings.h>

/*
 * The catalog of the database named, or of the session's. NULL: an error or nothing to see, which
 * is then in rows (5.2: what ssis_admin and sysadmin may see).
 */
static const struct model_database *find_catalog(struct session *session, const char *name,
                                                 struct reply *rows)
{
    struct model_database *database =
        name ? session_find_database(session, name) : session->database;

    if (!database || strcasecmp(database->name, "SSISDB") != 0) {
        reply_message(rows, 208, "catalog", NULL);
        return NULL;
    }
    if (session_check_database(session, database, rows))
        return NULL;
    return session_rights_in(session, database) & RIGHT_SSIS_ADMIN ? database : NULL;
}

static const struct reply_column operation_columns[] = {
    {"operation_id", REPLY_INT}, {"operation_type", REPLY_SMALLINT}, {"status", REPLY_INT}};

static void fill_operations(struct session *session, const char *name, struct reply *rows)
{
    const struct model_database *database = find_catalog(session, name, rows);

    for (size_t i = 0; database && i < database->catalog.operation_count; i++) {
        reply_number(rows, 1 + (int64_t)i);
        reply_number(rows, database->catalog.operations[i].type);
        reply_number(rows, database->catalog.operations[i].status);
    }
}

static const struct reply_column replica_columns[] = {{"server_name", REPLY_TEXT},
                                                      {"state", REPLY_TINYINT}};

static void fill_replicas(struct session *session, const char *name, struct reply *rows)
{
    const struct model_database *database = find_catalog(session, name, rows);

    for (size_t i = 0; database && i < database->catalog.replica_count; i++) {
        reply_value(rows, database->catalog.replicas[i].server_name);
        reply_number(rows, database->catalog.replicas[i].state);
    }
}

static const struct reply_column property_columns[] = {{"property_name", REPLY_TEXT},
                                                       {"property_value", REPLY_TEXT}};

/* 6, D8; 7: it lags behind the instance when a patch skipped a database of a group. */
static void fill_properties(struct session *session, const char *name, struct reply *rows)
{
    const struct model_database *database = find_catalog(session, name, rows);

    if (!database)
        return;
    reply_value(rows, "SCHEMA_BUILD");
    reply_value(rows, database->catalog.schema_build
                          ? database->catalog.schema_build
                          : session->model->instances[session->instance].version);
}

static const struct reply_column job_columns[] = {{"name", REPLY_TEXT}, {"enabled", REPLY_TINYINT}};

/* 5.2: both jobs are on every replica. */
static void fill_jobs(struct session *session, const char *name, struct reply *rows)
{
    static const char *const jobs[] = {"SSIS Server Maintenance Job", "SSIS Failover Monitor Job"};

    (void)name;
    if (!(session_rights(session) & RIGHT_SYSADMIN)) {
        reply_message(rows, 229, "SELECT", "sysjobs");
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        reply_value(rows, jobs[i]);
        reply_number(rows, 1);
    }
}

#define COLUMNS(columns) columns, ARRAY_LEN(columns)

static const struct view views[] = {
    {"[catalog].[operations]", COLUMNS(operation_columns), fill_operations},
    {"$name.[catalog].[operations]", COLUMNS(operation_columns), fill_operations},
    {"[catalog].[alwayson_replicas]", COLUMNS(replica_columns), fill_replicas},
    {"$name.[catalog].[alwayson_replicas]", COLUMNS(replica_columns), fill_replicas},
    {"[catalog].[catalog_properties]", COLUMNS(property_columns), fill_properties},
    {"$name.[catalog].[catalog_properties]", COLUMNS(property_columns), fill_properties},
    {"[internal].[catalog_properties]", COLUMNS(property_columns), fill_properties},
    {"$name.[internal].[catalog_properties]", COLUMNS(property_columns), fill_properties},
    {"[msdb].[dbo].[sysjobs]", COLUMNS(job_columns), fill_jobs},
};

const struct view *views_ssisdb(size_t index)
{
    return index < ARRAY_LEN(views) ? &views[index] : NULL;
}
