/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/encode.h"
#include "policy/evidence_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* jansson's setters refuse NULL and free what they cannot keep, so a fault is noticed here. */
static void put(json_t **object, const char *name, json_t *value)
{
    if (json_object_set_new(*object, name, value) == 0)
        return;
    json_decref(*object);
    *object = NULL;
}

static void put_word(json_t **object, const char *name, const struct policy_words *words,
                     size_t value)
{
    put(object, name, value < words->count ? json_string(words->words[value]) : NULL);
}

json_t *policy_text_to_json(const char *text)
{
    char hex[2 * PROBE_TEXT_MAX + 1];
    size_t len = strlen(text);
    bool is_printable = true;

    for (size_t i = 0; i < len; i++)
        is_printable &= (unsigned char)text[i] >= 0x20 && text[i] != 0x7f;
    if (is_printable) {
        json_t *value = json_string(text);

        if (value)
            return value;
    }
    if (len >= PROBE_TEXT_MAX)
        return NULL;
    hex_encode(text, len, hex);
    return json_pack("{s:s}", "hex", hex);
}

static json_t *text_or_null(const char *text)
{
    return text[0] ? policy_text_to_json(text) : json_null();
}

static json_t *sequence_or_null(bool is_known, int64_t number)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRId64, number);
    return is_known ? json_string(text) : json_null();
}

static json_t *age_or_null(int64_t age_ms)
{
    return age_ms == POLICY_NEVER ? json_null() : json_integer(age_ms);
}

static void put_answer(json_t **object, const struct probe_state *state)
{
    const char *bytes = (const char *)state;

    put(object, "server_name", policy_text_to_json(state->server_name));
    for (size_t i = 0; i < POLICY_STATE_NUMBERS; i++) {
        int32_t number;

        memcpy(&number, bytes + policy_state_numbers[i].offset, sizeof(number));
        put(object, policy_state_numbers[i].name, json_integer(number));
    }
    for (size_t i = 0; i < POLICY_STATE_FLAGS; i++) {
        bool flag;

        memcpy(&flag, bytes + policy_state_flags[i].offset, sizeof(flag));
        put(object, policy_state_flags[i].name, json_boolean(flag));
    }
    put(object, "quorum_state",
        state->has_quorum_row ? json_integer(state->quorum_state) : json_null());
    put(object, "primary_replica", text_or_null(state->primary_replica));
    put(object, "sequence_number",
        sequence_or_null(state->has_sequence_number, state->sequence_number));
    put(object, "recovery_lsn", text_or_null(state->recovery_lsn));
}

static json_t *state_to_json(const struct probe_state *state)
{
    json_t *object = json_object();

    put_word(&object, "outcome", &policy_outcome_words, state->outcome);
    if (state->outcome == PROBE_ANSWERED) {
        put_answer(&object, state);
        return object;
    }
    put(&object, "sql_error", json_integer(state->sql_error));
    put(&object, "diagnosis", policy_text_to_json(state->diagnosis));
    return object;
}

static json_t *history_to_json(const struct policy_history *history)
{
    json_t *object = json_object();

    put(&object, "last_role", json_integer(history->last_role));
    put(&object, "was_synchronised", json_boolean(history->was_synchronised));
    put(&object, "primary_ago_ms", age_or_null(history->primary_ago_ms));
    put(&object, "silent_for_ms", age_or_null(history->silent_for_ms));
    put(&object, "dead_for_ms", age_or_null(history->dead_for_ms));
    return object;
}

static json_t *echo_failure_to_json(const struct policy_replica_facts *known)
{
    json_t *object = json_object();

    put_word(&object, "outcome", &policy_outcome_words, known->echo_failure.outcome);
    put(&object, "sql_error", json_integer(known->echo_failure.sql_error));
    return object;
}

static json_t *replica_to_json(const struct policy_replica_facts *known, bool has_echo)
{
    bool has_state = known->status == POLICY_ANSWERED;
    json_t *object = json_object();

    put(&object, "instance", json_string(known->instance));
    put_word(&object, "status", &policy_status_words, known->status);
    put(&object, "answered_ms", has_state ? json_integer(known->answered_ms) : json_null());
    put(&object, "state", has_state ? state_to_json(&known->state) : json_null());
    put(&object, "history",
        known->history.is_known ? history_to_json(&known->history) : json_null());
    if (has_echo)
        put_word(&object, "echo", &policy_echo_words, known->echo);
    if (has_echo && known->echo == POLICY_ECHO_MISSING && known->echo_failure.outcome)
        put(&object, "echo_failure", echo_failure_to_json(known));
    return object;
}

static json_t *facts_to_json(const struct policy_facts *facts, bool has_echo)
{
    json_t *object = json_object(), *replicas = json_array();

    for (size_t i = 0; i < facts->replica_count; i++) {
        if (json_array_append_new(replicas, replica_to_json(&facts->replicas[i], has_echo)) < 0) {
            json_decref(replicas);
            replicas = NULL;
        }
    }
    put(&object, "elapsed_ms", json_integer(facts->elapsed_ms));
    put_word(&object, "session", &policy_session_words, facts->session);
    put(&object, "replicas", replicas);
    return object;
}

static json_t *record_to_json(const struct policy_ledger *ledger)
{
    json_t *object = json_object();

    put(&object, "primary", json_string(ledger->primary));
    put(&object, "epoch",
        ledger->epoch <= INT64_MAX ? json_integer((json_int_t)ledger->epoch) : NULL);
    put_word(&object, "origin", &policy_origin_words, ledger->origin);
    put(&object, "epoch_age_ms", age_or_null(ledger->epoch_age_ms));
    return object;
}

static json_t *grant_to_json(const struct policy_ledger *ledger)
{
    json_t *object = json_object();

    put_word(&object, "state", &policy_grant_words, ledger->grant.state);
    put(&object, "replica", json_string(ledger->grant.replica));
    put(&object, "requests", json_integer(ledger->grant.requests));
    put(&object, "age_ms", age_or_null(ledger->grant.age_ms));
    return object;
}

static json_t *ledger_to_json(const struct policy_ledger *ledger)
{
    json_t *object = json_object(), *hints = json_object();

    put(&hints, "recovery_lsn", text_or_null(ledger->hints.recovery_lsn));
    put(&hints, "sequence_number",
        sequence_or_null(ledger->hints.has_sequence_number, ledger->hints.sequence_number));
    put(&object, "record", ledger->has_record ? record_to_json(ledger) : json_null());
    put(&object, "grant",
        ledger->grant.state == POLICY_GRANT_NONE ? json_null() : grant_to_json(ledger));
    put(&object, "hints", hints);
    put(&object, "releases_last_hour", json_integer(ledger->releases_last_hour));
    return object;
}

static json_t *replicas_to_json(const struct policy_group *rules)
{
    json_t *replicas = json_array();

    for (size_t i = 0; i < rules->replica_count; i++) {
        json_t *object = json_object();

        put(&object, "instance", json_string(rules->replicas[i].instance));
        put(&object, "server_name", policy_text_to_json(rules->replicas[i].server_name));
        if (json_array_append_new(replicas, object) < 0) {
            json_decref(replicas);
            return NULL;
        }
    }
    return replicas;
}

static json_t *rules_to_json(const struct policy_group *rules, const char *database)
{
    const char *bytes = (const char *)rules;
    json_t *object = json_object();

    put_word(&object, "cluster_type", &policy_cluster_words, rules->cluster_type);
    put(&object, "databases",
        policy_has_database(rules, database) ? json_pack("[s]", database) : json_array());
    put(&object, "replicas", replicas_to_json(rules));
    put_word(&object, "witnesses", &policy_witnesses_words, rules->witnesses);
    put(&object, "witness_count", json_integer((json_int_t)rules->witness_count));
    for (size_t i = 0; i < POLICY_RULES_NUMBERS; i++) {
        int64_t number;

        memcpy(&number, bytes + policy_rules_numbers[i].offset, sizeof(number));
        put(&object, policy_rules_numbers[i].name, json_integer(number));
    }
    put_word(&object, "on_restart", &policy_restart_words, rules->on_restart);
    if (rules->wants_echo)
        put(&object, "echo", json_true());
    return object;
}

json_t *policy_rules_to_json(unsigned rules)
{
    json_t *words = json_array();

    for (size_t i = 0; i < POLICY_RULE_COUNT; i++) {
        if (rules & 1U << i &&
            json_array_append_new(words, json_string(policy_rule_name((enum policy_rule)i))) < 0) {
            json_decref(words);
            return NULL;
        }
    }
    return words;
}

static json_t *approved_to_json(const struct policy_approval *approval)
{
    json_t *object = json_object();

    put(&object, "count", json_integer(approval->count));
    put(&object, "epoch",
        approval->epoch <= INT64_MAX ? json_integer((json_int_t)approval->epoch) : NULL);
    put(&object, "rules", policy_rules_to_json(approval->rules));
    return object;
}

json_t *policy_request_to_json(const struct policy_request *request)
{
    json_t *object = json_object();

    put(&object, "purpose", json_string(act_purpose_word(request->purpose)));
    put(&object, "database", json_string(request->database));
    put(&object, "replica", json_string(request->replica));
    put(&object, "is_order_valid", json_boolean(request->is_order_valid));
    put(&object, "approval",
        request->approval.count > 0 ? approved_to_json(&request->approval) : json_null());
    return object;
}

json_t *policy_evidence_to_json(const struct policy_group *rules,
                                const struct policy_request *request,
                                const struct policy_facts *facts,
                                const struct policy_ledger *ledger)
{
    json_t *object = json_object();

    put(&object, "v", json_integer(1));
    put(&object, "rules", rules_to_json(rules, request->database));
    put(&object, "request", policy_request_to_json(request));
    put(&object, "facts", facts_to_json(facts, rules->wants_echo));
    put(&object, "ledger", ledger_to_json(ledger));
    return object;
}

static json_t *step_to_json(enum policy_rule rule, const struct policy_step *step)
{
    json_t *object = json_object();

    put(&object, "rule", json_string(policy_rule_name(rule)));
    put(&object, "result", json_string(policy_result_name(step->result)));
    put(&object, "reason",
        step->reason == REASON_NONE ? json_null() : json_string(reason_code(step->reason)));
    return object;
}

json_t *policy_verdict_to_json(const struct policy_verdict *verdict)
{
    json_t *object = json_object(), *rules = json_array();

    for (size_t i = 0; i < POLICY_RULE_COUNT; i++) {
        if (i == POLICY_RULE_ECHO && !verdict->has_echo)
            continue;
        if (json_array_append_new(rules, step_to_json((enum policy_rule)i, &verdict->rules[i])) <
            0) {
            json_decref(rules);
            rules = NULL;
        }
    }
    put(&object, "outcome", json_string(policy_outcome_name(verdict->outcome)));
    put(&object, "reason", json_string(reason_code(verdict->reason)));
    put(&object, "kind", json_string(policy_kind_name(verdict->kind)));
    put(&object, "mints_epoch", json_boolean(verdict->mints_epoch));
    put(&object, "witnesses", json_integer((json_int_t)verdict->witnesses));
    put(&object, "witnesses_needed", json_integer((json_int_t)verdict->witnesses_needed));
    put(&object, "is_by_silence", json_boolean(verdict->is_by_silence));
    put(&object, "rules", rules);
    return object;
}
