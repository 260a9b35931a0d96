/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/certificate.h"
#include "tests/sqlsim/key_check.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/statements.h"

#include <strings.h>

#define STATE_15581_OPEN_SYMMETRIC_KEY 7 /* 2.1: seen with DECRYPTION BY CERTIFICATE */

bool certificate_is_seen(const struct session *session, const char *name)
{
    unsigned rights = session_rights(session);

    /* master has neither a DMK nor certificates here. */
    return session->database &&
           key_objects_find(&session_key(session)->objects, KEY_CERTIFICATE, name) &&
           (rights & RIGHT_CONTROL_DATABASE ||
            (rights & RIGHT_CONTROL_CERTIFICATE && strcasecmp(name, MASTER_KEY_PROBE) == 0));
}

bool certificate_signs(struct session *session, const char *name, struct reply *reply)
{
    if (!certificate_is_seen(session, name))
        return false;
    if (key_opens(session))
        return master_key_has_certificate(session_key(session), name);
    if (session->model->switches.signbycert_failure == SWITCH_SIGN_15581)
        key_reply_15581(session, reply);
    return false;
}

void statement_opens(struct session *session, const struct lexer_parameters *parameters,
                     struct reply *reply)
{
    static const struct reply_column columns[] = {{"signature_bytes", REPLY_INT}};
    bool signs;

    (void)parameters;
    if (session_check_database(session, session->database, reply))
        return;
    signs = certificate_signs(session, MASTER_KEY_PROBE, reply);
    if (reply_failed(reply))
        return;
    reply_columns(reply, columns, ARRAY_LEN(columns));
    if (signs)
        reply_number(reply, CERTIFICATE_SIGNATURE_BYTES);
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
    reply_number(reply, certificate_is_seen(session, MASTER_KEY_PROBE));
}

/* CREATE CERTIFICATE and CREATE SYMMETRIC KEY are rights of their own, which CONTROL implies. */
static bool check_create(struct session *session, struct reply *reply)
{
    if (session_check_database(session, session->database, reply))
        return false;
    if (session->database && session_rights(session) & RIGHT_CONTROL_DATABASE)
        return true;
    reply_message(reply, 15247, NULL, NULL);
    return false;
}

static void create(struct session *session, const char *name, bool has_password,
                   struct reply *reply)
{
    struct key_object *certificate;
    struct master_key *key;

    if (!check_create(session, reply))
        return;
    key = session_key(session);
    if (!has_password && !key_check_opens(session, reply))
        return;
    if (!key_check_write(session, reply))
        return;
    if (key_objects_find(&key->objects, KEY_CERTIFICATE, name)) {
        reply_message(reply, 15232, name, NULL);
        return;
    }
    certificate = key_objects_add(&key->objects, KEY_CERTIFICATE, name);
    certificate->has_password = has_password;
    certificate->generation = key->generation;
}

void statement_create_certificate(struct session *session,
                                  const struct lexer_parameters *parameters, struct reply *reply)
{
    create(session, parameters->values[0], false, reply);
}

void statement_create_certificate_with_password(struct session *session,
                                                const struct lexer_parameters *parameters,
                                                struct reply *reply)
{
    create(session, parameters->values[0], true, reply);
}

void statement_drop_certificate(struct session *session, const struct lexer_parameters *parameters,
                                struct reply *reply)
{
    const char *name = parameters->values[0];

    if (session_check_database(session, session->database, reply))
        return;
    if (!certificate_is_seen(session, name)) {
        reply_message(reply, 15151, "drop the certificate", name);
        return;
    }
    if (!key_check_write(session, reply))
        return;
    if (key_objects_under(&session_key(session)->objects, name)) {
        reply_message(reply, 15352, NULL, NULL);
        return;
    }
    key_objects_remove(&session_key(session)->objects,
                       key_objects_find(&session_key(session)->objects, KEY_CERTIFICATE, name));
}

void statement_create_symmetric_key(struct session *session,
                                    const struct lexer_parameters *parameters, struct reply *reply)
{
    const char *name = parameters->values[0], *certificate = parameters->values[2];

    if (!check_create(session, reply))
        return;
    if (!certificate_is_seen(session, certificate))
        reply_message(reply, 15151, "find the certificate", certificate);
    else if (key_objects_find(&session_key(session)->objects, KEY_SYMMETRIC, name))
        reply_message(reply, 15282, name, NULL);
    else if (key_check_write(session, reply)) /* the public key encrypts: no DMK is needed */
        key_objects_add(&session_key(session)->objects, KEY_SYMMETRIC, name)->certificate =
            memory_copy(certificate);
}

static struct key_object *find_symmetric(struct session *session, const char *verb,
                                         const char *name, struct reply *reply)
{
    struct key_object *object = NULL;

    if (session_check_database(session, session->database, reply))
        return NULL;
    if (session->database && session_rights(session) & RIGHT_CONTROL_DATABASE)
        object = key_objects_find(&session_key(session)->objects, KEY_SYMMETRIC, name);
    if (!object)
        reply_message(reply, 15151, verb, name);
    return object;
}

void statement_drop_symmetric_key(struct session *session,
                                  const struct lexer_parameters *parameters, struct reply *reply)
{
    struct key_object *object =
        find_symmetric(session, "drop the symmetric key", parameters->values[0], reply);

    if (object && key_check_write(session, reply))
        key_objects_remove(&session_key(session)->objects, object);
}

void statement_open_symmetric_key(struct session *session,
                                  const struct lexer_parameters *parameters, struct reply *reply)
{
    const char *name = parameters->values[0], *certificate = parameters->values[1];
    const struct key_object *object =
        find_symmetric(session, "find the symmetric key", name, reply);

    if (!object)
        return;
    if (strcasecmp(object->certificate, certificate) != 0)
        reply_message(reply, 15313, NULL, NULL);
    else if (!key_opens(session))
        reply_message_state(reply, 15581, STATE_15581_OPEN_SYMMETRIC_KEY);
    else if (!master_key_has_certificate(session_key(session), certificate))
        reply_message(reply, 15466, NULL, NULL);
    else if (!key_objects_find(&session->open_objects, KEY_SYMMETRIC, name)) /* 1.3: or no-op */
        key_objects_add(&session->open_objects, KEY_SYMMETRIC, name);
}

void statement_close_symmetric_key(struct session *session,
                                   const struct lexer_parameters *parameters, struct reply *reply)
{
    struct key_object *open =
        key_objects_find(&session->open_objects, KEY_SYMMETRIC, parameters->values[0]);

    if (open)
        key_objects_remove(&session->open_objects, open);
    else
        reply_message(reply, 15315, parameters->values[0], NULL);
}
