/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/snapshot.h"

#include "escrowd/command.h"
#include "libescrow/file.h"
#include "libescrow/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum escrow_err snapshot_open(int sealed_fd, int *ret_fd)
{
    char path[32];
    int fd;

    /* Not dup(2): copies share one position, and roles read from the start. */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", sealed_fd);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        log_error("%s: %s", path, strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    *ret_fd = fd;
    return ESCROW_OK;
}

static enum escrow_err load_config(const char *path, struct snapshot *snapshot)
{
    CLEANUP(cleanup_close) int fd = -1;
    enum escrow_err err = file_seal(path, CONFIG_BYTES_MAX, "escrowd.yaml", &snapshot->config_fd);

    if (!err)
        err = snapshot_open(snapshot->config_fd, &fd);
    return err ? err : escrowd_config_load_fd(fd, path, &snapshot->config);
}

static enum escrow_err load_policy(struct snapshot *snapshot)
{
    CLEANUP(config_report_deinit) struct config_report report = {0};
    CLEANUP(cleanup_close) int fd = -1;
    const char *path = snapshot->config->policy_file;
    enum escrow_err err = file_seal(path, CONFIG_BYTES_MAX, "policy.yaml", &snapshot->policy_fd);

    if (!err)
        err = snapshot_open(snapshot->policy_fd, &fd);
    if (!err)
        err = policy_load_fd(fd, path, &report, &snapshot->policy);
    config_report_log(&report);
    return err;
}

enum escrow_err snapshot_take(const char *config_path, struct snapshot *ret_snapshot)
{
    struct snapshot snapshot = SNAPSHOT_EMPTY;
    enum escrow_err err = load_config(config_path, &snapshot);

    if (!err)
        err = load_policy(&snapshot);
    if (!err && snapshot.config->alert.command)
        err = command_check(snapshot.config->alert.command, false);
    if (err) {
        snapshot_deinit(&snapshot);
        return err;
    }
    *ret_snapshot = snapshot;
    return ESCROW_OK;
}

void snapshot_deinit(struct snapshot *snapshot)
{
    escrowd_config_free(snapshot->config);
    policy_free(snapshot->policy);
    cleanup_close(&snapshot->config_fd);
    cleanup_close(&snapshot->policy_fd);
    cleanup_close(&snapshot->credentials_fd);
    snapshot->config = NULL;
    snapshot->policy = NULL;
}

bool snapshot_equal(const struct snapshot *a, const struct snapshot *b)
{
    return memcmp(config_digest(a->config->file), config_digest(b->config->file),
                  CONFIG_DIGEST_BYTES) == 0 &&
           memcmp(policy_digest(a->policy), policy_digest(b->policy), POLICY_DIGEST_BYTES) == 0;
}
