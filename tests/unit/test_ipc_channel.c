/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/ipc_channel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TIMEOUT_MS 5000
#define STATE_A 1u
#define STATE_B 2u
#define STATE_C 4u

enum { MSG_A = 1, MSG_B, MSG_ANY, MSG_FD, MSG_BAD, MSG_FREE, MSG_LAST };

struct fixture {
    struct event_base *base;
    struct ipc_channel *channel;
    int peer;
    struct ipc_buffer *buffer;
    unsigned handled; /* bits by message type */
    unsigned closed;
    enum ipc_closed why;
    bool free_on_close;
};

static enum escrow_err note(struct ipc_channel *channel, const struct ipc_message *message,
                            void *argument)
{
    struct fixture *fixture = argument;
    int fd = message->fd;

    (void)channel;
    fixture->handled |= 1u << message->type;
    cleanup_close(&fd);
    return message->type == MSG_BAD ? ESCROW_ERR_MALFORMED : ESCROW_OK;
}

static enum escrow_err free_channel(struct ipc_channel *channel, const struct ipc_message *message,
                                    void *argument)
{
    struct fixture *fixture = argument;

    (void)message;
    ipc_channel_free(channel);
    fixture->channel = NULL;
    return ESCROW_OK;
}

static void on_close(struct ipc_channel *channel, enum ipc_closed why, void *argument)
{
    struct fixture *fixture = argument;

    fixture->closed++;
    fixture->why = why;
    if (fixture->free_on_close) {
        ipc_channel_free(channel);
        fixture->channel = NULL;
    }
}

static const struct ipc_permit permits[] = {
    {.type = MSG_A, .states = STATE_A, .handler = note},
    {.type = MSG_B, .states = STATE_B | STATE_C, .handler = note},
    {.type = MSG_ANY, .states = IPC_ANY_STATE, .handler = note},
    {.type = MSG_FD, .states = IPC_ANY_STATE, .handler = note, .takes_fd = true},
    {.type = MSG_BAD, .states = IPC_ANY_STATE, .handler = note},
    {.type = MSG_FREE, .states = IPC_ANY_STATE, .handler = free_channel},
};

static int setup_with(void **state, bool is_in_turn)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct ipc_channel_config config = {.name = "peer",
                                        .permits = permits,
                                        .permit_count = ARRAY_LEN(permits),
                                        .state = STATE_A,
                                        .is_in_turn = is_in_turn,
                                        .on_close = on_close};
    int fds[2];

    *state = fixture;
    if (!fixture || ipc_pair(fds) != ESCROW_OK)
        return -1;
    fixture->base = event_base_new();
    fixture->buffer = ipc_buffer_new();
    config.base = fixture->base;
    config.argument = fixture;
    fixture->peer = fds[1];
    return ipc_channel_new(&config, fds[0], &fixture->channel) == ESCROW_OK ? 0 : -1;
}

static int setup(void **state)
{
    return setup_with(state, false);
}

static int setup_in_turn(void **state)
{
    return setup_with(state, true);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    ipc_channel_free(fixture->channel);
    event_base_free(fixture->base);
    cleanup_close(&fixture->peer);
    ipc_buffer_free(fixture->buffer);
    free(fixture);
    return 0;
}

/* Everything that is ready now has been handled when this returns. */
static void run(struct fixture *fixture)
{
    for (int i = 0; i < 4; i++)
        event_base_loop(fixture->base, EVLOOP_NONBLOCK);
}

static void send_type(struct fixture *fixture, uint32_t type)
{
    assert_int_equal(ipc_send(fixture->peer, type, 1, NULL, TIMEOUT_MS), ESCROW_OK);
    run(fixture);
}

/* Every message type in every state, with and without a descriptor. */
static void test_permit_table(void **state)
{
    for (uint32_t type = 0; type <= MSG_LAST; type++) {
        for (uint32_t bit = STATE_A; bit <= STATE_C; bit <<= 1) {
            for (int passed = 0; passed < 2; passed++) {
                const struct ipc_header header = {.type = type};
                bool is_permitted;
                struct fixture *fixture;
                void *own = NULL;

                if (type == MSG_FREE || type == MSG_BAD)
                    continue;
                assert_int_equal(setup(&own), 0);
                fixture = own;
                if (!fixture)
                    return;
                ipc_channel_set_state(fixture->channel, bit);
                assert_int_equal(
                    ipc_try_send(fixture->peer, &header, NULL, passed ? STDERR_FILENO : -1),
                    ESCROW_OK);
                run(fixture);
                is_permitted = (type == MSG_A && bit == STATE_A && !passed) ||
                               (type == MSG_B && bit != STATE_A && !passed) ||
                               (type == MSG_ANY && !passed) || (type == MSG_FD && passed);
                assert_int_equal(fixture->handled, is_permitted ? 1u << type : 0);
                assert_int_equal(fixture->closed, is_permitted ? 0 : 1);
                if (!is_permitted)
                    assert_int_equal(fixture->why, IPC_CLOSED_NOT_PERMITTED);
                teardown(&own);
            }
        }
    }
    (void)state;
}

static void test_nothing_is_handled_after_a_forbidden_message(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(ipc_send(fixture->peer, MSG_B, 1, NULL, TIMEOUT_MS), ESCROW_OK);
    assert_int_equal(ipc_send(fixture->peer, MSG_A, 1, NULL, TIMEOUT_MS), ESCROW_OK);
    run(fixture);
    assert_int_equal(fixture->handled, 0);
    assert_int_equal(fixture->closed, 1);
    assert_int_equal(ipc_channel_send(fixture->channel, MSG_A, 1, NULL), ESCROW_ERR_UNAVAILABLE);
}

static void test_malformed_payload_closes(void **state)
{
    struct fixture *fixture = *state;

    send_type(fixture, MSG_BAD);
    assert_int_equal(fixture->closed, 1);
    assert_int_equal(fixture->why, IPC_CLOSED_MALFORMED);
}

static void test_malformed_frame_closes(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(write(fixture->peer, "x", 1), 1);
    run(fixture);
    assert_int_equal(fixture->closed, 1);
    assert_int_equal(fixture->why, IPC_CLOSED_MALFORMED);
}

static void test_peer_that_dies_closes_once(void **state)
{
    struct fixture *fixture = *state;

    fixture->free_on_close = true;
    cleanup_close(&fixture->peer);
    assert_int_equal(ipc_channel_send(fixture->channel, MSG_A, 1, NULL), ESCROW_ERR_UNAVAILABLE);
    assert_int_equal(fixture->closed, 0); /* never from inside send */
    run(fixture);
    assert_int_equal(fixture->closed, 1);
    assert_int_equal(fixture->why, IPC_CLOSED_BY_PEER);
    assert_null(fixture->channel);
}

static void test_handler_may_free(void **state)
{
    struct fixture *fixture = *state;

    send_type(fixture, MSG_FREE);
    assert_null(fixture->channel);
    assert_int_equal(fixture->closed, 0);
}

static void test_queue_is_bounded_and_in_order(void **state)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    struct fixture *fixture = *state;
    uint64_t sent = 0, received = 0;
    struct ipc_message message;
    enum escrow_err err;

    for (size_t i = 0; i < 65536; i++)
        ipc_put_u8(&writer, 1);
    while ((err = ipc_channel_send(fixture->channel, MSG_A, sent, &writer)) == ESCROW_OK)
        sent++;
    assert_int_equal(err, ESCROW_ERR_UNAVAILABLE);
    assert_true(ipc_channel_queued(fixture->channel) <= IPC_QUEUE_MESSAGES);
    assert_int_equal(ipc_channel_queued(fixture->channel), IPC_QUEUE_BYTES / writer.len);
    assert_int_equal(fixture->closed, 0);
    while (received < sent) {
        event_base_loop(fixture->base, EVLOOP_NONBLOCK);
        assert_int_equal(ipc_receive(fixture->peer, fixture->buffer, TIMEOUT_MS, &message),
                         ESCROW_OK);
        assert_int_equal(message.id, received++);
    }
    assert_int_equal(ipc_channel_queued(fixture->channel), 0);
    assert_int_equal(ipc_channel_send(fixture->channel, MSG_A, 0, &writer), ESCROW_OK);
}

/* Who does not read is not heard; who reads again is, and so is the end of who never does. */
static void test_in_turn(void **state)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    struct fixture *fixture = *state;
    struct ipc_message message;
    unsigned waiting = 0;

    for (size_t i = 0; i < 65536; i++)
        ipc_put_u8(&writer, 1);
    for (int round = 0; round < 2; round++) {
        for (; ipc_channel_queued(fixture->channel) == 0; waiting++)
            assert_int_equal(ipc_channel_send(fixture->channel, MSG_A, 1, &writer), ESCROW_OK);
        fixture->handled = 0;
        send_type(fixture, MSG_ANY);
        assert_int_equal(fixture->handled, 0);
        for (; round == 0 && waiting > 0; waiting--) {
            assert_int_equal(ipc_receive(fixture->peer, fixture->buffer, TIMEOUT_MS, &message),
                             ESCROW_OK);
            run(fixture);
        }
        assert_int_equal(fixture->handled, round == 0 ? 1u << MSG_ANY : 0);
    }
    cleanup_close(&fixture->peer);
    run(fixture);
    assert_int_equal(fixture->closed, 1);
    assert_int_equal(fixture->why, IPC_CLOSED_BY_PEER);
}

static void test_queued_descriptor_arrives(void **state)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    struct fixture *fixture = *state;
    struct ipc_message message = {.fd = -1};

    for (size_t i = 0; i < 65536; i++)
        ipc_put_u8(&writer, 1);
    while (ipc_channel_queued(fixture->channel) == 0)
        assert_int_equal(ipc_channel_send(fixture->channel, MSG_A, 1, &writer), ESCROW_OK);
    assert_int_equal(ipc_channel_send_fd(fixture->channel, MSG_FD, 2, NULL, dup(STDERR_FILENO)),
                     ESCROW_OK);
    while (message.type != MSG_FD) {
        assert_int_equal(message.fd, -1);
        event_base_loop(fixture->base, EVLOOP_NONBLOCK);
        assert_int_equal(ipc_receive(fixture->peer, fixture->buffer, TIMEOUT_MS, &message),
                         ESCROW_OK);
    }
    assert_true(message.fd >= 0);
    close(message.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permit_table),
        cmocka_unit_test_setup_teardown(test_nothing_is_handled_after_a_forbidden_message, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_malformed_payload_closes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_frame_closes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peer_that_dies_closes_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_handler_may_free, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_is_bounded_and_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_turn, setup_in_turn, teardown),
        cmocka_unit_test_setup_teardown(test_queued_descriptor_arrives, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
