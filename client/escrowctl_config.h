/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/config.h"
#include "libescrow/tls.h"

/*
 * escrowctl.yaml: which escrowds there are, and as whom we speak to them. Names files of keys,
 * never holds one.
 */

struct ctl_escrowd {
    const char *address;
    int64_t port;
    const char *server_id; /* the SAN URI its certificate must have */
    const char *ca_file;
    const char *crl_file; /* NULL: revocation is not checked */
    enum tls_crl_stale crl_stale;
};

struct ctl_config {
    const struct ctl_escrowd *escrowds;
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
