/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deposit: seals a password for every member of the roster and the recovery key, and hands it to
 * every escrowd of the configuration. All are asked for the next version before anything is sent.
 */
#include "client/escrowctl_peer.h"
#include "client/password.h"
#include "libescrow/json.h"
#include "libescrow/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ESCROWDS_MAX 16

struct deposit {
    const char *group, *database, *state;
    const char *password_fd, *out_fd;
    bool is_generated;
    struct ctl_access access;
    size_t peer_count;
    struct ctl_peer peers[ESCROWDS_MAX];
    struct answer *challenges[ESCROWDS_MAX];
    struct act *act;
    struct wrap_object object;
    json_t *rows;
};

static void deposit_free(struct deposit *deposit)
{
    for (size_t i = 0; i < deposit->peer_count; i++) {
        ctl_peer_deinit(&deposit->peers[i]);
        answer_free(deposit->challenges[i]);
    }
    ctl_access_deinit(&deposit->access);
    act_free(deposit->act);
    json_decref(deposit->rows);
    free(deposit);
}

CLEANUP_FUNCTION(deposit_free_p, struct deposit, deposit_free)

static enum escrow_err parse(struct ctl *ctl, struct deposit *deposit)
{
    const struct ctl_option options[] = {
        {.name = "group", .value = &deposit->group, .is_required = true},
        {.name = "database", .value = &deposit->database, .is_required = true},
        {.name = "state", .value = &deposit->state},
        {.name = "password-fd", .value = &deposit->password_fd},
        {.name = "generate", .flag = &deposit->is_generated},
        {.name = "out-fd", .value = &deposit->out_fd},
    };
    struct act *act = deposit->act;
    enum escrow_err err = ctl_parse(ctl, options, ARRAY_LEN(options), 0, 0);

    if (err)
        return err;
    if ((deposit->password_fd && deposit->is_generated) ||
        (deposit->out_fd && !deposit->is_generated)) {
        log_error("--password-fd and --generate exclude each other; --out-fd is for --generate");
        return ESCROW_ERR_USAGE;
    }
    act->purpose = PURPOSE_DEPOSIT;
    act->deposit.state = deposit->state ? secret_state_from_word(deposit->state) : SECRET_ACTIVE;
    if (act->deposit.state != SECRET_ACTIVE && act->deposit.state != SECRET_PENDING) {
        log_error("--state is active or pending, not '%s'", deposit->state);
        return ESCROW_ERR_USAGE;
    }
    if (!name_is_valid(deposit->group) || !deposit->database[0] ||
        strlen(deposit->database) > ACT_DATABASE_MAX) {
        log_error("--group is a name of the policy, --database one of SQL Server");
        return ESCROW_ERR_USAGE;
    }
    snprintf(act->subject.group, sizeof(act->subject.group), "%s", deposit->group);
    snprintf(act->subject.database, sizeof(act->subject.database), "%s", deposit->database);
    return ESCROW_OK;
}

static enum escrow_err take_password(const struct deposit *deposit, struct secret **ret_password)
{
    uint64_t fd;
    enum escrow_err err;

    if (deposit->is_generated)
        return password_generate(ret_password);
    if (!deposit->password_fd)
        return password_ask(ret_password);
    err = ctl_number("password-fd", deposit->password_fd, 0, 1023, 0, &fd);
    return err ? err : password_read((int)fd, ret_password);
}

/* Everybody must know the same roster and expect the same version. */
static enum escrow_err ask_all(struct deposit *deposit)
{
    uint32_t version = 0;

    for (size_t i = 0; i < deposit->access.root->escrowd_count; i++) {
        struct ctl_peer *peer = &deposit->peers[i];
        enum escrow_err err;

        deposit->peer_count = i + 1;
        err = ctl_peer_init(peer, &deposit->access, i);
        if (!err)
            err = ctl_peer_roster(peer, &deposit->access);
        if (err)
            return err;
        err = rpc_act_challenge(&peer->session, deposit->act, &deposit->challenges[i]);
        if (err)
            return ctl_peer_fail(peer, err);
        if (i > 0 && (roster_version(peer->roster) != roster_version(deposit->peers[0].roster) ||
                      deposit->challenges[i]->challenge.next_version != version)) {
            log_error("escrowd %s has another roster or other versions than %s: publish the roster "
                      "to both, or let it catch up; nothing was sent",
                      peer->escrowd->address, deposit->peers[0].escrowd->address);
            return ESCROW_ERR_DENIED;
        }
        version = deposit->challenges[i]->challenge.next_version;
    }
    deposit->act->deposit.version = version;
    return ESCROW_OK;
}

static enum escrow_err wrap_to(struct deposit *deposit, const struct secret *sensitive,
                               const struct ec_point *point, const struct tpm_name *name)
{
    struct act_deposit *act = &deposit->act->deposit;
    struct act_blob *blob = &act->blobs[act->blob_count++];

    blob->to = *name;
    return wrap_seal(&deposit->object, sensitive, point, &blob->blob);
}

static enum escrow_err wrap_to_all(struct deposit *deposit, const struct secret *sensitive)
{
    const struct roster *roster = deposit->peers[0].roster;
    const struct roster_member *members;
    size_t count = roster_members(roster, &members);
    enum escrow_err err = ESCROW_OK;

    for (size_t i = 0; !err && i < count; i++)
        err = wrap_to(deposit, sensitive, &members[i].storage_point, &members[i].storage);
    return err ? err
               : wrap_to(deposit, sensitive, roster_recovery(roster), roster_recovery_name(roster));
}

/* The password under a fresh data key, the data key in a fresh object of the group's policy. */
static enum escrow_err seal(struct deposit *deposit, const struct secret *password)
{
    CLEANUP(secret_free_p) struct secret *data_key = secret_random(PAYLOAD_DATA_KEY_BYTES);
    CLEANUP(secret_free_p) struct secret *sensitive = NULL;
    struct act_deposit *act = &deposit->act->deposit;
    struct payload_binding binding = {
        .group = deposit->group, .database = deposit->database, .version = act->version};
    struct tpm_digest policy;
    enum escrow_err err;

    if (!data_key)
        return ESCROW_ERR_NO_MEMORY;
    err = tpm_policy_object(roster_authority(deposit->peers[0].roster), deposit->group, &policy);
    if (!err)
        err = wrap_object_new(policy.bytes, data_key, &deposit->object, &sensitive);
    if (!err)
        err = wrap_object_marshal(&deposit->object, act->public_area, &act->public_len);
    if (err)
        return err;
    binding.object = deposit->object.name;
    err = payload_seal(&binding, data_key, password, act->payload);
    return err ? err : wrap_to_all(deposit, sensitive);
}

static enum escrow_err send_one(struct deposit *deposit, size_t index)
{
    struct ctl_peer *peer = &deposit->peers[index];
    CLEANUP(answer_free_p) struct answer *answer = NULL;
    const struct roster_member *member;
    json_t *row;
    enum escrow_err err =
        rpc_act_send(&peer->session, deposit->challenges[index], deposit->act, &answer);

    if (err)
        return ctl_peer_fail(peer, err);
    member = roster_find_answerer(peer->roster, &answer->kid);
    row =
        json_pack("{s:s, s:s, s:I, s:s, s:o, s:I}", "escrowd", peer->escrowd->address, "member",
                  member->label, "version", (json_int_t)answer->durable.version, "state",
                  secret_state_word(answer->durable.state), "object",
                  json_tpm_name(&answer->durable.object), "sequence", (json_int_t)answer->sequence);
    return json_array_append_new(deposit->rows, row) == 0 ? ESCROW_OK : ESCROW_ERR_NO_MEMORY;
}

/* Each member holds its own: one that fails does not keep it from the others. */
static enum escrow_err send_all(struct deposit *deposit)
{
    enum escrow_err last = ESCROW_OK;

    for (size_t i = 0; i < deposit->peer_count; i++) {
        enum escrow_err err = send_one(deposit, i);

        last = err ? err : last;
    }
    return last;
}

static enum escrow_err deliver(const struct deposit *deposit, const struct secret *password)
{
    uint64_t fd;
    enum escrow_err err;

    if (!deposit->out_fd)
        return ESCROW_OK;
    err = ctl_number("out-fd", deposit->out_fd, 0, 1023, 0, &fd);
    return err ? err : password_write((int)fd, password);
}

static enum escrow_err run(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {{"ESCROWD", "escrowd"}, {"MEMBER", "member"},
                                                {"VERSION", "version"}, {"STATE", "state"},
                                                {"OBJECT", "object"},   {"SEQUENCE", "sequence"}};
    CLEANUP(deposit_free_p) struct deposit *deposit = calloc(1, sizeof(*deposit));
    CLEANUP(secret_free_p) struct secret *password = NULL;
    CLEANUP(json_free_p) json_t *result = NULL;
    enum escrow_err err;

    if (!deposit)
        return ESCROW_ERR_NO_MEMORY;
    deposit->act = act_new(ACT_DEPOSIT);
    deposit->rows = json_array();
    result = json_pack("{s:O?}", "deposits", deposit->rows);
    if (!deposit->act || !result)
        return ESCROW_ERR_NO_MEMORY;
    err = parse(ctl, deposit);
    if (!err)
        err = ctl_access_init(&deposit->access, ctl, true);
    /* First what may ask a person: challenges do not live long. */
    if (!err)
        err = take_password(deposit, &password);
    if (!err)
        err = ask_all(deposit);
    if (!err)
        err = seal(deposit, password);
    if (!err)
        err = deliver(deposit, password);
    if (err)
        return err;
    err = send_all(deposit);
    ctl_print_rows(ctl->output, result, deposit->rows, columns, ARRAY_LEN(columns));
    return err;
}

const struct ctl_command ctl_deposit = {
    "deposit", run, "put a master key's password into escrow",
    "--group NAME --database NAME [--state active|pending]\n"
    "       [--password-fd N | --generate [--out-fd N]]\n"
    "\n"
    "Asks for the password at the terminal, without echo and twice; or reads it from descriptor "
    "N;\n"
    "or makes one, and writes it to descriptor N if it is wanted there. It is never an argument.\n"
    "It is wrapped to every member of the roster and to the recovery key; each escrowd of the\n"
    "configuration gets it and says that it is durable. Active: the password opens the master key\n"
    "now. Pending: it will be added to it.\n"
    "\n"
    "  escrowctl deposit --group ssis --database SSISDB\n"
    "  escrowctl deposit --group ssis --database SSISDB --password-fd 3 3<password\n"};
