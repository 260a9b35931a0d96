/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_hook.h"

#include "client/agent_child.h"
#include "libescrow/cleanup.h"
#include "libescrow/json.h"
#include "libescrow/log.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <unistd.h>

/* More than that at once means that hooks hang: new events are logged instead. */
#define RUNNING_MAX 32

struct run {
    LIST_ENTRY(run) others;
    struct agent_hooks *hooks;
    const struct agent_hook *hook;
    struct agent_child *child;
    struct event *deadline;
};

struct agent_hooks {
    struct event_base *base;
    const struct agent_config *config;
    LIST_HEAD(run_list, run) running;
    size_t count;
};

static void end_run(struct run *run)
{
    if (run->deadline)
        event_free(run->deadline);
    LIST_REMOVE(run, others);
    run->hooks->count--;
    free(run);
}

static void on_exit_of_hook(int status, void *argument)
{
    struct run *run = argument;
    char text[64];

    if (status != 0)
        log_error("hook %s failed: %s", run->hook->path,
                  agent_child_status_text(status, text, sizeof(text)));
    else
        log_info("hook %s done", run->hook->path);
    end_run(run);
}

static void on_deadline(evutil_socket_t fd, short what, void *argument)
{
    struct run *run = argument;

    (void)fd;
    (void)what;
    log_error("hook %s did not end within %lld ms and is killed", run->hook->path,
              (long long)run->hook->timeout_ms);
    agent_child_signal(run->child, SIGKILL);
}

/* A file in memory that holds the text, read from its start: a pipe could fill up. */
static int text_fd(const char *text)
{
    int fd = memfd_create("event", MFD_CLOEXEC);
    size_t len = strlen(text);

    if (fd >= 0 && (write(fd, text, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) != 0))
        cleanup_close(&fd);
    return fd;
}

static enum escrow_err start_run(struct agent_hooks *hooks, const struct agent_hook *hook,
                                 int stdin_fd)
{
    const char *const argv[] = {hook->path, NULL};
    struct timeval timeout = {.tv_sec = hook->timeout_ms / 1000,
                              .tv_usec = (hook->timeout_ms % 1000) * 1000};
    struct run *run = calloc(1, sizeof(*run));
    struct agent_child_config child = {.base = hooks->base,
                                       .path = hook->path,
                                       .argv = argv,
                                       .stdin_fd = stdin_fd,
                                       .channel_fd = -1,
                                       .on_exit = on_exit_of_hook,
                                       .argument = run};
    enum escrow_err err = ESCROW_ERR_NO_MEMORY;

    if (!run)
        return err;
    run->hooks = hooks;
    run->hook = hook;
    LIST_INSERT_HEAD(&hooks->running, run, others);
    hooks->count++;
    run->deadline = evtimer_new(hooks->base, on_deadline, run);
    if (run->deadline && evtimer_add(run->deadline, &timeout) == 0)
        err = agent_child_start(&child, &run->child);
    if (err)
        end_run(run);
    return err;
}

enum escrow_err agent_hooks_new(struct event_base *base, const struct agent_config *config,
                                struct agent_hooks **ret_hooks)
{
    struct agent_hooks *hooks = calloc(1, sizeof(*hooks));

    if (!hooks)
        return ESCROW_ERR_NO_MEMORY;
    hooks->base = base;
    hooks->config = config;
    LIST_INIT(&hooks->running);
    *ret_hooks = hooks;
    return ESCROW_OK;
}

void agent_hooks_free(struct agent_hooks *hooks)
{
    struct run *run;

    if (!hooks)
        return;
    while ((run = LIST_FIRST(&hooks->running)) != NULL) {
        agent_child_free(run->child);
        end_run(run);
    }
    free(hooks);
}

void agent_hooks_run(struct agent_hooks *hooks, const json_t *event)
{
    CLEANUP(cleanup_free) char *text = json_text(event);

    for (size_t i = 0; i < hooks->config->hook_count; i++) {
        const struct agent_hook *hook = &hooks->config->hooks[i];
        /* Each its own: a shared file would have one shared position. */
        CLEANUP(cleanup_close) int fd = text ? text_fd(text) : -1;
        enum escrow_err err = fd < 0 ? ESCROW_ERR_SYSTEM : ESCROW_ERR_UNAVAILABLE;

        if (fd >= 0 && hooks->count < RUNNING_MAX)
            err = start_run(hooks, hook, fd);
        if (err)
            log_error("hook %s was not started: %s", hook->path, escrow_err_name(err));
    }
}
