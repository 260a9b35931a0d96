/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/encode.h"
#include "tests/sqlsim/config_read.h"
#include "tests/sqlsim/memory.h"

#include <ctype.h>
#include <string.h>

/* "0x" and hexadecimal digits; missing: made from the name, so the same everywhere. */
static enum escrow_err load_sid(const json_t *entry, const char *name, struct sid *ret_sid)
{
    const char *text = config_text(entry, "sid", "");
    struct sid sid = sid_of_name(name);

    if (!text || *text) {
        CLEANUP(cleanup_free)
        char *hex = memory_copy(text && strncmp(text, "0x", 2) == 0 ? text + 2 : "");

        for (char *at = hex; *at; at++)
            *at = (char)tolower((unsigned char)*at);
        sid.len = strlen(hex) / 2;
        if (!sid.len || sid.len > PRINCIPAL_SID_MAX || hex_decode(hex, sid.bytes, sid.len))
            return config_wrong("sid", "must be 0x and hexadecimal digits");
    }
    *ret_sid = sid;
    return ESCROW_OK;
}

static enum escrow_err load_rights(const json_t *entry, unsigned *ret_rights)
{
    unsigned rights = 0, right;
    json_t *word;
    size_t i;

    json_array_foreach(json_object_get(entry, "rights"), i, word)
    {
        if (!json_is_string(word) || principal_right_parse(json_string_value(word), &right))
            return config_wrong("rights", "no such right");
        rights |= right;
    }
    *ret_rights = rights;
    return ESCROW_OK;
}

static enum escrow_err load_subset(const json_t *entry, const struct model *model,
                                   uint32_t *ret_instances)
{
    const json_t *list = json_object_get(entry, "instances");
    uint32_t instances = 0;
    json_t *name;
    size_t i;

    json_array_foreach(list, i, name)
    {
        size_t instance =
            json_is_string(name) ? model_find_instance(model, json_string_value(name)) : MODEL_NONE;

        if (instance == MODEL_NONE)
            return config_wrong("logins: instances", "no such instance");
        instances |= UINT32_C(1) << instance;
    }
    *ret_instances = list ? instances : UINT32_MAX;
    return ESCROW_OK;
}

static bool names_database(const json_t *databases, const char *name)
{
    json_t *entry;
    size_t i;

    json_array_foreach(databases, i, entry)
    {
        if (json_is_string(entry) && model_is_name(json_string_value(entry), name))
            return true;
    }
    return !databases;
}

/* The database user of a login is made once, from its first entry; SIDs of later ones may differ.
 */
static void add_users(const json_t *entry, struct model *model, const struct login *login,
                      unsigned rights)
{
    for (size_t i = 0; i < model->database_count; i++) {
        struct model_database *database = &model->databases[i];
        struct user *user;

        if (users_find(&database->content.users, login->name) ||
            !names_database(json_object_get(entry, "databases"), database->name))
            continue;
        user = users_add(&database->content.users, login->name);
        user->sid = login->sid;
        user->rights = rights & RIGHTS_OF_USER;
    }
}

/* CAG: the administrators of the instance that made the group are in its master from the start. */
static void add_login(struct model *model, const struct login *login, uint32_t instances)
{
    const struct logins one = {1, (struct login *)(uintptr_t)login};

    for (size_t i = 0; i < model->instance_count; i++) {
        if (instances >> i & 1)
            logins_copy(&one, &model->instances[i].logins);
    }
    for (size_t i = 0; i < model->group_count; i++) {
        const struct model_group *group = &model->groups[i];

        if (group->contained_master && login->rights & RIGHT_SYSADMIN &&
            instances >> group->primary & 1)
            logins_copy(&one, &group->contained_master->content.logins);
    }
}

enum escrow_err config_load_login(const json_t *entry, struct model *model)
{
    static const char *const keys[] = {"name",      "password",    "sid",    "rights",
                                       "instances", "disabled",    "locked", "expired",
                                       "databases", "must_change", NULL};
    struct login login = {.name = (char *)(uintptr_t)config_text(entry, "name", NULL),
                          .password = (char *)(uintptr_t)config_text(entry, "password", NULL)};
    unsigned rights = 0;
    uint32_t instances = 0;

    if (config_check_keys(entry, "logins", keys))
        return ESCROW_ERR_CONFIG;
    if (!login.name || !login.password != !!strchr(login.name, '\\'))
        return config_wrong("logins", "a name is needed, and a password unless it is DOMAIN\\user");
    if (load_sid(entry, login.name, &login.sid) || load_rights(entry, &rights) ||
        load_subset(entry, model, &instances))
        return ESCROW_ERR_CONFIG;
    login.is_disabled = json_is_true(json_object_get(entry, "disabled"));
    login.is_locked = json_is_true(json_object_get(entry, "locked"));
    login.is_expired = json_is_true(json_object_get(entry, "expired"));
    login.must_change = json_is_true(json_object_get(entry, "must_change"));
    login.rights = rights & ~(unsigned)RIGHTS_OF_USER;
    add_login(model, &login, instances);
    if (rights & RIGHTS_OF_USER)
        add_users(entry, model, &login, rights);
    return ESCROW_OK;
}
