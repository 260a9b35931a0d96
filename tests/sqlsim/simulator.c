/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/simulator.h"

#include "libescrow/log.h"
#include "tests/sqlsim/control.h"
#include "tests/sqlsim/pcap.h"
#include "tests/sqlsim/session.h"

#include <stdlib.h>
#include <time.h>

int64_t simulator_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void simulator_advance(struct simulator *simulator)
{
    model_advance(&simulator->model, simulator_now());
}

static void arm_timer(struct simulator *simulator)
{
    int64_t due_ms = model_next_due(&simulator->model);
    int64_t wait_ms = due_ms - simulator_now();
    struct timeval wait;

    event_del(simulator->timer);
    if (!due_ms)
        return;
    if (wait_ms < 0)
        wait_ms = 0;
    wait = (struct timeval){.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};
    event_add(simulator->timer, &wait);
}

void simulator_changed(struct simulator *simulator)
{
    event_active(simulator->check, EV_TIMEOUT, 0);
}

static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    simulator_advance(argument);
    simulator_changed(argument);
}

static void on_check(evutil_socket_t fd, short what, void *argument)
{
    struct simulator *simulator = argument;

    (void)fd;
    (void)what;
    arm_timer(simulator);
    for (size_t i = 0; i < simulator->model.instance_count; i++)
        instance_retry(&simulator->instances[i]);
    control_check_waiters(simulator->control);
}

enum escrow_err simulator_open(struct simulator *simulator)
{
    struct event_config *config = event_config_new();
    enum escrow_err err;

    if (!config)
        return ESCROW_ERR_NO_MEMORY;
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    simulator->base = event_base_new_with_config(config);
    event_config_free(config);
    if (!simulator->base)
        return ESCROW_ERR_SYSTEM;
    simulator->timer = evtimer_new(simulator->base, on_timer, simulator);
    simulator->check = evtimer_new(simulator->base, on_check, simulator);
    if (!simulator->timer || !simulator->check)
        return ESCROW_ERR_NO_MEMORY;
    simulator->model.on_role_change = session_kill_all;
    simulator_advance(simulator);
    for (size_t i = 0; i < simulator->model.instance_count; i++) {
        err = instance_open(&simulator->instances[i]);
        if (err)
            return err;
    }
    for (size_t i = 0; i < simulator->listener_count; i++) {
        err = listener_open(&simulator->listeners[i]);
        if (err)
            return err;
    }
    err = control_open(simulator, &simulator->control);
    simulator_changed(simulator);
    return err;
}

void simulator_close(struct simulator *simulator)
{
    for (size_t i = 0; i < simulator->listener_count; i++)
        listener_close(&simulator->listeners[i]);
    for (size_t i = 0; i < simulator->model.instance_count; i++)
        instance_close(&simulator->instances[i]);
    control_close(simulator->control);
    if (!pcap_close(simulator->pcap))
        log_error("the capture file is not whole");
    if (simulator->timer)
        event_free(simulator->timer);
    if (simulator->check)
        event_free(simulator->check);
    if (simulator->base)
        event_base_free(simulator->base);
    free(simulator->control_path);
    model_deinit(&simulator->model);
}
