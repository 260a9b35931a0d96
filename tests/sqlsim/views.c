/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/certificate.h"
#include "tests/sqlsim/lexer.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/model_view.h"
#include "tests/sqlsim/select.h"

#include <stdlib.h>
#include <strings.h>

#define MASTER_KEY_ID 101 /* 3: known convention */
#define MASTER_KEY_NAME "##MS_DatabaseMasterKey##"

/* 1.2: no row without some right on the key. */
static bool sees_master_key(const struct session *session)
{
    return session->database && session_key(session)->exists &&
           session_rights(session) & RIGHT_CONTROL_DATABASE;
}

static bool may_enter(const struct session *session, struct reply *rows)
{
    return !session_check_database(session, session->database, rows);
}

static const struct reply_column key_columns[] = {
    {"name", REPLY_TEXT},          {"symmetric_key_id", REPLY_INT}, {"key_length", REPLY_INT},
    {"key_algorithm", REPLY_TEXT}, {"algorithm_desc", REPLY_TEXT},
};

static void put_key(struct reply *rows, const char *name, int64_t id)
{
    reply_value(rows, name);
    reply_number(rows, id);
    reply_number(rows, 256);
    reply_value(rows, "A3");
    reply_value(rows, "AES_256");
}

static void fill_symmetric_keys(struct session *session, const char *database, struct reply *rows)
{
    const struct key_objects *objects;

    (void)database;
    if (!may_enter(session, rows) || !session->database ||
        !(session_rights(session) & RIGHT_CONTROL_DATABASE))
        return;
    if (sees_master_key(session))
        put_key(rows, MASTER_KEY_NAME, MASTER_KEY_ID);
    objects = &session_key(session)->objects;
    for (size_t i = 0; i < objects->count; i++) {
        if (objects->objects[i].kind == KEY_SYMMETRIC)
            put_key(rows, objects->objects[i].name, 256 + (int64_t)i);
    }
}

static const struct reply_column encryption_columns[] = {
    {"key_id", REPLY_INT}, {"crypt_type", REPLY_TEXT}, {"crypt_type_desc", REPLY_TEXT}};

/* 3: a row for each password, and one for the SMK, which is called MASTER KEY there. */
static void fill_key_encryptions(struct session *session, const char *database, struct reply *rows)
{
    const struct model_instance *here = &session->model->instances[session->instance];
    const struct master_key *key;

    (void)database;
    if (!may_enter(session, rows) || !sees_master_key(session))
        return;
    key = session_key(session);
    if (key->service_key[0]) {
        reply_number(rows, MASTER_KEY_ID);
        reply_value(rows, "ESKM");
        reply_value(rows, "ENCRYPTION BY MASTER KEY");
    }
    for (size_t i = 0; i < key->password_count; i++) {
        reply_number(rows, MASTER_KEY_ID);
        reply_value(rows, version_find(here->version)->password_crypt_type);
        reply_value(rows, "ENCRYPTION BY PASSWORD");
    }
}

/* 6, D8: the two joined; the only join that there is. */
static const struct reply_column joined_columns[] = {
    {"name", REPLY_TEXT},       {"algorithm_desc", REPLY_TEXT},  {"key_id", REPLY_INT},
    {"crypt_type", REPLY_TEXT}, {"crypt_type_desc", REPLY_TEXT},
};

static void fill_joined(struct session *session, const char *database, struct reply *rows)
{
    struct reply encryptions = {0};

    fill_key_encryptions(session, database, &encryptions);
    for (size_t i = 0; i < encryptions.value_count; i += ARRAY_LEN(encryption_columns)) {
        reply_value(rows, MASTER_KEY_NAME);
        reply_value(rows, "AES_256");
        for (size_t n = 0; n < ARRAY_LEN(encryption_columns); n++)
            reply_value(rows, encryptions.values[i + n]);
    }
    reply_deinit(&encryptions);
}

static const struct reply_column open_columns[] = {
    {"database_id", REPLY_INT}, {"database_name", REPLY_TEXT}, {"key_name", REPLY_TEXT}};

/* 1.3: of this session, whatever the database. */
static void fill_open_keys(struct session *session, const char *database, struct reply *rows)
{
    (void)database;
    for (size_t i = 0; i < session->model->database_count; i++) {
        const struct model_database *open = &session->model->databases[i];

        if (!session->open_keys[i])
            continue;
        reply_number(rows, session_database_id(session, open));
        reply_value(rows, open->name);
        reply_value(rows, MASTER_KEY_NAME);
    }
    for (size_t i = 0; i < session->open_objects.count; i++) {
        reply_number(rows, session->database ? session_database_id(session, session->database) : 1);
        reply_value(rows, session_database_name(session));
        reply_value(rows, session->open_objects.objects[i].name);
    }
}

static const struct reply_column database_columns[] = {
    {"name", REPLY_TEXT},
    {"database_id", REPLY_INT},
    {"state", REPLY_TINYINT},
    {"is_read_only", REPLY_BIT},
    {"is_master_key_encrypted_by_server", REPLY_BIT},
};

static void put_system_database(struct reply *rows, const char *name, int64_t id)
{
    reply_value(rows, name);
    reply_number(rows, id);
    for (size_t i = 2; i < ARRAY_LEN(database_columns); i++)
        reply_number(rows, 0);
}

/* CAG: who entered by a contained group sees its databases only, its own master as master. */
static bool is_listed(const struct session *session, const struct model_database *database)
{
    const struct model_group *context = session->contained;

    return model_has_database(database, session->instance) &&
           (!context || (database->group == context && database != context->contained_master));
}

static void fill_databases(struct session *session, const char *database, struct reply *rows)
{
    struct model *model = session->model;

    (void)database;
    put_system_database(rows, "master", 1);
    put_system_database(rows, "tempdb", 2);
    for (size_t i = 0; i < model->database_count; i++) {
        const struct model_database *row = &model->databases[i];

        if (!is_listed(session, row))
            continue;
        reply_value(rows, row->name);
        reply_number(rows, session_database_id(session, row));
        reply_number(
            rows, row->group ? model_view(model, row->group, session->instance).database_state : 0);
        reply_number(rows, 0); /* a secondary is not READ_ONLY in this sense */
        reply_number(rows, row->copies[session->instance].flag);
    }
}

static const struct reply_column password_columns[] = {
    {"credential_id", REPLY_INT}, {"family_guid", REPLY_GUID}, {"name", REPLY_TEXT}};

/* 3, 5.1: sys.master_key_passwords and sys.credentials, which are seen with a right on the server.
 */
static void fill_passwords(struct session *session, const char *database, struct reply *rows)
{
    const struct credentials *credentials =
        &session->model->instances[session->instance].credentials;

    (void)database;
    if (!(session_rights(session) & RIGHT_VIEW_ANY_DEFINITION))
        return;
    for (size_t i = 0; i < credentials->count; i++) {
        const struct credential *entry = &credentials->entries[i];
        char guid[CREDENTIAL_GUID_SIZE], other[CREDENTIAL_GUID_SIZE];
        CLEANUP(cleanup_free) char *name = NULL;

        credential_family_guid(entry->family, guid);
        credential_family_guid((uint32_t)entry->id, other);
        name = memory_format("##DBMKEY_%s_%s##", guid, other);
        reply_number(rows, entry->id);
        reply_value(rows, guid);
        reply_value(rows, name);
    }
}

static const struct reply_column family_columns[] = {{"database_id", REPLY_INT},
                                                     {"family_guid", REPLY_GUID}};

static void fill_families(struct session *session, const char *database, struct reply *rows)
{
    struct model *model = session->model;

    (void)database;
    for (size_t i = 0; i < model->database_count; i++) {
        char guid[CREDENTIAL_GUID_SIZE];

        if (!model_has_database(&model->databases[i], session->instance))
            continue;
        credential_family_guid(model->databases[i].family, guid);
        reply_number(rows, session_database_id(session, &model->databases[i]));
        reply_value(rows, guid);
    }
}

static const struct reply_column certificate_columns[] = {
    {"name", REPLY_TEXT},
    {"pvt_key_encryption_type", REPLY_TEXT},
    {"pvt_key_encryption_type_desc", REPLY_TEXT},
};

static void fill_certificates(struct session *session, const char *database, struct reply *rows)
{
    const struct key_objects *objects;

    (void)database;
    if (!may_enter(session, rows) || !session->database)
        return;
    objects = &session_key(session)->objects;
    for (size_t i = 0; i < objects->count; i++) {
        const struct key_object *object = &objects->objects[i];

        if (object->kind != KEY_CERTIFICATE || !certificate_is_seen(session, object->name))
            continue;
        reply_value(rows, object->name);
        reply_value(rows, object->has_password ? "PW" : "MK");
        reply_value(rows,
                    object->has_password ? "ENCRYPTED_BY_PASSWORD" : "ENCRYPTED_BY_MASTER_KEY");
    }
}

#define COLUMNS(columns) columns, ARRAY_LEN(columns)

static const struct view views[] = {
    {"sys.symmetric_keys k JOIN sys.key_encryptions e ON e.key_id = k.symmetric_key_id",
     COLUMNS(joined_columns), fill_joined},
    {"sys.symmetric_keys", COLUMNS(key_columns), fill_symmetric_keys},
    {"sys.key_encryptions", COLUMNS(encryption_columns), fill_key_encryptions},
    {"sys.openkeys", COLUMNS(open_columns), fill_open_keys},
    {"sys.databases", COLUMNS(database_columns), fill_databases},
    {"sys.master_key_passwords", COLUMNS(password_columns), fill_passwords},
    {"sys.credentials", COLUMNS(password_columns), fill_passwords},
    {"sys.database_recovery_status", COLUMNS(family_columns), fill_families},
    {"sys.certificates", COLUMNS(certificate_columns), fill_certificates},
};

static bool is_clause(const struct lexer_token *token)
{
    return token->kind != LEXER_WORD || lexer_is(token, "WHERE") || lexer_is(token, "ORDER");
}

/* [AS] alias */
static void skip_alias(const char **at)
{
    const char *next = *at;
    struct lexer_token token = lexer_next(&next);

    if (lexer_is(&token, "AS"))
        token = lexer_next(&next);
    if (!is_clause(&token))
        *at = next;
}

static const struct view *views_own(size_t index)
{
    return index < ARRAY_LEN(views) ? &views[index] : NULL;
}

/* Of all files; NULL behind the last. */
static const struct view *view_at(size_t index)
{
    static const struct view *(*const parts[])(size_t) = {views_own, views_hadr, views_server,
                                                          views_property, views_ssisdb};

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        size_t count = 0;

        while (parts[i](count))
            count++;
        if (index < count)
            return parts[i](index);
        index -= count;
    }
    return NULL;
}

const struct view *view_find(const char **text, char **ret_database)
{
    const struct view *view;

    for (size_t i = 0; (view = view_at(i)) != NULL; i++) {
        struct lexer_parameters parameters = {0};
        const char *at = *text;

        if (!lexer_match_start(view->name, &at, &parameters))
            continue;
        *ret_database = parameters.count ? memory_copy(parameters.values[0]) : NULL;
        lexer_parameters_deinit(&parameters);
        skip_alias(&at);
        *text = at;
        return view;
    }
    return NULL;
}
