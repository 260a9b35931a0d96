/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/config.h"

#include "libescrow/encode.h"
#include "libescrow/log.h"
#include "tests/sqlsim/memory.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_GROUP "AG1"
#define DEFAULT_DATABASE "SSISDB"
#define DEFAULT_SID_LEN 16

CLEANUP_FUNCTION(json_decref_p, json_t, json_decref)

static enum escrow_err wrong(const char *place, const char *what)
{
    log_error("configuration: %s: %s", place, what);
    return ESCROW_ERR_CONFIG;
}

/* Refuses keys that are not in the list, which ends with NULL. */
static enum escrow_err check_keys(const json_t *object, const char *place, const char *const *known)
{
    const char *key;
    json_t *value;

    if (!json_is_object(object))
        return wrong(place, "must be an object");
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t i = 0;

        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            return wrong(key, "unknown key");
    }
    return ESCROW_OK;
}

/* A text, or the default if the key is missing; NULL if it is something else. */
static const char *text_of(const json_t *object, const char *key, const char *missing)
{
    const json_t *value = json_object_get(object, key);

    return value ? json_string_value(value) : missing;
}

/* The place of a key's word in the list (which ends with NULL), or the first if it is missing. */
static enum escrow_err word_of(const json_t *object, const char *key, const char *const *words,
                               size_t *ret_index)
{
    const char *word = text_of(object, key, words[0]);

    for (size_t i = 0; word && words[i]; i++) {
        if (strcmp(words[i], word) == 0) {
            *ret_index = i;
            return ESCROW_OK;
        }
    }
    return wrong(key, "no such value");
}

static enum escrow_err load_group(const json_t *root, struct simulator *simulator)
{
    static const char *const group_keys[] = {"name", "cluster_type", NULL};
    static const char *const database_keys[] = {"name", "master_key_passwords", "probe_certificate",
                                                "master_key", NULL};
    static const char *const clusters[] = {"WSFC", "EXTERNAL", "NONE", NULL};
    CLEANUP(json_decref_p) json_t *empty = json_object();
    const json_t *group = json_object_get(root, "group");
    const json_t *database = json_object_get(root, "database");
    const char *group_name, *database_name;
    struct model *model = &simulator->model;
    size_t cluster, i;
    json_t *password;

    group = group ? group : empty;
    database = database ? database : empty;
    group_name = text_of(group, "name", DEFAULT_GROUP);
    database_name = text_of(database, "name", DEFAULT_DATABASE);
    if (check_keys(group, "group", group_keys) || check_keys(database, "database", database_keys) ||
        word_of(group, "cluster_type", clusters, &cluster))
        return ESCROW_ERR_CONFIG;
    if (!group_name || !database_name)
        return wrong("name", "must be a text");
    model_init(model, group_name, database_name);
    model->cluster = (enum model_cluster)cluster;
    model->key.exists = !json_is_false(json_object_get(database, "master_key"));
    model->key.has_probe_certificate =
        !json_is_false(json_object_get(database, "probe_certificate"));
    json_array_foreach(json_object_get(database, "master_key_passwords"), i, password)
    {
        if (!json_is_string(password))
            return wrong("master_key_passwords", "must be texts");
        (void)master_key_add_password(&model->key, json_string_value(password), 0);
    }
    return ESCROW_OK;
}

static enum escrow_err load_switches(const json_t *root, struct model *model)
{
    json_t *switches = json_object_get(root, "switches"), *value;
    const char *name;

    json_object_foreach(switches, name, value)
    {
        CLEANUP(cleanup_free)
        char *text = json_is_string(value) ? memory_copy(json_string_value(value))
                                           : json_dumps(value, JSON_ENCODE_ANY);

        if (!text || switches_set(&model->switches, name, text))
            return wrong(name, "no such switch or value");
    }
    return ESCROW_OK;
}

static void replace(char **text, const char *value)
{
    free(*text);
    *text = memory_copy(value);
}

/* "fallback" or a PEM file with a key. */
static enum escrow_err load_certificate(const json_t *entry, struct instance *instance)
{
    const char *certificate = text_of(entry, "certificate", "fallback");
    const char *key = text_of(entry, "key", NULL);

    if (!certificate)
        return wrong("certificate", "must be a text");
    if (strcmp(certificate, "fallback") == 0)
        return ESCROW_OK;
    if (!key)
        return wrong("key", "is missing");
    instance->certificate_file = memory_copy(certificate);
    instance->key_file = memory_copy(key);
    return ESCROW_OK;
}

static enum escrow_err load_replica(const json_t *entry, struct model_replica *replica)
{
    static const char *const readable[] = {"no", "read_only", "all", NULL};
    static const char *const modes[] = {"synchronous", "asynchronous", NULL};
    const char *service_key = text_of(entry, "service_master_key", replica->name);
    const char *version = text_of(entry, "version", replica->version);
    size_t readable_index, mode_index;

    if (!service_key || strlen(service_key) >= MASTER_KEY_SMK_MAX)
        return wrong("service_master_key", "must be a short text");
    if (!version || !isdigit((unsigned char)version[0]))
        return wrong("version", "must be like 16.0.4165.4");
    if (word_of(entry, "readable", readable, &readable_index) ||
        word_of(entry, "availability_mode", modes, &mode_index))
        return ESCROW_ERR_CONFIG;
    replace(&replica->service_key, service_key);
    if (version != replica->version)
        replace(&replica->version, version);
    replica->readable = (enum model_readable)readable_index;
    replica->is_asynchronous = mode_index == 1;
    return ESCROW_OK;
}

static enum escrow_err load_instance(const json_t *entry, struct simulator *simulator)
{
    static const char *const keys[] = {"name",
                                       "port",
                                       "certificate",
                                       "key",
                                       "service_master_key",
                                       "encryption",
                                       "tls_max",
                                       "readable",
                                       "availability_mode",
                                       "version",
                                       NULL};
    static const char *const modes[] = {"on", "require", "off", "not_sup", NULL};
    static const char *const tls[] = {"1.2", "1.1", "1.0", NULL};
    static const int tls_versions[] = {TLS1_2_VERSION, TLS1_1_VERSION, TLS1_VERSION};
    const char *name = text_of(entry, "name", NULL);
    json_int_t port = json_integer_value(json_object_get(entry, "port"));
    struct instance *instance;
    size_t replica, mode, tls_index;

    if (check_keys(entry, "instances", keys))
        return ESCROW_ERR_CONFIG;
    if (!name || !*name || model_find(&simulator->model, name) != MODEL_NONE)
        return wrong("instances", "each needs a name of its own");
    if (port < 0 || port > UINT16_MAX)
        return wrong("port", "must be 0 to 65535");
    if (simulator->model.count == MODEL_REPLICAS_MAX)
        return wrong("instances", "too many");
    replica = model_add_replica(&simulator->model, name);
    instance = &simulator->instances[replica];
    *instance = (struct instance){
        .simulator = simulator, .replica = replica, .port = (uint16_t)port, .reserved_fd = -1};
    if (word_of(entry, "encryption", modes, &mode) || word_of(entry, "tls_max", tls, &tls_index) ||
        load_certificate(entry, instance))
        return ESCROW_ERR_CONFIG;
    instance->encryption = (enum tds_encryption_mode)mode;
    instance->tls_max = tls_versions[tls_index];
    return load_replica(entry, &simulator->model.replicas[replica]);
}

static enum escrow_err load_instances(const json_t *root, struct simulator *simulator)
{
    const json_t *list = json_object_get(root, "instances");
    const char *primary = text_of(root, "primary", NULL);
    size_t i, first = 0;
    json_t *entry;

    if (!json_array_size(list))
        return wrong("instances", "at least one is needed");
    json_array_foreach(list, i, entry)
    {
        enum escrow_err err = load_instance(entry, simulator);

        if (err)
            return err;
    }
    if (primary)
        first = model_find(&simulator->model, primary);
    if (first == MODEL_NONE)
        return wrong("primary", "no such instance");
    model_set_initial_primary(&simulator->model, first);
    return ESCROW_OK;
}

/* "0x" and hexadecimal digits; missing: made from the name, so the same everywhere. */
static enum escrow_err load_sid(const json_t *entry, const char *name, struct sid *ret_sid)
{
    const char *text = text_of(entry, "sid", "");
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
            return wrong("sid", "must be 0x and hexadecimal digits");
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
            return wrong("rights", "no such right");
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
        size_t replica =
            json_is_string(name) ? model_find(model, json_string_value(name)) : MODEL_NONE;

        if (replica == MODEL_NONE)
            return wrong("logins: instances", "no such instance");
        instances |= UINT64_C(1) << replica;
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

static enum escrow_err load_login(const json_t *entry, struct model *model)
{
    static const char *const keys[] = {"name",      "password", "sid", "rights",
                                       "instances", "disabled", NULL};
    const char *name = text_of(entry, "name", NULL);
    const char *password = text_of(entry, "password", NULL);
    struct login *login;
    unsigned rights;

    if (check_keys(entry, "logins", keys))
        return ESCROW_ERR_CONFIG;
    if (!name || !password)
        return wrong("logins", "name and password are needed");
    login = principals_add_login(&model->principals, name);
    login->password = memory_copy(password);
    login->is_disabled = json_is_true(json_object_get(entry, "disabled"));
    if (load_sid(entry, name, &login->sid) || load_rights(entry, &rights) ||
        load_subset(entry, model, &login->instances))
        return ESCROW_ERR_CONFIG;
    login->rights = rights & ~(unsigned)RIGHTS_OF_USER;
    if (rights & RIGHTS_OF_USER)
        add_user(&model->principals, login, rights);
    return ESCROW_OK;
}

static enum escrow_err load(const json_t *root, struct simulator *simulator)
{
    static const char *const keys[] = {"group",  "database", "switches", "instances",
                                       "logins", "primary",  "control",  NULL};
    const char *control = text_of(root, "control", NULL);
    enum escrow_err err = check_keys(root, "the file", keys);
    json_t *entry;
    size_t i;

    if (!err)
        err = load_group(root, simulator);
    if (!err)
        err = load_switches(root, &simulator->model);
    if (!err)
        err = load_instances(root, simulator);
    if (!err && control)
        simulator->control_path = memory_copy(control);
    json_array_foreach(json_object_get(root, "logins"), i, entry)
    {
        if (!err)
            err = load_login(entry, &simulator->model);
    }
    return err;
}

enum escrow_err config_load(const char *path, struct simulator *simulator)
{
    json_error_t error;
    CLEANUP(json_decref_p) json_t *root = NULL;

    root = strcmp(path, "-") == 0 ? json_loadf(stdin, JSON_REJECT_DUPLICATES, &error)
                                  : json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        log_error("configuration: %s:%d: %s", path, error.line, error.text);
        return ESCROW_ERR_CONFIG;
    }
    return load(root, simulator);
}
