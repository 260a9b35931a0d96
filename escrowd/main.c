/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/alerter.h"
#include "escrowd/command.h"
#include "escrowd/config.h"
#include "escrowd/keeper.h"
#include "escrowd/roles.h"
#include "escrowd/sandbox.h"
#include "escrowd/spawn.h"
#include "escrowd/supervisor.h"
#include "libescrow/log.h"
#include "libescrow/secret.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_CONFIG "/etc/escrowd/escrowd.yaml"

static const char usage[] = "usage: escrowd [run|init|test-alert] [--config FILE]\n"
                            "\n"
                            "  run           serve (default)\n"
                            "  init          provision the TPM and the state of this member, once\n"
                            "  test-alert    run the command of alert: once, with a test\n"
                            "\n"
                            "  --config FILE    default " DEFAULT_CONFIG "\n"
                            "  --version\n"
                            "  --help\n";

struct arguments {
    const char *config;
    const char *role;
    const char *instance;
    const char *command; /* "run" and the other words of usage */
};

static enum escrow_err init(const char *config_path)
{
    CLEANUP(escrowd_config_free_p) struct escrowd_config *config = NULL;
    enum escrow_err err = secret_heap_init();

    if (!err)
        err = escrowd_config_load(config_path, &config);
    if (!err)
        err = sandbox_make_folder(IPC_PEER_KEEPER, config, config->state_folder);
    if (!err)
        err = sandbox_make_folder(IPC_PEER_KEEPER, config, config->audit_folder);
    if (!err)
        err = sandbox_become(IPC_PEER_KEEPER, config);
    return err ? err : keeper_init(config);
}

/* As the alerter's user, and with no more rights than it. */
static enum escrow_err test_alert(const char *config_path)
{
    CLEANUP(escrowd_config_free_p) struct escrowd_config *config = NULL;
    enum escrow_err err = escrowd_config_load(config_path, &config);

    if (!err && config->alert.command)
        err = command_check(config->alert.command, false);
    if (!err && config->alert.command)
        err = sandbox_enter(IPC_PEER_ALERTER, config, "");
    return err ? err : alerter_test(config);
}

typedef enum escrow_err (*command_fn)(const char *config_path);

/* NULL: there is no such command. */
static command_fn find_command(const char *name)
{
    static const struct {
        const char *name;
        command_fn run;
    } commands[] = {{"run", supervisor_run}, {"init", init}, {"test-alert", test_alert}};

    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run;
    }
    return NULL;
}

static bool usage_error(int *ret_status)
{
    fputs(usage, stderr);
    *ret_status = escrow_err_exit_code(ESCROW_ERR_USAGE);
    return false;
}

/* False: the process is to exit with *ret_status. */
static bool parse(int argc, char **argv, struct arguments *ret_arguments, int *ret_status)
{
    /* --role and --instance are the supervisor's own: how it starts its roles. */
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},   {"role", required_argument, NULL, 'r'},
        {"instance", required_argument, NULL, 'i'}, {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0}};
    struct arguments arguments = {.config = DEFAULT_CONFIG, .instance = "", .command = "run"};
    int option;

    *ret_status = 0;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'c')
            arguments.config = optarg;
        else if (option == 'r')
            arguments.role = optarg;
        else if (option == 'i')
            arguments.instance = optarg;
        else if (option == 'v' || option == 'h') {
            fputs(option == 'h' ? usage : "escrowd " ESCROW_VERSION "\n", stdout);
            return false;
        } else
            return usage_error(ret_status);
    }
    if (optind < argc) {
        arguments.command = argv[optind];
        if (!find_command(arguments.command))
            fprintf(stderr, "escrowd: there is no command '%s'\n", arguments.command);
        if (optind + 1 < argc || !find_command(arguments.command))
            return usage_error(ret_status);
    }
    *ret_arguments = arguments;
    return true;
}

int main(int argc, char **argv)
{
    char config[PATH_MAX];
    struct arguments arguments = {0};
    enum escrow_err err;
    int status;

    if (!parse(argc, argv, &arguments, &status))
        return status;
    /* A person runs init and test-alert: journald's priorities are for the service. */
    if (arguments.role || strcmp(arguments.command, "run") == 0)
        log_init(arguments.role ? arguments.role : "escrowd", LOG_LEVEL_INFO);
    else
        log_init_plain("escrowd", LOG_LEVEL_INFO);
    signal(SIGPIPE, SIG_IGN);
    if (!realpath(arguments.config, config)) {
        log_error("%s: %s", arguments.config, strerror(errno));
        return escrow_err_exit_code(ESCROW_ERR_CONFIG);
    }
    if (arguments.role)
        err = roles_run(arguments.role, config, arguments.instance);
    else
        err = find_command(arguments.command)(config);
    return escrow_err_exit_code(err);
}
