/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence of a decision: what is read and written again says the same, and gives the same verdict;
 * and no facts whatever let a release happen without a candidate that answered, is primary, online
 * and writable. The input is the document.
 */
#include "libescrow/json.h"
#include "policy/evidence.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static const struct policy_replica_facts *find(const struct policy_facts *facts, const char *name)
{
    const struct policy_replica_facts *found = NULL;

    for (size_t i = 0; !found && i < facts->replica_count; i++) {
        if (strcmp(facts->replicas[i].instance, name) == 0)
            found = &facts->replicas[i];
    }
    return found;
}

static bool is_echoed(const struct policy_evidence *evidence)
{
    for (size_t i = 0; i < evidence->rules.replica_count; i++) {
        const char *instance = evidence->rules.replicas[i].instance;
        const struct policy_replica_facts *known = find(&evidence->facts, instance);

        if (known && strcmp(instance, evidence->replica) != 0 && known->status == POLICY_ANSWERED &&
            known->state.role == 2 && known->echo == POLICY_ECHO_FOUND)
            return true;
    }
    return false;
}

static void check_allowed(const struct policy_evidence *evidence)
{
    const struct policy_replica_facts *candidate = find(&evidence->facts, evidence->replica);
    const enum act_purpose purpose = evidence->request.purpose;

    FUZZ_CHECK(policy_has_database(&evidence->rules, evidence->database));
    FUZZ_CHECK(policy_find_replica(&evidence->rules, evidence->replica));
    FUZZ_CHECK(purpose == PURPOSE_PROMOTE || purpose == PURPOSE_REBASELINE ||
               ((purpose == PURPOSE_ROTATE || purpose == PURPOSE_DRILL) &&
                evidence->request.is_order_valid));
    FUZZ_CHECK(candidate && candidate->status == POLICY_ANSWERED &&
               candidate->state.outcome == PROBE_ANSWERED && candidate->state.role == 1 &&
               candidate->state.database_state == 0 && candidate->state.is_read_write &&
               !candidate->state.is_forwarder);
    if (purpose == PURPOSE_REBASELINE)
        return;
    FUZZ_CHECK(evidence->facts.session == POLICY_SESSION_FOUND);
    FUZZ_CHECK(!evidence->rules.wants_echo || evidence->request.approval.count > 0 ||
               is_echoed(evidence));
}

/* The verdict as a document; decided without failures, since it calls nothing. */
static json_t *decide(const struct policy_evidence *evidence)
{
    struct policy_verdict verdict;
    json_t *document;

    policy_decide(&evidence->rules, &evidence->request, &evidence->facts, &evidence->ledger,
                  &verdict);
    if (verdict.outcome == POLICY_ALLOW)
        check_allowed(evidence);
    inject_hold(true);
    document = policy_verdict_to_json(&verdict);
    inject_hold(false);
    FUZZ_CHECK(document);
    return document;
}

static json_t *write(const struct policy_evidence *evidence)
{
    return policy_evidence_to_json(&evidence->rules, &evidence->request, &evidence->facts,
                                   &evidence->ledger);
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    CLEANUP(json_free_p) json_t *document = fuzz_json(bytes, len), *once = NULL, *twice = NULL;
    CLEANUP(cleanup_free) struct policy_evidence *first = NULL, *second = NULL;
    CLEANUP(json_free_p) json_t *one = NULL, *two = NULL;
    enum escrow_err err;

    if (!document)
        return;
    err = policy_evidence_from_json(document, &first);
    fuzz_check_err(err);
    FUZZ_CHECK(!err == !!first);
    if (err)
        return;
    once = write(first);
    if (!fuzz_went_well(once != NULL) ||
        !fuzz_went_well(policy_evidence_from_json(once, &second) == ESCROW_OK))
        return;
    twice = write(second);
    /* Without memory for one form of a text the other one is written. */
    if (fuzz_went_well(twice != NULL))
        fuzz_went_well(json_equal(once, twice));
    one = decide(first);
    two = decide(second);
    FUZZ_CHECK(json_equal(one, two));
}
