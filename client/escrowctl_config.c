/* SPDX-License-Identifier: Apache-2.0 */
#include "client/escrowctl_config.h"

#define ESCROWDS_MAX 16
#define SECOND_MS 1000

static const struct config_field ctl_fields[] = {
    {"escrowds",
     CONFIG_MAPPING_LIST(struct ctl_config, escrowds, escrowd_count, &rpc_server_schema, 1,
                         ESCROWDS_MAX),
     .is_required = true},
    {"certificate_file", CONFIG_PATH(struct ctl_config, certificate_file), .is_required = true},
    {"key_file", CONFIG_PATH(struct ctl_config, key_file), .is_required = true},
    {"act_key_file", CONFIG_PATH(struct ctl_config, act_key_file)},
    {"authority_file", CONFIG_PATH(struct ctl_config, authority_file), .is_required = true},
    {"state_file", CONFIG_PATH(struct ctl_config, state_file), .is_required = true},
    {"timeout", CONFIG_DURATION(struct ctl_config, timeout_ms, SECOND_MS, 600 * SECOND_MS),
     .fallback = "20s"},
};
static const struct config_schema ctl_schema = CONFIG_SCHEMA(struct ctl_config, ctl_fields);

enum escrow_err ctl_config_load(const char *path, struct config **ret_config,
                                const struct ctl_config **ret_root)
{
    CLEANUP(config_report_deinit) struct config_report report = {0};
    enum escrow_err err = config_load(path, &ctl_schema, &report, ret_config);

    config_report_log(&report);
    if (!err)
        *ret_root = config_root(*ret_config);
    return err;
}
