/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent.h"

#include "client/agent_child.h"
#include "client/agent_config.h"
#include "client/agent_files.h"
#include "client/agent_hook.h"
#include "client/agent_notify.h"
#include "client/agent_prober.h"
#include "client/agent_watch.h"
#include "libescrow/cleanup.h"
#include "libescrow/file.h"
#include "libescrow/file_watch.h"
#include "libescrow/log.h"
#include "libescrow/service.h"

#include <event2/event.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A service manager, and a test, may count on the agent being gone after 5 s. */
#define STOP_S 4

#define PROBER_SLACK_MS 5000

/* Standard input of parent and children: the copy of the configuration that is in force. */
#define CONFIG_COPY "/proc/self/fd/0"

static const int signals[] = {SIGTERM, SIGINT, SIGHUP};

/* A group of an instance: an entry of the configuration. */
struct entry {
    const struct agent_instance *instance;
    struct agent_places *places;
    struct agent_child *rehearsal; /* while it runs */
};

/* An instance, and the databases of all its groups. */
struct node {
    struct agent_target *targets;
    size_t target_count;
    struct agent_prober *prober;
    struct agent_login login;
    struct agent_watch **watches; /* one for each target */
};

/* A configuration, and the copy that it was read from. */
struct loaded {
    int fd; /* -1: there is none */
    struct config *file;
    const struct agent_config *root;
};

struct agent {
    const char *config_path;
    struct loaded in_force, next;      /* next: takes its place when the workers have ended */
    const struct agent_config *config; /* in_force.root */
    struct event_base *base;
    struct event *signals[ARRAY_LEN(signals)];
    struct file_watch *files;
    bool is_stopping;
    /* Of the configuration in force: */
    struct agent_notify *notify;
    struct agent_hooks *hooks;
    struct entry *entries; /* as the configuration's */
    struct node *nodes;
    size_t node_count;
};

static void loaded_deinit(struct loaded *loaded)
{
    cleanup_close(&loaded->fd);
    config_free(loaded->file);
    *loaded = (struct loaded){.fd = -1};
}

static enum escrow_err load(const char *path, struct loaded *ret_loaded)
{
    struct loaded loaded = {.fd = -1};
    enum escrow_err err = file_seal(path, CONFIG_BYTES_MAX, "agent.yaml", &loaded.fd);

    if (!err && lseek(loaded.fd, 0, SEEK_SET) < 0)
        err = ESCROW_ERR_SYSTEM;
    if (!err)
        err = agent_config_load_fd(loaded.fd, path, &loaded.file, &loaded.root);
    if (err)
        loaded_deinit(&loaded);
    else
        *ret_loaded = loaded;
    return err;
}

static void on_up(bool is_up, void *argument)
{
    struct node *node = argument;

    for (size_t i = 0; i < node->target_count; i++)
        agent_watch_on_up(node->watches[i], is_up);
}

static void on_local(size_t target, const struct probe_state *answer, void *argument)
{
    struct node *node = argument;

    agent_watch_on_local(node->watches[target], answer);
}

static void on_opens(size_t target, const struct ipc_probe_opens *answer, void *argument)
{
    struct node *node = argument;

    agent_watch_on_opens(node->watches[target], answer);
}

/* Calls visit for each watch; true if any returned true. */
static bool any_watch(struct agent *agent, bool (*visit)(struct agent_watch *watch))
{
    bool any = false;

    for (size_t i = 0; i < agent->node_count; i++)
        for (size_t j = 0; j < agent->nodes[i].target_count; j++)
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

/* Leaves the loop when no worker runs any more, or after STOP_S. */
static void wind_down(struct agent *agent)
{
    const struct timeval at_most = {.tv_sec = STOP_S};
    bool is_working = any_watch(agent, stop_watch);

    if (is_working)
        log_notice("a worker in flight has 4 s to end");
    event_base_loopexit(agent->base, is_working ? &at_most : NULL);
}

/* ---- files that change ---- */

static void take_config(struct agent *agent)
{
    struct loaded fresh;

    if (load(agent->config_path, &fresh) != ESCROW_OK) {
        log_error("the configuration in use stays");
        return;
    }
    if (memcmp(config_digest(fresh.file), config_digest(agent->in_force.file),
               CONFIG_DIGEST_BYTES) == 0) {
        log_info("the configuration has not changed");
        loaded_deinit(&fresh);
        return;
    }
    log_notice("the configuration has changed: every instance is watched anew");
    loaded_deinit(&agent->next);
    agent->next = fresh;
    wind_down(agent);
}

static void on_rehearsed(int status, void *argument)
{
    struct entry *entry = argument;
    const struct agent_instance *instance = entry->instance;
    char text[64];

    entry->rehearsal = NULL;
    if (status != 0)
        log_error("%s, group %s: a worker cannot work here (%s; the lines above say why): no "
                  "master key will be opened until this is mended",
                  instance->name, instance->group,
                  agent_child_status_text(status, text, sizeof(text)));
    else
        log_info("%s, group %s: a worker has what it needs of this host", instance->name,
                 instance->group);
}

/* What is not in order here should be known before the failover. */
static enum escrow_err rehearse(struct agent *agent, struct entry *entry)
{
    const char *const argv[] = {"escrow-agent",
                                "--role",
                                "rehearsal",
                                "--config",
                                CONFIG_COPY,
                                "--instance",
                                entry->instance->name,
                                "--group",
                                entry->instance->group,
                                NULL};
    const struct agent_child_config child = {.base = agent->base,
                                             .path = AGENT_SELF,
                                             .argv = argv,
                                             .stdin_fd = STDIN_FILENO,
                                             .channel_fd = -1,
                                             .on_exit = on_rehearsed,
                                             .argument = entry};

    return agent_child_start(&child, &entry->rehearsal);
}

/* Of what only the workers of this entry read. */
static bool has_new_keys(const struct agent *agent, const struct agent_instance *instance)
{
    return agent_files_has_trust(agent->files, agent->config) ||
           agent_files_has_identity(agent->files, instance);
}

static void use_new_keys(struct agent *agent, struct entry *entry)
{
    const struct agent_instance *instance = entry->instance;

    if (has_new_keys(agent, instance))
        log_notice("%s, group %s: its certificate or keys, or what escrowds are known by, have "
                   "changed: from now on workers use them",
                   instance->name, instance->group);
    else if (!agent_files_has_login(agent->files, instance))
        return;
    agent_child_free(TAKE(entry->rehearsal));
    if (rehearse(agent, entry))
        log_warning("%s, group %s: whether a worker can work with them cannot be tried out",
                    instance->name, instance->group);
}

static void use_new_login(struct agent *agent, struct node *node)
{
    /* What they are logged in by is the same for all entries. */
    const struct agent_instance *instance = node->targets[0].instance;
    bool has_login = agent_files_has_login(agent->files, instance);

    if (has_login) {
        log_notice("%s: its CA, password or keytab file has changed: the prober starts anew, and a "
                   "refused login holds nothing back any more",
                   instance->name);
        agent_prober_restart(node->prober);
    }
    for (size_t i = 0; i < node->target_count; i++)
        if (has_login || has_new_keys(agent, node->targets[i].instance))
            agent_watch_on_files(node->watches[i], has_login);
}

/* Who uses a file that has changed begins anew with it; an attempt in flight ends as it began. */
static void use_new_files(struct agent *agent)
{
    for (size_t i = 0; i < agent->config->instance_count; i++)
        use_new_keys(agent, &agent->entries[i]);
    for (size_t i = 0; i < agent->node_count; i++)
        use_new_login(agent, &agent->nodes[i]);
}

static void on_change(void *argument)
{
    struct agent *agent = argument;

    if (agent->is_stopping)
        return;
    use_new_files(agent);
    if (file_watch_has_changed(agent->files, agent->config_path))
        take_config(agent);
}

static void on_signal(evutil_socket_t number, short what, void *argument)
{
    struct agent *agent = argument;

    (void)what;
    if (agent->is_stopping)
        return;
    if (number == SIGHUP) {
        file_watch_look(agent->files);
        use_new_files(agent);
        take_config(agent);
        return;
    }
    agent->is_stopping = true;
    service_notify("STOPPING=1");
    log_notice("stopping");
    wind_down(agent);
}

/* What belongs to the configuration in force. */
static void discard_nodes(struct agent *agent)
{
    agent_notify_free(TAKE(agent->notify));
    for (size_t i = 0; i < agent->node_count; i++) {
        struct node *node = &agent->nodes[i];

        for (size_t j = 0; node->watches && j < node->target_count; j++)
            agent_watch_free(node->watches[j]);
        agent_prober_free(node->prober);
        free(node->watches);
        free(node->targets);
    }
    for (size_t i = 0; agent->entries && i < agent->config->instance_count; i++) {
        agent_child_free(agent->entries[i].rehearsal);
        agent_places_free(agent->entries[i].places);
    }
    agent->node_count = 0;
    free(TAKE(agent->nodes));
    free(TAKE(agent->entries));
    agent_hooks_free(TAKE(agent->hooks));
}

static void discard(struct agent *agent)
{
    discard_nodes(agent);
    file_watch_free(agent->files);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        if (agent->signals[i])
            event_free(agent->signals[i]);
    if (agent->base)
        event_base_free(agent->base);
    loaded_deinit(&agent->next);
    loaded_deinit(&agent->in_force);
}

/*
 * Login, question and the diagnosis of a failed login each have a time-out of their own; a prober
 * that takes longer than all of them hangs.
 */
static int64_t overdue_ms(const struct agent_instance *instance)
{
    return 2 * instance->login_timeout_ms + instance->query_timeout_ms + PROBER_SLACK_MS;
}

/* Those of the first entry with the same certificate: to escrowd they are one. */
static struct agent_places *find_places(const struct agent *agent,
                                        const struct agent_instance *instance)
{
    const struct entry *first = agent->entries;

    while (strcmp(first->instance->certificate_file, instance->certificate_file) != 0)
        first++;
    return first->places;
}

static enum escrow_err set_up_entry(struct agent *agent, const struct agent_instance *instance,
                                    struct entry *entry)
{
    enum escrow_err err;

    entry->instance = instance;
    err = rehearse(agent, entry);
    return err ? err : agent_places_new(agent->base, &entry->places);
}

static enum escrow_err set_up_node(struct agent *agent, const struct agent_instance *instance,
                                   struct node *node)
{
    struct agent_prober_config prober = {.base = agent->base,
                                         .config_path = CONFIG_COPY,
                                         .name = instance->name,
                                         .overdue_ms = overdue_ms(instance),
                                         .on_up = on_up,
                                         .on_local = on_local,
                                         .on_opens = on_opens,
                                         .argument = node};
    enum escrow_err err =
        agent_config_targets(agent->config, instance->name, &node->targets, &node->target_count);

    if (err)
        return err;
    node->watches = calloc(node->target_count, sizeof(struct agent_watch *));
    if (!node->watches)
        return ESCROW_ERR_NO_MEMORY;
    prober.target_count = node->target_count;
    err = agent_prober_new(&prober, &node->prober);
    for (size_t i = 0; i < node->target_count && !err; i++) {
        const struct agent_watch_config watch = {.base = agent->base,
                                                 .config_path = CONFIG_COPY,
                                                 .agent = agent->config,
                                                 .target = &node->targets[i],
                                                 .index = i,
                                                 .prober = node->prober,
                                                 .login = &node->login,
                                                 .places =
                                                     find_places(agent, node->targets[i].instance),
                                                 .hooks = agent->hooks,
                                                 .on_idle = on_idle,
                                                 .argument = agent};

        err = agent_watch_new(&watch, &node->watches[i]);
    }
    return err;
}

/* One for each instance, however many entries it has. */
static enum escrow_err set_up_nodes(struct agent *agent)
{
    const struct agent_config *config = agent->config;
    enum escrow_err err = ESCROW_OK;

    agent->nodes = calloc(config->instance_count, sizeof(*agent->nodes));
    if (!agent->nodes)
        return ESCROW_ERR_NO_MEMORY;
    for (size_t i = 0; i < config->instance_count && !err; i++) {
        const struct agent_instance *instance = &config->instances[i];

        if (agent_config_instance(config, instance->name) == instance)
            err = set_up_node(agent, instance, &agent->nodes[agent->node_count++]);
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

/* Takes loaded: from now on it is in force. */
static enum escrow_err put_in_force(struct agent *agent, const struct loaded *loaded)
{
    const struct agent_config *config = loaded->root;
    enum escrow_err err;

    agent->in_force = *loaded;
    agent->config = config;
    agent->entries = calloc(config->instance_count, sizeof(*agent->entries));
    if (!agent->entries)
        return ESCROW_ERR_NO_MEMORY;
    if (dup2(loaded->fd, STDIN_FILENO) < 0)
        return ESCROW_ERR_SYSTEM;
    err = agent_files_watch(agent->files, config, agent->config_path);
    if (!err)
        err = agent_hooks_new(agent->base, config, &agent->hooks);
    for (size_t i = 0; i < config->instance_count && !err; i++)
        err = set_up_entry(agent, &config->instances[i], &agent->entries[i]);
    if (!err)
        err = set_up_nodes(agent);
    if (!err)
        err =
            agent_notify_new(agent->base, config->notify_socket, on_notify, agent, &agent->notify);
    return err;
}

static enum escrow_err set_up(struct agent *agent)
{
    struct loaded first;
    enum escrow_err err = load(agent->config_path, &first);

    if (err)
        return err;
    agent->base = event_base_new();
    err = agent->base ? set_up_signals(agent) : ESCROW_ERR_NO_MEMORY;
    if (!err)
        err = file_watch_new(agent->base, on_change, agent, &agent->files);
    if (err) {
        loaded_deinit(&first);
        return err;
    }
    return put_in_force(agent, &first);
}

/* The configuration before is used again where the next one cannot be (its socket is taken). */
static enum escrow_err change_config(struct agent *agent)
{
    struct loaded before = agent->in_force, next = agent->next;

    agent->next = (struct loaded){.fd = -1};
    discard_nodes(agent);
    if (put_in_force(agent, &next) == ESCROW_OK) {
        loaded_deinit(&before);
        return ESCROW_OK;
    }
    log_error("the new configuration cannot be used: the one before stays");
    discard_nodes(agent);
    loaded_deinit(&next);
    return put_in_force(agent, &before);
}

static void log_ready(const struct agent *agent)
{
    log_notice("ready: %zu instances, asked every %.1f s", agent->node_count,
               (double)agent->config->poll_ms / 1000);
}

enum escrow_err agent_run(const char *config_path)
{
    CLEANUP(discard)
    struct agent agent = {.config_path = config_path, .in_force = {.fd = -1}, .next = {.fd = -1}};
    enum escrow_err err = set_up(&agent);

    if (err)
        return err;
    log_ready(&agent);
    service_notify("READY=1");
    while (!agent.is_stopping && !err) {
        if (event_base_dispatch(agent.base) != 0)
            err = ESCROW_ERR_SYSTEM;
        else if (agent.next.file && !agent.is_stopping) {
            err = change_config(&agent);
            log_ready(&agent);
        }
    }
    if (!err)
        log_notice("stopped");
    return err;
}
