/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a test leaves in the log, whatever it was about: each decision in it, made again from its
 * record alone, is the decision that was made, and the hints are those of who was let have it.
 */
#include "escrowd/ledger_detail.h"
#include "libescrow/audit_reader.h"
#include "libescrow/json.h"
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
}

static enum escrow_err check_line(const struct audit_line *line, void *argument)
{
    const json_t *record = line->record->document;
    const json_t *facts = json_object_get(record, "facts");
    const json_t *verdict = json_object_get(facts, "verdict");
    CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;
    CLEANUP(json_free_p) json_t *again = NULL;

    (void)argument;
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
    enum escrow_err err = audit_read(fx->config.audit_folder, 1, check_line, NULL, &reading);

    /* A log that the test has broken is looked at up to there. */
    if (err && err != ESCROW_ERR_MALFORMED && err != ESCROW_ERR_STORE)
        fx_fail("the log cannot be read", escrow_err_name(err));
}
