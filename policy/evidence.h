/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/decide.h"

#include <jansson.h>

/*
 * What a decision rested on, as JSON for the audit log, and back, so that anyone can decide again
 * from a record: policy_decide on what comes back gives the verdict that was given. What does not
 * count (the state of a replica that did not answer, a history that is not known) is not written
 * and comes back as zero. No secret ever is in it.
 *
 *   evidence {v: 1, rules, request, facts, ledger}
 *   rules    {cluster_type, databases, replicas: [{instance, server_name}], witnesses,
 *            witness_count, rival_wait_ms, dead_for_ms, window_ms, retries, brake, approvals,
 *            on_restart, echo}: of the group, as policy.yaml says it; databases has the requested
 *            one, if it is listed; echo is there, and true, only where the group has that rule
 *   request  {purpose, database, replica, is_order_valid, approval}
 *   approval null or {count, epoch, rules: [word]}
 *   facts    {elapsed_ms, session, replicas: [{instance, status, answered_ms, state, history,
 *            echo, echo_failure: {outcome, sql_error}}]}; echo only with that of the rules, and
 *            echo_failure only where echo is missing because the replica could not be asked
 *   state    null, {outcome, sql_error, diagnosis}, or if it answered {outcome, server_name,
 *            cluster_type, role, operational_state, recovery_health, synchronization_health,
 *            synchronization_state, database_state, is_read_write, is_forwarder, quorum_state,
 *            primary_replica, sequence_number, recovery_lsn}
 *   history  null or {last_role, was_synchronised, primary_ago_ms, silent_for_ms, dead_for_ms}
 *   ledger   {record, grant, hints: {recovery_lsn, sequence_number}, releases_last_hour}
 *   record   null or {primary, epoch, origin, epoch_age_ms}
 *   grant    null or {state, replica, requests, age_ms}
 *
 * null also stands for NULL and for what is not known (quorum_state without a row, primary_replica,
 * sequence_number, recovery_lsn, an age). sequence_number is decimal text, because readers of JSON
 * lose digits of large numbers. A text that is not printable UTF-8 is {hex: text}.
 */

/* As in "outcome" above; "unknown" for a value that the enum does not have. */
const char *policy_outcome_word(enum probe_outcome outcome);

/* Owned by the caller; NULL without memory or for a value that its enum does not have. */
json_t *policy_evidence_to_json(const struct policy_group *rules,
                                const struct policy_request *request,
                                const struct policy_facts *facts,
                                const struct policy_ledger *ledger);

/* Its request alone. Owned by the caller; NULL as above. */
json_t *policy_request_to_json(const struct policy_request *request);

/* Texts and lists of rules and request are members, so this is never copied. */
struct policy_evidence {
    struct policy_group rules; /* name and availability_group are empty */
    const char *databases[1];
    struct policy_replica replicas[POLICY_REPLICAS_MAX];
    char instances[POLICY_REPLICAS_MAX][POLICY_NAME_MAX + 1];
    char server_names[POLICY_REPLICAS_MAX][POLICY_SERVER_NAME_MAX + 1];
    struct policy_request request;
    char database[POLICY_DATABASE_MAX + 1];
    char replica[POLICY_NAME_MAX + 1];
    struct policy_facts facts;
    struct policy_ledger ledger;
};

/*
 * Owned by the caller, who frees it with free(). ESCROW_ERR_MALFORMED with a log line, unless the
 * object is exactly an evidence; ESCROW_ERR_NO_MEMORY.
 */
MUST_CHECK enum escrow_err policy_evidence_from_json(const json_t *object,
                                                     struct policy_evidence **ret_evidence);

/*
 * Rules as bits (policy_rules_to_approve) and as an array of their names, in the order of the enum.
 * Owned by the caller, NULL without memory; ESCROW_ERR_MALFORMED.
 */
json_t *policy_rules_to_json(unsigned rules);
MUST_CHECK enum escrow_err policy_rules_from_json(const json_t *words, unsigned *ret_rules);

/* What SQL Server said, in fewer than PROBE_TEXT_MAX bytes: a text if it is printable UTF-8, else
 * {"hex"}. NULL without memory. */
json_t *policy_text_to_json(const char *text);

/*
 * {outcome, reason, kind, mints_epoch, witnesses, witnesses_needed, is_by_silence,
 *  rules: [{rule, result, reason}]}, in the order of enum policy_rule, without rule 7 where the
 * group does not have it; reason may be null.
 * Owned by the caller; NULL without memory.
 */
json_t *policy_verdict_to_json(const struct policy_verdict *verdict);
