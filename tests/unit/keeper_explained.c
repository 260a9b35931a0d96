/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a test leaves in the log, whatever it was about: each decision in it, made again from its
 * record alone, is the decision that was made; its hints are those of who was let have it; what
 * stands beside an act is what the act says; what became of a release is said of that release; and
 * each epoch of a group begins once.
 */
#include "escrowd/ledger_detail.h"
#include "libescrow/audit_reader.h"
#include "libescrow/encode.h"
#include "libescrow/json.h"
#include "libescrow/jws.h"
#include "policy/evidence.h"
#include "tests/unit/keeper_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The verdict that follows from the evidence, owned by the caller. */
static json_t *decide_again(const struct policy_evidence *read)
{
    struct policy_verdict verdict;

    policy_decide(&read->rules, &read->request, &read->facts, &read->ledger, &verdict);
    return policy_verdict_to_json(&verdict);
}

static bool are_same_hints(const struct policy_hints *one, const struct policy_hints *other)
{
    return strcmp(one->recovery_lsn, other->recovery_lsn) == 0 &&
           one->has_sequence_number == other->has_sequence_number &&
           one->sequence_number == other->sequence_number;
}

/* What is kept of a release, to compare the next one with, is what its own replica said. */
static void check_hints(const struct audit_line *line, const struct policy_evidence *evidence)
{
    const struct policy_replica_facts *candidate = NULL;
    struct ledger_release release;
    struct policy_hints hints = {0};

    OK(ledger_release_read(line->record->detail, &release));
    for (size_t i = 0; i < evidence->facts.replica_count; i++) {
        if (strcmp(evidence->facts.replicas[i].instance, line->record->replica) == 0)
            candidate = &evidence->facts.replicas[i];
    }
    if (candidate && candidate->status == POLICY_ANSWERED &&
        candidate->state.outcome == PROBE_ANSWERED)
        ledger_hints_from(&candidate->state, &hints);
    else
        candidate = NULL;
    if (release.has_hints != (candidate != NULL) || !are_same_hints(&hints, &release.hints))
        fx_fail("the hints are not what the replica said", line->text);
    if (release.is_wanted != (strcmp(line->record->decision, "needs_approval") == 0))
        fx_fail("what admins are asked for, and the decision", line->text);
}

/* The protected header of a compact JWS, owned by the caller. */
static json_t *header_of(const char *compact)
{
    char text[1024];
    size_t len;
    json_t *header;

    OK(b64url_decode(compact, strcspn(compact, "."), text, sizeof(text), &len));
    header = json_loadb(text, len, 0, NULL);
    NOT_NULL(header);
    return header;
}

/* The same text in both, or in neither. */
static void check_same(const struct audit_line *line, const char *name, const json_t *said)
{
    const char *recorded = json_string_value(json_object_get(line->record->document, name));
    const char *signed_text = json_string_value(said);

    if (recorded != signed_text &&
        (!recorded || !signed_text || strcmp(recorded, signed_text) != 0))
        fx_fail(name, line->text);
}

static void check_objects(const struct audit_line *line, const json_t *signed_objects)
{
    bool is_same = json_array_size(line->record->objects) == json_array_size(signed_objects);

    for (size_t i = 0; i < json_array_size(signed_objects); i++)
        is_same &= json_equal(json_array_get(line->record->objects, i),
                              json_object_get(json_array_get(signed_objects, i), "name"));
    if (!is_same)
        fx_fail("other objects than in the act", line->text);
}

/* Whoever reads the log reads of each act what it says itself. */
static void check_act(const struct audit_line *line)
{
    const struct audit_record *record = line->record;
    CLEANUP(json_free_p) json_t *header = NULL, *payload = NULL;

    if (!record->act)
        return;
    header = header_of(record->act);
    OK(jws_unverified_payload(record->act, strlen(record->act), &payload));
    check_same(line, "key", json_object_get(header, "kid"));
    check_same(line, "purpose", json_object_get(payload, "purpose"));
    check_same(line, "group", json_object_get(payload, "group"));
    check_same(line, "database", json_object_get(payload, "database"));
    if (record->auth != AUDIT_AUTH_ACT || !record->actor || !record->certificate ||
        strlen(record->certificate) != 2 * IPC_FINGERPRINT_BYTES)
        fx_fail("an act without who signed it", line->text);
    if (record->event == AUDIT_RELEASE || record->event == AUDIT_REBASELINE ||
        record->event == AUDIT_RECEIPT)
        check_same(line, "replica", json_object_get(payload, "replica"));
    if (record->event == AUDIT_RELEASE || record->event == AUDIT_APPROVE)
        check_objects(line, json_object_get(payload, "objects"));
    if (record->event == AUDIT_RELEASE)
        check_same(line, "order", json_object_get(payload, "order"));
}

/* The number of the release that the record is about; 0: it is about none. */
static uint64_t release_of(const struct audit_record *record)
{
    uint64_t request = 0;

    if (record->event == AUDIT_APPROVE || record->event == AUDIT_EXPIRED)
        OK(ledger_request_read(record->detail, &request));
    return record->grant ? record->grant : request;
}

static void check_equal(const struct audit_line *line, const char *name, const json_t *release)
{
    const bool is_left_out = (line->record->event == AUDIT_ALERT && strcmp(name, "purpose") == 0) ||
                             (line->record->event == AUDIT_RECEIPT && strcmp(name, "epoch") == 0);

    if (!is_left_out &&
        !json_equal(json_object_get(line->record->document, name), json_object_get(release, name)))
        fx_fail(name, line->text);
}

/* What became of a release, and who approved it, says the same of it as its own record. */
static void check_reference(const struct audit_line *line, const json_t *records)
{
    static const char *const members[] = {"group", "database", "replica", "purpose", "epoch"};
    const uint64_t number = release_of(line->record);
    const json_t *release = json_array_get(records, (size_t)(number - 1));

    if (number == 0)
        return;
    if (strcmp(json_string_value(json_object_get(release, "event")), "release") != 0)
        fx_fail("about what is no release", line->text);
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        check_equal(line, members[i], release);
    if (line->record->event == AUDIT_SETTLE)
        check_equal(line, "order", release);
}

/* What was read of the log. */
struct read {
    json_t *records; /* all */
    json_t *epochs;  /* the last one of each group, by its name */
};

static bool begins_epoch(const struct audit_record *record)
{
    switch (record->event) {
    case AUDIT_EPOCH:
        return true;
    case AUDIT_RELEASE:
        return strcmp(record->decision, "allow") == 0 &&
               json_is_true(json_object_get(record->detail, "mints_epoch"));
    case AUDIT_REBASELINE:
        return strcmp(record->decision, "allow") == 0;
    default:
        return false;
    }
}

/* Whoever finds a new primary, the watch, a release or an admin: the others find its epoch. */
static void check_epoch(const struct audit_line *line, json_t *epochs)
{
    const char *group = line->record->group;

    if (!begins_epoch(line->record))
        return;
    if (json_integer_value(json_object_get(epochs, group)) + 1 != (json_int_t)line->record->epoch)
        fx_fail("not the next epoch of its group", line->text);
    json_object_set_new(epochs, group, json_integer((json_int_t)line->record->epoch));
}

static enum escrow_err check_line(const struct audit_line *line, void *argument)
{
    const json_t *record = line->record->document;
    const json_t *facts = json_object_get(record, "facts");
    const json_t *verdict = json_object_get(facts, "verdict");
    CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;
    CLEANUP(json_free_p) json_t *again = NULL;
    const struct read *read = argument;

    check_act(line);
    check_reference(line, read->records);
    check_epoch(line, read->epochs);
    json_array_append(read->records, line->record->document);
    if (!verdict)
        return ESCROW_OK;
    OK(policy_evidence_from_json(json_object_get(facts, "evidence"), &evidence));
    again = decide_again(evidence);
    if (!json_equal(again, verdict) ||
        !json_equal(json_object_get(again, "outcome"), json_object_get(record, "decision")) ||
        !json_equal(json_object_get(again, "reason"), json_object_get(record, "reason")))
        fx_fail("decided again it is another decision", line->text);
    if (line->record->event == AUDIT_RELEASE)
        check_hints(line, evidence);
    return ESCROW_OK;
}

void fx_check_decisions(const struct keeper_fixture *fx)
{
    struct audit_reading reading = {0};
    CLEANUP(json_free_p) json_t *records = json_array(), *epochs = json_object();
    struct read read = {records, epochs};
    enum escrow_err err = audit_read(fx->config.audit_folder, 1, check_line, &read, &reading);

    /* A log that the test has broken is looked at up to there. */
    if (err && err != ESCROW_ERR_MALFORMED && err != ESCROW_ERR_STORE)
        fx_fail("the log cannot be read", escrow_err_name(err));
}
