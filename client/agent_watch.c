/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_watch.h"

#include "client/agent_worker.h"
#include "libescrow/cleanup.h"
#include "libescrow/log.h"

#include <openssl/rand.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct agent_watch {
    struct agent_watch_config config;
    const struct agent_instance *instance; /* of config.target, as is the next */
    const char *database;
    struct agent_state state;
    struct agent_worker *worker;
    struct agent_place place;
    struct event *timer;
    bool is_stopped;
    /* What was last said, so that only changes are. */
    enum probe_outcome said_outcome;
    int32_t said_error;
    enum probe_opens said_opens;
    int32_t said_opens_error;
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void advance(struct agent_watch *watch);

static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    advance(argument);
}

static void wait_until(struct agent_watch *watch, int64_t until_ms)
{
    int64_t left_ms = until_ms - now_ms();
    struct timeval left;

    evtimer_del(watch->timer);
    if (until_ms == INT64_MAX)
        return;
    /* A millisecond more: a timer that is early by a fraction would find nothing due. */
    left_ms = left_ms < 0 ? 1 : left_ms + 1;
    left = (struct timeval){.tv_sec = left_ms / 1000, .tv_usec = (left_ms % 1000) * 1000};
    evtimer_add(watch->timer, &left);
}

/* "in 12.3 s", for the end of a log line. */
static const char *in_seconds(int64_t until_ms, char *text, size_t cap)
{
    int64_t left_ms = until_ms - now_ms();

    snprintf(text, cap, "in %.1f s", left_ms < 0 ? 0.0 : (double)left_ms / 1000);
    return text;
}

static json_t *parts_of(const struct worker_result *result)
{
    json_t *parts = json_object();

    for (unsigned i = 0; i < WORKER_PARTS; i++)
        json_object_set_new(parts, worker_part_name((enum worker_part)i),
                            json_real((double)result->took_us[i] / 1000));
    return parts;
}

static void tell_hooks(const struct agent_watch *watch, const struct worker_result *result)
{
    const struct agent_instance *instance = watch->instance;
    json_t *event = json_pack("{s:s, s:s, s:s, s:s, s:I, s:i, s:b, s:b, s:o}", "event", "opened",
                              "instance", instance->name, "group", instance->group, "database",
                              watch->database, "epoch", (json_int_t)result->epoch, "version",
                              (int)result->version, "database_behind_escrow", result->is_behind,
                              "receipted", result->is_receipted, "took_ms", parts_of(result));

    if (event)
        agent_hooks_run(watch->config.hooks, event);
    else
        log_error("%s/%s: no memory: hooks are not told of this promotion", instance->name,
                  watch->database);
    json_decref(event);
}

static const char *parts_text(const struct worker_result *result, char *text, size_t cap)
{
    uint64_t total_us = 0;
    size_t used;

    for (unsigned i = 0; i < WORKER_PARTS; i++)
        total_us += result->took_us[i];
    used = (size_t)snprintf(text, cap, "%.1f ms:", (double)total_us / 1000);
    for (unsigned i = 0; i < WORKER_PARTS && used < cap; i++)
        if (result->took_us[i] > 0)
            used += (size_t)snprintf(text + used, cap - used, " %s %.1f",
                                     worker_part_name((enum worker_part)i),
                                     (double)result->took_us[i] / 1000);
    return text;
}

static void say_success(const struct agent_watch *watch, const struct worker_result *result)
{
    char parts[512];

    log_notice("%s/%s: the master key opens by itself again: version %u, epoch %llu, in %s",
               watch->instance->name, watch->database, result->version,
               (unsigned long long)result->epoch, parts_text(result, parts, sizeof(parts)));
    if (result->is_behind)
        log_warning("%s/%s: database_behind_escrow: an older password than the active one opened "
                    "it, so an older state of the database is here (a restored backup, or a "
                    "forced failover); give the master key a new one, and deposit that: "
                    "escrowctl(1), CHANGING A PASSWORD",
                    watch->instance->name, watch->database);
    if (!result->is_receipted)
        log_warning("%s/%s: no escrowd took the receipt: the grant stays unsettled there and "
                    "raises an alert",
                    watch->instance->name, watch->database);
}

/* " (SQL error 18456)", or nothing. */
static const char *error_text(int32_t number, char *text, size_t cap)
{
    text[0] = '\0';
    if (number != 0)
        snprintf(text, cap, " (SQL error %d)", (int)number);
    return text;
}

static void say_failure(const struct agent_watch *watch, const struct worker_result *result)
{
    const struct agent_state *state = &watch->state;
    int64_t next_ms = state->worker_not_before_ms > state->login->not_before_ms
                          ? state->worker_not_before_ms
                          : state->login->not_before_ms;
    char next[32], code[64] = "", number[32];

    if (result->reason != REASON_NONE)
        snprintf(code, sizeof(code), "/%s", reason_code(result->reason));
    log_error("%s/%s: the master key does not open: %s%s%s: %s; next attempt %s",
              watch->instance->name, watch->database, worker_outcome_name(result->outcome), code,
              error_text(result->sql_error, number, sizeof(number)), result->text,
              in_seconds(next_ms, next, sizeof(next)));
}

/* It was never let go, so nothing was tried: only a refused login tells something. */
static void on_ready_ended(struct agent_watch *watch, const struct worker_result *result)
{
    enum log_level level =
        result->outcome == WORKER_LOGIN_REFUSED ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO;
    char number[32];

    agent_state_on_ready_ended(&watch->state, result, now_ms());
    log_write(level,
              "%s/%s: the worker that was made ready has ended: %s%s: %s; another one is started "
              "when it is needed",
              watch->instance->name, watch->database, worker_outcome_name(result->outcome),
              error_text(result->sql_error, number, sizeof(number)), result->text);
    advance(watch);
}

static void on_worker_ended(const struct worker_result *result, void *argument)
{
    struct agent_watch *watch = argument;

    watch->worker = NULL;
    if (!watch->state.is_working) {
        on_ready_ended(watch, result);
        return;
    }
    agent_state_on_worker(&watch->state, result, now_ms());
    switch (result->outcome) {
    case WORKER_OPENED:
        say_success(watch, result);
        tell_hooks(watch, result);
        break;
    case WORKER_ALREADY_OPEN:
        log_info("%s/%s: the master key opens by itself already: nothing was asked",
                 watch->instance->name, watch->database);
        break;
    case WORKER_DIED:
    case WORKER_NEEDS_APPROVAL:
    case WORKER_DENIED:
    case WORKER_UNAVAILABLE:
    case WORKER_DISTRUSTED:
    case WORKER_WRONG_PASSWORD:
    case WORKER_LOGIN_REFUSED:
    case WORKER_SQL_UNREACHABLE:
    case WORKER_SQL_FAILED:
    case WORKER_NOT_PROVED:
    case WORKER_LOCAL:
    case WORKER_OUTCOMES:
        say_failure(watch, result);
        break;
    }
    if (watch->is_stopped)
        watch->config.on_idle(watch->config.argument);
    else
        advance(watch);
}

/* Who works, or would, has a place or waits for one. Who waits for admins does not work. */
static void seek_place(struct agent_watch *watch)
{
    bool needs_place = watch->worker ? !agent_worker_awaits_admins(watch->worker)
                                     : agent_state_wants_worker(&watch->state);
    bool has_place = needs_place && agent_places_take(watch->config.places, &watch->place);

    if (!needs_place)
        agent_places_leave(watch->config.places, &watch->place);
    agent_state_hold(&watch->state, !has_place);
}

static void on_place(void *argument)
{
    advance(argument);
}

/* One whose admins have decided goes on at once, place or not. */
static void on_admins(void *argument)
{
    seek_place(argument);
}

static enum escrow_err start_child(struct agent_watch *watch)
{
    const struct agent_worker_config config = {
        .base = watch->config.base,
        .config_path = watch->config.config_path,
        .instance = watch->instance->name,
        .group = watch->instance->group,
        .database = watch->database,
        .ready_ms = WORKER_READY_MS,
        .deadline_ms = watch->config.agent->worker_deadline_ms,
        .on_admins = on_admins,
        .on_end = on_worker_ended,
        .argument = watch,
    };

    return agent_worker_start(&config, &watch->worker);
}

static void ready_worker(struct agent_watch *watch)
{
    const char *name = watch->instance->name;

    if (!agent_places_have_room(watch->config.places)) {
        log_info("%s/%s: it may become primary, as others may: its worker is started when it is "
                 "needed",
                 name, watch->database);
        return;
    }
    log_info("%s/%s: it may become primary: a worker is made ready", name, watch->database);
    (void)agent_places_take(watch->config.places, &watch->place);
    if (start_child(watch) != ESCROW_OK)
        log_warning("%s/%s: no worker could be made ready: one is started when it is needed", name,
                    watch->database);
}

static void start_worker(struct agent_watch *watch)
{
    struct worker_result failure = {.outcome = WORKER_LOCAL};
    enum escrow_err err = watch->worker ? ESCROW_OK : start_child(watch);

    if (!err) {
        agent_worker_go(watch->worker);
        return;
    }
    snprintf(failure.text, sizeof(failure.text), "the worker cannot be started: %s",
             escrow_err_name(err));
    agent_state_on_worker(&watch->state, &failure, now_ms());
    say_failure(watch, &failure);
}

static void advance(struct agent_watch *watch)
{
    while (!watch->is_stopped) {
        struct agent_next next;

        seek_place(watch);
        next = agent_state_next(&watch->state, now_ms());
        switch (next.step) {
        case AGENT_ASK_LOCAL:
            agent_prober_ask(watch->config.prober, IPC_PROBE_ASK_LOCAL, watch->config.index);
            break;
        case AGENT_ASK_OPENS:
            agent_prober_ask(watch->config.prober, IPC_PROBE_ASK_OPENS, watch->config.index);
            break;
        case AGENT_READY_WORKER:
            ready_worker(watch);
            break;
        case AGENT_DISMISS_WORKER:
            agent_worker_free(TAKE(watch->worker));
            break;
        case AGENT_START_WORKER:
            start_worker(watch);
            break;
        case AGENT_WAIT:
            seek_place(watch);
            wait_until(watch, next.until_ms);
            return;
        }
    }
}

enum escrow_err agent_watch_new(const struct agent_watch_config *config,
                                struct agent_watch **ret_watch)
{
    struct agent_watch *watch = calloc(1, sizeof(*watch));
    uint32_t seed = 0;

    if (!watch)
        return ESCROW_ERR_NO_MEMORY;
    watch->config = *config;
    watch->instance = config->target->instance;
    watch->database = config->target->database;
    watch->place = (struct agent_place){.on_given = on_place, .argument = watch};
    watch->timer = evtimer_new(config->base, on_timer, watch);
    if (!watch->timer || RAND_bytes((unsigned char *)&seed, sizeof(seed)) != 1) {
        agent_watch_free(watch);
        return ESCROW_ERR_NO_MEMORY;
    }
    agent_state_init(&watch->state, config->login, config->agent->poll_ms,
                     config->agent->recheck_ms, seed, now_ms());
    *ret_watch = watch;
    return ESCROW_OK;
}

void agent_watch_free(struct agent_watch *watch)
{
    if (!watch)
        return;
    agent_places_leave(watch->config.places, &watch->place);
    agent_worker_free(watch->worker);
    if (watch->timer)
        event_free(watch->timer);
    free(watch);
}

void agent_watch_on_up(struct agent_watch *watch, bool is_up)
{
    agent_state_on_prober(&watch->state, is_up, now_ms());
    advance(watch);
}

/* Why the instance cannot be asked, once per reason; agent_state knows when it is asked again. */
static void say_unanswered(const struct agent_watch *watch, const struct probe_state *answer)
{
    const struct agent_state *state = &watch->state;
    const char *name = watch->instance->name;
    char next[32], number[32];

    error_text(answer->sql_error, number, sizeof(number));
    if (answer->outcome == PROBE_LOGIN_REFUSED)
        log_error("%s: SQL Server refuses the login%s: %s; so that the account is not locked, the "
                  "next question is %s",
                  name, number, answer->diagnosis,
                  in_seconds(state->login->not_before_ms, next, sizeof(next)));
    else if (answer->outcome == PROBE_NO_ROW)
        log_error("%s: no availability group %s here, or no right to see it: %s; asked again every "
                  "%.1f s",
                  name, watch->instance->availability_group, answer->diagnosis,
                  (double)state->poll_ms / 1000);
    else
        log_warning("%s: the instance cannot be asked%s: %s; asked again every %.1f s", name,
                    number, answer->diagnosis, (double)state->poll_ms / 1000);
}

static void say_role(const struct agent_watch *watch)
{
    if (watch->state.role == AGENT_ROLE_PRIMARY)
        log_notice("%s/%s: primary and READ_WRITE: does the master key open?",
                   watch->instance->name, watch->database);
    else
        log_notice("%s/%s: not primary, or not writable: nothing to do", watch->instance->name,
                   watch->database);
}

void agent_watch_on_local(struct agent_watch *watch, const struct probe_state *answer)
{
    enum agent_role before = watch->state.role;
    bool is_news = answer->outcome != watch->said_outcome || answer->sql_error != watch->said_error;

    agent_state_on_local(&watch->state, answer, now_ms());
    /* Each refusal of a login counts towards a lock: each is said. */
    if (answer->outcome != PROBE_ANSWERED && (is_news || answer->outcome == PROBE_LOGIN_REFUSED))
        say_unanswered(watch, answer);
    if (answer->outcome == PROBE_ANSWERED && (is_news || watch->state.role != before)) {
        watch->said_opens = PROBE_OPENS_UNKNOWN;
        watch->said_opens_error = -1; /* none: whatever comes is news */
        say_role(watch);
    }
    watch->said_outcome = answer->outcome;
    watch->said_error = answer->sql_error;
    advance(watch);
}

void agent_watch_on_opens(struct agent_watch *watch, const struct ipc_probe_opens *answer)
{
    bool is_news =
        answer->opens != watch->said_opens || answer->sql_error != watch->said_opens_error;
    const char *name = watch->instance->name;
    char number[32];

    agent_state_on_opens(&watch->state, answer->opens, now_ms());
    watch->said_opens = answer->opens;
    watch->said_opens_error = answer->sql_error;
    error_text(answer->sql_error, number, sizeof(number));
    if (answer->opens == PROBE_OPENS_UNKNOWN && is_news)
        log_warning("%s/%s: whether the master key opens cannot be asked%s; asked again in %.1f s",
                    name, watch->database, number, (double)watch->state.poll_ms / 1000);
    if (answer->opens == PROBE_OPENS_YES && is_news)
        log_info("%s/%s: the master key opens by itself", name, watch->database);
    if (answer->opens == PROBE_OPENS_NO && is_news)
        log_notice("%s/%s: the master key does not open by itself%s: escrowd is asked next", name,
                   watch->database, number);
    if (answer->opens == PROBE_OPENS_NO_CERTIFICATE)
        log_error("%s/%s: the certificate %s is missing, or this login has no right on it, so "
                  "nobody can tell whether the master key opens: run the statements of "
                  "`escrowctl sql-grants`; asked again in %.0f s",
                  name, watch->database, TSQL_PROBE_CERTIFICATE,
                  (double)watch->state.recheck_ms / 1000);
    advance(watch);
}

void agent_watch_on_notify(struct agent_watch *watch)
{
    if (watch->worker)
        agent_worker_look(watch->worker);
    agent_state_on_notify(&watch->state, now_ms());
    advance(watch);
}

/* Ends a worker that waits for its go. */
static void dismiss_worker(struct agent_watch *watch)
{
    if (!watch->state.is_working)
        agent_worker_free(TAKE(watch->worker));
}

void agent_watch_on_files(struct agent_watch *watch, bool is_login)
{
    dismiss_worker(watch);
    agent_state_on_files(&watch->state, is_login, now_ms());
    advance(watch);
}

void agent_watch_stop(struct agent_watch *watch)
{
    watch->is_stopped = true;
    evtimer_del(watch->timer);
    dismiss_worker(watch);
    if (!watch->worker)
        agent_places_leave(watch->config.places, &watch->place);
}

bool agent_watch_is_working(const struct agent_watch *watch)
{
    return watch->worker != NULL;
}
