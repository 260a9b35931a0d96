/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit explain: decides again on what the record of a decision holds, rule by rule, and says
 * whether the verdict is the recorded one. Nothing but the record is needed or believed.
 */
#include "client/escrowctl_audit.h"
#include "client/escrowctl_evidence.h"
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
    json_t *again;       /* the verdict, owned */
    const json_t *facts; /* the evidence, and the verdict on it, borrowed from record */
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

/* Of a record that is no decision, the decision that it belongs to; 0: there is none. */
static json_int_t decision_of(const json_t *record)
{
    const json_t *detail = json_object_get(record, "detail");
    const json_int_t numbers[] = {json_integer_value(json_object_get(record, "grant")),
                                  json_integer_value(json_object_get(detail, "request")),
                                  json_integer_value(json_object_get(detail, "record"))};

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (numbers[i] > 0)
            return numbers[i];
    }
    return 0;
}

static void say_no_decision(uint64_t sequence, const json_t *record)
{
    const char *event = json_string_value(json_object_get(record, "event"));
    json_int_t decision = decision_of(record);

    if (decision > 0)
        log_error("record %" PRIu64
                  " is no decision but %s; it belongs to record %" JSON_INTEGER_FORMAT
                  ": escrowctl audit explain %" JSON_INTEGER_FORMAT,
                  sequence, event, decision, decision);
    else
        log_error("record %" PRIu64 " is no decision but %s", sequence, event);
}

static enum escrow_err decide_again(uint64_t sequence, struct decision *decision)
{
    const json_t *facts = json_object_get(decision->record, "facts");

    decision->recorded = json_object_get(facts, "verdict");
    if (!decision->recorded) {
        say_no_decision(sequence, decision->record);
        return ESCROW_ERR_NOT_FOUND;
    }
    decision->facts = json_object_get(facts, "evidence");
    return ctl_decide(decision->facts, &decision->evidence, &decision->again);
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

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "-";
}

/* Only where admins have approved; who they are stands in records of their own. */
static void print_approval(const struct policy_request *request)
{
    if (request->approval.count > 0)
        printf("approved by %u admins: the records approve before this one name them\n",
               (unsigned)request->approval.count);
}

static void print_decision(const struct decision *decision)
{
    const json_t *record = decision->record;

    ctl_print_line(
        CTL_OUTPUT_TABLE, "record %" JSON_INTEGER_FORMAT ", %s: %s %s of %s for %s: %s (%s)",
        json_integer_value(json_object_get(record, "sequence")), text_of(record, "time"),
        text_of(record, "purpose"), text_of(record, "database"), text_of(record, "group"),
        text_of(record, "replica"), text_of(record, "decision"), text_of(record, "reason"));
    puts(reason_text(reason_from_code(text_of(record, "reason"))));
    ctl_print_line(CTL_OUTPUT_TABLE, "asked by %s, rules %s", text_of(record, "actor"),
                   text_of(record, "rules"));
    print_approval(&decision->evidence->request);
    ctl_print_ledger(&decision->evidence->ledger);
    putchar('\n');
    ctl_print_replicas(&decision->evidence->facts, decision->facts);
    putchar('\n');
    ctl_print_rules(decision->again);
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
