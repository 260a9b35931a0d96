/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks an escrowd for a release, with valid keys and without being entitled to it: what somebody
 * does who has an agent's files. Prints {"status", "reason"} of the reply; exit code 0 for any.
 *
 *   thief PORT SERVER-ID CA CERTIFICATE KEY ACT-KEY AUTHORITY GROUP DATABASE REPLICA
 */
#include "client/rpc_act.h"
#include "libescrow/log.h"
#include "libescrow/rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 20000

enum argument {
    PORT = 1,
    SERVER_ID,
    CA,
    CERTIFICATE,
    KEY,
    ACT_KEY,
    AUTHORITY,
    GROUP,
    DATABASE,
    REPLICA,
    ARGUMENTS,
};

static enum escrow_err fetch_roster(struct rpc_session *session, EVP_PKEY *authority)
{
    CLEANUP(cleanup_free) char *body = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;
    size_t len;
    enum escrow_err err = rpc_session_get(session, "/v1/roster", &body, &len);

    if (!err)
        err = rpc_unwrap(body, len, "roster", &compact);
    return err ? err : roster_parse(compact, strlen(compact), authority, &session->roster);
}

static enum escrow_err ask(struct rpc_session *session, char **arguments)
{
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(answer_free_p) struct answer *grant = NULL;
    CLEANUP(act_free_p) struct act *act = act_new(ACT_RELEASE);
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    enum escrow_err err;

    if (!act || !recipient)
        return ESCROW_ERR_NO_MEMORY;
    act->purpose = PURPOSE_PROMOTE;
    snprintf(act->subject.group, sizeof(act->subject.group), "%s", arguments[GROUP]);
    snprintf(act->subject.database, sizeof(act->subject.database), "%s", arguments[DATABASE]);
    snprintf(act->release.replica, sizeof(act->release.replica), "%s", arguments[REPLICA]);
    err = key_point(recipient, &act->release.recipient);
    if (!err)
        err = rpc_act_challenge(session, act, &challenge);
    if (err)
        return err;
    act->release.object_count = 1;
    act->release.objects[0].object = challenge->objects[0].name;
    err = act_sign_objects(session->act_key, &act->release.recipient, act->release.objects, 1);
    return err ? err : rpc_act_send(session, challenge, act, &grant);
}

static enum escrow_err run(char **arguments, struct rpc_session *session)
{
    const struct tls_config config = {.ca_file = arguments[CA],
                                      .certificate = arguments[CERTIFICATE],
                                      .key = arguments[KEY],
                                      .server_identity = arguments[SERVER_ID]};
    CLEANUP(key_free_p) EVP_PKEY *authority = NULL;
    CLEANUP(key_free_p) EVP_PKEY *act_key = NULL;
    CLEANUP(tls_free_p) struct tls *tls = NULL;
    CLEANUP(rpc_free_p) struct rpc *rpc = NULL;
    enum escrow_err err = secret_heap_init();

    if (!err)
        err = key_read_public(arguments[AUTHORITY], &authority);
    if (!err)
        err = key_read_private(arguments[ACT_KEY], &act_key);
    if (!err)
        err = tls_client_new(&config, &tls);
    if (!err)
        err = rpc_new("127.0.0.1", (uint16_t)strtoul(arguments[PORT], NULL, 10), tls, &rpc);
    session->rpc = rpc;
    session->act_key = act_key;
    if (!err)
        err = fetch_roster(session, authority);
    if (!err)
        err = ask(session, arguments);
    roster_free(session->roster);
    return err;
}

int main(int argc, char **argv)
{
    struct rpc_session session = {.timeout_ms = TIMEOUT_MS};
    enum escrow_err err;

    log_init("thief", LOG_LEVEL_WARNING);
    if (argc != ARGUMENTS) {
        fputs("thief: see the head of its source\n", stderr);
        return escrow_err_exit_code(ESCROW_ERR_USAGE);
    }
    err = run(argv, &session);
    if (err && session.problem.status == 0) {
        log_error("%s: %s", escrow_err_name(err), session.problem.detail);
        return escrow_err_exit_code(err);
    }
    printf("{\"status\": %u, \"reason\": \"%s\"}\n", err ? session.problem.status : 200,
           reason_code(session.problem.reason));
    return 0;
}
