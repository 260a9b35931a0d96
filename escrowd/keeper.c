/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper.h"

#include "escrowd/clock.h"
#include "escrowd/ipc_body.h"
#include "escrowd/keeper_approve.h"
#include "escrowd/keeper_denials.h"
#include "escrowd/keeper_state.h"
#include "escrowd/keeper_told.h"
#include "libescrow/log.h"

#define TICK_MS 1000
#define SECOND_MS 1000
/* Beyond login, query and once more a query of an instance: the driver hangs. */
#define ROLE_OVERDUE_MS 15000
/* Longer than the supervisor's longest pause: a role without a channel by then closed it. */
#define FRONT_MISSING_MS 15000
/* libevent's events have the middle priority: those at hand come before the commit of what they
 * queued. */
#define PRIORITIES 3
#define PRIORITY_COMMIT 2

static enum escrow_err on_request(struct ipc_channel *channel, const struct ipc_message *message,
                                  void *argument)
{
    struct keeper *keeper = argument;
    struct ipc_request request;
    enum escrow_err err = ipc_get_request(message, &request);

    (void)channel;
    if (!err)
        err = request_new(keeper, message->id, &request);
    keeper_flush_late(keeper);
    return err;
}

/* A roster: only what a right front never sends costs it its channel. */
static enum escrow_err on_large_request(struct ipc_channel *channel,
                                        const struct ipc_message *message, void *argument)
{
    CLEANUP(cleanup_free) uint8_t *body = NULL;
    struct keeper *keeper = argument;
    struct ipc_request request;
    enum escrow_err err = ipc_get_large_request(message, &request, &body);

    (void)channel;
    if (!err) {
        err = request_new(keeper, message->id, &request);
    } else if (err != ESCROW_ERR_MALFORMED) {
        request_sorry(keeper, message->id);
        err = ESCROW_OK;
    }
    keeper_flush_late(keeper);
    return err;
}

static enum escrow_err on_gone(struct ipc_channel *channel, const struct ipc_message *message,
                               void *argument)
{
    (void)channel;
    if (message->len > 0)
        return ESCROW_ERR_MALFORMED;
    request_gone(argument, message->id);
    keeper_flush_late(argument);
    return ESCROW_OK;
}

static enum escrow_err on_refused(struct ipc_channel *channel, const struct ipc_message *message,
                                  void *argument)
{
    struct keeper *keeper = argument;
    struct ipc_refused refused;
    enum escrow_err err = ipc_get_refused(message, &refused);

    (void)channel;
    if (!err)
        refusals_count(keeper->refusals,
                       &(struct refusal_summary){refused.identity, refused.reason, refused.count},
                       clock_boot_ms());
    return err;
}

static enum escrow_err on_observe(struct ipc_channel *channel, const struct ipc_message *message,
                                  void *argument)
{
    (void)channel;
    if (message->len > 0)
        return ESCROW_ERR_MALFORMED;
    keeper_observed(argument);
    return ESCROW_OK;
}

static enum escrow_err on_served(struct ipc_channel *channel, const struct ipc_message *message,
                                 void *argument)
{
    struct keeper *keeper = argument;
    struct ipc_served served;
    enum escrow_err err = ipc_get_served(message, &served);

    (void)channel;
    if (err)
        return err;
    served_set(keeper->served, &served);
    keeper_alerts_serve_as(keeper->alerts, served.items[0].name);
    return ESCROW_OK;
}

static const struct ipc_permit front_permits[] = {
    {.type = IPC_REQUEST, .states = IPC_ANY_STATE, .handler = on_request},
    {.type = IPC_REQUEST_LARGE,
     .states = IPC_ANY_STATE,
     .handler = on_large_request,
     .takes_fd = true},
    {.type = IPC_GONE, .states = IPC_ANY_STATE, .handler = on_gone},
    {.type = IPC_REFUSED, .states = IPC_ANY_STATE, .handler = on_refused},
    {.type = IPC_OBSERVE, .states = IPC_ANY_STATE, .handler = on_observe},
    {.type = IPC_SERVED, .states = IPC_ANY_STATE, .handler = on_served},
};

static void drop_front(struct keeper *keeper)
{
    ipc_channel_free(keeper->front);
    keeper->front = NULL;
    keeper->front_lost_ms = clock_boot_ms();
    requests_gone(keeper);
}

static void restart_front(struct keeper *keeper)
{
    role_restart_peer(keeper->role, &(struct ipc_peer){.kind = IPC_PEER_FRONT, .instance = ""});
}

static void on_front_close(struct ipc_channel *channel, enum ipc_closed why, void *argument)
{
    struct keeper *keeper = argument;

    (void)channel;
    log_warning("front is gone (%s)", ipc_closed_text(why));
    drop_front(keeper);
    if (why != IPC_CLOSED_BY_PEER)
        restart_front(keeper);
}

/* If it still runs, nobody but the keeper knows that it is of no use. */
static void check_front(struct keeper *keeper)
{
    int64_t now_ms = clock_boot_ms();

    if (keeper->front || keeper->is_stopping || now_ms - keeper->front_lost_ms < FRONT_MISSING_MS)
        return;
    log_warning("front has no channel to the keeper");
    keeper->front_lost_ms = now_ms;
    restart_front(keeper);
}

static void attach_front(struct keeper *keeper, int fd)
{
    const struct ipc_channel_config config = {
        .base = keeper->base,
        .name = "front",
        .permits = front_permits,
        .permit_count = ARRAY_LEN(front_permits),
        .state = 1,
        .is_in_turn = true,
        .on_close = on_front_close,
        .argument = keeper,
    };

    drop_front(keeper);
    keeper->counts.fronts++;
    if (ipc_channel_new(&config, fd, &keeper->front))
        log_error("no channel to front");
}

static void on_peer(const struct ipc_peer *peer, int fd, void *argument)
{
    struct keeper *keeper = argument;

    switch (peer->kind) {
    case IPC_PEER_FRONT:
        attach_front(keeper, fd);
        return;
    case IPC_PEER_PROBER:
        probers_attach(keeper->probers, peer->instance, fd);
        return;
    case IPC_PEER_ALERTER:
        keeper_alerts_attach(keeper->alerts, fd);
        return;
    case IPC_PEER_KEEPER:
        break;
    }
    log_warning("a channel to a role that it does not talk to");
    cleanup_close(&fd);
}

static void on_overdue(const char *instance, void *argument)
{
    const struct keeper *keeper = argument;

    role_restart_peer(keeper->role,
                      &(struct ipc_peer){.kind = IPC_PEER_PROBER, .instance = instance});
}

static void on_alerter_overdue(void *argument)
{
    const struct keeper *keeper = argument;

    role_restart_peer(keeper->role, &(struct ipc_peer){.kind = IPC_PEER_ALERTER, .instance = ""});
}

static void on_summary(const struct refusal_summary *summary, void *argument)
{
    struct keeper *keeper = argument;
    struct audit_record record;
    CLEANUP(json_decrefp) json_t *detail = json_pack("{s:I}", "count", (json_int_t)summary->count);

    keeper_record(keeper, AUDIT_UNPROVED, &record);
    record.actor = summary->source[0] ? summary->source : NULL;
    record.reason = reason_code(summary->reason);
    record.detail = detail;
    if (!detail || keeper_append(keeper, &record, NULL, NULL))
        log_warning("%llu refusals of %s could not be recorded", (unsigned long long)summary->count,
                    summary->source);
}

/* A record that the log does not take now is tried again. */
static bool on_expiry(const struct served_alert *alert, void *argument)
{
    struct keeper *keeper = argument;
    struct audit_record record;
    CLEANUP(json_decrefp) json_t *detail = served_alert_json(alert);

    keeper_record(keeper, AUDIT_ALERT, &record);
    record.reason = reason_code(alert->reason);
    record.detail = detail;
    if (!detail || keeper_append(keeper, &record, NULL, NULL))
        return false;
    log_warning("%s: %s Renew it: escrowd takes it over without a restart.", alert->item->name,
                reason_text(alert->reason));
    return true;
}

static void check_space(struct keeper *keeper)
{
    struct audit_numbers numbers = {0};

    if (keeper->audit)
        audit_numbers(keeper->audit, &numbers);
    keeper->log_free_bytes = numbers.free_bytes;
}

/* True: nothing is in flight any more, or the time is over. */
static bool may_stop(const struct keeper *keeper)
{
    return keeper->is_stopping && ((LIST_EMPTY(&keeper->requests) && !warm_is_busy(keeper->warm)) ||
                                   clock_boot_ms() >= keeper->stop_by_ms);
}

static void stop(struct keeper *keeper)
{
    struct audit_record record;

    keeper_tpm_stop(keeper);
    refusals_flush(keeper->refusals, clock_boot_ms(), true, on_summary, keeper);
    denials_tick(keeper, true);
    keeper_record(keeper, AUDIT_SHUTDOWN, &record);
    if (keeper_append(keeper, &record, NULL, NULL))
        log_warning("the shutdown could not be recorded");
    keeper_flush(keeper);
    keeper_alerts_hand_over(keeper->alerts);
    keeper_told_end(keeper);
    event_base_loopbreak(keeper->base);
}

static void on_flush(evutil_socket_t fd, short what, void *argument)
{
    struct keeper *keeper = argument;

    (void)fd;
    (void)what;
    keeper_flush(keeper);
    if (may_stop(keeper))
        stop(keeper);
}

static void on_tick(evutil_socket_t fd, short what, void *argument)
{
    struct keeper *keeper = argument;

    (void)fd;
    (void)what;
    check_space(keeper);
    keeper_mend(keeper);
    keeper_tpm_tick(keeper);
    check_front(keeper);
    probers_check(keeper->probers, ROLE_OVERDUE_MS);
    watch_tick(keeper->watch);
    approve_expire(keeper);
    settle_tick(keeper->settle);
    moot_tick(keeper->moot);
    keeper_alerts_tick(keeper->alerts, ROLE_OVERDUE_MS);
    keeper_told_tick(keeper);
    survey_tick(keeper->survey);
    refusals_flush(keeper->refusals, clock_boot_ms(), false, on_summary, keeper);
    denials_tick(keeper, false);
    served_look(keeper->served, clock_wall_ms() / SECOND_MS, on_expiry, keeper);
    if (may_stop(keeper))
        stop(keeper);
}

static void on_shutdown(void *argument)
{
    struct keeper *keeper = argument;

    if (keeper->is_stopping)
        return;
    keeper->is_stopping = true;
    keeper->stop_by_ms = clock_boot_ms() + keeper->config->limits.shutdown_ms;
    /* Who waits for an order gets the empty list now. */
    requests_news(keeper);
    admission_drain(keeper->admission);
    keeper_tpm_drain(keeper);
    event_active(keeper->flush, EV_TIMEOUT, 0);
}

/* A policy never changes while it is in force: the supervisor starts a new keeper for a new one. */
static const struct role_events role_events = {.on_peer = on_peer, .on_shutdown = on_shutdown};

static enum escrow_err record_start(struct keeper *keeper)
{
    struct audit_record record;
    struct tpm_clock clock;
    CLEANUP(json_decrefp)
    json_t *detail =
        json_pack("{s:s, s:s}", "version", ESCROW_VERSION, "member", keeper->config->member);

    if (!detail)
        return ESCROW_ERR_NO_MEMORY;
    keeper_record(keeper, AUDIT_START, &record);
    record.detail = detail;
    if (keeper->is_tpm_well && tpm_clock_read(keeper->tpm, &clock) == ESCROW_OK) {
        record.has_tpm_clock = true;
        record.tpm_clock = clock.clock_ms;
        record.reset_count = clock.reset_count;
    }
    if (keeper->audit && keeper_append(keeper, &record, NULL, NULL))
        log_warning("the start could not be recorded");
    return ESCROW_OK;
}

static enum escrow_err start(struct keeper *keeper, int *supervisor_fd)
{
    const struct timeval second = {TICK_MS / 1000, 0};
    const struct probers_config probers = {.base = keeper->base,
                                           .policy = keeper->policy,
                                           .on_overdue = on_overdue,
                                           .argument = keeper};
    const struct keeper_alerts_config alerts = {
        .base = keeper->base,
        .member = keeper->config->member,
        .timeout_ms = keeper->config->alert.command ? keeper->config->alert.timeout_ms : 0,
        .on_overdue = on_alerter_overdue,
        .argument = keeper};
    int fd = *supervisor_fd;
    enum escrow_err err = probers_new(&probers, &keeper->probers);

    if (!err)
        err = keeper_alerts_new(&alerts, &keeper->alerts);
    if (!err)
        err = watch_new(keeper, &keeper->watch);
    if (!err)
        err = settle_new(keeper, &keeper->settle);
    if (!err)
        err = survey_new(keeper, &keeper->survey);
    if (!err)
        err = moot_new(keeper, &keeper->moot);
    if (!err)
        err = admission_new(keeper, &keeper->admission);
    if (!err)
        err = warm_new(keeper, &keeper->warm);
    if (err)
        return err;
    keeper->tick = event_new(keeper->base, -1, EV_PERSIST, on_tick, keeper);
    keeper->flush = event_new(keeper->base, -1, 0, on_flush, keeper);
    if (!keeper->tick || !keeper->flush || event_priority_set(keeper->flush, PRIORITY_COMMIT) ||
        event_add(keeper->tick, &second))
        return ESCROW_ERR_NO_MEMORY;
    keeper->is_tpm_well = tpm_check(keeper->tpm) == ESCROW_OK;
    check_space(keeper);
    keeper_told_resume(keeper);
    keeper_mend(keeper);
    err = record_start(keeper);
    if (!err)
        err = keeper_tpm_start(keeper);
    if (err)
        return err;
    keeper_tpm_tick(keeper);
    keeper->front_lost_ms = clock_boot_ms();
    *supervisor_fd = -1;
    err = role_new(keeper->base, fd, &role_events, keeper, &keeper->role);
    if (err)
        return err;
    if (!role_status(keeper->role, keeper->status))
        keeper->status[0] = '\0';
    return role_ready(keeper->role, 0);
}

static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;

    /* Without it timers tick every 4 ms, and a decision waits for several. */
    if (config && event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) == 0)
        base = event_base_new_with_config(config);
    if (config)
        event_config_free(config);
    return base;
}

enum escrow_err keeper_run(const struct escrowd_config *config, int policy_fd, int supervisor_fd)
{
    CLEANUP(cleanup_close) int fd = supervisor_fd;
    struct keeper keeper = {0};
    enum escrow_err err = keeper_open(&keeper, config, policy_fd);

    if (!err) {
        keeper.base = new_base();
        err = keeper.base ? ESCROW_OK : ESCROW_ERR_NO_MEMORY;
    }
    if (!err && event_base_priority_init(keeper.base, PRIORITIES))
        err = ESCROW_ERR_SYSTEM;
    if (!err)
        err = start(&keeper, &fd);
    if (!err && event_base_dispatch(keeper.base) < 0)
        err = ESCROW_ERR_SYSTEM;
    if (!err && role_is_orphaned(keeper.role))
        err = ESCROW_ERR_UNAVAILABLE;
    keeper_close(&keeper);
    role_free(keeper.role);
    if (keeper.tick)
        event_free(keeper.tick);
    if (keeper.flush)
        event_free(keeper.flush);
    if (keeper.base)
        event_base_free(keeper.base);
    return err;
}
