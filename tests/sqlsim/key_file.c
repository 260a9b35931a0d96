/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/key_file.h"

#include "tests/sqlsim/memory.h"

#include <openssl/crypto.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void key_files_deinit(struct key_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        OPENSSL_cleanse(files->files[i].password, strlen(files->files[i].password));
        free(files->files[i].password);
        free(files->files[i].path);
    }
    free(files->files);
    memset(files, 0, sizeof(*files));
}

const struct key_file *key_files_find(const struct key_files *files, const char *path)
{
    for (size_t i = 0; i < files->count; i++) {
        if (strcasecmp(files->files[i].path, path) == 0)
            return &files->files[i];
    }
    return NULL;
}

int32_t key_files_add(struct key_files *files, const char *path, const char *password,
                      uint32_t generation)
{
    if (key_files_find(files, path))
        return 15240;
    files->files = memory_grow(files->files, files->count + 1, sizeof(*files->files));
    files->files[files->count++] = (struct key_file){
        .path = memory_copy(path),
        .password = memory_copy(password),
        .generation = generation,
    };
    return 0;
}
