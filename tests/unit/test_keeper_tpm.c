/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/ipc_probe.h"
#include "libescrow/json.h"
#include "libescrow/rpc.h"
#include "tests/unit/keeper_fixture.h"
#include "tests/unit/wall_clock.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

/*
 * What happens between a decision and the TPM. The TPM is stopped (SIGSTOP), so what is given to it
 * stays there, and what comes later waits for its turn; then something changes, and it goes on.
 */

#define AT_WORK 2 /* requests that the TPM's thread has; all others wait */
#define COMMANDS_PER_RELEASE 14
#define TPM_TIMEOUT_MS 3000 /* of the keeper, for one command */
#define FACTS_MAX_MS 2000   /* and what the policy waits for a rival, which here is nothing */
#define WAITED_MS 10000     /* longer than anything may wait for the TPM */
#define STOP_MS 200         /* that a keeper has to end, less than the TPM has for a command */

/* A request that is waited for. */
struct seen {
    uint64_t id;
    size_t place; /* of the reply among those waited for, from 1; 0: there is none yet */
    unsigned status;
    enum reason reason;
    char body[4096];
};

static struct seen awaited[16];
static size_t awaited_count, reply_count;

static void await(uint64_t id)
{
    assert_true(awaited_count < ARRAY_LEN(awaited));
    awaited[awaited_count++] = (struct seen){.id = id};
}

static struct seen *find(uint64_t id)
{
    for (size_t i = 0; i < awaited_count; i++) {
        if (awaited[i].id == id)
            return &awaited[i];
    }
    return NULL;
}

static void on_reply(struct keeper_fixture *fx, uint64_t id, const struct ipc_reply *reply)
{
    struct seen *seen = find(id);

    (void)fx;
    if (!seen || reply->body_len >= sizeof(seen->body))
        return;
    seen->place = ++reply_count;
    seen->status = reply->http_status;
    seen->reason = reply->reason;
    memcpy(seen->body, reply->body, reply->body_len);
}

static bool is_answered(uint64_t id)
{
    return find(id)->place > 0;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const struct seen *await_reply(struct keeper_fixture *fx, uint64_t id)
{
    const int64_t deadline_ms = now_ms() + FX_DEADLINE_MS;

    while (!is_answered(id)) {
        if (now_ms() >= deadline_ms)
            fx_fail("no reply", "");
        fx_serve(fx, 20);
    }
    return find(id);
}

/* No deadline passes while it stands still, so that a slow machine has time for what comes next. */
static void stop_tpm(const struct keeper_fixture *fx)
{
    boot_clock_hold();
    assert_int_equal(kill(fx->swtpm.pid, SIGSTOP), 0);
}

/* The clock stands still on: nothing grows old while the TPM works, however slow it is. */
static void wake_tpm(const struct keeper_fixture *fx)
{
    assert_int_equal(kill(fx->swtpm.pid, SIGCONT), 0);
}

static void resume_tpm(const struct keeper_fixture *fx)
{
    wake_tpm(fx);
    boot_clock_go_on();
}

/* A release by node-b that is on its way. */
struct asked {
    EVP_PKEY *recipient;
    struct act *act;
    char *body;
    uint64_t id;
};

static void prepare(struct keeper_fixture *fx, struct asked *asked)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);

    assert_non_null(challenge);
    asked->recipient = key_generate();
    asked->act = fx_release_act(fx, FX_AGENT_B, challenge, asked->recipient);
    asked->body = fx_sign(fx, FX_AGENT_B, challenge, asked->act);
}

static void send_release(struct keeper_fixture *fx, struct asked *asked)
{
    asked->id = fx_send(fx, ROUTE_RELEASE, fx->actors[FX_AGENT_B].identity, asked->body);
    await(asked->id);
}

/* count releases, each decided and recorded before the next one is sent. */
static void ask_releases(struct keeper_fixture *fx, struct asked *asked, unsigned count)
{
    const unsigned before = fx_count(fx, "release", NULL);

    for (unsigned i = 0; i < count; i++)
        prepare(fx, &asked[i]);
    for (unsigned i = 0; i < count; i++) {
        send_release(fx, &asked[i]);
        fx_wait_count(fx, "release", NULL, before + i + 1);
    }
}

static void end_releases(struct asked *asked, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        EVP_PKEY_free(asked[i].recipient);
        act_free(asked[i].act);
        free(asked[i].body);
    }
}

static void assert_granted(struct keeper_fixture *fx, const struct asked *asked)
{
    const struct seen *seen = await_reply(fx, asked->id);
    const struct answer_expect expect = {ANSWER_GRANT, &fx->actors[FX_AGENT_B].name,
                                         asked->act->nonce};
    CLEANUP(cleanup_free) char *compact = NULL;
    CLEANUP(answer_free_p) struct answer *grant = NULL;
    CLEANUP(secret_free_p) struct secret *password = NULL;
    const struct roster_member *member;

    if (seen->status != 200)
        fx_fail("refused", reason_code(seen->reason));
    assert_int_equal(rpc_unwrap(seen->body, strlen(seen->body), "answer", &compact), ESCROW_OK);
    assert_int_equal(answer_verify(compact, strlen(compact), fx->roster, &expect, &grant, &member),
                     ESCROW_OK);
    password = fx_open(grant, asked->recipient);
    assert_memory_equal(password->bytes, FX_PASSWORD, password->len);
}

static void assert_refused(struct keeper_fixture *fx, const struct asked *asked, enum reason reason)
{
    assert_string_equal(reason_code(await_reply(fx, asked->id)->reason), reason_code(reason));
}

/* One release has gone through: the TPM knows object and approvals, and node-b is primary. */
static void warm_up(struct keeper_fixture *fx)
{
    struct asked asked;

    fx->on_reply = on_reply;
    awaited_count = reply_count = 0;
    fx_set_primary(fx, 1);
    ask_releases(fx, &asked, 1);
    assert_granted(fx, &asked);
    end_releases(&asked, 1);
    fx_wait_warm(fx);
}

/* Now and then the keeper asks its TPM whether it is there: one command. */
static void assert_released_since(struct keeper_fixture *fx, uint64_t commands, unsigned releases)
{
    const uint64_t sent = fx_tpm_commands(fx) - commands;

    assert_in_range(sent, (uint64_t)releases * COMMANDS_PER_RELEASE,
                    (uint64_t)releases * COMMANDS_PER_RELEASE + COMMANDS_PER_RELEASE - 1);
}

/* While the TPM works the keeper answers everybody else, and nothing leaves before its record. */
static void test_the_loop_goes_on(void **state)
{
    struct keeper_fixture *fx = *state;
    struct asked asked[1];

    warm_up(fx);
    stop_tpm(fx);
    ask_releases(fx, asked, 1);
    assert_false(is_answered(asked[0].id));
    fx_ping(fx);
    assert_false(fx_lacks(fx, REASON_TPM_UNAVAILABLE));
    assert_false(is_answered(asked[0].id));
    wake_tpm(fx);
    assert_granted(fx, &asked[0]);
    end_releases(asked, 1);
}

static void test_many_wait(void **state)
{
    struct keeper_fixture *fx = *state;
    struct asked asked[4];
    uint64_t commands;

    warm_up(fx);
    commands = fx_tpm_commands(fx);
    stop_tpm(fx);
    ask_releases(fx, asked, ARRAY_LEN(asked));
    wake_tpm(fx);
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        assert_granted(fx, &asked[i]);
        /* One after the other, in the order in which they came. */
        assert_int_equal(find(asked[i].id)->place, 1 + 1 + i);
    }
    assert_released_since(fx, commands, ARRAY_LEN(asked));
    end_releases(asked, ARRAY_LEN(asked));
}

/* Facts older than 2 s when the TPM is free: the replicas are asked again, and it is decided again.
 */
static void test_facts_grow_old(void **state)
{
    struct keeper_fixture *fx = *state;
    struct asked asked[3];
    unsigned questions;

    warm_up(fx);
    stop_tpm(fx);
    ask_releases(fx, asked, 3);
    boot_clock_pass(FACTS_MAX_MS + 100);
    questions = fx->replicas[1].asked;
    wake_tpm(fx);
    assert_granted(fx, &asked[0]);
    /* The second had been given to the thread, the third had not: neither comes through on what
     * the replicas said before. */
    assert_granted(fx, &asked[1]);
    assert_granted(fx, &asked[2]);
    fx_wait_count(fx, "unfinished", "facts_old", 2);
    fx_wait_count(fx, "release", NULL, 1 + 3 + 2);
    assert_true(fx->replicas[1].asked - questions >= 4);
    end_releases(asked, 3);
}

/* The watch does not hear of it: nothing is of before an epoch. */
static bool hide_from_the_watch(struct fx_replica *replica, const struct ipc_message *question,
                                void *argument)
{
    (void)replica;
    (void)argument;
    return question->type == IPC_PROBE_ASK_STATES;
}

/* The same, and what the replicas say has changed meanwhile. */
static void test_facts_grow_old_and_wrong(void **state)
{
    struct keeper_fixture *fx = *state;
    struct asked asked[3];

    warm_up(fx);
    stop_tpm(fx);
    ask_releases(fx, asked, 3);
    fx->replicas[2].lie = hide_from_the_watch;
    fx_set_primary(fx, 2);
    boot_clock_pass(FACTS_MAX_MS + 100);
    wake_tpm(fx);
    assert_granted(fx, &asked[0]);
    assert_refused(fx, &asked[1], REASON_CANDIDATE_NOT_PRIMARY);
    assert_refused(fx, &asked[2], REASON_CANDIDATE_NOT_PRIMARY);
    end_releases(asked, 3);
}

/* Without node-b's key, or with it. */
static void publish_next(struct keeper_fixture *fx, bool has_key)
{
    json_t *payload = fx_roster_payload(fx, 2);

    if (!has_key)
        json_array_remove(json_object_get(payload, "keys"), FX_AGENT_B);
    assert_int_equal(fx_publish_roster(fx, payload, fx->authority), REASON_NONE);
}

/* The act key is revoked with two releases in the TPM's hands and one that waits: the TPM is not
 * even asked for the third, and nothing leaves of what it made for the others. */
static void test_key_revoked(void **state)
{
    struct keeper_fixture *fx = *state;
    struct asked asked[AT_WORK + 1];
    uint64_t commands;

    warm_up(fx);
    commands = fx_tpm_commands(fx);
    stop_tpm(fx);
    ask_releases(fx, asked, AT_WORK + 1);
    publish_next(fx, false);
    wake_tpm(fx);
    for (size_t i = 0; i < ARRAY_LEN(asked); i++)
        assert_refused(fx, &asked[i], REASON_KEY_UNKNOWN);
    assert_released_since(fx, commands, AT_WORK);
    fx_wait_count(fx, "unfinished", "roster_changed", AT_WORK + 1);
    fx_wait_count(fx, "refusal", "key_unknown", AT_WORK + 1);
    end_releases(asked, AT_WORK + 1);
}

/* The question of a release that node-a has not answered. */
static uint64_t held; /* 0: none */

static bool hold_states(struct fx_replica *replica, const struct ipc_message *question,
                        void *argument)
{
    (void)replica;
    (void)argument;
    if (question->type != IPC_PROBE_ASK_STATE || held)
        return false;
    held = question->id;
    return true;
}

/* Who was not waited for answers when the decision is made: nobody has his turn at the TPM for
 * that. */
static void test_late_answer_is_no_turn(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    struct asked asked[AT_WORK + 1];
    uint64_t commands;

    warm_up(fx);
    commands = fx_tpm_commands(fx);
    stop_tpm(fx);
    ask_releases(fx, asked, AT_WORK);
    held = 0;
    fx->replicas[0].lie = hold_states;
    ask_releases(fx, &asked[AT_WORK], 1);
    assert_int_not_equal(held, 0);
    ipc_put_probe_state(&writer, &fx->replicas[0].state);
    assert_int_equal(ipc_send(fx->replicas[0].fd, IPC_PROBE_STATE, held, &writer, 1000), ESCROW_OK);
    fx_ping(fx);
    fx_ping(fx);
    publish_next(fx, false);
    resume_tpm(fx);
    for (size_t i = 0; i < ARRAY_LEN(asked); i++)
        assert_refused(fx, &asked[i], REASON_KEY_UNKNOWN);
    assert_released_since(fx, commands, AT_WORK);
    end_releases(asked, ARRAY_LEN(asked));
}

/* Another roster, which the key is in too: decided again, by that. */
static void test_roster_changed(void **state)
{
    struct keeper_fixture *fx = *state;
    struct asked asked[AT_WORK + 1];

    warm_up(fx);
    stop_tpm(fx);
    ask_releases(fx, asked, AT_WORK + 1);
    publish_next(fx, true);
    wake_tpm(fx);
    for (size_t i = 0; i < ARRAY_LEN(asked); i++)
        assert_granted(fx, &asked[i]);
    fx_wait_count(fx, "unfinished", "roster_changed", AT_WORK + 1);
    fx_wait_count(fx, "release", NULL, 1 + 2 * (AT_WORK + 1));
    end_releases(asked, AT_WORK + 1);
}

/* As front says of a client that vanished, or whose certificate was revoked. */
static void test_client_gone(void **state)
{
    struct keeper_fixture *fx = *state;
    struct asked asked[AT_WORK + 1];
    uint64_t commands;

    warm_up(fx);
    commands = fx_tpm_commands(fx);
    stop_tpm(fx);
    ask_releases(fx, asked, AT_WORK + 1);
    assert_int_equal(ipc_send(fx->front_fd, IPC_GONE, asked[0].id, NULL, 1000), ESCROW_OK);
    assert_int_equal(ipc_send(fx->front_fd, IPC_GONE, asked[AT_WORK].id, NULL, 1000), ESCROW_OK);
    /* Who waits goes at once, who is in the TPM's hands when that is done. */
    fx_wait_count(fx, "unfinished", NULL, 1);
    wake_tpm(fx);
    assert_granted(fx, &asked[1]);
    fx_wait_count(fx, "unfinished", "role_down", 2);
    assert_false(is_answered(asked[0].id));
    assert_false(is_answered(asked[AT_WORK].id));
    assert_released_since(fx, commands, AT_WORK);
    end_releases(asked, AT_WORK + 1);
}

static void test_front_gone(void **state)
{
    struct keeper_fixture *fx = *state;
    struct asked asked[AT_WORK + 1], next;

    warm_up(fx);
    stop_tpm(fx);
    ask_releases(fx, asked, AT_WORK + 1);
    fx_attach_front(fx);
    wake_tpm(fx);
    ask_releases(fx, &next, 1);
    assert_granted(fx, &next);
    fx_wait_count(fx, "unfinished", "role_down", AT_WORK + 1);
    end_releases(asked, AT_WORK + 1);
    end_releases(&next, 1);
}

/* The TPM hangs: its deadline ends all that waits for it, and nobody waits for a second one, which
 * would never come: after the first the clock stands still. */
static void test_tpm_hangs(void **state)
{
    struct keeper_fixture *fx = *state;
    struct asked asked[4], next;

    warm_up(fx);
    stop_tpm(fx);
    ask_releases(fx, asked, ARRAY_LEN(asked));
    boot_clock_pass(TPM_TIMEOUT_MS - 100);
    fx_ping(fx);
    assert_false(is_answered(asked[0].id));
    boot_clock_pass(100);
    for (size_t i = 0; i < ARRAY_LEN(asked); i++)
        assert_refused(fx, &asked[i], REASON_TPM_UNAVAILABLE);
    assert_true(fx_lacks(fx, REASON_TPM_UNAVAILABLE));
    fx_wait_count(fx, "unfinished", "tpm_unavailable", ARRAY_LEN(asked));
    /* It stays away, and the loop goes on. */
    fx_ping(fx);
    resume_tpm(fx);
    fx_wait_lacks(fx, REASON_TPM_UNAVAILABLE, false);
    ask_releases(fx, &next, 1);
    assert_granted(fx, &next);
    end_releases(asked, ARRAY_LEN(asked));
    end_releases(&next, 1);
}

static uint64_t send_deposit(struct keeper_fixture *fx)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_ADMIN, ACT_DEPOSIT, PURPOSE_DEPOSIT);
    CLEANUP(act_free_p) struct act *act = fx_deposit_act(fx, challenge, FX_PASSWORD);
    CLEANUP(cleanup_free) char *body = fx_sign(fx, FX_ADMIN, challenge, act);

    const uint64_t id = fx_send(fx, ROUTE_DEPOSIT, fx->actors[FX_ADMIN].identity, body);

    await(id);
    return id;
}

/* Who asks for much waits for himself: another identity comes after what the TPM has and one more.
 */
static void test_flood_of_another_identity(void **state)
{
    struct keeper_fixture *fx = *state;
    struct asked asked[AT_WORK + 6];
    uint64_t deposit;

    fx_run_with(fx, "    brake: 100\n");
    fx_wait_primary(fx, "node-a");
    warm_up(fx);
    stop_tpm(fx);
    ask_releases(fx, asked, ARRAY_LEN(asked));
    deposit = send_deposit(fx);
    /* The first may be answered before what came with it is read, the second is not. */
    fx_ping(fx);
    fx_ping(fx);
    wake_tpm(fx);
    for (size_t i = 0; i < ARRAY_LEN(asked); i++)
        assert_granted(fx, &asked[i]);
    assert_int_equal(await_reply(fx, deposit)->status, 200);
    /* The deposit is recorded after its turn, the releases were before: some may overtake there. On
     * a slow machine their facts have grown old, and it comes first. */
    assert_true(find(deposit)->place <= 1 + AT_WORK + 5);
    end_releases(asked, ARRAY_LEN(asked));
}

/* Of deposits of the same version one is taken, though all were good when they came. */
static void test_deposits_of_one_version(void **state)
{
    struct keeper_fixture *fx = *state;
    uint64_t deposits[AT_WORK + 2];

    warm_up(fx);
    stop_tpm(fx);
    for (size_t i = 0; i < ARRAY_LEN(deposits); i++)
        deposits[i] = send_deposit(fx);
    wake_tpm(fx);
    assert_int_equal(await_reply(fx, deposits[0])->status, 200);
    for (size_t i = 1; i < ARRAY_LEN(deposits); i++)
        assert_int_equal(await_reply(fx, deposits[i])->reason, REASON_VERSION_MISMATCH);
    fx_wait_count(fx, "deposit", NULL, 2);
}

/* Who has waited for too long is not handed to the TPM when it is free at last: nobody is there any
 * more, and another request may have been served meanwhile. */
static void test_waited_too_long(void **state)
{
    struct keeper_fixture *fx = *state;
    struct asked asked[AT_WORK + 1];
    uint64_t deposit;

    warm_up(fx);
    stop_tpm(fx);
    ask_releases(fx, asked, AT_WORK + 1);
    deposit = send_deposit(fx);
    /* The first may be answered before what came with it is read, the second is not. */
    fx_ping(fx);
    fx_ping(fx);
    boot_clock_pass(WAITED_MS);
    wake_tpm(fx);
    assert_refused(fx, &asked[AT_WORK], REASON_DEADLINE);
    assert_int_equal(await_reply(fx, deposit)->reason, REASON_DEADLINE);
    /* The TPM's thread had this one: its facts are too old, and there is no time to ask again. */
    assert_refused(fx, &asked[1], REASON_DEADLINE);
    fx_wait_count(fx, "unfinished", "facts_old", 1);
    assert_int_equal(fx_count(fx, "release", NULL), 1 + AT_WORK + 1);
    /* By its turn; not because what it rests on has grown old too. */
    fx_wait_count(fx, "unfinished", "deadline", 1);
    assert_int_equal(fx_count(fx, "deposit", NULL), 1);
    end_releases(asked, AT_WORK + 1);
}

/* ---- the keeper is to stop ---- */

static void tell_to_stop(struct keeper_fixture *fx)
{
    fx->options.may_lose = true;
    assert_int_equal(ipc_send(fx->supervisor_fd, IPC_SHUTDOWN, 0, NULL, 1000), ESCROW_OK);
}

static bool has_ended(struct keeper_fixture *fx)
{
    return fx->pid == 0;
}

static void assert_ended_well(struct keeper_fixture *fx)
{
    fx_until(fx, has_ended);
    assert_true(WIFEXITED(fx->exit_status));
    assert_int_equal(WEXITSTATUS(fx->exit_status), 0);
    fx->options.may_lose = false;
}

/* What the TPM has is finished; for what waits it is decided by whoever comes next, by the policy
 * that is in force then. */
static void test_policy_changed(void **state)
{
    struct keeper_fixture *fx = *state;
    struct asked asked[AT_WORK + 1], next;

    warm_up(fx);
    stop_tpm(fx);
    ask_releases(fx, asked, AT_WORK + 1);
    tell_to_stop(fx);
    assert_refused(fx, &asked[AT_WORK], REASON_SHUTTING_DOWN);
    wake_tpm(fx);
    for (size_t i = 0; i < AT_WORK; i++)
        assert_granted(fx, &asked[i]);
    assert_ended_well(fx);
    boot_clock_go_on();
    fx_run_with(fx, "    brake: 1\n");
    fx_wait_primary(fx, "node-b");
    fx_wait_count(fx, "unfinished", "shutting_down", 1);
    prepare(fx, &next);
    send_release(fx, &next);
    assert_int_equal(await_reply(fx, next.id)->status, 202);
    fx_wait_count(fx, "release", "brake", 1);
    end_releases(asked, AT_WORK + 1);
    end_releases(&next, 1);
}

/* Its own deadline passes with a TPM that hangs, before that one's: it ends well, and the log says
 * what was not done. */
static void test_stopped_with_a_hung_tpm(void **state)
{
    struct keeper_fixture *fx = *state;
    struct asked asked[AT_WORK + 1];

    fx_shut_down(fx);
    fx->config.limits.shutdown_ms = STOP_MS;
    fx_run(fx);
    fx_wait_primary(fx, "node-a");
    warm_up(fx);
    stop_tpm(fx);
    ask_releases(fx, asked, AT_WORK + 1);
    tell_to_stop(fx);
    assert_refused(fx, &asked[AT_WORK], REASON_SHUTTING_DOWN);
    boot_clock_pass(STOP_MS);
    for (size_t i = 0; i < AT_WORK; i++)
        assert_refused(fx, &asked[i], REASON_TPM_UNAVAILABLE);
    assert_ended_well(fx);
    resume_tpm(fx);
    fx_run(fx);
    fx_wait_count(fx, "unfinished", "tpm_unavailable", AT_WORK);
    fx_wait_count(fx, "shutdown", NULL, 3);
    end_releases(asked, AT_WORK + 1);
}

static int setup(void **state)
{
    struct keeper_fixture *fx;
    int status = fx_setup_ready(state);

    /* Without a wait for rivals the facts' age is the keeper's own limit alone, and many releases
     * are asked for. */
    fx = *state;
    if (status)
        return status;
    fx_run_with(fx, "    rival_wait: 0s\n    retries: 100\n");
    fx_wait_primary(fx, "node-a");
    return 0;
}

static int teardown(void **state)
{
    struct keeper_fixture *fx = *state;

    resume_tpm(fx);
    fx_teardown(state);
    boot_clock_move(0);
    return 0;
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_loop_goes_on),
        TEST(test_many_wait),
        TEST(test_facts_grow_old),
        TEST(test_facts_grow_old_and_wrong),
        TEST(test_key_revoked),
        TEST(test_late_answer_is_no_turn),
        TEST(test_roster_changed),
        TEST(test_client_gone),
        TEST(test_front_gone),
        TEST(test_tpm_hangs),
        TEST(test_flood_of_another_identity),
        TEST(test_deposits_of_one_version),
        TEST(test_waited_too_long),
        TEST(test_policy_changed),
        TEST(test_stopped_with_a_hung_tpm),
    };

    wall_clock_share();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
