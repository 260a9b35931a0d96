/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/roles.h"

#include "escrowd/alerter.h"
#include "escrowd/command.h"
#include "escrowd/config.h"
#include "escrowd/front.h"
#include "escrowd/keeper.h"
#include "escrowd/sandbox.h"
#include "escrowd/spawn.h"
#include "escrowd/target.h"
#include "libescrow/log.h"
#include "libescrow/prober.h"
#include "libescrow/sandbox.h"
#include "libescrow/secret.h"
#include "policy/policy.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define SEND_TIMEOUT_MS 5000

static enum escrow_err run_keeper(const struct escrowd_config *config, const char *instance)
{
    enum escrow_err err = sandbox_enter(IPC_PEER_KEEPER, config, instance);

    return err ? err : keeper_run(config, SPAWN_POLICY_FD, SPAWN_SUPERVISOR_FD);
}

static enum escrow_err run_front(const struct escrowd_config *config, const char *instance)
{
    bool is_watched = fcntl(SPAWN_MONITOR_FD, F_GETFD) >= 0;

    (void)instance;
    return front_run(config,
                     &(struct front_descriptors){.supervisor = SPAWN_SUPERVISOR_FD,
                                                 .listener = SPAWN_LISTENER_FD,
                                                 .credentials = SPAWN_CREDENTIALS_FD,
                                                 .monitor = is_watched ? SPAWN_MONITOR_FD : -1});
}

/* What the prober of an instance can be asked about; the list is the caller's to free. */
static enum escrow_err list_targets(const struct policy *policy, const char *instance,
                                    struct prober_target **ret_targets, size_t *ret_count)
{
    CLEANUP(cleanup_free) struct target *targets = NULL;
    struct prober_target *asked;
    size_t count;
    enum escrow_err err = target_list(policy, instance, &targets, &count);

    if (err)
        return err;
    asked = calloc(count + 1, sizeof(*asked));
    if (!asked)
        return ESCROW_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        asked[i] = (struct prober_target){
            .availability_group = targets[i].group->availability_group,
            .database = targets[i].database,
        };
    *ret_targets = asked;
    *ret_count = count;
    return ESCROW_OK;
}

/* Says that it is ready, and waits for its channel to the keeper. */
static enum escrow_err await_keeper(int *ret_fd)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    CLEANUP(ipc_buffer_free_p) struct ipc_buffer *buffer = ipc_buffer_new();
    struct ipc_message message;
    struct ipc_peer peer;
    enum escrow_err err;

    if (!buffer)
        return ESCROW_ERR_NO_MEMORY;
    ipc_put_u32(&writer, 0);
    err = ipc_send(SPAWN_SUPERVISOR_FD, IPC_READY, 0, &writer, SEND_TIMEOUT_MS);
    if (!err)
        err = ipc_receive(SPAWN_SUPERVISOR_FD, buffer, IPC_NO_DEADLINE, &message);
    if (err)
        return err;
    if (message.type != IPC_PEER || message.fd < 0 || ipc_get_peer(&message, &peer) ||
        peer.kind != IPC_PEER_KEEPER) {
        cleanup_close(&message.fd);
        return ESCROW_ERR_MALFORMED;
    }
    *ret_fd = message.fd;
    return ESCROW_OK;
}

/* Ends when the keeper does: the supervisor starts it again with a channel to the next keeper. */
static enum escrow_err run_prober(const struct escrowd_config *config, const char *instance)
{
    const struct escrowd_instance *known = escrowd_config_find(config, instance);
    CLEANUP(config_report_deinit) struct config_report report = {0};
    CLEANUP(policy_free_p) struct policy *policy = NULL;
    CLEANUP(cleanup_free) struct prober_target *targets = NULL;
    CLEANUP(cleanup_close) int keeper_fd = -1;
    struct prober_config prober = {0};
    struct sql_instance sql;
    enum escrow_err err;

    if (!known) {
        log_error("the configuration has no instance %s any more", instance);
        return ESCROW_ERR_CONFIG;
    }
    err = policy_load_fd(SPAWN_POLICY_FD, config->policy_file, &report, &policy);
    config_report_log(&report);
    if (!err)
        err = list_targets(policy, instance, &targets, &prober.target_count);
    sql = escrowd_instance_sql(known);
    if (!err)
        err = sql_environment_new(&sql);
    if (!err)
        err = sandbox_enter(IPC_PEER_PROBER, config, instance);
    if (!err)
        err = await_keeper(&keeper_fd);
    prober.instance = &sql;
    prober.targets = targets;
    if (!err)
        err = prober_run(keeper_fd, &prober);
    sql_environment_free();
    return err;
}

/* As the user that runs it, the alerter sees whether the command can be run at all. */
static enum escrow_err run_alerter(const struct escrowd_config *config, const char *instance)
{
    enum escrow_err err = sandbox_enter(IPC_PEER_ALERTER, config, instance);

    if (!err)
        err = command_check(config->alert.command, true);
    return err ? err : alerter_run(config, SPAWN_SUPERVISOR_FD);
}

static const struct {
    enum escrow_err (*run)(const struct escrowd_config *config, const char *instance);
} roles[] = {
    [IPC_PEER_KEEPER] = {run_keeper},
    [IPC_PEER_FRONT] = {run_front},
    [IPC_PEER_PROBER] = {run_prober},
    [IPC_PEER_ALERTER] = {run_alerter},
};

enum escrow_err roles_run(const char *name, const char *config_path, const char *instance)
{
    CLEANUP(escrowd_config_free_p) struct escrowd_config *config = NULL;
    enum ipc_peer_kind kind = spawn_role_kind(name);
    enum escrow_err err;

    if (kind == 0 || kind >= ARRAY_LEN(roles)) {
        log_error("there is no role \"%s\"", name);
        return ESCROW_ERR_USAGE;
    }
    /* The supervisor says when to end; a signal to the whole process group is for it alone. */
    if (kind != IPC_PEER_PROBER)
        signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    err = sandbox_harden(); /* the rest of the sandbox comes where the role has what it needs */
    if (!err)
        err = secret_heap_init();
    if (!err)
        err = escrowd_config_load_fd(SPAWN_CONFIG_FD, config_path, &config);
    close(SPAWN_CONFIG_FD);
    return err ? err : roles[kind].run(config, instance);
}
