/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_probers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * Who has a prober's time. The test is the prober of node-a: what it is asked comes one question
 * after the other, so waiting is counted in questions.
 */

#define AT_ONCE 2 /* questions that a prober has */
#define FLOOD "spiffe://test/agent/flood"
#define OTHER "spiffe://test/agent/the-other"
#define SELF PROBERS_WATCH
#define SURVEY "survey"
#define PARTS 5 /* of the watch */
#define TIMEOUT_MS 5000

static const char rules[] = "groups:\n"
                            "  - name: g\n"
                            "    availability_group: AG\n"
                            "    databases: [D]\n"
                            "    replicas:\n"
                            "      - {instance: node-a, server_name: A}\n"
                            "      - {instance: node-b, server_name: B}\n";

struct scene {
    struct event_base *base;
    struct policy *policy;
    struct probers *probers;
    struct ipc_buffer *buffer;
    int prober;
};

/* What became of the questions, by what they were asked with. */
struct fate {
    unsigned answered, given_up;
};

static void on_answer(const struct prober_answer *answer, void *argument)
{
    struct fate *fate = argument;

    if (answer->state)
        fate->answered++;
    else
        fate->given_up++;
}

static void on_overdue(const char *instance, void *argument)
{
    (void)instance;
    (void)argument;
}

static int setup(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    struct probers_config config = {.on_overdue = on_overdue};
    CLEANUP(config_report_deinit) struct config_report report = {0};
    int fds[2];

    assert_non_null(scene);
    scene->base = event_base_new();
    scene->buffer = ipc_buffer_new();
    assert_int_equal(policy_load_bytes(rules, sizeof(rules) - 1, "policy", &report, &scene->policy),
                     ESCROW_OK);
    config.base = scene->base;
    config.policy = scene->policy;
    assert_int_equal(probers_new(&config, &scene->probers), ESCROW_OK);
    assert_int_equal(ipc_pair(fds), ESCROW_OK);
    scene->prober = fds[1];
    probers_attach(scene->probers, "node-a", fds[0]);
    *state = scene;
    return 0;
}

static int teardown(void **state)
{
    struct scene *scene = *state;

    probers_free(scene->probers);
    policy_free(scene->policy);
    event_base_free(scene->base);
    ipc_buffer_free(scene->buffer);
    close(scene->prober);
    free(scene);
    return 0;
}

/* The number of the target, here as long as the asker's name, says whose question it is. */
static enum escrow_err try_ask(struct scene *scene, const char *asker, struct fate *fate,
                               uint64_t *ret_id)
{
    const struct prober_ask ask = {
        .instance = "node-a",
        .asker = asker,
        .type = IPC_PROBE_ASK_STATE,
        .question = {.target = (uint32_t)strlen(asker), .login = ""},
        .on_answer = on_answer,
        .argument = fate,
    };

    return probers_ask(scene->probers, &ask, ret_id);
}

static uint64_t ask(struct scene *scene, const char *asker, struct fate *fate)
{
    uint64_t id = 0;

    assert_int_equal(try_ask(scene, asker, fate, &id), ESCROW_OK);
    return id;
}

/* What the prober has been sent and not answered; at most some. Returns how many. */
static size_t receive(struct scene *scene, struct ipc_header questions[static AT_ONCE + 1])
{
    size_t count = 0;

    event_base_loop(scene->base, EVLOOP_NONBLOCK);
    while (count <= AT_ONCE) {
        struct ipc_message message;
        struct ipc_probe_question question;

        if (ipc_try_receive(scene->prober, scene->buffer, &message) != ESCROW_OK)
            break;
        assert_int_equal(ipc_get_probe_question(&message, &question), ESCROW_OK);
        questions[count++] = (struct ipc_header){.type = question.target, .id = message.id};
    }
    return count;
}

static void answer(struct scene *scene, uint64_t id)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    ipc_put_probe_state(&writer, &(struct probe_state){.outcome = PROBE_ANSWERED});
    assert_int_equal(ipc_send(scene->prober, IPC_PROBE_STATE, id, &writer, TIMEOUT_MS), ESCROW_OK);
    event_base_loop(scene->base, EVLOOP_ONCE);
}

/* Answers one after the other until this asker's has had its turn; after how many others? */
static unsigned answer_until(struct scene *scene, const char *asker)
{
    struct ipc_header open[2 * AT_ONCE + 1] = {0};
    unsigned others = 0;
    size_t count = 0;

    for (;;) {
        count += receive(scene, &open[count]);
        assert_in_range(count, 1, AT_ONCE);
        if (open[0].type == strlen(asker))
            return others;
        answer(scene, open[0].id);
        others++;
        count--;
        memmove(&open[0], &open[1], count * sizeof(open[0]));
    }
}

/* Nobody's many delay another's one: it waits for those at work, and one turn of the flood. */
static void test_a_flood_waits_for_itself(void **state)
{
    struct scene *scene = *state;
    struct fate flood = {0}, other = {0};

    for (int i = 0; i < PROBERS_PER_ASKER; i++)
        ask(scene, FLOOD, &flood);
    ask(scene, OTHER, &other);
    assert_int_equal(answer_until(scene, OTHER), AT_ONCE + 1);
}

/* What the watch does not hear for long would count as gone: a flood must not be able to do that.
 * It waits for those at work alone. */
static void test_the_watch_goes_on_in_a_flood(void **state)
{
    struct scene *scene = *state;
    struct fate flood = {0}, watch = {0};

    for (int i = 0; i < PROBERS_PER_ASKER; i++)
        ask(scene, FLOOD, &flood);
    ask(scene, SELF, &watch);
    assert_int_equal(answer_until(scene, SELF), AT_ONCE);
}

/* Answers so many, one after the other: whose they are, by the length of the asker's name. */
static void answer_many(struct scene *scene, unsigned many, size_t ret_lengths[])
{
    struct ipc_header open[2 * AT_ONCE + 1] = {0};
    size_t count = 0;

    for (unsigned i = 0; i < many; i++) {
        count += receive(scene, &open[count]);
        assert_in_range(count, 1, AT_ONCE);
        ret_lengths[i] = open[0].type;
        answer(scene, open[0].id);
        count--;
        memmove(&open[0], &open[1], count * sizeof(open[0]));
    }
}

/* The watch never waits for the survey's many, nor others for all parts of the watch. */
static void test_the_watch_has_every_other_turn(void **state)
{
    struct scene *scene = *state;
    struct fate survey = {0}, watch = {0};
    size_t lengths[AT_ONCE + 2 * PARTS];

    for (int i = 0; i < PROBERS_PER_ASKER; i++)
        ask(scene, SURVEY, &survey);
    for (int i = 0; i < PARTS; i++)
        ask(scene, SELF, &watch);
    answer_many(scene, ARRAY_LEN(lengths), lengths);
    for (size_t i = AT_ONCE; i < ARRAY_LEN(lengths); i += 2) {
        assert_int_equal(lengths[i], strlen(SELF));
        assert_int_equal(lengths[i + 1], strlen(SURVEY));
    }
    assert_int_equal(watch.answered, PARTS);
}

/* Of one identity so many; another one still has its place, and whoever had an answer has again. */
static void test_one_asker_is_bounded(void **state)
{
    struct scene *scene = *state;
    struct ipc_header open[AT_ONCE + 1];
    struct fate flood = {0}, other = {0};
    uint64_t id;

    for (int i = 0; i < PROBERS_PER_ASKER; i++)
        ask(scene, FLOOD, &flood);
    assert_int_equal(try_ask(scene, FLOOD, &flood, &id), ESCROW_ERR_DENIED);
    ask(scene, OTHER, &other);
    assert_int_equal(receive(scene, open), AT_ONCE);
    answer(scene, open[0].id);
    assert_int_equal(flood.answered, 1);
    ask(scene, FLOOD, &flood);
    assert_int_equal(try_ask(scene, FLOOD, &flood, &id), ESCROW_ERR_DENIED);
}

/* Many identities together have a bound too, and it is not the watch's. */
static void test_all_askers_are_bounded(void **state)
{
    struct scene *scene = *state;
    struct fate many = {0};
    char asker[64];
    uint64_t id;

    for (int i = 0; i < PROBERS_WAITING_MAX; i++) {
        snprintf(asker, sizeof(asker), "spiffe://test/agent/%d", i / PROBERS_PER_ASKER);
        ask(scene, asker, &many);
    }
    assert_int_equal(try_ask(scene, OTHER, &many, &id), ESCROW_ERR_DENIED);
    for (int i = 0; i < 2 * PROBERS_PER_ASKER; i++)
        ask(scene, SELF, &many);
}

/* Who gave up is not asked for: the prober's time is the others'. */
static void test_what_nobody_waits_for_is_not_asked(void **state)
{
    struct scene *scene = *state;
    struct fate gone = {0}, other = {0};
    uint64_t ids[PROBERS_PER_ASKER];

    for (int i = 0; i < PROBERS_PER_ASKER; i++)
        ids[i] = ask(scene, FLOOD, &gone);
    for (int i = 0; i < PROBERS_PER_ASKER; i++)
        probers_forget(scene->probers, ids[i]);
    for (int i = 0; i < PROBERS_PER_ASKER - AT_ONCE; i++)
        ask(scene, FLOOD, &gone);
    ask(scene, OTHER, &other);
    assert_int_equal(answer_until(scene, OTHER), AT_ONCE + 1);
    assert_int_equal(gone.answered, 1);
    assert_int_equal(gone.given_up, 0);
}

/* A prober that is gone has answered nobody, and everybody hears of it once. */
static void test_a_lost_prober_ends_all(void **state)
{
    struct scene *scene = *state;
    struct fate sent = {0}, waiting = {0};
    uint64_t id;

    for (int i = 0; i < AT_ONCE; i++)
        ask(scene, FLOOD, &sent);
    for (int i = 0; i < 3; i++)
        ask(scene, OTHER, &waiting);
    shutdown(scene->prober, SHUT_RDWR);
    event_base_loop(scene->base, EVLOOP_ONCE);
    assert_int_equal(sent.given_up, AT_ONCE);
    assert_int_equal(waiting.given_up, 3);
    assert_int_equal(try_ask(scene, OTHER, &waiting, &id), ESCROW_ERR_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_flood_waits_for_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_watch_goes_on_in_a_flood, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_watch_has_every_other_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_asker_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_askers_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_nobody_waits_for_is_not_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_prober_ends_all, setup, teardown),
    };

    return cmocka_run_group_tests_name("probers", tests, NULL, NULL);
}
