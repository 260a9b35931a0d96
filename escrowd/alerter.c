/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/alerter.h"

#include "escrowd/alert.h"
#include "escrowd/clock.h"
#include "escrowd/command.h"
#include "escrowd/role.h"
#include "libescrow/cleanup.h"
#include "libescrow/ipc_channel.h"
#include "libescrow/json.h"
#include "libescrow/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* A keeper hands over one after the other, and what is left when it ends (ALERT_TOPICS_MAX). */
#define WAITING_MAX 512

struct job {
    STAILQ_ENTRY(job) next;
    uint64_t id;
    uint64_t keeper; /* which one of those so far wants to know */
    char *text;
};

struct alerter {
    const struct escrowd_config *config;
    struct event_base *base;
    struct role *role;
    struct ipc_channel *keeper;
    uint64_t keepers; /* so far */
    STAILQ_HEAD(job_list, job) waiting;
    size_t count;
    struct command *command; /* runs for the first of them, or NULL */
    struct event *stop;
    bool is_stopping;
};

static void next(struct alerter *alerter);

static void drop_first(struct alerter *alerter)
{
    struct job *job = STAILQ_FIRST(&alerter->waiting);

    STAILQ_REMOVE_HEAD(&alerter->waiting, next);
    alerter->count--;
    free(job->text);
    free(job);
}

/* ---- one after the other ---- */

/* To the keeper that it came from, if that is still there. */
static void report(struct alerter *alerter, const struct job *job,
                   const struct command_result *result)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    const struct ipc_alert_done done = {.outcome =
                                            result->outcome == COMMAND_EXITED && result->number == 0
                                                ? IPC_ALERT_DELIVERED
                                                : (enum ipc_alert_outcome)result->outcome,
                                        .number = result->number};

    if (!alerter->keeper || job->keeper != alerter->keepers)
        return;
    ipc_put_alert_done(&writer, &done);
    if (ipc_channel_send(alerter->keeper, IPC_ALERT_DONE, job->id, &writer))
        log_warning("the keeper does not take an answer");
}

static void on_end(const struct command_result *result, void *argument)
{
    struct alerter *alerter = argument;

    alerter->command = NULL;
    report(alerter, STAILQ_FIRST(&alerter->waiting), result);
    drop_first(alerter);
    next(alerter);
}

static void next(struct alerter *alerter)
{
    static const struct command_result failed = {.outcome = COMMAND_NOT_STARTED};
    const struct command_config command = {.base = alerter->base,
                                           .path = alerter->config->alert.command,
                                           .timeout_ms = alerter->config->alert.timeout_ms,
                                           .on_end = on_end,
                                           .argument = alerter};
    struct job *job;

    while (!alerter->command && (job = STAILQ_FIRST(&alerter->waiting)) != NULL) {
        if (command_start(&command, job->text, &alerter->command) == ESCROW_OK)
            return;
        alerter->command = NULL;
        report(alerter, job, &failed);
        drop_first(alerter);
    }
    if (!alerter->command && alerter->is_stopping)
        event_base_loopbreak(alerter->base);
}

/* ---- the keeper ---- */

static enum escrow_err on_alert(struct ipc_channel *channel, const struct ipc_message *message,
                                void *argument)
{
    struct alerter *alerter = argument;
    struct ipc_reader reader;
    struct job *job;
    const char *text;
    enum escrow_err err;

    (void)channel;
    ipc_reader_init(&reader, message);
    text = ipc_get_string(&reader, ALERT_BYTES_MAX);
    err = ipc_reader_end(&reader);
    if (err || alerter->count == WAITING_MAX)
        return ESCROW_ERR_MALFORMED;
    job = calloc(1, sizeof(*job));
    if (!job)
        return ESCROW_ERR_NO_MEMORY;
    *job = (struct job){.id = message->id, .keeper = alerter->keepers, .text = strdup(text)};
    if (!job->text) {
        free(job);
        return ESCROW_ERR_NO_MEMORY;
    }
    STAILQ_INSERT_TAIL(&alerter->waiting, job, next);
    alerter->count++;
    next(alerter);
    return ESCROW_OK;
}

static const struct ipc_permit permits[] = {
    {.type = IPC_ALERT, .states = IPC_ANY_STATE, .handler = on_alert},
};

static void on_close(struct ipc_channel *channel, enum ipc_closed why, void *argument)
{
    struct alerter *alerter = argument;

    (void)why;
    ipc_channel_free(channel);
    alerter->keeper = NULL;
}

/* A new keeper; what the one before handed over is run for nobody's answer. */
static void on_peer(const struct ipc_peer *peer, int fd, void *argument)
{
    struct alerter *alerter = argument;
    const struct ipc_channel_config config = {.base = alerter->base,
                                              .name = "keeper",
                                              .permits = permits,
                                              .permit_count = ARRAY_LEN(permits),
                                              .state = 1,
                                              .on_close = on_close,
                                              .argument = alerter};

    if (peer->kind != IPC_PEER_KEEPER || alerter->is_stopping) {
        cleanup_close(&fd);
        return;
    }
    ipc_channel_free(alerter->keeper);
    alerter->keeper = NULL;
    alerter->keepers++;
    if (ipc_channel_new(&config, fd, &alerter->keeper))
        log_error("no channel to the keeper");
}

/* ---- its life ---- */

static void on_stop_deadline(evutil_socket_t fd, short what, void *argument)
{
    struct alerter *alerter = argument;

    (void)fd;
    (void)what;
    log_warning("%zu alerts are not delivered: escrowd ends", alerter->count);
    event_base_loopbreak(alerter->base);
}

/* What was handed over is delivered, in half of the time that escrowd has to end. */
static void on_shutdown(void *argument)
{
    struct alerter *alerter = argument;
    int64_t ms = alerter->config->limits.shutdown_ms / 2;
    const struct timeval limit = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

    if (alerter->is_stopping)
        return;
    alerter->is_stopping = true;
    if (event_add(alerter->stop, &limit) < 0)
        event_base_loopbreak(alerter->base);
    next(alerter);
}

static const struct role_events role_events = {.on_peer = on_peer, .on_shutdown = on_shutdown};

static void deinit(struct alerter *alerter)
{
    command_free(alerter->command);
    while (!STAILQ_EMPTY(&alerter->waiting))
        drop_first(alerter);
    ipc_channel_free(alerter->keeper);
    role_free(alerter->role);
    if (alerter->stop)
        event_free(alerter->stop);
    if (alerter->base)
        event_base_free(alerter->base);
}

enum escrow_err alerter_run(const struct escrowd_config *config, int supervisor_fd)
{
    CLEANUP(deinit) struct alerter alerter = {.config = config};
    enum escrow_err err;

    STAILQ_INIT(&alerter.waiting);
    alerter.base = event_base_new();
    if (alerter.base)
        alerter.stop = evtimer_new(alerter.base, on_stop_deadline, &alerter);
    if (!alerter.stop) {
        cleanup_close(&supervisor_fd);
        return ESCROW_ERR_NO_MEMORY;
    }
    err = role_new(alerter.base, supervisor_fd, &role_events, &alerter, &alerter.role);
    if (!err)
        err = command_adopt();
    if (!err)
        err = role_ready(alerter.role, 0);
    if (!err && event_base_dispatch(alerter.base) < 0)
        err = ESCROW_ERR_SYSTEM;
    if (!err && role_is_orphaned(alerter.role))
        err = ESCROW_ERR_UNAVAILABLE;
    return err;
}

/* ---- escrowd test-alert ---- */

static void on_test_end(const struct command_result *result, void *argument)
{
    *(struct command_result *)argument = *result;
}

static enum escrow_err judge(const struct escrowd_alert *alert, const struct command_result *result)
{
    switch (result->outcome) {
    case COMMAND_EXITED:
        if (result->number == 0)
            return ESCROW_OK;
        log_error("%s ended with status %u", alert->command, result->number);
        break;
    case COMMAND_KILLED:
        log_error("%s was killed by signal %u (%s)", alert->command, result->number,
                  strsignal((int)result->number));
        break;
    case COMMAND_TIMED_OUT:
        log_error("%s did not end within %lld ms and was killed", alert->command,
                  (long long)alert->timeout_ms);
        break;
    case COMMAND_NOT_STARTED:
        break;
    }
    return ESCROW_ERR_UNAVAILABLE;
}

static enum escrow_err run_test(const struct escrowd_config *config, struct event_base *base,
                                const char *text)
{
    struct command_result result = {.outcome = COMMAND_NOT_STARTED};
    const struct command_config command_config = {.base = base,
                                                  .path = config->alert.command,
                                                  .timeout_ms = config->alert.timeout_ms,
                                                  .on_end = on_test_end,
                                                  .argument = &result};
    struct command *command;
    enum escrow_err err = command_start(&command_config, text, &command);

    if (err)
        return err;
    /* Until the command is gone: then no event is left. */
    if (event_base_dispatch(base) < 0)
        return ESCROW_ERR_SYSTEM;
    return judge(&config->alert, &result);
}

enum escrow_err alerter_test(const struct escrowd_config *config)
{
    CLEANUP(json_free_p) json_t *document = NULL;
    CLEANUP(cleanup_free) char *text = NULL;
    struct event_base *base = NULL;
    struct alert alert;
    enum escrow_err err = ESCROW_ERR_NO_MEMORY;

    if (!config->alert.command) {
        log_error("the configuration has no alert:");
        return ESCROW_ERR_CONFIG;
    }
    alert_of_test(clock_wall_ms(), &alert);
    document = alert_json(&alert, config->member, "");
    if (document && json_object_set_new(document, "suppressed", json_integer(0)) == 0 &&
        json_object_set_new(document, "undelivered", json_integer(0)) == 0)
        text = json_text(document);
    base = event_base_new();
    if (text && base)
        err = command_adopt();
    if (text && base && !err)
        err = run_test(config, base, text);
    if (base)
        event_base_free(base);
    return err;
}
