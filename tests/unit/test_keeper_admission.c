/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/clock.h"
#include "escrowd/keeper_admission.h"
#include "libescrow/ipc_probe.h"
#include "libescrow/json.h"
#include "tests/unit/keeper_fixture.h"
#include "tests/unit/proxied_tpm.h"
#include "tests/unit/wall_clock.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * Many releases at once, and a TPM that is slower than they come: who waits has not been asked for,
 * and what was asked for is still true at the TPM.
 */

#define COUNT 24        /* releases at once; of one identity, which has a challenge for each */
#define COMMAND_US 9000 /* of the slow TPM: 14 commands, so that all of them take more than 2 s */
/* All of them, where the TPM has the machine to itself: 3 s, and the wait for rivals. */
#define AT_PACE_MS 4200
#define PATIENCE_S 20
#define TPM_TIMEOUT_MS 3000 /* of the keeper, for one command */
#define RULES_OF_ALL "    retries: 100\n    brake: 1000\n"
/* Without a wait for rivals the facts' age is the keeper's own limit alone. */
#define RULES RULES_OF_ALL "    rival_wait: 0s\n"

struct sent {
    uint64_t id;
    struct act *act;
    EVP_PKEY *recipient;
    unsigned status, retry_after_s; /* of the reply; 0: none yet */
    enum reason reason;
};

static struct sent sent[COUNT];
static unsigned replies;
static unsigned sessions; /* that the candidate's prober was asked for: one in each round */

static void on_reply(struct keeper_fixture *fx, uint64_t id, const struct ipc_reply *reply)
{
    (void)fx;
    for (size_t i = 0; i < COUNT; i++) {
        if (sent[i].id != id)
            continue;
        sent[i].status = reply->http_status;
        sent[i].reason = reply->reason;
        sent[i].retry_after_s = reply->retry_after_s;
        replies++;
    }
}

static bool count_sessions(struct fx_replica *replica, const struct ipc_message *question,
                           void *argument)
{
    (void)replica;
    (void)argument;
    sessions += question->type == IPC_PROBE_ASK_SESSION;
    return false;
}

/* All of them are ready before the first is sent. */
static void send_releases(struct keeper_fixture *fx, enum fx_who who)
{
    char *bodies[COUNT];

    fx->on_reply = on_reply;
    replies = sessions = 0;
    memset(sent, 0, sizeof(sent));
    for (size_t i = 0; i < COUNT; i++) {
        CLEANUP(answer_free_p)
        struct answer *challenge = fx_challenge(fx, who, ACT_RELEASE, PURPOSE_PROMOTE);

        assert_non_null(challenge);
        sent[i].recipient = key_generate();
        sent[i].act = fx_release_act(fx, who, challenge, sent[i].recipient);
        bodies[i] = fx_sign(fx, who, challenge, sent[i].act);
    }
    for (size_t i = 0; i < COUNT; i++) {
        sent[i].id = fx_send(fx, ROUTE_RELEASE, fx->actors[who].identity, bodies[i]);
        free(bodies[i]);
    }
}

static void end_releases(void)
{
    for (size_t i = 0; i < COUNT; i++) {
        EVP_PKEY_free(sent[i].recipient);
        act_free(sent[i].act);
    }
}

static bool have_all_replies(struct keeper_fixture *fx)
{
    (void)fx;
    return replies == COUNT;
}

static bool is_last_answered(struct keeper_fixture *fx)
{
    (void)fx;
    return sent[COUNT - 1].status != 0;
}

static unsigned count_replies(enum reason reason)
{
    unsigned count = 0;

    for (size_t i = 0; i < COUNT; i++)
        count += sent[i].status != 0 && sent[i].reason == reason;
    return count;
}

/* No deadline passes while it stands still, so that a slow machine has time for what comes next. */
static void stop_tpm(const struct keeper_fixture *fx)
{
    boot_clock_hold();
    assert_int_equal(kill(fx->swtpm.pid, SIGSTOP), 0);
}

static void resume_tpm(const struct keeper_fixture *fx)
{
    assert_int_equal(kill(fx->swtpm.pid, SIGCONT), 0);
    boot_clock_go_on();
}

/* Whatever was asked for is decided. */
static bool are_places_taken(struct keeper_fixture *fx)
{
    return sessions >= 2 && fx_count(fx, "release", NULL) == sessions;
}

/* The TPM does nothing; some have been decided on, and the others wait. */
static void fill_places(struct keeper_fixture *fx)
{
    stop_tpm(fx);
    send_releases(fx, FX_AGENT_B);
    fx_until(fx, are_places_taken);
    assert_in_range(sessions, 2, COUNT - 4);
    assert_int_equal(replies, 0);
}

/* A busy machine makes the TPM slower than the keeper has learnt that it is. */
static bool is_at_pace(int64_t began_ms)
{
    if (clock_boot_ms() - began_ms < AT_PACE_MS)
        return true;
    print_message("# the machine was too busy to say what was recorded for nothing\n");
    return false;
}

/* ---- tests ---- */

/* Each is asked for once and decided once: what it rests on is never too old for the TPM. */
static void test_every_decision_is_used(void **state)
{
    struct keeper_fixture *fx = *state;
    const int64_t began_ms = clock_boot_ms();

    send_releases(fx, FX_AGENT_B);
    fx_until(fx, have_all_replies);
    if (is_at_pace(began_ms)) {
        assert_int_equal(count_replies(REASON_NONE), COUNT);
        assert_int_equal(fx_count(fx, "release", NULL), COUNT);
        assert_int_equal(fx_count(fx, "unfinished", NULL), 0);
        assert_int_equal(sessions, COUNT);
    }
    end_releases();
}

/* Half of the places are another identity's, though one has asked for more than there are. */
static void test_another_identity_has_a_place(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();

    fill_places(fx);
    assert_null(fx_release(fx, FX_AGENT_A, recipient));
    assert_string_equal(reason_code(fx->reply.reason), "candidate_not_primary");
    assert_int_equal(replies, 0);
    resume_tpm(fx);
    fx_until(fx, have_all_replies);
    assert_int_equal(count_replies(REASON_NONE), COUNT);
    end_releases();
}

/* Whoever goes while it waits was never asked for, and is in no record. */
static void test_gone_while_it_waits(void **state)
{
    struct keeper_fixture *fx = *state;

    fill_places(fx);
    assert_int_equal(ipc_send(fx->front_fd, IPC_GONE, sent[COUNT - 2].id, NULL, 1000), ESCROW_OK);
    resume_tpm(fx);
    fx_until(fx, is_last_answered);
    while (replies < COUNT - 1)
        fx_serve(fx, 20);
    assert_int_equal(sent[COUNT - 2].status, 0);
    assert_int_equal(sessions, COUNT - 1);
    assert_int_equal(fx_count(fx, "release", NULL), COUNT - 1);
    assert_int_equal(fx_count(fx, "unfinished", NULL), 0);
    end_releases();
}

static void test_front_gone(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = NULL;
    unsigned asked;

    fill_places(fx);
    asked = sessions;
    fx_attach_front(fx);
    resume_tpm(fx);
    grant = fx_release(fx, FX_AGENT_B, recipient);
    assert_non_null(grant);
    assert_int_equal(sessions, asked + 1);
    end_releases();
}

/* The roster in force is that of the turn: no replica is asked for a key that is revoked. */
static void test_key_revoked_while_it_waits(void **state)
{
    struct keeper_fixture *fx = *state;
    json_t *payload = fx_roster_payload(fx, 2);
    unsigned asked;

    fill_places(fx);
    asked = sessions;
    json_array_remove(json_object_get(payload, "keys"), FX_AGENT_B);
    assert_int_equal(fx_publish_roster(fx, payload, fx->authority), REASON_NONE);
    resume_tpm(fx);
    fx_until(fx, have_all_replies);
    assert_int_equal(count_replies(REASON_KEY_UNKNOWN), COUNT);
    assert_int_equal(sessions, asked);
    end_releases();
}

/* The TPM is gone: what it had is told so, and so are those who wait, at once. */
static void test_tpm_gone_while_they_wait(void **state)
{
    struct keeper_fixture *fx = *state;
    unsigned asked;

    fill_places(fx);
    asked = sessions;
    boot_clock_pass(TPM_TIMEOUT_MS);
    fx_until(fx, have_all_replies);
    assert_int_equal(count_replies(REASON_TPM_UNAVAILABLE), COUNT);
    assert_int_equal(sessions, asked);
    fx_wait_count(fx, "unfinished", "tpm_unavailable", asked);
    end_releases();
}

/* A keeper that is to stop finishes what the TPM has; who waits is told at once. */
static void test_stop_while_they_wait(void **state)
{
    struct keeper_fixture *fx = *state;
    unsigned asked;

    fill_places(fx);
    asked = sessions;
    fx->options.may_lose = true;
    assert_int_equal(ipc_send(fx->supervisor_fd, IPC_SHUTDOWN, 0, NULL, 1000), ESCROW_OK);
    fx_until(fx, is_last_answered);
    assert_in_range(count_replies(REASON_SHUTTING_DOWN), COUNT - asked, COUNT - 2);
    resume_tpm(fx);
    while (fx->pid != 0)
        fx_serve(fx, 20);
    assert_int_equal(fx->exit_status, 0);
    assert_int_equal(count_replies(REASON_NONE), 2);
    assert_int_equal(sessions, asked);
    fx->options.may_lose = false;
    end_releases();
}

static bool is_second_decided(struct keeper_fixture *fx)
{
    return fx_count(fx, "release", NULL) == 2;
}

/* A TPM so slow that one release alone has its identity's places: another one has its own all the
 * same. None gets free while the TPM has it, and when the keeper is to stop nobody waits for that.
 */
static void test_stop_while_no_place_gets_free(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate(), *theirs = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, FX_AGENT_B, recipient);

    assert_non_null(grant);
    stop_tpm(fx);
    send_releases(fx, FX_AGENT_B);
    fx_until(fx, is_second_decided);
    assert_null(fx_release(fx, FX_AGENT_A, theirs));
    assert_string_equal(reason_code(fx->reply.reason), "candidate_not_primary");
    assert_int_equal(replies, 0);
    fx->options.may_lose = true;
    assert_int_equal(ipc_send(fx->supervisor_fd, IPC_SHUTDOWN, 0, NULL, 1000), ESCROW_OK);
    fx_until(fx, is_last_answered);
    resume_tpm(fx);
    while (fx->pid != 0)
        fx_serve(fx, 20);
    assert_int_equal(count_replies(REASON_SHUTTING_DOWN), COUNT - 1);
    assert_int_equal(count_replies(REASON_NONE), 1);
    fx->options.may_lose = false;
    end_releases();
}

/* The first of them has its refusal after 1.5 s; most of the others were asked for by then. */
static void test_slow_rounds_keep_no_place(void **state)
{
    struct keeper_fixture *fx = *state;
    unsigned before = fx->replicas[2].asked;

    fx->replicas[0].is_hung = true;
    send_releases(fx, FX_AGENT_A);
    while (replies == 0)
        fx_serve(fx, 20);
    assert_in_range(fx->replicas[2].asked - before, COUNT / 2, 3 * COUNT);
    fx->replicas[0].is_hung = false;
    fx_until(fx, have_all_replies);
    end_releases();
}

/* A hung replica holds all of them up, and they come to their decision together: more than the TPM
 * does before what they rest on is too old. It is asked for again, not decided and recorded. */
static void test_slow_rounds_come_together(void **state)
{
    struct keeper_fixture *fx = *state;
    int64_t began_ms;
    unsigned granted;

    fx->replicas[2].is_hung = true;
    began_ms = clock_boot_ms();
    send_releases(fx, FX_AGENT_B);
    fx_until(fx, have_all_replies);
    granted = count_replies(REASON_NONE);
    assert_int_equal(granted + count_replies(REASON_DEADLINE), COUNT);
    assert_in_range(sessions, COUNT, 4 * COUNT);
    if (is_at_pace(began_ms)) {
        assert_int_equal(granted, COUNT);
        assert_in_range(fx_count(fx, "unfinished", NULL), 0, 1);
        assert_in_range(sessions, COUNT, 2 * COUNT);
    }
    fx->replicas[2].is_hung = false;
    end_releases();
}

static bool are_most_decided(struct keeper_fixture *fx)
{
    return fx_count(fx, "release", NULL) > COUNT / 2;
}

/* One release has shown how fast the TPM is: all are under way at once. */
static void test_a_fast_tpm_takes_many(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, FX_AGENT_B, recipient);

    assert_non_null(grant);
    stop_tpm(fx);
    send_releases(fx, FX_AGENT_B);
    fx_until(fx, are_most_decided);
    resume_tpm(fx);
    fx_until(fx, have_all_replies);
    end_releases();
}

/* Whoever has waited for too long is told so when its turn comes, and nobody is asked for it. */
static void test_turn_that_comes_too_late(void **state)
{
    struct keeper_fixture *fx = *state;
    unsigned asked;

    fill_places(fx);
    asked = sessions;
    boot_clock_pass(PATIENCE_S * 1000);
    resume_tpm(fx);
    fx_until(fx, have_all_replies);
    assert_int_equal(count_replies(REASON_OVERLOADED), COUNT - asked);
    assert_int_equal(sessions, asked);
    end_releases();
}

/* Whoever has waited for as long as front waits for it is told to come back. */
static void test_patience_ends(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, FX_AGENT_B, recipient);
    unsigned late;

    /* From this one the keeper knows how slow its TPM is. */
    assert_non_null(grant);
    send_releases(fx, FX_AGENT_B);
    while (replies < COUNT)
        fx_serve(fx, 20);
    late = count_replies(REASON_OVERLOADED);
    assert_in_range(late, 1, COUNT - 2);
    assert_int_equal(count_replies(REASON_NONE), COUNT - late);
    for (size_t i = 0; i < COUNT; i++) {
        if (sent[i].reason == REASON_OVERLOADED)
            assert_in_range(sent[i].retry_after_s, 1, 2);
    }
    assert_int_equal(fx_count(fx, "release", NULL), 1 + COUNT - late);
    assert_int_equal(sessions, COUNT - late);
    end_releases();
}

/* ---- a slow TPM ---- */

static struct proxied_tpm slow;

/* Until the test ends. */
static void slow_down(struct keeper_fixture *fx, unsigned command_us)
{
    proxied_start(&slow, &fx->swtpm, command_us);
    fx->config.tpm.tcti = slow.setting;
}

static int setup_with(void **state, unsigned command_us, const char *rules)
{
    struct keeper_fixture *fx;

    fx_setup_ready(state);
    fx = *state;
    if (command_us > 0)
        slow_down(fx, command_us);
    fx_run_with(fx, rules);
    fx_wait_primary(fx, "node-a");
    fx_set_primary(fx, 1);
    fx_wait_primary(fx, "node-b");
    fx_wait_warm(fx);
    fx->replicas[1].lie = count_sessions;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, 0, RULES);
}

static int setup_slow(void **state)
{
    return setup_with(state, COMMAND_US, RULES);
}

/* More than half a second for each release. */
static int setup_slower(void **state)
{
    return setup_with(state, 50000, RULES);
}

static int setup_rival(void **state)
{
    return setup_with(state, COMMAND_US, RULES_OF_ALL "    rival_wait: 400ms\n");
}

/* So slow that two are through in a second, and the last of COUNT would wait for longer than
 * anybody waits. */
static int setup_slowest(void **state)
{
    return setup_with(state, PATIENCE_S * 1000000U / COUNT / 10, RULES);
}

static int teardown(void **state)
{
    struct keeper_fixture *fx = *state;

    resume_tpm(fx);
    fx_teardown(state);
    proxied_stop(&slow);
    boot_clock_move(0);
    return 0;
}

#define TEST(test, setup) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const char *all = getenv("ESCROW_TEST_ALL");
    const struct CMUnitTest tests[] = {
        TEST(test_every_decision_is_used, setup_slow),
        TEST(test_another_identity_has_a_place, setup),
        TEST(test_gone_while_it_waits, setup),
        TEST(test_front_gone, setup),
        TEST(test_key_revoked_while_it_waits, setup),
        TEST(test_tpm_gone_while_they_wait, setup),
        TEST(test_stop_while_they_wait, setup),
        TEST(test_stop_while_no_place_gets_free, setup_slower),
        TEST(test_slow_rounds_keep_no_place, setup),
        TEST(test_slow_rounds_come_together, setup_rival),
        TEST(test_a_fast_tpm_takes_many, setup),
        TEST(test_turn_that_comes_too_late, setup),
    };
    /* Half a minute in which nothing happens. */
    const struct CMUnitTest patience[] = {TEST(test_patience_ends, setup_slowest)};

    wall_clock_share();
    if (!all || strcmp(all, "1") != 0)
        return cmocka_run_group_tests(tests, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL) + cmocka_run_group_tests(patience, NULL, NULL);
}
