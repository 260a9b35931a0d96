/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_echo.h"

#include <stdlib.h>

struct echo {
    struct echo_config config;
    struct event *timer;
    uint64_t id; /* of the question that is open, or the last one */
    struct probe_echo failure;
};

static void ask_later(struct echo *echo)
{
    const struct timeval pause = {.tv_usec = ECHO_PAUSE_MS * 1000};

    evtimer_add(echo->timer, &pause);
}

/* The next answer would be the same. */
static bool is_final(const struct probe_echo *said)
{
    return said->outcome == PROBE_LOGIN_REFUSED || said->is_late || said->is_closed;
}

static void on_echo(const struct prober_answer *answer, void *argument)
{
    const struct probe_echo *said = answer->echo;
    struct echo *echo = argument;
    bool is_found = said && said->outcome == PROBE_ANSWERED && said->is_found;

    if (said && said->outcome != PROBE_ANSWERED)
        echo->failure = *said;
    if (is_found || (said && is_final(said)))
        echo->config.on_end(is_found, echo->config.argument);
    else
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
    echo->failure.outcome = PROBE_ANSWERED;
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

struct probe_echo echo_last_failure(const struct echo *echo)
{
    return echo->failure;
}
