/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies that one message cannot hold, against the real keeper: rosters as large as they may be,
 * and what a front that was taken over passes in place of the rest of a body.
 */
#include "escrowd/ipc_body.h"
#include "libescrow/json.h"
#include "libescrow/rpc.h"
#include "libescrow/sealed.h"
#include "tests/unit/keeper_fixture.h"
#include "tests/unit/keeper_roster.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define REST_MAX (IPC_LARGE_MAX - IPC_BODY_MAX)
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

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

static unsigned version = 1;

static void assert_healthy(struct keeper_fixture *fx)
{
    fx_ask(fx, ROUTE_HEALTH, fx->actors[FX_AUDITOR].identity, "");
    assert_int_equal(fx->reply.status, 200);
}

static void publish(struct keeper_fixture *fx, size_t keys)
{
    json_t *payload = fx_roster_payload(fx, ++version);

    keeper_roster_add(payload, keys);
    assert_int_equal(fx_publish_roster(fx, payload, fx->authority), REASON_NONE);
}

static void assert_roster(struct keeper_fixture *fx)
{
    CLEANUP(cleanup_free) char *compact = NULL;

    fx_ask(fx, ROUTE_ROSTER, fx->actors[FX_AGENT_A].identity, "");
    assert_int_equal(fx->reply.status, 200);
    assert_int_equal(rpc_unwrap(fx->reply.body, strlen(fx->reply.body), "roster", &compact),
                     ESCROW_OK);
    assert_string_equal(compact, roster_compact(fx->roster));
}

/* It counts at once, everybody gets it, the log has all of it, and a new keeper finds it there. */
static void test_largest_roster(void **state)
{
    struct keeper_fixture *fx = *state;
    const struct roster_key *keys;

    publish(fx, ROSTER_KEYS_MAX);
    assert_int_equal(roster_keys(fx->roster, &keys), ROSTER_KEYS_MAX);
    assert_true(strlen(roster_compact(fx->roster)) > 4 * IPC_BODY_MAX);
    assert_roster(fx);
    fx_ask(fx, ROUTE_ORDERS, keys[ROSTER_KEYS_MAX - 1].identity, "");
    assert_int_equal(fx->reply.status, 200);
    fx_shut_down(fx);
    fx_run(fx);
    assert_roster(fx);
    fx_set_primary(fx, 0);
    fx_wait_primary(fx, "node-a");
}

/* Who reads the log from its first record on gets the record of the roster too, alone. */
static void test_its_record_is_read(void **state)
{
    struct keeper_fixture *fx = *state;
    struct ipc_request request = {
        .route = ROUTE_AUDIT, .identity = fx->actors[FX_AUDITOR].identity, .limit = 1000};
    size_t largest = 0;

    request.body = (const uint8_t *)"";
    for (request.from = 1; request.from <= 10000;) {
        size_t lines = 0;

        assert_int_equal(fx_try_request(fx, ++fx->last_id, &request), ESCROW_OK);
        fx_wait(fx, fx->last_id);
        assert_int_equal(fx->reply.status, 200);
        for (const char *line = fx->reply.body; (line = strchr(line, '\n')) != NULL; line++)
            lines++;
        if (lines == 0)
            break;
        largest = strlen(fx->reply.body) > largest ? strlen(fx->reply.body) : largest;
        request.from += lines;
    }
    assert_true(largest > strlen(roster_compact(fx->roster)));
}

/* A refusal of one is recorded, without the megabytes. */
static void test_refused_rosters_do_not_fill_the_log(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(json_free_p) json_t *before = fx_log(fx), *records = NULL;
    json_t *payload = fx_roster_payload(fx, 1); /* an old version */
    const json_t *record;

    keeper_roster_add(payload, 2000);
    assert_int_equal(fx_publish_roster(fx, payload, fx->authority), REASON_ROSTER_OLD);
    /* A refusal does not wait for its record. */
    fx_wait_count(fx, "refusal", "roster_old", 1);
    records = fx_log_from(fx, json_array_size(before) + 1);
    record = json_array_get(records, json_array_size(records) - 1);
    assert_string_equal(json_string_value(json_object_get(record, "reason")), "roster_old");
    assert_true(json_is_null(json_object_get(record, "act")));
    assert_string_equal(json_string_value(json_object_get(record, "actor")),
                        fx->actors[FX_ADMIN].identity);
}

/* ---- as many requests as there may be ---- */

#define FIRST_POLL 1000000
#define REQUESTS_MAX 4096 /* escrowd.8 */

static unsigned polls_answered, overloaded;

static void count_replies(struct keeper_fixture *fx, uint64_t id, const struct ipc_reply *reply)
{
    (void)fx;
    polls_answered += id >= FIRST_POLL && reply->http_status == 200;
    overloaded += reply->reason == REASON_OVERLOADED;
}

/* A poll of each agent; how many there are. */
static unsigned open_polls(struct keeper_fixture *fx)
{
    const struct roster_key *keys;
    size_t count = roster_keys(fx->roster, &keys);
    struct ipc_request request = {
        .route = ROUTE_ORDERS, .wait_ms = 60000, .body = (const uint8_t *)""};
    unsigned polls = 0;

    for (size_t i = 0; i < count; i++) {
        request.identity = keys[i].identity;
        if (keys[i].role != ROSTER_AGENT)
            continue;
        while (fx_try_request(fx, FIRST_POLL + polls, &request) == ESCROW_ERR_TIMEOUT)
            fx_serve(fx, 100);
        polls++;
    }
    return polls;
}

static void open_release(struct keeper_fixture *fx, EVP_PKEY *recipient)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    CLEANUP(act_free_p) struct act *act = NULL;
    CLEANUP(cleanup_free) char *body = NULL;

    assert_non_null(challenge);
    act = fx_release_act(fx, FX_AGENT_B, challenge, recipient);
    body = fx_sign(fx, FX_AGENT_B, challenge, act);
    fx_send(fx, ROUTE_RELEASE, fx->actors[FX_AGENT_B].identity, body);
}

static void order(struct keeper_fixture *fx)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_ORDER);
    CLEANUP(answer_free_p) struct answer *noted = NULL;

    act->purpose = PURPOSE_DRILL;
    act->order.expires_in_s = 60;
    noted = fx_act(fx, FX_ADMIN, ROUTE_ORDER, act);
    assert_non_null(noted);
}

/* Every key of the roster but the actors that are no agents. */
#define POLLS (REQUESTS_MAX - 4)

static bool are_all_answered(struct keeper_fixture *fx)
{
    (void)fx;
    return polls_answered == POLLS - 2;
}

/*
 * Every agent of the largest roster waits for orders, and some releases for a hung rival: one more
 * request is refused, one less is served, and the order that comes wakes all that wait.
 */
static void test_requests_are_bounded(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    struct ipc_header gone = {.type = IPC_GONE, .id = FIRST_POLL + 7};

    fx_run_with(fx, "    rival_wait: 10s\n");
    fx_set_primary(fx, 1);
    fx->replicas[0].is_hung = true;
    polls_answered = overloaded = 0;
    fx->on_reply = count_replies;
    assert_int_equal(open_polls(fx), POLLS);
    for (int i = POLLS; i < REQUESTS_MAX; i++)
        open_release(fx, recipient);
    fx_ask(fx, ROUTE_HEALTH, fx->actors[FX_ADMIN].identity, "");
    assert_int_equal(fx->reply.reason, REASON_OVERLOADED);
    assert_int_equal(overloaded, 1);
    assert_true(fx_ping(fx) < 2000);
    for (; gone.id < FIRST_POLL + 9; gone.id++)
        assert_int_equal(ipc_try_send(fx->front_fd, &gone, NULL, -1), ESCROW_OK);
    assert_healthy(fx);
    order(fx);
    fx_until(fx, are_all_answered);
    assert_int_equal(overloaded, 1);
    fx->replicas[0].is_hung = false;
    fx->on_reply = NULL;
    fx_set_primary(fx, 0);
    fx_wait_primary(fx, "node-a");
}

/* ---- a front that was taken over ---- */

/* The first part of a body that is no act, and this descriptor with it. */
static enum escrow_err pass(struct keeper_fixture *fx, enum route route, size_t first_len, int fd)
{
    CLEANUP(cleanup_free) uint8_t *first = calloc(1, IPC_BODY_MAX);
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    const struct ipc_request request = {.route = route,
                                        .identity = fx->actors[FX_ADMIN].identity,
                                        .body = first,
                                        .body_len = first_len};
    struct ipc_header header = {.type = IPC_REQUEST_LARGE, .id = ++fx->last_id};

    memset(first, 'x', IPC_BODY_MAX);
    ipc_put_request(&writer, &request);
    assert_int_equal(writer.err, ESCROW_OK);
    header.length = (uint32_t)writer.len;
    return ipc_try_send(fx->front_fd, &header, writer.bytes, fd);
}

/* It costs front its channel, and the keeper asks for a new front, once. */
static void assert_kills(struct keeper_fixture *fx, enum route route, size_t first_len, int fd)
{
    unsigned before = fx->front_restarts;

    assert_int_equal(pass(fx, route, first_len, fd), ESCROW_OK);
    fx_wait_front_closed(fx);
    fx_wait_front_restarts(fx, before + 1);
    fx_attach_front(fx);
    assert_healthy(fx);
}

static int memory(size_t len, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)len), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static void assert_memory_kills(struct keeper_fixture *fx, size_t len, int seals)
{
    CLEANUP(cleanup_close) int fd = memory(len, seals);

    assert_kills(fx, ROUTE_PUBLISH, IPC_BODY_MAX, fd);
}

static void test_memory_that_can_be_changed(void **state)
{
    static const int missing[] = {F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE};
    struct keeper_fixture *fx = *state;
    unsigned before = fx_descriptors(fx);

    assert_memory_kills(fx, 1, 0);
    for (size_t i = 0; i < ARRAY_LEN(missing); i++)
        assert_memory_kills(fx, 1, SEALS & ~missing[i]);
    assert_int_equal(fx_descriptors(fx), before);
}

static void test_wrong_sizes(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(cleanup_close) int largest = memory(REST_MAX, SEALS), right = memory(100, SEALS);

    assert_memory_kills(fx, 0, SEALS);
    assert_memory_kills(fx, REST_MAX + 1, SEALS);
    assert_memory_kills(fx, (size_t)1 << 40, SEALS);
    /* A first part that is not full. */
    assert_kills(fx, ROUTE_PUBLISH, 0, right);
    assert_kills(fx, ROUTE_PUBLISH, IPC_BODY_MAX - 1, right);
    /* What has its form costs nothing but its refusal. */
    assert_int_equal(pass(fx, ROUTE_PUBLISH, IPC_BODY_MAX, largest), ESCROW_OK);
    fx_wait(fx, fx->last_id);
    assert_int_equal(fx->reply.reason, REASON_MALFORMED);
}

/* Nothing that would have to be waited for, and nothing with an effect when it is read. */
static void test_no_memory_at_all(void **state)
{
    struct keeper_fixture *fx = *state;
    char path[300];
    int fds[8];
    unsigned before = fx_descriptors(fx);

    snprintf(path, sizeof(path), "%s/some-file", fx->folder);
    fds[0] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fds[0], 1000), 0);
    fds[1] = open(fx->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fds[2] = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    fds[3] = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    assert_int_equal(pipe2(fds + 4, O_CLOEXEC), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds + 6), 0);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        assert_true(fds[i] >= 0);
        assert_kills(fx, ROUTE_PUBLISH, IPC_BODY_MAX, fds[i]);
        close(fds[i]);
    }
    unlink(path);
    assert_int_equal(fx_descriptors(fx), before);
}

/* Only a roster is large. */
static void test_other_routes(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(cleanup_close) int right = memory(100, SEALS);

    for (enum route route = ROUTE_HEALTH; route < ROUTE_COUNT; route++) {
        if (route != ROUTE_PUBLISH)
            assert_kills(fx, route, IPC_BODY_MAX, right);
    }
    assert_kills(fx, ROUTE_PUBLISH, IPC_BODY_MAX, -1);
}

/* As many as it takes, and no answer is read: neither the keeper nor the kernel keeps them all. */
static void test_flood(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(cleanup_close) int largest = memory(REST_MAX, SEALS);
    size_t before = fx_memory(fx), most = before;
    int front_fd = fx->front_fd;

    for (unsigned round = 0; round < 20; round++) {
        fx->front_fd = front_fd;
        for (unsigned i = 0; i < 20 && pass(fx, ROUTE_PUBLISH, IPC_BODY_MAX, largest) == ESCROW_OK;)
            i++;
        fx->front_fd = -1; /* not read */
        assert_true(fx_ping(fx) < 2000);
        most = fx_memory(fx) > most ? fx_memory(fx) : most;
    }
    assert_true(most - before < 32 * 1024 * 1024);
    fx->front_fd = front_fd;
    fx_wait(fx, fx->last_id - 1);
    assert_healthy(fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_largest_roster),
        cmocka_unit_test(test_its_record_is_read),
        cmocka_unit_test(test_refused_rosters_do_not_fill_the_log),
        cmocka_unit_test(test_requests_are_bounded),
        cmocka_unit_test(test_memory_that_can_be_changed),
        cmocka_unit_test(test_wrong_sizes),
        cmocka_unit_test(test_no_memory_at_all),
        cmocka_unit_test(test_other_routes),
        cmocka_unit_test(test_flood),
    };

    return cmocka_run_group_tests(tests, fx_setup_ready, fx_teardown);
}
