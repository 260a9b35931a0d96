/* SPDX-License-Identifier: Apache-2.0 */
/* What a prober and a worker may say to the agent's parent, tried whole. */
#include "client/agent_child.h"
#include "client/agent_prober.h"
#include "client/agent_worker.h"
#include "libescrow/log.h"
#include "tests/unit/permits.h"

#include <fcntl.h>
#include <signal.h>

static bool is_killed;
static int channel_fd =
    -1; /* the parent's end is made by the parent: the test speaks for the child */
static int peer_fd = -1;

/* In place of the real ones: no process, only its end of the channel. */
/* NOLINTBEGIN(readability-identifier-naming,bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
 */
enum escrow_err __wrap_agent_child_start(const struct agent_child_config *config,
                                         struct agent_child **ret_child);
void __wrap_agent_child_signal(struct agent_child *child, int number);
void __wrap_agent_child_free(struct agent_child *child);
enum escrow_err __wrap_agent_child_start(const struct agent_child_config *config,
                                         struct agent_child **ret_child)
{
    static char nobody;

    channel_fd = fcntl(config->channel_fd, F_DUPFD_CLOEXEC, 0);
    *ret_child = (struct agent_child *)&nobody;
    return ESCROW_OK;
}

void __wrap_agent_child_signal(struct agent_child *child, int number)
{
    (void)child;
    is_killed |= number == SIGKILL;
}

void __wrap_agent_child_free(struct agent_child *child)
{
    (void)child;
}
/* NOLINTEND(readability-identifier-naming,bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
 */

/*
 * The parent makes the channel itself, so the pair of the driver is only a pipe into it: what the
 * driver sent is sent again as it is, once the child "runs".
 */
static void relay(int from)
{
    CLEANUP(ipc_buffer_free_p) struct ipc_buffer *buffer = ipc_buffer_new();
    struct ipc_header header;
    struct ipc_message message;

    if (ipc_try_receive(from, buffer, &message) != ESCROW_OK)
        return;
    header = (struct ipc_header){message.type, (uint32_t)message.len, message.id};
    assert_int_equal(ipc_try_send(channel_fd, &header, message.payload, message.fd), ESCROW_OK);
    cleanup_close(&message.fd);
}

static void on_relay(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    (void)argument;
    relay(fd);
}

static struct event *relaying;

static void start_relay(struct event_base *base, int fd)
{
    is_killed = false;
    peer_fd = fd;
    relaying = event_new(base, fd, EV_READ | EV_PERSIST, on_relay, NULL);
    assert_int_equal(event_add(relaying, NULL), 0);
}

static void stop_relay(void)
{
    event_free(relaying);
    cleanup_close(&peer_fd);
    cleanup_close(&channel_fd);
}

static bool was_killed(void)
{
    return is_killed;
}

/* ---- a worker ---- */

static struct agent_worker *worker;
static bool has_result; /* it has said how it ended */

static void fill_part(struct ipc_writer *payload)
{
    worker_put_part(payload, WORKER_PART_OPEN);
}

static void fill_result(struct ipc_writer *payload)
{
    worker_put_result(payload, &(struct worker_result){.outcome = WORKER_OPENED});
}

static void on_end(const struct worker_result *result, void *argument)
{
    (void)result;
    (void)argument;
    fail(); /* its process has not ended */
}

static void open_worker(struct event_base *base, int fd)
{
    const struct agent_worker_config config = {.base = base,
                                               .config_path = "/agent.yaml",
                                               .instance = "sql1",
                                               .group = "G",
                                               .database = "D",
                                               .ready_ms = 60000,
                                               .deadline_ms = 60000,
                                               .on_end = on_end};
    CLEANUP(ipc_writer_deinit) struct ipc_writer payload = {0};

    assert_int_equal(agent_worker_start(&config, &worker), ESCROW_OK);
    start_relay(base, fd);
    if (!has_result)
        return;
    fill_result(&payload);
    assert_int_equal(ipc_send(channel_fd, WORKER_MESSAGE_RESULT, 0, &payload, 1000), ESCROW_OK);
}

static void close_worker(void)
{
    agent_worker_free(worker);
    stop_relay();
}

static void test_worker_to_parent(void **state)
{
    static const struct permitted permitted[] = {
        {WORKER_MESSAGE_PART, false, 0, fill_part},
        {WORKER_MESSAGE_RESULT, false, 0, fill_result},
    };
    struct permits_subject subject = {"worker to parent", open_worker, was_killed,
                                      close_worker,       permitted,   ARRAY_LEN(permitted)};

    (void)state;
    has_result = false;
    permits_exhaust(&subject);
    has_result = true;
    subject.count = 0;
    permits_exhaust(&subject);
}

/* ---- a prober ---- */

static struct agent_prober *prober;
static bool is_asked;

static void on_up(bool is_up, void *argument)
{
    (void)argument;
    assert_true(is_up);
    if (!is_asked)
        return;
    agent_prober_ask(prober, IPC_PROBE_ASK_LOCAL, 0); /* its id is 1 */
    agent_prober_ask(prober, IPC_PROBE_ASK_OPENS, 1); /* and 2 */
}

static void on_local(size_t target, const struct probe_state *answer, void *argument)
{
    (void)answer;
    (void)argument;
    assert_int_equal(target, 0);
}

static void on_opens(size_t target, const struct ipc_probe_opens *answer, void *argument)
{
    (void)answer;
    (void)argument;
    assert_int_equal(target, 1);
}

static void open_prober(struct event_base *base, int fd)
{
    const struct agent_prober_config config = {.base = base,
                                               .config_path = "/agent.yaml",
                                               .name = "sql1",
                                               .target_count = 2,
                                               .overdue_ms = 60000,
                                               .on_up = on_up,
                                               .on_local = on_local,
                                               .on_opens = on_opens};

    assert_int_equal(agent_prober_new(&config, &prober), ESCROW_OK);
    while (channel_fd < 0)
        event_base_loop(base, EVLOOP_ONCE);
    start_relay(base, fd);
}

static void close_prober(void)
{
    agent_prober_free(prober);
    stop_relay();
}

static void fill_state(struct ipc_writer *payload)
{
    ipc_put_probe_state(payload, &(struct probe_state){.outcome = PROBE_ANSWERED});
}

static void fill_opens(struct ipc_writer *payload)
{
    ipc_put_probe_opens(payload, &(struct ipc_probe_opens){.opens = PROBE_OPENS_YES});
}

static void test_prober_to_parent(void **state)
{
    static const struct permitted permitted[] = {
        {IPC_PROBE_STATE, false, 1, fill_state},
        {IPC_PROBE_OPENS, false, 2, fill_opens},
    };
    struct permits_subject subject = {"prober to parent", open_prober, was_killed,
                                      close_prober,       permitted,   ARRAY_LEN(permitted)};

    (void)state;
    is_asked = true;
    permits_exhaust(&subject);
    is_asked = false;
    subject.count = 0;
    permits_exhaust(&subject);
}

static int quiet(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR - 1);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worker_to_parent),
        cmocka_unit_test(test_prober_to_parent),
    };

    return cmocka_run_group_tests(tests, quiet, NULL);
}
