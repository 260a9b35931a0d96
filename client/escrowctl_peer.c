/* SPDX-License-Identifier: Apache-2.0 */
#include "client/escrowctl_peer.h"

#include "client/worker_roster.h"
#include "libescrow/json.h"
#include "libescrow/log.h"
#include "libescrow/rpc.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void ctl_access_deinit(struct ctl_access *access)
{
    EVP_PKEY_free(access->authority);
    EVP_PKEY_free(access->act_key);
    config_free(access->config);
}

enum escrow_err ctl_access_init(struct ctl_access *access, const struct ctl *ctl, bool signs)
{
    enum escrow_err err;

    *access = (struct ctl_access){0};
    err = ctl_config_load(ctl->config_path, &access->config, &access->root);
    if (!err)
        err = key_read_public(access->root->authority_file, &access->authority);
    if (err || !signs)
        return err;
    if (!access->root->act_key_file) {
        log_error("%s: this command signs: act_key_file is needed", ctl->config_path);
        return ESCROW_ERR_CONFIG;
    }
    return key_read_private(access->root->act_key_file, &access->act_key);
}

enum escrow_err ctl_peer_init(struct ctl_peer *peer, const struct ctl_access *access, size_t index)
{
    const struct rpc_server *escrowd = &access->root->escrowds[index];
    enum escrow_err err;

    *peer = (struct ctl_peer){
        .escrowd = escrowd,
        .session = {.act_key = access->act_key, .timeout_ms = access->root->timeout_ms}};
    err =
        rpc_server_tls(escrowd, access->root->certificate_file, access->root->key_file, &peer->tls);
    return err ? err
               : rpc_new(escrowd->address, (uint16_t)escrowd->port, peer->tls, &peer->session.rpc);
}

void ctl_peer_deinit(struct ctl_peer *peer)
{
    rpc_free(peer->session.rpc);
    tls_free(peer->tls);
    roster_free(peer->roster);
}

enum escrow_err ctl_peer_fail(const struct ctl_peer *peer, enum escrow_err err)
{
    const struct rpc_reply *problem = &peer->session.problem;

    if (problem->reason != REASON_NONE)
        log_error("escrowd %s: %s: %s", peer->escrowd->address, reason_code(problem->reason),
                  problem->detail[0] ? problem->detail : reason_text(problem->reason));
    else
        log_error("escrowd %s: %s", peer->escrowd->address,
                  problem->detail[0] ? problem->detail : escrow_err_name(err));
    return err;
}

enum escrow_err ctl_peer_roster(struct ctl_peer *peer, const struct ctl_access *access)
{
    CLEANUP(cleanup_free) char *body = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;
    const char *what = "its roster does not have its form";
    size_t len = 0;
    enum escrow_err err = rpc_session_get(&peer->session, "/v1/roster", &body, &len);

    if (err)
        return ctl_peer_fail(peer, err);
    err = rpc_unwrap(body, len, "roster", &compact);
    if (!err)
        err = worker_roster_accept(compact, strlen(compact), access->authority,
                                   access->root->state_file, &peer->roster, &what);
    if (err) {
        log_error("escrowd %s: %s", peer->escrowd->address, what);
        return err;
    }
    peer->session.roster = peer->roster;
    return ESCROW_OK;
}

enum escrow_err ctl_peer_get(struct ctl_peer *peer, const char *path, json_t **ret_object)
{
    CLEANUP(cleanup_free) char *body = NULL;
    size_t len = 0;
    enum escrow_err err = rpc_session_get(&peer->session, path, &body, &len);

    if (err)
        return ctl_peer_fail(peer, err);
    err = json_parse(body, len, RPC_BODY_MAX, ret_object);
    if (err)
        log_error("escrowd %s: %s is not a JSON object", peer->escrowd->address, path);
    return err;
}
