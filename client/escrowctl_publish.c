/* SPDX-License-Identifier: Apache-2.0 */
#include "client/escrowctl_files.h"
#include "client/escrowctl_peer.h"
#include "client/worker_roster.h"
#include "libescrow/json.h"
#include "libescrow/log.h"
#include "libescrow/rpc.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Everything that the files hold. */
struct bundle {
    struct roster *roster; /* NULL: none of the files is one */
    size_t approval_count, room;
    struct approval *approvals;
};

static void bundle_deinit(struct bundle *bundle)
{
    roster_free(bundle->roster);
    free(bundle->approvals);
}

/* The place of one more; NULL: no memory for it. */
static struct approval *grow(struct bundle *bundle)
{
    if (bundle->approval_count == bundle->room) {
        size_t room = 2 * bundle->room + ACT_APPROVALS_MAX;
        struct approval *grown = reallocarray(bundle->approvals, room, sizeof(*grown));

        if (!grown)
            return NULL;
        bundle->approvals = grown;
        bundle->room = room;
    }
    return &bundle->approvals[bundle->approval_count];
}

static enum escrow_err add_approvals(struct bundle *bundle, const char *path,
                                     const struct ctl_access *access)
{
    CLEANUP(json_free_p) json_t *object = NULL;
    struct tpm_digest policy;
    json_t *item;
    size_t i;
    enum escrow_err err = ctl_read_object(path, &object);

    json_array_foreach(json_object_get(object, "approvals"), i, item)
    {
        struct approval *approval = grow(bundle);

        if (!approval)
            return ESCROW_ERR_NO_MEMORY;
        err = approval_from_json(item, approval);
        if (!err)
            err = approval_verify(approval, access->authority, &policy);
        if (err)
            break;
        bundle->approval_count++;
    }
    if (err)
        log_error("%s: does not hold approvals of this policy authority", path);
    return err;
}

static enum escrow_err add_roster(struct bundle *bundle, const char *path, const char *text,
                                  const struct ctl_access *access)
{
    const char *what = "";
    enum escrow_err err;

    if (bundle->roster) {
        log_error("%s: a second roster", path);
        return ESCROW_ERR_USAGE;
    }
    err = worker_roster_accept(text, strlen(text), access->authority, access->root->state_file,
                               &bundle->roster, &what);
    if (err)
        log_error("%s: %s", path, what);
    return err;
}

static enum escrow_err read_files(const struct ctl *ctl, const struct ctl_access *access,
                                  struct bundle *bundle)
{
    enum escrow_err err = ESCROW_OK;

    for (int i = 0; !err && i < ctl->argc; i++) {
        CLEANUP(cleanup_free) char *text = NULL;
        size_t len = 0;

        err = ctl_read_text(ctl->argv[i], &text, &len);
        if (!err)
            err = text[0] == '{' ? add_approvals(bundle, ctl->argv[i], access)
                                 : add_roster(bundle, ctl->argv[i], text, access);
    }
    return err;
}

/* Whether the escrowd has this very version already; without any roster it says no_roster. */
static bool has_version(struct ctl_peer *peer, const struct ctl_access *access, uint64_t version)
{
    CLEANUP(cleanup_free) char *body = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    size_t len = 0;

    return rpc_session_get(&peer->session, "/v1/roster", &body, &len) == ESCROW_OK &&
           rpc_unwrap(body, len, "roster", &compact) == ESCROW_OK &&
           roster_parse(compact, strlen(compact), access->authority, &roster) == ESCROW_OK &&
           roster_version(roster) == version;
}

/*
 * An escrowd refuses approvals that are another member's: only its own are sent, as many as an act
 * may have. *next is the first that has not been looked at.
 */
static enum escrow_err choose(const struct bundle *bundle, const struct tpm_name *counter,
                              size_t *next, struct act_publish *publish)
{
    publish->approvals = calloc(ACT_APPROVALS_MAX, sizeof(*publish->approvals));
    if (!publish->approvals)
        return ESCROW_ERR_NO_MEMORY;
    for (; *next < bundle->approval_count && publish->approval_count < ACT_APPROVALS_MAX; ++*next) {
        if (tpm_name_equal(&bundle->approvals[*next].counter, counter))
            publish->approvals[publish->approval_count++] = bundle->approvals[*next];
    }
    return ESCROW_OK;
}

/* What one escrowd got. */
struct delivery {
    bool with_roster;
    const char *member;
    size_t approvals, next;
    uint64_t sequence; /* of the last act; 0: there was nothing to send */
};

/* One act: challenge, choice, act. */
static enum escrow_err send(struct ctl_peer *peer, const struct bundle *bundle,
                            struct delivery *delivery)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_PUBLISH);
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(answer_free_p) struct answer *answer = NULL;
    const struct roster_member *member;
    enum escrow_err err;

    if (!act)
        return ESCROW_ERR_NO_MEMORY;
    act->purpose = PURPOSE_PUBLISH;
    err = rpc_act_challenge(&peer->session, act, &challenge);
    if (err)
        return ctl_peer_fail(peer, err);
    member = roster_find_member(peer->session.roster, &challenge->challenge.member);
    delivery->member = member->label;
    if (delivery->with_roster && delivery->next == 0) {
        act->publish.roster = strdup(roster_compact(bundle->roster));
        err = act->publish.roster ? ESCROW_OK : ESCROW_ERR_NO_MEMORY;
    }
    if (!err)
        err = choose(bundle, &member->counter, &delivery->next, &act->publish);
    if (err || (!act->publish.roster && act->publish.approval_count == 0))
        return err;
    err = rpc_act_send(&peer->session, challenge, act, &answer);
    if (err)
        return ctl_peer_fail(peer, err);
    delivery->approvals += act->publish.approval_count;
    delivery->sequence = answer->sequence;
    return ESCROW_OK;
}

static json_t *describe(const struct ctl_peer *peer, const struct delivery *delivery)
{
    return json_pack("{s:s, s:s, s:b, s:I, s:I}", "escrowd", peer->escrowd->address, "member",
                     delivery->member, "roster", delivery->with_roster, "approvals",
                     (json_int_t)delivery->approvals, "sequence", (json_int_t)delivery->sequence);
}

/* All acts that one escrowd needs: an act has room for only so many approvals. */
static enum escrow_err deliver(struct ctl_peer *peer, const struct bundle *bundle, bool with_roster,
                               json_t *rows)
{
    struct delivery delivery = {.with_roster = with_roster};
    enum escrow_err err;

    do
        err = send(peer, bundle, &delivery);
    while (!err && delivery.next < bundle->approval_count);
    if (err)
        return err;
    return json_array_append_new(rows, describe(peer, &delivery)) == 0 ? ESCROW_OK
                                                                       : ESCROW_ERR_NO_MEMORY;
}

static enum escrow_err publish_to(const struct ctl_access *access, size_t index,
                                  const struct bundle *bundle, json_t *rows)
{
    CLEANUP(ctl_peer_deinit) struct ctl_peer peer = {0};
    bool with_roster = false;
    enum escrow_err err = ctl_peer_init(&peer, access, index);

    if (err)
        return err;
    if (bundle->roster) {
        with_roster = !has_version(&peer, access, roster_version(bundle->roster));
        peer.session.roster = bundle->roster;
    } else {
        err = ctl_peer_roster(&peer, access);
    }
    return err ? err : deliver(&peer, bundle, with_roster, rows);
}

static enum escrow_err run(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {{"ESCROWD", "escrowd"},
                                                {"MEMBER", "member"},
                                                {"ROSTER", "roster"},
                                                {"APPROVALS", "approvals"},
                                                {"SEQUENCE", "sequence"}};
    CLEANUP(ctl_access_deinit) struct ctl_access access = {0};
    CLEANUP(bundle_deinit) struct bundle bundle = {0};
    CLEANUP(json_free_p) json_t *rows = json_array();
    CLEANUP(json_free_p) json_t *result = json_pack("{s:O?}", "published", rows);
    enum escrow_err err = ctl_parse(ctl, NULL, 0, 1, CTL_LIST_MAX), last = ESCROW_OK;

    if (err)
        return err;
    err = ctl_access_init(&access, ctl, true);
    if (!err)
        err = read_files(ctl, &access, &bundle);
    if (err)
        return err;
    for (size_t i = 0; i < access.root->escrowd_count; i++) {
        err = publish_to(&access, i, &bundle, rows);
        last = err ? err : last;
    }
    ctl_print_rows(ctl->output, result, rows, columns, ARRAY_LEN(columns));
    return last;
}

const struct ctl_command ctl_publish = {
    "publish", run, "hand a roster and approvals to every escrowd",
    "FILE...\n"
    "\n"
    "A roster (escrowctl roster) and approvals (escrowctl authority approve-*), in any order. "
    "Each\n"
    "escrowd gets the roster unless it has that version, and the approvals that are its own.\n"
    "\n"
    "  escrowctl publish roster.jws e1-host.json e1-node.json\n"};
