/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pending: what waits for admins. approve: approves one request, of which nothing is believed but
 * what its requester, an agent of the roster, has signed.
 */
#include "client/escrowctl_pending.h"

#include "client/escrowctl_peer.h"
#include "libescrow/encode.h"
#include "libescrow/json.h"
#include "libescrow/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "-";
}

const struct ctl_column ctl_pending_columns[CTL_PENDING_COLUMNS] = {
    {"REQUEST", "request"}, {"GROUP", "group"}, {"DATABASE", "database"}, {"REPLICA", "replica"},
    {"PURPOSE", "purpose"}, {"SINCE", "time"},  {"EXPIRES", "expires"},   {"APPROVED", "approved"},
    {"WHY", "why"},         {"NEXT", "command"}};

void ctl_pending_note(const json_t *request, char ret_text[static CTL_PENDING_NOTE_MAX])
{
    const char *primary = json_string_value(json_object_get(request, "not_primary_since"));
    const char *heard = json_string_value(json_object_get(request, "not_heard_since"));

    ret_text[0] = '\0';
    if (primary)
        snprintf(ret_text, CTL_PENDING_NOTE_MAX,
                 "%.64s has not said that it is primary since %.24s: until it does, approving "
                 "releases nothing.",
                 text_of(request, "replica"), primary);
    else if (heard)
        snprintf(ret_text, CTL_PENDING_NOTE_MAX,
                 "The agent of %.64s has neither asked nor waited for it since %.24s: unless it "
                 "does, approving releases nothing.",
                 text_of(request, "replica"), heard);
    /* An escrowd wrote it, and it goes to a terminal as it is. */
    ctl_hide_controls(ret_text);
}

bool ctl_add_pending(json_t *rows, const struct rpc_server *escrowd, const json_t *request)
{
    json_t *row = json_copy_whole(request);
    char approvals[48], command[IDENTITY_MAX + 64];
    char note[CTL_PENDING_NOTE_MAX], why[CTL_PENDING_NOTE_MAX + 160];

    snprintf(approvals, sizeof(approvals), "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT,
             json_integer_value(json_object_get(request, "approvals")),
             json_integer_value(json_object_get(request, "approvals_needed")));
    snprintf(command, sizeof(command), "escrowctl approve %" JSON_INTEGER_FORMAT " --escrowd %s",
             json_integer_value(json_object_get(request, "request")), escrowd->server_id);
    ctl_pending_note(request, note);
    snprintf(why, sizeof(why), "%s%s%s", reason_text(reason_from_code(text_of(request, "reason"))),
             note[0] ? " But: " : "", note);
    return json_object_set_new(row, "escrowd", json_string(escrowd->address)) == 0 &&
           json_object_set_new(row, "approved", json_string(approvals)) == 0 &&
           json_object_set_new(row, "why", json_string(why)) == 0 &&
           json_object_set_new(row, "command", json_string(command)) == 0 &&
           json_array_append_new(rows, row) == 0;
}

static enum escrow_err pending_one(struct ctl_peer *peer, void *rows)
{
    CLEANUP(json_free_p) json_t *status = NULL;
    json_t *request;
    size_t i;
    enum escrow_err err = ctl_peer_get(peer, "/v1/status", &status);

    if (err)
        return err;
    json_array_foreach(json_object_get(status, "requests"), i, request)
    {
        if (!ctl_add_pending(rows, peer->escrowd, request))
            return ESCROW_ERR_MALFORMED;
    }
    return ESCROW_OK;
}

static enum escrow_err run_pending(struct ctl *ctl)
{
    static const struct ctl_rows shown = {"requests", "no release waits for admins",
                                          ctl_pending_columns, CTL_PENDING_COLUMNS};

    return ctl_show_rows(ctl, pending_one, &shown);
}

/* The requester's act, verified by the roster: an agent's, and one for a release. */
static enum escrow_err read_act(struct ctl_peer *peer, uint64_t number, json_t **ret_said,
                                struct act **ret_act)
{
    CLEANUP(json_free_p) json_t *said = NULL;
    CLEANUP(act_free_p) struct act *act = NULL;
    const struct roster_key *key;
    const char *compact;
    char path[64];
    enum escrow_err err;

    snprintf(path, sizeof(path), "/v1/requests?number=%llu", (unsigned long long)number);
    err = ctl_peer_get(peer, path, &said);
    if (err)
        return err;
    compact = json_string_value(json_object_get(said, "act"));
    if (!compact || strcmp(text_of(said, "state"), "pending") != 0) {
        log_error("request %llu is %s: there is nothing to approve", (unsigned long long)number,
                  text_of(said, "state"));
        return ESCROW_ERR_NOT_FOUND;
    }
    err = act_verify(compact, strlen(compact), peer->roster, &act);
    key = err ? NULL : roster_find_key(peer->roster, &act->kid);
    if (err || act->kind != ACT_RELEASE || !key || key->role != ROSTER_AGENT ||
        !roster_key_covers(key, act->subject.group) ||
        !roster_key_has_instance(key, act->release.replica)) {
        log_error("escrowd %s: request %llu was not signed by an agent that may ask for it",
                  peer->escrowd->address, (unsigned long long)number);
        return ESCROW_ERR_CRYPTO;
    }
    *ret_said = TAKE(said);
    *ret_act = TAKE(act);
    return ESCROW_OK;
}

static void show(const struct ctl_peer *peer, uint64_t number, const json_t *said,
                 const struct act *act)
{
    const struct roster_key *key = roster_find_key(peer->roster, &act->kid);
    char name[TPM_NAME_HEX + 1], note[CTL_PENDING_NOTE_MAX];

    hex_encode(act->kid.bytes, sizeof(act->kid.bytes), name);
    ctl_pending_note(said, note);
    fprintf(stderr,
            "request %llu: %s of %s (group %s) for %s\n"
            "  asked by   %s\n"
            "  act key    %s\n"
            "  versions   %zu\n"
            "  why        %s (as escrowd %s says)\n",
            (unsigned long long)number, act_purpose_word(act->purpose), act->subject.database,
            act->subject.group, act->release.replica, key->identity, name,
            act->release.object_count, reason_text(reason_from_code(text_of(said, "reason"))),
            peer->escrowd->address);
    if (note[0])
        fprintf(stderr, "  but        %s\n", note);
    fprintf(stderr,
            "  look at    escrowctl policy explain --group %s --replica %s\n"
            "             escrowctl(1), WHY ADMINS ARE ASKED: %s\n",
            act->subject.group, act->release.replica,
            reason_code(reason_from_code(text_of(said, "reason"))));
}

static bool is_confirmed(bool is_yes)
{
    char answer[8] = "";

    if (is_yes)
        return true;
    if (!isatty(STDIN_FILENO)) {
        log_error("nobody to ask: --yes approves without a question");
        return false;
    }
    fputs("Approve this release? [yes/no] ", stderr);
    if (fgets(answer, sizeof(answer), stdin) && strcmp(answer, "yes\n") == 0)
        return true;
    log_notice("the answer is not 'yes': nothing was approved");
    return false;
}

static enum escrow_err send_approval(struct ctl_peer *peer, uint64_t number,
                                     const struct act *wanted)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_APPROVE);
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(answer_free_p) struct answer *noted = NULL;
    enum escrow_err err;

    if (!act)
        return ESCROW_ERR_NO_MEMORY;
    act->purpose = wanted->purpose;
    act->subject = wanted->subject;
    act->approve.request = number;
    act->approve.object_count = wanted->release.object_count;
    for (size_t i = 0; i < wanted->release.object_count; i++)
        act->approve.objects[i].object = wanted->release.objects[i].object;
    err = act_sign_objects(peer->session.act_key, &wanted->release.recipient, act->approve.objects,
                           act->approve.object_count);
    if (err)
        return err;
    err = rpc_act_challenge(&peer->session, act, &challenge);
    if (!err)
        err = rpc_act_send(&peer->session, challenge, act, &noted);
    return err ? ctl_peer_fail(peer, err) : ESCROW_OK;
}

/* Whoever approves at one escrowd and his colleague at another wait for each other for ever. */
static void say_what_is_missing(enum ctl_output output, const struct ctl_peer *peer,
                                uint64_t number, const json_t *now)
{
    if (strcmp(text_of(now, "state"), "approved") == 0)
        ctl_print_line(
            output,
            "enough admins have approved: the agent asks again by itself, and everything "
            "is decided anew; what came of it: escrowctl audit show --from %llu "
            "--escrowd %s",
            (unsigned long long)number, peer->escrowd->server_id);
    if (strcmp(text_of(now, "state"), "pending") != 0)
        return;
    ctl_print_line(
        output,
        "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT
        " admins have approved here; what is approved at another escrowd does not count. "
        "The next admin runs: escrowctl approve %llu --escrowd %s",
        json_integer_value(json_object_get(now, "approvals")),
        json_integer_value(json_object_get(now, "approvals_needed")), (unsigned long long)number,
        peer->escrowd->server_id);
}

static enum escrow_err approve_at(struct ctl *ctl, struct ctl_peer *peer, uint64_t number,
                                  bool is_yes)
{
    CLEANUP(json_free_p) json_t *said = NULL;
    CLEANUP(json_free_p) json_t *now = NULL;
    CLEANUP(act_free_p) struct act *act = NULL;
    char path[64];
    enum escrow_err err = read_act(peer, number, &said, &act);

    if (err)
        return err;
    show(peer, number, said, act);
    if (!is_confirmed(is_yes))
        return ESCROW_ERR_DENIED;
    err = send_approval(peer, number, act);
    if (err)
        return err;
    snprintf(path, sizeof(path), "/v1/requests?number=%llu", (unsigned long long)number);
    err = ctl_peer_get(peer, path, &now);
    if (err)
        return err;
    json_object_del(now, "act");
    ctl_print_object(ctl->output, now);
    say_what_is_missing(ctl->output, peer, number, now);
    return ESCROW_OK;
}

static enum escrow_err run_approve(struct ctl *ctl)
{
    CLEANUP(ctl_access_deinit) struct ctl_access access = {0};
    CLEANUP(ctl_peer_deinit) struct ctl_peer peer = {0};
    const char *address = NULL;
    bool is_yes = false;
    const struct ctl_option options[] = {{.name = "escrowd", .value = &address},
                                         {.name = "yes", .flag = &is_yes}};
    uint64_t number = 0;
    size_t index = 0;
    enum escrow_err err = ctl_parse(ctl, options, ARRAY_LEN(options), 1, 1);

    if (!err)
        err = ctl_number("NUMBER", ctl->argv[0], 1, INT64_MAX, 0, &number);
    if (!err)
        err = ctl_access_init(&access, ctl, true);
    if (!err)
        err = ctl_find_escrowd(&access, address, &index);
    if (!err)
        err = ctl_peer_init(&peer, &access, index);
    if (!err)
        err = ctl_peer_roster(&peer, &access);
    return err ? err : approve_at(ctl, &peer, number, is_yes);
}

const struct ctl_command ctl_pending = {"pending", run_pending,
                                        "show the releases that wait for admins",
                                        "\n"
                                        "\n"
                                        "With each, the command that approves it.\n"
                                        "\n"
                                        "  escrowctl pending --output json\n"};

const struct ctl_command ctl_approve = {
    "approve", run_approve, "approve a release that waits for admins",
    "NUMBER [--escrowd ADDRESS] [--yes]\n"
    "\n"
    "Shows what the agent has signed and asks; --yes does not ask. The policy says how many\n"
    "different admins must approve (approvals).\n"
    "\n"
    "  escrowctl approve 812\n"};
