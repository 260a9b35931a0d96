/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Files of BACKUP MASTER KEY (sqlserver-facts 1.4). Every instance sees the same paths, as if all
 * were on one share; nothing is written to a disk.
 */
struct key_file {
    char *path;
    char *password;
    uint32_t generation; /* of the key material in it */
};

struct key_files {
    size_t count;
    struct key_file *files;
};

void key_files_deinit(struct key_files *files); /* wipes; a zeroed one is valid */
const struct key_file *key_files_find(const struct key_files *files,
                                      const char *path); /* or NULL */
/* 0, or 15240: a file is never overwritten. */
int32_t key_files_add(struct key_files *files, const char *path, const char *password,
                      uint32_t generation);
