/* SPDX-License-Identifier: Apache-2.0 */
/* What a test of a hostile role sees of the keeper: its channels, and what it costs. */
#include "libescrow/file.h"
#include "tests/unit/keeper_parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fx_run_with(struct keeper_fixture *fx, const char *lines)
{
    FILE *policy;

    if (fx->pid)
        fx_shut_down(fx);
    policy = fopen(fx->config.policy_file, "ae");
    if (!policy || fputs(lines, policy) < 0 || fclose(policy) != 0)
        fx_fail(fx->config.policy_file, strerror(errno));
    fx_run(fx);
}

#define REPLICAS                                                                                   \
    "    cluster_type: wsfc\n"                                                                     \
    "    replicas:\n"                                                                              \
    "      - {instance: node-a, server_name: SQLA}\n"                                              \
    "      - {instance: node-b, server_name: SQLB}\n"                                              \
    "      - {instance: node-c, server_name: SQLC}\n"

int fx_setup_others(void **state)
{
    static const char policy[] =
        "groups:\n"
        "  - name: " FX_GROUP "\n"
        "    availability_group: AG-SSIS\n"
        "    databases: [" FX_DATABASE ", Other]\n" REPLICAS "  - name: other\n"
        "    availability_group: AG-OTHER\n"
        "    databases: [" FX_DATABASE "]\n" REPLICAS;
    struct keeper_fixture *fx;
    int result = fx_setup_ready(state);

    fx = *state;
    fx_shut_down(fx);
    if (unlink(fx->config.policy_file) != 0)
        fx_fail(fx->config.policy_file, strerror(errno));
    OK(file_create(fx->config.policy_file, 0600, policy, strlen(policy)));
    fx_run(fx);
    fx_wait_primary(fx, "node-a");
    return result;
}

void fx_wait_front_closed(struct keeper_fixture *fx)
{
    int64_t deadline_ms = fx_now_ms() + FX_DEADLINE_MS;

    while (fx->front_fd >= 0) {
        if (fx_now_ms() >= deadline_ms)
            fx_fail("the keeper keeps a channel to front that it must close", "");
        fx_serve(fx, 100);
    }
}

static void wait_count(struct keeper_fixture *fx, const unsigned *count, unsigned wanted)
{
    int64_t deadline_ms = fx_now_ms() + FX_DEADLINE_MS;

    while (*count < wanted) {
        if (fx_now_ms() >= deadline_ms)
            fx_fail("the keeper does not ask for a new role", "");
        fx_serve(fx, 100);
    }
}

void fx_wait_front_restarts(struct keeper_fixture *fx, unsigned count)
{
    wait_count(fx, &fx->front_restarts, count);
}

void fx_wait_restarts(struct keeper_fixture *fx, int replica, unsigned count)
{
    wait_count(fx, &fx->replicas[replica].restarts, count);
}

static bool has_pong(struct keeper_fixture *fx)
{
    return fx->last_pong == fx->last_ping;
}

int64_t fx_ping(struct keeper_fixture *fx)
{
    int64_t started_ms = fx_now_ms();

    if (ipc_send(fx->supervisor_fd, IPC_PING, ++fx->last_ping, NULL, FX_DEADLINE_MS))
        fx_fail("the keeper takes no ping", "");
    fx_until(fx, has_pong);
    return fx_now_ms() - started_ms;
}

unsigned fx_descriptors(const struct keeper_fixture *fx)
{
    unsigned count = 0;
    char path[64];
    DIR *folder;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)fx->pid);
    folder = opendir(path);
    if (!folder)
        fx_fail(path, strerror(errno));
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

size_t fx_memory(const struct keeper_fixture *fx)
{
    char path[64], text[128] = "";
    const char *resident;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)fx->pid);
    file = fopen(path, "re");
    if (!file || !fgets(text, sizeof(text), file))
        fx_fail(path, strerror(errno));
    fclose(file);
    resident = strchr(text, ' ');
    return resident ? strtoul(resident, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE) : 0;
}
