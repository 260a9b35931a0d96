/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_files.h"

#include "libescrow/cleanup.h"

#include <stdlib.h>

#define FILES_OF_AGENT 2
#define FILES_OF_ESCROWD 2
#define FILES_OF_INSTANCE 6

enum escrow_err agent_files_watch(struct file_watch *files, const struct agent_config *config,
                                  const char *config_path)
{
    size_t count = 0, cap = FILES_OF_AGENT + FILES_OF_ESCROWD * config->escrowd_count +
                            FILES_OF_INSTANCE * config->instance_count;
    CLEANUP(cleanup_free) const char **paths = calloc(cap, sizeof(*paths));

    if (!paths)
        return ESCROW_ERR_NO_MEMORY;
    paths[count++] = config_path;
    paths[count++] = config->authority_file;
    for (size_t i = 0; i < config->escrowd_count; i++) {
        paths[count++] = config->escrowds[i].ca_file;
        paths[count++] = config->escrowds[i].crl_file;
    }
    for (size_t i = 0; i < config->instance_count; i++) {
        const struct agent_instance *instance = &config->instances[i];

        paths[count++] = instance->ca_file;
        paths[count++] = instance->password_file;
        paths[count++] = instance->keytab;
        paths[count++] = instance->certificate_file;
        paths[count++] = instance->key_file;
        paths[count++] = instance->act_key_file;
    }
    return file_watch_set(files, paths, count);
}

bool agent_files_has_login(const struct file_watch *files, const struct agent_instance *instance)
{
    return file_watch_has_changed(files, instance->ca_file) ||
           file_watch_has_changed(files, instance->password_file) ||
           file_watch_has_changed(files, instance->keytab);
}

bool agent_files_has_identity(const struct file_watch *files, const struct agent_instance *instance)
{
    return file_watch_has_changed(files, instance->certificate_file) ||
           file_watch_has_changed(files, instance->key_file) ||
           file_watch_has_changed(files, instance->act_key_file);
}

bool agent_files_has_trust(const struct file_watch *files, const struct agent_config *config)
{
    bool has_changed = file_watch_has_changed(files, config->authority_file);

    for (size_t i = 0; i < config->escrowd_count && !has_changed; i++)
        has_changed = file_watch_has_changed(files, config->escrowds[i].ca_file) ||
                      file_watch_has_changed(files, config->escrowds[i].crl_file);
    return has_changed;
}
