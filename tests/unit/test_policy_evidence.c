/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/json.h"
#include "libescrow/log.h"
#include "policy/evidence.h"
#include "policy_scene.h"
#include "tests/unit/json_path.h"

#include <stdlib.h>

static struct scene scene;

static int set_up(void **state)
{
    (void)state;
    scene_init(&scene, 3, EXTERNAL);
    scene_records(&scene, B, POLICY_ORIGIN_GRANTED);
    scene_granted(&scene, POLICY_GRANT_UNSETTLED, 2);
    scene_text(scene.ledger.hints.recovery_lsn, "35000000012300001");
    scene.request.approval = (struct policy_approval){
        .count = 2, .epoch = 8, .rules = 1U << POLICY_RULE_RIVAL | 1U << POLICY_RULE_BRAKE};
    scene_text(scene_of(&scene, B)->state.recovery_lsn, MAX_LSN);
    scene_of(&scene, B)->state.sequence_number = INT64_MAX;
    scene_silent(&scene, C);
    scene_of(&scene, C)->history.is_known = false;
    scene_dead(&scene, A);
    scene_of(&scene, A)->state.sql_error = 18456;
    scene_text(scene_of(&scene, A)->state.diagnosis, "node-a: nothing listens");
    return 0;
}

static json_t *write_scene(void)
{
    return policy_evidence_to_json(&scene.rules, &scene.request, &scene.facts, &scene.ledger);
}

static void test_form(void **state)
{
    static const char expected[] =
        "{\"facts\":{\"elapsed_ms\":100,\"replicas\":["
        "{\"answered_ms\":10,\"history\":{\"dead_for_ms\":0,\"last_role\":1,"
        "\"primary_ago_ms\":2000,\"silent_for_ms\":0,\"was_synchronised\":false},"
        "\"instance\":\"a\",\"state\":{\"diagnosis\":\"node-a: nothing listens\","
        "\"outcome\":\"refused\",\"sql_error\":18456},\"status\":\"answered\"},"
        "{\"answered_ms\":20,\"history\":{\"dead_for_ms\":0,\"last_role\":2,"
        "\"primary_ago_ms\":null,\"silent_for_ms\":0,\"was_synchronised\":true},"
        "\"instance\":\"b\",\"state\":{\"cluster_type\":1,\"database_state\":0,"
        "\"is_forwarder\":false,\"is_read_write\":true,\"operational_state\":2,"
        "\"outcome\":\"answered\",\"primary_replica\":\"SQLB\",\"quorum_state\":null,"
        "\"recovery_health\":1,\"recovery_lsn\":\"" MAX_LSN "\",\"role\":1,"
        "\"sequence_number\":\"9223372036854775807\",\"server_name\":\"SQLB\","
        "\"synchronization_health\":2,\"synchronization_state\":2},\"status\":\"answered\"},"
        "{\"answered_ms\":null,\"history\":null,\"instance\":\"c\",\"state\":null,"
        "\"status\":\"silent\"}],\"session\":\"found\"},"
        "\"ledger\":{\"grant\":{\"age_ms\":1000,\"replica\":\"b\",\"requests\":2,"
        "\"state\":\"unsettled\"},\"hints\":{\"recovery_lsn\":\"35000000012300001\","
        "\"sequence_number\":null},\"record\":{\"epoch\":8,\"epoch_age_ms\":1000,"
        "\"origin\":\"granted\",\"primary\":\"b\"},\"releases_last_hour\":0},"
        "\"request\":{\"approval\":{\"count\":2,\"epoch\":8,\"rules\":[\"rival\",\"brake\"]},"
        "\"database\":\"SSISDB\",\"is_order_valid\":false,\"purpose\":\"promote\","
        "\"replica\":\"b\"},"
        "\"rules\":{\"approvals\":2,\"brake\":6,\"cluster_type\":\"any\",\"databases\":[\"SSISDB\"]"
        ","
        "\"dead_for_ms\":5000,\"on_restart\":\"approval\",\"replicas\":["
        "{\"instance\":\"a\",\"server_name\":\"SQLA\"},"
        "{\"instance\":\"b\",\"server_name\":\"SQLB\"},"
        "{\"instance\":\"c\",\"server_name\":\"SQLC\"}],\"retries\":5,\"rival_wait_ms\":300,"
        "\"window_ms\":86400000,\"witness_count\":2,\"witnesses\":\"count\"},\"v\":1}";
    CLEANUP(json_free_p) json_t *object = write_scene();
    CLEANUP(cleanup_free) char *text = json_text(object);

    (void)state;
    assert_string_equal(text, expected);
}

static void test_verdict_form(void **state)
{
    CLEANUP(json_free_p) json_t *object = NULL;
    CLEANUP(cleanup_free) char *text = NULL;

    (void)state;
    scene.facts.session = POLICY_SESSION_MISSING;
    scene_decide(&scene);
    object = policy_verdict_to_json(&scene.verdict);
    text = json_text(object);
    assert_string_equal(
        text, "{\"is_by_silence\":false,\"kind\":\"none\",\"mints_epoch\":false,"
              "\"outcome\":\"deny\",\"reason\":\"session_not_found\",\"rules\":["
              "{\"reason\":null,\"result\":\"passed\",\"rule\":\"candidate\"},"
              "{\"reason\":\"session_not_found\",\"result\":\"failed\",\"rule\":\"session\"},"
              "{\"reason\":null,\"result\":\"not_reached\",\"rule\":\"rival\"},"
              "{\"reason\":null,\"result\":\"not_reached\",\"rule\":\"witnesses\"},"
              "{\"reason\":null,\"result\":\"not_reached\",\"rule\":\"promotion\"},"
              "{\"reason\":null,\"result\":\"not_reached\",\"rule\":\"brake\"}],"
              "\"witnesses\":0,\"witnesses_needed\":2}");
}

static void test_back_again(void **state)
{
    CLEANUP(json_free_p) json_t *object = write_scene();
    CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;

    (void)state;
    assert_int_equal(policy_evidence_from_json(object, &evidence), ESCROW_OK);
    assert_string_equal(evidence->request.database, "SSISDB");
    assert_string_equal(evidence->request.replica, "b");
    assert_int_equal(evidence->request.purpose, PURPOSE_PROMOTE);
    assert_int_equal(evidence->request.approval.count, 2);
    assert_int_equal(evidence->request.approval.epoch, 8);
    assert_int_equal(evidence->request.approval.rules, scene.request.approval.rules);
    assert_true(evidence->facts.replicas[B].state.sequence_number == INT64_MAX);
    assert_string_equal(evidence->facts.replicas[B].state.recovery_lsn, MAX_LSN);
    assert_int_equal(evidence->facts.replicas[B].history.primary_ago_ms, POLICY_NEVER);
    assert_false(evidence->facts.replicas[C].history.is_known);
    assert_int_equal(evidence->facts.replicas[A].state.outcome, PROBE_REFUSED);
    assert_int_equal(evidence->ledger.grant.requests, 2);
    assert_false(evidence->ledger.hints.has_sequence_number);
}

static void test_hostile_texts(void **state)
{
    CLEANUP(json_free_p) json_t *object = NULL;
    CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;

    (void)state;
    scene_text(scene_of(&scene, B)->state.primary_replica, "\xff\xfe");
    scene_text(scene_of(&scene, B)->state.recovery_lsn, "1\n2");
    object = write_scene();
    assert_non_null(object);
    assert_int_equal(policy_evidence_from_json(object, &evidence), ESCROW_OK);
    assert_string_equal(evidence->facts.replicas[B].state.primary_replica, "\xff\xfe");
    assert_string_equal(evidence->facts.replicas[B].state.recovery_lsn, "1\n2");
}

/* Whether a text comes back as it was; printable ones stand for themselves, others as hex. */
static void check_text(const char *text, bool is_printable)
{
    struct probe_state *told = &scene_of(&scene, A)->state;
    CLEANUP(json_free_p) json_t *object = NULL, *value = policy_text_to_json(text);
    CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;

    assert_int_equal(json_is_string(value), is_printable);
    scene_text(told->diagnosis, text);
    object = write_scene();
    assert_non_null(object);
    assert_int_equal(policy_evidence_from_json(object, &evidence), ESCROW_OK);
    assert_string_equal(evidence->facts.replicas[A].state.diagnosis, text);
}

/* A byte of a hostile text in each place, and the longest one. */
static void test_texts_come_back(void **state)
{
    static const char *const hostile[] = {"\x1f"
                                          "ab",
                                          "a\x1f"
                                          "b",
                                          "ab\x1f",
                                          "\x7f"
                                          "ab",
                                          "\xff"};
    char longest[PROBE_TEXT_MAX + 1];

    (void)state;
    check_text("", true);
    check_text(" ~\xc3\xa9", true);
    for (size_t i = 0; i < ARRAY_LEN(hostile); i++)
        check_text(hostile[i], false);
    memset(longest, '\xff', sizeof(longest));
    longest[PROBE_TEXT_MAX - 1] = '\0';
    check_text(longest, false);
    longest[PROBE_TEXT_MAX - 1] = '\xff';
    longest[PROBE_TEXT_MAX] = '\0';
    assert_null(policy_text_to_json(longest));
}

/* One admin's word is written too: of a policy that asks for one it decides. */
static void test_one_approval(void **state)
{
    CLEANUP(json_free_p) json_t *object = NULL;
    CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;

    (void)state;
    scene.request.approval.count = 1;
    object = write_scene();
    assert_int_equal(policy_evidence_from_json(object, &evidence), ESCROW_OK);
    assert_int_equal(evidence->request.approval.count, 1);
}

/* The largest number that every reader of our JSON has, and one more. */
static void test_largest_epochs(void **state)
{
    uint64_t *const epochs[] = {&scene.ledger.epoch, &scene.request.approval.epoch};

    for (size_t i = 0; i < ARRAY_LEN(epochs); i++) {
        CLEANUP(json_free_p) json_t *object = NULL;
        CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;

        set_up(state);
        *epochs[i] = INT64_MAX;
        object = write_scene();
        assert_int_equal(policy_evidence_from_json(object, &evidence), ESCROW_OK);
        *epochs[i] = (uint64_t)INT64_MAX + 1;
        assert_null(write_scene());
    }
}

static void test_values_without_a_word(void **state)
{
    const enum policy_session after_the_last = POLICY_SESSION_MISSING + 1;

    (void)state;
    memcpy(&scene.facts.session, &after_the_last, sizeof(after_the_last));
    assert_null(write_scene());
    set_up(state);
    memset(&scene.facts.session, 0, sizeof(scene.facts.session));
    assert_null(write_scene());
    set_up(state);
    memset(&scene.ledger.origin, 0x7f, sizeof(scene.ledger.origin));
    assert_null(write_scene());
    set_up(state);
    memset(&scene_of(&scene, B)->state.outcome, 0, sizeof(enum probe_outcome));
    assert_null(write_scene());
}

static void expect_refused(const json_t *whole, const char *name, const char *value)
{
    struct policy_evidence *evidence = NULL;

    if (policy_evidence_from_json(whole, &evidence) != ESCROW_ERR_MALFORMED)
        fail_msg("%s: %s was taken", name, value);
    assert_null(evidence);
}

/* Whether a member may hold any number, or any list. */
static bool may_be(const json_t *held, const char *name, const char *value)
{
    if (strcmp(value, "[]") == 0)
        return json_is_array(held);
    return strcmp(value, "-7") == 0 &&
           (strstr(name, "_state") || strstr(name, "_health") || strstr(name, "role") ||
            strstr(name, "_type") || strcmp(name, "sql_error") == 0);
}

/* Each member of each object below part: without it, and of another type. */
static size_t spoil(const json_t *whole, json_t *part)
{
    static const char *const wrong[] = {"[]", "-7", "\"x\\u007f\"", "1.5"};
    CLEANUP(json_free_p) json_t *names = json_deep_copy(part);
    const char *name;
    json_t *value;
    size_t i, count = 0;

    if (json_is_array(part)) {
        json_array_foreach(part, i, value) count += spoil(whole, value);
        return count;
    }
    json_object_foreach(names, name, value)
    {
        CLEANUP(json_free_p) json_t *held = json_incref(json_object_get(part, name));

        json_object_del(part, name);
        expect_refused(whole, name, "nothing");
        for (i = 0; i < ARRAY_LEN(wrong); i++) {
            if (may_be(held, name, wrong[i]))
                continue;
            json_object_set_new(part, name, json_loads(wrong[i], JSON_DECODE_ANY, NULL));
            expect_refused(whole, name, wrong[i]);
            count++;
        }
        json_object_set(part, name, held);
        count += spoil(whole, held);
    }
    return count;
}

static void test_every_member_is_needed_and_typed(void **state)
{
    CLEANUP(json_free_p) json_t *object = write_scene();
    CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;

    (void)state;
    assert_true(spoil(object, object) > 150);
    assert_int_equal(policy_evidence_from_json(object, &evidence), ESCROW_OK);
    json_object_set_new(json_object_get(object, "facts"), "extra", json_null());
    expect_refused(object, "facts", "an unknown member");
}

/* Whether the evidence with this member is still one. */
static void check_value(const char *path, json_t *value, enum escrow_err expected)
{
    CLEANUP(json_free_p) json_t *object = write_scene();
    CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;

    json_path_set(object, path, value);
    if (policy_evidence_from_json(object, &evidence) != expected)
        fail_msg("%s", path);
}

#define AGE_MAX (INT64_C(1) << 52)

static void test_numbers_at_their_bounds(void **state)
{
    static const struct {
        const char *path;
        json_int_t smallest, largest;
    } rows[] = {
        {"v", 1, 1},
        {"facts.elapsed_ms", 0, AGE_MAX},
        {"facts.replicas.1.answered_ms", 0, AGE_MAX},
        {"facts.replicas.1.history.primary_ago_ms", 0, AGE_MAX},
        {"facts.replicas.1.history.silent_for_ms", 0, AGE_MAX},
        {"facts.replicas.1.history.dead_for_ms", 0, AGE_MAX},
        {"facts.replicas.1.history.last_role", INT32_MIN, INT32_MAX},
        {"facts.replicas.1.state.quorum_state", INT32_MIN, INT32_MAX},
        {"facts.replicas.0.state.sql_error", INT32_MIN, INT32_MAX},
        {"ledger.record.epoch", 0, INT64_MAX},
        {"ledger.record.epoch_age_ms", 0, AGE_MAX},
        {"ledger.grant.requests", 0, INT64_MAX},
        {"ledger.grant.age_ms", 0, AGE_MAX},
        {"ledger.releases_last_hour", 0, INT64_MAX},
        {"request.approval.count", 1, INT64_MAX},
        {"request.approval.epoch", 0, INT64_MAX},
        {"rules.witness_count", 1, POLICY_REPLICAS_MAX},
        {"rules.rival_wait_ms", 0, AGE_MAX},
        {"rules.approvals", 0, AGE_MAX},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_value(rows[i].path, json_integer(rows[i].smallest), ESCROW_OK);
        check_value(rows[i].path, json_integer(rows[i].largest), ESCROW_OK);
        check_value(rows[i].path, json_integer(rows[i].smallest - 1), ESCROW_ERR_MALFORMED);
        if (rows[i].largest < INT64_MAX)
            check_value(rows[i].path, json_integer(rows[i].largest + 1), ESCROW_ERR_MALFORMED);
    }
}

/* The longest that there is room for, and one more; plain and as hex. */
static void test_longest_texts(void **state)
{
    static const struct {
        const char *path;
        size_t longest;
        bool is_name;
    } rows[] = {
        {"facts.replicas.0.state.diagnosis", PROBE_TEXT_MAX - 1, false},
        {"facts.replicas.1.state.server_name", PROBE_NAME_MAX - 1, false},
        {"facts.replicas.1.state.primary_replica", PROBE_NAME_MAX - 1, false},
        {"facts.replicas.1.state.recovery_lsn", 47, false},
        {"facts.replicas.1.instance", POLICY_NAME_MAX, true},
        {"ledger.hints.recovery_lsn", 47, false},
        {"ledger.record.primary", POLICY_NAME_MAX, true},
        {"ledger.grant.replica", POLICY_NAME_MAX, true},
        {"request.replica", POLICY_NAME_MAX, true},
        {"rules.replicas.0.instance", POLICY_NAME_MAX, true},
        {"rules.replicas.0.server_name", POLICY_SERVER_NAME_MAX, false},
    };
    char text[2 * PROBE_TEXT_MAX + 2];

    (void)state;
    memset(text, 'f', sizeof(text));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const size_t longest = rows[i].longest;

        check_value(rows[i].path, json_stringn(text, longest), ESCROW_OK);
        check_value(rows[i].path, json_stringn(text, longest + 1), ESCROW_ERR_MALFORMED);
        if (rows[i].is_name)
            continue;
        check_value(rows[i].path, json_pack("{s:s%}", "hex", text, 2 * longest), ESCROW_OK);
        check_value(rows[i].path, json_pack("{s:s%}", "hex", text, 2 * longest + 2),
                    ESCROW_ERR_MALFORMED);
    }
}

/* What is no text of a replica and no number of ours, in whatever way. */
static void test_texts_refused(void **state)
{
    static const struct {
        const char *path, *value;
    } rows[] = {
        {"facts.replicas.0.state.diagnosis", "{}"},
        {"facts.replicas.0.state.diagnosis", "{\"hex\": \"\"}"},
        {"facts.replicas.0.state.diagnosis", "{\"hex\": \"f\"}"},
        {"facts.replicas.0.state.diagnosis", "{\"hex\": \"fff\"}"},
        {"facts.replicas.0.state.diagnosis", "{\"hex\": \"fg\"}"},
        {"facts.replicas.0.state.diagnosis", "{\"hex\": \"ff00\"}"},
        {"facts.replicas.0.state.diagnosis", "{\"hex\": 7}"},
        {"facts.replicas.0.state.diagnosis", "{\"hex\": \"ff\", \"text\": \"a\"}"},
        {"facts.replicas.1.state.primary_replica", "\"\""}, /* null has one form */
        {"facts.replicas.1.state.sequence_number", "\"\""},
        {"facts.replicas.1.state.sequence_number", "\"+5\""},
        {"facts.replicas.1.state.sequence_number", "\" 5\""},
        {"facts.replicas.1.state.sequence_number", "\"05\""},
        {"facts.replicas.1.state.sequence_number", "\"-0\""},
        {"facts.replicas.1.state.sequence_number", "\"0x5\""},
        {"facts.replicas.1.state.sequence_number", "\"5 \""},
        {"facts.replicas.1.state.sequence_number", "\"9223372036854775808\""},
        {"facts.replicas.1.state.sequence_number", "\"-9223372036854775809\""},
        {"ledger.hints.recovery_lsn", "\"\""},
        {"request.purpose", "\"\""},
        {"request.purpose", "\"dance\""},
        {"request.approval.rules", "[\"brake\", \"rival\"]"}, /* in their order */
        {"request.approval.rules", "[\"rival\", \"rival\"]"},
        {"request.approval.rules", "[\"rival\", \"dance\"]"},
        {"rules.databases", "[\"Other\"]"},
        {"rules.databases", "[\"SSISDB\", \"SSISDB\"]"},
        {"rules.databases", "[7]"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_value(rows[i].path, json_loads(rows[i].value, JSON_DECODE_ANY, NULL),
                    ESCROW_ERR_MALFORMED);
    check_value("facts.replicas.1.state.sequence_number", json_string("-9223372036854775808"),
                ESCROW_OK);
    check_value("request.approval.rules", json_array(), ESCROW_OK);
    check_value("rules.databases", json_array(), ESCROW_OK);
}

#define AT(member) offsetof(struct policy_evidence, member)

/* Every word that stands for a value of an enum, and which. */
static void test_words(void **state)
{
    static const struct {
        const char *path;
        size_t offset;
        unsigned first; /* value of the first word */
        const char *words[8];
    } rows[] = {
        {"facts.session", AT(facts.session), 1, {"pending", "found", "missing"}},
        {"facts.replicas.2.status", AT(facts.replicas[2].status), 1, {"pending"}},
        {"facts.replicas.2.status", AT(facts.replicas[2].status), 3, {"silent"}},
        {"facts.replicas.0.state.outcome",
         AT(facts.replicas[0].state.outcome),
         PROBE_REFUSED,
         {"refused", "unreachable", "tls_failed", "login_refused", "sql_error", "no_row"}},
        {"facts.replicas.1.echo",
         AT(facts.replicas[1].echo),
         POLICY_ECHO_UNASKED,
         {"unasked", "pending", "found", "missing"}},
        {"ledger.record.origin", AT(ledger.origin), 1, {"baseline", "observed", "granted"}},
        {"ledger.grant.state", AT(ledger.grant.state), 2, {"unsettled", "settled"}},
        {"rules.cluster_type", AT(rules.cluster_type), 0, {"any", "wsfc", "external", "none"}},
        {"rules.witnesses", AT(rules.witnesses), POLICY_WITNESSES_COUNT, {"count"}},
        {"rules.witnesses", AT(rules.witnesses), POLICY_WITNESSES_SILENCE, {"candidate+silence"}},
        {"rules.on_restart", AT(rules.on_restart), 0, {"approval", "allow"}},
    };

    (void)state;
    scene.rules.wants_echo = true;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (unsigned j = 0; rows[i].words[j]; j++) {
            CLEANUP(json_free_p) json_t *object = write_scene();
            CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;
            unsigned value;

            json_path_set(object, rows[i].path, json_string(rows[i].words[j]));
            assert_int_equal(policy_evidence_from_json(object, &evidence), ESCROW_OK);
            memcpy(&value, (const char *)evidence + rows[i].offset, sizeof(value));
            assert_int_equal(value, rows[i].first + j);
        }
    }
    assert_string_equal(policy_outcome_word(PROBE_REFUSED), "refused");
    assert_string_equal(policy_outcome_word(PROBE_NO_ROW), "no_row");
    assert_string_equal(policy_outcome_word(0), "unknown");
    assert_string_equal(policy_outcome_word(PROBE_NO_ROW + 1), "unknown");
}

/* As many like the first as a group can have, and one more. */
static void test_most_replicas(void **state)
{
    static const char *const paths[] = {"facts", "rules"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        CLEANUP(json_free_p) json_t *object = write_scene();
        CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;
        json_t *replicas = json_object_get(json_object_get(object, paths[i]), "replicas");

        while (json_array_size(replicas) < POLICY_REPLICAS_MAX)
            json_array_append(replicas, json_array_get(replicas, 0));
        assert_int_equal(policy_evidence_from_json(object, &evidence), ESCROW_OK);
        json_array_append(replicas, json_array_get(replicas, 0));
        expect_refused(object, paths[i], "one replica more");
    }
}

/* With rule 7 the group says so, and each replica what it found; else the form is that of before.
 */
static void test_echo_form(void **state)
{
    CLEANUP(json_free_p) json_t *object = NULL, *verdict = NULL;
    CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;
    json_t *facts, *rules;

    (void)state;
    scene.rules.wants_echo = true;
    scene_of(&scene, A)->echo = POLICY_ECHO_PENDING;
    scene_of(&scene, C)->echo = POLICY_ECHO_FOUND;
    object = write_scene();
    rules = json_object_get(object, "rules");
    facts = json_object_get(object, "facts");
    assert_true(json_is_true(json_object_get(rules, "echo")));
    assert_string_equal(json_string_value(json_object_get(
                            json_array_get(json_object_get(facts, "replicas"), C), "echo")),
                        "found");
    assert_int_equal(policy_evidence_from_json(object, &evidence), ESCROW_OK);
    assert_true(evidence->rules.wants_echo);
    assert_int_equal(evidence->facts.replicas[A].echo, POLICY_ECHO_PENDING);
    assert_int_equal(evidence->facts.replicas[B].echo, POLICY_ECHO_UNASKED);
    assert_int_equal(evidence->facts.replicas[C].echo, POLICY_ECHO_FOUND);
    json_object_set_new(rules, "echo", json_false());
    expect_refused(object, "echo", "false");
    json_object_set_new(rules, "echo", json_true());
    assert_true(spoil(object, object) > 150);

    scene_decide(&scene);
    verdict = policy_verdict_to_json(&scene.verdict);
    assert_int_equal(json_array_size(json_object_get(verdict, "rules")), POLICY_RULE_COUNT);
}

static json_t *replica_of(const json_t *object, size_t replica)
{
    return json_array_get(json_object_get(json_object_get(object, "facts"), "replicas"), replica);
}

/* Why an echo is missing: written only where it is, and counts for nothing. */
static void test_echo_failure_form(void **state)
{
    CLEANUP(json_free_p) json_t *object = NULL;
    CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;
    CLEANUP(cleanup_free) char *text = NULL;
    json_t *failure;

    (void)state;
    scene.rules.wants_echo = true;
    scene_of(&scene, A)->echo = scene_of(&scene, C)->echo = POLICY_ECHO_MISSING;
    scene_of(&scene, A)->echo_failure.outcome = PROBE_SQL_ERROR;
    scene_of(&scene, A)->echo_failure.sql_error = 976;
    scene_of(&scene, B)->echo_failure.outcome = PROBE_UNREACHABLE;
    object = write_scene();
    failure = json_object_get(replica_of(object, A), "echo_failure");
    text = json_dumps(failure, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, "{\"outcome\":\"sql_error\",\"sql_error\":976}");
    assert_null(json_object_get(replica_of(object, B), "echo_failure"));
    assert_null(json_object_get(replica_of(object, C), "echo_failure"));
    assert_int_equal(policy_evidence_from_json(object, &evidence), ESCROW_OK);
    assert_int_equal(evidence->facts.replicas[A].echo_failure.outcome, PROBE_SQL_ERROR);
    assert_int_equal(evidence->facts.replicas[A].echo_failure.sql_error, 976);
    assert_int_equal(evidence->facts.replicas[C].echo_failure.outcome, 0);

    json_object_set_new(failure, "outcome", json_string("answered"));
    expect_refused(object, "echo_failure", "answered");
    json_object_set_new(failure, "outcome", json_string("sql_error"));
    json_object_set_new(failure, "diagnosis", json_string("x"));
    expect_refused(object, "echo_failure", "one member more");
    json_object_del(failure, "diagnosis");
    json_object_set_new(replica_of(object, A), "echo", json_string("found"));
    expect_refused(object, "echo_failure", "of one that has it");
    json_object_set_new(replica_of(object, A), "echo", json_string("missing"));
    json_object_set_new(replica_of(object, A), "echo_failure", json_null());
    expect_refused(object, "echo_failure", "null");
}

/* The record of a decision from before there was rule 7: the same verdict, word for word. */
static void test_from_before_echo(void **state)
{
    CLEANUP(json_free_p) json_t *object = write_scene(), *verdict = NULL;
    CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;
    struct policy_verdict again;

    (void)state;
    assert_null(json_object_get(json_object_get(object, "rules"), "echo"));
    assert_int_equal(policy_evidence_from_json(object, &evidence), ESCROW_OK);
    assert_false(evidence->rules.wants_echo);
    policy_decide(&evidence->rules, &evidence->request, &evidence->facts, &evidence->ledger,
                  &again);
    verdict = policy_verdict_to_json(&again);
    assert_int_equal(json_array_size(json_object_get(verdict, "rules")), POLICY_RULE_ECHO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_form, set_up),
        cmocka_unit_test_setup(test_verdict_form, set_up),
        cmocka_unit_test_setup(test_back_again, set_up),
        cmocka_unit_test_setup(test_echo_form, set_up),
        cmocka_unit_test_setup(test_echo_failure_form, set_up),
        cmocka_unit_test_setup(test_from_before_echo, set_up),
        cmocka_unit_test_setup(test_hostile_texts, set_up),
        cmocka_unit_test_setup(test_texts_come_back, set_up),
        cmocka_unit_test_setup(test_one_approval, set_up),
        cmocka_unit_test_setup(test_largest_epochs, set_up),
        cmocka_unit_test_setup(test_numbers_at_their_bounds, set_up),
        cmocka_unit_test_setup(test_longest_texts, set_up),
        cmocka_unit_test_setup(test_texts_refused, set_up),
        cmocka_unit_test_setup(test_words, set_up),
        cmocka_unit_test_setup(test_most_replicas, set_up),
        cmocka_unit_test_setup(test_values_without_a_word, set_up),
        cmocka_unit_test_setup(test_every_member_is_needed_and_typed, set_up),
    };

    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
