/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent.h"

#include "client/agent_child.h"
#include "client/agent_hook.h"
#include "client/agent_notify.h"
#include "client/agent_prober.h"
#include "client/agent_watch.h"
#include "libescrow/cleanup.h"
#include "libescrow/log.h"
#include "libescrow/service.h"

#include <event2/event.h>

#include <signal.h>
#include <stdlib.h>

/* A service manager, and a test, may count on the agent being gone after 5 s. */
#define STOP_S 4

/*
 * Login, question and the diagnosis of a failure each have a time-out of 5 s of their own; a prober
 * that takes longer than all of them hangs.
 */
#define PROBER_OVERDUE_MS 20000

static const int signals[] = {SIGTERM, SIGINT, SIGHUP};

/* An instance and its databases. */
struct node {
    const struct agent_instance *instance;
    struct agent_prober *prober;
    struct agent_watch **watches;
    struct agent_child *rehearsal; /* while it runs */
};

struct agent {
    const struct agent_config *config;
    struct event_base *base;
    struct event *signals[ARRAY_LEN(signals)];
    struct agent_notify *notify;
    struct agent_hooks *hooks;
    struct node *nodes;
};

static void on_up(bool is_up, void *argument)
{
    struct node *node = argument;

    for (size_t i = 0; i < node->instance->database_count; i++)
        agent_watch_on_up(node->watches[i], is_up);
}

static void on_local(size_t database, const struct probe_state *answer, void *argument)
{
    struct node *node = argument;

    agent_watch_on_local(node->watches[database], answer);
}

static void on_opens(size_t database, const struct ipc_probe_opens *answer, void *argument)
{
    struct node *node = argument;

    agent_watch_on_opens(node->watches[database], answer);
}

/* Calls visit for each watch; true if any returned true. */
static bool any_watch(struct agent *agent, bool (*visit)(struct agent_watch *watch))
{
    bool any = false;

    for (size_t i = 0; i < agent->config->instance_count; i++)
        for (size_t j = 0; j < agent->nodes[i].instance->database_count; j++)
            any |= visit(agent->nodes[i].watches[j]);
    return any;
}

static bool notify_watch(struct agent_watch *watch)
{
    agent_watch_on_notify(watch);
    return true;
}

static bool stop_watch(struct agent_watch *watch)
{
    agent_watch_stop(watch);
    return agent_watch_is_working(watch);
}

static void on_notify(void *argument)
{
    log_info("asked to check now");
    any_watch(argument, notify_watch);
}

/* The last worker of a stopped watch ended: perhaps the last one of all. */
static void on_idle(void *argument)
{
    struct agent *agent = argument;

    if (!any_watch(agent, stop_watch))
        event_base_loopexit(agent->base, NULL);
}

static void on_signal(evutil_socket_t number, short what, void *argument)
{
    const struct timeval at_most = {.tv_sec = STOP_S};
    struct agent *agent = argument;
    bool is_working;

    (void)what;
    if (number == SIGHUP) {
        log_notice("SIGHUP: the configuration is read at start only; restart the agent instead");
        return;
    }
    service_notify("STOPPING=1");
    is_working = any_watch(agent, stop_watch);
    log_notice("stopping%s", is_working ? ": a worker in flight has 4 s to end" : "");
    event_base_loopexit(agent->base, is_working ? &at_most : NULL);
}

static void discard(struct agent *agent)
{
    agent_notify_free(agent->notify);
    for (size_t i = 0; agent->nodes && i < agent->config->instance_count; i++) {
        struct node *node = &agent->nodes[i];

        for (size_t j = 0; node->watches && j < node->instance->database_count; j++)
            agent_watch_free(node->watches[j]);
        agent_prober_free(node->prober);
        agent_child_free(node->rehearsal);
        free(node->watches);
    }
    free(agent->nodes);
    agent_hooks_free(agent->hooks);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        if (agent->signals[i])
            event_free(agent->signals[i]);
    if (agent->base)
        event_base_free(agent->base);
}

static void on_rehearsed(int status, void *argument)
{
    struct node *node = argument;
    char text[64];

    node->rehearsal = NULL;
    if (status != 0)
        log_error("%s: a worker cannot work here (%s; the lines above say why): no master key will "
                  "be opened until this is mended",
                  node->instance->name, agent_child_status_text(status, text, sizeof(text)));
    else
        log_info("%s: a worker has what it needs of this host", node->instance->name);
}

/* What is not in order here should be known before the failover. */
static enum escrow_err rehearse(struct agent *agent, const char *config_path, struct node *node)
{
    const char *const argv[] = {"escrow-agent", "--role",     "rehearsal",          "--config",
                                config_path,    "--instance", node->instance->name, NULL};
    const struct agent_child_config child = {.base = agent->base,
                                             .path = AGENT_SELF,
                                             .argv = argv,
                                             .stdin_fd = -1,
                                             .channel_fd = -1,
                                             .on_exit = on_rehearsed,
                                             .argument = node};

    return agent_child_start(&child, &node->rehearsal);
}

static enum escrow_err set_up_node(struct agent *agent, const char *config_path,
                                   const struct agent_instance *instance, struct node *node)
{
    const struct agent_prober_config prober = {.base = agent->base,
                                               .config_path = config_path,
                                               .instance = instance,
                                               .overdue_ms = PROBER_OVERDUE_MS,
                                               .on_up = on_up,
                                               .on_local = on_local,
                                               .on_opens = on_opens,
                                               .argument = node};
    enum escrow_err err;

    node->instance = instance;
    node->watches = calloc(instance->database_count, sizeof(struct agent_watch *));
    if (!node->watches)
        return ESCROW_ERR_NO_MEMORY;
    err = rehearse(agent, config_path, node);
    if (!err)
        err = agent_prober_new(&prober, &node->prober);
    for (size_t i = 0; i < instance->database_count && !err; i++) {
        const struct agent_watch_config watch = {.base = agent->base,
                                                 .config_path = config_path,
                                                 .agent = agent->config,
                                                 .instance = instance,
                                                 .database = i,
                                                 .prober = node->prober,
                                                 .hooks = agent->hooks,
                                                 .on_idle = on_idle,
                                                 .argument = agent};

        err = agent_watch_new(&watch, &node->watches[i]);
    }
    return err;
}

static enum escrow_err set_up_signals(struct agent *agent)
{
    /* A hook or a caller that is gone is no reason to end. */
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        agent->signals[i] = evsignal_new(agent->base, signals[i], on_signal, agent);
        if (!agent->signals[i] || evsignal_add(agent->signals[i], NULL) != 0)
            return ESCROW_ERR_NO_MEMORY;
    }
    return ESCROW_OK;
}

static enum escrow_err set_up(struct agent *agent, const char *config_path)
{
    const struct agent_config *config = agent->config;
    enum escrow_err err;

    agent->base = event_base_new();
    agent->nodes = calloc(config->instance_count, sizeof(*agent->nodes));
    if (!agent->base || !agent->nodes)
        return ESCROW_ERR_NO_MEMORY;
    err = set_up_signals(agent);
    if (!err)
        err = agent_hooks_new(agent->base, config, &agent->hooks);
    for (size_t i = 0; i < config->instance_count && !err; i++)
        err = set_up_node(agent, config_path, &config->instances[i], &agent->nodes[i]);
    if (!err)
        err =
            agent_notify_new(agent->base, config->notify_socket, on_notify, agent, &agent->notify);
    return err;
}

enum escrow_err agent_run(const char *config_path, const struct agent_config *config)
{
    struct agent agent = {.config = config};
    enum escrow_err err = set_up(&agent, config_path);

    if (!err) {
        log_notice("ready: %zu instances, asked every %.1f s", config->instance_count,
                   (double)config->poll_ms / 1000);
        service_notify("READY=1");
        if (event_base_dispatch(agent.base) != 0)
            err = ESCROW_ERR_SYSTEM;
    }
    discard(&agent);
    if (!err)
        log_notice("stopped");
    return err;
}
