/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a test leaves in the log, whatever it was about: each decision in it, made again from its
 * record alone, is the decision that was made.
 */
#include "libescrow/audit_reader.h"
#include "libescrow/json.h"
#include "policy/evidence.h"
#include "tests/unit/keeper_parts.h"

#include <stdio.h>
#include <stdlib.h>

/* The verdict that follows from the evidence, owned by the caller. */
static json_t *decide_again(const json_t *evidence)
{
    CLEANUP(cleanup_free) struct policy_evidence *read = NULL;
    struct policy_verdict verdict;

    OK(policy_evidence_from_json(evidence, &read));
    policy_decide(&read->rules, &read->request, &read->facts, &read->ledger, &verdict);
    return policy_verdict_to_json(&verdict);
}

static enum escrow_err check_line(const struct audit_line *line, void *argument)
{
    const json_t *record = line->record->document;
    const json_t *facts = json_object_get(record, "facts");
    const json_t *verdict = json_object_get(facts, "verdict");
    CLEANUP(json_free_p) json_t *again = NULL;

    (void)argument;
    if (!verdict)
        return ESCROW_OK;
    again = decide_again(json_object_get(facts, "evidence"));
    if (!json_equal(again, verdict) ||
        !json_equal(json_object_get(again, "outcome"), json_object_get(record, "decision")) ||
        !json_equal(json_object_get(again, "reason"), json_object_get(record, "reason")))
        fx_fail("decided again it is another decision", line->text);
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
