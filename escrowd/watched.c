/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/watched.h"

#include <stdlib.h>

#define FILES_OF_ESCROWD 6
#define FILES_OF_INSTANCE 3

enum escrow_err watched_set(struct file_watch *watch, const char *config_path,
                            const struct escrowd_config *config)
{
    const char *paths[FILES_OF_ESCROWD + FILES_OF_INSTANCE * ESCROWD_INSTANCES_MAX] = {
        config_path,          config->policy_file,          config->tls.ca_file,
        config->tls.crl_file, config->tls.certificate_file, config->tls.key_file};
    size_t count = FILES_OF_ESCROWD;

    for (size_t i = 0; i < config->instance_count; i++) {
        paths[count++] = config->instances[i].ca_file;
        paths[count++] = config->instances[i].password_file;
        paths[count++] = config->instances[i].keytab;
    }
    return file_watch_set(watch, paths, count);
}

bool watched_has_new_rules(const struct file_watch *watch, const char *config_path,
                           const struct escrowd_config *config)
{
    return file_watch_has_changed(watch, config_path) ||
           file_watch_has_changed(watch, config->policy_file);
}

bool watched_has_new_credentials(const struct file_watch *watch,
                                 const struct escrowd_config *config)
{
    return file_watch_has_changed(watch, config->tls.ca_file) ||
           file_watch_has_changed(watch, config->tls.crl_file) ||
           file_watch_has_changed(watch, config->tls.certificate_file) ||
           file_watch_has_changed(watch, config->tls.key_file);
}

bool watched_has_new_login(const struct file_watch *watch, const struct escrowd_config *config,
                           const char *instance)
{
    const struct escrowd_instance *known = escrowd_config_find(config, instance);

    return known && (file_watch_has_changed(watch, known->ca_file) ||
                     file_watch_has_changed(watch, known->password_file) ||
                     file_watch_has_changed(watch, known->keytab));
}
