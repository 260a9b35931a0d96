/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/acts_client.h"

#include "libescrow/log.h"
#include "libescrow/payload.h"
#include "libescrow/rpc.h"
#include "libescrow/tpm_policy.h"
#include "libescrow/tsql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 29000 /* of a worker with the shipped worker_deadline */
#define ORDER_SECONDS 3600
#define SQL_TIMEOUT_S 10

/* A file of this client, as chain.bash names it; the text lives in the client. */
static const char *file(struct acts_client *client, size_t index, const char *prefix,
                        const char *suffix)
{
    snprintf(client->texts[index], sizeof(client->texts[index]), "%s%s%s",
             client->config.folder ? client->config.folder : prefix, client->config.name, suffix);
    return client->texts[index];
}

static enum escrow_err fetch_roster(struct acts_client *client)
{
    CLEANUP(cleanup_free) char *body = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;
    size_t len;
    enum escrow_err err = rpc_session_get(&client->session, "/v1/roster", &body, &len);

    if (!err)
        err = rpc_unwrap(body, len, "roster", &compact);
    if (!err)
        err = roster_parse(compact, strlen(compact), client->authority, &client->roster);
    client->session.roster = client->roster;
    return err;
}

static enum escrow_err open_sql(struct acts_client *client)
{
    struct sql_error error = {0};
    enum escrow_err err = sql_connect(&client->instance, &client->sql, &error);

    if (err)
        log_error("SQL Server: %s", error.text);
    return err;
}

static enum escrow_err send_batch(struct acts_client *client, char *taken_text)
{
    CLEANUP(cleanup_free) char *text = taken_text;
    struct sql_error error = {0};
    enum escrow_err err =
        text ? sql_batch(client->sql, text, NULL, NULL, &error) : ESCROW_ERR_NO_MEMORY;

    if (err)
        log_error("SQL Server: %s", error.text);
    return err;
}

static enum escrow_err connect_sql(struct acts_client *client)
{
    const struct acts_config *config = &client->config;
    enum escrow_err err;

    snprintf(client->texts[3], sizeof(client->texts[3]), "%s.test", config->replica);
    client->instance = (struct sql_instance){.name = config->replica,
                                             .address = "127.0.0.1",
                                             .port = config->sql_port,
                                             .tls_name = client->texts[3],
                                             .ca_file = "sqlca/ca.pem",
                                             .login = "escrow_agent",
                                             .password_file = "keys/sql-agent",
                                             .login_timeout_s = SQL_TIMEOUT_S,
                                             .query_timeout_s = SQL_TIMEOUT_S};
    err = sql_environment_new(&client->instance);
    return err ? err : open_sql(client);
}

enum escrow_err acts_client_enter(struct acts_client *client)
{
    return send_batch(client, tsql_use(client->config.database));
}

enum escrow_err acts_client_reconnect(struct acts_client *client)
{
    rpc_free(TAKE(client->session.rpc));
    return rpc_new("127.0.0.1", client->config.port, client->tls, &client->session.rpc);
}

enum escrow_err acts_client_init(struct acts_client *client, const struct acts_config *config)
{
    const char *prefix = config->replica ? "pki/agent-" : "pki/";
    struct tls_config tls = {.ca_file = "ca/ca.pem",
                             .crl_file = "ca/crl.pem",
                             .server_identity = "spiffe://test/escrowd/e1"};
    enum escrow_err err = secret_heap_init();

    *client = (struct acts_client){.config = *config, .session.timeout_ms = TIMEOUT_MS};
    tls.certificate = file(client, 0, prefix, ".pem");
    tls.key = file(client, 1, prefix, ".key");
    if (!err)
        err = key_read_public("keys/authority.pub", &client->authority);
    if (!err)
        err = key_read_private(file(client, 2, "keys/", ".act"), &client->act_key);
    client->session.act_key = client->act_key;
    if (!err)
        err = tls_client_new(&tls, &client->tls);
    if (!err)
        err = acts_client_reconnect(client);
    if (!err)
        err = fetch_roster(client);
    if (!err && config->replica)
        err = connect_sql(client);
    if (err)
        log_error("%s cannot begin: %s: %s", config->name, escrow_err_name(err),
                  client->session.problem.detail);
    return err;
}

void acts_client_deinit(struct acts_client *client)
{
    if (client->sql)
        sql_close(TAKE(client->sql));
    if (client->config.replica)
        sql_environment_free();
    rpc_free(TAKE(client->session.rpc));
    roster_free(TAKE(client->roster));
    tls_free(TAKE(client->tls));
    key_free_p(&client->act_key);
    key_free_p(&client->authority);
}

static struct act *new_act(const struct acts_client *client, enum act_kind kind,
                           enum act_purpose purpose)
{
    struct act *act = act_new(kind);

    if (act) {
        act->purpose = purpose;
        snprintf(act->subject.group, sizeof(act->subject.group), "%s", client->config.group);
        snprintf(act->subject.database, sizeof(act->subject.database), "%s",
                 client->config.database);
    }
    return act;
}

static enum escrow_err told(const struct acts_client *client, enum escrow_err err)
{
    if (err)
        log_error("%s: %s: %s (%s)", client->config.name, escrow_err_name(err),
                  client->session.problem.detail, reason_code(client->session.problem.reason));
    return err;
}

static enum act_purpose purpose_of(const struct acts_client *client)
{
    return client->order ? PURPOSE_DRILL : PURPOSE_PROMOTE;
}

/* The password must come out, or the bench measures something else. */
static enum escrow_err unwrap(const struct answer *grant, EVP_PKEY *recipient,
                              struct secret **ret_password)
{
    const struct answer_object *object = &grant->objects[0];
    const struct payload_binding binding = {.group = grant->subject.group,
                                            .database = grant->subject.database,
                                            .version = object->version,
                                            .object = object->name};
    CLEANUP(secret_free_p) struct secret *data_key = NULL;
    struct wrap_object sealed;
    enum escrow_err err = wrap_object_parse(object->public_area, object->public_len, &sealed);

    if (!err)
        err = wrap_open(&sealed, &object->blob, recipient, &data_key);
    return err ? err : payload_open(&binding, data_key, object->payload, ret_password);
}

static enum escrow_err ask(struct acts_client *client, struct act *act,
                           struct secret **ret_password)
{
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(answer_free_p) struct answer *grant = NULL;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    enum escrow_err err =
        recipient ? rpc_act_challenge(&client->session, act, &challenge) : ESCROW_ERR_CRYPTO;

    if (!err && challenge->challenge.wants_echo)
        err = send_batch(client, tsql_commit_echo(challenge->nonce));
    if (!err)
        err = send_batch(client, tsql_set_context(challenge->nonce));
    if (!err)
        err = key_point(recipient, &act->release.recipient);
    if (err)
        return err;
    act->release.object_count = 1;
    act->release.objects[0].object = challenge->objects[0].name;
    err = act_sign_objects(client->act_key, &act->release.recipient, act->release.objects, 1);
    if (!err)
        err = rpc_act_send(&client->session, challenge, act, &grant);
    return err ? err : unwrap(grant, recipient, ret_password);
}

static enum escrow_err ask_release(struct acts_client *client, struct secret **ret_password)
{
    CLEANUP(act_free_p) struct act *act = new_act(client, ACT_RELEASE, purpose_of(client));

    if (!act)
        return ESCROW_ERR_NO_MEMORY;
    snprintf(act->release.replica, sizeof(act->release.replica), "%s", client->config.replica);
    if (client->order)
        snprintf(act->release.order, sizeof(act->release.order), "%s", client->order);
    return ask(client, act, ret_password);
}

/* What opens a grant, with a secret of our own that is wrapped to us. */
enum escrow_err acts_client_warm(struct acts_client *client)
{
    CLEANUP(secret_free_p) struct secret *data_key = secret_random(PAYLOAD_DATA_KEY_BYTES);
    CLEANUP(secret_free_p) struct secret *sensitive = NULL;
    CLEANUP(secret_free_p) struct secret *opened = NULL;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    struct act_signature object = {0};
    struct wrap_object sealed;
    struct tpm_digest policy;
    struct ec_point point;
    struct wrap_blob blob;
    enum escrow_err err =
        data_key && recipient
            ? tpm_policy_object(roster_authority(client->roster), client->config.group, &policy)
            : ESCROW_ERR_CRYPTO;

    if (!err)
        err = key_point(recipient, &point);
    if (!err)
        err = wrap_object_new(policy.bytes, data_key, &sealed, &sensitive);
    if (!err)
        err = wrap_seal(&sealed, sensitive, &point, &blob);
    if (!err)
        err = wrap_open(&sealed, &blob, recipient, &opened);
    return err ? err : act_sign_objects(client->act_key, &point, &object, 1);
}

enum escrow_err acts_client_release(struct acts_client *client)
{
    CLEANUP(secret_free_p) struct secret *password = NULL;

    return told(client, ask_release(client, &password));
}

enum escrow_err acts_client_promotion(struct acts_client *client)
{
    CLEANUP(secret_free_p) struct secret *password = NULL;
    CLEANUP(secret_free_p) struct secret *open = NULL;
    struct sql_error error = {0};
    enum escrow_err err = acts_client_enter(client);

    if (!err)
        err = ask_release(client, &password);
    if (err)
        return err;
    open = tsql_open_master_key(password);
    err = open ? sql_batch_secret(client->sql, open, &error) : ESCROW_ERR_NO_MEMORY;
    return err ? err : send_batch(client, tsql_add_service_master_key());
}

static enum escrow_err challenge_and_send(struct acts_client *client, struct act *act)
{
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(answer_free_p) struct answer *answer = NULL;
    enum escrow_err err = rpc_act_challenge(&client->session, act, &challenge);

    return err ? err : rpc_act_send(&client->session, challenge, act, &answer);
}

enum escrow_err acts_client_order(struct acts_client *client)
{
    CLEANUP(act_free_p) struct act *act = new_act(client, ACT_ORDER, PURPOSE_DRILL);

    if (!act)
        return ESCROW_ERR_NO_MEMORY;
    act->order.expires_in_s = ORDER_SECONDS;
    return told(client, challenge_and_send(client, act));
}

static enum escrow_err wrap_to(const struct wrap_object *object, const struct secret *sensitive,
                               const struct ec_point *point, const struct tpm_name *name,
                               struct act_deposit *deposit)
{
    struct act_blob *blob = &deposit->blobs[deposit->blob_count++];

    blob->to = *name;
    return wrap_seal(object, sensitive, point, &blob->blob);
}

static enum escrow_err seal(const struct acts_client *client, const struct secret *password,
                            struct act *act)
{
    CLEANUP(secret_free_p) struct secret *data_key = secret_random(PAYLOAD_DATA_KEY_BYTES);
    CLEANUP(secret_free_p) struct secret *sensitive = NULL;
    struct payload_binding binding = {.group = client->config.group,
                                      .database = client->config.database,
                                      .version = act->deposit.version};
    const struct roster_member *members;
    struct wrap_object object;
    struct tpm_digest policy;
    enum escrow_err err;

    if (!data_key || roster_members(client->roster, &members) != 1)
        return ESCROW_ERR_NO_MEMORY;
    err = tpm_policy_object(roster_authority(client->roster), client->config.group, &policy);
    if (!err)
        err = wrap_object_new(policy.bytes, data_key, &object, &sensitive);
    if (!err)
        err = wrap_object_marshal(&object, act->deposit.public_area, &act->deposit.public_len);
    if (err)
        return err;
    binding.object = object.name;
    err = payload_seal(&binding, data_key, password, act->deposit.payload);
    if (!err)
        err = wrap_to(&object, sensitive, &members[0].storage_point, &members[0].storage,
                      &act->deposit);
    return err ? err
               : wrap_to(&object, sensitive, roster_recovery(client->roster),
                         roster_recovery_name(client->roster), &act->deposit);
}

enum escrow_err acts_client_deposit(struct acts_client *client, const struct secret *password)
{
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(answer_free_p) struct answer *durable = NULL;
    CLEANUP(act_free_p) struct act *act = new_act(client, ACT_DEPOSIT, PURPOSE_DEPOSIT);
    enum escrow_err err;

    if (!act)
        return ESCROW_ERR_NO_MEMORY;
    act->deposit.state = SECRET_ACTIVE;
    err = rpc_act_challenge(&client->session, act, &challenge);
    if (!err) {
        act->deposit.version = challenge->challenge.next_version;
        err = seal(client, password, act);
    }
    if (!err)
        err = rpc_act_send(&client->session, challenge, act, &durable);
    return told(client, err);
}

enum escrow_err acts_client_bare_sql(struct acts_client *client, const struct secret *password)
{
    CLEANUP(secret_free_p) struct secret *open = tsql_open_master_key(password);
    static const uint8_t nonce[ACT_NONCE_BYTES];
    struct sql_error error = {0};
    enum escrow_err err;

    sql_close(TAKE(client->sql));
    err = open_sql(client);
    if (!err)
        err = send_batch(client, tsql_use(client->config.database));
    if (!err)
        err = send_batch(client, tsql_set_context(nonce));
    if (!err)
        err = open ? sql_batch_secret(client->sql, open, &error) : ESCROW_ERR_NO_MEMORY;
    if (!err)
        err = send_batch(client, tsql_add_service_master_key());
    if (err)
        log_error("the bare SQL: %s, error %d", escrow_err_name(err), error.number);
    return err;
}
