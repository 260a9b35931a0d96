/* SPDX-License-Identifier: Apache-2.0 */
/* What a role may say to the supervisor, and how long the supervisor waits to start it again. */
#include "escrowd/process.h"
#include "escrowd/spawn.h"
#include "escrowd/supervisor.h"
#include "libescrow/cleanup.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define TIMEOUT_MS 20000
#define LAST_TYPE 0xfff /* far beyond the last one of any channel */

struct fixture {
    struct event_base *base;
    struct process *process;
    int role_fd; /* the role's end of its channel: the test speaks for the role */
    bool is_ready;
    bool has_ended;
    bool was_killed;
    unsigned handled;
};

static int role_fd_of_spawn = -1;

/* In place of the real one: a process that only waits; the test keeps its end of the channel. */
/* NOLINTBEGIN(readability-identifier-naming) */
enum escrow_err __wrap_spawn_role(const struct spawn *spawn, pid_t *ret_pid, int *ret_pidfd);
enum escrow_err __wrap_spawn_role(const struct spawn *spawn, pid_t *ret_pid, int *ret_pidfd)
/* NOLINTEND(readability-identifier-naming) */
{
    pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(spawn->fds[0]);
        pause();
        _exit(0);
    }
    role_fd_of_spawn = fcntl(spawn->fds[0], F_DUPFD_CLOEXEC, 0);
    *ret_pid = pid;
    *ret_pidfd = pidfd_open(pid, 0);
    return pid > 0 && *ret_pidfd >= 0 ? ESCROW_OK : ESCROW_ERR_SYSTEM;
}

static void on_ready(struct process *process, uint16_t port, void *argument)
{
    struct fixture *fixture = argument;

    (void)process;
    (void)port;
    fixture->is_ready = true;
    fixture->handled++;
}

static void on_ended(struct process *process, int status, void *argument)
{
    struct fixture *fixture = argument;

    (void)process;
    fixture->has_ended = true;
    fixture->was_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    event_base_loopbreak(fixture->base);
}

static void on_due(struct process *process, void *argument)
{
    (void)process;
    (void)argument;
    fail();
}

static void on_status(const char *text, void *argument)
{
    struct fixture *fixture = argument;

    assert_string_equal(text, "text");
    fixture->handled++;
}

static void on_restart_peer(const struct ipc_peer *peer, void *argument)
{
    struct fixture *fixture = argument;

    assert_int_equal(peer->kind, IPC_PEER_PROBER);
    assert_string_equal(peer->instance, "sql1");
    fixture->handled++;
}

static const struct process_events events = {.on_ready = on_ready,
                                             .on_ended = on_ended,
                                             .on_due = on_due,
                                             .on_status = on_status,
                                             .on_restart_peer = on_restart_peer};

static struct fixture *start(enum ipc_peer_kind kind, int64_t ping_ms)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    static const struct snapshot snapshot = {.config_fd = STDERR_FILENO,
                                             .policy_fd = STDERR_FILENO};
    struct process_config config = {.kind = kind,
                                    .snapshot = &snapshot,
                                    .instance = kind == IPC_PEER_PROBER ? "sql1" : "",
                                    .config_path = "/nothing",
                                    .listener_fd = -1,
                                    .monitor_fd = -1,
                                    .ping_ms = ping_ms,
                                    .events = &events};

    assert_non_null(fixture);
    fixture->base = event_base_new();
    config.base = fixture->base;
    config.argument = fixture;
    assert_int_equal(process_new(&config, &fixture->process), ESCROW_OK);
    process_start(fixture->process);
    assert_true(process_is_running(fixture->process));
    fixture->role_fd = role_fd_of_spawn;
    return fixture;
}

static void end(struct fixture *fixture)
{
    process_free(fixture->process);
    event_base_free(fixture->base);
    cleanup_close(&fixture->role_fd);
    free(fixture);
}

/* A payload that is right for the type, where there is one. */
static void fill(struct ipc_writer *writer, uint32_t type)
{
    if (type == IPC_READY)
        ipc_put_u32(writer, 8443);
    else if (type == IPC_STATUS)
        ipc_put_string(writer, "text");
    else if (type == IPC_RESTART_ROLE)
        ipc_put_peer(writer, &(struct ipc_peer){IPC_PEER_PROBER, "sql1"});
}

static void say(struct fixture *fixture, uint32_t type)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    fill(&writer, type);
    assert_int_equal(ipc_send(fixture->role_fd, type, 0, &writer, TIMEOUT_MS), ESCROW_OK);
    event_base_loop(fixture->base, EVLOOP_NONBLOCK);
}

/* Until the process has ended; its pidfd is an event, so this waits for nothing else. */
static void await_end(struct fixture *fixture)
{
    const struct timeval limit = {.tv_sec = TIMEOUT_MS / 1000};

    event_base_loopexit(fixture->base, &limit);
    if (!fixture->has_ended)
        event_base_dispatch(fixture->base);
    assert_true(fixture->has_ended);
}

static bool may_say(enum ipc_peer_kind kind, bool is_ready, uint32_t type)
{
    if (type == IPC_READY)
        return !is_ready;
    return kind == IPC_PEER_KEEPER && (type == IPC_STATUS || type == IPC_RESTART_ROLE);
}

static void try_type(enum ipc_peer_kind kind, bool is_ready, uint32_t type)
{
    struct fixture *fixture = start(kind, 60000);

    if (is_ready)
        say(fixture, IPC_READY);
    fixture->handled = 0;
    say(fixture, type);
    if (may_say(kind, is_ready, type)) {
        assert_int_equal(fixture->handled, 1);
        assert_false(fixture->has_ended);
    } else {
        assert_int_equal(fixture->handled, 0);
        await_end(fixture);
        assert_true(fixture->was_killed);
    }
    end(fixture);
}

/* All that is near a type of any channel; of the rest, where a process a type is dear, a sample. */
static bool is_tried(uint32_t type, bool is_all, uint64_t *random)
{
    *random = *random * 6364136223846793005U + 1442695040888963407U;
    return is_all || type <= 0x20 || (type >= 0x100 && type <= 0x110) ||
           (type >= 0x200 && type <= 0x210) || (type >= 0x300 && type <= 0x310) ||
           *random >> 32 < UINT32_MAX / 150;
}

/* Every role, every state, every message: what it may not say, it dies of. */
static void test_permits(void **state)
{
    const char *all = getenv("ESCROW_TEST_ALL"), *seed = getenv("ESCROW_TEST_SEED");
    bool is_all = all && strcmp(all, "1") == 0;
    uint64_t chosen = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL), random = chosen;
    unsigned tried = 0;

    (void)state;
    for (int kind = IPC_PEER_KEEPER; kind <= IPC_PEER_LAST; kind++) {
        for (int ready = 0; ready < 2; ready++) {
            for (uint32_t type = 0; type <= LAST_TYPE; type++) {
                if (!is_tried(type, is_all, &random))
                    continue;
                try_type((enum ipc_peer_kind)kind, ready, type);
                tried++;
            }
            try_type((enum ipc_peer_kind)kind, ready, 0x10010);
            try_type((enum ipc_peer_kind)kind, ready, UINT32_MAX);
        }
    }
    print_message("# sampled %u of %u (seed %llu)\n", tried, 2 * IPC_PEER_LAST * (LAST_TYPE + 1),
                  (unsigned long long)chosen);
}

static void test_malformed_payloads_kill(void **state)
{
    static const uint32_t types[] = {IPC_READY, IPC_STATUS, IPC_RESTART_ROLE};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct fixture *fixture = start(IPC_PEER_KEEPER, 60000);

        assert_int_equal(ipc_send(fixture->role_fd, types[i], 0, NULL, TIMEOUT_MS), ESCROW_OK);
        await_end(fixture);
        assert_true(fixture->was_killed);
        assert_int_equal(fixture->handled, 0);
        end(fixture);
    }
}

/* A pong is right only for the ping that is open. */
static void test_pong(void **state)
{
    struct ipc_buffer *buffer = ipc_buffer_new();
    struct fixture *fixture = start(IPC_PEER_FRONT, 60000);
    struct ipc_message message = {0};

    (void)state;
    assert_non_null(buffer);
    say(fixture, IPC_READY);
    while (message.type != IPC_PING) {
        event_base_loop(fixture->base, EVLOOP_ONCE);
        if (ipc_try_receive(fixture->role_fd, buffer, &message) != ESCROW_OK)
            message.type = 0;
    }
    assert_int_equal(ipc_send(fixture->role_fd, IPC_PONG, message.id, NULL, TIMEOUT_MS), ESCROW_OK);
    event_base_loop(fixture->base, EVLOOP_NONBLOCK);
    assert_false(fixture->has_ended);
    assert_int_equal(ipc_send(fixture->role_fd, IPC_PONG, message.id, NULL, TIMEOUT_MS), ESCROW_OK);
    await_end(fixture);
    assert_true(fixture->was_killed);
    end(fixture);
    ipc_buffer_free(buffer);
}

static void test_silence_kills(void **state)
{
    struct fixture *fixture = start(IPC_PEER_KEEPER, 200);

    (void)state;
    say(fixture, IPC_READY);
    await_end(fixture);
    assert_true(fixture->was_killed);
    end(fixture);
}

/* It answers its pings, but not whether it uses what it was offered. */
static void test_an_offer_is_not_waited_for_without_end(void **state)
{
    struct ipc_buffer *buffer = ipc_buffer_new();
    CLEANUP(cleanup_close) int offer = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct fixture *fixture = start(IPC_PEER_FRONT, 600);
    const struct timeval limit = {.tv_sec = TIMEOUT_MS / 1000};
    struct ipc_message message;

    (void)state;
    assert_non_null(buffer);
    say(fixture, IPC_READY);
    assert_true(process_reload(fixture->process, offer));
    event_base_loopexit(fixture->base, &limit);
    while (!fixture->has_ended && !event_base_got_exit(fixture->base)) {
        event_base_loop(fixture->base, EVLOOP_ONCE);
        if (ipc_try_receive(fixture->role_fd, buffer, &message) != ESCROW_OK)
            continue;
        if (message.type == IPC_RELOAD)
            close(message.fd);
        else if (message.type == IPC_PING)
            assert_int_equal(ipc_send(fixture->role_fd, IPC_PONG, message.id, NULL, TIMEOUT_MS),
                             ESCROW_OK);
    }
    assert_true(fixture->has_ended);
    assert_true(fixture->was_killed);
    end(fixture);
    ipc_buffer_free(buffer);
}

static void test_a_role_that_closes_its_channel_does_not_stay(void **state)
{
    struct fixture *fixture = start(IPC_PEER_FRONT, 60000);

    (void)state;
    cleanup_close(&fixture->role_fd);
    await_end(fixture);
    assert_true(fixture->was_killed);
    end(fixture);
}

static void test_backoff(void **state)
{
    static const unsigned pauses[] = {100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};
    unsigned pause = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pauses); i++) {
        pause = supervisor_backoff_ms(pause);
        assert_int_equal(pause, pauses[i]);
        assert_int_equal(supervisor_jitter_ms(pause, 0), pause);
        assert_int_equal(supervisor_jitter_ms(pause, UINT32_MAX), pause - pause / 4);
        assert_in_range(supervisor_jitter_ms(pause, UINT32_MAX / 3), pause - pause / 4, pause);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permits),
        cmocka_unit_test(test_malformed_payloads_kill),
        cmocka_unit_test(test_pong),
        cmocka_unit_test(test_silence_kills),
        cmocka_unit_test(test_an_offer_is_not_waited_for_without_end),
        cmocka_unit_test(test_a_role_that_closes_its_channel_does_not_stay),
        cmocka_unit_test(test_backoff),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
