/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_echo.h"

#include <stdlib.h>

struct echo {
    struct echo_config config;
    struct event *timer;
    uint64_t id; /* of the question that is open, or the last one */
    int32_t sql_error;
};

static void ask_later(struct echo *echo)
{
    const struct timeval pause = {.tv_usec = ECHO_PAUSE_MS * 1000};

    evtimer_add(echo->timer, &pause);
}

static void on_echo(const struct prober_answer *answer, void *argument)
{
    struct echo *echo = argument;

    if (answer->echo && answer->echo->outcome == PROBE_ANSWERED && answer->echo->is_found) {
        echo->config.on_found(echo->config.argument);
        return;
    }
    if (answer->echo && answer->echo->sql_error)
        echo->sql_error = answer->echo->sql_error;
    ask_later(echo);
}

static void ask(struct echo *echo)
{
    if (probers_ask(echo->config.probers, &echo->config.ask, &echo->id))
        ask_later(echo);
}

static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    ask(argument);
}

enum escrow_err echo_new(const struct echo_config *config, struct echo **ret_echo)
{
    CLEANUP(echo_free_p) struct echo *echo = calloc(1, sizeof(*echo));

    if (!echo)
        return ESCROW_ERR_NO_MEMORY;
    echo->config = *config;
    echo->config.ask.type = IPC_PROBE_ASK_ECHO;
    echo->config.ask.on_answer = on_echo;
    echo->config.ask.argument = echo;
    echo->timer = evtimer_new(config->base, on_timer, echo);
    if (!echo->timer)
        return ESCROW_ERR_NO_MEMORY;
    ask(echo);
    *ret_echo = TAKE(echo);
    return ESCROW_OK;
}

void echo_free(struct echo *echo)
{
    if (!echo)
        return;
    probers_forget(echo->config.probers, echo->id);
    if (echo->timer)
        event_free(echo->timer);
    free(echo);
}

int32_t echo_sql_error(const struct echo *echo)
{
    return echo->sql_error;
}
