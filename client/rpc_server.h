/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/config.h"
#include "libescrow/tls.h"

/*
 * An escrowd as the configurations of agent and escrowctl name it (an item of `escrowds`): where it
 * is, and by what it is known. Holds paths, never a key.
 */
struct rpc_server {
    const char *address;
    int64_t port;
    const char *server_id; /* the SAN URI its certificate must have */
    const char *ca_file;
    const char *crl_file; /* NULL: revocation is not checked */
    enum tls_crl_stale crl_stale;
};

extern const struct config_schema rpc_server_schema;

/* The client's end of a channel to it, from the client's own files; as tls_client_new. */
MUST_CHECK enum escrow_err rpc_server_tls(const struct rpc_server *server, const char *certificate,
                                          const char *key, struct tls **ret_tls);
