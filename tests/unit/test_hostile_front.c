/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A front that was taken over, against the real keeper: what has no form, what is not permitted,
 * and floods. Each costs the keeper a channel and nothing else: no descriptor, no memory, no ping.
 */
#include "escrowd/clock.h"
#include "escrowd/keeper_request.h"
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
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define FDS_MAX 8
#define MEGABYTE ((size_t)1024 * 1024)
#define LAST_TYPE 0xfff
#define FLOOD_MESSAGES 256

/* What AddressSanitizer keeps of freed memory would hide what the keeper keeps. */
/* NOLINTBEGIN(readability-identifier-naming,bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
 */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
/* NOLINTEND(readability-identifier-naming,bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
 */
{
    return "quarantine_size_mb=4";
}

/* One packet as it goes over the channel, whatever is in it. */
struct packet {
    size_t len;
    uint8_t bytes[sizeof(struct ipc_header) + IPC_PAYLOAD_MAX + 64];
    unsigned fds;
};

static struct packet packet;

static void send_packet(const struct keeper_fixture *fx)
{
    struct iovec part = {packet.bytes, packet.len};
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (packet.fds > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(packet.fds * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(packet.fds * sizeof(int));
    }
    for (size_t i = 0; i < packet.fds; i++)
        memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &(int){STDERR_FILENO}, sizeof(int));
    assert_int_equal(sendmsg(fx->front_fd, &message, 0), packet.len);
}

static void make_packet(uint32_t type, const struct ipc_writer *payload)
{
    const struct ipc_header header = {
        .type = type, .length = payload ? (uint32_t)payload->len : 0, .id = 7};

    memcpy(packet.bytes, &header, sizeof(header));
    if (header.length > 0)
        memcpy(packet.bytes + sizeof(header), payload->bytes, header.length);
    packet.len = sizeof(header) + header.length;
    packet.fds = 0;
}

static void make_request(const struct ipc_request *request)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    ipc_put_request(&writer, request);
    assert_int_equal(writer.err, ESCROW_OK);
    make_packet(IPC_REQUEST, &writer);
}

static struct ipc_request right_request(const struct keeper_fixture *fx)
{
    return (struct ipc_request){.route = ROUTE_HEALTH,
                                .identity = fx->actors[FX_AGENT_B].identity,
                                .body = (const uint8_t *)"{}",
                                .body_len = 2};
}

static void set_length(uint32_t length)
{
    memcpy(packet.bytes + offsetof(struct ipc_header, length), &length, sizeof(length));
}

/* The packet costs front its channel, and the keeper asks for a new front, once. */
static void assert_kills(struct keeper_fixture *fx)
{
    unsigned before = fx->front_restarts;

    send_packet(fx);
    fx_wait_front_closed(fx);
    fx_wait_front_restarts(fx, before + 1);
    assert_int_equal(fx->front_restarts, before + 1);
    fx_attach_front(fx);
}

static void assert_healthy(struct keeper_fixture *fx)
{
    fx_ask(fx, ROUTE_HEALTH, fx->actors[FX_AUDITOR].identity, "");
    assert_int_equal(fx->reply.status, 200);
}

/* Those of a keeper that has taken the channel to front. */
static unsigned descriptors(struct keeper_fixture *fx)
{
    assert_healthy(fx);
    return fx_descriptors(fx);
}

static void test_every_cut_and_every_length(void **state)
{
    struct keeper_fixture *fx = *state;
    const struct ipc_request request = right_request(fx);
    unsigned before = descriptors(fx);
    size_t whole;

    make_request(&request);
    whole = packet.len;
    for (size_t len = 0; len < whole; len++) {
        make_request(&request);
        packet.len = len;
        if (len >= sizeof(struct ipc_header))
            set_length((uint32_t)(len - sizeof(struct ipc_header)));
        assert_kills(fx);
    }
    for (uint32_t length = 0; length < whole + 8; length++) {
        make_request(&request);
        set_length(length);
        if (length != whole - sizeof(struct ipc_header))
            assert_kills(fx);
    }
    make_request(&request);
    set_length(UINT32_MAX);
    assert_kills(fx);
    make_request(&request);
    packet.bytes[packet.len++] = 0;
    set_length((uint32_t)(packet.len - sizeof(struct ipc_header)));
    assert_kills(fx);
    packet.len = sizeof(packet.bytes);
    assert_kills(fx);
    assert_int_equal(descriptors(fx), before);
}

static void test_descriptors(void **state)
{
    struct keeper_fixture *fx = *state;
    const struct ipc_request request = right_request(fx);
    unsigned before = descriptors(fx);

    for (unsigned fds = 1; fds <= FDS_MAX; fds++) {
        make_request(&request);
        packet.fds = fds;
        assert_kills(fx);
        make_packet(IPC_GONE, NULL);
        packet.fds = fds;
        assert_kills(fx);
        /* With bytes that are no message, and with none. */
        packet.fds = fds;
        packet.len = 3;
        assert_kills(fx);
        packet.len = 0;
        assert_kills(fx);
    }
    assert_int_equal(descriptors(fx), before);
}

/* A certificate with such an identity would not have passed front's own check. */
static void test_identities_that_are_none(void **state)
{
    static const char *const wrong[] = {
        "",
        "alice",
        "spiffe://",
        "spiffe://corp.example",
        "spiffe://corp.example/node-a\n",
        "spiffe://corp.example/node-a ",
        "spiffe://corp.example/../node-a",
        "spiffe://corp.example/\xff\xfe",
        "https://corp.example/node-a",
    };
    struct keeper_fixture *fx = *state;
    struct ipc_request request = right_request(fx);
    char longest[IPC_IDENTITY_MAX + 2];

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        request.identity = wrong[i];
        make_request(&request);
        assert_kills(fx);
    }
    memset(longest, 'a', sizeof(longest) - 1);
    memcpy(longest, "spiffe://", 9);
    longest[20] = '/';
    longest[sizeof(longest) - 1] = '\0';
    request.identity = longest;
    make_request(&request);
    assert_kills(fx);
    longest[sizeof(longest) - 2] = '\0';
    make_request(&request);
    send_packet(fx);
    fx_wait(fx, 7);
    assert_int_equal(fx->reply.status, 200);
}

static void test_values_out_of_range(void **state)
{
    static const uint32_t routes[] = {0, ROUTE_COUNT, ROUTE_COUNT + 1, UINT32_MAX};
    struct keeper_fixture *fx = *state;
    struct ipc_request request = right_request(fx);
    CLEANUP(cleanup_free) uint8_t *body = calloc(1, IPC_BODY_MAX + 1);

    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        request.route = (enum route)routes[i];
        make_request(&request);
        assert_kills(fx);
    }
    request = right_request(fx);
    request.body = body;
    request.body_len = IPC_BODY_MAX + 1;
    make_request(&request);
    assert_kills(fx);
    request.body_len = IPC_BODY_MAX;
    make_request(&request);
    send_packet(fx);
    fx_wait(fx, 7);
    assert_int_equal(fx->reply.status, 200);
    /* Somebody waits for a message that tells more than that nobody waits. */
    make_packet(IPC_GONE, &(struct ipc_writer){.bytes = body, .len = 1});
    assert_kills(fx);
    assert_healthy(fx);
}

/*
 * ipc_messages.h: front says IPC_REQUEST, IPC_GONE, IPC_OBSERVE and IPC_REFUSED (which is never
 * empty), and passes no descriptor.
 */
static void test_every_type(void **state)
{
    static const uint32_t huge[] = {0x1000,     0x1100,     0x10100,    0x01000000,
                                    0x7fffffff, 0x80000100, 0xffff0100, UINT32_MAX};
    struct keeper_fixture *fx = *state;
    const struct ipc_request request = right_request(fx);
    unsigned before = descriptors(fx);

    for (uint32_t i = 0; i <= LAST_TYPE + ARRAY_LEN(huge); i++) {
        uint32_t type = i <= LAST_TYPE ? i : huge[i - LAST_TYPE - 1];

        for (unsigned fds = 0; fds < 2; fds++) {
            if (type == IPC_REQUEST)
                make_request(&request);
            else
                make_packet(type, NULL);
            packet.fds = fds;
            if (fds > 0 || (type != IPC_REQUEST && type != IPC_GONE && type != IPC_OBSERVE)) {
                assert_kills(fx);
                continue;
            }
            send_packet(fx);
            assert_healthy(fx);
        }
    }
    assert_int_equal(descriptors(fx), before);
}

/* Ids that were never used, twice the same, the largest, and the end of what has ended. */
static void test_ids(void **state)
{
    static const uint64_t ids[] = {0, 1, UINT64_MAX, UINT64_MAX - 1, 1ULL << 63, 12345};
    struct keeper_fixture *fx = *state;
    struct ipc_request request = right_request(fx);
    unsigned before = fx->front_restarts;

    request.route = ROUTE_ORDERS;
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        for (int again = 0; again < 3; again++) {
            const struct ipc_header gone = {.type = IPC_GONE, .id = ids[i]};

            request.wait_ms = again == 0 ? UINT64_MAX : (uint64_t)INT64_MAX;
            assert_int_equal(ipc_try_send(fx->front_fd, &gone, NULL, -1), ESCROW_OK);
            assert_int_equal(fx_try_request(fx, ids[i], &request), ESCROW_OK);
            assert_int_equal(fx_try_request(fx, ids[i], &request), ESCROW_OK);
            assert_int_equal(ipc_try_send(fx->front_fd, &gone, NULL, -1), ESCROW_OK);
            assert_int_equal(ipc_try_send(fx->front_fd, &gone, NULL, -1), ESCROW_OK);
        }
    }
    assert_healthy(fx);
    assert_int_equal(fx->front_restarts, before);
}

/* Questions without end, and no answer is read: the keeper takes no more of them. */
static void test_flood_that_reads_nothing(void **state)
{
    struct keeper_fixture *fx = *state;
    struct ipc_request request = right_request(fx);
    size_t before = fx_memory(fx), most = before;
    int front_fd = fx->front_fd;
    unsigned sent = 0, asked;

    request.route = ROUTE_AUDIT;
    request.identity = fx->actors[FX_AUDITOR].identity;
    for (int blocked = 0; blocked < 20;) {
        fx->front_fd = front_fd;
        while (fx_try_request(fx, 1000000 + sent, &request) == ESCROW_OK) {
            blocked = 0;
            assert_true(++sent < 20000);
        }
        fx->front_fd = -1; /* not read */
        assert_true(fx_ping(fx) < 2000);
        most = fx_memory(fx) > most ? fx_memory(fx) : most;
        blocked++;
        fx_serve(fx, 10);
    }
    assert_true(most - before < 24 * MEGABYTE);
    /* It still watches the replicas. */
    asked = fx->asked;
    while (fx->asked < asked + 2 * FX_REPLICAS)
        fx_serve(fx, 100);
    /* Who reads again gets all of it. */
    fx->front_fd = front_fd;
    fx_wait(fx, 1000000 + sent - 1);
    assert_int_equal(fx->reply.status, 200);
    assert_healthy(fx);
}

/* The same front is killed in the middle of it: its successor finds nothing of it. */
static void test_successor_of_a_flood(void **state)
{
    struct keeper_fixture *fx = *state;
    const struct ipc_request request = right_request(fx);
    uint64_t sent = 0;

    while (fx_try_request(fx, ++sent, &request) == ESCROW_OK)
        continue;
    fx_attach_front(fx);
    fx->last_id = 1000000;
    assert_healthy(fx);
    assert_int_equal(fx->reply.id, fx->last_id);
}

/* Every answer is read, no act is one: memory stays, pings are answered, the log does not grow. */
static void test_flood_of_forgeries(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(cleanup_free) char *body = malloc(16 * 1024);
    char identity[64];
    struct ipc_request request = {
        .route = ROUTE_RELEASE, .identity = identity, .body = (uint8_t *)body, .body_len = 16384};
    size_t first = 0, most = 0;

    memset(body, '{', 16 * 1024);
    for (unsigned i = 0; i < 4000; i++) {
        snprintf(identity, sizeof(identity), "spiffe://corp.example/n%u", i);
        while (fx_try_request(fx, 1000000 + i, &request) == ESCROW_ERR_TIMEOUT)
            fx_serve(fx, 100);
        if (i % 200 != 199)
            continue;
        assert_true(fx_ping(fx) < 2000);
        first = first ? first : fx_memory(fx);
        most = fx_memory(fx) > most ? fx_memory(fx) : most;
    }
    assert_true(most < first + 24 * MEGABYTE);
    assert_healthy(fx);
    assert_int_equal(fx_count(fx, "refusal", NULL), 0);
}

/* The body of a release by node-b with a nonce of now; NULL if there is no nonce. */
static char *release_body(struct keeper_fixture *fx, EVP_PKEY *recipient)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    CLEANUP(act_free_p) struct act *act = NULL;

    if (!challenge)
        return NULL;
    act = fx_release_act(fx, FX_AGENT_B, challenge, recipient);
    return fx_sign(fx, FX_AGENT_B, challenge, act);
}

static unsigned answered;

static void count_pending(struct keeper_fixture *fx, uint64_t id, const struct ipc_reply *reply)
{
    (void)fx;
    if (id < 1000000)
        return;
    answered++;
    assert_int_equal(reply->reason, REASON_OVERLOADED);
}

static size_t bucket_of(const char *identity)
{
    uint32_t hash = 2166136261U;

    for (; *identity; identity++)
        hash = (hash ^ (uint8_t)*identity) * 16777619U;
    return hash % REQUEST_BUCKETS;
}

/* Another identity that the keeper keeps in the same list as this one (identity_bucket). */
static const char *neighbour_of(const char *identity)
{
    static char text[64];
    unsigned i = 0;

    do
        snprintf(text, sizeof(text), "spiffe://corp.example/neighbour/%u", i++);
    while (bucket_of(text) != bucket_of(identity));
    return text;
}

/* Opens releases that wait for a rival until no more are taken; how many were open then. None of
 * them is at its end, however slow the machine is: the clock stands still. */
static unsigned fill(struct keeper_fixture *fx, size_t body_len)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(cleanup_free) char *padded = malloc(IPC_BODY_MAX), *body = NULL;
    struct ipc_request request = {.route = ROUTE_RELEASE,
                                  .identity = fx->actors[FX_AGENT_B].identity,
                                  .body = (uint8_t *)padded};
    const char *neighbour = neighbour_of(request.identity);
    unsigned sent = 0;

    answered = 0;
    fx->on_reply = count_pending;
    boot_clock_hold();
    while (answered == 0 && (body = release_body(fx, recipient)) != NULL) {
        request.body_len = (size_t)snprintf(padded, IPC_BODY_MAX, "%-*s", (int)body_len, body);
        free(TAKE(body));
        assert_int_equal(fx_try_request(fx, 1000000 + sent++, &request), ESCROW_OK);
        fx_ask(fx, ROUTE_HEALTH, neighbour, ""); /* others are served */
        assert_int_equal(fx->reply.status, 200);
    }
    for (unsigned i = 0; i < sent; i++) {
        const struct ipc_header gone = {.type = IPC_GONE, .id = 1000000 + i};

        assert_int_equal(ipc_try_send(fx->front_fd, &gone, NULL, -1), ESCROW_OK);
    }
    boot_clock_go_on();
    fx->on_reply = NULL;
    return sent - answered;
}

/* One identity fills its own share, in number and in bytes, and not that of the others. */
static void test_open_requests_are_bounded(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = NULL;

    fx_run_with(fx, "    rival_wait: 10s\n");
    fx_set_primary(fx, 1);
    fx->replicas[0].is_hung = true;
    assert_int_equal(fill(fx, 0), 64);
    assert_int_equal(fill(fx, 190 * 1024), 8 * MEGABYTE / (190 * 1024));
    fx->replicas[0].is_hung = false;
    grant = fx_release(fx, FX_AGENT_B, recipient);
    assert_non_null(grant);
}

/* In a process of its own: messages that need no answer, without a pause, until it is killed. */
static pid_t flood(const struct keeper_fixture *fx)
{
    struct ipc_header gone = {.type = IPC_GONE, .id = 1};
    struct iovec part = {&gone, sizeof(gone)};
    struct mmsghdr messages[FLOOD_MESSAGES];
    pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (size_t i = 0; i < FLOOD_MESSAGES; i++)
            messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
        for (;;)
            sendmmsg(fx->front_fd, messages, FLOOD_MESSAGES, 0);
    }
    assert_true(pid > 0);
    return pid;
}

/* How long it takes an order to come back. */
static int64_t order(struct keeper_fixture *fx, bool is_flooded)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_ORDER);
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_ADMIN, ACT_ORDER, PURPOSE_DRILL);
    CLEANUP(cleanup_free) char *body = NULL;
    pid_t pid = is_flooded ? flood(fx) : 0;
    int64_t took_ms;

    act->purpose = PURPOSE_DRILL;
    act->order.expires_in_s = 60;
    body = fx_sign(fx, FX_ADMIN, challenge, act);
    took_ms = -clock_boot_ms();
    fx_ask(fx, ROUTE_ORDER, fx->actors[FX_ADMIN].identity, body);
    took_ms += clock_boot_ms();
    assert_int_equal(fx->reply.status, 200);
    if (is_flooded) {
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    }
    return took_ms;
}

/* Front always has one more message; what is on its way to the log gets there all the same. */
static void test_commit_under_a_flood(void **state)
{
    int64_t calm_ms = 0, took_ms = 0;

    for (int i = 0; i < 8; i++) {
        calm_ms += order(*state, false);
        took_ms += order(*state, true);
    }
    /* Not only when something else happens to commit, once a second; a busy machine needs longer.
     */
    print_message("# 8 orders in %lld ms, under a flood in %lld ms\n", (long long)calm_ms,
                  (long long)took_ms);
    assert_in_range(took_ms, 0, 1500 + 4 * calm_ms);
}

/* It runs, but closed its channel: only the keeper knows, and has it replaced, after 15 s. */
static void test_front_without_a_channel(void **state)
{
    struct keeper_fixture *fx = *state;
    unsigned before = fx->front_restarts;

    cleanup_close(&fx->front_fd);
    fx_wait_front_restarts(fx, before + 1);
}

/* What another test left: a front, and node-a as primary. */
static int new_front(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_attach_front(fx);
    fx->last_id = 0;
    fx->on_reply = NULL;
    fx_set_primary(fx, 0);
    return 0;
}

#define READY(test) cmocka_unit_test_setup(test, new_front)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY(test_every_cut_and_every_length),
        READY(test_descriptors),
        READY(test_identities_that_are_none),
        READY(test_values_out_of_range),
        READY(test_every_type),
        READY(test_ids),
        READY(test_flood_that_reads_nothing),
        READY(test_successor_of_a_flood),
        READY(test_flood_of_forgeries),
        READY(test_commit_under_a_flood),
        READY(test_open_requests_are_bounded),
        READY(test_front_without_a_channel),
    };

    wall_clock_share();
    return cmocka_run_group_tests(tests, fx_setup_ready, fx_teardown);
}
