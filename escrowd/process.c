/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/process.h"

#include "escrowd/spawn.h"
#include "escrowd/supervisor.h"
#include "libescrow/ipc_channel.h"
#include "libescrow/log.h"

#include <openssl/rand.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_LIMIT_MS 120000 /* the keeper may have a long log to read */
#define STEADY_MS 10000       /* ready for so long: the next pause is short again */
#define TICK_MS 250
#define ENDING_MS 1000 /* from the end of its channel to the end of a role */

enum { STATE_STARTING = 1, STATE_READY = 2 };

struct process {
    struct process_config config;
    char instance[IPC_INSTANCE_MAX + 1];
    char name[IPC_INSTANCE_MAX + 16];
    pid_t pid; /* 0: not running */
    int pidfd;
    struct event *ended;
    struct ipc_channel *channel;
    struct event *timer; /* running: every TICK_MS; else: the pause before the next start */
    bool is_ready;
    bool is_pinged; /* a ping is not answered yet */
    uint64_t ping;
    unsigned reloads;    /* that are not answered yet */
    int64_t offered_ms;  /* when it was offered the last of them */
    int64_t since_ms;    /* of the start, of READY, or of the ping that is not answered */
    int64_t ready_ms;    /* when it became ready */
    bool is_told;        /* to end */
    int64_t end_by_ms;   /* 0, or when it is killed for not having ended */
    unsigned backoff_ms; /* the last pause */
};

/* Not CLOCK_BOOTTIME: while the machine sleeps no role is late. */
static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void set_timer(struct process *process, int64_t ms)
{
    const struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

    if (event_add(process->timer, &delay) < 0)
        log_error("%s: no timer", process->name);
}

void process_kill(struct process *process, const char *why)
{
    if (process->pid == 0)
        return;
    log_error("%s is killed: %s", process->name, why);
    kill(process->pid, SIGKILL); /* not reaped yet, so the number is still its own */
}

/* A role that ends by itself takes nothing any more either: it may, but not for ever. */
static void expect_end(struct process *process)
{
    if (process->end_by_ms == 0)
        process->end_by_ms = now_ms() + ENDING_MS;
}

static void on_unsent(struct process *process)
{
    log_warning("%s does not take messages", process->name);
    expect_end(process);
}

/* ---- what a role says ---- */

static enum escrow_err on_ready(struct ipc_channel *channel, const struct ipc_message *message,
                                void *argument)
{
    struct process *process = argument;
    struct ipc_reader reader;
    uint16_t port;
    enum escrow_err err;

    ipc_reader_init(&reader, message);
    port = (uint16_t)ipc_get_enum(&reader, 0, UINT16_MAX);
    err = ipc_reader_end(&reader);
    if (err)
        return err;
    ipc_channel_set_state(channel, STATE_READY);
    process->is_ready = true;
    process->ready_ms = now_ms();
    process->config.events->on_ready(process, port, process->config.argument);
    return ESCROW_OK;
}

static enum escrow_err on_pong(struct ipc_channel *channel, const struct ipc_message *message,
                               void *argument)
{
    struct process *process = argument;

    (void)channel;
    if (!process->is_pinged || message->id != process->ping || message->len > 0)
        return ESCROW_ERR_MALFORMED;
    process->is_pinged = false;
    return ESCROW_OK;
}

static enum escrow_err on_status(struct ipc_channel *channel, const struct ipc_message *message,
                                 void *argument)
{
    struct process *process = argument;
    struct ipc_reader reader;
    const char *text;
    enum escrow_err err;

    (void)channel;
    ipc_reader_init(&reader, message);
    text = ipc_get_string(&reader, IPC_STATUS_MAX);
    err = ipc_reader_end(&reader);
    if (!err)
        process->config.events->on_status(text, process->config.argument);
    return err;
}

static enum escrow_err on_reloaded(struct ipc_channel *channel, const struct ipc_message *message,
                                   void *argument)
{
    struct process *process = argument;
    struct ipc_reader reader;
    bool is_taken;
    enum escrow_err err;

    (void)channel;
    ipc_reader_init(&reader, message);
    is_taken = ipc_get_bool(&reader);
    err = ipc_reader_end(&reader);
    if (err || process->reloads == 0)
        return ESCROW_ERR_MALFORMED;
    process->reloads--;
    process->config.events->on_reloaded(is_taken, process->config.argument);
    return ESCROW_OK;
}

static enum escrow_err on_restart_peer(struct ipc_channel *channel,
                                       const struct ipc_message *message, void *argument)
{
    struct process *process = argument;
    struct ipc_peer peer;
    enum escrow_err err = ipc_get_peer(message, &peer);

    (void)channel;
    if (!err)
        process->config.events->on_restart_peer(&peer, process->config.argument);
    return err;
}

static void on_close(struct ipc_channel *channel, enum ipc_closed why, void *argument)
{
    struct process *process = argument;

    (void)channel;
    if (why != IPC_CLOSED_BY_PEER)
        process_kill(process, ipc_closed_text(why));
    else
        expect_end(process);
}

/* Who may say what to the supervisor. */
static const struct ipc_permit permits_of_keeper[] = {
    {.type = IPC_READY, .states = STATE_STARTING, .handler = on_ready},
    {.type = IPC_PONG, .states = STATE_READY, .handler = on_pong},
    {.type = IPC_STATUS, .states = IPC_ANY_STATE, .handler = on_status},
    {.type = IPC_RESTART_ROLE, .states = IPC_ANY_STATE, .handler = on_restart_peer},
};
static const struct ipc_permit permits_of_front[] = {
    {.type = IPC_READY, .states = STATE_STARTING, .handler = on_ready},
    {.type = IPC_PONG, .states = STATE_READY, .handler = on_pong},
    {.type = IPC_RELOADED, .states = STATE_READY, .handler = on_reloaded},
};
static const struct ipc_permit permits_of_prober[] = {
    {.type = IPC_READY, .states = STATE_STARTING, .handler = on_ready},
};
static const struct ipc_permit permits_of_alerter[] = {
    {.type = IPC_READY, .states = STATE_STARTING, .handler = on_ready},
    {.type = IPC_PONG, .states = STATE_READY, .handler = on_pong},
};
static const struct {
    const struct ipc_permit *permits;
    size_t count;
    bool has_ping; /* a prober blocks in the driver; the keeper sees when it is overdue */
} kinds[] = {
    [IPC_PEER_KEEPER] = {permits_of_keeper, ARRAY_LEN(permits_of_keeper), true},
    [IPC_PEER_FRONT] = {permits_of_front, ARRAY_LEN(permits_of_front), true},
    [IPC_PEER_PROBER] = {permits_of_prober, ARRAY_LEN(permits_of_prober), false},
    [IPC_PEER_ALERTER] = {permits_of_alerter, ARRAY_LEN(permits_of_alerter), true},
};

/* ---- start and end ---- */

static void forget(struct process *process)
{
    if (process->ended)
        event_free(process->ended);
    process->ended = NULL;
    cleanup_close(&process->pidfd);
    ipc_channel_free(process->channel);
    process->channel = NULL;
    process->pid = 0;
    process->is_pinged = false;
    process->reloads = 0;
    process->end_by_ms = 0;
    event_del(process->timer);
}

static void on_ended(evutil_socket_t fd, short events, void *argument)
{
    struct process *process = argument;
    int status;

    (void)fd;
    (void)events;
    if (waitpid(process->pid, &status, WNOHANG) != process->pid)
        return;
    if (process->is_ready && now_ms() - process->ready_ms >= STEADY_MS)
        process->backoff_ms = 0;
    forget(process);
    process->is_ready = false;
    process->config.events->on_ended(process, status, process->config.argument);
}

static void send_ping(struct process *process)
{
    process->is_pinged = true;
    process->since_ms = now_ms();
    if (ipc_channel_send(process->channel, IPC_PING, ++process->ping, NULL) != ESCROW_OK)
        on_unsent(process);
}

static void on_timer(evutil_socket_t fd, short events, void *argument)
{
    struct process *process = argument;
    int64_t silent_ms = now_ms() - process->since_ms;

    (void)fd;
    (void)events;
    if (process->pid == 0) {
        process->config.events->on_due(process, process->config.argument);
        return;
    }
    if (process->end_by_ms != 0 && now_ms() >= process->end_by_ms)
        process_kill(process, "it did not end when it should");
    else if (!process->is_ready && silent_ms > START_LIMIT_MS)
        process_kill(process, "it did not become ready");
    else if (process->is_pinged && silent_ms > process->config.ping_ms)
        process_kill(process, "it does not answer");
    else if (process->reloads > 0 && now_ms() - process->offered_ms > process->config.ping_ms)
        process_kill(process, "it does not say whether it uses the new credentials");
    else if (process->is_ready && !process->is_pinged && kinds[process->config.kind].has_ping)
        send_ping(process);
    set_timer(process, TICK_MS);
}

static enum escrow_err spawn_with(struct process *process, int supervisor_fd)
{
    const struct process_config *config = &process->config;
    CLEANUP(cleanup_close) int config_fd = -1;
    CLEANUP(cleanup_close) int policy_fd = -1;
    CLEANUP(cleanup_close) int credentials_fd = -1;
    struct spawn spawn = {
        .kind = config->kind, .instance = process->instance, .config_path = config->config_path};
    enum escrow_err err = snapshot_open(config->snapshot->config_fd, &config_fd);

    if (!err && config->kind == IPC_PEER_FRONT)
        err = snapshot_open(config->snapshot->credentials_fd, &credentials_fd);
    else if (!err && config->kind != IPC_PEER_ALERTER)
        err = snapshot_open(config->snapshot->policy_fd, &policy_fd);
    if (err)
        return err;
    spawn.fds[SPAWN_SUPERVISOR_FD - SPAWN_SUPERVISOR_FD] = supervisor_fd;
    spawn.fds[SPAWN_CONFIG_FD - SPAWN_SUPERVISOR_FD] = config_fd;
    spawn.fds[SPAWN_POLICY_FD - SPAWN_SUPERVISOR_FD] = policy_fd;
    spawn.fds[SPAWN_LISTENER_FD - SPAWN_SUPERVISOR_FD] = config->listener_fd;
    spawn.fds[SPAWN_CREDENTIALS_FD - SPAWN_SUPERVISOR_FD] = credentials_fd;
    spawn.fds[SPAWN_MONITOR_FD - SPAWN_SUPERVISOR_FD] = config->monitor_fd;
    return spawn_role(&spawn, &process->pid, &process->pidfd);
}

static enum escrow_err try_start(struct process *process)
{
    const struct process_config *config = &process->config;
    const struct ipc_channel_config channel = {.base = config->base,
                                               .name = process->name,
                                               .permits = kinds[config->kind].permits,
                                               .permit_count = kinds[config->kind].count,
                                               .state = STATE_STARTING,
                                               .on_close = on_close,
                                               .argument = process};
    CLEANUP(cleanup_close) int theirs = -1;
    enum escrow_err err;
    int fds[2];

    err = ipc_pair(fds);
    if (err)
        return err;
    theirs = fds[1];
    err = ipc_channel_new(&channel, fds[0], &process->channel);
    if (!err)
        err = spawn_with(process, theirs);
    if (err)
        return err;
    process->ended =
        event_new(config->base, process->pidfd, EV_READ | EV_PERSIST, on_ended, process);
    return process->ended && event_add(process->ended, NULL) == 0 ? ESCROW_OK
                                                                  : ESCROW_ERR_NO_MEMORY;
}

void process_start(struct process *process)
{
    process->is_told = false;
    if (try_start(process) != ESCROW_OK) {
        if (process->pid > 0) {
            kill(process->pid, SIGKILL);
            waitpid(process->pid, NULL, 0);
        }
        forget(process);
        process_start_later(process);
        return;
    }
    process->since_ms = now_ms();
    set_timer(process, TICK_MS);
}

void process_start_later(struct process *process)
{
    uint32_t random = 0;

    if (RAND_bytes((unsigned char *)&random, sizeof(random)) != 1)
        random = 0;
    process->backoff_ms = supervisor_backoff_ms(process->backoff_ms);
    set_timer(process, supervisor_jitter_ms(process->backoff_ms, random));
}

void process_shut_down(struct process *process, int64_t limit_ms)
{
    if (process->pid == 0 || process->end_by_ms != 0)
        return;
    process->is_told = true;
    process->end_by_ms = now_ms() + limit_ms;
    /* A prober is no event loop and may wait for its instance: a signal reaches it anywhere. */
    if (process->config.kind == IPC_PEER_PROBER)
        kill(process->pid, SIGTERM);
    else if (ipc_channel_send(process->channel, IPC_SHUTDOWN, 0, NULL) != ESCROW_OK)
        on_unsent(process);
}

bool process_reload(struct process *process, int credentials_fd)
{
    int fd = -1;

    if (process->pid == 0 || snapshot_open(credentials_fd, &fd) != ESCROW_OK)
        return false;
    if (ipc_channel_send_fd(process->channel, IPC_RELOAD, 0, NULL, fd) != ESCROW_OK) {
        on_unsent(process);
        return false;
    }
    process->reloads++;
    process->offered_ms = now_ms();
    return true;
}

static enum escrow_err send_peer(struct process *to, const struct process *peer, int fd)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    ipc_put_peer(&writer, &(struct ipc_peer){peer->config.kind, peer->instance});
    return ipc_channel_send_fd(to->channel, IPC_PEER, 0, &writer, fd);
}

void process_link(struct process *a, struct process *b)
{
    enum escrow_err err_a, err_b;
    int fds[2];

    if (ipc_pair(fds) != ESCROW_OK) {
        process_kill(a, "it cannot be connected");
        return;
    }
    err_a = send_peer(a, b, fds[0]);
    err_b = send_peer(b, a, fds[1]);
    if (err_a)
        process_kill(a, "it cannot be connected");
    /* It ends by itself, perhaps: the one after it is connected with a. */
    if (err_b)
        on_unsent(b);
}

enum escrow_err process_new(const struct process_config *config, struct process **ret_process)
{
    struct process *process = calloc(1, sizeof(*process));
    bool is_prober = config->kind == IPC_PEER_PROBER;

    if (!process)
        return ESCROW_ERR_NO_MEMORY;
    process->config = *config;
    process->pidfd = -1;
    snprintf(process->instance, sizeof(process->instance), "%s", config->instance);
    snprintf(process->name, sizeof(process->name), "%s%s%s", spawn_role_name(config->kind),
             is_prober ? " " : "", process->instance);
    process->timer = event_new(config->base, -1, 0, on_timer, process);
    if (!process->timer) {
        free(process);
        return ESCROW_ERR_NO_MEMORY;
    }
    *ret_process = process;
    return ESCROW_OK;
}

void process_free(struct process *process)
{
    if (!process)
        return;
    if (process->pid > 0) {
        kill(process->pid, SIGKILL);
        waitpid(process->pid, NULL, 0);
    }
    forget(process);
    event_free(process->timer);
    free(process);
}

enum ipc_peer_kind process_kind(const struct process *process)
{
    return process->config.kind;
}

const char *process_instance(const struct process *process)
{
    return process->instance;
}

const char *process_name(const struct process *process)
{
    return process->name;
}

bool process_is_running(const struct process *process)
{
    return process->pid > 0;
}

bool process_was_told(const struct process *process)
{
    return process->is_told;
}

bool process_is_ready(const struct process *process)
{
    return process->is_ready;
}
