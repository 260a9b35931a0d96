/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/ipc.h"
#include "libescrow/ipc_probe.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define TIMEOUT_MS 5000

struct pair {
    int fds[2];
    struct ipc_buffer *buffer;
};

static int pair_setup(void **state)
{
    struct pair *pair = calloc(1, sizeof(*pair));

    *state = pair;
    if (!pair)
        return -1;
    pair->buffer = ipc_buffer_new();
    return pair->buffer && ipc_pair(pair->fds) == ESCROW_OK ? 0 : -1;
}

static int pair_teardown(void **state)
{
    struct pair *pair = *state;

    cleanup_close(&pair->fds[0]);
    cleanup_close(&pair->fds[1]);
    ipc_buffer_free(pair->buffer);
    free(pair);
    return 0;
}

static struct ipc_message message_of(const struct ipc_writer *writer)
{
    return (struct ipc_message){.payload = writer->bytes, .len = writer->len, .fd = -1};
}

static void test_every_field_comes_back(void **state)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    struct ipc_message message;
    struct ipc_reader reader;
    const uint8_t *bytes;
    size_t len;

    (void)state;
    ipc_put_u8(&writer, 200);
    ipc_put_u32(&writer, UINT32_MAX);
    ipc_put_u64(&writer, UINT64_MAX);
    ipc_put_i32(&writer, INT32_MIN);
    ipc_put_i64(&writer, INT64_MIN);
    ipc_put_bool(&writer, true);
    ipc_put_bytes(&writer, "a\0b", 3);
    ipc_put_bytes(&writer, NULL, 0);
    ipc_put_string(&writer, "text");
    ipc_put_string(&writer, NULL);
    assert_int_equal(writer.err, ESCROW_OK);

    message = message_of(&writer);
    ipc_reader_init(&reader, &message);
    assert_int_equal(ipc_get_u8(&reader), 200);
    assert_true(ipc_get_u32(&reader) == UINT32_MAX);
    assert_true(ipc_get_u64(&reader) == UINT64_MAX);
    assert_true(ipc_get_i32(&reader) == INT32_MIN);
    assert_true(ipc_get_i64(&reader) == INT64_MIN);
    assert_true(ipc_get_bool(&reader));
    bytes = ipc_get_bytes(&reader, 3, &len);
    assert_int_equal(len, 3);
    assert_memory_equal(bytes, "a\0b", 3);
    assert_non_null(ipc_get_bytes(&reader, 3, &len));
    assert_int_equal(len, 0);
    assert_string_equal(ipc_get_string(&reader, 4), "text");
    assert_string_equal(ipc_get_string(&reader, 4), "");
    assert_int_equal(ipc_reader_end(&reader), ESCROW_OK);
}

/* Every payload that is cut short anywhere, or has one byte too many, is refused. */
static void test_short_and_trailing_are_malformed(void **state)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    const struct probe_state sent = {.outcome = PROBE_ANSWERED, .server_name = "SQL1"};
    struct probe_state got = {.role = 77};
    struct ipc_message message;

    (void)state;
    ipc_put_probe_state(&writer, &sent);
    message = message_of(&writer);
    for (message.len = 0; message.len < writer.len; message.len++)
        assert_int_equal(ipc_get_probe_state(&message, &got), ESCROW_ERR_MALFORMED);
    assert_int_equal(got.role, 77); /* written only on success */
    assert_int_equal(ipc_get_probe_state(&message, &got), ESCROW_OK);
    assert_string_equal(got.server_name, "SQL1");
    ipc_put_u8(&writer, 0);
    message = message_of(&writer);
    assert_int_equal(ipc_get_probe_state(&message, &got), ESCROW_ERR_MALFORMED);
}

static void test_values_out_of_range_are_malformed(void **state)
{
    static const struct {
        uint32_t length;
        char bytes[6];
    } texts[] = {
        {0, ""},          /* no NUL */
        {3, "abc"},       /* no NUL */
        {4, "a\0b"},      /* a NUL inside */
        {6, "abcde"},     /* longer than allowed */
        {UINT32_MAX, ""}, /* longer than the payload */
    };
    struct ipc_reader reader;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
        struct ipc_message message;

        ipc_put_u32(&writer, texts[i].length);
        for (uint32_t at = 0; at < texts[i].length && at < sizeof(texts[i].bytes); at++)
            ipc_put_u8(&writer, (uint8_t)texts[i].bytes[at]);
        message = message_of(&writer);
        ipc_reader_init(&reader, &message);
        assert_string_equal(ipc_get_string(&reader, 4), "");
        assert_int_equal(ipc_reader_end(&reader), ESCROW_ERR_MALFORMED);
    }
    for (uint8_t value = 2; value < 5; value++) {
        struct ipc_message message = {.payload = &value, .len = 1};

        ipc_reader_init(&reader, &message);
        assert_false(ipc_get_bool(&reader));
        assert_int_equal(ipc_reader_end(&reader), ESCROW_ERR_MALFORMED);
    }
    for (uint32_t value = 0; value < 8; value++) {
        struct ipc_message message = {.payload = (const uint8_t *)&value, .len = sizeof(value)};

        ipc_reader_init(&reader, &message);
        assert_int_equal(ipc_get_enum(&reader, 2, 5), value >= 2 && value <= 5 ? value : 0);
        assert_int_equal(ipc_reader_end(&reader) == ESCROW_OK, value >= 2 && value <= 5);
    }
}

static void test_writer_refuses_what_is_too_large(void **state)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    struct pair *pair = *state;
    uint8_t *bytes = calloc(1, IPC_PAYLOAD_MAX);

    assert_non_null(bytes);
    ipc_put_bytes(&writer, bytes, IPC_PAYLOAD_MAX); /* 4 bytes too many */
    assert_int_equal(writer.err, ESCROW_ERR_MALFORMED);
    ipc_put_u8(&writer, 1); /* the first error stays */
    assert_int_equal(ipc_send(pair->fds[0], 1, 1, &writer, TIMEOUT_MS), ESCROW_ERR_MALFORMED);
    free(bytes);
}

static void test_maximum_message_passes(void **state)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    struct pair *pair = *state;
    struct ipc_message message;

    for (size_t i = 0; i < IPC_PAYLOAD_MAX; i++)
        ipc_put_u8(&writer, (uint8_t)(i * 31));
    assert_int_equal(ipc_send(pair->fds[0], 7, 42, &writer, TIMEOUT_MS), ESCROW_OK);
    assert_int_equal(ipc_receive(pair->fds[1], pair->buffer, TIMEOUT_MS, &message), ESCROW_OK);
    assert_int_equal(message.type, 7);
    assert_int_equal(message.id, 42);
    assert_int_equal(message.fd, -1);
    assert_int_equal(message.len, IPC_PAYLOAD_MAX);
    assert_memory_equal(message.payload, writer.bytes, message.len);
}

static void test_waits_have_a_deadline(void **state)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    struct pair *pair = *state;
    struct ipc_message message;
    enum escrow_err err;

    assert_int_equal(ipc_receive(pair->fds[1], pair->buffer, 20, &message), ESCROW_ERR_TIMEOUT);
    for (size_t i = 0; i < 65536; i++)
        ipc_put_u8(&writer, 1);
    do {
        err = ipc_send(pair->fds[0], 1, 1, &writer, 20);
    } while (!err);
    assert_int_equal(err, ESCROW_ERR_TIMEOUT);
}

static void test_peer_that_is_gone(void **state)
{
    struct pair *pair = *state;
    struct ipc_message message;

    /* It closed after an empty packet, or one of its ends only. */
    assert_int_equal(send(pair->fds[1], "", 0, 0), 0);
    assert_int_equal(shutdown(pair->fds[1], SHUT_WR), 0);
    assert_int_equal(ipc_receive(pair->fds[0], pair->buffer, TIMEOUT_MS, &message),
                     ESCROW_ERR_UNAVAILABLE);
    cleanup_close(&pair->fds[1]);
    assert_int_equal(ipc_send(pair->fds[0], 1, 1, NULL, TIMEOUT_MS), ESCROW_ERR_UNAVAILABLE);
    assert_int_equal(ipc_receive(pair->fds[0], pair->buffer, TIMEOUT_MS, &message),
                     ESCROW_ERR_UNAVAILABLE);
}

/* Its last words count, although it went without having read ours. */
static void test_peer_that_is_gone_unread(void **state)
{
    struct pair *pair = *state;
    struct ipc_message message;

    assert_int_equal(ipc_send(pair->fds[0], 1, 0, NULL, TIMEOUT_MS), ESCROW_OK);
    assert_int_equal(ipc_send(pair->fds[1], 2, 0, NULL, TIMEOUT_MS), ESCROW_OK);
    assert_int_equal(ipc_send(pair->fds[1], 3, 0, NULL, TIMEOUT_MS), ESCROW_OK);
    cleanup_close(&pair->fds[1]);
    for (uint32_t type = 2; type <= 3; type++) {
        assert_int_equal(ipc_receive(pair->fds[0], pair->buffer, TIMEOUT_MS, &message), ESCROW_OK);
        assert_int_equal(message.type, type);
    }
    assert_int_equal(ipc_receive(pair->fds[0], pair->buffer, TIMEOUT_MS, &message),
                     ESCROW_ERR_UNAVAILABLE);
}

static void test_wrong_frames_are_malformed(void **state)
{
    static const struct {
        uint32_t length;
        size_t sent; /* bytes of header and payload that are really sent */
    } frames[] = {{0, 0}, {0, 1}, {0, 15}, {0, 17}, {1, 16}, {4, 19}, {UINT32_MAX, 16}};
    struct pair *pair = *state;

    for (size_t i = 0; i < ARRAY_LEN(frames); i++) {
        struct {
            struct ipc_header header;
            uint8_t payload[16];
        } frame = {.header = {.type = 1, .length = frames[i].length}};
        struct ipc_message message;

        assert_int_equal(send(pair->fds[0], &frame, frames[i].sent, 0), frames[i].sent);
        assert_int_equal(ipc_receive(pair->fds[1], pair->buffer, TIMEOUT_MS, &message),
                         ESCROW_ERR_MALFORMED);
    }
}

static void test_larger_than_the_maximum_is_malformed(void **state)
{
    struct pair *pair = *state;
    size_t len = sizeof(struct ipc_header) + IPC_PAYLOAD_MAX + 1;
    uint8_t *packet = calloc(1, len);
    struct ipc_message message;

    assert_non_null(packet);
    ((struct ipc_header *)packet)->length = (uint32_t)IPC_PAYLOAD_MAX + 1;
    assert_int_equal(send(pair->fds[0], packet, len, 0), len);
    assert_int_equal(ipc_receive(pair->fds[1], pair->buffer, TIMEOUT_MS, &message),
                     ESCROW_ERR_MALFORMED);
    free(packet);
}

static int open_fds(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void test_a_descriptor_is_passed(void **state)
{
    const struct ipc_header header = {.type = 3, .id = 9};
    struct pair *pair = *state;
    struct ipc_message message;

    assert_int_equal(ipc_try_send(pair->fds[0], &header, NULL, STDERR_FILENO), ESCROW_OK);
    assert_int_equal(ipc_receive(pair->fds[1], pair->buffer, TIMEOUT_MS, &message), ESCROW_OK);
    assert_true(message.fd >= 0);
    assert_int_equal(fcntl(message.fd, F_GETFD), FD_CLOEXEC);
    close(message.fd);
}

/* More than one, or with a wrong frame: none stays open. */
static void test_unexpected_descriptors_are_closed(void **state)
{
    struct pair *pair = *state;

    for (size_t count = 1; count <= 8; count++) {
        struct ipc_header header = {.length = count == 1 ? 1 : 0};
        struct iovec part = {&header, sizeof(header)};
        union {
            struct cmsghdr header;
            uint8_t bytes[CMSG_SPACE(8 * sizeof(int))];
        } control = {0};
        struct msghdr sent = {.msg_iov = &part,
                              .msg_iovlen = 1,
                              .msg_control = &control,
                              .msg_controllen = CMSG_SPACE(count * sizeof(int))};
        struct ipc_message message;
        int before = open_fds();

        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
        for (size_t i = 0; i < count; i++)
            memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &(int){STDERR_FILENO},
                   sizeof(int));
        assert_int_equal(sendmsg(pair->fds[0], &sent, 0), sizeof(header));
        assert_int_equal(ipc_receive(pair->fds[1], pair->buffer, TIMEOUT_MS, &message),
                         ESCROW_ERR_MALFORMED);
        assert_int_equal(open_fds(), before);
    }
}

static void test_probe_messages(void **state)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    CLEANUP(ipc_writer_deinit) struct ipc_writer answer = {0};
    struct ipc_probe_question question = {.target = 3, .nonce = {1, 2, 3}, .login = "svc"};
    struct ipc_probe_opens opens = {.opens = PROBE_OPENS_NO, .sql_error = 15581};
    struct ipc_probe_question got;
    struct ipc_probe_opens got_opens;
    struct ipc_message message;

    (void)state;
    ipc_put_probe_question(&writer, IPC_PROBE_ASK_SESSION, &question);
    message = message_of(&writer);
    message.type = IPC_PROBE_ASK_SESSION;
    assert_int_equal(ipc_get_probe_question(&message, &got), ESCROW_OK);
    assert_int_equal(got.target, 3);
    assert_memory_equal(got.nonce, question.nonce, sizeof(got.nonce));
    assert_string_equal(got.login, "svc");
    message.type = IPC_PROBE_ASK_STATE; /* the same bytes under another question */
    assert_int_equal(ipc_get_probe_question(&message, &got), ESCROW_ERR_MALFORMED);

    ipc_put_probe_opens(&answer, &opens);
    message = message_of(&answer);
    assert_int_equal(ipc_get_probe_opens(&message, &got_opens), ESCROW_OK);
    assert_int_equal(got_opens.opens, PROBE_OPENS_NO);
    assert_int_equal(got_opens.sql_error, 15581);
}

static void test_probe_echo(void **state)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    CLEANUP(ipc_writer_deinit) struct ipc_writer answer = {0};
    struct ipc_probe_question question = {.target = 3, .nonce = {1, 2, 3}, .login = "svc"};
    struct probe_echo echo = {PROBE_SQL_ERROR, false, true, 976, true}, got_echo;
    struct ipc_probe_question got;
    struct ipc_message message;

    (void)state;
    ipc_put_probe_question(&writer, IPC_PROBE_ASK_ECHO, &question);
    message = message_of(&writer);
    message.type = IPC_PROBE_ASK_ECHO;
    assert_int_equal(ipc_get_probe_question(&message, &got), ESCROW_OK);
    assert_int_equal(got.target, 3);
    assert_memory_equal(got.nonce, question.nonce, sizeof(got.nonce));
    assert_string_equal(got.login, ""); /* it is not asked for anybody's session */
    message.type = IPC_PROBE_ASK_SESSION;
    assert_int_equal(ipc_get_probe_question(&message, &got), ESCROW_ERR_MALFORMED);

    ipc_put_probe_echo(&answer, &echo);
    message = message_of(&answer);
    assert_int_equal(ipc_get_probe_echo(&message, &got_echo), ESCROW_OK);
    assert_int_equal(got_echo.outcome, PROBE_SQL_ERROR);
    assert_false(got_echo.is_found);
    assert_true(got_echo.is_late);
    assert_int_equal(got_echo.sql_error, 976);
    assert_true(got_echo.is_closed);
}

/* As many as there may be, with the longest texts: they fit in a message, and come back. */
static void test_states_of_many(void **state)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0}, question = {0};
    CLEANUP(cleanup_free) struct ipc_probe_states *got = NULL;
    CLEANUP(cleanup_free)
    struct ipc_probe_states *sent =
        calloc(1, sizeof(*sent) + PROBE_STATES_MAX * sizeof(sent->items[0]));
    struct ipc_probe_question asked = {.target = 7, .count = PROBE_STATES_MAX};
    struct ipc_message message;

    (void)state;
    assert_non_null(sent);
    sent->count = PROBE_STATES_MAX;
    for (size_t i = 0; i < sent->count; i++) {
        struct probe_state *item = &sent->items[i];

        item->outcome = PROBE_SQL_ERROR;
        item->role = (int32_t)i;
        memset(item->diagnosis, 'd', sizeof(item->diagnosis) - 1);
        memset(item->server_name, 's', sizeof(item->server_name) - 1);
        memset(item->primary_replica, 'p', sizeof(item->primary_replica) - 1);
        memset(item->recovery_lsn, '9', sizeof(item->recovery_lsn) - 1);
    }
    ipc_put_probe_states(&writer, sent);
    message = message_of(&writer);
    assert_int_equal(ipc_get_probe_states(&message, &got), ESCROW_OK);
    assert_int_equal(got->count, sent->count);
    for (size_t i = 0; i < sent->count; i++)
        assert_memory_equal(&got->items[i], &sent->items[i], sizeof(got->items[i]));

    ipc_put_probe_question(&question, IPC_PROBE_ASK_STATES, &asked);
    message = message_of(&question);
    message.type = IPC_PROBE_ASK_STATES;
    assert_int_equal(ipc_get_probe_question(&message, &asked), ESCROW_OK);
    assert_int_equal(asked.target, 7);
    assert_int_equal(asked.count, PROBE_STATES_MAX);
    question.bytes[4] = PROBE_STATES_MAX + 1;
    assert_int_equal(ipc_get_probe_question(&message, &asked), ESCROW_ERR_MALFORMED);
    question.bytes[4] = 0;
    assert_int_equal(ipc_get_probe_question(&message, &asked), ESCROW_ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_comes_back),
        cmocka_unit_test(test_short_and_trailing_are_malformed),
        cmocka_unit_test(test_values_out_of_range_are_malformed),
        cmocka_unit_test_setup_teardown(test_writer_refuses_what_is_too_large, pair_setup,
                                        pair_teardown),
        cmocka_unit_test_setup_teardown(test_maximum_message_passes, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(test_waits_have_a_deadline, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(test_peer_that_is_gone, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(test_peer_that_is_gone_unread, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(test_wrong_frames_are_malformed, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(test_larger_than_the_maximum_is_malformed, pair_setup,
                                        pair_teardown),
        cmocka_unit_test_setup_teardown(test_a_descriptor_is_passed, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(test_unexpected_descriptors_are_closed, pair_setup,
                                        pair_teardown),
        cmocka_unit_test(test_probe_messages),
        cmocka_unit_test(test_probe_echo),
        cmocka_unit_test(test_states_of_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
