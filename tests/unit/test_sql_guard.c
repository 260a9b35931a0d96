/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "libescrow/sql_guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PRELOGIN "\x12\x01\x00\x0a\x00\x00\x01\x00xy"
#define BATCH "\x01\x01\x00\x0a\x00\x00\x01\x00xy"
#define HELLO "\x16\x03\x01\x00\x02xy"
#define DATA "\x17\x03\x03\x00\x02xy"

struct pair {
    int near, far;
};

static int make_pair(void **state)
{
    static struct pair pair;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    CLEANUP(cleanup_close) int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    pair = (struct pair){socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), -1};
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&address, &size) ||
        connect(pair.near, (struct sockaddr *)&address, size))
        return 1;
    pair.far = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    *state = &pair;
    return pair.far < 0;
}

static int close_pair(void **state)
{
    struct pair *pair = *state;

    cleanup_close(&pair->near);
    cleanup_close(&pair->far);
    return 0;
}

static void check_passes(const struct pair *pair, const void *bytes, size_t len)
{
    char got[64];

    sql_guard_watch();
    assert_int_equal(send(pair->near, bytes, len, MSG_NOSIGNAL), len);
    assert_int_equal(recv(pair->far, got, len, MSG_WAITALL), len);
    assert_memory_equal(got, bytes, len);
    assert_true(sql_guard_seen().has_passed);
    assert_false(sql_guard_seen().has_refused);
}

static void check_refused(const struct pair *pair, const void *bytes, size_t len)
{
    struct pollfd far = {.fd = pair->far, .events = POLLIN};

    sql_guard_watch();
    errno = 0;
    assert_int_equal(send(pair->near, bytes, len, MSG_NOSIGNAL), -1);
    assert_int_equal(errno, EPERM);
    assert_true(sql_guard_seen().has_refused);
    assert_false(sql_guard_seen().has_passed);
    assert_int_equal(poll(&far, 1, 0), 0);
}

#define PASSES(pair, text) check_passes(pair, text, sizeof(text) - 1)
#define REFUSED(pair, text) check_refused(pair, text, sizeof(text) - 1)

static void test_lets_out_prelogin_and_tls(void **state)
{
    PASSES(*state, PRELOGIN);
    PASSES(*state, HELLO);
    PASSES(*state, "\x14\x03\x03\x00\x01\x01");
    PASSES(*state, "\x15\x03\x03\x00\x02xy");
    PASSES(*state, DATA);
    PASSES(*state, DATA DATA PRELOGIN);
}

static void test_refuses_clear_text(void **state)
{
    REFUSED(*state, BATCH);
    REFUSED(*state, "\x10\x01\x00\x0a\x00\x00\x01\x00xy"); /* LOGIN7 */
    REFUSED(*state, "\x03\x01\x00\x0a\x00\x00\x01\x00xy"); /* RPC */
    REFUSED(*state, "\x06\x01\x00\x08\x00\x00\x01\x00");   /* attention */
    REFUSED(*state, "\x0e\x01\x00\x0a\x00\x00\x01\x00xy"); /* transaction */
    REFUSED(*state, "\x12\x01\x00\x07\x00\x00\x01\x00");   /* shorter than its header */
    REFUSED(*state, "GET / HTTP/1.1\r\n");
    REFUSED(*state, "\x18\x03\x03\x00\x02xy"); /* heartbeat */
    REFUSED(*state, "\x17\x02\x03\x00\x02xy"); /* not TLS */
}

static void test_refuses_application_data_of_old_tls(void **state)
{
    REFUSED(*state, "\x17\x03\x01\x00\x02xy");
    REFUSED(*state, "\x17\x03\x02\x00\x02xy");
}

/* Nothing hides behind a good record, or in a cut header. */
static void test_looks_at_each_record(void **state)
{
    REFUSED(*state, DATA BATCH);
    REFUSED(*state, PRELOGIN BATCH);
    REFUSED(*state, DATA "\x17\x03\x03\x00");
    REFUSED(*state, PRELOGIN "\x12\x01\x00\x0a");
    REFUSED(*state, "\x17");
}

/* A record may come in parts, and only what is missing of it is not looked at. */
static void test_follows_a_record_over_sends(void **state)
{
    PASSES(*state, "\x17\x03\x03\x00\x08wxyz");
    PASSES(*state, "\x01\x02");
    REFUSED(*state, "\x01\x02" BATCH);
    PASSES(*state, "\x01\x02" DATA);
    REFUSED(*state, BATCH);
}

/* The kernel takes a part: the rest is owed, wherever the cut falls. */
static void test_follows_what_the_kernel_takes(void **state)
{
    const struct pair *pair = *state;
    int small = 1, on = 1;
    size_t len = (size_t)256 * 1024, sent = 0, got = 0;
    uint8_t *bytes = calloc(1, len);
    static const uint8_t header[] = {0x17, 3, 3, 0x03, 0xfb};
    static uint8_t sink[4001];

    assert_non_null(bytes);
    sql_guard_watch();
    assert_int_equal(setsockopt(pair->near, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    assert_int_equal(setsockopt(pair->near, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
    for (size_t at = 0; at < len; at += 1024)
        memcpy(bytes + at, header, sizeof(header));
    while (got < len) {
        ssize_t count = send(pair->near, bytes + sent, len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (count > 0)
            sent += (size_t)count;
        else if (sent < len)
            assert_int_equal(errno, EAGAIN);
        count = recv(pair->far, sink, sizeof(sink), 0);
        assert_true(count > 0);
        got += (size_t)count;
    }
    free(bytes);
    assert_false(sql_guard_seen().has_refused);
    REFUSED(pair, BATCH);
}

/* A new socket under an old number owes nothing. */
static void test_forgets_a_closed_socket(void **state)
{
    struct pair *pair = *state;
    int number = pair->near;

    PASSES(pair, "\x17\x03\x03\x40\x00wxyz");
    close_pair(state);
    assert_int_equal(make_pair(state), 0);
    assert_int_equal(pair->near, number);
    REFUSED(pair, BATCH);
}

static void test_leaves_other_sockets_alone(void **state)
{
    int fds[2];
    char got[4];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(send(fds[0], "ipc", 3, 0), 3);
    assert_int_equal(recv(fds[1], got, sizeof(got), 0), 3);
    close(fds[0]);
    close(fds[1]);
}

static void test_maps_one_name(void **state)
{
    const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char text[INET_ADDRSTRLEN];

    (void)state;
    assert_int_equal(sql_guard_map("sql1.test.invalid", "127.0.0.9"), ESCROW_OK);
    assert_int_equal(getaddrinfo("sql1.test.invalid", NULL, &hints, &list), 0);
    assert_non_null(
        inet_ntop(AF_INET, &((struct sockaddr_in *)list->ai_addr)->sin_addr, text, sizeof(text)));
    assert_string_equal(text, "127.0.0.9");
    freeaddrinfo(list);

    assert_int_equal(getaddrinfo("127.0.0.8", NULL, &hints, &list), 0);
    assert_non_null(
        inet_ntop(AF_INET, &((struct sockaddr_in *)list->ai_addr)->sin_addr, text, sizeof(text)));
    assert_string_equal(text, "127.0.0.8");
    freeaddrinfo(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lets_out_prelogin_and_tls, make_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_refuses_clear_text, make_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_refuses_application_data_of_old_tls, make_pair,
                                        close_pair),
        cmocka_unit_test_setup_teardown(test_looks_at_each_record, make_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_follows_a_record_over_sends, make_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_follows_what_the_kernel_takes, make_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_forgets_a_closed_socket, make_pair, close_pair),
        cmocka_unit_test(test_leaves_other_sockets_alone),
        cmocka_unit_test(test_maps_one_name),
    };

    if (sql_guard_arm() != ESCROW_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
