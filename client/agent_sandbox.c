/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_sandbox.h"

#include "libescrow/cleanup.h"
#include "libescrow/sql_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#define DESCRIPTORS 64

const struct sandbox_rule agent_worker_rules[] = {
    /* libcurl, and the file with the newest roster version */
    SANDBOX_CALLS("fchmod flock fsync getpeername getsockname rename"),
    /* the deadline of the attempt, which begins after the sandbox */
    SANDBOX_CALLS("setitimer"),
    /* a receipt that is tried again; a state file that could not be written; libcurl's build */
    SANDBOX_KEPT("clock_nanosleep pipe2 renameat renameat2 unlink unlinkat"),
    SANDBOX_IF("socketpair", 0, AF_UNIX),
    SANDBOX_IF("fcntl", 1, F_GETFL),
    SANDBOX_IF("fcntl", 1, F_SETFL),
    SANDBOX_IF("fcntl", 1, F_GETFD),
    SANDBOX_IF("fcntl", 1, F_SETFD),
    /* libcurl looks a name up in a thread of its own, which glibc ends where it gets no rseq */
    SANDBOX_THREADS,
    SANDBOX_KEPT("rseq set_robust_list"),
    SANDBOX_REFUSED("prctl sched_getaffinity", EACCES),
};
const size_t agent_worker_rule_count = ARRAY_LEN(agent_worker_rules);

enum escrow_err agent_sandbox_prober(const struct agent_instance *instance)
{
    const struct sql_instance sql = agent_config_sql(instance);
    struct sandbox_plan plan = {.descriptors = DESCRIPTORS};

    sql_sandbox_allow(&sql, &plan);
    return sandbox_enter_plan(&plan);
}

enum escrow_err agent_sandbox_worker(const struct agent_config *config,
                                     const struct agent_instance *instance)
{
    const struct sql_instance sql = agent_config_sql(instance);
    struct sandbox_plan plan = {.descriptors = DESCRIPTORS, .has_threads = true};

    sandbox_allow_calls(&plan, agent_worker_rules, agent_worker_rule_count);
    sql_sandbox_allow(&sql, &plan);
    sandbox_allow_path(&plan, instance->certificate_file, SANDBOX_READ);
    sandbox_allow_path(&plan, instance->key_file, SANDBOX_READ);
    sandbox_allow_path(&plan, instance->act_key_file, SANDBOX_READ);
    sandbox_allow_path(&plan, config->authority_file, SANDBOX_READ);
    sandbox_allow_folder_of(&plan, config->state_file, SANDBOX_WRITE);
    for (size_t i = 0; i < config->escrowd_count; i++) {
        const struct rpc_server *escrowd = &config->escrowds[i];

        sandbox_allow_path(&plan, escrowd->ca_file, SANDBOX_READ);
        sandbox_allow_path(&plan, escrowd->crl_file, SANDBOX_READ);
        sandbox_allow_port(&plan, escrowd->port);
        sandbox_allow_lookup(escrowd->address, &plan);
    }
    return sandbox_enter_plan(&plan);
}
