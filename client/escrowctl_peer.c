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

enum escrow_err ctl_find_escrowd(const struct ctl_access *access, const char *name,
                                 size_t *ret_index)
{
    const struct ctl_config *root = access->root;

    if (!name && root->escrowd_count == 1) {
        *ret_index = 0;
        return ESCROW_OK;
    }
    for (size_t i = 0; name && i < root->escrowd_count; i++) {
        if (strcmp(root->escrowds[i].address, name) == 0 ||
            strcmp(root->escrowds[i].server_id, name) == 0) {
            *ret_index = i;
            return ESCROW_OK;
        }
    }
    if (name)
        log_error("no escrowd of the configuration has the address or the identity '%s'", name);
    else
        log_error("each escrowd has a log and requests of its own: say which by --escrowd");
    return ESCROW_ERR_USAGE;
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

enum escrow_err ctl_each_peer(const struct ctl_access *access, const char *only, ctl_peer_fn one,
                              void *argument)
{
    size_t first = 0, end = access->root->escrowd_count;
    enum escrow_err last = ESCROW_OK;

    if (only) {
        last = ctl_find_escrowd(access, only, &first);
        end = last ? first : first + 1;
    }
    for (size_t i = first; i < end; i++) {
        CLEANUP(ctl_peer_deinit) struct ctl_peer peer = {0};
        enum escrow_err err = ctl_peer_init(&peer, access, i);

        if (!err)
            err = one(&peer, argument);
        last = err ? err : last;
    }
    return last;
}

enum escrow_err ctl_show_rows(struct ctl *ctl, ctl_peer_fn one, const struct ctl_rows *shown)
{
    CLEANUP(ctl_access_deinit) struct ctl_access access = {0};
    CLEANUP(json_free_p) json_t *rows = json_array();
    CLEANUP(json_free_p) json_t *result = json_pack("{s:O?}", shown->member, rows);
    enum escrow_err err = ctl_parse(ctl, NULL, 0, 0, 0);

    if (!err)
        err = ctl_access_init(&access, ctl, false);
    if (err)
        return err;
    err = ctl_each_peer(&access, NULL, one, rows);
    if (ctl->output == CTL_OUTPUT_JSON || json_array_size(rows) > 0)
        ctl_print_rows(ctl->output, result, rows, shown->columns, shown->column_count);
    else if (!err)
        ctl_print_line(ctl->output, "%s", shown->none);
    return err;
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
