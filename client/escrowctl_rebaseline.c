/* SPDX-License-Identifier: Apache-2.0 */
/* rebaseline: tells every escrowd that the primary of now is as it should be. */
#include "client/escrowctl_peer.h"
#include "libescrow/json.h"
#include "libescrow/log.h"

#include <stdio.h>

static enum escrow_err new_act(const char *group, const char *database, const char *replica,
                               struct act **ret_act)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_REBASELINE);

    if (!act)
        return ESCROW_ERR_NO_MEMORY;
    if (!name_is_valid(group) || !name_is_valid(replica)) {
        log_error("'%s' is not a name", name_is_valid(group) ? replica : group);
        return ESCROW_ERR_USAGE;
    }
    act->purpose = PURPOSE_REBASELINE;
    snprintf(act->subject.group, sizeof(act->subject.group), "%s", group);
    snprintf(act->rebaseline.replica, sizeof(act->rebaseline.replica), "%s", replica);
    if (snprintf(act->subject.database, sizeof(act->subject.database), "%s", database) >=
        (int)sizeof(act->subject.database)) {
        log_error("the name of the database is too long");
        return ESCROW_ERR_USAGE;
    }
    *ret_act = TAKE(act);
    return ESCROW_OK;
}

static enum escrow_err send_one(const struct ctl_access *access, size_t index, struct act *act,
                                json_t *rows)
{
    CLEANUP(ctl_peer_deinit) struct ctl_peer peer = {0};
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(answer_free_p) struct answer *noted = NULL;
    json_t *row;
    enum escrow_err err = ctl_peer_init(&peer, access, index);

    if (!err)
        err = ctl_peer_roster(&peer, access);
    if (err)
        return err;
    err = rpc_act_challenge(&peer.session, act, &challenge);
    if (!err)
        err = rpc_act_send(&peer.session, challenge, act, &noted);
    if (err)
        return ctl_peer_fail(&peer, err);
    row = json_pack("{s:s, s:s, s:s, s:I}", "escrowd", peer.escrowd->address, "group",
                    act->subject.group, "primary", act->rebaseline.replica, "record",
                    (json_int_t)noted->sequence);
    return json_array_append_new(rows, row) == 0 ? ESCROW_OK : ESCROW_ERR_NO_MEMORY;
}

static enum escrow_err run(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {
        {"ESCROWD", "escrowd"}, {"GROUP", "group"}, {"PRIMARY", "primary"}, {"RECORD", "record"}};
    CLEANUP(ctl_access_deinit) struct ctl_access access = {0};
    CLEANUP(act_free_p) struct act *act = NULL;
    CLEANUP(json_free_p) json_t *rows = json_array();
    CLEANUP(json_free_p) json_t *result = json_pack("{s:O?}", "rebaselined", rows);
    const char *group = NULL, *database = NULL;
    const struct ctl_option options[] = {
        {.name = "group", .value = &group, .is_required = true},
        {.name = "database", .value = &database, .is_required = true},
    };
    enum escrow_err err = ctl_parse(ctl, options, ARRAY_LEN(options), 1, 1), last = ESCROW_OK;

    if (!err)
        err = new_act(group, database, ctl->argv[0], &act);
    if (!err)
        err = ctl_access_init(&access, ctl, true);
    if (err)
        return err;
    for (size_t i = 0; i < access.root->escrowd_count; i++) {
        err = send_one(&access, i, act, rows);
        last = err ? err : last;
    }
    if (ctl->output == CTL_OUTPUT_JSON || json_array_size(rows) > 0)
        ctl_print_rows(ctl->output, result, rows, columns, ARRAY_LEN(columns));
    return last;
}

const struct ctl_command ctl_rebaseline = {
    "rebaseline", run, "have the primary of now taken as known",
    "--group NAME --database NAME REPLICA\n"
    "\n"
    "After planned work (a restore, a renamed or rebuilt replica, a failover that somebody has\n"
    "looked after): what happened until now is no promotion any more, and gets nothing without an\n"
    "approval. Every escrowd of the configuration is told; each takes REPLICA as the primary only\n"
    "if the replicas prove it. Nothing is released.\n"
    "\n"
    "  escrowctl rebaseline --group ssis --database SSISDB node-a\n"};
