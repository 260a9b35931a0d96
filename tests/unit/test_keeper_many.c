/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/clock.h"
#include "libescrow/ipc_probe.h"
#include "libescrow/json.h"
#include "tests/unit/keeper_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/*
 * Very many databases on the same instances: what the watch and the survey ask then, and that each
 * database has its turn.
 */

enum { A, B, C }; /* fx->replicas */

#define GROUPS 2     /* beside the fixture's */
#define DATABASES 80 /* of each */
#define TARGETS (1 + GROUPS * DATABASES)

/* The policy's two groups more. */
static void run_with_many(struct keeper_fixture *fx)
{
    static char lines[GROUPS * DATABASES * 16 + 1000];
    int len = 0;

    for (int i = 0; i < GROUPS; i++) {
        len += snprintf(lines + len, sizeof(lines) - (size_t)len,
                        "  - name: many-%d\n    availability_group: AG-MANY-%d\n    databases: [",
                        i, i);
        for (int j = 0; j < DATABASES; j++)
            len += snprintf(lines + len, sizeof(lines) - (size_t)len, "%sdb-%d", j ? ", " : "", j);
        len += snprintf(lines + len, sizeof(lines) - (size_t)len,
                        "]\n    replicas:\n"
                        "      - {instance: node-a, server_name: SQLA}\n"
                        "      - {instance: node-b, server_name: SQLB}\n"
                        "      - {instance: node-c, server_name: SQLC}\n");
    }
    fx_run_with(fx, lines);
}

#define SINGLES 140 /* groups of one database each: more than one part of an instance */

/* As many groups more in the policy. */
static void run_with_singles(struct keeper_fixture *fx)
{
    static char lines[SINGLES * 256];
    int len = 0;

    for (int i = 0; i < SINGLES; i++)
        len += snprintf(lines + len, sizeof(lines) - (size_t)len,
                        "  - name: single-%d\n    availability_group: AG-%d\n"
                        "    databases: [db]\n    replicas:\n"
                        "      - {instance: node-a, server_name: SQLA}\n"
                        "      - {instance: node-b, server_name: SQLB}\n"
                        "      - {instance: node-c, server_name: SQLC}\n",
                        i, i);
    fx_run_with(fx, lines);
}

/* ---- the watch ---- */

/* Parts that a replica was asked for: how often, and with how many databases, by their first. */
static unsigned parts[TARGETS], counts[TARGETS];

static bool note_part(struct fx_replica *replica, const struct ipc_message *message, void *argument)
{
    struct ipc_probe_question question;

    (void)replica;
    (void)argument;
    if (message->type != IPC_PROBE_ASK_STATES)
        return false;
    assert_int_equal(ipc_get_probe_question(message, &question), ESCROW_OK);
    assert_in_range(question.target, 0, TARGETS - 1);
    parts[question.target]++;
    counts[question.target] = question.count;
    return false;
}

static bool have_parts_come(struct keeper_fixture *fx)
{
    (void)fx;
    return parts[0] >= 3 && parts[PROBE_STATES_MAX] >= 3;
}

/* All databases of an instance, each in one question of a round, and in no more than it takes. */
static void test_an_instance_is_asked_in_parts(void **state)
{
    struct keeper_fixture *fx = *state;
    unsigned others = 0;

    memset(parts, 0, sizeof(parts));
    fx->replicas[B].lie = note_part;
    fx_until(fx, have_parts_come);
    for (size_t i = 0; i < TARGETS; i++)
        others += i != 0 && i != PROBE_STATES_MAX && parts[i] != 0;
    assert_int_equal(others, 0);
    assert_int_equal(counts[0], PROBE_STATES_MAX);
    assert_int_equal(counts[PROBE_STATES_MAX], TARGETS - PROBE_STATES_MAX);
}

/* Of each database something else: its number tells what its role is. */
static int32_t role_of(uint32_t target)
{
    return target % 3 == 0 ? 0 : 2;
}

static bool tell_roles(struct fx_replica *replica, const struct ipc_message *message,
                       void *argument)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    CLEANUP(cleanup_free) struct ipc_probe_states *states = NULL;
    struct ipc_probe_question question;

    (void)argument;
    if (message->type != IPC_PROBE_ASK_STATES)
        return false;
    assert_int_equal(ipc_get_probe_question(message, &question), ESCROW_OK);
    states = calloc(1, sizeof(*states) + question.count * sizeof(states->items[0]));
    assert_non_null(states);
    states->count = question.count;
    for (uint32_t i = 0; i < question.count; i++) {
        states->items[i] = replica->state;
        states->items[i].role = role_of(question.target + i);
    }
    ipc_put_probe_states(&writer, states);
    assert_int_equal(ipc_send(replica->fd, IPC_PROBE_STATES, message->id, &writer, FX_DEADLINE_MS),
                     ESCROW_OK);
    return true;
}

/* How many databases have of this replica what was said of them. */
static unsigned count_right(struct keeper_fixture *fx, size_t replica)
{
    CLEANUP(json_free_p) json_t *status = NULL;
    const struct fx_reply *reply = fx_ask(fx, ROUTE_STATUS, fx->actors[FX_ADMIN].identity, "");
    const json_t *groups;
    unsigned count = 0;

    assert_non_null(reply->body);
    assert_int_equal(json_parse(reply->body, strlen(reply->body), 1 << 20, &status), ESCROW_OK);
    groups = json_object_get(status, "groups");
    assert_int_equal(json_array_size(groups), TARGETS);
    for (size_t i = 0; i < TARGETS; i++) {
        const json_t *known =
            json_array_get(json_object_get(json_array_get(groups, i), "replicas"), replica);
        const char *role = json_string_value(json_object_get(known, "role"));

        count += role && strcmp(role, role_of((uint32_t)i) ? "secondary" : "resolving") == 0;
    }
    return count;
}

/* What an instance says of a database is known of that one and of no other, in whichever part. */
static void test_each_database_is_known_for_itself(void **state)
{
    struct keeper_fixture *fx = *state;
    int64_t deadline_ms;

    fx->replicas[C].lie = tell_roles;
    for (deadline_ms = 0; count_right(fx, C) != TARGETS; deadline_ms += 50) {
        assert_in_range(deadline_ms, 0, FX_DEADLINE_MS);
        fx_serve(fx, 50);
    }
    assert_true(count_right(fx, B) < TARGETS);
}

/* ---- two groups ---- */

/* Databases of fx_setup_others: two of one group, one of another. */
enum { FIRST, FIRST_OTHER, SECOND };

static unsigned keys[3]; /* how often A was asked for the key of each */

/* node-a has the first group, but is resolving with its second database; node-b has the other. */
static struct probe_state state_of(const struct fx_replica *replica, uint32_t target)
{
    struct probe_state state = replica->state;

    if (target == FIRST_OTHER && state.role == 1)
        state.role = 0;
    if (target != SECOND)
        return state;
    state.role = strcmp(replica->instance, "node-b") == 0 ? 1 : 2;
    snprintf(state.primary_replica, sizeof(state.primary_replica), "SQLB");
    state.is_read_write = state.role == 1;
    return state;
}

static bool tell_groups(struct fx_replica *replica, const struct ipc_message *message,
                        void *argument)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    CLEANUP(cleanup_free) struct ipc_probe_states *states = NULL;
    struct ipc_probe_question question;

    assert_int_equal(ipc_get_probe_question(message, &question), ESCROW_OK);
    if (message->type == IPC_PROBE_ASK_OPENS && argument)
        keys[question.target]++;
    if (message->type != IPC_PROBE_ASK_STATES)
        return false;
    states = calloc(1, sizeof(*states) + question.count * sizeof(states->items[0]));
    assert_non_null(states);
    states->count = question.count;
    for (uint32_t i = 0; i < question.count; i++)
        states->items[i] = state_of(replica, question.target + i);
    ipc_put_probe_states(&writer, states);
    assert_int_equal(ipc_send(replica->fd, IPC_PROBE_STATES, message->id, &writer, FX_DEADLINE_MS),
                     ESCROW_OK);
    return true;
}

static unsigned rounds_awaited;

static bool are_rounds_over(struct keeper_fixture *fx)
{
    return fx->replicas[C].asked >= rounds_awaited;
}

static bool is_first_asked(struct keeper_fixture *fx)
{
    (void)fx;
    return keys[FIRST] >= 2;
}

/* What is heard of a database is nothing that was heard of another one, of its group or not. */
static void test_each_for_itself(void **state)
{
    struct keeper_fixture *fx = *state;

    memset(keys, 0, sizeof(keys));
    fx_wait_count(fx, "epoch", NULL, 2);
    for (int i = A; i <= C; i++)
        fx->replicas[i].lie = tell_groups;
    fx_wait_count(fx, "epoch", NULL, 3);
    rounds_awaited = fx->replicas[C].asked + 2;
    fx_until(fx, are_rounds_over);
    fx->replicas[A].argument = keys;
    fx_until(fx, is_first_asked);
    assert_int_equal(keys[FIRST_OTHER] + keys[SECOND], 0);
    assert_int_equal(fx_count(fx, "epoch", NULL), 3);
    fx_wait_primary(fx, "node-a");
}

/* Of the log, for all groups: a few a round of the watch, and each of them waits for the disk. */
#define COMMITS_MOST 16

/* A host dies: each of its groups gets its epoch, all in a few commits. */
static void test_epochs_come_together(void **state)
{
    struct keeper_fixture *fx = *state;
    const unsigned epochs = fx_count(fx, "epoch", NULL);
    const uint64_t commits = fx_commits(fx);

    assert_int_equal(epochs, 1 + SINGLES);
    fx_set_primary(fx, B);
    fx_wait_count(fx, "epoch", NULL, 2 * (1 + SINGLES));
    assert_in_range(fx_commits(fx) - commits, 1, COMMITS_MOST);
}

/* ---- the survey ---- */

/* Whose key was asked for, in the order in which A was; and what A has not answered yet. */
static uint32_t order[4 * TARGETS];
static size_t order_count;
static uint64_t held[8];
static size_t held_count;
static unsigned rounds; /* of the watch */
static bool is_slow;

#define SLOW_MS 250 /* for a key */

static bool note_opens(struct fx_replica *replica, const struct ipc_message *message,
                       void *argument)
{
    struct ipc_probe_question question;

    (void)replica;
    (void)argument;
    assert_int_equal(ipc_get_probe_question(message, &question), ESCROW_OK);
    rounds += message->type == IPC_PROBE_ASK_STATES && question.target == 0;
    if (message->type != IPC_PROBE_ASK_OPENS)
        return false;
    assert_true(order_count < ARRAY_LEN(order));
    order[order_count++] = question.target;
    if (!is_slow)
        return false;
    assert_true(held_count < ARRAY_LEN(held));
    held[held_count++] = message->id;
    return true;
}

static void answer_oldest(struct fx_replica *replica)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    const struct ipc_probe_opens opens = {.opens = PROBE_OPENS_YES};

    if (held_count == 0)
        return;
    ipc_put_probe_opens(&writer, &opens);
    assert_int_equal(ipc_send(replica->fd, IPC_PROBE_OPENS, held[0], &writer, FX_DEADLINE_MS),
                     ESCROW_OK);
    held_count--;
    memmove(&held[0], &held[1], held_count * sizeof(held[0]));
}

/* Where the first database of the other groups was asked about. */
static size_t first_of_many(void)
{
    size_t i = 0;

    while (i < order_count && order[i] != 1)
        i++;
    return i;
}

static bool have_all_been_asked(struct keeper_fixture *fx)
{
    (void)fx;
    return order_count >= first_of_many() + TARGETS;
}

/*
 * A prober that takes long for each key: the survey asks for more than it may have open there. The
 * watch is heard all the same, and when the prober is quick again nobody has lost his turn.
 */
static void test_every_key_has_its_turn(void **state)
{
    struct keeper_fixture *fx = *state;
    const int64_t began_ms = clock_boot_ms();
    int64_t next_ms = began_ms;

    order_count = held_count = rounds = 0;
    is_slow = true;
    fx->replicas[A].lie = note_opens;
    while (rounds < 9) {
        assert_in_range(clock_boot_ms() - began_ms, 0, FX_DEADLINE_MS);
        fx_serve(fx, 50);
        if (clock_boot_ms() < next_ms)
            continue;
        next_ms = clock_boot_ms() + SLOW_MS;
        answer_oldest(&fx->replicas[A]);
    }
    is_slow = false;
    while (held_count)
        answer_oldest(&fx->replicas[A]);
    fx_until(fx, have_all_been_asked);
    for (size_t i = 0; i < TARGETS; i++)
        assert_int_equal(order[first_of_many() + i], (1 + i) % TARGETS);
}

static int set_up(void **state)
{
    fx_setup_ready(state);
    run_with_many(*state);
    fx_wait_primary(*state, "node-a");
    return 0;
}

static int set_up_singles(void **state)
{
    struct keeper_fixture *fx;

    fx_setup_ready(state);
    fx = *state;
    run_with_singles(fx);
    fx_wait_count(fx, "epoch", NULL, 1 + SINGLES);
    return 0;
}

#define MANY(test) cmocka_unit_test_setup_teardown(test, set_up, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MANY(test_an_instance_is_asked_in_parts),
        cmocka_unit_test_setup_teardown(test_each_for_itself, fx_setup_others, fx_teardown),
        MANY(test_each_database_is_known_for_itself),
        cmocka_unit_test_setup_teardown(test_epochs_come_together, set_up_singles, fx_teardown),
        MANY(test_every_key_has_its_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
