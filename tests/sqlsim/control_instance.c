/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/control.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/session.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What happens to an instance, a login or a database without T-SQL. */

static bool parse_switch(const char *word, bool *ret_is_on)
{
    *ret_is_on = strcmp(word, "on") == 0;
    return *ret_is_on || strcmp(word, "off") == 0;
}

static bool set_platform(struct model_instance *instance, const char *word)
{
    if (strcmp(word, "windows") == 0)
        instance->platform = VERSION_WINDOWS;
    else if (strcmp(word, "linux") == 0)
        instance->platform = VERSION_LINUX;
    else
        return false;
    return true;
}

static bool set_version(struct model_instance *instance, const char *word)
{
    if (!version_is_valid(word))
        return false;
    free(instance->version);
    instance->version = memory_copy(word);
    return true;
}

/* 2.1: a service account that cannot decrypt the SMK, and the old one again. */
static bool set_service_account(struct model_instance *instance, const char *word)
{
    instance->has_lost_service_key = strcmp(word, "lost") == 0;
    return instance->has_lost_service_key || strcmp(word, "restored") == 0;
}

json_t *control_instance(struct simulator *simulator, struct control_words *words)
{
    size_t index = model_find_instance(&simulator->model, words->words[1]);
    const char *command = words->words[0], *word = words->words[2];
    struct model_instance *instance;
    bool is_set;

    if (index == MODEL_NONE)
        return control_no_instance(words->words[1]);
    instance = &simulator->model.instances[index];
    if (strcmp(command, "platform") == 0)
        is_set = set_platform(instance, word);
    else if (strcmp(command, "version") == 0)
        is_set = set_version(instance, word);
    else if (strcmp(command, "service-account") == 0)
        is_set = set_service_account(instance, word);
    else if (strcmp(command, "upgrade") == 0)
        is_set = parse_switch(word, &instance->is_upgrading);
    else
        is_set = parse_switch(word, &instance->is_single_user);
    return is_set ? control_done(simulator) : control_error("no such value");
}

static void change_login(struct login *login, const char *command)
{
    if (strcmp(command, "lock") == 0) {
        login->is_locked = true;
    } else if (strcmp(command, "expire") == 0) {
        login->is_expired = true;
    } else if (strcmp(command, "must-change") == 0) {
        login->must_change = true;
    } else {
        login->is_locked = login->is_expired = login->must_change = false;
        login->bad_passwords = 0;
    }
}

/* lock, expire, must-change, unlock LOGIN [NODE]; without a node, everywhere. */
json_t *control_login(struct simulator *simulator, struct control_words *words)
{
    size_t only = MODEL_NONE;
    bool is_found = false;

    if (words->count == 3) {
        only = model_find_instance(&simulator->model, words->words[2]);
        if (only == MODEL_NONE)
            return control_no_instance(words->words[2]);
    }
    for (size_t i = 0; i < simulator->model.instance_count; i++) {
        struct login *login = logins_find(&simulator->model.instances[i].logins, words->words[1]);

        if (!login || (only != MODEL_NONE && only != i))
            continue;
        change_login(login, words->words[0]);
        is_found = true;
    }
    return is_found ? control_done(simulator) : control_error("no such login");
}

/* Nobody has it open any more. */
static void close_keys(struct model *model, const struct model_database *database)
{
    size_t index = model_database_index(model, database);

    for (size_t i = 0; i < model->instance_count; i++) {
        struct session *session = LIST_FIRST(&model->instances[i].sessions);

        for (; session; session = LIST_NEXT(session, entry))
            session->open_keys[index] = false;
    }
}

/* backup, restore-database [--database D]: as if it left the group and were seeded again. */
json_t *control_backup(struct simulator *simulator, struct control_words *words)
{
    struct control_scope scope;
    struct model_database *database;

    if (!control_find_scope(simulator, words, &scope) || !scope.database)
        return control_no_scope();
    database = scope.database;
    if (words->count != 1)
        return control_error("usage: backup | restore-database [--database D]");
    if (database->writer)
        return control_error("a transaction has changed its keys");
    if (strcmp(words->words[0], "backup") == 0) {
        model_backup(database);
        return control_done(simulator);
    }
    if (!model_restore(database))
        return control_error("no backup");
    close_keys(&simulator->model, database);
    return control_done(simulator);
}

static int number_of(const char *text)
{
    return (int)strtol(text, NULL, 10);
}

/* ssis operation TYPE STATUS [alive] | replica NAME STATE | schema-build V, [--database D] */
json_t *control_ssis(struct simulator *simulator, struct control_words *words)
{
    struct control_scope scope;
    struct ssisdb *catalog;
    const char *command = words->words[1];
    bool is_alive = control_flag(words, "alive");

    if (!control_find_scope(simulator, words, &scope) || !scope.database)
        return control_no_scope();
    catalog = &scope.database->catalog;
    if (words->count == 4 && strcmp(command, "operation") == 0) {
        ssisdb_add_operation(catalog, number_of(words->words[2]), number_of(words->words[3]),
                             is_alive);
    } else if (words->count == 4 && strcmp(command, "replica") == 0) {
        ssisdb_set_replica(catalog, words->words[2], number_of(words->words[3]));
    } else if (words->count == 3 && strcmp(command, "schema-build") == 0) {
        free(catalog->schema_build);
        catalog->schema_build = memory_copy(words->words[2]);
    } else {
        return control_error("usage: ssis [--database D] operation TYPE STATUS [alive] | "
                             "replica NAME STATE | schema-build V");
    }
    return control_done(simulator);
}
