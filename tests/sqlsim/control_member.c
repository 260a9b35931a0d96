/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/control.h"

#include <string.h>

/* An instance, or `cluster`; or MODEL_NONE. */
static size_t find_party(const struct simulator *simulator, const char *name)
{
    return strcmp(name, "cluster") == 0 ? MODEL_CLUSTER
                                        : model_find_instance(&simulator->model, name);
}

json_t *control_partition(struct simulator *simulator, struct control_words *words)
{
    bool is_automatic = control_flag(words, "--auto");
    size_t one, other;

    if (words->count != 3)
        return control_error("usage: partition [--auto] NODE NODE | NODE cluster");
    one = find_party(simulator, words->words[1]);
    other = find_party(simulator, words->words[2]);
    if (one == MODEL_NONE || other == MODEL_NONE || one == other)
        return control_error("two different instances, or one and cluster");
    model_cut(&simulator->model, one, other, is_automatic);
    return control_done(simulator);
}

json_t *control_heal(struct simulator *simulator, struct control_words *words)
{
    size_t one = MODEL_NONE, other = MODEL_NONE;

    if (words->count == 3) {
        one = find_party(simulator, words->words[1]);
        other = find_party(simulator, words->words[2]);
    }
    if (words->count != 1 && (one == MODEL_NONE || other == MODEL_NONE || one == other))
        return control_error("usage: heal [NODE NODE | NODE cluster]");
    for (size_t i = 0; i < simulator->model.instance_count && words->count == 1; i++) {
        for (size_t n = i + 1; n <= MODEL_CLUSTER; n++)
            model_heal(&simulator->model, i, n);
    }
    if (words->count == 3)
        model_heal(&simulator->model, one, other);
    return control_done(simulator);
}

json_t *control_replica(struct simulator *simulator, struct control_words *words)
{
    struct control_scope scope;
    size_t instance;
    bool is_done = false;

    if (!control_find_scope(simulator, words, &scope))
        return control_no_scope();
    if (words->count != 3)
        return control_error("usage: replica [--group G] add | remove NODE");
    instance = model_find_instance(&simulator->model, words->words[2]);
    if (instance == MODEL_NONE)
        return control_no_instance(words->words[2]);
    if (strcmp(words->words[1], "remove") == 0)
        is_done = model_remove_replica(&simulator->model, scope.group, instance);
    else if (strcmp(words->words[1], "add") == 0 && !scope.group->replicas[instance].is_member)
        is_done = model_return_replica(&simulator->model, scope.group, instance) != NULL;
    return is_done ? control_done(simulator) : control_error("it is the primary, or so already");
}

json_t *control_database(struct simulator *simulator, struct control_words *words)
{
    struct control_scope scope;
    bool is_done = false;

    if (!control_find_scope(simulator, words, &scope))
        return control_no_scope();
    if (words->count != 2 || !scope.database)
        return control_error("usage: database [--group G] --database D add | remove");
    if (strcmp(words->words[1], "remove") == 0)
        is_done = model_remove_database(&simulator->model, scope.database);
    else if (strcmp(words->words[1], "add") == 0)
        is_done = model_return_database(&simulator->model, scope.database, scope.group);
    return is_done ? control_done(simulator) : control_error("not on a primary, or so already");
}
