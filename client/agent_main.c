/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent.h"
#include "client/agent_harden.h"
#include "client/agent_notify.h"
#include "client/agent_role.h"
#include "libescrow/log.h"
#include "libescrow/secret.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_CONFIG "/etc/escrow-agent/agent.yaml"
#define DEFAULT_SOCKET "/run/escrow-agent/notify.sock"
#define NOTIFY_TIMEOUT_MS 5000

static const char usage[] =
    "usage: escrow-agent [run] [--config FILE]\n"
    "       escrow-agent notify [--socket PATH]\n"
    "\n"
    "  run      watch the instances of the configuration (default)\n"
    "  notify   make a running agent check now\n"
    "\n"
    "  --config FILE    default " DEFAULT_CONFIG "\n"
    "  --socket PATH    notify_socket of the configuration, default " DEFAULT_SOCKET "\n"
    "  --version\n"
    "  --help\n"
    "\n"
    "example:\n"
    "  escrow-agent notify && journalctl -u escrow-agent -n 20\n";

struct arguments {
    const char *command;
    const char *socket;
    struct agent_role_arguments role; /* with config_path of every command */
};

enum option_letter {
    OPTION_CONFIG = 'c',
    OPTION_SOCKET = 's',
    OPTION_VERSION = 'v',
    OPTION_HELP = 'h',
    /* The parent's own: how it starts its roles. */
    OPTION_ROLE = 'r',
    OPTION_INSTANCE = 'i',
    OPTION_GROUP = 'g',
    OPTION_DATABASE = 'd',
};

static const struct option options[] = {
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"socket", required_argument, NULL, OPTION_SOCKET},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, OPTION_HELP},
    {"role", required_argument, NULL, OPTION_ROLE},
    {"instance", required_argument, NULL, OPTION_INSTANCE},
    {"group", required_argument, NULL, OPTION_GROUP},
    {"database", required_argument, NULL, OPTION_DATABASE},
    {NULL, 0, NULL, 0},
};

/* ESCROW_ERR_USAGE after saying how. */
static enum escrow_err parse(int argc, char **argv, struct arguments *ret_arguments)
{
    struct arguments arguments = {
        .command = "run", .socket = DEFAULT_SOCKET, .role = {.config_path = DEFAULT_CONFIG}};
    int option;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == OPTION_CONFIG)
            arguments.role.config_path = optarg;
        else if (option == OPTION_SOCKET)
            arguments.socket = optarg;
        else if (option == OPTION_ROLE)
            arguments.role.role = optarg;
        else if (option == OPTION_INSTANCE)
            arguments.role.instance = optarg;
        else if (option == OPTION_GROUP)
            arguments.role.group = optarg;
        else if (option == OPTION_DATABASE)
            arguments.role.database = optarg;
        else if (option == OPTION_VERSION || option == OPTION_HELP)
            arguments.command = option == OPTION_HELP ? "help" : "version";
        else
            break;
    }
    if (option == -1 && optind < argc)
        arguments.command = argv[optind++];
    if (option != -1 || optind < argc) {
        fputs(usage, stderr);
        return ESCROW_ERR_USAGE;
    }
    *ret_arguments = arguments;
    return ESCROW_OK;
}

static enum escrow_err run(const char *given_path)
{
    char path[PATH_MAX];

    if (!realpath(given_path, path)) {
        log_error("%s: %m", given_path);
        return ESCROW_ERR_CONFIG;
    }
    return agent_run(path);
}

static enum escrow_err print(const char *text)
{
    return fputs(text, stdout) < 0 ? ESCROW_ERR_SYSTEM : ESCROW_OK;
}

static enum escrow_err dispatch(const struct arguments *arguments)
{
    enum escrow_err err;

    if (strcmp(arguments->command, "help") == 0)
        return print(usage);
    if (strcmp(arguments->command, "version") == 0)
        return print("escrow-agent " ESCROW_VERSION "\n");
    if (strcmp(arguments->command, "notify") == 0)
        return agent_notify_send(arguments->socket, NOTIFY_TIMEOUT_MS);
    if (strcmp(arguments->command, "run") != 0) {
        fputs(usage, stderr);
        return ESCROW_ERR_USAGE;
    }
    err = agent_harden();
    /* Before anything of OpenSSL. */
    if (!err)
        err = secret_heap_init();
    if (err)
        return err;
    return arguments->role.role ? agent_role_run(&arguments->role)
                                : run(arguments->role.config_path);
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    enum escrow_err err = parse(argc, argv, &arguments);

    if (!err) {
        /* A person, or a script, runs notify: journald's priorities are for the service. */
        if (strcmp(arguments.command, "notify") == 0)
            log_init_plain("escrow-agent", LOG_LEVEL_INFO);
        else
            log_init(arguments.role.role ? arguments.role.role : "escrow-agent", LOG_LEVEL_INFO);
        err = dispatch(&arguments);
    }
    return escrow_err_exit_code(err);
}
