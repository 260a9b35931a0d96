/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/config_internal.h"

#include <openssl/evp.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void *config_allocate(struct config *config, size_t count, size_t size)
{
    struct config_block *block = NULL;
    size_t bytes;

    if (!__builtin_mul_overflow(count, size, &bytes) &&
        !__builtin_add_overflow(bytes, sizeof(*block), &bytes))
        block = calloc(1, bytes);
    if (!block)
        return NULL;
    block->next = config->blocks;
    config->blocks = block;
    return block->bytes;
}

enum escrow_err config_remember(struct config *config, const void *member, size_t line,
                                size_t column)
{
    if (config->position_count == config->position_cap) {
        size_t cap = config->position_cap ? 2 * config->position_cap : 64;
        struct config_position *grown = reallocarray(config->positions, cap, sizeof(*grown));

        if (!grown)
            return ESCROW_ERR_NO_MEMORY;
        config->positions = grown;
        config->position_cap = cap;
    }
    config->positions[config->position_count++] = (struct config_position){
        .member = member,
        .line = line,
        .column = column,
    };
    return ESCROW_OK;
}

static struct config *config_new(const char *path, size_t root_size)
{
    struct config *config = calloc(1, sizeof(*config));

    if (!config)
        return NULL;
    config->path = strdup(path);
    config->root = config_allocate(config, 1, root_size);
    if (!config->path || !config->root) {
        config_free(config);
        return NULL;
    }
    return config;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    while (config->blocks) {
        struct config_block *next = config->blocks->next;

        free(config->blocks);
        config->blocks = next;
    }
    free(config->positions);
    free(config->path);
    free(config);
}

const void *config_root(const struct config *config)
{
    return config->root;
}

const uint8_t *config_digest(const struct config *config)
{
    return config->digest;
}

void config_complain(const struct config *config, struct config_report *report, const void *member,
                     const char *format, ...)
{
    const struct config_position *position = NULL;
    char text[CONFIG_LINE_MAX];
    va_list arguments;

    /* The struct of a mapping and its first member have one address: the member came later. */
    for (size_t i = config->position_count; i > 0 && !position; i--) {
        if (config->positions[i - 1].member == member)
            position = &config->positions[i - 1];
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    config_report_add(report, "%s:%zu:%zu: %s", config->path, position ? position->line : 1,
                      position ? position->column : 1, text);
}

enum escrow_err config_load_bytes(const void *bytes, size_t len, const char *path,
                                  const struct config_schema *schema, struct config_report *report,
                                  struct config **ret_config)
{
    CLEANUP(config_free_p) struct config *config = NULL;
    enum escrow_err err;

    if (len > CONFIG_BYTES_MAX) {
        config_report_add(report, "%s: found more than %d bytes, expected fewer", path,
                          CONFIG_BYTES_MAX);
        return ESCROW_ERR_CONFIG;
    }
    config = config_new(path, schema->size);
    if (!config)
        return ESCROW_ERR_NO_MEMORY;
    if (!EVP_Digest(bytes, len, config->digest, NULL, EVP_sha256(), NULL))
        return ESCROW_ERR_CRYPTO;
    err = config_parse(config, bytes, len, schema, report);
    if (err)
        return err;

    *ret_config = TAKE(config);
    return ESCROW_OK;
}

/* Reads at offsets, so that a descriptor which several processes share reads the same in each. */
static enum escrow_err read_whole(int fd, char *bytes, size_t cap, size_t *ret_len)
{
    size_t len = 0;

    while (len < cap) {
        ssize_t got = pread(fd, bytes + len, cap - len, (off_t)len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ESCROW_ERR_SYSTEM;
        if (got == 0)
            break;
        len += (size_t)got;
    }
    *ret_len = len;
    return ESCROW_OK;
}

enum escrow_err config_load_fd(int fd, const char *path, const struct config_schema *schema,
                               struct config_report *report, struct config **ret_config)
{
    CLEANUP(cleanup_free) char *bytes = NULL;
    struct stat status;
    size_t len;

    if (fstat(fd, &status) < 0) {
        config_report_add(report, "%s: cannot be read: %s", path, strerror(errno));
        return ESCROW_ERR_CONFIG;
    }
    if (!S_ISREG(status.st_mode)) {
        config_report_add(report, "%s: found no regular file, expected one", path);
        return ESCROW_ERR_CONFIG;
    }
    bytes = malloc(CONFIG_BYTES_MAX + 1);
    if (!bytes)
        return ESCROW_ERR_NO_MEMORY;
    if (read_whole(fd, bytes, CONFIG_BYTES_MAX + 1, &len)) {
        config_report_add(report, "%s: cannot be read: %s", path, strerror(errno));
        return ESCROW_ERR_CONFIG;
    }
    return config_load_bytes(bytes, len, path, schema, report, ret_config);
}

enum escrow_err config_load(const char *path, const struct config_schema *schema,
                            struct config_report *report, struct config **ret_config)
{
    /* O_NONBLOCK: a FIFO in its place must not stop us here. */
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0) {
        config_report_add(report, "%s: cannot be opened: %s", path, strerror(errno));
        return ESCROW_ERR_CONFIG;
    }
    return config_load_fd(fd, path, schema, report, ret_config);
}
