/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's process, and its channels: the test is its supervisor, its front, its probers. */
#include "escrowd/ipc_body.h"
#include "escrowd/keeper.h"
#include "libescrow/ipc_probe.h"
#include "libescrow/json.h"
#include "tests/unit/keeper_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ENDING_MS 300 /* from the keeper's first closed channel to its last */

void fx_fail(const char *what, const char *why)
{
    fprintf(stderr, "fixture: %s: %s\n", what, why);
    exit(1);
}

int64_t fx_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Hands the keeper one end of a new channel; returns the other. */
static int pass_peer(struct keeper_fixture *fx, enum ipc_peer_kind kind, const char *instance)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    const struct ipc_peer peer = {kind, instance};
    struct ipc_header header = {.type = IPC_PEER};
    enum escrow_err err;
    int fds[2];

    OK(ipc_pair(fds));
    ipc_put_peer(&writer, &peer);
    header.length = (uint32_t)writer.len;
    err = ipc_try_send(fx->supervisor_fd, &header, writer.bytes, fds[1]);
    if (!fx->options.may_lose || err != ESCROW_ERR_UNAVAILABLE)
        OK(err);
    close(fds[1]);
    return fds[0];
}

static void close_channels(struct keeper_fixture *fx)
{
    cleanup_close(&fx->supervisor_fd);
    cleanup_close(&fx->front_fd);
    for (int i = 0; i < FX_REPLICAS; i++)
        cleanup_close(&fx->replicas[i].fd);
}

/* As the supervisor sees its end: the keeper is gone, and what it said last counts. */
static void reap(struct keeper_fixture *fx)
{
    if (waitpid(fx->pid, &fx->exit_status, 0) != fx->pid)
        fx_fail("waitpid", strerror(errno));
    fx->pid = 0;
    close_channels(fx);
}

static void note_status(struct keeper_fixture *fx, const struct ipc_message *message)
{
    struct ipc_reader reader;

    if (message->type != IPC_STATUS)
        return;
    ipc_reader_init(&reader, message);
    snprintf(fx->status, sizeof(fx->status), "%s", ipc_get_string(&reader, IPC_STATUS_MAX));
}

static bool wait_ready(struct keeper_fixture *fx)
{
    int timeout_ms = fx->options.on_slow ? FX_SLOW_MS : FX_DEADLINE_MS;
    struct ipc_message message = {0};
    enum escrow_err err;

    do {
        err = ipc_receive(fx->supervisor_fd, fx->buffer, timeout_ms, &message);
        if (err == ESCROW_ERR_UNAVAILABLE)
            return false;
        if (err == ESCROW_ERR_TIMEOUT && timeout_ms == FX_SLOW_MS) {
            fx->options.on_slow();
            timeout_ms = FX_DEADLINE_MS;
            continue;
        }
        OK(err);
        note_status(fx, &message);
    } while (message.type != IPC_READY);
    return true;
}

bool fx_try_run(struct keeper_fixture *fx)
{
    int fds[2];

    OK(ipc_pair(fds));
    fx->pid = fork();
    if (fx->pid < 0)
        fx_fail("fork", strerror(errno));
    if (fx->pid == 0) {
        close(fds[0]);
        if (fx->options.in_keeper)
            fx->options.in_keeper();
        exit(escrow_err_exit_code(
            keeper_run(&fx->config, open(fx->config.policy_file, O_RDONLY | O_CLOEXEC), fds[1])));
    }
    close(fds[1]);
    fx->supervisor_fd = fds[0];
    fx->status[0] = '\0';
    if (!wait_ready(fx)) {
        reap(fx);
        return false;
    }
    fx->front_fd = pass_peer(fx, IPC_PEER_FRONT, "");
    for (int i = 0; i < fx->replica_count; i++)
        fx->replicas[i].fd = pass_peer(fx, IPC_PEER_PROBER, fx->replicas[i].instance);
    return true;
}

void fx_run(struct keeper_fixture *fx)
{
    if (!fx_try_run(fx))
        fx_fail("the keeper did not start", "");
}

void fx_attach_front(struct keeper_fixture *fx)
{
    cleanup_close(&fx->front_fd);
    fx->front_fd = pass_peer(fx, IPC_PEER_FRONT, "");
}

void fx_attach_prober(struct keeper_fixture *fx, int replica)
{
    cleanup_close(&fx->replicas[replica].fd);
    fx->replicas[replica].fd = pass_peer(fx, IPC_PEER_PROBER, fx->replicas[replica].instance);
}

int fx_attach_alerter(struct keeper_fixture *fx)
{
    return pass_peer(fx, IPC_PEER_ALERTER, "");
}

enum escrow_err fx_init_again(struct keeper_fixture *fx)
{
    return keeper_init(&fx->config);
}

bool fx_try_shut_down(struct keeper_fixture *fx)
{
    enum escrow_err err = ipc_send(fx->supervisor_fd, IPC_SHUTDOWN, 0, NULL, FX_DEADLINE_MS);

    if (!fx->options.may_lose || err != ESCROW_ERR_UNAVAILABLE)
        OK(err);
    reap(fx);
    return WIFEXITED(fx->exit_status) && WEXITSTATUS(fx->exit_status) == 0;
}

void fx_shut_down(struct keeper_fixture *fx)
{
    if (!fx_try_shut_down(fx))
        fx_fail("the keeper did not end well", WIFEXITED(fx->exit_status) ? "exit" : "signal");
}

void fx_kill(struct keeper_fixture *fx)
{
    kill(fx->pid, SIGKILL);
    waitpid(fx->pid, NULL, 0);
    fx->pid = 0;
    close_channels(fx);
}

/* ---- the probers ---- */

void fx_set_primary(struct keeper_fixture *fx, int primary)
{
    for (int i = 0; i < FX_REPLICAS; i++) {
        struct probe_state *state = &fx->replicas[i].state;

        memset(state, 0, sizeof(*state));
        state->outcome = PROBE_ANSWERED;
        snprintf(state->server_name, sizeof(state->server_name), "%s", fx->replicas[i].server_name);
        snprintf(state->primary_replica, sizeof(state->primary_replica), "%s",
                 fx->replicas[primary].server_name);
        state->role = i == primary ? 1 : 2;
        state->operational_state = 2;
        state->recovery_health = 1;
        state->synchronization_health = 2;
        state->synchronization_state = 2;
        state->is_read_write = i == primary;
        state->has_quorum_row = true;
        state->quorum_state = 1;
        /* Another with each failover, and with each replica. */
        snprintf(state->recovery_lsn, sizeof(state->recovery_lsn), "%d%d0000042", primary + 1,
                 i + 1);
    }
}

/* False: the keeper closed its end, which it may at any time; a test looks at fd where it must not.
 */
static bool receive(struct keeper_fixture *fx, int *fd, struct ipc_message *ret_message)
{
    enum escrow_err err = ipc_receive(*fd, fx->buffer, FX_DEADLINE_MS, ret_message);

    if (err == ESCROW_ERR_UNAVAILABLE) {
        cleanup_close(fd);
        return false;
    }
    OK(err);
    return true;
}

/* Nobody will answer what is open now. */
static void lose_requests(struct keeper_fixture *fx)
{
    free(fx->reply.body);
    fx->reply = (struct fx_reply){.is_there = true};
    fx->lost++;
}

/* A channel closed: because the keeper ends, or because it wants that role anew. */
static bool is_ending(struct keeper_fixture *fx)
{
    struct pollfd polled = {.fd = fx->supervisor_fd, .events = POLLRDHUP};
    const int timeout_ms = fx->options.only_ends ? FX_DEADLINE_MS : ENDING_MS;

    if (poll(&polled, 1, timeout_ms) != 1 || !(polled.revents & (POLLRDHUP | POLLHUP)))
        return false;
    reap(fx);
    lose_requests(fx);
    return true;
}

/* A keeper that has waited for too long has closed the channel; the next receive() sees that. */
static void answer(const struct fx_replica *replica, uint32_t type, uint64_t id,
                   const struct ipc_writer *writer)
{
    enum escrow_err err = ipc_send(replica->fd, type, id, writer, FX_DEADLINE_MS);

    if (err != ESCROW_ERR_UNAVAILABLE)
        OK(err);
}

static void add_member(struct probe_members *members, const char *name)
{
    snprintf(members->names[members->count++], PROBE_NAME_MAX, "%s", name);
}

static void answer_members(struct keeper_fixture *fx, struct fx_replica *replica, uint64_t id)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    struct probe_members members = {.outcome = PROBE_ANSWERED};

    for (int i = 0; i < fx->replica_count; i++) {
        if (!replica->lacking || strcmp(replica->lacking, fx->replicas[i].server_name) != 0)
            add_member(&members, fx->replicas[i].server_name);
    }
    if (replica->surplus)
        add_member(&members, replica->surplus);
    ipc_put_probe_members(&writer, &members);
    answer(replica, IPC_PROBE_MEMBERS, id, &writer);
}

static void answer_echo(struct fx_replica *replica, uint64_t id,
                        const struct ipc_probe_question *question)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    struct probe_echo echo = {.outcome = PROBE_ANSWERED};

    memcpy(replica->echo_nonce, question->nonce, sizeof(replica->echo_nonce));
    replica->echo_asked++;
    echo.is_found = replica->echo_after && replica->echo_asked >= replica->echo_after;
    if (replica->echo_failure.outcome)
        echo = replica->echo_failure;
    ipc_put_probe_echo(&writer, &echo);
    answer(replica, IPC_PROBE_ECHO, id, &writer);
}

/* Of all databases alike. */
static void answer_states(struct fx_replica *replica, uint64_t id, uint32_t count)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    CLEANUP(cleanup_free)
    struct ipc_probe_states *states = calloc(1, sizeof(*states) + count * sizeof(states->items[0]));

    NOT_NULL(states);
    states->count = count;
    for (uint32_t i = 0; i < count; i++)
        states->items[i] = replica->state;
    ipc_put_probe_states(&writer, states);
    answer(replica, IPC_PROBE_STATES, id, &writer);
}

/* What an honest prober says. */
static void answer_question(struct keeper_fixture *fx, struct fx_replica *replica,
                            const struct ipc_message *message,
                            const struct ipc_probe_question *question)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    const struct ipc_probe_session session = {PROBE_ANSWERED, replica->has_session};
    const struct ipc_probe_opens opens = {replica->opens, 0};

    switch (message->type) {
    case IPC_PROBE_ASK_STATE:
        ipc_put_probe_state(&writer, &replica->state);
        answer(replica, IPC_PROBE_STATE, message->id, &writer);
        return;
    case IPC_PROBE_ASK_STATES:
        answer_states(replica, message->id, question->count);
        return;
    case IPC_PROBE_ASK_OPENS:
        replica->opens_asked++;
        ipc_put_probe_opens(&writer, &opens);
        answer(replica, IPC_PROBE_OPENS, message->id, &writer);
        return;
    case IPC_PROBE_ASK_MEMBERS:
        answer_members(fx, replica, message->id);
        return;
    case IPC_PROBE_ASK_ECHO:
        answer_echo(replica, message->id, question);
        return;
    default:
        if (strcmp(question->login, "escrow_agent") != 0)
            fx_fail("asked for the sessions of", question->login);
        memcpy(replica->session_nonce, question->nonce, sizeof(replica->session_nonce));
        ipc_put_probe_session(&writer, &session);
        answer(replica, IPC_PROBE_SESSION, message->id, &writer);
    }
}

static void serve_prober(struct keeper_fixture *fx, struct fx_replica *replica)
{
    struct ipc_probe_question question;
    struct ipc_message message;

    if (!receive(fx, &replica->fd, &message)) {
        if (fx->options.may_lose && !is_ending(fx))
            fx_attach_prober(fx, (int)(replica - fx->replicas));
        return;
    }
    OK(ipc_get_probe_question(&message, &question));
    fx->asked++;
    replica->asked++;
    if (replica->is_hung || (replica->lie && replica->lie(replica, &message, replica->argument)))
        return;
    answer_question(fx, replica, &message, &question);
}

/* ---- the supervisor and front ---- */

static void note_restart(struct keeper_fixture *fx, const struct ipc_message *message)
{
    struct ipc_peer peer;

    OK(ipc_get_peer(message, &peer));
    if (peer.kind == IPC_PEER_FRONT)
        fx->front_restarts++;
    if (peer.kind == IPC_PEER_ALERTER)
        fx->alerter_restarts++;
    for (int i = 0; i < FX_REPLICAS; i++) {
        if (peer.kind == IPC_PEER_PROBER && strcmp(peer.instance, fx->replicas[i].instance) == 0)
            fx->replicas[i].restarts++;
    }
}

static void serve_supervisor(struct keeper_fixture *fx)
{
    struct ipc_message message;

    if (!receive(fx, &fx->supervisor_fd, &message)) {
        if (!fx->options.may_lose)
            fx_fail("the keeper", "ended");
        reap(fx);
        lose_requests(fx);
        return;
    }
    if (message.type == IPC_PONG)
        fx->last_pong = message.id;
    else if (message.type == IPC_RESTART_ROLE)
        note_restart(fx, &message);
    note_status(fx, &message);
}

static void serve_front(struct keeper_fixture *fx)
{
    CLEANUP(cleanup_free) uint8_t *body = NULL;
    struct ipc_message message;
    struct ipc_reply reply;

    if (!receive(fx, &fx->front_fd, &message)) {
        if (!fx->options.may_lose || is_ending(fx))
            return;
        fx_attach_front(fx);
        lose_requests(fx);
        return;
    }
    if (message.type == IPC_OBSERVED) {
        fx_note_observed(fx, &message);
        return;
    }
    if (message.type == IPC_REPLY_LARGE)
        OK(ipc_get_large_reply(&message, &reply, &body));
    else
        OK(ipc_get_reply(&message, &reply));
    if (fx->on_reply)
        fx->on_reply(fx, message.id, &reply);
    free(fx->reply.body);
    fx->reply = (struct fx_reply){.id = message.id,
                                  .is_there = true,
                                  .status = reply.http_status,
                                  .reason = reply.reason,
                                  .content = reply.content,
                                  .body = strndup((const char *)reply.body, reply.body_len)};
    NOT_NULL(fx->reply.body);
}

void fx_serve(struct keeper_fixture *fx, int timeout_ms)
{
    struct pollfd polls[2 + FX_REPLICAS] = {{.fd = fx->front_fd, .events = POLLIN},
                                            {.fd = fx->supervisor_fd, .events = POLLIN}};

    for (int i = 0; i < FX_REPLICAS; i++)
        polls[2 + i] = (struct pollfd){.fd = fx->replicas[i].fd, .events = POLLIN};
    if (poll(polls, 2 + FX_REPLICAS, timeout_ms) < 0 && errno != EINTR)
        fx_fail("poll", strerror(errno));
    if (polls[0].revents)
        serve_front(fx);
    if (polls[1].revents && fx->pid)
        serve_supervisor(fx);
    for (int i = 0; i < FX_REPLICAS && fx->pid; i++) {
        if (polls[2 + i].revents)
            serve_prober(fx, &fx->replicas[i]);
    }
}

void fx_until(struct keeper_fixture *fx, bool (*is_done)(struct keeper_fixture *fx))
{
    int64_t deadline_ms = fx_now_ms() + FX_DEADLINE_MS;

    while (!is_done(fx)) {
        if (fx_now_ms() >= deadline_ms)
            fx_fail("nothing came in time", "");
        fx_serve(fx, 100);
    }
}

static bool has_reply(struct keeper_fixture *fx)
{
    return fx->reply.is_there || !fx->pid;
}

enum escrow_err fx_try_request(struct keeper_fixture *fx, uint64_t id,
                               const struct ipc_request *request)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    CLEANUP(cleanup_close) int rest_fd = -1;
    struct ipc_header header = {.id = id};

    OK(ipc_split_request(request, &writer, &rest_fd));
    OK(writer.err);
    header.type = rest_fd < 0 ? IPC_REQUEST : IPC_REQUEST_LARGE;
    header.length = (uint32_t)writer.len;
    return ipc_try_send(fx->front_fd, &header, writer.bytes, rest_fd);
}

/* Waits until the keeper takes it; false if it has closed the channel. */
static bool send_request(struct keeper_fixture *fx, const struct ipc_request *request)
{
    enum escrow_err err;

    while ((err = fx_try_request(fx, fx->last_id, request)) == ESCROW_ERR_TIMEOUT)
        fx_serve(fx, 20);
    if (!fx->options.may_lose || err != ESCROW_ERR_UNAVAILABLE)
        OK(err);
    return !err;
}

uint64_t fx_send(struct keeper_fixture *fx, enum route route, const char *identity,
                 const char *body)
{
    const struct ipc_request request = {.route = route,
                                        .identity = identity,
                                        .wait_ms = 500,
                                        .from = 1,
                                        .limit = 1000,
                                        .body = (const uint8_t *)body,
                                        .body_len = strlen(body)};

    fx->last_id++;
    if (fx->pid && !send_request(fx, &request)) {
        fx_serve(fx, FX_DEADLINE_MS);
        if (fx->pid && !send_request(fx, &request))
            fx_fail("the keeper closes every channel", "");
    }
    return fx->last_id;
}

/* Front answers for the keeper, and tells it so. */
static void expire(struct keeper_fixture *fx, uint64_t id)
{
    fx->late++;
    free(fx->reply.body);
    fx->reply = (struct fx_reply){.id = id, .status = 504, .reason = REASON_DEADLINE};
    OK(ipc_send(fx->front_fd, IPC_GONE, id, NULL, FX_DEADLINE_MS));
}

const struct fx_reply *fx_wait(struct keeper_fixture *fx, uint64_t id)
{
    const unsigned lost = fx->lost;
    const int64_t late_ms = fx_now_ms() + fx->options.front_ms;

    do {
        fx->reply.is_there = false;
        while (!has_reply(fx) && fx->options.front_ms && fx_now_ms() < late_ms)
            fx_serve(fx, 20);
        if (!has_reply(fx) && fx->options.front_ms) {
            expire(fx, id);
            return &fx->reply;
        }
        fx_until(fx, has_reply);
    } while (fx->reply.id != id && fx->lost == lost && fx->pid);
    return &fx->reply;
}

const struct fx_reply *fx_ask(struct keeper_fixture *fx, enum route route, const char *identity,
                              const char *body)
{
    return fx_wait(fx, fx_send(fx, route, identity, body));
}

void fx_wait_primary(struct keeper_fixture *fx, const char *instance)
{
    int64_t deadline_ms = fx_now_ms() + FX_DEADLINE_MS;

    for (;;) {
        CLEANUP(json_free_p) json_t *status = NULL;
        const struct fx_reply *reply = fx_ask(fx, ROUTE_STATUS, fx->actors[FX_ADMIN].identity, "");
        const char *primary;

        if (!reply->body)
            fx_fail("no status", reason_code(reply->reason));
        OK(json_parse(reply->body, strlen(reply->body), 1 << 20, &status));
        primary = json_string_value(
            json_object_get(json_array_get(json_object_get(status, "groups"), 0), "primary"));
        if (primary && strcmp(primary, instance) == 0)
            return;
        if (fx_now_ms() >= deadline_ms)
            fx_fail("never became primary", instance);
        fx_serve(fx, 50);
    }
}

/* ---- what tests ask ---- */

static struct keeper_fixture the_fixture;

int fx_setup(void **state)
{
    fx_start(&the_fixture, false);
    *state = &the_fixture;
    return 0;
}

int fx_setup_pair(void **state)
{
    fx_start(&the_fixture, true);
    *state = &the_fixture;
    fx_publish(*state);
    fx_deposit(*state, FX_PASSWORD);
    fx_wait_primary(*state, "node-a");
    fx_wait_warm(*state);
    return 0;
}

int fx_setup_ready(void **state)
{
    fx_setup(state);
    fx_publish(*state);
    fx_deposit(*state, FX_PASSWORD);
    fx_wait_primary(*state, "node-a");
    fx_wait_warm(*state);
    return 0;
}

int fx_teardown(void **state)
{
    fx_stop(*state);
    return 0;
}

enum reason fx_reason(struct keeper_fixture *fx, enum route route, enum fx_who who,
                      const char *body)
{
    fx_ask(fx, route, fx->actors[who].identity, body);
    return fx->reply.status < 300 ? REASON_NONE : fx->reply.reason;
}

bool fx_lacks(struct keeper_fixture *fx, enum reason reason)
{
    CLEANUP(json_free_p) json_t *health = NULL;
    const json_t *reasons;
    bool lacks = false;

    fx_ask(fx, ROUTE_HEALTH, fx->actors[FX_AUDITOR].identity, "");
    if (!fx->reply.body) {
        fx_fail("health has no body", "");
    }
    OK(json_parse(fx->reply.body, strlen(fx->reply.body), 4096, &health));
    reasons = json_object_get(health, "reasons");
    for (size_t i = 0; i < json_array_size(reasons); i++)
        lacks |= strcmp(json_string_value(json_array_get(reasons, i)), reason_code(reason)) == 0;
    if (json_is_true(json_object_get(health, "ready")) != (json_array_size(reasons) == 0) ||
        fx->reply.status != (json_array_size(reasons) ? 503U : 200U))
        fx_fail("health does not agree with itself", fx->reply.body);
    return lacks;
}

void fx_wait_lacks(struct keeper_fixture *fx, enum reason reason, bool lacks)
{
    int64_t deadline_ms = fx_now_ms() + FX_DEADLINE_MS;

    while (fx_lacks(fx, reason) != lacks) {
        if (fx_now_ms() >= deadline_ms)
            fx_fail("readiness never changed", reason_code(reason));
        fx_serve(fx, 50);
    }
}
