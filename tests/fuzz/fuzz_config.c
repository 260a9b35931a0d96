/* SPDX-License-Identifier: Apache-2.0 */
/*
 * escrowd.yaml, agent.yaml and escrowctl.yaml: a file that is taken has every value in the bounds
 * that the program relies on, and its instances are found by their names; one that is refused fills
 * nothing. The first byte of the input chooses the program, the rest is the file.
 */
#include "client/agent_config.h"
#include "client/escrowctl_config.h"
#include "escrowd/config.h"
#include "libescrow/identity.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static bool is_port(int64_t port, int64_t least)
{
    return port >= least && port <= UINT16_MAX;
}

/* Exactly one way to log in. */
static bool is_login(const char *login, const char *password_file, const char *keytab)
{
    return keytab ? !login && !password_file : login && password_file;
}

static void check_escrowd(const struct escrowd_config *config)
{
    FUZZ_CHECK(name_is_valid(config->member));
    FUZZ_CHECK(is_port(config->listen.port, 0));
    FUZZ_CHECK(config->tpm.pcrs != 0 && config->tpm.pcrs < 1U << ESCROWD_PCRS_MAX);
    FUZZ_CHECK((size_t)__builtin_popcount(config->tpm.pcrs) == config->tpm.pcr_count);
    FUZZ_CHECK(!config->users.keeper == !config->users.front &&
               !config->users.front == !config->users.prober);
    FUZZ_CHECK(config->limits.connections > 0 && config->limits.requests > 0 &&
               config->limits.request_ms > 0 && config->limits.ping_ms > 0);
    FUZZ_CHECK(config->instance_count <= ESCROWD_INSTANCES_MAX);
    for (size_t i = 0; i < config->instance_count; i++) {
        const struct escrowd_instance *instance = &config->instances[i];
        const struct sql_instance sql = escrowd_instance_sql(instance);

        FUZZ_CHECK(escrowd_config_find(config, instance->name) == instance);
        FUZZ_CHECK(is_port(instance->port, 1));
        FUZZ_CHECK(is_login(instance->login, instance->password_file, instance->keytab));
        FUZZ_CHECK(sql.login_timeout_s >= 1 && sql.login_timeout_s <= 30);
        FUZZ_CHECK(sql.query_timeout_s >= 1 && sql.query_timeout_s <= 30);
    }
}

static void check_agent(const struct agent_config *config)
{
    FUZZ_CHECK(config->escrowd_count >= 1 && config->instance_count >= 1);
    FUZZ_CHECK(config->poll_ms > 0 && config->recheck_ms > 0 && config->worker_deadline_ms > 0);
    for (size_t i = 0; i < config->escrowd_count; i++)
        FUZZ_CHECK(is_port(config->escrowds[i].port, 1) && config->escrowds[i].ca_file &&
                   config->escrowds[i].server_id);
    for (size_t i = 0; i < config->instance_count; i++) {
        const struct agent_instance *instance = &config->instances[i];

        FUZZ_CHECK(agent_config_group(config, instance->name, instance->group) == instance);
        FUZZ_CHECK(agent_config_instance(config, instance->name) <= instance);
        FUZZ_CHECK(is_port(instance->port, 1) && instance->database_count >= 1);
        FUZZ_CHECK(is_login(instance->login, instance->password_file, instance->keytab));
    }
    for (size_t i = 0; i < config->hook_count; i++)
        FUZZ_CHECK(config->hooks[i].path[0] == '/' && config->hooks[i].timeout_ms > 0);
}

static void check_ctl(const struct ctl_config *config)
{
    FUZZ_CHECK(config->escrowd_count >= 1 && config->timeout_ms > 0);
    FUZZ_CHECK(config->certificate_file && config->key_file);
    for (size_t i = 0; i < config->escrowd_count; i++)
        FUZZ_CHECK(is_port(config->escrowds[i].port, 1) && config->escrowds[i].server_id);
}

static enum escrow_err load_escrowd(int fd, const char *path)
{
    struct escrowd_config *config = FUZZ_UNTOUCHED;
    enum escrow_err err = escrowd_config_load_fd(fd, path, &config);

    if (err) {
        FUZZ_CHECK(config == FUZZ_UNTOUCHED);
        return err;
    }
    check_escrowd(config);
    escrowd_config_free(config);
    return ESCROW_OK;
}

static enum escrow_err load_agent(int fd, const char *path)
{
    struct config *config = FUZZ_UNTOUCHED;
    const struct agent_config *root;
    enum escrow_err err = agent_config_load(path, &config, &root);

    (void)fd;
    if (err) {
        FUZZ_CHECK(config == FUZZ_UNTOUCHED);
        return err;
    }
    check_agent(root);
    config_free(config);
    return ESCROW_OK;
}

static enum escrow_err load_ctl(int fd, const char *path)
{
    struct config *config = FUZZ_UNTOUCHED;
    const struct ctl_config *root;
    enum escrow_err err = ctl_config_load(path, &config, &root);

    (void)fd;
    if (err) {
        FUZZ_CHECK(config == FUZZ_UNTOUCHED);
        return err;
    }
    check_ctl(root);
    config_free(config);
    return ESCROW_OK;
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    static enum escrow_err (*const loaders[])(int fd, const char *path) = {load_escrowd, load_agent,
                                                                           load_ctl};
    struct fuzz_source source = {bytes, len};
    const size_t which = fuzz_take_byte(&source) % ARRAY_LEN(loaders);
    const int fd = memfd_create("fuzz", MFD_CLOEXEC);
    char path[64];

    if (fd < 0 || (source.len > 0 && write(fd, source.bytes, source.len) != (ssize_t)source.len) ||
        lseek(fd, 0, SEEK_SET) != 0)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    fuzz_check_err(loaders[which](fd, path));
    close(fd);
}
