/* SPDX-License-Identifier: Apache-2.0 */
#include "client/rpc_server.h"

static const char *const crl_stale_words[] = {
    [TLS_CRL_STALE_WARN] = "warn",
    [TLS_CRL_STALE_REFUSE] = "refuse",
};

static const struct config_field fields[] = {
    {"address", CONFIG_STRING(struct rpc_server, address, 253), .is_required = true},
    {"port", CONFIG_INTEGER(struct rpc_server, port, 1, 65535), .is_required = true},
    {"server_id", CONFIG_STRING(struct rpc_server, server_id, IDENTITY_MAX), .is_required = true},
    {"ca_file", CONFIG_PATH(struct rpc_server, ca_file), .is_required = true},
    {"crl_file", CONFIG_PATH(struct rpc_server, crl_file)},
    {"crl_stale", CONFIG_ENUM(struct rpc_server, crl_stale, crl_stale_words), .fallback = "warn"},
};
const struct config_schema rpc_server_schema = CONFIG_SCHEMA(struct rpc_server, fields);

enum escrow_err rpc_server_tls(const struct rpc_server *server, const char *certificate,
                               const char *key, struct tls **ret_tls)
{
    const struct tls_config config = {.ca_file = server->ca_file,
                                      .crl_file = server->crl_file,
                                      .crl_stale = server->crl_stale,
                                      .certificate = certificate,
                                      .key = key,
                                      .server_identity = server->server_id};

    return tls_client_new(&config, ret_tls);
}
