/* SPDX-License-Identifier: Apache-2.0 */
#include "client/escrowctl_evidence.h"

#include "client/escrowctl_output.h"
#include "libescrow/json.h"

#include <inttypes.h>
#include <stdio.h>

enum escrow_err ctl_decide(const json_t *evidence, struct policy_evidence **ret_evidence,
                           json_t **ret_verdict)
{
    CLEANUP(cleanup_free) struct policy_evidence *read = NULL;
    struct policy_verdict verdict;
    enum escrow_err err = policy_evidence_from_json(evidence, &read);

    if (err)
        return err;
    policy_decide(&read->rules, &read->request, &read->facts, &read->ledger, &verdict);
    *ret_verdict = policy_verdict_to_json(&verdict);
    if (!*ret_verdict)
        return ESCROW_ERR_NO_MEMORY;
    *ret_evidence = TAKE(read);
    return ESCROW_OK;
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

/* "missing: sql_error 976", or the word alone. */
static json_t *echo_cell(const struct policy_replica_facts *known, const json_t *written)
{
    const char *echo = json_string_value(json_object_get(written, "echo"));

    if (!echo)
        return json_null();
    if (!known->echo_failure.outcome)
        return json_string(echo);
    if (known->echo_failure.sql_error == 0)
        return json_sprintf("%s: %s", echo, policy_outcome_word(known->echo_failure.outcome));
    return json_sprintf("%s: %s %d", echo, policy_outcome_word(known->echo_failure.outcome),
                        (int)known->echo_failure.sql_error);
}

static json_t *replica_row(const struct policy_replica_facts *known, const json_t *written)
{
    const json_t *state = json_object_get(written, "state");
    const json_t *history = json_object_get(written, "history");
    const json_t *outcome = json_object_get(state, "outcome");

    return json_pack("{s:s, s:O, s:s?, s:O?, s:O?, s:O?, s:O?, s:O?, s:o}", "replica",
                     known->instance, "status",
                     outcome ? outcome : json_object_get(written, "status"), "role",
                     role_word(known), "names", json_object_get(state, "primary_replica"),
                     "answered_ms", json_object_get(written, "answered_ms"), "primary_ago_ms",
                     json_object_get(history, "primary_ago_ms"), "silent_for_ms",
                     json_object_get(history, "silent_for_ms"), "server",
                     json_object_get(state, "server_name"), "echo", echo_cell(known, written));
}

void ctl_print_replicas(const struct policy_facts *facts, const json_t *evidence)
{
    static const struct ctl_column columns[] = {
        {"REPLICA", "replica"},
        {"SAID", "status"},
        {"ROLE", "role"},
        {"NAMES", "names"},
        {"AFTER MS", "answered_ms"},
        {"WAS PRIMARY MS AGO", "primary_ago_ms"},
        {"SILENT FOR MS", "silent_for_ms"},
        {"SERVER", "server"},
        {"ECHO", "echo"}, /* last: only of a group with that rule */
    };
    bool has_echo = json_object_get(json_object_get(evidence, "rules"), "echo") != NULL;
    const json_t *written = json_object_get(json_object_get(evidence, "facts"), "replicas");
    CLEANUP(json_free_p) json_t *rows = json_array();

    for (size_t i = 0; i < facts->replica_count; i++) {
        if (json_array_append_new(rows,
                                  replica_row(&facts->replicas[i], json_array_get(written, i))) < 0)
            return;
    }
    ctl_print_rows(CTL_OUTPUT_TABLE, rows, rows, columns, ARRAY_LEN(columns) - !has_echo);
}

void ctl_print_ledger(const struct policy_ledger *ledger)
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
    printf("releases of the database in the hour before: %" PRId64 "\n",
           ledger->releases_last_hour);
}

void ctl_print_rules(const json_t *verdict)
{
    static const struct ctl_column columns[] = {
        {"RULE", "rule"}, {"RESULT", "result"}, {"REASON", "reason"}};
    const json_t *rules = json_object_get(verdict, "rules");

    ctl_print_rows(CTL_OUTPUT_TABLE, rules, rules, columns, ARRAY_LEN(columns));
    printf("\nwitnesses: %" JSON_INTEGER_FORMAT " (%" JSON_INTEGER_FORMAT " needed)\n",
           json_integer_value(json_object_get(verdict, "witnesses")),
           json_integer_value(json_object_get(verdict, "witnesses_needed")));
}
