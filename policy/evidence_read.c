/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/encode.h"
#include "policy/evidence_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_null(const struct json_reader *reader, const char *name)
{
    return json_is_null(json_object_get(reader->object, name));
}

static size_t read_word(struct json_reader *reader, const char *name,
                        const struct policy_words *words)
{
    return json_read_word(reader, name, words->words, words->count);
}

static bool unhex(const char *text, char *ret_text, size_t cap)
{
    size_t len = strlen(text) / 2;

    if (strlen(text) % 2 != 0 || len >= cap || hex_decode(text, ret_text, len) != ESCROW_OK)
        return false;
    ret_text[len] = '\0';
    return strlen(ret_text) == len;
}

static void read_text_or_hex(struct json_reader *reader, const char *name, char *ret_text,
                             size_t cap)
{
    struct json_reader inner;
    const char *hex;

    if (!json_is_object(json_object_get(reader->object, name))) {
        json_read_text(reader, name, ret_text, cap);
        return;
    }
    json_reader_init(&inner, json_read_object(reader, name), "evidence: %s", name);
    hex = json_borrow_text(&inner, "hex", 2 * cap);
    if (json_reader_end(&inner) != ESCROW_OK || !unhex(hex, ret_text, cap)) {
        ret_text[0] = '\0';
        json_reader_fault(reader, name);
    }
}

static void read_text_or_null(struct json_reader *reader, const char *name, char *ret_text,
                              size_t cap)
{
    ret_text[0] = '\0';
    if (is_null(reader, name)) {
        json_read_null(reader, name);
        return;
    }
    read_text_or_hex(reader, name, ret_text, cap);
    if (!ret_text[0])
        json_reader_fault(reader, name);
}

/* Only the text that the writer makes of a number: no sign but '-', no leading zeros. */
static bool read_sequence(struct json_reader *reader, int64_t *ret_number)
{
    char text[24], again[24];

    *ret_number = 0;
    if (is_null(reader, "sequence_number")) {
        json_read_null(reader, "sequence_number");
        return false;
    }
    json_read_text(reader, "sequence_number", text, sizeof(text));
    *ret_number = strtoimax(text, NULL, 10);
    snprintf(again, sizeof(again), "%" PRId64, *ret_number);
    if (strcmp(text, again) != 0)
        json_reader_fault(reader, "sequence_number");
    return true;
}

static int64_t read_age(struct json_reader *reader, const char *name)
{
    if (!is_null(reader, name))
        return (int64_t)json_read_number(reader, name, 0, POLICY_AGE_MAX_MS);
    json_read_null(reader, name);
    return POLICY_NEVER;
}

/* From here on each function fills its part of one zeroed struct, which is dropped on failure. */
static void read_answer(struct json_reader *reader, struct probe_state *state)
{
    char *bytes = (char *)state;

    read_text_or_hex(reader, "server_name", state->server_name, sizeof(state->server_name));
    for (size_t i = 0; i < POLICY_STATE_NUMBERS; i++) {
        int32_t number = json_read_int32(reader, policy_state_numbers[i].name);

        memcpy(bytes + policy_state_numbers[i].offset, &number, sizeof(number));
    }
    for (size_t i = 0; i < POLICY_STATE_FLAGS; i++) {
        bool flag = json_read_bool(reader, policy_state_flags[i].name);

        memcpy(bytes + policy_state_flags[i].offset, &flag, sizeof(flag));
    }
    state->has_quorum_row = !is_null(reader, "quorum_state");
    if (state->has_quorum_row)
        state->quorum_state = json_read_int32(reader, "quorum_state");
    else
        json_read_null(reader, "quorum_state");
    read_text_or_null(reader, "primary_replica", state->primary_replica,
                      sizeof(state->primary_replica));
    state->has_sequence_number = read_sequence(reader, &state->sequence_number);
    read_text_or_null(reader, "recovery_lsn", state->recovery_lsn, sizeof(state->recovery_lsn));
}

static enum escrow_err state_from_json(const json_t *object, struct probe_state *state)
{
    struct json_reader reader;

    json_reader_init(&reader, object, "evidence: state");
    state->outcome = (enum probe_outcome)read_word(&reader, "outcome", &policy_outcome_words);
    if (state->outcome == PROBE_ANSWERED) {
        read_answer(&reader, state);
    } else {
        state->sql_error = json_read_int32(&reader, "sql_error");
        read_text_or_hex(&reader, "diagnosis", state->diagnosis, sizeof(state->diagnosis));
    }
    return json_reader_end(&reader);
}

static enum escrow_err history_from_json(const json_t *object, struct policy_history *history)
{
    struct json_reader reader;

    json_reader_init(&reader, object, "evidence: history");
    history->is_known = true;
    history->last_role = json_read_int32(&reader, "last_role");
    history->was_synchronised = json_read_bool(&reader, "was_synchronised");
    history->primary_ago_ms = read_age(&reader, "primary_ago_ms");
    history->silent_for_ms = read_age(&reader, "silent_for_ms");
    history->dead_for_ms = read_age(&reader, "dead_for_ms");
    return json_reader_end(&reader);
}

static enum escrow_err echo_failure_from_json(const json_t *object,
                                              struct policy_replica_facts *known)
{
    struct json_reader reader;

    json_reader_init(&reader, object, "evidence: echo_failure");
    known->echo_failure.outcome =
        (enum probe_outcome)read_word(&reader, "outcome", &policy_outcome_words);
    known->echo_failure.sql_error = json_read_int32(&reader, "sql_error");
    if (known->echo_failure.outcome == PROBE_ANSWERED)
        json_reader_fault(&reader, "outcome");
    return json_reader_end(&reader);
}

static enum escrow_err replica_from_json(const json_t *object, bool has_echo,
                                         struct policy_replica_facts *known)
{
    struct json_reader reader;
    enum escrow_err err = ESCROW_OK;

    json_reader_init(&reader, object, "evidence: replica");
    json_read_name(&reader, "instance", known->instance, sizeof(known->instance));
    known->status = (enum policy_status)read_word(&reader, "status", &policy_status_words);
    if (known->status == POLICY_ANSWERED) {
        known->answered_ms =
            (int64_t)json_read_number(&reader, "answered_ms", 0, POLICY_AGE_MAX_MS);
        err = state_from_json(json_read_object(&reader, "state"), &known->state);
    } else {
        json_read_null(&reader, "answered_ms");
        json_read_null(&reader, "state");
    }
    if (is_null(&reader, "history"))
        json_read_null(&reader, "history");
    else if (!err)
        err = history_from_json(json_read_object(&reader, "history"), &known->history);
    if (has_echo)
        known->echo = (enum policy_echo)read_word(&reader, "echo", &policy_echo_words);
    if (!err && known->echo == POLICY_ECHO_MISSING && json_object_get(object, "echo_failure"))
        err = echo_failure_from_json(json_read_object(&reader, "echo_failure"), known);
    return err ? err : json_reader_end(&reader);
}

static enum escrow_err facts_from_json(const json_t *object, bool has_echo,
                                       struct policy_facts *facts)
{
    struct json_reader reader;
    const json_t *replicas;
    enum escrow_err err = ESCROW_OK;

    json_reader_init(&reader, object, "evidence: facts");
    facts->elapsed_ms = (int64_t)json_read_number(&reader, "elapsed_ms", 0, POLICY_AGE_MAX_MS);
    facts->session = (enum policy_session)read_word(&reader, "session", &policy_session_words);
    replicas = json_read_array(&reader, "replicas", POLICY_REPLICAS_MAX);
    facts->replica_count = json_array_size(replicas);
    for (size_t i = 0; i < facts->replica_count && !err; i++)
        err = replica_from_json(json_array_get(replicas, i), has_echo, &facts->replicas[i]);
    return err ? err : json_reader_end(&reader);
}

static enum escrow_err record_from_json(const json_t *object, struct policy_ledger *ledger)
{
    struct json_reader reader;

    json_reader_init(&reader, object, "evidence: record");
    ledger->has_record = true;
    json_read_name(&reader, "primary", ledger->primary, sizeof(ledger->primary));
    ledger->epoch = json_read_number(&reader, "epoch", 0, INT64_MAX);
    ledger->origin = (enum policy_origin)read_word(&reader, "origin", &policy_origin_words);
    ledger->epoch_age_ms = read_age(&reader, "epoch_age_ms");
    return json_reader_end(&reader);
}

static enum escrow_err grant_from_json(const json_t *object, struct policy_ledger *ledger)
{
    struct json_reader reader;

    json_reader_init(&reader, object, "evidence: grant");
    ledger->grant.state = (enum policy_grant_state)read_word(&reader, "state", &policy_grant_words);
    json_read_name(&reader, "replica", ledger->grant.replica, sizeof(ledger->grant.replica));
    ledger->grant.requests = (int64_t)json_read_number(&reader, "requests", 0, INT64_MAX);
    ledger->grant.age_ms = read_age(&reader, "age_ms");
    return json_reader_end(&reader);
}

static enum escrow_err hints_from_json(const json_t *object, struct policy_hints *hints)
{
    struct json_reader reader;

    json_reader_init(&reader, object, "evidence: hints");
    read_text_or_null(&reader, "recovery_lsn", hints->recovery_lsn, sizeof(hints->recovery_lsn));
    hints->has_sequence_number = read_sequence(&reader, &hints->sequence_number);
    return json_reader_end(&reader);
}

static enum escrow_err ledger_from_json(const json_t *object, struct policy_ledger *ledger)
{
    struct json_reader reader;
    enum escrow_err err = ESCROW_OK;

    ledger->grant.state = POLICY_GRANT_NONE;
    json_reader_init(&reader, object, "evidence: ledger");
    if (is_null(&reader, "record"))
        json_read_null(&reader, "record");
    else
        err = record_from_json(json_read_object(&reader, "record"), ledger);
    if (is_null(&reader, "grant"))
        json_read_null(&reader, "grant");
    else if (!err)
        err = grant_from_json(json_read_object(&reader, "grant"), ledger);
    if (!err)
        err = hints_from_json(json_read_object(&reader, "hints"), &ledger->hints);
    ledger->releases_last_hour =
        (int64_t)json_read_number(&reader, "releases_last_hour", 0, INT64_MAX);
    return err ? err : json_reader_end(&reader);
}

static enum escrow_err replica_rules_from_json(const json_t *object, size_t index,
                                               struct policy_evidence *evidence)
{
    struct json_reader reader;

    json_reader_init(&reader, object, "evidence: rules: replica");
    json_read_name(&reader, "instance", evidence->instances[index],
                   sizeof(evidence->instances[index]));
    read_text_or_hex(&reader, "server_name", evidence->server_names[index],
                     sizeof(evidence->server_names[index]));
    evidence->replicas[index] =
        (struct policy_replica){evidence->instances[index], evidence->server_names[index]};
    return json_reader_end(&reader);
}

/* At most one database is written: that of the request. */
static void read_databases(struct json_reader *reader, struct policy_evidence *evidence)
{
    const json_t *databases = json_read_array(reader, "databases", 1);
    const char *name = json_string_value(json_array_get(databases, 0));

    evidence->rules.databases = evidence->databases;
    evidence->rules.database_count = json_array_size(databases);
    evidence->databases[0] = evidence->database;
    if (json_array_size(databases) > 0 && (!name || strcmp(name, evidence->database) != 0))
        json_reader_fault(reader, "databases");
}

/* Only where the group has rule 7: a record from before there was one has neither. */
static void read_echo(struct json_reader *reader, struct policy_group *rules)
{
    rules->wants_echo = json_object_get(reader->object, "echo") != NULL;
    if (rules->wants_echo && !json_read_bool(reader, "echo"))
        json_reader_fault(reader, "echo");
}

static enum escrow_err rules_from_json(const json_t *object, struct policy_evidence *evidence)
{
    struct policy_group *rules = &evidence->rules;
    char *bytes = (char *)rules;
    struct json_reader reader;
    const json_t *replicas;
    enum escrow_err err = ESCROW_OK;

    json_reader_init(&reader, object, "evidence: rules");
    rules->cluster_type =
        (enum policy_cluster_type)read_word(&reader, "cluster_type", &policy_cluster_words);
    read_databases(&reader, evidence);
    replicas = json_read_array(&reader, "replicas", POLICY_REPLICAS_MAX);
    rules->replicas = evidence->replicas;
    rules->replica_count = json_array_size(replicas);
    for (size_t i = 0; i < rules->replica_count && !err; i++)
        err = replica_rules_from_json(json_array_get(replicas, i), i, evidence);
    rules->witnesses =
        (enum policy_witnesses)read_word(&reader, "witnesses", &policy_witnesses_words);
    rules->witness_count = json_read_number(&reader, "witness_count", 1, POLICY_REPLICAS_MAX);
    for (size_t i = 0; i < POLICY_RULES_NUMBERS; i++) {
        int64_t number =
            (int64_t)json_read_number(&reader, policy_rules_numbers[i].name, 0, POLICY_AGE_MAX_MS);

        memcpy(bytes + policy_rules_numbers[i].offset, &number, sizeof(number));
    }
    rules->on_restart =
        (enum policy_on_restart)read_word(&reader, "on_restart", &policy_restart_words);
    read_echo(&reader, rules);
    return err ? err : json_reader_end(&reader);
}

/* In the order of the enum, no rule twice: a set has one text. */
enum escrow_err policy_rules_from_json(const json_t *words, unsigned *ret_rules)
{
    unsigned rules = 0;
    size_t known = 0;

    for (size_t i = 0; i < POLICY_RULE_COUNT; i++) {
        const char *word = json_string_value(json_array_get(words, known));

        if (word && strcmp(word, policy_rule_name((enum policy_rule)i)) == 0) {
            rules |= 1U << i;
            known++;
        }
    }
    if (!json_is_array(words) || known != json_array_size(words))
        return ESCROW_ERR_MALFORMED;
    *ret_rules = rules;
    return ESCROW_OK;
}

static enum escrow_err approved_from_json(const json_t *object, struct policy_approval *approval)
{
    struct json_reader reader;

    json_reader_init(&reader, object, "evidence: approval");
    approval->count = (int64_t)json_read_number(&reader, "count", 1, INT64_MAX);
    approval->epoch = json_read_number(&reader, "epoch", 0, INT64_MAX);
    if (policy_rules_from_json(json_read_array(&reader, "rules", POLICY_RULE_COUNT),
                               &approval->rules))
        json_reader_fault(&reader, "rules");
    return json_reader_end(&reader);
}

static enum escrow_err request_from_json(const json_t *object, struct policy_evidence *evidence)
{
    struct json_reader reader;
    enum escrow_err err = ESCROW_OK;
    char purpose[32];

    json_reader_init(&reader, object, "evidence: request");
    json_read_text(&reader, "purpose", purpose, sizeof(purpose));
    json_read_text(&reader, "database", evidence->database, sizeof(evidence->database));
    json_read_name(&reader, "replica", evidence->replica, sizeof(evidence->replica));
    evidence->request = (struct policy_request){
        .purpose = act_purpose_from_word(purpose),
        .database = evidence->database,
        .replica = evidence->replica,
        .is_order_valid = json_read_bool(&reader, "is_order_valid"),
    };
    if (is_null(&reader, "approval"))
        json_read_null(&reader, "approval");
    else
        err =
            approved_from_json(json_read_object(&reader, "approval"), &evidence->request.approval);
    if (!evidence->request.purpose)
        json_reader_fault(&reader, "purpose");
    return err ? err : json_reader_end(&reader);
}

enum escrow_err policy_evidence_from_json(const json_t *object,
                                          struct policy_evidence **ret_evidence)
{
    CLEANUP(cleanup_free) struct policy_evidence *evidence = calloc(1, sizeof(*evidence));
    struct json_reader reader;
    enum escrow_err err;

    if (!evidence)
        return ESCROW_ERR_NO_MEMORY;
    json_reader_init(&reader, object, "evidence");
    json_read_v1(&reader);
    err = request_from_json(json_read_object(&reader, "request"), evidence);
    if (!err)
        err = rules_from_json(json_read_object(&reader, "rules"), evidence);
    if (!err)
        err = facts_from_json(json_read_object(&reader, "facts"), evidence->rules.wants_echo,
                              &evidence->facts);
    if (!err)
        err = ledger_from_json(json_read_object(&reader, "ledger"), &evidence->ledger);
    if (!err)
        err = json_reader_end(&reader);
    if (err)
        return err;

    *ret_evidence = TAKE(evidence);
    return ESCROW_OK;
}
