/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/encode.h"
#include "tests/sqlsim/config_read.h"
#include "tests/sqlsim/memory.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <ctype.h>
#include <string.h>

#define DEFAULT_SID_LEN 16

/* "0x" and hexadecimal digits; missing: made from the name, so the same everywhere. */
static enum escrow_err load_sid(const json_t *entry, const char *name, struct sid *ret_sid)
{
    const char *text = config_text(entry, "sid", "");
    struct sid sid = {.len = DEFAULT_SID_LEN};
    uint8_t digest[SHA256_DIGEST_LENGTH];

    if (text && !*text) {
        if (!EVP_Digest(name, strlen(name), digest, NULL, EVP_sha256(), NULL))
            return ESCROW_ERR_CRYPTO;
        memcpy(sid.bytes, digest, sid.len);
    } else {
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
                                   uint64_t *ret_instances)
{
    const json_t *list = json_object_get(entry, "instances");
    uint64_t instances = 0;
    json_t *name;
    size_t i;

    json_array_foreach(list, i, name)
    {
        size_t instance =
            json_is_string(name) ? model_find_instance(model, json_string_value(name)) : MODEL_NONE;

        if (instance == MODEL_NONE)
            return config_wrong("logins: instances", "no such instance");
        instances |= UINT64_C(1) << instance;
    }
    *ret_instances = list ? instances : UINT64_MAX;
    return ESCROW_OK;
}

/* The database user of a login is made once, from its first entry; SIDs of later ones may differ.
 */
static void add_user(struct principals *principals, const struct login *login, unsigned rights)
{
    struct user *user;

    for (size_t i = 0; i < principals->user_count; i++) {
        if (strcmp(principals->users[i].name, login->name) == 0)
            return;
    }
    user = principals_add_user(principals, login->name);
    user->sid = login->sid;
    user->rights = rights & RIGHTS_OF_USER;
}

/* A state of the password, which each instance has for itself. */
static uint64_t on_all_instances(const json_t *entry, const char *key)
{
    return json_is_true(json_object_get(entry, key)) ? UINT64_MAX : 0;
}

enum escrow_err config_load_login(const json_t *entry, struct model *model)
{
    static const char *const keys[] = {"name",        "password", "sid",    "rights",
                                       "instances",   "disabled", "locked", "expired",
                                       "must_change", NULL};
    const char *name = config_text(entry, "name", NULL);
    const char *password = config_text(entry, "password", NULL);
    struct login *login;
    unsigned rights = 0;

    if (config_check_keys(entry, "logins", keys))
        return ESCROW_ERR_CONFIG;
    if (!name || !password != !!strchr(name, '\\'))
        return config_wrong("logins", "a name is needed, and a password unless it is DOMAIN\\user");
    login = principals_add_login(&model->principals, name);
    if (password)
        login->password = memory_copy(password);
    login->is_disabled = json_is_true(json_object_get(entry, "disabled"));
    if (load_sid(entry, name, &login->sid) || load_rights(entry, &rights) ||
        load_subset(entry, model, &login->instances))
        return ESCROW_ERR_CONFIG;
    login->locked = on_all_instances(entry, "locked");
    login->expired = on_all_instances(entry, "expired");
    login->must_change = on_all_instances(entry, "must_change");
    login->rights = rights & ~(unsigned)RIGHTS_OF_USER;
    if (rights & RIGHTS_OF_USER)
        add_user(&model->principals, login, rights);
    return ESCROW_OK;
}
