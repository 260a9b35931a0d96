/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/model_view.h"
#include "tests/sqlsim/statements.h"

#include <strings.h>

#define SIGNATURE_BYTES 256 /* of a certificate made by SQL Server: RSA-2048 */

/* master has neither a DMK nor the certificate here. */
static bool sees_certificate(const struct session *session)
{
    return session->database && session_key(session)->has_probe_certificate &&
           session_rights(session) & (RIGHT_CONTROL_CERTIFICATE | RIGHT_CONTROL_DATABASE);
}

/* 1.2: everything but CLOSE needs CONTROL on the database; refused with 15151. */
static bool check_key(const struct session *session, struct reply *reply)
{
    if (session_check_database(session, session->database, reply))
        return false;
    if (session->database && session_key(session)->exists &&
        session_rights(session) & RIGHT_CONTROL_DATABASE)
        return true;
    reply_message(reply, 15151, NULL, NULL);
    return false;
}

static bool check_writable(const struct session *session, struct reply *reply)
{
    if (model_view_is_writable(session->model, session->database, session->instance))
        return true;
    reply_message(reply, 3906, session->database->name, NULL); /* 1.6 */
    return false;
}

static void reply_15581(const struct session *session, struct reply *reply)
{
    reply_message_state(reply, 15581, (uint8_t)session->model->switches.state_15581);
}

/* 1.4: the key is open in this session, or opens by itself. */
static bool opens(const struct session *session)
{
    return session_has_open_key(session) ||
           (session->database && model_opens(session->model, session->database, session->instance));
}

static bool check_opens(const struct session *session, struct reply *reply)
{
    if (opens(session))
        return true;
    reply_15581(session, reply);
    return false;
}

void statement_opens(struct session *session, const struct lexer_parameters *parameters,
                     struct reply *reply)
{
    static const struct reply_column columns[] = {{"signature_bytes", REPLY_INT}};

    (void)parameters;
    if (session_check_database(session, session->database, reply))
        return;
    if (sees_certificate(session) && !opens(session) &&
        session->model->switches.signbycert_failure == SWITCH_SIGN_15581) {
        reply_15581(session, reply);
        return;
    }
    reply_columns(reply, columns, ARRAY_LEN(columns));
    if (sees_certificate(session) && opens(session))
        reply_number(reply, SIGNATURE_BYTES);
    else
        reply_value(reply, NULL);
}

void statement_probe_certificate(struct session *session, const struct lexer_parameters *parameters,
                                 struct reply *reply)
{
    static const struct reply_column columns[] = {{"has_certificate", REPLY_INT}};

    (void)parameters;
    if (session_check_database(session, session->database, reply))
        return;
    reply_columns(reply, columns, ARRAY_LEN(columns));
    reply_number(reply, sees_certificate(session));
}

void statement_open_master_key(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply)
{
    const struct model *model = session->model;

    if (!check_key(session, reply))
        return;
    if (model->switches.readonly_open == SWITCH_READONLY_OPEN_3906 &&
        !check_writable(session, reply))
        return;
    if (master_key_has_password(session_key(session), parameters->values[0]))
        session_set_open_key(session, true); /* again while open: taken as no error, 1.3 */
    else
        reply_message(reply, 15313, NULL, NULL);
}

void statement_close_master_key(struct session *session, const struct lexer_parameters *parameters,
                                struct reply *reply)
{
    (void)parameters;
    if (!session_has_open_key(session) &&
        session->model->switches.close_unopened == SWITCH_CLOSE_15315)
        reply_message(reply, 15315, "master key", NULL);
    session_set_open_key(session, false);
}

void statement_add_service_key(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply)
{
    (void)parameters;
    if (check_key(session, reply) && check_opens(session, reply) && check_writable(session, reply))
        model_add_service_key(session->model, session->database, session->instance,
                              session->login->name);
}

static int32_t duplicate_error(const struct model *model)
{
    static const int32_t numbers[] = {
        [SWITCH_DUPLICATE_OK] = 0,
        [SWITCH_DUPLICATE_15557] = 15557,
        [SWITCH_DUPLICATE_15579] = 15579,
    };

    return numbers[model->switches.duplicate_password];
}

void statement_add_password(struct session *session, const struct lexer_parameters *parameters,
                            struct reply *reply)
{
    int32_t number;

    if (!check_key(session, reply) || !check_opens(session, reply) ||
        !check_writable(session, reply))
        return;
    number = master_key_add_password(session_key(session), parameters->values[0],
                                     duplicate_error(session->model));
    if (number)
        reply_message(reply, number, NULL, NULL);
}

void statement_drop_password(struct session *session, const struct lexer_parameters *parameters,
                             struct reply *reply)
{
    int32_t number;

    if (!check_key(session, reply) || !check_opens(session, reply) ||
        !check_writable(session, reply))
        return;
    number = master_key_drop_password(session_key(session), parameters->values[0]);
    if (number)
        reply_message(reply, number, NULL, NULL);
}

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
