/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/key_check.h"
#include "tests/sqlsim/statements.h"

#include <string.h>

/* 10.4 */
static void reply_15313(const struct session *session, struct reply *reply)
{
    reply_message_state(reply, 15313, (uint8_t)session->model->switches.state_15313);
}

/* CREATE makes the copy in master too, unless the SMK is lost (1.4, 1.9). */
void statement_create_master_key(struct session *session, const struct lexer_parameters *parameters,
                                 struct reply *reply)
{
    struct model *model = session->model;

    if (!key_check_control(session, reply) ||
        !key_check_new_password(session, parameters->values[0], reply) ||
        !key_check_write(session, reply))
        return;
    if (session_key(session)->exists) {
        reply_message(reply, 15578, NULL, NULL);
        return;
    }
    master_key_create(session_key(session), ++model->key_generations, parameters->values[0]);
    if (!model->instances[session->instance].has_lost_service_key)
        model_set_initial_owner(model, session->database, session->instance);
}

void statement_drop_master_key(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply)
{
    const struct key_object *under;

    (void)parameters;
    if (!key_check_exists(session, reply) || !key_check_write(session, reply))
        return;
    under = key_objects_under_master_key(&session_key(session)->objects);
    if (master_key_drop(session_key(session))) {
        reply_message(reply, 15580, "certificate", under->name);
        return;
    }
    session->database->copies[session->instance].flag = false;
    session_set_open_key(session, false);
}

void statement_open_master_key(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply)
{
    if (!key_check_exists(session, reply))
        return;
    if (session->model->switches.readonly_open == SWITCH_READONLY_OPEN_3906 &&
        !key_is_writable(session)) {
        reply_message(reply, 3906, session->database->name, NULL);
        return;
    }
    if (master_key_has_password(session_key(session), parameters->values[0]))
        session_set_open_key(session, true); /* again while open: taken as no error, 1.3 */
    else
        reply_15313(session, reply);
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

/* 2.1: an SMK that cannot be decrypted encrypts nothing. */
static bool check_service_key(struct session *session, struct reply *reply)
{
    if (!session->model->instances[session->instance].has_lost_service_key)
        return true;
    if (session->model->switches.lost_service_key == SWITCH_SERVICE_KEY_15581)
        key_reply_15581(session, reply);
    else
        reply_message(reply, 15466, NULL, NULL);
    return false;
}

/* 10.6: of a key that does not open in a database that cannot be written, what is said first. */
static bool check_read_only_first(struct session *session, struct reply *reply)
{
    return session->model->switches.readonly_add == SWITCH_READONLY_ADD_15581 ||
           key_check_write(session, reply);
}

void statement_add_service_key(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply)
{
    (void)parameters;
    if (key_check_exists(session, reply) && check_read_only_first(session, reply) &&
        key_check_opens(session, reply) && check_service_key(session, reply) &&
        key_check_write(session, reply))
        model_add_service_key(session->model, session->database, session->instance,
                              session->login_name);
}

/* 1.4: from then on every use needs OPEN. */
void statement_drop_service_key(struct session *session, const struct lexer_parameters *parameters,
                                struct reply *reply)
{
    struct model_copy *copy;

    (void)parameters;
    if (!key_check_exists(session, reply) || !key_check_opens(session, reply) ||
        !key_check_write(session, reply))
        return;
    copy = &session->database->copies[session->instance];
    master_key_drop_service_key(session_key(session));
    copy->flag = false;
    copy->master_copy = 0;
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

    if (!key_check_exists(session, reply) || !key_check_opens(session, reply) ||
        !key_check_new_password(session, parameters->values[0], reply) ||
        !key_check_write(session, reply))
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

    if (!key_check_exists(session, reply) || !key_check_opens(session, reply) ||
        !key_check_write(session, reply))
        return;
    number = master_key_drop_password(session_key(session), parameters->values[0]);
    if (number == 15313)
        reply_15313(session, reply);
    else if (number)
        reply_message(reply, number, NULL, NULL);
}

/*
 * The key material changes: REGENERATE, RESTORE. Without the old one this needs FORCE (15329), and
 * what it encrypts is lost (15585, 15584).
 */
static bool replace_key(struct session *session, uint32_t generation, const char *password,
                        bool is_forced, struct reply *reply)
{
    struct master_key *key = session_key(session);
    bool opens = !key->exists || key_opens(session);

    if (!opens && !is_forced) {
        reply_message(reply, 15329, NULL, NULL);
        return false;
    }
    if (!key_check_new_password(session, password, reply) || !key_check_write(session, reply))
        return false;
    if (!opens)
        reply_message(reply, 15585, NULL, NULL);
    master_key_replace(key, generation, password, opens);
    for (size_t i = 0; !opens && i < key->objects.count; i++) {
        /* As many as a reply holds: the rest are lost without a word. */
        if (key->objects.objects[i].generation == 0 && reply->message_count < REPLY_MESSAGES_MAX)
            reply_message(reply, 15584, key->objects.objects[i].name, NULL);
    }
    return true;
}

static void regenerate(struct session *session, const char *password, bool is_forced,
                       struct reply *reply)
{
    struct model *model = session->model;
    bool has_service_key;

    if (!key_check_exists(session, reply))
        return;
    has_service_key = session_key(session)->service_key[0];
    if (!replace_key(session, model->key_generations + 1, password, is_forced, reply))
        return;
    model->key_generations++;
    /* 1.4: by the SMK where it was before; that can only be the SMK of this instance. */
    if (has_service_key && !model->instances[session->instance].has_lost_service_key)
        model_set_initial_owner(model, session->database, session->instance);
}

void statement_regenerate(struct session *session, const struct lexer_parameters *parameters,
                          struct reply *reply)
{
    regenerate(session, parameters->values[0], false, reply);
}

void statement_force_regenerate(struct session *session, const struct lexer_parameters *parameters,
                                struct reply *reply)
{
    regenerate(session, parameters->values[0], true, reply);
}

void statement_backup_master_key(struct session *session, const struct lexer_parameters *parameters,
                                 struct reply *reply)
{
    const char *path = parameters->values[0], *password = parameters->values[1];

    if (!key_check_exists(session, reply) || !key_check_opens(session, reply) ||
        !key_check_new_password(session, password, reply))
        return;
    if (key_files_add(&session->model->key_files, path, password, session_key(session)->generation))
        reply_message(reply, 15240, path, NULL);
}

/* 1.4: the row of the SMK does not come back, whatever the page of the statement says. */
static void restore(struct session *session, const struct lexer_parameters *parameters,
                    bool is_forced, struct reply *reply)
{
    const struct key_file *file;
    struct model_copy *copy;

    if (!key_check_control(session, reply))
        return;
    file = key_files_find(&session->model->key_files, parameters->values[0]);
    if (!file) {
        reply_message(reply, 15317, NULL, NULL);
        return;
    }
    if (strcmp(file->password, parameters->values[1]) != 0) {
        reply_message(reply, 15465, NULL, NULL);
        return;
    }
    if (session_key(session)->exists && session_key(session)->generation == file->generation)
        reply_message(reply, 15588, NULL, NULL);
    if (!replace_key(session, file->generation, parameters->values[2], is_forced, reply))
        return;
    copy = &session->database->copies[session->instance];
    if (session->model->switches.restore_keeps_service_key && copy->flag) {
        model_set_initial_owner(session->model, session->database, session->instance);
        return;
    }
    master_key_drop_service_key(session_key(session));
    copy->flag = false;
    copy->master_copy = 0;
}

void statement_restore_master_key(struct session *session,
                                  const struct lexer_parameters *parameters, struct reply *reply)
{
    restore(session, parameters, false, reply);
}

void statement_force_restore_master_key(struct session *session,
                                        const struct lexer_parameters *parameters,
                                        struct reply *reply)
{
    restore(session, parameters, true, reply);
}
