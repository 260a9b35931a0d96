/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/config.h"

#include "libescrow/log.h"
#include "tests/sqlsim/config_read.h"
#include "tests/sqlsim/memory.h"

#include <ctype.h>
#include <string.h>

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
            return config_wrong(name, "no such switch or value");
    }
    return ESCROW_OK;
}

/* "fallback" or a PEM file with a key. */
static enum escrow_err load_certificate(const json_t *entry, struct instance *instance)
{
    const char *certificate = config_text(entry, "certificate", "fallback");
    const char *key = config_text(entry, "key", NULL);

    if (!certificate)
        return config_wrong("certificate", "must be a text");
    if (strcmp(certificate, "fallback") == 0)
        return ESCROW_OK;
    if (!key)
        return config_wrong("key", "is missing");
    instance->certificate_file = memory_copy(certificate);
    instance->key_file = memory_copy(key);
    return ESCROW_OK;
}

static enum escrow_err load_model_instance(const json_t *entry, struct model_instance *instance)
{
    const char *service_key = config_text(entry, "service_master_key", instance->name);
    const char *version = config_text(entry, "version", instance->version);
    const char *server_name = config_text(entry, "server_name", instance->name);
    static const char *const platforms[] = {"windows", "linux", NULL};
    size_t platform;

    if (!service_key || strlen(service_key) >= MASTER_KEY_SMK_MAX)
        return config_wrong("service_master_key", "must be a short text");
    if (!version || !isdigit((unsigned char)version[0]))
        return config_wrong("version", "must be like 16.0.4165.4");
    if (!server_name)
        return config_wrong("server_name", "must be a text");
    if (config_word(entry, "platform", platforms, &platform))
        return ESCROW_ERR_CONFIG;
    instance->platform = (enum version_platform)platform;
    config_replace(&instance->service_key, service_key);
    config_replace(&instance->server_name, server_name);
    if (version != instance->version)
        config_replace(&instance->version, version);
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
                                       "server_name",
                                       "version",
                                       "platform",
                                       "keytab",
                                       "network",
                                       NULL};
    static const char *const modes[] = {"on", "require", "off", "not_sup", NULL};
    static const char *const tls[] = {"1.2", "1.1", "1.0", NULL};
    static const int tls_versions[] = {TLS1_2_VERSION, TLS1_1_VERSION, TLS1_VERSION};
    const char *name = config_text(entry, "name", NULL);
    const char *keytab = config_text(entry, "keytab", NULL);
    const char *network = config_text(entry, "network", NULL);
    json_int_t port = json_integer_value(json_object_get(entry, "port"));
    struct instance *instance;
    size_t index, mode, tls_index;

    if (config_check_keys(entry, "instances", keys))
        return ESCROW_ERR_CONFIG;
    if (!name || !*name || model_find_instance(&simulator->model, name) != MODEL_NONE)
        return config_wrong("instances", "each needs a name of its own");
    if (port < 0 || port > UINT16_MAX)
        return config_wrong("port", "must be 0 to 65535");
    if (simulator->model.instance_count == MODEL_INSTANCES_MAX)
        return config_wrong("instances", "too many");
    index = model_add_instance(&simulator->model, name);
    instance = &simulator->instances[index];
    *instance = (struct instance){
        .simulator = simulator, .index = index, .port = (uint16_t)port, .reserved_fd = -1};
    if (config_word(entry, "encryption", modes, &mode) ||
        config_word(entry, "tls_max", tls, &tls_index) || load_certificate(entry, instance))
        return ESCROW_ERR_CONFIG;
    instance->encryption = (enum tds_encryption_mode)mode;
    if (keytab)
        instance->keytab = memory_copy(keytab);
    if (network)
        instance->network = memory_copy(network);
    instance->tls_max = tls_versions[tls_index];
    return load_model_instance(entry, &simulator->model.instances[index]);
}

static enum escrow_err load_instances(const json_t *root, struct simulator *simulator)
{
    const json_t *list = json_object_get(root, "instances");
    size_t i;
    json_t *entry;

    if (!json_array_size(list))
        return config_wrong("instances", "at least one is needed");
    json_array_foreach(list, i, entry)
    {
        enum escrow_err err = load_instance(entry, simulator);

        if (err)
            return err;
    }
    return ESCROW_OK;
}

/* Of group number index, if its entry has the key. */
static enum escrow_err load_listener(const json_t *entry, size_t index, struct simulator *simulator)
{
    const json_t *port = json_object_get(entry, "listener");

    if (!port)
        return ESCROW_OK;
    if (!json_is_integer(port) || json_integer_value(port) < 0 ||
        json_integer_value(port) > UINT16_MAX)
        return config_wrong("listener", "a port, 0 to 65535");
    simulator->listeners[simulator->listener_count++] = (struct listener){
        .simulator = simulator, .group = index, .port = (uint16_t)json_integer_value(port)};
    return ESCROW_OK;
}

static enum escrow_err load_listeners(const json_t *root, struct simulator *simulator)
{
    enum escrow_err err = load_listener(json_object_get(root, "group"), 0, simulator);
    json_t *entry;
    size_t i;

    json_array_foreach(json_object_get(root, "groups"), i, entry)
    {
        if (!err)
            err = load_listener(entry, i, simulator);
    }
    return err;
}

static enum escrow_err load(const json_t *root, struct simulator *simulator)
{
    static const char *const keys[] = {
        "group",   "database", "groups",    "databases",          "switches", "logins",
        "primary", "control",  "instances", "distributed_groups", "scripts",  NULL};
    const char *control = config_text(root, "control", NULL);
    enum escrow_err err = config_check_keys(root, "the file", keys);
    json_t *entry;
    size_t i;

    model_init(&simulator->model);
    if (!err)
        err = load_switches(root, &simulator->model);
    if (!err)
        err = load_instances(root, simulator);
    if (!err)
        err = config_load_groups(root, &simulator->model);
    if (!err)
        err = load_listeners(root, simulator);
    if (!err && control)
        simulator->control_path = memory_copy(control);
    json_array_foreach(json_object_get(root, "logins"), i, entry)
    {
        if (!err)
            err = config_load_login(entry, &simulator->model);
    }
    json_array_foreach(json_object_get(root, "scripts"), i, entry)
    {
        if (!err)
            err = config_run_script(entry, &simulator->model);
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
