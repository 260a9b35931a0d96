/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/ipc_probe.h"
#include "libescrow/json.h"
#include "policy/evidence.h"
#include "tests/unit/keeper_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* What the keeper makes of what the replicas say. */

#define ASK_MS 1500 /* then the keeper waits for nobody but rivals */

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The reason of a release that is not granted. */
static enum reason refusal(struct keeper_fixture *fx, enum fx_who who)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, who, recipient);
    CLEANUP(json_free_p) json_t *document = NULL;

    assert_null(grant);
    if (fx->reply.status != 202)
        return fx->reply.reason;
    assert_int_equal(json_parse(fx->reply.body, strlen(fx->reply.body), 4096, &document),
                     ESCROW_OK);
    return reason_from_code(json_string_value(json_object_get(document, "reason")));
}

static enum reason grant(struct keeper_fixture *fx, enum fx_who who, uint64_t *ret_epoch)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *answer = fx_release(fx, who, recipient);
    CLEANUP(secret_free_p) struct secret *password = NULL;

    if (!answer)
        fx_fail("refused", reason_code(fx->reply.reason));
    password = fx_open(answer, recipient);
    assert_memory_equal(password->bytes, FX_PASSWORD, password->len);
    *ret_epoch = answer->grant.epoch;
    return answer->grant.reason;
}

static void test_secondary_asks(void **state)
{
    struct keeper_fixture *fx = *state;

    assert_int_equal(refusal(fx, FX_AGENT_B), REASON_CANDIDATE_NOT_PRIMARY);
    assert_int_equal(fx_count(fx, "release", "candidate_not_primary"), 1);
}

static void test_primary_without_promotion(void **state)
{
    struct keeper_fixture *fx = *state;

    assert_int_equal(refusal(fx, FX_AGENT_A), REASON_RESTART);
    assert_int_equal(fx->reply.status, 202);
}

static void test_no_baseline(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(cleanup_free) char *first = NULL;

    /* Nobody is primary long enough to be seen: the first question is the release's. */
    for (int i = 0; i < FX_REPLICAS; i++)
        fx->replicas[i].is_hung = true;
    fx_publish(fx);
    fx_deposit(fx, FX_PASSWORD);
    for (int i = 0; i < FX_REPLICAS; i++)
        fx->replicas[i].is_hung = false;
    assert_int_equal(refusal(fx, FX_AGENT_A), REASON_NO_BASELINE);
    first = strdup(fx->reply.body);
    /* Who asks with another key asks for something else. */
    assert_int_equal(refusal(fx, FX_AGENT_A), REASON_NO_BASELINE);
    assert_string_not_equal(fx->reply.body, first);
    assert_int_equal(fx_count(fx, "release", "no_baseline"), 2);
}

static void test_session_missing(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, 1);
    fx->replicas[1].has_session = false;
    assert_int_equal(refusal(fx, FX_AGENT_B), REASON_SESSION_NOT_FOUND);
}

static void test_back_and_forth(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t epoch;

    for (unsigned i = 0; i < 2; i++) {
        fx_set_primary(fx, 1);
        assert_int_equal(grant(fx, FX_AGENT_B, &epoch), REASON_PROMOTION);
        assert_int_equal(epoch, 2 + 2 * i);
        assert_int_equal(grant(fx, FX_AGENT_B, &epoch), REASON_PROMOTION_REPEAT);
        assert_int_equal(epoch, 2 + 2 * i);
        fx_set_primary(fx, 0);
        assert_int_equal(grant(fx, FX_AGENT_A, &epoch), REASON_PROMOTION);
        assert_int_equal(epoch, 3 + 2 * i);
        assert_int_equal(refusal(fx, FX_AGENT_B), REASON_CANDIDATE_NOT_PRIMARY);
    }
    /* Six releases of the hour are over. */
    fx_set_primary(fx, 1);
    assert_int_equal(refusal(fx, FX_AGENT_B), REASON_BRAKE);
}

/* The watch saw the promotion first: the release belongs to the epoch that it began. */
static void test_promotion_seen_by_the_watch(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t epoch;

    fx_set_primary(fx, 1);
    fx_wait_primary(fx, "node-b");
    assert_int_equal(grant(fx, FX_AGENT_B, &epoch), REASON_PROMOTION);
    assert_int_equal(epoch, 2);
}

/* A replica whose certificate has expired says at once that it says nothing: the watch waits for
 * rivals all the same, and then records the promotion. */
static unsigned asked_before[FX_REPLICAS];

static void note_asked(const struct keeper_fixture *fx)
{
    for (int i = 0; i < FX_REPLICAS; i++)
        asked_before[i] = fx->replicas[i].asked;
}

static bool are_all_asked(struct keeper_fixture *fx)
{
    bool are_asked = true;

    for (int i = 0; i < FX_REPLICAS; i++)
        are_asked &= fx->replicas[i].asked > asked_before[i];
    return are_asked;
}

static bool is_second_asked(struct keeper_fixture *fx)
{
    return fx->replicas[1].asked > asked_before[1];
}

static bool is_round_over(struct keeper_fixture *fx)
{
    return fx->replicas[1].asked > asked_before[1] + 3; /* more than a round may take */
}

/* A round of the watch that began before a failover ends after the release: the old primary that it
 * has heard of is no promotion. */
static void test_release_while_the_watch_waits(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t epoch;

    fx->replicas[2].is_hung = true;
    note_asked(fx);
    fx_until(fx, are_all_asked);
    fx_set_primary(fx, 1);
    assert_int_equal(grant(fx, FX_AGENT_B, &epoch), REASON_PROMOTION);
    assert_int_equal(epoch, 2);
    note_asked(fx);
    fx_until(fx, is_round_over);
    fx->replicas[2].is_hung = false;
    /* Nor is it when the round of another group ends, which has had both its primaries meanwhile.
     */
    assert_int_equal(fx_count(fx, "epoch", NULL), 3);
}

/* One more group, that hears of the failover from those who answer. */
static int set_up_beside(void **state)
{
    static const char group[] = "  - name: beside\n    availability_group: AG-BESIDE\n"
                                "    databases: [db]\n    replicas:\n"
                                "      - {instance: node-a, server_name: SQLA}\n"
                                "      - {instance: node-b, server_name: SQLB}\n";
    struct keeper_fixture *fx;
    int result = fx_setup_ready(state);

    fx = *state;
    fx_run_with(fx, group);
    fx_wait_count(fx, "epoch", NULL, 2);
    return result;
}

static void test_promotion_beside_a_replica_that_fails(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t epoch;

    fx_set_primary(fx, 1);
    memset(&fx->replicas[2].state, 0, sizeof(fx->replicas[2].state));
    fx->replicas[2].state.outcome = PROBE_TLS_FAILED;
    fx_wait_primary(fx, "node-b");
    assert_int_equal(grant(fx, FX_AGENT_B, &epoch), REASON_PROMOTION);
    assert_int_equal(epoch, 2);
}

/* The old primary's host is hung: its prober says nothing, and the decision does not wait for it.
 */
static void test_hung_old_primary(void **state)
{
    struct keeper_fixture *fx = *state;
    int64_t started_ms;
    uint64_t epoch;

    fx_set_primary(fx, 1);
    fx->replicas[0].is_hung = true;
    started_ms = now_ms();
    assert_int_equal(grant(fx, FX_AGENT_B, &epoch), REASON_PROMOTION);
    assert_in_range(now_ms() - started_ms, 250, 5900);
}

/* Answers the watch, so it is not dead, and no release. */
static bool hide_from_releases(struct fx_replica *replica, const struct ipc_message *question,
                               void *argument)
{
    (void)replica;
    (void)argument;
    return question->type == IPC_PROBE_ASK_STATE;
}

/* A policy that waits for rivals for long has releases that may last as much longer. */
static void test_long_wait_for_rivals(void **state)
{
    struct keeper_fixture *fx = *state;
    int64_t started_ms;
    uint64_t epoch;

    fx_run_with(fx, "    rival_wait: 4s\n");
    fx_wait_primary(fx, "node-a");
    fx_set_primary(fx, 1);
    fx->replicas[0].lie = hide_from_releases;
    started_ms = now_ms();
    assert_int_equal(grant(fx, FX_AGENT_B, &epoch), REASON_PROMOTION);
    assert_in_range(now_ms() - started_ms, 3900, 9900);
}

/* A release's question that is not answered before the keeper has given it up. */
struct late {
    uint64_t id; /* 0: none has come */
    int64_t came_ms;
};

static bool answer_late(struct fx_replica *replica, const struct ipc_message *question,
                        void *argument)
{
    struct late *late = argument;

    (void)replica;
    if (question->type != IPC_PROBE_ASK_STATE)
        return false;
    *late = (struct late){question->id, now_ms()};
    return true;
}

static bool is_given_up(struct keeper_fixture *fx)
{
    const struct late *late = fx->replicas[0].argument;

    return late->id && now_ms() - late->came_ms > ASK_MS + 200;
}

static void say_late(const struct fx_replica *replica)
{
    const struct late *late = replica->argument;
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    ipc_put_probe_state(&writer, &replica->state);
    assert_int_equal(ipc_send(replica->fd, IPC_PROBE_STATE, late->id, &writer, FX_DEADLINE_MS),
                     ESCROW_OK);
}

/* As long as a policy waits for rivals, the word of one counts, however late it is. */
static void test_rival_that_is_late(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(act_free_p) struct act *act = NULL;
    CLEANUP(cleanup_free) char *body = NULL;
    struct late late = {0};
    uint64_t id;

    fx_run_with(fx, "    rival_wait: 10s\n");
    note_asked(fx);
    fx_until(fx, are_all_asked);
    fx_set_primary(fx, 1);
    fx->replicas[0].state.role = 1;
    fx->replicas[0].argument = &late;
    fx->replicas[0].lie = answer_late;
    challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    act = fx_release_act(fx, FX_AGENT_B, challenge, recipient);
    body = fx_sign(fx, FX_AGENT_B, challenge, act);
    id = fx_send(fx, ROUTE_RELEASE, fx->actors[FX_AGENT_B].identity, body);
    fx_until(fx, is_given_up);
    say_late(&fx->replicas[0]);
    assert_int_equal(fx_wait(fx, id)->status, 202);
    assert_int_equal(fx_count(fx, "release", "rival_primary"), 1);
}

static void test_dead_old_primary(void **state)
{
    struct keeper_fixture *fx = *state;
    int64_t started_ms;
    uint64_t epoch;

    fx_shut_down(fx);
    fx_run_with(fx, "    rival_wait: 10s\n");
    fx_wait_primary(fx, "node-a");
    fx_set_primary(fx, 1);
    memset(&fx->replicas[0].state, 0, sizeof(fx->replicas[0].state));
    fx->replicas[0].state.outcome = PROBE_REFUSED;
    started_ms = now_ms();
    assert_int_equal(grant(fx, FX_AGENT_B, &epoch), REASON_PROMOTION);
    assert_in_range(now_ms() - started_ms, 0, 9999);
}

static void test_nobody_answers(void **state)
{
    struct keeper_fixture *fx = *state;

    for (int i = 0; i < FX_REPLICAS; i++)
        fx->replicas[i].is_hung = true;
    assert_int_equal(refusal(fx, FX_AGENT_B), REASON_CANDIDATE_UNREACHABLE);
    assert_int_equal(fx->reply.status, 403);
    /* Decided when nobody can be expected to answer any more, not given up at the deadline. */
    assert_int_equal(fx_count(fx, "release", "candidate_unreachable"), 1);
}

static void test_rival(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, 1);
    fx->replicas[0].state.role = 1;
    assert_int_equal(refusal(fx, FX_AGENT_B), REASON_RIVAL_PRIMARY);
    assert_int_equal(fx->reply.status, 202);
}

/* Two replicas: what the other one is worth as a witness is how long the watch has missed it. */
static void test_pair_by_silence(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *answer = NULL;
    int64_t died_ms;

    fx_set_primary(fx, 1);
    fx->replicas[0].is_hung = true;
    died_ms = now_ms();
    answer = fx_release(fx, FX_AGENT_B, recipient);
    assert_non_null(answer);
    assert_int_equal(answer->grant.reason, REASON_CANDIDATE_SILENCE);
    /* The last answer of the other one may be a second older than its death. */
    assert_in_range(now_ms() - died_ms, 2000, 6000);
    assert_int_equal(fx_count(fx, "alert", "candidate_silence"), 1);
    assert_int_equal(fx_count(fx, "unfinished", NULL), 0);
}

static int set_up_patient_pair(void **state)
{
    static const struct fx_options options = {.is_pair = true, .limits = "    dead_for: 60s\n"};
    static struct keeper_fixture fixture;

    fx_start_with(&fixture, &options);
    *state = &fixture;
    fx_publish(&fixture);
    fx_deposit(&fixture, FX_PASSWORD);
    fx_wait_primary(&fixture, "node-a");
    return 0;
}

/* What lasts longer than a request may is not waited for: the agent is told so, and asks again. */
static void test_pair_that_must_wait_longer(void **state)
{
    struct keeper_fixture *fx = *state;
    int64_t died_ms;

    fx_set_primary(fx, 1);
    fx->replicas[0].is_hung = true;
    died_ms = now_ms();
    assert_int_equal(refusal(fx, FX_AGENT_B), REASON_SILENCE_UNPROVEN);
    assert_int_equal(fx->reply.status, 403);
    assert_in_range(now_ms() - died_ms, 0, 30000);
    /* It is not decided yet. */
    assert_int_equal(fx_count(fx, "release", NULL), 0);
    fx_wait_count(fx, "refusal", "silence_unproven", 1);
}

/*
 * The new primary was granted by what it said to its own request, between two rounds of the watch,
 * and is silent since: the old one, which says PRIMARY again, was no healthy secondary of it.
 */
static void test_pair_between_rounds(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t epoch;

    fx_set_primary(fx, 1);
    fx_wait_primary(fx, "node-b");
    fx_set_primary(fx, 0);
    assert_int_equal(grant(fx, FX_AGENT_A, &epoch), REASON_PROMOTION);
    fx_wait_primary(fx, "node-a");
    fx_set_primary(fx, 1);
    fx->replicas[0].state.synchronization_health = 0;
    assert_int_equal(grant(fx, FX_AGENT_B, &epoch), REASON_PROMOTION);
    fx_set_primary(fx, 0);
    fx->replicas[1].is_hung = true;
    assert_int_equal(refusal(fx, FX_AGENT_A), REASON_SILENCE_UNPROVEN);
}

/* Two rounds of the watch, so that one has begun and ended since. */
static void await_rounds(struct keeper_fixture *fx)
{
    for (int i = 0; i < 3; i++) {
        note_asked(fx);
        fx_until(fx, is_second_asked);
    }
}

/* It must have been a healthy secondary when the other one last said PRIMARY: not one that took
 * itself for the primary, and not one that caught up with nobody. */
static void test_pair_that_was_no_secondary(void **state)
{
    struct keeper_fixture *fx = *state;
    struct probe_state primary;

    fx_set_primary(fx, 1);
    primary = fx->replicas[1].state;
    fx_set_primary(fx, 0);
    fx->replicas[1].state = primary;
    await_rounds(fx);
    fx->replicas[0].is_hung = true;
    assert_int_equal(refusal(fx, FX_AGENT_B), REASON_SILENCE_UNPROVEN);
    fx->replicas[0].is_hung = false;
    fx_set_primary(fx, 0);
    await_rounds(fx);
    fx->replicas[1].state.synchronization_health = 0;
    await_rounds(fx);
    fx_set_primary(fx, 0);
    fx->replicas[0].state.role = 0;
    await_rounds(fx);
    fx_set_primary(fx, 1);
    fx->replicas[0].is_hung = true;
    assert_int_equal(refusal(fx, FX_AGENT_B), REASON_SILENCE_UNPROVEN);
}

/* The watch finds a promotion by silence itself, in a round in which it gives the other one up. */
static void test_pair_seen_by_the_watch(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, 1);
    fx->replicas[0].is_hung = true;
    fx_wait_primary(fx, "node-b");
    /* Before its prober was taken for one that is of no use. */
    assert_int_equal(fx->replicas[0].restarts, 0);
    assert_int_equal(fx_count(fx, "epoch", NULL), 2);
}

/* The watch's question is kept, and answered later with what was true when it came. */
struct held {
    uint64_t id; /* 0: none has come */
    struct probe_state state;
};

static bool hold_back(struct fx_replica *replica, const struct ipc_message *question,
                      void *argument)
{
    struct held *held = argument;

    if (question->type != IPC_PROBE_ASK_STATES)
        return false;
    held->id = question->id;
    held->state = replica->state;
    return true;
}

static bool is_round_begun(struct keeper_fixture *fx)
{
    const struct held *held = fx->replicas[0].argument;

    return held->id && fx->replicas[1].asked > asked_before[1];
}

static void answer_held(struct fx_replica *replica)
{
    const struct held *held = replica->argument;
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    CLEANUP(cleanup_free)
    struct ipc_probe_states *states = calloc(1, sizeof(*states) + sizeof(states->items[0]));

    assert_non_null(states);
    states->count = 1;
    states->items[0] = held->state;
    ipc_put_probe_states(&writer, states);
    assert_int_equal(ipc_send(replica->fd, IPC_PROBE_STATES, held->id, &writer, FX_DEADLINE_MS),
                     ESCROW_OK);
    replica->lie = NULL;
}

/*
 * The same, and a round of the watch was open meanwhile: what the old primary said to it as a
 * healthy secondary, before the request, comes after what it said to the request.
 */
static void test_pair_while_the_watch_waits(void **state)
{
    struct keeper_fixture *fx = *state;
    struct held held = {0};
    uint64_t epoch;

    fx_set_primary(fx, 1);
    fx_wait_primary(fx, "node-b");
    note_asked(fx);
    fx->replicas[0].argument = &held;
    fx->replicas[0].lie = hold_back;
    fx_until(fx, is_round_begun);
    fx->replicas[0].state.synchronization_health = 0;
    assert_int_equal(grant(fx, FX_AGENT_B, &epoch), REASON_PROMOTION);
    answer_held(&fx->replicas[0]);
    fx_set_primary(fx, 0);
    fx->replicas[1].is_hung = true;
    assert_int_equal(refusal(fx, FX_AGENT_A), REASON_SILENCE_UNPROVEN);
}

/* How long ago node-a had said PRIMARY, by the record of the last decision. */
static int64_t primary_ago_ms(struct keeper_fixture *fx)
{
    CLEANUP(json_free_p) json_t *records = fx_log(fx);
    const json_t *last = json_array_get(records, json_array_size(records) - 1);
    const json_t *facts =
        json_object_get(json_object_get(json_object_get(last, "facts"), "evidence"), "facts");
    const json_t *known = json_array_get(json_object_get(facts, "replicas"), 0);
    const json_t *ago = json_object_get(json_object_get(known, "history"), "primary_ago_ms");

    assert_true(json_is_integer(ago));
    return json_integer_value(ago);
}

/* Whoever says PRIMARY to a release has said it, though the watch has not heard it. */
static void test_release_hears_a_primary(void **state)
{
    struct keeper_fixture *fx = *state;
    struct held held = {0};
    int64_t began_ms;

    fx->replicas[0].argument = &held;
    fx->replicas[0].lie = hold_back;
    note_asked(fx);
    fx_until(fx, is_round_begun);
    note_asked(fx);
    fx_until(fx, is_second_asked);
    began_ms = now_ms();
    assert_int_equal(refusal(fx, FX_AGENT_B), REASON_CANDIDATE_NOT_PRIMARY);
    assert_int_equal(refusal(fx, FX_AGENT_B), REASON_CANDIDATE_NOT_PRIMARY);
    assert_in_range(primary_ago_ms(fx), 0, now_ms() - began_ms);
    answer_held(&fx->replicas[0]);
}

/* A cut network: the other one is as silent, but this keeper has never seen it as primary. */
static void test_pair_unproven(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_shut_down(fx);
    fx_run(fx);
    fx_set_primary(fx, 1);
    fx->replicas[0].is_hung = true;
    assert_int_equal(refusal(fx, FX_AGENT_B), REASON_SILENCE_UNPROVEN);
}

/* Anybody can decide again from the record. */
static void test_decision_can_be_recomputed(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(json_free_p) json_t *records = NULL;
    CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;
    struct policy_verdict verdict;
    const json_t *record, *facts;

    fx_set_primary(fx, 1);
    assert_int_equal(refusal(fx, FX_AGENT_A), REASON_CANDIDATE_NOT_PRIMARY);
    records = fx_log(fx);
    record = json_array_get(records, json_array_size(records) - 1);
    assert_string_equal(json_string_value(json_object_get(record, "event")), "release");
    facts = json_object_get(record, "facts");
    assert_int_equal(policy_evidence_from_json(json_object_get(facts, "evidence"), &evidence),
                     ESCROW_OK);
    policy_decide(&evidence->rules, &evidence->request, &evidence->facts, &evidence->ledger,
                  &verdict);
    assert_string_equal(json_string_value(json_object_get(record, "decision")),
                        policy_outcome_name(verdict.outcome));
    assert_string_equal(json_string_value(json_object_get(record, "reason")),
                        reason_code(verdict.reason));
}

/* The agent's key left the roster while its release was under way. */
static void test_roster_changed_meanwhile(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *challenge = NULL, *publishing = NULL;
    CLEANUP(act_free_p) struct act *act = NULL, *publish = act_new(ACT_PUBLISH);
    CLEANUP(cleanup_free) char *body = NULL, *publish_body = NULL;
    CLEANUP(json_free_p) json_t *payload = fx_roster_payload(fx, 2);
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    uint64_t id;

    json_array_remove(json_object_get(payload, "keys"), FX_AGENT_B);
    assert_int_equal(roster_sign(payload, fx->authority, &roster), ESCROW_OK);
    publish->purpose = PURPOSE_PUBLISH;
    publish->publish.roster = strdup(roster_compact(roster));
    publishing = fx_challenge(fx, FX_ADMIN, ACT_PUBLISH, PURPOSE_PUBLISH);
    publish_body = fx_sign(fx, FX_ADMIN, publishing, publish);

    fx_set_primary(fx, 1);
    fx->replicas[2].is_hung = true;
    fx->replicas[0].is_hung = true;
    challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    act = fx_release_act(fx, FX_AGENT_B, challenge, recipient);
    body = fx_sign(fx, FX_AGENT_B, challenge, act);
    id = fx_send(fx, ROUTE_RELEASE, fx->actors[FX_AGENT_B].identity, body);
    fx_send(fx, ROUTE_PUBLISH, fx->actors[FX_ADMIN].identity, publish_body);
    fx->replicas[2].is_hung = false;
    fx_wait(fx, id);
    assert_int_equal(fx->reply.reason, REASON_KEY_UNKNOWN);
    /* It was not even decided about. */
    assert_int_equal(fx_count(fx, "release", NULL), 0);
}

#define READY(test) cmocka_unit_test_setup_teardown(test, fx_setup_ready, fx_teardown)
#define FRESH(test) cmocka_unit_test_setup_teardown(test, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY(test_secondary_asks),
        READY(test_primary_without_promotion),
        FRESH(test_no_baseline),
        READY(test_session_missing),
        READY(test_back_and_forth),
        READY(test_promotion_seen_by_the_watch),
        cmocka_unit_test_setup_teardown(test_release_while_the_watch_waits, set_up_beside,
                                        fx_teardown),
        READY(test_promotion_beside_a_replica_that_fails),
        READY(test_hung_old_primary),
        READY(test_long_wait_for_rivals),
        READY(test_rival_that_is_late),
        READY(test_dead_old_primary),
        READY(test_nobody_answers),
        READY(test_rival),
        cmocka_unit_test_setup_teardown(test_pair_by_silence, fx_setup_pair, fx_teardown),
        cmocka_unit_test_setup_teardown(test_pair_that_must_wait_longer, set_up_patient_pair,
                                        fx_teardown),
        cmocka_unit_test_setup_teardown(test_pair_between_rounds, fx_setup_pair, fx_teardown),
        cmocka_unit_test_setup_teardown(test_pair_while_the_watch_waits, fx_setup_pair,
                                        fx_teardown),
        READY(test_release_hears_a_primary),
        cmocka_unit_test_setup_teardown(test_pair_unproven, fx_setup_pair, fx_teardown),
        cmocka_unit_test_setup_teardown(test_pair_that_was_no_secondary, fx_setup_pair,
                                        fx_teardown),
        cmocka_unit_test_setup_teardown(test_pair_seen_by_the_watch, fx_setup_pair, fx_teardown),
        READY(test_decision_can_be_recomputed),
        READY(test_roster_changed_meanwhile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
