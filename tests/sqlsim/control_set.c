/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/control.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/model_view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CLOCK_OFF_MAX_MS INT64_C(3155760000000) /* a hundred years */

/* A lie's text: "" takes it back. */
static void set_lie(char **lie, const char *value)
{
    free(*lie);
    *lie = *value ? memory_copy(value) : NULL;
}

static bool set_role_lie(struct model_lies *lies, const char *value)
{
    static const char *const roles[] = {"RESOLVING", "PRIMARY", "SECONDARY"};

    if (!*value) {
        lies->role = MODEL_NONE;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        if (strcmp(roles[i], value) == 0) {
            lies->role = i;
            return true;
        }
    }
    return false;
}

static bool set_quorum(struct model *model, size_t instance, const char *value)
{
    static const char *const states[] = {"lost", "normal", "forced"};

    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (strcmp(states[i], value) == 0) {
            model_set_quorum(model, instance, (enum model_quorum)i);
            return true;
        }
    }
    return false;
}

static bool set_encryption(struct instance *instance, const char *value)
{
    static const char *const modes[] = {"on", "require", "off", "not_sup"};

    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        if (strcmp(modes[i], value) == 0) {
            instance->encryption = (enum tds_encryption_mode)i;
            return true;
        }
    }
    return false;
}

static bool set_view(const struct model *model, struct model_group *group, size_t instance,
                     const char *value)
{
    const bool is_frozen = strcmp(value, "frozen") == 0;

    if (!is_frozen && *value)
        return false;
    model_view_freeze(model, group, instance, is_frozen);
    return true;
}

/* on or off */
static bool parse_switch(const char *value, bool *ret_is_on)
{
    *ret_is_on = strcmp(value, "on") == 0;
    return *ret_is_on || strcmp(value, "off") == 0;
}

/* Of a copy of a database: false: no such property, or no such value of it. */
static bool set_copy(struct simulator *simulator, struct model_database *database, size_t instance,
                     const char *property, const char *value)
{
    bool is_on;

    if (!database || !parse_switch(value, &is_on))
        return false;
    if (strcmp(property, "suspended") == 0)
        model_suspend(&simulator->model, database, instance, is_on);
    else if (strcmp(property, "lag") == 0)
        model_lag(&simulator->model, database, instance, is_on);
    else if (strcmp(property, "redo_lag") == 0 && !model_is_owner(database, instance))
        model_lag_redo(&simulator->model, database, instance, is_on);
    else
        return false;
    return true;
}

static bool set_clock(struct model_instance *instance, const char *value)
{
    char *end;

    errno = 0;
    instance->clock_ms = strtoll(value, &end, 10);
    return !errno && *value && !*end && llabs(instance->clock_ms) <= CLOCK_OFF_MAX_MS;
}

/* Of a replica in a group, or of its instance; the rest is of a copy. */
static bool set_property(struct simulator *simulator, const struct control_scope *scope,
                         size_t instance, const char *property, const char *value)
{
    struct model_instance *own = &simulator->model.instances[instance];
    struct model_replica *replica = &scope->group->replicas[instance];

    if (strcmp(property, "role") == 0)
        return set_role_lie(&replica->lies, value);
    if (strcmp(property, "view") == 0)
        return set_view(&simulator->model, scope->group, instance, value);
    if (strcmp(property, "quorum") == 0)
        return set_quorum(&simulator->model, instance, value);
    if (strcmp(property, "clock") == 0)
        return set_clock(own, value);
    if (strcmp(property, "encryption") == 0)
        return set_encryption(&simulator->instances[instance], value);
    if (strcmp(property, "primary_replica") == 0)
        set_lie(&replica->lies.primary_replica, value);
    else if (strcmp(property, "sequence_number") == 0)
        set_lie(&replica->lies.sequence_number, value);
    else if (strcmp(property, "server_name") == 0)
        set_lie(&own->server_name, *value ? value : own->name);
    else
        return set_copy(simulator, scope->database, instance, property, value);
    return true;
}

/* NODE.PROPERTY; names of instances may have dots. */
static json_t *set_of_node(struct simulator *simulator, const struct control_scope *scope,
                           const char *name, const char *value)
{
    const char *dot = strrchr(name, '.');
    CLEANUP(cleanup_free) char *node = memory_copy_part(name, (size_t)(dot - name));
    size_t instance = model_find_instance(&simulator->model, node);

    if (instance == MODEL_NONE)
        return control_no_instance(node);
    return set_property(simulator, scope, instance, dot + 1, value)
               ? control_done(simulator)
               : control_error("no such property or value");
}

json_t *control_set(struct simulator *simulator, struct control_words *words)
{
    struct control_scope scope;

    if (!control_find_scope(simulator, words, &scope))
        return control_no_scope();
    if (words->count != 3)
        return control_error("usage: set [--group G] [--database D] SWITCH | NODE.PROPERTY VALUE");
    if (strchr(words->words[1], '.'))
        return set_of_node(simulator, &scope, words->words[1], words->words[2]);
    switch (switches_set(&simulator->model.switches, words->words[1], words->words[2])) {
    case ESCROW_OK:
        return control_done(simulator);
    case ESCROW_ERR_NOT_FOUND:
        return control_error("no such switch");
    default:
        return control_error("no such value");
    }
}
