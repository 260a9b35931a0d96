/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_worker.h"

#include "client/agent_child.h"
#include "libescrow/cleanup.h"
#include "libescrow/ipc_channel.h"
#include "libescrow/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Bits of the channel's state. */
#define STATE_RUNNING 1U
#define STATE_DONE 2U /* it has said how it ended and may only exit */

/* The worker ends itself at its deadline; this is for one that does not. */
#define GRACE_MS 2000

struct agent_worker {
    struct agent_worker_config config;
    struct agent_child *child;
    struct ipc_channel *channel;
    struct event *deadline;
    int64_t limit_ms; /* of what it is at: to wait, then to work */
    bool is_overdue;  /* it was killed for that */
    bool is_closed;   /* the channel: nothing more will be heard */
    bool is_ended;    /* the process */
    int status;
    enum worker_part part;
    struct worker_result result; /* WORKER_DIED until it has said */
};

static enum escrow_err set_deadline(struct agent_worker *worker, int64_t limit_ms)
{
    int64_t ms = limit_ms + GRACE_MS;
    const struct timeval deadline = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

    worker->limit_ms = limit_ms;
    return evtimer_add(worker->deadline, &deadline) == 0 ? ESCROW_OK : ESCROW_ERR_NO_MEMORY;
}

bool agent_worker_awaits_admins(const struct agent_worker *worker)
{
    return worker->part == WORKER_PART_APPROVAL;
}

static enum escrow_err on_part(struct ipc_channel *channel, const struct ipc_message *message,
                               void *argument)
{
    struct agent_worker *worker = argument;

    bool did_wait = agent_worker_awaits_admins(worker);
    enum escrow_err err = worker_get_part(message, &worker->part);

    (void)channel;
    if (err || agent_worker_awaits_admins(worker) == did_wait)
        return err;
    worker->config.on_admins(worker->config.argument);
    /* Admins take their time; what follows has as much as any attempt. */
    return set_deadline(worker,
                        GRACE_MS + (did_wait ? worker->config.deadline_ms : WORKER_APPROVAL_MS));
}

static enum escrow_err on_result(struct ipc_channel *channel, const struct ipc_message *message,
                                 void *argument)
{
    struct agent_worker *worker = argument;

    ipc_channel_set_state(channel, STATE_DONE);
    return worker_get_result(message, &worker->result);
}

static const struct ipc_permit permits[] = {
    {.type = WORKER_MESSAGE_PART, .states = STATE_RUNNING, .handler = on_part},
    {.type = WORKER_MESSAGE_RESULT, .states = STATE_RUNNING, .handler = on_result},
};

static void discard(struct agent_worker *worker)
{
    ipc_channel_free(worker->channel);
    if (worker->deadline)
        event_free(worker->deadline);
    free(worker);
}

/* The last message and the end of the process arrive in any order: both are waited for. */
static void finish(struct agent_worker *worker)
{
    struct worker_result *result = &worker->result;
    char text[64];

    if (!worker->is_closed || !worker->is_ended)
        return;
    agent_child_status_text(worker->status, text, sizeof(text));
    if (result->outcome != WORKER_DIED) {
        if (worker->status != 0)
            log_warning("%s/%s: the worker ended only after its result: %s",
                        worker->config.instance, worker->config.database, text);
    } else if (worker->is_overdue ||
               (WIFSIGNALED(worker->status) && WTERMSIG(worker->status) == SIGALRM)) {
        snprintf(result->text, sizeof(result->text),
                 "its time of %.1f s was over in step %s, where something hangs",
                 (double)worker->limit_ms / 1000, worker_part_name(worker->part));
    } else {
        snprintf(result->text, sizeof(result->text), "%s in step %s", text,
                 worker_part_name(worker->part));
    }
    worker->config.on_end(&worker->result, worker->config.argument);
    discard(worker);
}

static void on_channel_closed(struct ipc_channel *channel, enum ipc_closed why, void *argument)
{
    struct agent_worker *worker = argument;

    (void)channel;
    worker->is_closed = true;
    if (why != IPC_CLOSED_BY_PEER) {
        log_error("%s/%s: the worker's channel: %s", worker->config.instance,
                  worker->config.database, ipc_closed_text(why));
        if (!worker->is_ended)
            agent_child_signal(worker->child, SIGKILL);
    }
    finish(worker);
}

static void on_deadline(evutil_socket_t fd, short what, void *argument)
{
    struct agent_worker *worker = argument;

    (void)fd;
    (void)what;
    if (worker->is_ended)
        return;
    log_error("%s/%s: the worker has not ended in its time, in step %s: it is killed",
              worker->config.instance, worker->config.database, worker_part_name(worker->part));
    worker->is_overdue = true;
    agent_child_signal(worker->child, SIGKILL);
}

static void on_child_ended(int status, void *argument)
{
    struct agent_worker *worker = argument;

    worker->child = NULL;
    worker->is_ended = true;
    worker->status = status;
    finish(worker);
}

static enum escrow_err start_child(struct agent_worker *worker, int fds[static 2])
{
    const struct agent_worker_config *config = &worker->config;
    const char *const argv[] = {"escrow-agent",      "--role",     "worker",         "--config",
                                config->config_path, "--instance", config->instance, "--group",
                                config->group,       "--database", config->database, NULL};
    const struct agent_child_config child = {.base = config->base,
                                             .path = AGENT_SELF,
                                             .argv = argv,
                                             .stdin_fd = STDIN_FILENO, /* the configuration */
                                             .channel_fd = fds[1],
                                             .on_exit = on_child_ended,
                                             .argument = worker};
    const struct ipc_channel_config channel = {.base = config->base,
                                               .name = "worker",
                                               .permits = permits,
                                               .permit_count = ARRAY_LEN(permits),
                                               .state = STATE_RUNNING,
                                               .on_close = on_channel_closed,
                                               .argument = worker};
    int fd = fds[0];
    enum escrow_err err;

    fds[0] = -1; /* the channel takes it, also on failure */
    err = ipc_channel_new(&channel, fd, &worker->channel);
    return err ? err : agent_child_start(&child, &worker->child);
}

enum escrow_err agent_worker_start(const struct agent_worker_config *config,
                                   struct agent_worker **ret_worker)
{
    struct agent_worker *worker = calloc(1, sizeof(*worker));
    int fds[2] = {-1, -1};
    enum escrow_err err;

    if (!worker)
        return ESCROW_ERR_NO_MEMORY;
    worker->config = *config;
    worker->deadline = evtimer_new(config->base, on_deadline, worker);
    err = worker->deadline ? set_deadline(worker, config->ready_ms) : ESCROW_ERR_NO_MEMORY;
    if (!err)
        err = ipc_pair(fds);
    if (!err)
        err = start_child(worker, fds);
    cleanup_close(&fds[0]);
    cleanup_close(&fds[1]);
    if (err) {
        discard(worker);
        return err;
    }
    *ret_worker = worker;
    return ESCROW_OK;
}

void agent_worker_go(struct agent_worker *worker)
{
    enum escrow_err err = set_deadline(worker, worker->config.deadline_ms);

    if (!err)
        err = ipc_channel_send(worker->channel, WORKER_MESSAGE_GO, 0, NULL);
    /* Where it has ended by itself its result is on the way. */
    if (err && !worker->is_ended)
        agent_child_signal(worker->child, SIGKILL);
}

void agent_worker_look(struct agent_worker *worker)
{
    /* One that does not hear it looks by itself in a while. */
    if (agent_worker_awaits_admins(worker) && !worker->is_closed &&
        ipc_channel_send(worker->channel, WORKER_MESSAGE_LOOK, 0, NULL))
        log_debug("%s/%s: the worker was not told to look", worker->config.instance,
                  worker->config.database);
}

void agent_worker_free(struct agent_worker *worker)
{
    if (!worker)
        return;
    agent_child_free(worker->child);
    discard(worker);
}
