/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/log.h"
#include "tests/sqlsim/config_read.h"
#include "tests/sqlsim/sqlcmd.h"

#include <string.h>

#define VARIABLES_MAX 8

static bool names_instance(const json_t *instances, const char *name)
{
    json_t *entry;
    size_t i;

    json_array_foreach(instances, i, entry)
    {
        if (json_is_string(entry) && model_is_name(json_string_value(entry), name))
            return true;
    }
    return !instances;
}

/* On all instances or those named, the primary of the first group before the others. */
static enum escrow_err run_everywhere(const json_t *instances, struct model *model,
                                      const struct sqlcmd *sqlcmd)
{
    size_t first = model->groups[0].primary;

    for (size_t i = 0; i < model->instance_count; i++) {
        size_t instance = i == 0 ? first : i <= first ? i - 1 : i;
        CLEANUP(cleanup_free) char *error = NULL;

        if (!names_instance(instances, model->instances[instance].name))
            continue;
        error = sqlcmd_run(model, instance, sqlcmd);
        if (error) {
            log_error("configuration: scripts: %s: %s", model->instances[instance].name, error);
            return ESCROW_ERR_CONFIG;
        }
    }
    return ESCROW_OK;
}

enum escrow_err config_run_script(const json_t *entry, struct model *model)
{
    static const char *const keys[] = {"login", "text", "variables", "instances", NULL};
    struct sqlcmd_variable variables[VARIABLES_MAX];
    struct sqlcmd sqlcmd = {.login = config_text(entry, "login", NULL),
                            .script = config_text(entry, "text", NULL),
                            .variables = variables};
    const char *name;
    json_t *value;

    if (config_check_keys(entry, "scripts", keys))
        return ESCROW_ERR_CONFIG;
    if (!sqlcmd.login || !sqlcmd.script)
        return config_wrong("scripts", "a login and a text are needed");
    json_object_foreach(json_object_get(entry, "variables"), name, value)
    {
        if (!json_is_string(value) || sqlcmd.variable_count == VARIABLES_MAX)
            return config_wrong("variables", "must be texts, and not many");
        variables[sqlcmd.variable_count++] =
            (struct sqlcmd_variable){name, json_string_value(value)};
    }
    return run_everywhere(json_object_get(entry, "instances"), model, &sqlcmd);
}
