/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/supervisor.h"

#include "escrowd/credentials.h"
#include "escrowd/front_listener.h"
#include "escrowd/supervisor_parts.h"
#include "escrowd/watched.h"
#include "libescrow/log.h"
#include "libescrow/sandbox.h"
#include "libescrow/service.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 10000

/* The trust graph: between these roles there is a channel, and nowhere else. */
static const struct {
    enum ipc_peer_kind a, b;
} edges[] = {
    {IPC_PEER_FRONT, IPC_PEER_KEEPER},
    {IPC_PEER_KEEPER, IPC_PEER_PROBER},
    {IPC_PEER_KEEPER, IPC_PEER_ALERTER},
};

unsigned supervisor_backoff_ms(unsigned last_ms)
{
    if (last_ms < BACKOFF_MIN_MS)
        return BACKOFF_MIN_MS;
    return last_ms >= BACKOFF_MAX_MS / 2 ? BACKOFF_MAX_MS : 2 * last_ms;
}

unsigned supervisor_jitter_ms(unsigned backoff_ms, uint32_t random)
{
    return backoff_ms - (unsigned)((uint64_t)random * (backoff_ms / 4) / UINT32_MAX);
}

static bool wants_alerter(const struct supervisor *supervisor)
{
    return supervisor->snapshot.config->alert.command != NULL;
}

/* The index-th of all processes: keeper, front, probers, and an alerter that is wanted or still
 * runs; NULL after the last. */
static struct process *process_at(const struct supervisor *supervisor, size_t index)
{
    bool has_alerter = wants_alerter(supervisor) || process_is_running(supervisor->alerter);

    if (index == 0)
        return supervisor->keeper;
    if (index == 1)
        return supervisor->front;
    if (index - 2 < supervisor->prober_count)
        return supervisor->probers[index - 2];
    return has_alerter && index - 2 == supervisor->prober_count ? supervisor->alerter : NULL;
}

static bool has_edge(enum ipc_peer_kind a, enum ipc_peer_kind b)
{
    for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
        if ((edges[i].a == a && edges[i].b == b) || (edges[i].a == b && edges[i].b == a))
            return true;
    }
    return false;
}

void supervisor_start(struct supervisor *supervisor, struct process *process)
{
    struct process *other;

    process_start(process);
    for (size_t i = 0; (other = process_at(supervisor, i)) != NULL; i++) {
        if (process_is_running(process) && process_is_running(other) &&
            has_edge(process_kind(process), process_kind(other)))
            process_link(process, other);
    }
}

/* ---- the end ---- */

bool supervisor_any_prober_runs(const struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->prober_count; i++) {
        if (process_is_running(supervisor->probers[i]))
            return true;
    }
    return false;
}

void supervisor_shut_down_probers(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->prober_count; i++)
        process_shut_down(supervisor->probers[i], SUPERVISOR_PROBER_END_MS);
}

/* First who asks, then who decides, then who is asked or told: what is in flight gets its answer.
 */
static void advance_stop(struct supervisor *supervisor)
{
    int64_t limit_ms = supervisor->snapshot.config->limits.shutdown_ms;

    if (process_is_running(supervisor->front))
        process_shut_down(supervisor->front, limit_ms);
    else if (process_is_running(supervisor->keeper))
        process_shut_down(supervisor->keeper, limit_ms);
    else if (supervisor_any_prober_runs(supervisor) || process_is_running(supervisor->alerter)) {
        supervisor_shut_down_probers(supervisor);
        process_shut_down(supervisor->alerter, limit_ms);
    } else
        event_base_loopbreak(supervisor->base);
}

static void on_stop_deadline(evutil_socket_t fd, short events, void *argument)
{
    struct supervisor *supervisor = argument;
    struct process *process;

    (void)fd;
    (void)events;
    for (size_t i = 0; (process = process_at(supervisor, i)) != NULL; i++)
        process_kill(process, "the deadline of the shutdown passed");
}

void supervisor_stop(struct supervisor *supervisor, enum escrow_err result)
{
    int64_t ms = supervisor->snapshot.config->limits.shutdown_ms;
    const struct timeval limit = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

    if (supervisor->is_stopping)
        return;
    supervisor->is_stopping = true;
    supervisor->result = result;
    service_notify("STOPPING=1");
    cleanup_close(&supervisor->listener_fd);
    cleanup_close(&supervisor->monitor_fd);
    if (event_add(supervisor->stop_timer, &limit) < 0)
        on_stop_deadline(-1, 0, supervisor);
    advance_stop(supervisor);
}

/* ---- what happens to roles ---- */

static void on_ready(struct process *process, uint16_t port, void *argument)
{
    struct supervisor *supervisor = argument;
    struct process *other;

    (void)port;
    log_info("%s is ready", process_name(process));
    if (process_kind(process) == IPC_PEER_FRONT && supervisor->is_offer_due)
        supervisor_offer_credentials(supervisor);
    for (size_t i = 0; (other = process_at(supervisor, i)) != NULL; i++) {
        if (!process_is_ready(other))
            return;
    }
    if (supervisor->was_ready || supervisor->is_stopping)
        return;
    supervisor->was_ready = true;
    printf("{\"ready\": true, \"port\": %u", supervisor->port);
    if (supervisor->monitor_port > 0)
        printf(", \"monitor_port\": %u", supervisor->monitor_port);
    puts("}");
    fflush(stdout);
    service_notify("READY=1");
}

static void log_end(const struct process *process, int status)
{
    bool is_by_signal = WIFSIGNALED(status);

    if (is_by_signal && WTERMSIG(status) == SIGTERM && process_was_told(process))
        log_notice("%s ended as it was told", process_name(process));
    else if (is_by_signal && WTERMSIG(status) == SIGSYS)
        log_error("%s made a system call that its sandbox does not allow", process_name(process));
    else if (is_by_signal)
        log_error("%s was killed by signal %d (%s)", process_name(process), WTERMSIG(status),
                  strsignal(WTERMSIG(status)));
    else
        log_notice("%s ended with status %d", process_name(process), WEXITSTATUS(status));
}

/* Keeper and probers, while the files that they run on are replaced. */
static bool is_being_replaced(const struct supervisor *supervisor, const struct process *process)
{
    enum ipc_peer_kind kind = process_kind(process);

    return supervisor->is_reloading && (kind == IPC_PEER_KEEPER || kind == IPC_PEER_PROBER);
}

static bool is_wanted(const struct supervisor *supervisor, const struct process *process)
{
    return process_kind(process) != IPC_PEER_ALERTER || wants_alerter(supervisor);
}

static void on_ended(struct process *process, int status, void *argument)
{
    struct supervisor *supervisor = argument;
    bool is_misconfigured =
        WIFEXITED(status) && WEXITSTATUS(status) == escrow_err_exit_code(ESCROW_ERR_CONFIG);

    log_end(process, status);
    if (process_kind(process) == IPC_PEER_FRONT)
        cleanup_close(&supervisor->offered_fd); /* not offered again: it may have died of it */
    if (supervisor->is_stopping)
        advance_stop(supervisor);
    else if (!supervisor->was_ready && is_misconfigured)
        supervisor_stop(supervisor, ESCROW_ERR_CONFIG);
    else if (is_being_replaced(supervisor, process))
        supervisor_advance_reload(supervisor);
    else if (is_wanted(supervisor, process))
        process_start_later(process);
}

static void on_due(struct process *process, void *argument)
{
    struct supervisor *supervisor = argument;

    if (!supervisor->is_stopping && !is_being_replaced(supervisor, process) &&
        is_wanted(supervisor, process))
        supervisor_start(supervisor, process);
}

static void on_status(const char *text, void *argument)
{
    char state[IPC_STATUS_MAX + 16];

    (void)argument;
    log_notice("keeper: %s", text);
    snprintf(state, sizeof(state), "STATUS=%s", text);
    service_notify(state);
}

static void on_restart_peer(const struct ipc_peer *peer, void *argument)
{
    struct supervisor *supervisor = argument;
    struct process *process;

    for (size_t i = 0; (process = process_at(supervisor, i)) != NULL; i++) {
        if (process_kind(process) == peer->kind && peer->kind != IPC_PEER_KEEPER &&
            strcmp(process_instance(process), peer->instance) == 0)
            process_kill(process, "the keeper asks for it");
    }
}

static void on_reloaded(bool is_taken, void *argument)
{
    supervisor_settle_offer(argument, is_taken);
}

static const struct process_events events = {.on_ready = on_ready,
                                             .on_reloaded = on_reloaded,
                                             .on_ended = on_ended,
                                             .on_due = on_due,
                                             .on_status = on_status,
                                             .on_restart_peer = on_restart_peer};

/* ---- set-up ---- */

static enum escrow_err new_process(struct supervisor *supervisor, enum ipc_peer_kind kind,
                                   const char *instance, struct process **ret_process)
{
    bool is_front = kind == IPC_PEER_FRONT;
    const struct process_config config = {.base = supervisor->base,
                                          .kind = kind,
                                          .instance = instance,
                                          .config_path = supervisor->config_path,
                                          .snapshot = &supervisor->snapshot,
                                          .listener_fd = is_front ? supervisor->listener_fd : -1,
                                          .monitor_fd = is_front ? supervisor->monitor_fd : -1,
                                          .ping_ms = supervisor->snapshot.config->limits.ping_ms,
                                          .events = &events,
                                          .argument = supervisor};

    return process_new(&config, ret_process);
}

static void free_probers(struct supervisor *supervisor)
{
    while (supervisor->prober_count > 0)
        process_free(supervisor->probers[--supervisor->prober_count]);
}

/* Whether one of the first count groups has the instance. */
static bool has_instance(const struct policy_group *groups, size_t count, const char *instance)
{
    for (size_t i = 0; i < count; i++) {
        if (policy_find_replica(&groups[i], instance))
            return true;
    }
    return false;
}

/* Each instance of the policy that the configuration lacks is said once. */
static void warn_of_missing(const struct escrowd_config *config, const struct policy_group *groups,
                            size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < groups[i].replica_count; j++) {
            const char *instance = groups[i].replicas[j].instance;

            if (!escrowd_config_find(config, instance) && !has_instance(groups, i, instance))
                log_warning("the configuration has no instance %s, which the policy names: it "
                            "cannot be asked, and counts as a replica that is silent",
                            instance);
        }
    }
}

enum escrow_err supervisor_new_probers(struct supervisor *supervisor)
{
    const struct escrowd_config *config = supervisor->snapshot.config;
    const struct policy_group *groups;
    size_t count = policy_groups(supervisor->snapshot.policy, &groups);

    free_probers(supervisor);
    warn_of_missing(config, groups, count);
    for (size_t i = 0; i < config->instance_count; i++) {
        const char *name = config->instances[i].name;
        enum escrow_err err;

        if (!has_instance(groups, count, name)) {
            log_warning("no group of the policy has the instance %s of the configuration: it is "
                        "not asked",
                        name);
            continue;
        }
        err = new_process(supervisor, IPC_PEER_PROBER, name,
                          &supervisor->probers[supervisor->prober_count]);
        if (err)
            return err;
        supervisor->prober_count++;
    }
    return ESCROW_OK;
}

void supervisor_replace_alerter(struct supervisor *supervisor)
{
    if (process_is_running(supervisor->alerter)) /* on_ended starts the next one */
        process_shut_down(supervisor->alerter, supervisor->snapshot.config->limits.shutdown_ms);
    else if (wants_alerter(supervisor))
        supervisor_start(supervisor, supervisor->alerter);
}

static void on_hangup(evutil_socket_t number, short what, void *argument)
{
    (void)number;
    (void)what;
    supervisor_reload(argument);
}

static void on_terminate(evutil_socket_t number, short what, void *argument)
{
    (void)what;
    log_notice("stops on signal %d", (int)number);
    supervisor_stop(argument, ESCROW_OK);
}

static enum escrow_err set_up_events(struct supervisor *supervisor)
{
    static const struct {
        int number;
        event_callback_fn callback;
    } table[SUPERVISOR_SIGNALS] = {
        {SIGTERM, on_terminate}, {SIGINT, on_terminate}, {SIGHUP, on_hangup}};

    supervisor->base = event_base_new();
    if (!supervisor->base)
        return ESCROW_ERR_NO_MEMORY;
    for (size_t i = 0; i < SUPERVISOR_SIGNALS; i++) {
        supervisor->signals[i] =
            evsignal_new(supervisor->base, table[i].number, table[i].callback, supervisor);
        if (!supervisor->signals[i] || event_add(supervisor->signals[i], NULL) < 0)
            return ESCROW_ERR_NO_MEMORY;
    }
    supervisor->stop_timer = evtimer_new(supervisor->base, on_stop_deadline, supervisor);
    if (!supervisor->stop_timer)
        return ESCROW_ERR_NO_MEMORY;
    return file_watch_new(supervisor->base, supervisor_on_change, supervisor, &supervisor->watch);
}

static enum escrow_err listen_for_front(struct supervisor *supervisor)
{
    const struct escrowd_listen *clients = &supervisor->snapshot.config->listen;
    const struct escrowd_monitor *monitor = &supervisor->snapshot.config->monitor;
    enum escrow_err err = front_listen(clients->address, (uint16_t)clients->port,
                                       &supervisor->listener_fd, &supervisor->port);

    if (!err && monitor->address)
        err = front_listen(monitor->address, (uint16_t)monitor->port, &supervisor->monitor_fd,
                           &supervisor->monitor_port);
    if (!err && monitor->socket)
        err = front_listen_local(monitor->socket, monitor->group, &supervisor->monitor_fd);
    return err;
}

static enum escrow_err set_up(struct supervisor *supervisor)
{
    enum escrow_err err = snapshot_take(supervisor->config_path, &supervisor->snapshot);

    if (!err)
        err = listen_for_front(supervisor);
    if (!err)
        err = set_up_events(supervisor);
    /* Watched first, so that no change is missed. */
    if (!err)
        err = watched_set(supervisor->watch, supervisor->config_path, supervisor->snapshot.config);
    if (!err)
        err = credentials_seal(&supervisor->snapshot.config->tls,
                               &supervisor->snapshot.credentials_fd);
    if (!err)
        err = new_process(supervisor, IPC_PEER_KEEPER, "", &supervisor->keeper);
    if (!err)
        err = new_process(supervisor, IPC_PEER_FRONT, "", &supervisor->front);
    if (!err)
        err = new_process(supervisor, IPC_PEER_ALERTER, "", &supervisor->alerter);
    return err ? err : supervisor_new_probers(supervisor);
}

static void deinit(struct supervisor *supervisor)
{
    process_free(supervisor->front);
    process_free(supervisor->keeper);
    process_free(supervisor->alerter);
    free_probers(supervisor);
    for (size_t i = 0; i < SUPERVISOR_SIGNALS; i++) {
        if (supervisor->signals[i])
            event_free(supervisor->signals[i]);
    }
    if (supervisor->stop_timer)
        event_free(supervisor->stop_timer);
    file_watch_free(supervisor->watch);
    if (supervisor->base)
        event_base_free(supervisor->base);
    cleanup_close(&supervisor->listener_fd);
    cleanup_close(&supervisor->offered_fd);
    cleanup_close(&supervisor->monitor_fd);
    snapshot_deinit(&supervisor->snapshot);
}

enum escrow_err supervisor_run(const char *config_path)
{
    CLEANUP(deinit)
    struct supervisor supervisor = {.config_path = config_path,
                                    .snapshot = SNAPSHOT_EMPTY,
                                    .listener_fd = -1,
                                    .monitor_fd = -1,
                                    .offered_fd = -1};
    struct process *process;
    enum escrow_err err = sandbox_harden();

    if (!err)
        err = set_up(&supervisor);
    if (err)
        return err;
    log_info(
        "escrowd " ESCROW_VERSION ": member %s, configuration %s, policy %s, listens on %s port "
        "%u",
        supervisor.snapshot.config->member, config_path, supervisor.snapshot.config->policy_file,
        supervisor.snapshot.config->listen.address, supervisor.port);
    for (size_t i = 0; (process = process_at(&supervisor, i)) != NULL; i++)
        supervisor_start(&supervisor, process);
    if (event_base_dispatch(supervisor.base) < 0)
        return ESCROW_ERR_SYSTEM;
    return supervisor.result;
}
