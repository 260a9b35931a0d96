/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_role.h"

#include "client/agent_child.h"
#include "client/agent_config.h"
#include "client/agent_sandbox.h"
#include "client/worker.h"
#include "libescrow/log.h"
#include "libescrow/prober.h"

#include <stdlib.h>
#include <string.h>

/* Of all groups of the instance. */
static enum escrow_err run_prober(const struct agent_config *config,
                                  const struct agent_instance *instance)
{
    const struct sql_instance sql = agent_config_sql(instance);
    CLEANUP(cleanup_free) struct agent_target *named = NULL;
    CLEANUP(cleanup_free) struct prober_target *targets = NULL;
    struct prober_config prober = {.instance = &sql};
    enum escrow_err err =
        agent_config_targets(config, instance->name, &named, &prober.target_count);

    if (err)
        return err;
    targets = calloc(prober.target_count, sizeof(*targets));
    if (!targets)
        return ESCROW_ERR_NO_MEMORY;
    for (size_t i = 0; i < prober.target_count; i++)
        targets[i] =
            (struct prober_target){.availability_group = named[i].instance->availability_group,
                                   .database = named[i].database};
    prober.targets = targets;
    err = sql_environment_new(&sql);
    if (!err)
        err = agent_sandbox_prober(instance);
    if (!err)
        err = prober_run(AGENT_CHANNEL_FD, &prober);
    sql_environment_free();
    return err;
}

/* The instance's own text for the database; NULL if it has none of that name. */
static const char *find_database(const struct agent_instance *instance, const char *name)
{
    for (size_t i = 0; i < instance->database_count; i++)
        if (strcmp(instance->databases[i], name) == 0)
            return instance->databases[i];
    return NULL;
}

enum escrow_err agent_role_run(const struct agent_role_arguments *arguments)
{
    CLEANUP(config_free_p) struct config *config = NULL;
    const struct agent_instance *instance;
    const struct agent_config *root;
    struct worker_task task = {.channel_fd = AGENT_CHANNEL_FD};
    enum escrow_err err = agent_config_load(arguments->config_path, &config, &root);

    if (err)
        return err;
    instance = arguments->instance ? agent_config_instance(root, arguments->instance) : NULL;
    if (!instance)
        return ESCROW_ERR_USAGE;
    if (strcmp(arguments->role, "prober") == 0)
        return run_prober(root, instance);
    instance = arguments->group ? agent_config_group(root, instance->name, arguments->group) : NULL;
    if (!instance)
        return ESCROW_ERR_USAGE;
    task.config = root;
    task.instance = instance;
    if (strcmp(arguments->role, "rehearsal") == 0)
        return worker_rehearse(&task);
    task.database = arguments->database ? find_database(instance, arguments->database) : NULL;
    if (strcmp(arguments->role, "worker") != 0 || !task.database)
        return ESCROW_ERR_USAGE;
    return worker_attempt(&task);
}
