/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/model_view.h"
#include "tests/sqlsim/select.h"
#include "tests/sqlsim/statements.h"

#include <string.h>
#include <strings.h>

/*
 * Extended properties of a database itself (sql-docs, sp-addextendedproperty, -update-, -drop-;
 * extended-properties-catalog-views-sys-extended-properties). Those of master are not modelled.
 */
#define UNNAMED "object specified" /* what the messages call the database */

static struct properties *properties_of(struct session *session, struct model_database *database)
{
    return &model_content(session->model, database, session->instance)->properties;
}

/* 4.6, 10.16: the refusal is said in one of two ways. */
static bool may_write(struct session *session, struct reply *reply)
{
    if (!session->database) {
        reply_message(reply, 102, "sys", NULL);
        return false;
    }
    if (session_check_database(session, session->database, reply))
        return false;
    if (!(session_rights(session) & RIGHT_CONTROL_DATABASE)) {
        if (session->model->switches.property_refusal == SWITCH_PROPERTY_15247)
            reply_message(reply, 15247, NULL, NULL);
        else
            reply_message(reply, 1088, UNNAMED, NULL);
        return false;
    }
    if (!model_view_is_writable(session->model, session->database, session->instance)) {
        reply_message(reply, 3906, session->database->name, NULL);
        return false;
    }
    return true;
}

static void write_property(struct session *session, const char *name, const char *value)
{
    struct properties *properties = properties_of(session, session->database);

    if (value)
        properties_set(properties, name, value);
    else
        properties_remove(properties, name);
    model_log(session->model, session->database, session->instance);
}

void statement_add_property(struct session *session, const struct lexer_parameters *parameters,
                            struct reply *reply)
{
    const char *name = parameters->values[0];

    if (!may_write(session, reply))
        return;
    if (properties_find(properties_of(session, session->database), name))
        reply_message(reply, 15233, name, UNNAMED);
    else
        write_property(session, name, parameters->values[1]);
}

/* Also for DROP, which has no value. */
void statement_update_property(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply)
{
    const char *name = parameters->values[0];

    if (!may_write(session, reply))
        return;
    if (!properties_find(properties_of(session, session->database), name))
        reply_message(reply, 15217, name, UNNAMED);
    else
        write_property(session, name, parameters->values[1]);
}

/* 10.16: by some right on the database; whether CONNECT is enough is not said. */
static bool sees(const struct session *session, struct model_database *database)
{
    unsigned rights = session_rights_in(session, database);

    return rights & (RIGHT_CONTROL_DATABASE | RIGHT_VIEW_ANY_DEFINITION) ||
           (rights & RIGHT_CONNECT &&
            session->model->switches.property_visibility == SWITCH_PROPERTY_CONNECT);
}

void statement_find_property(struct session *session, const struct lexer_parameters *parameters,
                             struct reply *reply)
{
    static const struct reply_column columns[] = {{"is_found", REPLY_INT}};
    struct model_database *database = session_find_database(session, parameters->values[0]);
    const struct property *found;

    if (!database) {
        reply_message(reply, 208, "sys.extended_properties", NULL);
        return;
    }
    if (session_check_database(session, database, reply))
        return;
    reply_columns(reply, columns, ARRAY_LEN(columns));
    found = properties_find(properties_of(session, database), parameters->values[1]);
    if (found && sees(session, database) && strcasecmp(found->value, parameters->values[2]) == 0)
        reply_number(reply, 1);
}

static const struct reply_column view_columns[] = {
    {"class", REPLY_TINYINT},
    {"major_id", REPLY_INT},
    {"minor_id", REPLY_INT},
    {"name", REPLY_TEXT},
};

static void fill(struct session *session, const char *name, struct reply *rows)
{
    struct model_database *database =
        name ? session_find_database(session, name) : session->database;
    const struct properties *properties;

    if (!database || session_check_database(session, database, rows) || !sees(session, database))
        return;
    properties = properties_of(session, database);
    for (size_t i = 0; i < properties->count; i++) {
        reply_number(rows, 0);
        reply_number(rows, 0);
        reply_number(rows, 0);
        reply_value(rows, properties->entries[i].name);
    }
}

static const struct view views[] = {
    {"sys.extended_properties", view_columns, ARRAY_LEN(view_columns), fill},
    {"$name.sys.extended_properties", view_columns, ARRAY_LEN(view_columns), fill},
};

const struct view *views_property(size_t index)
{
    return index < ARRAY_LEN(views) ? &views[index] : NULL;
}
