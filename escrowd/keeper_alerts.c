/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_alerts.h"

#include "escrowd/alert_queue.h"
#include "escrowd/clock.h"
#include "escrowd/ipc_messages.h"
#include "escrowd/metric.h"
#include "libescrow/identity.h"
#include "libescrow/ipc_channel.h"
#include "libescrow/log.h"

#include <stdlib.h>
#include <string.h>

#define TRIES 2

enum { STATE_IDLE = 1, STATE_ASKED = 2 };

/* The one that is with the alerter, or was when it died. */
struct flight {
    char *text; /* NULL: there is none */
    unsigned tries;
    int64_t sent_ms;
};

struct keeper_alerts {
    struct keeper_alerts_config config;
    struct alert_queue *queue;
    struct ipc_channel *channel;
    int64_t lost_ms; /* since when there is none */
    uint64_t id;
    struct flight flight;
    uint64_t recorded;                 /* the last record that was looked at */
    enum reason told[CHECK_OF_KEEPER]; /* trouble that there was an alert about */
    uint64_t outcomes[IPC_ALERT_DELIVERED + 1];
    uint64_t lost; /* with an alerter that died */
    uint64_t connections;
    struct ipc_alert_done last;      /* outcome 0: none yet */
    char identity[IDENTITY_MAX + 1]; /* of this escrowd, as clients know it; "": not known yet */
    unsigned failures;               /* in a row */
    struct log_limit log;
};

static const char *const outcome_words[] = {
    [IPC_ALERT_FAILED] = "failed",       [IPC_ALERT_KILLED] = "killed",
    [IPC_ALERT_TIMED_OUT] = "timed_out", [IPC_ALERT_NOT_STARTED] = "not_started",
    [IPC_ALERT_DELIVERED] = "delivered",
};

enum escrow_err keeper_alerts_new(const struct keeper_alerts_config *config,
                                  struct keeper_alerts **ret_alerts)
{
    CLEANUP(keeper_alerts_free_p) struct keeper_alerts *alerts = calloc(1, sizeof(*alerts));

    if (!alerts)
        return ESCROW_ERR_NO_MEMORY;
    *alerts = (struct keeper_alerts){.config = *config, .lost_ms = clock_boot_ms()};
    alerts->queue = alert_queue_new();
    if (!alerts->queue)
        return ESCROW_ERR_NO_MEMORY;
    *ret_alerts = TAKE(alerts);
    return ESCROW_OK;
}

static bool is_on(const struct keeper_alerts *alerts)
{
    return alerts->config.timeout_ms > 0;
}

static void land(struct keeper_alerts *alerts)
{
    free(alerts->flight.text);
    alerts->flight = (struct flight){0};
}

static void drop_channel(struct keeper_alerts *alerts)
{
    ipc_channel_free(alerts->channel);
    alerts->channel = NULL;
    alerts->lost_ms = clock_boot_ms();
}

void keeper_alerts_free(struct keeper_alerts *alerts)
{
    if (!alerts)
        return;
    land(alerts);
    ipc_channel_free(alerts->channel);
    alert_queue_free(alerts->queue);
    free(alerts);
}

/* ---- out ---- */

static void note_failure(struct keeper_alerts *alerts)
{
    alerts->failures++;
    alert_queue_missed(alerts->queue);
}

static void send_flight(struct keeper_alerts *alerts)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    ipc_put_string(&writer, alerts->flight.text);
    alerts->flight.tries++;
    alerts->flight.sent_ms = clock_boot_ms();
    ipc_channel_set_state(alerts->channel, STATE_ASKED);
    if (ipc_channel_send(alerts->channel, IPC_ALERT, ++alerts->id, &writer) == ESCROW_OK)
        return;
    log_warning("the alerter does not take an alert");
    drop_channel(alerts);
    alerts->config.on_overdue(alerts->config.argument);
}

static void send_next(struct keeper_alerts *alerts)
{
    if (!alerts->channel || alerts->flight.text)
        return;
    alerts->flight.text = alert_queue_take(alerts->queue, clock_boot_ms(), false);
    if (alerts->flight.text)
        send_flight(alerts);
}

static void add(struct keeper_alerts *alerts, const struct alert *alert)
{
    if (!is_on(alerts))
        return;
    alert_queue_add(alerts->queue, alert_json(alert, alerts->config.member, alerts->identity),
                    clock_boot_ms());
    send_next(alerts);
}

void keeper_alerts_serve_as(struct keeper_alerts *alerts, const char *identity)
{
    if (identity_is_valid(identity))
        memcpy(alerts->identity, identity, strlen(identity) + 1);
}

void keeper_alerts_record(struct keeper_alerts *alerts, const struct audit_record *record)
{
    struct alert alert;

    if (!alerts)
        return;
    alerts->recorded = record->sequence;
    if (alert_of_record(record, &alert))
        add(alerts, &alert);
}

uint64_t keeper_alerts_told(const struct keeper_alerts *alerts)
{
    struct alert_numbers numbers;

    alert_queue_numbers(alerts->queue, &numbers);
    return numbers.waiting > 0 || alerts->flight.text ? 0 : alerts->recorded;
}

void keeper_alerts_checks(struct keeper_alerts *alerts,
                          const struct check checks[static CHECK_OF_KEEPER])
{
    struct alert alert;

    for (size_t i = 0; i < CHECK_OF_KEEPER; i++) {
        bool is_trouble = alert_of_check((enum check_name)i, &checks[i], clock_wall_ms(), &alert);

        if (is_trouble && alerts->told[i] != checks[i].reason)
            add(alerts, &alert);
        alerts->told[i] = is_trouble ? checks[i].reason : REASON_NONE;
    }
}

void keeper_alerts_hand_over(struct keeper_alerts *alerts)
{
    char *text;

    while (alerts->channel &&
           (text = alert_queue_take(alerts->queue, clock_boot_ms(), true)) != NULL) {
        CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

        ipc_put_string(&writer, text);
        if (ipc_channel_send(alerts->channel, IPC_ALERT, ++alerts->id, &writer))
            log_warning("an alert is lost: the keeper ends");
        free(text);
    }
}

/* ---- back ---- */

static void describe(const struct ipc_alert_done *done, char *ret_text, size_t cap)
{
    switch (done->outcome) {
    case IPC_ALERT_FAILED:
        snprintf(ret_text, cap, "the command ended with status %u", done->number);
        return;
    case IPC_ALERT_KILLED:
        snprintf(ret_text, cap, "the command was killed by signal %u", done->number);
        return;
    case IPC_ALERT_TIMED_OUT:
        snprintf(ret_text, cap, "the command did not end in time and was killed");
        return;
    case IPC_ALERT_NOT_STARTED:
        snprintf(ret_text, cap, "the command could not be started");
        return;
    case IPC_ALERT_DELIVERED:
        snprintf(ret_text, cap, "delivered");
        return;
    }
    ret_text[0] = '\0';
}

static enum escrow_err on_done(struct ipc_channel *channel, const struct ipc_message *message,
                               void *argument)
{
    struct keeper_alerts *alerts = argument;
    struct ipc_alert_done done;
    char text[64];
    enum escrow_err err = ipc_get_alert_done(message, &done);

    if (err || message->id != alerts->id)
        return ESCROW_ERR_MALFORMED;
    ipc_channel_set_state(channel, STATE_IDLE);
    land(alerts);
    alerts->last = done;
    alerts->outcomes[done.outcome]++;
    if (done.outcome == IPC_ALERT_DELIVERED) {
        alerts->failures = 0;
    } else {
        note_failure(alerts);
        describe(&done, text, sizeof(text));
        if (log_may(&alerts->log))
            log_warning("an alert was not delivered: %s", text);
    }
    send_next(alerts);
    return ESCROW_OK;
}

static const struct ipc_permit permits[] = {
    {.type = IPC_ALERT_DONE, .states = STATE_ASKED, .handler = on_done},
};

static void on_close(struct ipc_channel *channel, enum ipc_closed why, void *argument)
{
    struct keeper_alerts *alerts = argument;

    (void)channel;
    log_warning("the alerter is gone (%s)", ipc_closed_text(why));
    drop_channel(alerts);
    if (why != IPC_CLOSED_BY_PEER)
        alerts->config.on_overdue(alerts->config.argument);
}

void keeper_alerts_attach(struct keeper_alerts *alerts, int fd)
{
    const struct ipc_channel_config config = {
        .base = alerts->config.base,
        .name = "alerter",
        .permits = permits,
        .permit_count = ARRAY_LEN(permits),
        .state = STATE_IDLE,
        .on_close = on_close,
        .argument = alerts,
    };

    drop_channel(alerts);
    alerts->connections++;
    if (ipc_channel_new(&config, fd, &alerts->channel)) {
        log_error("no channel to the alerter");
        return;
    }
    if (alerts->flight.text && alerts->flight.tries >= TRIES) {
        log_warning("an alert is lost: the alerter died of it %d times", TRIES);
        alerts->lost++;
        land(alerts);
        note_failure(alerts);
    }
    if (alerts->flight.text)
        send_flight(alerts);
    else
        send_next(alerts);
}

void keeper_alerts_tick(struct keeper_alerts *alerts, int64_t overdue_ms)
{
    int64_t now_ms = clock_boot_ms();
    bool is_overdue = alerts->channel && alerts->flight.text &&
                      now_ms - alerts->flight.sent_ms >= alerts->config.timeout_ms + overdue_ms;
    bool is_missing = !alerts->channel && now_ms - alerts->lost_ms >= overdue_ms;

    if (!is_on(alerts))
        return;
    if (is_overdue || is_missing) {
        log_warning("the alerter %s",
                    is_overdue ? "does not answer" : "has no channel to the keeper");
        drop_channel(alerts);
        alerts->config.on_overdue(alerts->config.argument);
    }
    send_next(alerts);
}

/* ---- what is said of it ---- */

void keeper_alerts_check(const struct keeper_alerts *alerts, struct check *ret_check)
{
    char text[64];

    describe(&alerts->last, text, sizeof(text));
    if (!is_on(alerts))
        check_set(ret_check, CHECK_OK, REASON_NONE, "no command is configured");
    else if (!alerts->channel)
        check_set(ret_check, CHECK_WARN, REASON_ROLE_DOWN, "there is no alerter");
    else if (alerts->failures > 0)
        check_set(ret_check, CHECK_WARN, REASON_ALERT_FAILED, "%s; %u in a row were not delivered",
                  text[0] ? text : "the alerter died", alerts->failures);
    else
        check_set(ret_check, CHECK_OK, REASON_NONE, "%llu delivered",
                  (unsigned long long)alerts->outcomes[IPC_ALERT_DELIVERED]);
}

void keeper_alerts_metrics(FILE *out, const struct keeper_alerts *alerts)
{
    struct alert_numbers numbers;
    char labels[64];

    alert_queue_numbers(alerts->queue, &numbers);
    metric_family(out, "alerts_total", METRIC_COUNTER, "Alerts, by what became of them.");
    for (int outcome = IPC_ALERT_FAILED; outcome <= IPC_ALERT_DELIVERED; outcome++) {
        snprintf(labels, sizeof(labels), "outcome=\"%s\"", outcome_words[outcome]);
        metric_number(out, "alerts_total", labels, (int64_t)alerts->outcomes[outcome]);
    }
    metric_number(out, "alerts_total", "outcome=\"lost\"", (int64_t)(numbers.lost + alerts->lost));
    metric_number(out, "alerts_total", "outcome=\"suppressed\"", (int64_t)numbers.suppressed);
    metric_single(out, "alerts_waiting", METRIC_GAUGE, "Alerts that are not with the command yet.",
                  (int64_t)numbers.waiting);
    metric_single(out, "alerter_connections_total", METRIC_COUNTER,
                  "Alerters that the keeper was connected to: one more than restarts.",
                  (int64_t)alerts->connections);
}
