/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit explain: decides again on what the record of a decision holds, rule by rule, and says
 * whether the verdict is the recorded one. Nothing but the record is needed or believed.
 */
#include "client/escrowctl_audit.h"
#include "libescrow/json.h"
#include "libescrow/log.h"
#include "policy/evidence.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A decision and the same made again. */
struct decision {
    json_t *record; /* the whole record, owned */
    struct policy_evidence *evidence;
    json_t *again; /* the verdict, owned; recorded is borrowed from record */
    const json_t *recorded;
};

static void decision_deinit(struct decision *decision)
{
    json_decref(decision->record);
    json_decref(decision->again);
    free(decision->evidence);
}

static enum escrow_err keep(const struct audit_line *line, void *argument)
{
    struct decision *decision = argument;

    decision->record = json_copy_whole(line->record->document);
    return decision->record ? ESCROW_OK : ESCROW_ERR_NO_MEMORY;
}

static enum escrow_err decide_again(uint64_t sequence, struct decision *decision)
{
    const json_t *facts = json_object_get(decision->record, "facts");
    struct policy_verdict verdict;
    enum escrow_err err;

    decision->recorded = json_object_get(facts, "verdict");
    if (!decision->recorded) {
        log_error("record %" PRIu64 " is no decision but %s", sequence,
                  json_string_value(json_object_get(decision->record, "event")));
        return ESCROW_ERR_NOT_FOUND;
    }
    err = policy_evidence_from_json(json_object_get(facts, "evidence"), &decision->evidence);
    if (err)
        return err;
    policy_decide(&decision->evidence->rules, &decision->evidence->request,
                  &decision->evidence->facts, &decision->evidence->ledger, &verdict);
    decision->again = policy_verdict_to_json(&verdict);
    return decision->again ? ESCROW_OK : ESCROW_ERR_NO_MEMORY;
}

/* What the record says outside of the verdict is the verdict's too. */
static bool agrees(const struct decision *decision)
{
    return json_equal(decision->recorded, decision->again) &&
           json_equal(json_object_get(decision->record, "decision"),
                      json_object_get(decision->again, "outcome")) &&
           json_equal(json_object_get(decision->record, "reason"),
                      json_object_get(decision->again, "reason"));
}

static const char *role_word(const struct policy_replica_facts *known)
{
    static const char *const words[] = {"RESOLVING", "PRIMARY", "SECONDARY"};

    if (known->status != POLICY_ANSWERED || known->state.outcome != PROBE_ANSWERED)
        return NULL;
    return known->state.role >= 0 && known->state.role < (int32_t)ARRAY_LEN(words)
               ? words[known->state.role]
               : "unknown";
}

static json_t *replica_row(const struct policy_replica_facts *known, const json_t *written)
{
    const json_t *state = json_object_get(written, "state");
    const json_t *history = json_object_get(written, "history");
    const json_t *outcome = json_object_get(state, "outcome");

    return json_pack("{s:s, s:O, s:s?, s:O?, s:O?, s:O?, s:O?}", "replica", known->instance,
                     "status", outcome ? outcome : json_object_get(written, "status"), "role",
                     role_word(known), "names", json_object_get(state, "primary_replica"),
                     "answered_ms", json_object_get(written, "answered_ms"), "primary_ago_ms",
                     json_object_get(history, "primary_ago_ms"), "silent_for_ms",
                     json_object_get(history, "silent_for_ms"));
}

static void print_replicas(const struct decision *decision)
{
    static const struct ctl_column columns[] = {
        {"REPLICA", "replica"},
        {"SAID", "status"},
        {"ROLE", "role"},
        {"NAMES", "names"},
        {"AFTER MS", "answered_ms"},
        {"WAS PRIMARY MS AGO", "primary_ago_ms"},
        {"SILENT FOR MS", "silent_for_ms"},
    };
    const struct policy_facts *facts = &decision->evidence->facts;
    const json_t *written = json_object_get(
        json_object_get(json_object_get(json_object_get(decision->record, "facts"), "evidence"),
                        "facts"),
        "replicas");
    CLEANUP(json_free_p) json_t *rows = json_array();

    for (size_t i = 0; i < facts->replica_count; i++) {
        if (json_array_append_new(rows,
                                  replica_row(&facts->replicas[i], json_array_get(written, i))) < 0)
            return;
    }
    ctl_print_rows(CTL_OUTPUT_TABLE, rows, rows, columns, ARRAY_LEN(columns));
}

static void print_ledger(const struct policy_ledger *ledger)
{
    if (!ledger->has_record)
        puts("ledger: no primary of the group was known");
    else
        printf("ledger: %s was the primary of epoch %" PRIu64 "; ", ledger->primary, ledger->epoch);
    if (!ledger->has_record)
        return;
    if (ledger->grant.state == POLICY_GRANT_NONE)
        fputs("nothing was granted in it; ", stdout);
    else
        printf("%s had been granted %" PRId64 " times, %s; ", ledger->grant.replica,
               ledger->grant.requests,
               ledger->grant.state == POLICY_GRANT_SETTLED ? "settled" : "unsettled");
    printf("releases of the group in the hour before: %" PRId64 "\n", ledger->releases_last_hour);
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "-";
}

static void print_decision(const struct decision *decision)
{
    static const struct ctl_column columns[] = {
        {"RULE", "rule"}, {"RESULT", "result"}, {"REASON", "reason"}};
    const json_t *record = decision->record;
    const json_t *rules = json_object_get(decision->again, "rules");

    printf("record %" JSON_INTEGER_FORMAT ", %s: %s %s of %s for %s: %s (%s)\n",
           json_integer_value(json_object_get(record, "sequence")), text_of(record, "time"),
           text_of(record, "purpose"), text_of(record, "database"), text_of(record, "group"),
           text_of(record, "replica"), text_of(record, "decision"), text_of(record, "reason"));
    print_ledger(&decision->evidence->ledger);
    putchar('\n');
    print_replicas(decision);
    putchar('\n');
    ctl_print_rows(CTL_OUTPUT_TABLE, rules, rules, columns, ARRAY_LEN(columns));
    printf("\nwitnesses: %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " needed\n",
           json_integer_value(json_object_get(decision->again, "witnesses")),
           json_integer_value(json_object_get(decision->again, "witnesses_needed")));
}

static enum escrow_err report(const struct ctl *ctl, uint64_t sequence,
                              const struct decision *decision)
{
    bool is_same = agrees(decision);

    if (ctl->output == CTL_OUTPUT_JSON) {
        CLEANUP(json_free_p)
        json_t *result =
            json_pack("{s:I, s:O, s:O, s:b}", "sequence", (json_int_t)sequence, "recorded",
                      decision->recorded, "again", decision->again, "agrees", (int)is_same);

        if (!result)
            return ESCROW_ERR_NO_MEMORY;
        ctl_print_object(ctl->output, result);
    } else {
        print_decision(decision);
    }
    if (is_same) {
        ctl_print_line(ctl->output, "decided again on the recorded rules and facts: the same");
        return ESCROW_OK;
    }
    log_error("record %" PRIu64 ": decided again on the recorded rules and facts it is %s (%s), "
              "but %s (%s) is recorded",
              sequence, text_of(decision->again, "outcome"), text_of(decision->again, "reason"),
              text_of(decision->record, "decision"), text_of(decision->record, "reason"));
    return ESCROW_ERR_MALFORMED;
}

static enum escrow_err run(struct ctl *ctl)
{
    CLEANUP(decision_deinit) struct decision decision = {0};
    struct ctl_audit audit = {.most = 1, .on_line = keep, .argument = &decision};
    const struct ctl_option options[] = {{.name = "folder", .value = &audit.folder},
                                         {.name = "escrowd", .value = &audit.escrowd}};
    enum escrow_err err = ctl_parse(ctl, options, ARRAY_LEN(options), 1, 1);

    if (!err)
        err = ctl_number("SEQUENCE", ctl->argv[0], 1, INT64_MAX, 1, &audit.from);
    if (!err)
        err = ctl_audit_read(ctl, &audit);
    if (!err && !decision.record) {
        log_error("the log has no record %" PRIu64, audit.from);
        return ESCROW_ERR_NOT_FOUND;
    }
    if (!err)
        err = decide_again(audit.from, &decision);
    return err ? err : report(ctl, audit.from, &decision);
}

const struct ctl_command ctl_audit_explain = {
    "audit explain", run, "decide again on what a recorded decision rested on",
    "[--folder FOLDER | --escrowd ADDRESS] SEQUENCE\n"
    "\n"
    "Takes rules, request, facts and ledger out of the record of a decision, runs the rules on\n"
    "them again, and shows what each rule says and what it says that of. If the verdict is not\n"
    "the recorded one, it says so and ends with exit code 4.\n"
    "\n"
    "  escrowctl audit explain 1234\n"
    "  escrowctl audit explain --folder /mnt/backup/audit 1234\n"};
