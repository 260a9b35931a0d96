/* SPDX-License-Identifier: Apache-2.0 */
#include "client/worker_run.h"

#include "libescrow/cleanup.h"
#include "libescrow/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>

/* The end of a worker's life belongs to its report: what waits must give up before. */
#define RESERVE_MS 500
/* Of the alarm, behind what ends by itself. */
#define ALARM_GRACE_MS 2000

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void worker_run_init(struct worker_run *run, const struct worker_task *task)
{
    *run =
        (struct worker_run){.task = task, .part = WORKER_PART_CONNECT, .part_since_us = now_us()};
    worker_run_limit(run, task->config->worker_deadline_ms - RESERVE_MS);
}

void worker_run_limit(struct worker_run *run, int64_t ms)
{
    run->deadline_ms = now_us() / 1000 + ms;
}

enum escrow_err worker_run_alarm(int64_t ms)
{
    const struct itimerval deadline = {
        .it_value = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000}};

    return setitimer(ITIMER_REAL, &deadline, NULL) == 0 ? ESCROW_OK : ESCROW_ERR_SYSTEM;
}

enum escrow_err worker_run_await_go(struct worker_run *run, int timeout_ms)
{
    CLEANUP(ipc_buffer_free_p) struct ipc_buffer *buffer = NULL;
    struct ipc_message message;
    enum escrow_err err;

    if (run->has_begun)
        return ESCROW_OK;
    buffer = ipc_buffer_new();
    if (!buffer)
        return ESCROW_ERR_NO_MEMORY;
    err = ipc_receive(run->task->channel_fd, buffer, timeout_ms, &message);
    if (!err && (message.type != WORKER_MESSAGE_GO || message.len != 0))
        err = ESCROW_ERR_MALFORMED;
    if (!err)
        err = worker_run_alarm(run->task->config->worker_deadline_ms);
    if (err)
        return err;
    worker_run_init(run, run->task);
    run->has_begun = true;
    return ESCROW_OK;
}

/* The attempt's own time begins, or the admins', in which it lives on. */
static enum escrow_err set_time(struct worker_run *run, int64_t ms)
{
    worker_run_limit(run, ms);
    return worker_run_alarm(ms + ALARM_GRACE_MS);
}

enum escrow_err worker_run_wait_begin(struct worker_run *run)
{
    int64_t now_ms = now_us() / 1000;

    if (run->wait_by_ms == 0)
        run->wait_by_ms = now_ms + WORKER_APPROVAL_MS;
    if (now_ms >= run->wait_by_ms)
        return ESCROW_ERR_TIMEOUT;
    worker_run_begin(run, WORKER_PART_APPROVAL);
    return set_time(run, run->wait_by_ms - now_ms);
}

enum escrow_err worker_run_wait_end(struct worker_run *run)
{
    worker_run_begin(run, WORKER_PART_CHALLENGE);
    return set_time(run, run->task->config->worker_deadline_ms);
}

enum escrow_err worker_run_pause(const struct worker_run *run, int timeout_ms)
{
    CLEANUP(ipc_buffer_free_p) struct ipc_buffer *buffer = ipc_buffer_new();
    struct ipc_message message;
    enum escrow_err err;

    if (!buffer)
        return ESCROW_ERR_NO_MEMORY;
    err = ipc_receive(run->task->channel_fd, buffer, timeout_ms, &message);
    if (!err && (message.type != WORKER_MESSAGE_LOOK || message.len != 0))
        err = ESCROW_ERR_MALFORMED;
    return err;
}

void worker_run_end(struct worker_run *run)
{
    int64_t now = now_us();

    run->result.took_us[run->part] += (uint32_t)(now - run->part_since_us);
    run->part_since_us = now;
}

void worker_run_begin(struct worker_run *run, enum worker_part part)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    worker_run_end(run);
    run->part = part;
    worker_put_part(&writer, part);
    /* Only a hint: the result matters, and its sending is checked. */
    if (run->task->channel_fd >= 0 &&
        ipc_send(run->task->channel_fd, WORKER_MESSAGE_PART, 0, &writer, 0))
        log_debug("the parent was not told of step %s", worker_part_name(part));
}

int64_t worker_run_left_ms(const struct worker_run *run)
{
    int64_t left_ms = run->deadline_ms - now_us() / 1000;

    return left_ms < 1 ? 1 : left_ms;
}

void worker_run_fail(struct worker_run *run, enum worker_outcome outcome, const char *format, ...)
{
    va_list arguments;

    run->result.outcome = outcome;
    run->result.reason = REASON_NONE;
    run->result.sql_error = 0;
    run->result.retry_after_s = 0;
    va_start(arguments, format);
    vsnprintf(run->result.text, sizeof(run->result.text), format, arguments);
    va_end(arguments);
}
