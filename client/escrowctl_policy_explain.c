/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy explain: what each escrowd would decide now, and why. Its verdicts are made again from the
 * evidence that comes with them.
 */
#include "client/escrowctl_evidence.h"
#include "client/escrowctl_peer.h"
#include "client/escrowctl_pending.h"
#include "libescrow/json.h"
#include "libescrow/log.h"

#include <stdio.h>
#include <string.h>

/* What is asked for (NULL: all), and what came of it. */
struct wanted {
    const char *group, *database, *replica;
    enum ctl_output output;
    json_t *escrowds; /* what each said */
    size_t found;     /* decisions so far */
};

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "-";
}

static bool is_wanted(const char *wanted, const json_t *object, const char *name)
{
    return !wanted || strcmp(wanted, text_of(object, name)) == 0;
}

/* The decision follows from the evidence, which is that of all but for the request. */
static enum escrow_err check(const json_t *reply, const json_t *decision)
{
    CLEANUP(json_free_p) json_t *evidence = json_copy(json_object_get(reply, "evidence"));
    CLEANUP(cleanup_free) struct policy_evidence *read = NULL;
    CLEANUP(json_free_p) json_t *verdict = NULL;
    enum escrow_err err;

    if (!evidence || json_object_set(evidence, "request", json_object_get(decision, "request")) < 0)
        return ESCROW_ERR_MALFORMED;
    err = ctl_decide(evidence, &read, &verdict);
    if (err)
        return err;
    if (json_equal(verdict, json_object_get(decision, "verdict")))
        return ESCROW_OK;
    log_error("by its own evidence escrowd would decide %s (%s), and it says %s (%s)",
              text_of(verdict, "outcome"), text_of(verdict, "reason"),
              text_of(json_object_get(decision, "verdict"), "outcome"),
              text_of(json_object_get(decision, "verdict"), "reason"));
    return ESCROW_ERR_MALFORMED;
}

/* Leaves the decisions that are wanted, each checked. */
static enum escrow_err select_decisions(json_t *reply, struct wanted *wanted)
{
    CLEANUP(json_free_p) json_t *selected = json_array();
    json_t *decision;
    size_t i;

    json_array_foreach(json_object_get(reply, "decisions"), i, decision)
    {
        enum escrow_err err = check(reply, decision);

        if (err)
            return err;
        if (is_wanted(wanted->replica, json_object_get(decision, "request"), "replica") &&
            json_array_append(selected, decision) < 0)
            return ESCROW_ERR_NO_MEMORY;
    }
    wanted->found += json_array_size(selected);
    return json_object_set(reply, "decisions", selected) < 0 ? ESCROW_ERR_NO_MEMORY : ESCROW_OK;
}

/* The number-th entry of the status; the policy may have changed since that came. */
static enum escrow_err explain_target(struct ctl_peer *peer, const json_t *status, size_t number,
                                      struct wanted *wanted, json_t *targets)
{
    const json_t *group = json_array_get(json_object_get(status, "groups"), number - 1);
    CLEANUP(json_free_p) json_t *reply = NULL;
    char path[64];
    enum escrow_err err;

    snprintf(path, sizeof(path), "/v1/explain?target=%zu", number);
    err = ctl_peer_get(peer, path, &reply);
    if (err)
        return err;
    if (!json_equal(json_object_get(reply, "rules"), json_object_get(status, "rules")) ||
        !json_equal(json_object_get(reply, "group"), json_object_get(group, "group")) ||
        !json_equal(json_object_get(reply, "database"), json_object_get(group, "database"))) {
        log_error("escrowd %s: its policy has just changed: ask again", peer->escrowd->address);
        return ESCROW_ERR_UNAVAILABLE;
    }
    err = select_decisions(reply, wanted);
    if (err)
        return err;
    return json_array_append(targets, reply) < 0 ? ESCROW_ERR_NO_MEMORY : ESCROW_OK;
}

/* ---- for a person ---- */

static void print_readiness(const json_t *explained)
{
    const json_t *reason;
    size_t i;

    if (json_is_true(json_object_get(explained, "ready"))) {
        ctl_print_line(CTL_OUTPUT_TABLE, "escrowd %s is ready", text_of(explained, "escrowd"));
        return;
    }
    ctl_print_line(CTL_OUTPUT_TABLE,
                   "escrowd %s is not ready and releases nothing:", text_of(explained, "escrowd"));
    json_array_foreach(json_object_get(explained, "reasons"), i, reason)
    {
        const char *code = json_is_string(reason) ? json_string_value(reason) : "-";

        ctl_print_line(CTL_OUTPUT_TABLE, "  %s: %s", code, reason_text(reason_from_code(code)));
    }
}

static bool add_row(json_t *rows, const json_t *decision)
{
    const json_t *request = json_object_get(decision, "request");
    const json_t *verdict = json_object_get(decision, "verdict");
    json_t *row =
        json_pack("{s:O?, s:O?, s:O?, s:O?, s:s}", "purpose", json_object_get(request, "purpose"),
                  "replica", json_object_get(request, "replica"), "verdict",
                  json_object_get(verdict, "outcome"), "reason", json_object_get(verdict, "reason"),
                  "why", reason_text(reason_from_code(text_of(verdict, "reason"))));

    return json_array_append_new(rows, row) == 0;
}

static void print_verdicts(const json_t *decisions)
{
    static const struct ctl_column columns[] = {{"FOR", "replica"},
                                                {"PURPOSE", "purpose"},
                                                {"VERDICT", "verdict"},
                                                {"REASON", "reason"},
                                                {"WHY", "why"}};
    CLEANUP(json_free_p) json_t *rows = json_array();
    const json_t *decision;
    size_t i;

    json_array_foreach(decisions, i, decision)
    {
        if (!add_row(rows, decision))
            return;
    }
    ctl_print_rows(CTL_OUTPUT_TABLE, rows, rows, columns, ARRAY_LEN(columns));
}

static void print_rules(const json_t *decisions)
{
    const json_t *decision;
    size_t i;

    json_array_foreach(decisions, i, decision)
    {
        const json_t *request = json_object_get(decision, "request");
        const json_t *verdict = json_object_get(decision, "verdict");

        ctl_print_line(CTL_OUTPUT_TABLE, "%s", "");
        ctl_print_line(CTL_OUTPUT_TABLE, "%s for %s: %s", text_of(request, "purpose"),
                       text_of(request, "replica"), text_of(verdict, "outcome"));
        ctl_print_rules(verdict);
    }
}

/* What already waits for admins here, whoever asked for it. */
static void print_requests(const json_t *explained, const json_t *target)
{
    char note[CTL_PENDING_NOTE_MAX];
    const json_t *request;
    size_t i;

    json_array_foreach(json_object_get(explained, "requests"), i, request)
    {
        if (!is_wanted(text_of(target, "group"), request, "group") ||
            !is_wanted(text_of(target, "database"), request, "database"))
            continue;
        ctl_pending_note(request, note);
        ctl_print_line(
            CTL_OUTPUT_TABLE,
            "waits for admins: %s for %s (%s), %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT
            " approved: escrowctl approve %" JSON_INTEGER_FORMAT " --escrowd %s",
            text_of(request, "purpose"), text_of(request, "replica"), text_of(request, "reason"),
            json_integer_value(json_object_get(request, "approvals")),
            json_integer_value(json_object_get(request, "approvals_needed")),
            json_integer_value(json_object_get(request, "request")),
            text_of(explained, "identity"));
        if (note[0])
            ctl_print_line(CTL_OUTPUT_TABLE, "  but: %s", note);
    }
}

static enum escrow_err print_target(const json_t *explained, const json_t *target,
                                    bool rule_by_rule)
{
    const json_t *written = json_object_get(target, "evidence");
    const json_t *decisions = json_object_get(target, "decisions");
    CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;
    CLEANUP(json_free_p) json_t *verdict = NULL;
    enum escrow_err err = ctl_decide(written, &evidence, &verdict);

    if (err)
        return err;
    ctl_print_line(CTL_OUTPUT_TABLE, "%s", "");
    ctl_print_line(CTL_OUTPUT_TABLE,
                   "%s of %s, by what the replicas said when escrowd asked them %.1f s ago:",
                   text_of(target, "database"), text_of(target, "group"),
                   (double)evidence->facts.elapsed_ms / 1000);
    ctl_print_ledger(&evidence->ledger);
    putchar('\n');
    ctl_print_replicas(&evidence->facts, written);
    putchar('\n');
    print_verdicts(decisions);
    print_requests(explained, target);
    if (rule_by_rule)
        print_rules(decisions);
    return ESCROW_OK;
}

static enum escrow_err print_explained(const json_t *explained, const struct wanted *wanted)
{
    const json_t *target;
    enum escrow_err err = ESCROW_OK;
    size_t i;

    print_readiness(explained);
    json_array_foreach(json_object_get(explained, "targets"), i, target)
    {
        if (!err)
            err = print_target(explained, target, wanted->replica != NULL);
    }
    putchar('\n');
    return err;
}

static enum escrow_err explain_one(struct ctl_peer *peer, void *argument)
{
    struct wanted *wanted = argument;
    CLEANUP(json_free_p) json_t *status = NULL;
    CLEANUP(json_free_p) json_t *targets = json_array();
    CLEANUP(json_free_p) json_t *explained = NULL;
    const json_t *group;
    size_t i;
    enum escrow_err err = ctl_peer_get(peer, "/v1/status", &status);

    json_array_foreach(json_object_get(status, "groups"), i, group)
    {
        if (!err && is_wanted(wanted->group, group, "group") &&
            is_wanted(wanted->database, group, "database"))
            err = explain_target(peer, status, i + 1, wanted, targets);
    }
    if (err)
        return err;
    explained =
        json_pack("{s:s, s:s, s:O?, s:O?, s:O?, s:O?}", "escrowd", peer->escrowd->address,
                  "identity", peer->escrowd->server_id, "ready", json_object_get(status, "ready"),
                  "reasons", json_object_get(status, "reasons"), "requests",
                  json_object_get(status, "requests"), "targets", targets);
    if (json_array_append(wanted->escrowds, explained) < 0)
        return ESCROW_ERR_NO_MEMORY;
    return wanted->output == CTL_OUTPUT_TABLE ? print_explained(explained, wanted) : ESCROW_OK;
}

static enum escrow_err run(struct ctl *ctl)
{
    CLEANUP(ctl_access_deinit) struct ctl_access access = {0};
    CLEANUP(json_free_p) json_t *result = json_pack("{s:[]}", "escrowds");
    struct wanted wanted = {.output = ctl->output, .escrowds = json_object_get(result, "escrowds")};
    const char *escrowd = NULL;
    const struct ctl_option options[] = {{.name = "escrowd", .value = &escrowd},
                                         {.name = "group", .value = &wanted.group},
                                         {.name = "database", .value = &wanted.database},
                                         {.name = "replica", .value = &wanted.replica}};
    enum escrow_err err = ctl_parse(ctl, options, ARRAY_LEN(options), 0, 0);

    if (!err)
        err = ctl_access_init(&access, ctl, false);
    if (err)
        return err;
    err = ctl_each_peer(&access, escrowd, explain_one, &wanted);
    if (ctl->output == CTL_OUTPUT_JSON)
        ctl_print_object(ctl->output, result);
    if (err || wanted.found > 0)
        return err;
    log_error("the policy has no such group, database or replica");
    return ESCROW_ERR_NOT_FOUND;
}

const struct ctl_command ctl_policy_explain = {
    "policy explain", run, "show what would be released now, and why not",
    "[--escrowd ADDRESS] [--group GROUP] [--database DATABASE] [--replica REPLICA]\n"
    "\n"
    "For every replica: what would be decided if its agent asked now for a promotion, or, by a "
    "live\n"
    "order, for a rotation or a drill. With --replica rule by rule. Rests on what escrowd's watch\n"
    "heard last; asks no replica, and changes nothing. For admins and auditors.\n"
    "\n"
    "  escrowctl policy explain --group ssis\n"
    "  escrowctl policy explain --group ssis --replica node-b\n"};
