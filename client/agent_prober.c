/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_prober.h"

#include "client/agent_child.h"
#include "libescrow/cleanup.h"
#include "libescrow/ipc_channel.h"
#include "libescrow/log.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATE_ONLY 1U

#define PAUSE_START_MS 200
#define PAUSE_MAX_MS 30000

struct question {
    uint64_t id; /* 0: none is out */
    enum ipc_probe_type answer;
};

struct agent_prober {
    struct agent_prober_config config;
    struct agent_child *child;
    struct ipc_channel *channel;
    struct event *start;   /* the first start, and each after a pause */
    struct event *overdue; /* runs while a question is out */
    int64_t pause_ms;
    uint64_t last_id;
    struct question *questions; /* one per target */
};

static void add_timer(struct event *timer, int64_t ms)
{
    const struct timeval time = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

    evtimer_add(timer, &time);
}

static void end_child(struct agent_prober *prober)
{
    if (prober->child)
        agent_child_signal(prober->child, SIGKILL);
}

static bool is_asking(const struct agent_prober *prober)
{
    for (size_t i = 0; i < prober->config.target_count; i++)
        if (prober->questions[i].id != 0)
            return true;
    return false;
}

static void watch_the_clock(struct agent_prober *prober)
{
    evtimer_del(prober->overdue);
    if (is_asking(prober))
        add_timer(prober->overdue, prober->config.overdue_ms);
}

/* The target whose question this answers; the count of targets if nobody asked for it. */
static size_t take_question(struct agent_prober *prober, const struct ipc_message *message)
{
    size_t i;

    for (i = 0; i < prober->config.target_count; i++)
        if (prober->questions[i].id == message->id && message->id != 0 &&
            (uint32_t)prober->questions[i].answer == message->type)
            break;
    if (i < prober->config.target_count) {
        prober->questions[i].id = 0;
        prober->pause_ms = PAUSE_START_MS;
        watch_the_clock(prober);
    }
    return i;
}

static enum escrow_err on_local(struct ipc_channel *channel, const struct ipc_message *message,
                                void *argument)
{
    struct agent_prober *prober = argument;
    size_t target = take_question(prober, message);
    struct probe_state answer;
    enum escrow_err err = ipc_get_probe_state(message, &answer);

    (void)channel;
    if (err || target == prober->config.target_count)
        return ESCROW_ERR_MALFORMED;
    prober->config.on_local(target, &answer, prober->config.argument);
    return ESCROW_OK;
}

static enum escrow_err on_opens(struct ipc_channel *channel, const struct ipc_message *message,
                                void *argument)
{
    struct agent_prober *prober = argument;
    size_t target = take_question(prober, message);
    struct ipc_probe_opens answer;
    enum escrow_err err = ipc_get_probe_opens(message, &answer);

    (void)channel;
    if (err || target == prober->config.target_count)
        return ESCROW_ERR_MALFORMED;
    prober->config.on_opens(target, &answer, prober->config.argument);
    return ESCROW_OK;
}

static const struct ipc_permit permits[] = {
    {.type = IPC_PROBE_STATE, .states = STATE_ONLY, .handler = on_local},
    {.type = IPC_PROBE_OPENS, .states = STATE_ONLY, .handler = on_opens},
};

static void on_channel_closed(struct ipc_channel *channel, enum ipc_closed why, void *argument)
{
    struct agent_prober *prober = argument;

    (void)channel;
    if (why != IPC_CLOSED_BY_PEER)
        log_error("%s: the prober's channel: %s", prober->config.name, ipc_closed_text(why));
    end_child(prober);
}

static void on_overdue(evutil_socket_t fd, short what, void *argument)
{
    struct agent_prober *prober = argument;

    (void)fd;
    (void)what;
    log_warning("%s: the prober has not answered for %.1f s: killed and started again",
                prober->config.name, (double)prober->config.overdue_ms / 1000);
    end_child(prober);
}

/* The pause grows until a prober answers something. */
static void pause_and_start(struct agent_prober *prober)
{
    add_timer(prober->start, prober->pause_ms);
    prober->pause_ms *= 2;
    if (prober->pause_ms > PAUSE_MAX_MS)
        prober->pause_ms = PAUSE_MAX_MS;
}

/* Nothing more is heard of the child, and nothing is asked. */
static void hang_up(struct agent_prober *prober)
{
    ipc_channel_free(TAKE(prober->channel));
    memset(prober->questions, 0, prober->config.target_count * sizeof(*prober->questions));
    watch_the_clock(prober);
    prober->config.on_up(false, prober->config.argument);
}

static void on_child_ended(int status, void *argument)
{
    struct agent_prober *prober = argument;
    char text[64];

    log_warning("%s: the prober ended (%s); started again in %lld ms", prober->config.name,
                agent_child_status_text(status, text, sizeof(text)), (long long)prober->pause_ms);
    prober->child = NULL;
    hang_up(prober);
    pause_and_start(prober);
}

static enum escrow_err start_child(struct agent_prober *prober, int fds[static 2])
{
    const char *const argv[] = {"escrow-agent",
                                "--role",
                                "prober",
                                "--config",
                                prober->config.config_path,
                                "--instance",
                                prober->config.name,
                                NULL};
    const struct agent_child_config child = {.base = prober->config.base,
                                             .path = AGENT_SELF,
                                             .argv = argv,
                                             .stdin_fd = STDIN_FILENO, /* the configuration */
                                             .channel_fd = fds[1],
                                             .on_exit = on_child_ended,
                                             .argument = prober};
    const struct ipc_channel_config channel = {.base = prober->config.base,
                                               .name = prober->config.name,
                                               .permits = permits,
                                               .permit_count = ARRAY_LEN(permits),
                                               .state = STATE_ONLY,
                                               .on_close = on_channel_closed,
                                               .argument = prober};
    int fd = fds[0];
    enum escrow_err err;

    fds[0] = -1; /* the channel takes it, also on failure */
    err = ipc_channel_new(&channel, fd, &prober->channel);
    if (!err)
        err = agent_child_start(&child, &prober->child);
    if (err)
        ipc_channel_free(TAKE(prober->channel));
    return err;
}

static void on_start(evutil_socket_t fd, short what, void *argument)
{
    struct agent_prober *prober = argument;
    int fds[2] = {-1, -1};
    enum escrow_err err = ipc_pair(fds);

    (void)fd;
    (void)what;
    if (!err)
        err = start_child(prober, fds);
    cleanup_close(&fds[0]);
    cleanup_close(&fds[1]);
    if (err) {
        log_error("%s: the prober cannot be started: %s; tried again in %lld ms",
                  prober->config.name, escrow_err_name(err), (long long)prober->pause_ms);
        pause_and_start(prober);
        return;
    }
    prober->config.on_up(true, prober->config.argument);
}

enum escrow_err agent_prober_new(const struct agent_prober_config *config,
                                 struct agent_prober **ret_prober)
{
    struct agent_prober *prober = calloc(1, sizeof(*prober));

    if (!prober)
        return ESCROW_ERR_NO_MEMORY;
    prober->config = *config;
    prober->pause_ms = PAUSE_START_MS;
    prober->questions = calloc(config->target_count, sizeof(*prober->questions));
    prober->start = evtimer_new(config->base, on_start, prober);
    prober->overdue = evtimer_new(config->base, on_overdue, prober);
    if (!prober->questions || !prober->start || !prober->overdue) {
        agent_prober_free(prober);
        return ESCROW_ERR_NO_MEMORY;
    }
    add_timer(prober->start, 0);
    *ret_prober = prober;
    return ESCROW_OK;
}

void agent_prober_restart(struct agent_prober *prober)
{
    prober->pause_ms = PAUSE_START_MS;
    if (prober->child) {
        end_child(prober);
        hang_up(prober);
    } else {
        add_timer(prober->start, 0);
    }
}

void agent_prober_free(struct agent_prober *prober)
{
    if (!prober)
        return;
    ipc_channel_free(prober->channel);
    agent_child_free(prober->child);
    if (prober->start)
        event_free(prober->start);
    if (prober->overdue)
        event_free(prober->overdue);
    free(prober->questions);
    free(prober);
}

void agent_prober_ask(struct agent_prober *prober, enum ipc_probe_type type, size_t target)
{
    const struct ipc_probe_question question = {.target = (uint32_t)target};
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    struct question *open = &prober->questions[target];
    bool was_asking = is_asking(prober);

    open->id = ++prober->last_id;
    open->answer = type == IPC_PROBE_ASK_OPENS ? IPC_PROBE_OPENS : IPC_PROBE_STATE;
    ipc_put_probe_question(&writer, type, &question);
    if (ipc_channel_send(prober->channel, type, open->id, &writer))
        end_child(prober);
    else if (!was_asking)
        watch_the_clock(prober);
}
