/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/rpc_server.h"

/*
 * escrowctl.yaml: which escrowds there are, and as whom we speak to them. Names files of keys,
 * never holds one.
 */

struct ctl_config {
    const struct rpc_server *escrowds;
    size_t escrowd_count;
    const char *certificate_file, *key_file; /* of the TLS channel */
    const char *act_key_file;                /* NULL: nothing can be signed (auditors) */
    const char *authority_file;              /* the policy authority's public key */
    const char *state_file;                  /* the highest roster version that was seen */
    int64_t timeout_ms;                      /* of one request */
};

/* ESCROW_ERR_CONFIG after a log line for everything that is wrong. *ret_root is in *ret_config. */
MUST_CHECK enum escrow_err ctl_config_load(const char *path, struct config **ret_config,
                                           const struct ctl_config **ret_root);
