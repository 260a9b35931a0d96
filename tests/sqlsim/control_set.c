/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/control.h"
#include "tests/sqlsim/memory.h"

#include <stdlib.h>
#include <string.h>

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

static bool set_quorum(struct model_instance *instance, const char *value)
{
    static const char *const states[] = {"lost", "normal", "forced"};

    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (strcmp(states[i], value) == 0) {
            instance->quorum = (enum model_quorum)i;
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

/* false: no such property, or no such value of it. */
static bool set_property(struct simulator *simulator, struct model_group *group, size_t instance,
                         const char *property, const char *value)
{
    struct model_replica *replica = &group->replicas[instance];

    if (strcmp(property, "role") == 0)
        return set_role_lie(&replica->lies, value);
    if (strcmp(property, "quorum") == 0)
        return set_quorum(&simulator->model.instances[instance], value);
    if (strcmp(property, "encryption") == 0)
        return set_encryption(&simulator->instances[instance], value);
    if (strcmp(property, "primary_replica") == 0)
        set_lie(&replica->lies.primary_replica, value);
    else if (strcmp(property, "sequence_number") == 0)
        set_lie(&replica->lies.sequence_number, value);
    else
        return false;
    return true;
}

/* NODE.PROPERTY; names of instances may have dots. */
static json_t *set_of_node(struct simulator *simulator, struct model_group *group, const char *name,
                           const char *value)
{
    const char *dot = strrchr(name, '.');
    CLEANUP(cleanup_free) char *node = memory_copy_part(name, (size_t)(dot - name));
    size_t instance = model_find_instance(&simulator->model, node);

    if (instance == MODEL_NONE)
        return control_no_instance(node);
    return set_property(simulator, group, instance, dot + 1, value)
               ? control_done(simulator)
               : control_error("no such property or value");
}

json_t *control_set(struct simulator *simulator, struct control_words *words)
{
    struct model_database *database;
    struct model_group *group;

    if (!control_find_scope(simulator, words, &group, &database))
        return control_no_scope();
    if (words->count != 3)
        return control_error("usage: set [--group G] SWITCH | NODE.PROPERTY VALUE");
    if (strchr(words->words[1], '.'))
        return set_of_node(simulator, group, words->words[1], words->words[2]);
    switch (switches_set(&simulator->model.switches, words->words[1], words->words[2])) {
    case ESCROW_OK:
        return control_done(simulator);
    case ESCROW_ERR_NOT_FOUND:
        return control_error("no such switch");
    default:
        return control_error("no such value");
    }
}
