/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/log.h"
#include "tests/sqlsim/config.h"
#include "tests/sqlsim/control.h"
#include "tests/sqlsim/ctl.h"
#include "tests/sqlsim/pcap.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: sqlsim [--pcap FILE] CONFIG          run; CONFIG is a JSON file, or - for stdin\n"
    "       sqlsim ctl SOCKET COMMAND [WORD...]  steer one that runs\n"
    "       sqlsim switches                      list the switches and their values as JSON\n"
    "\n"
    "Commands, with --group G and --database D where they are about one (README.md has the "
    "rest):\n";

static void print_usage(FILE *out)
{
    fputs(usage, out);
    control_print_usage(out);
}

static void on_signal(evutil_socket_t number, short what, void *argument)
{
    struct simulator *simulator = argument;

    (void)number;
    (void)what;
    event_base_loopbreak(simulator->base);
}

static void print_ready(const struct simulator *simulator)
{
    json_t *ports = json_object(), *listeners = json_object(), *ready;

    for (size_t i = 0; i < simulator->model.instance_count; i++)
        json_object_set_new(ports, simulator->model.instances[i].name,
                            json_integer(simulator->instances[i].port));
    for (size_t i = 0; i < simulator->listener_count; i++)
        json_object_set_new(listeners, simulator->model.groups[simulator->listeners[i].group].name,
                            json_integer(simulator->listeners[i].port));
    ready = json_pack("{s:b, s:o, s:o}", "ready", 1, "ports", ports, "listeners", listeners);
    json_dumpf(ready, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(ready);
}

static enum escrow_err run(struct simulator *simulator)
{
    struct event *terminated = evsignal_new(simulator->base, SIGTERM, on_signal, simulator);
    struct event *interrupted = evsignal_new(simulator->base, SIGINT, on_signal, simulator);
    enum escrow_err err = ESCROW_ERR_SYSTEM;

    if (terminated && interrupted && event_add(terminated, NULL) == 0 &&
        event_add(interrupted, NULL) == 0) {
        print_ready(simulator);
        if (event_base_dispatch(simulator->base) >= 0)
            err = ESCROW_OK;
    }
    if (terminated)
        event_free(terminated);
    if (interrupted)
        event_free(interrupted);
    return err;
}

static int print_switches(void)
{
    json_t *list = switches_list();
    size_t count = json_array_size(list);

    for (size_t i = 0; i < count; i++) {
        json_dumpf(json_array_get(list, i), stdout, JSON_COMPACT);
        putchar('\n');
    }
    json_decref(list);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    static struct simulator simulator;
    const char *capture = NULL;
    enum escrow_err err;

    if (argc >= 2 && strcmp(argv[1], "ctl") == 0)
        return ctl_main(argc - 2, argv + 2);
    if (argc == 2 && strcmp(argv[1], "switches") == 0)
        return print_switches();
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        print_usage(stdout);
        return EXIT_SUCCESS;
    }
    if (argc == 4 && strcmp(argv[1], "--pcap") == 0) {
        capture = argv[2];
        argc -= 2;
        argv += 2;
    }
    if (argc != 2) {
        print_usage(stderr);
        return escrow_err_exit_code(ESCROW_ERR_USAGE);
    }
    log_init("sqlsim", LOG_LEVEL_NOTICE);
    signal(SIGPIPE, SIG_IGN);
    err = config_load(argv[1], &simulator);
    if (!err && capture)
        err = pcap_open(capture, &simulator.pcap);
    if (!err)
        err = simulator_open(&simulator);
    if (!err)
        err = run(&simulator);
    simulator_close(&simulator);
    return escrow_err_exit_code(err);
}
