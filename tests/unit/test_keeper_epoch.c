/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/clock.h"
#include "libescrow/ipc_probe.h"
#include "libescrow/json.h"
#include "tests/unit/keeper_fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

/*
 * What begins an epoch: a promotion, once, whoever finds it, the watch or the decision about a
 * release. Where both find it in the same moment, and what the one has found is still between queue
 * and disk when the other looks, the keeper is stopped (SIGSTOP) until everything is there that it
 * is to find. On a machine that is too busy it comes to something else, which is right, too, and
 * said. That no epoch is begun twice is looked at where every keeper test ends
 * (keeper_explained.c).
 */

enum { A, B, C }; /* fx->replicas */

#define RIVAL_WAIT_MS 500
#define ROUND_MS 2000 /* of the watch, which does not wait for longer */

/* Questions that a replica has not answered yet; 0: none. */
struct held {
    bool holds_states, holds_state; /* those of the watch, those of releases */
    uint64_t states, state;
    unsigned rounds; /* questions of the watch that were answered */
};

static struct held held[FX_REPLICAS];
static int64_t begun_ms;          /* before the round began */
static unsigned passed, sessions; /* releases' questions to C, and for B's session: answered */

static bool hold(struct fx_replica *replica, const struct ipc_message *question, void *argument)
{
    struct held *mine = argument;

    (void)replica;
    if (question->type == IPC_PROBE_ASK_STATES && mine->holds_states) {
        mine->states = question->id;
        return true;
    }
    if (question->type == IPC_PROBE_ASK_STATE && mine->holds_state) {
        mine->state = question->id;
        return true;
    }
    mine->rounds += question->type == IPC_PROBE_ASK_STATES;
    passed += mine == &held[C] && question->type == IPC_PROBE_ASK_STATE;
    sessions += question->type == IPC_PROBE_ASK_SESSION;
    return false;
}

/* What is true now. */
static void tell_watch(const struct keeper_fixture *fx, int replica)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    CLEANUP(cleanup_free)
    struct ipc_probe_states *states = calloc(1, sizeof(*states) + sizeof(states->items[0]));

    assert_non_null(states);
    states->count = 1;
    states->items[0] = fx->replicas[replica].state;
    ipc_put_probe_states(&writer, states);
    assert_int_equal(ipc_send(fx->replicas[replica].fd, IPC_PROBE_STATES, held[replica].states,
                              &writer, FX_DEADLINE_MS),
                     ESCROW_OK);
    held[replica].states = 0;
}

static void tell_release(const struct keeper_fixture *fx, int replica)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    ipc_put_probe_state(&writer, &fx->replicas[replica].state);
    assert_int_equal(ipc_send(fx->replicas[replica].fd, IPC_PROBE_STATE, held[replica].state,
                              &writer, FX_DEADLINE_MS),
                     ESCROW_OK);
    held[replica].state = 0;
}

static void stop_keeper(const struct keeper_fixture *fx)
{
    int status = 0;

    assert_int_equal(kill(fx->pid, SIGSTOP), 0);
    assert_int_equal(waitpid(fx->pid, &status, WUNTRACED), fx->pid);
    assert_true(WIFSTOPPED(status));
}

static void resume_keeper(const struct keeper_fixture *fx)
{
    assert_int_equal(kill(fx->pid, SIGCONT), 0);
}

static bool is_round_held(struct keeper_fixture *fx)
{
    (void)fx;
    return held[A].states && held[B].states && held[C].states;
}

/* Until the first question of the next round has come. */
static void await_begin(struct keeper_fixture *fx)
{
    const int64_t deadline_ms = clock_boot_ms() + FX_DEADLINE_MS;
    int64_t now_ms = clock_boot_ms();

    do {
        begun_ms = now_ms;
        assert_true(begun_ms < deadline_ms);
        now_ms = clock_boot_ms();
        fx_serve(fx, 20);
    } while (!held[A].states && !held[B].states && !held[C].states);
}

static bool is_watch_held(struct keeper_fixture *fx)
{
    (void)fx;
    return held[C].states != 0;
}

/* A round of the watch that nobody has answered; it heard of node-b's promotion from all but C. */
static void begin_round(struct keeper_fixture *fx)
{
    for (int i = A; i <= C; i++)
        held[i].holds_states = true;
    fx_until(fx, is_round_held);
    /* Some may be of another round than others: the next one begins for all at once. */
    stop_keeper(fx);
    for (int i = A; i <= C; i++)
        tell_watch(fx, i);
    resume_keeper(fx);
    await_begin(fx);
    fx_until(fx, is_round_held);
    fx_set_primary(fx, B);
    held[A].holds_states = held[B].holds_states = false;
    tell_watch(fx, A);
    tell_watch(fx, B);
}

struct prepared {
    EVP_PKEY *recipient;
    struct act *act;
    char *body;
    uint64_t id;
};

static void prepared_deinit(struct prepared *prepared)
{
    EVP_PKEY_free(prepared->recipient);
    act_free(prepared->act);
    free(prepared->body);
}

static struct prepared prepare(struct keeper_fixture *fx)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    struct prepared prepared = {.recipient = key_generate()};

    assert_non_null(challenge);
    prepared.act = fx_release_act(fx, FX_AGENT_B, challenge, prepared.recipient);
    prepared.body = fx_sign(fx, FX_AGENT_B, challenge, prepared.act);
    return prepared;
}

static void send_release(struct keeper_fixture *fx, struct prepared *prepared)
{
    prepared->id = fx_send(fx, ROUTE_RELEASE, fx->actors[FX_AGENT_B].identity, prepared->body);
}

static bool is_release_held(struct keeper_fixture *fx)
{
    (void)fx;
    return held[C].state != 0;
}

/* All but A. */
static bool has_passed(struct keeper_fixture *fx)
{
    (void)fx;
    return passed > 0 && sessions > 0;
}

/* C says what it was asked for: first by a release, then by the watch. */
static void tell_all(struct keeper_fixture *fx)
{
    tell_release(fx, C);
    tell_watch(fx, C);
    for (int i = A; i <= C; i++)
        held[i].holds_states = held[i].holds_state = false;
}

static void test_the_watch_finds_it_first(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(prepared_deinit) struct prepared release = prepare(fx);

    begin_round(fx);
    held[C].holds_state = true;
    send_release(fx, &release);
    fx_until(fx, is_release_held);
    stop_keeper(fx);
    tell_all(fx);
    resume_keeper(fx);
    assert_int_equal(fx_wait(fx, release.id)->status, 200);
    if (fx_count(fx, "epoch", NULL) != 2)
        print_message("# the machine was too busy: the release came first\n");
}

/* A is not waited for any longer while the keeper is stopped; C's first word is of another release.
 */
static void test_a_release_finds_it_first(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(prepared_deinit) struct prepared first = prepare(fx);
    CLEANUP(prepared_deinit) struct prepared second = prepare(fx);
    int64_t waits_ms;

    begin_round(fx);
    held[A].holds_state = true;
    passed = sessions = 0;
    send_release(fx, &first);
    fx_until(fx, has_passed);
    held[C].holds_state = true;
    send_release(fx, &second);
    fx_until(fx, is_release_held);
    /* The first may be answered before what came with it is read, the second is not. */
    fx_ping(fx);
    fx_ping(fx);
    waits_ms = clock_boot_ms();
    stop_keeper(fx);
    while (clock_boot_ms() - waits_ms <= RIVAL_WAIT_MS)
        assert_int_equal(poll(NULL, 0, 10), 0);
    tell_all(fx);
    resume_keeper(fx);
    fx_wait_count(fx, "release", NULL, 2);
    if (fx_count(fx, "epoch", NULL) != 1)
        print_message("# the machine was too busy: the watch came first\n");
}

static bool are_both_held(struct keeper_fixture *fx)
{
    (void)fx;
    return held[A].state && held[C].state;
}

/* Rivals are waited for from when the witnesses suffice, however long that took. */
static void test_rivals_have_their_time(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(prepared_deinit) struct prepared release = prepare(fx);
    int64_t asked_ms, told_ms;

    fx_set_primary(fx, B);
    held[A].holds_state = held[C].holds_state = true;
    send_release(fx, &release);
    fx_until(fx, are_both_held);
    asked_ms = clock_boot_ms();
    while (clock_boot_ms() - asked_ms <= RIVAL_WAIT_MS)
        fx_serve(fx, 20);
    told_ms = clock_boot_ms();
    tell_release(fx, C);
    if (fx_wait(fx, release.id)->status == 200)
        assert_true(clock_boot_ms() - told_ms >= RIVAL_WAIT_MS);
    else
        print_message("# the machine was too busy: C was given up\n");
}

/* ---- rounds of the watch ---- */

static unsigned rounds_awaited;

static bool are_rounds_over(struct keeper_fixture *fx)
{
    (void)fx;
    return held[A].rounds >= rounds_awaited && held[B].rounds >= rounds_awaited;
}

/* Until A and B have been asked so often again. */
static void await_rounds(struct keeper_fixture *fx, unsigned count)
{
    held[A].rounds = held[B].rounds = 0;
    rounds_awaited = count;
    fx_until(fx, are_rounds_over);
    fx_ping(fx);
    fx_ping(fx);
}

/* C's word ends the round, a tick after all others'. False: it has been given up meanwhile. */
static bool end_round(struct keeper_fixture *fx)
{
    bool is_open;

    await_rounds(fx, 1);
    stop_keeper(fx);
    is_open = clock_boot_ms() - begun_ms < ROUND_MS;
    tell_watch(fx, C);
    held[C].holds_states = false;
    resume_keeper(fx);
    if (!is_open)
        print_message("# the machine was too busy: the round was over\n");
    return is_open;
}

/* A round waits for everybody's word, not for that of most. */
static void test_a_late_rival_is_heard(void **state)
{
    struct keeper_fixture *fx = *state;

    begin_round(fx);
    fx->replicas[C].state.role = 1;
    if (!end_round(fx))
        return;
    await_rounds(fx, 2);
    assert_int_equal(fx_count(fx, "epoch", NULL), 1);
}

/* Who is asked again while others are waited for changes nothing of what was said. */
static void test_first_word_counts(void **state)
{
    struct keeper_fixture *fx = *state;

    begin_round(fx);
    fx->replicas[A].state.role = 1;
    if (end_round(fx))
        fx_wait_count(fx, "epoch", NULL, 2);
}

/* What GET /v1/status says of the replica's role; "": it does not answer. */
static void role_of(struct keeper_fixture *fx, size_t replica, char ret_word[static 16])
{
    const struct fx_reply *reply = fx_ask(fx, ROUTE_STATUS, fx->actors[FX_ADMIN].identity, "");
    CLEANUP(json_free_p) json_t *status = NULL;
    const json_t *group;
    const char *word;

    assert_non_null(reply->body);
    assert_int_equal(json_parse(reply->body, strlen(reply->body), 1 << 20, &status), ESCROW_OK);
    group = json_array_get(json_object_get(status, "groups"), 0);
    word = json_string_value(
        json_object_get(json_array_get(json_object_get(group, "replicas"), replica), "role"));
    snprintf(ret_word, 16, "%s", word ? word : "");
}

/* An answer to what was asked in a round that was given up says nothing of the next one. */
static void test_answer_of_a_round_before(void **state)
{
    struct keeper_fixture *fx = *state;
    char word[16];

    await_rounds(fx, 2);
    role_of(fx, C, word);
    assert_string_equal(word, "secondary");
    held[C].holds_states = true;
    await_rounds(fx, 2 + ROUND_MS / 1000 + 1);
    assert_int_not_equal(held[C].states, 0);
    tell_watch(fx, C);
    fx_until(fx, is_watch_held);
    role_of(fx, C, word);
    assert_string_equal(word, "");
}

static int set_up_with(void **state, const char *lines)
{
    struct keeper_fixture *fx;
    int result = fx_setup_ready(state);

    fx = *state;
    fx_run_with(fx, lines);
    fx_wait_primary(fx, "node-a");
    memset(held, 0, sizeof(held));
    for (int i = A; i <= C; i++) {
        fx->replicas[i].argument = &held[i];
        fx->replicas[i].lie = hold;
    }
    return result;
}

/* C is waited for. */
static int set_up_patient(void **state)
{
    return set_up_with(state, "    rival_wait: 10s\n");
}

static int set_up(void **state)
{
    char lines[64];

    snprintf(lines, sizeof(lines), "    rival_wait: %dms\n", RIVAL_WAIT_MS);
    return set_up_with(state, lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_watch_finds_it_first, set_up_patient, fx_teardown),
        cmocka_unit_test_setup_teardown(test_a_release_finds_it_first, set_up, fx_teardown),
        cmocka_unit_test_setup_teardown(test_rivals_have_their_time, set_up, fx_teardown),
        cmocka_unit_test_setup_teardown(test_a_late_rival_is_heard, set_up, fx_teardown),
        cmocka_unit_test_setup_teardown(test_first_word_counts, set_up, fx_teardown),
        cmocka_unit_test_setup_teardown(test_answer_of_a_round_before, set_up, fx_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
